//! The listener of the local host: its limits for connections, and how it stops.

use std::num::NonZeroU16;

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::support::world::{Options, World, time_passes};

/// A connection without an HTTP client, which could open a second one.
struct Socket(TcpStream);

impl Socket {
    async fn open(w: &World) -> Self {
        let socket = TcpStream::connect(w.address).await.unwrap();
        // Its delays would be real time.
        socket.set_nodelay(true).unwrap();
        Self(socket)
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of a request without a body, up to its last line.
    async fn begin(&mut self, w: &World) {
        let head = format!("GET /nothing-here HTTP/1.1\r\nhost: {}\r\n", w.address);
        self.send(&head).await;
    }

    /// The status of the next response, which must have arrived; `None` if the server closed the connection.
    #[track_caller]
    fn status(&mut self) -> Option<u16> {
        let mut bytes = vec![0; 64 * 1024];
        let read = self.0.read(&mut bytes).now_or_never();
        // A server that closes may also reset the connection.
        let length = read.expect("nothing has arrived").unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        Some(text.split(' ').nth(1)?.parse().unwrap())
    }

    fn is_waiting(&mut self) -> bool {
        self.0.read(&mut [0]).now_or_never().is_none()
    }
}

#[tokio::test]
async fn a_head_has_thirty_seconds_and_an_idle_connection_seventy_five() {
    let w = World::start().await;
    let (mut silent, mut slow) = (Socket::open(&w).await, Socket::open(&w).await);
    let mut in_time = Socket::open(&w).await;
    slow.begin(&w).await;
    time_passes(29).await;
    assert!(silent.is_waiting() && slow.is_waiting());
    slow.send("x: y\r\n").await;
    in_time.begin(&w).await;
    in_time.send("\r\n").await;
    time_passes(2).await;
    assert_eq!((silent.status(), slow.status()), (None, None));
    assert_eq!(in_time.status(), Some(404));

    // The next request may begin 75 seconds later, and then has 30 seconds again.
    time_passes(70).await;
    in_time.begin(&w).await;
    time_passes(28).await;
    in_time.send("\r\n").await;
    time_passes(1).await;
    assert_eq!(in_time.status(), Some(404));
    time_passes(73).await;
    assert!(in_time.is_waiting());
    time_passes(3).await;
    assert_eq!(in_time.status(), None);
}

#[tokio::test]
async fn a_body_that_stalls_is_refused() {
    let w = World::start().await;
    let client = w.connect().await;
    for (path, content_type, seconds, status) in [
        ("/token", "application/x-www-form-urlencoded", 20, 408),
        ("/register", "application/json", 20, 408),
        // It is streamed to the upstream from the 20th second on.
        ("/mcp", "application/json", 30, 400),
    ] {
        let mut socket = Socket::open(&w).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: {content_type}\r\n\
             content-length: 100\r\n\r\n{{",
            w.address, client.access
        );
        socket.send(&head).await;
        time_passes(seconds - 1).await;
        assert!(socket.is_waiting(), "{path}");
        time_passes(2).await;
        assert_eq!(socket.status(), Some(status), "{path}");
        time_passes(6).await;
        assert_eq!(socket.status(), None, "{path}");
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_until_another_closes() {
    let w = World::with_options(Options {
        max_connections: NonZeroU16::new(3),
        ..Options::default()
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut socket = Socket::open(&w).await;
        socket.begin(&w).await;
        socket.send("\r\n").await;
        open.push(socket);
    }
    time_passes(1).await;
    let mut fourth = open.pop().unwrap();
    for socket in &mut open {
        assert_eq!(socket.status(), Some(404));
    }
    assert!(fourth.is_waiting());
    drop(open.pop());
    time_passes(1).await;
    assert_eq!(fourth.status(), Some(404));
}

#[tokio::test]
async fn a_client_that_reads_no_response_loses_its_place() {
    let w = World::with_options(Options {
        max_connections: NonZeroU16::new(1),
        ..Options::default()
    })
    .await;
    // With a small buffer at the client, a few hundred pages fill everything on the way.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut unread = Socket(socket.connect(w.address).await.unwrap());
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\naccept: text/html\r\n\r\n",
        w.address
    );
    unread.send(&request.repeat(1000)).await;
    let mut next = Socket::open(&w).await;
    next.begin(&w).await;
    next.send("\r\n").await;
    time_passes(110).await;
    assert!(next.is_waiting());
    time_passes(20).await;
    assert_eq!(next.status(), Some(404));
    drop(unread);
}

#[tokio::test]
async fn stopping_closes_connections_that_have_no_request_under_way() {
    let mut w = World::start().await;
    let (mut idle, mut begun) = (Socket::open(&w).await, Socket::open(&w).await);
    idle.begin(&w).await;
    idle.send("\r\n").await;
    begun.begin(&w).await;
    time_passes(1).await;
    assert_eq!(idle.status(), Some(404));
    w.stop();
    time_passes(2).await;
    assert_eq!((idle.status(), begun.status()), (None, None));
    w.stopped().now_or_never().expect("it has stopped");
}
