//! Clients that cost little themselves: prepared requests over kept connections, one after the other on each.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::servers::read_message;

/// A place to call, with the access token for it.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub host: String,
    pub token: String,
}

impl Target {
    /// The bytes of a call; `what` is the last segment of the path, or nothing.
    pub fn request(&self, what: &str) -> Vec<u8> {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}"#;
        let (host, token, length) = (&self.host, &self.token, body.len());
        format!(
            "POST /mcp{what} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             mcp-protocol-version: 2025-11-25\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    async fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Calls for this long on this many connections; the milliseconds of each call.
    pub async fn calls(&self, connections: usize, duration: Duration) -> Vec<f64> {
        let callers = (0..connections).map(|_| {
            let target = self.clone();
            tokio::spawn(async move {
                let (mut socket, mut received) = (target.connect().await, BytesMut::new());
                let (request, end) = (target.request(""), Instant::now() + duration);
                let mut times = Vec::new();
                while Instant::now() < end {
                    let begin = Instant::now();
                    socket.write_all(&request).await.unwrap();
                    let (head, _) = read_message(&mut socket, &mut received).await.unwrap();
                    assert!(head.starts_with("http/1.1 200"), "{head}");
                    times.push(begin.elapsed().as_secs_f64() * 1000.0);
                }
                times
            })
        });
        let mut times = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            times.extend(caller.await.unwrap());
        }
        times
    }

    /// Milliseconds to the first event, and from sending to receiving each of this many events.
    pub async fn events(&self, begin: Instant, count: usize) -> (f64, Vec<f64>) {
        let mut socket = self.connect().await;
        let called = Instant::now();
        socket.write_all(&self.request("/events")).await.unwrap();
        let (mut received, mut times, mut first) = (BytesMut::new(), Vec::new(), 0.0);
        loop {
            assert!(socket.read_buf(&mut received).await.unwrap() > 0);
            let now = begin.elapsed().as_nanos() as f64;
            while let Some(at) = received.windows(6).position(|part| part == b"data: ") {
                let Some(end) = received[at..].windows(2).position(|part| part == b"\n\n") else {
                    break;
                };
                let sent = std::str::from_utf8(&received[at + 6..at + end]).unwrap();
                times.push((now - sent.parse::<f64>().unwrap()) / 1e6);
                if first == 0.0 {
                    first = called.elapsed().as_secs_f64() * 1000.0;
                }
                received.advance(at + end);
                if times.len() == count {
                    return (first, times);
                }
            }
        }
    }

    /// Milliseconds for a large response.
    pub async fn large(&self) -> f64 {
        let mut socket = self.connect().await;
        let begin = Instant::now();
        socket.write_all(&self.request("/large")).await.unwrap();
        let mut bytes = vec![0; 1024 * 1024];
        let mut read = 0;
        while read < crate::servers::LARGE_BYTES {
            let more = socket.read(&mut bytes).await.unwrap();
            assert!(more > 0);
            read += more;
        }
        begin.elapsed().as_secs_f64() * 1000.0
    }
}
