//! A web server that publishes client documents: real TLS on loopback, with a certificate authority of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use lambda_oauth_mcp_proxy::http_client::tls_with_roots;
use rustls::{ClientConfig, DEFAULT_VERSIONS};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::support::authority::Authority;

/// What the origin does once it has read a request.
#[derive(Clone)]
pub enum Script {
    /// Sends this and closes the connection.
    Respond(Vec<u8>),
    /// Sends this and then nothing more, until the other side closes the connection.
    Hang(Vec<u8>),
    /// Sends the first and then the second without end, until the other side closes the connection.
    Endless(Vec<u8>, Vec<u8>),
}

/// A running origin.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    /// TLS settings of a client that trusts its authority.
    pub tls: ClientConfig,
    script: Arc<Mutex<Script>>,
    /// The request heads that it has read.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// How many connections were opened, with a request or without.
    pub connections: Arc<AtomicUsize>,
    /// How many of them have ended.
    pub ended: watch::Receiver<usize>,
}

impl Origin {
    /// An origin called `client.example`.
    pub async fn start(script: Script) -> Self {
        Self::named("client.example", script).await
    }

    /// An origin whose certificate is for this name.
    pub async fn named(name: &str, script: Script) -> Self {
        let authority = Authority::new();
        let server = authority.server_config(name, DEFAULT_VERSIONS);
        let tls = tls_with_roots(authority.roots());
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

    /// Changes what it does from now on.
    pub fn now(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// How many connections were opened.
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
    let (Script::Respond(first) | Script::Hang(first) | Script::Endless(first, _)) = script;
    // A client that has read enough closes the connection. Then writing fails, as it should.
    if stream.write_all(first).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    match script {
        Script::Respond(_) => {
            let _ = stream.shutdown().await;
        }
        Script::Hang(_) => {
            let _ = stream.read_u8().await;
        }
        Script::Endless(_, again) => while stream.write_all(again).await.is_ok() {},
    }
}
