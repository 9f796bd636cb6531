//! What the program talks to: an upstream, and a table in front of the embedded engine that responds to the read of a call
//! with the bytes of the first response.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use bytes::{Buf as _, Bytes, BytesMut};
use dynoxide::Database;
use http_body_util::BodyExt as _;
use lambda_oauth_mcp_proxy::host::engine;
use rustls::version::TLS13;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::authority::Authority;

/// The secret as Secrets Manager returns it.
const SECRET: &str =
    r#"{"SecretString":"{\"upstream_token\":\"upstream-token\",\"auth_pin\":\"benchPIN22\"}"}"#;
pub const LARGE_BYTES: usize = 10 * 1024 * 1024;
pub const EVENTS: usize = 500;
const EVENT_PAUSE: Duration = Duration::from_millis(1);

pub struct Servers {
    pub authority: Authority,
    pub upstream: SocketAddr,
    pub upstream_tls: SocketAddr,
    pub aws: SocketAddr,
    pub aws_tls: SocketAddr,
    /// When the times in the events begin.
    pub begin: Instant,
}

#[derive(Clone)]
struct Table {
    engine: Router,
    reads: Arc<Mutex<HashMap<Bytes, Bytes>>>,
}

impl Servers {
    pub async fn start() -> Self {
        let (authority, begin) = (Authority::new(), Instant::now());
        let table = Table {
            engine: engine::router(Database::memory().unwrap()),
            reads: Arc::default(),
        };
        let config = Arc::new(authority.server_config("localhost", &[&TLS13]));
        let acceptor = Some(TlsAcceptor::from(config));
        Self {
            upstream: serve(None, Server::Upstream(begin)).await,
            upstream_tls: serve(acceptor.clone(), Server::Upstream(begin)).await,
            aws: serve(None, Server::Aws(table.clone())).await,
            aws_tls: serve(acceptor, Server::Aws(table)).await,
            authority,
            begin,
        }
    }
}

#[derive(Clone)]
enum Server {
    Upstream(Instant),
    Aws(Table),
}

async fn serve(tls: Option<TlsAcceptor>, server: Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let (tls, server) = (tls.clone(), server.clone());
            tokio::spawn(async move {
                match tls {
                    None => connection(socket, server).await,
                    Some(tls) => match tls.accept(socket).await {
                        Ok(socket) => connection(socket, server).await,
                        Err(_) => None,
                    },
                }
            });
        }
    });
    address
}

/// Reads requests and responds, until the other side closes the connection.
async fn connection(mut socket: impl AsyncRead + AsyncWrite + Unpin, server: Server) -> Option<()> {
    let mut received = BytesMut::new();
    loop {
        let (head, body) = read_message(&mut socket, &mut received).await?;
        match &server {
            Server::Upstream(begin) => upstream(&mut socket, &head, *begin).await?,
            Server::Aws(table) => {
                let response = table.respond(&head, body).await;
                socket.write_all(&response).await.ok()?;
            }
        }
    }
}

/// A message's head in lower case, and its body; it has a length or none.
pub async fn read_message(
    socket: &mut (impl AsyncRead + Unpin),
    received: &mut BytesMut,
) -> Option<(String, Bytes)> {
    let end = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        (socket.read_buf(received).await.ok()? > 0).then_some(())?;
    };
    let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
    received.advance(end);
    let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
        rest.split_once("\r\n").unwrap().0.parse().unwrap()
    });
    while received.len() < length {
        (socket.read_buf(received).await.ok()? > 0).then_some(())?;
    }
    Some((head, received.split_to(length).freeze()))
}

pub fn response(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The last segment of the path says what is wanted.
async fn upstream(
    socket: &mut (impl AsyncWrite + Unpin),
    head: &str,
    begin: Instant,
) -> Option<()> {
    let path = head.split(' ').nth(1)?;
    if path.ends_with("/events") {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head).await.ok()?;
        for _ in 0..EVENTS {
            let event = format!("data: {}\n\n", begin.elapsed().as_nanos());
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            socket.write_all(chunk.as_bytes()).await.ok()?;
            tokio::time::sleep(EVENT_PAUSE).await;
        }
        return socket.write_all(b"0\r\n\r\n").await.ok();
    }
    let large = path.ends_with("/large");
    let body = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}]}}"#;
    let body = if large {
        vec![b' '; LARGE_BYTES]
    } else {
        body.to_vec()
    };
    socket.write_all(&response(&body)).await.ok()
}

impl Table {
    async fn respond(&self, head: &str, body: Bytes) -> Vec<u8> {
        if head.contains("secretsmanager.") {
            return response(SECRET.as_bytes());
        }
        let is_call =
            head.contains(".getitem") && body.windows(12).any(|part| part == b"\"connection\"");
        if is_call && let Some(known) = self.reads.lock().unwrap().get(&body) {
            return response(known);
        }
        let target = head
            .split_once("x-amz-target: dynamodb_20120810.")
            .unwrap()
            .1;
        let target = target.split_once("\r\n").unwrap().0;
        let operations = [
            "GetItem",
            "PutItem",
            "UpdateItem",
            "DeleteItem",
            "Query",
            "DescribeTable",
            "CreateTable",
            "UpdateTimeToLive",
        ];
        let target = operations
            .iter()
            .find(|name| name.eq_ignore_ascii_case(target))
            .unwrap();
        let request =
            http::Request::post("/").header("x-amz-target", format!("DynamoDB_20120810.{target}"));
        let request = request.body(Body::from(body.clone())).unwrap();
        let responded = self.engine.clone().oneshot(request).await.unwrap();
        let (parts, responded) = responded.into_parts();
        let responded = responded.collect().await.unwrap().to_bytes();
        if is_call && responded.windows(6).any(|part| part == b"\"live\"") {
            self.reads.lock().unwrap().insert(body, responded.clone());
        }
        let head = format!("HTTP/1.1 {}", parts.status);
        let mut bytes = response(&responded);
        bytes.splice(.."HTTP/1.1 200 OK".len(), head.into_bytes());
        bytes
    }
}

/// A relay in front of a server, through which each round trip takes this much longer, that of TCP's handshake too.
pub async fn delayed(server: SocketAddr, round_trip: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(round_trip).await;
                let server = TcpStream::connect(server).await.ok()?;
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(
                    async move { tokio::io::copy(&mut from_server, &mut to_client).await },
                );
                let mut bytes = vec![0; 65_536];
                loop {
                    let read = from_client
                        .read(&mut bytes)
                        .await
                        .ok()
                        .filter(|read| *read > 0)?;
                    tokio::time::sleep(round_trip).await;
                    to_server.write_all(&bytes[..read]).await.ok()?;
                }
                #[expect(unreachable_code, reason = "says what the block's type is")]
                Some(())
            });
        }
    });
    address
}
