//! An origin for the tests of documents, here and in tests/http: real TLS on loopback, with a certificate authority
//! of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::ring::default_provider,
    pki_types::PrivateKeyDer,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What the origin does after it has read a request.
#[derive(Clone)]
pub enum Script {
    /// Sends this and closes the connection.
    Answer(Vec<u8>),
    /// Sends this and then nothing more, until the other side closes the connection.
    Hang(Vec<u8>),
    /// Sends the first and then the second for ever, until the other side closes the connection.
    Endless(Vec<u8>, Vec<u8>),
}

/// A running origin.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    /// A client configuration that trusts its certificate authority.
    pub tls: ClientConfig,
    script: Arc<Mutex<Script>>,
    /// The headers of the requests that it read.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// How many connections were made, with a request or without.
    pub connections: Arc<AtomicUsize>,
    /// How many of them have ended.
    #[allow(dead_code, reason = "only the unit tests wait for it")]
    pub ended: watch::Receiver<usize>,
}

impl Origin {
    /// An origin called `client.example`.
    pub async fn start(script: Script) -> Self {
        Self::named("client.example", script).await
    }

    /// An origin whose certificate is for this name.
    pub async fn named(name: &str, script: Script) -> Self {
        let (server, tls) = certificates(name);
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (end, ended) = watch::channel(0);
        let script = Arc::new(Mutex::new(script));
        let origin = Self {
            address,
            tls,
            script: script.clone(),
            requests: requests.clone(),
            connections: connections.clone(),
            ended,
        };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, requests) = (acceptor.clone(), requests.clone());
                let (script, end) = (script.lock().unwrap().clone(), end.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        converse(stream, &script, &requests).await;
                    }
                    end.send_modify(|ended| *ended += 1);
                });
            }
        });
        origin
    }

    /// From now on it does this.
    #[allow(dead_code, reason = "only tests/http changes its mind")]
    pub fn now(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: TlsStream<TcpStream>,
    script: &Script,
    requests: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    requests
        .lock()
        .unwrap()
        .push(String::from_utf8(head).unwrap());
    let (Script::Answer(first) | Script::Hang(first) | Script::Endless(first, _)) = script;
    // Writing fails when the client closes the connection because it has read enough.
    if stream.write_all(first).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    match script {
        Script::Answer(_) => {
            let _ = stream.shutdown().await;
        }
        Script::Hang(_) => {
            let _ = stream.read_u8().await;
        }
        Script::Endless(_, again) => while stream.write_all(again).await.is_ok() {},
    }
}

fn certificates(name: &str) -> (ServerConfig, ClientConfig) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();

    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}
