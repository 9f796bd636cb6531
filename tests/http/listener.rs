//! The listener of the local host: its limits for connections, and how it stops.

use std::{convert::Infallible, num::NonZeroU16, time::Duration};

use axum::{body::Body, response::IntoResponse as _};
use futures_util::{FutureExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::support::world::{Options, World, time_passes};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;

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

    /// A whole request and its response.
    async fn get(&mut self, w: &World) {
        self.begin(w).await;
        self.send("\r\n").await;
        time_passes(1).await;
        assert_eq!(self.status(), Some(404));
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

    /// Reads everything that has arrived.
    fn read_all(&mut self) -> String {
        let (mut text, mut bytes) = (String::new(), vec![0; 64 * 1024]);
        while let Some(Ok(length @ 1..)) = self.0.read(&mut bytes).now_or_never() {
            text += &String::from_utf8_lossy(&bytes[..length]);
        }
        text
    }

    fn is_waiting(&mut self) -> bool {
        self.0.read(&mut [0]).now_or_never().is_none()
    }
}

#[tokio::test]
async fn a_head_has_thirty_seconds_and_an_idle_connection_a_hundred() {
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

    // The next request may begin 100 seconds later, and then has 30 seconds again.
    time_passes(95).await;
    in_time.begin(&w).await;
    time_passes(28).await;
    in_time.send("\r\n").await;
    time_passes(1).await;
    assert_eq!(in_time.status(), Some(404));
    time_passes(98).await;
    assert!(in_time.is_waiting());
    time_passes(3).await;
    assert_eq!(in_time.status(), None);
}

#[tokio::test]
async fn the_idle_time_begins_at_the_end_of_a_response_however_long_it_took() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream.responds(|_| {
        let late = stream::once(async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            Ok::<_, Infallible>("data: 1\n\n")
        });
        let events = [("content-type", "text/event-stream")];
        (events, Body::from_stream(late)).into_response()
    });
    let mut long = Socket::open(&w).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{CALL}",
        w.address,
        client.access,
        CALL.len()
    );
    long.send(&head).await;
    time_passes(39).await;
    assert!(!long.read_all().contains("data: 1"));
    let mut short = Socket::open(&w).await;
    short.begin(&w).await;
    short.send("\r\n").await;
    time_passes(2).await;
    assert!(long.read_all().ends_with("data: 1\n\n\r\n0\r\n\r\n"));
    assert_eq!(short.status(), Some(404));
    time_passes(97).await;
    assert!(short.is_waiting() && long.is_waiting());
    time_passes(4).await;
    assert_eq!((short.status(), long.status()), (None, None));
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
async fn a_connection_beyond_the_limit_takes_the_place_of_the_longest_idle_one() {
    let w = World::with_options(Options {
        max_connections: NonZeroU16::new(3),
        ..Options::default()
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Socket::open(&w).await);
        open.last_mut().unwrap().get(&w).await;
    }
    // The second is now the longest idle.
    open[0].get(&w).await;
    let mut fourth = Socket::open(&w).await;
    fourth.get(&w).await;
    assert_eq!(open.remove(1).status(), None);
    open.push(fourth);
    assert!(open.iter_mut().all(Socket::is_waiting));

    // A part of a head is not a request, and keeps nobody out.
    open[0].begin(&w).await;
    time_passes(1).await;
    let mut fifth = Socket::open(&w).await;
    fifth.get(&w).await;
    assert_eq!(open.remove(1).status(), None);
    open.push(fifth);
    Socket::open(&w).await.get(&w).await;
    assert_eq!(open.remove(0).status(), None);
    drop(open);

    // Nor does a part of the first head, and nobody waits until it is closed.
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(Socket::open(&w).await);
        begun.last_mut().unwrap().begin(&w).await;
    }
    time_passes(1).await;
    let mut next = Socket::open(&w).await;
    next.begin(&w).await;
    next.send("\r\n").await;
    // No second passes.
    time_passes(0).await;
    assert_eq!(next.status(), Some(404));
}

#[tokio::test]
async fn a_connection_waits_while_all_others_have_a_request_under_way() {
    let w = World::with_options(Options {
        max_connections: NonZeroU16::new(3),
        ..Options::default()
    })
    .await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut socket = Socket::open(&w).await;
        let head = format!(
            "POST /token HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: 3\r\n\r\n",
            w.address
        );
        socket.send(&head).await;
        busy.push(socket);
    }
    time_passes(1).await;
    let (mut next, mut last) = (Socket::open(&w).await, Socket::open(&w).await);
    for socket in [&mut next, &mut last] {
        socket.begin(&w).await;
        socket.send("\r\n").await;
    }
    time_passes(1).await;
    assert!(next.is_waiting() && last.is_waiting());
    drop(busy.pop());
    time_passes(1).await;
    assert_eq!(next.status(), Some(404));
    // Idle now, it makes room for the other one; those that are busy lose nothing.
    time_passes(1).await;
    assert_eq!((next.status(), last.status()), (None, Some(404)));
    for mut socket in busy {
        socket.send("a=b").await;
        time_passes(1).await;
        assert_eq!(socket.status(), Some(400));
    }
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
    time_passes(1).await;
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

#[tokio::test]
async fn a_request_that_was_on_its_way_when_the_program_is_asked_to_stop_gets_its_response() {
    let mut w = World::start().await;
    let mut kept = Socket::open(&w).await;
    kept.get(&w).await;
    // The system has accepted this one, the program has not seen it yet.
    let mut queued = Socket::open(&w).await;
    queued.begin(&w).await;
    queued.send("\r\n").await;
    w.stop();
    tokio::task::yield_now().await;
    kept.begin(&w).await;
    kept.send("\r\n").await;
    time_passes(2).await;
    for socket in [&mut kept, &mut queued] {
        let response = socket.read_all();
        assert!(response.starts_with("HTTP/1.1 404"), "{response:?}");
        assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
        assert_eq!(socket.status(), None);
    }
    w.stopped().now_or_never().expect("it has stopped");
}
