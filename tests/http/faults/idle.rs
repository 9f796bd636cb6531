//! An upstream that closes its idle connections, in the worst order: the next call is already on its way.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::support::world::{Options, World, time_passes};

/// An upstream that loses what arrives on a connection that was idle for so long.
struct Closing {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    idle_seconds: u64,
    /// The line of the response that announces it, or nothing.
    announced: &'static str,
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// The time since the start by the world's clock, which is not that of the timers.
    clock_seconds: AtomicU64,
    started: Instant,
}

impl Closing {
    async fn start(idle_seconds: u64, announced: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            idle_seconds,
            announced,
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            clock_seconds: AtomicU64::new(0),
            started: Instant::now(),
        });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(accepting.clone().serve(socket));
            }
        });
        Self { address, shared }
    }

    async fn world(&self) -> World {
        World::with_options(Options {
            upstream: Some(format!("http://{}/mcp", self.address)),
            settings: vec![("GET_STREAMS", "on".to_owned())],
            ..Options::default()
        })
        .await
    }

    fn counts(&self) -> (usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (
            count(&self.shared.connections),
            count(&self.shared.requests),
        )
    }

    /// Both kinds of time pass for the program.
    fn advance(&self, w: &World, seconds: u64) {
        w.advance_clock(seconds);
        self.shared
            .clock_seconds
            .fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Shared {
    fn now(&self) -> Duration {
        let by_the_clock = Duration::from_secs(self.clock_seconds.load(Ordering::SeqCst));
        by_the_clock + self.started.elapsed()
    }

    async fn serve(self: Arc<Self>, mut socket: TcpStream) {
        let mut idle_since = self.now();
        let mut request = vec![0; 65_536];
        loop {
            let mut seen = Vec::new();
            let is_whole = |seen: &[u8]| {
                let end: &[u8] = if seen.starts_with(b"GET") {
                    b"\r\n\r\n"
                } else {
                    b"}"
                };
                seen.ends_with(end)
            };
            while !is_whole(&seen) {
                let Ok(length @ 1..) = socket.read(&mut request).await else {
                    return;
                };
                seen.extend_from_slice(&request[..length]);
            }
            self.requests.fetch_add(1, Ordering::SeqCst);
            if self.now() >= idle_since + Duration::from_secs(self.idle_seconds) {
                return;
            }
            let response = format!(
                "HTTP/1.1 200 OK\r\n{}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}",
                self.announced
            );
            if socket.write_all(response.as_bytes()).await.is_err() {
                return;
            }
            idle_since = self.now();
        }
    }
}

#[tokio::test]
async fn no_connection_is_used_that_the_upstream_may_be_closing() {
    // When the upstream closes, what it announces, a pause and how many connections were opened after it.
    for (closes_after, announced, pauses) in [
        (5, "", &[(3, 1), (4, 2), (6, 3)][..]),
        (5, "keep-alive: timeout=5\r\n", &[(3, 1), (4, 2)]),
        (
            20,
            "Keep-Alive: max=100, Timeout=20\r\n",
            &[(18, 1), (19, 2)],
        ),
        (2, "keep-alive: timeout=2\r\n", &[(0, 1), (1, 2)]),
        (1, "keep-alive: timeout=1\r\n", &[(0, 2), (0, 3)]),
        (300, "keep-alive: timeout=300\r\n", &[(29, 1), (30, 2)]),
        (5, "keep-alive: timeout=, later\r\n", &[(3, 1), (4, 2)]),
    ] {
        let upstream = Closing::start(closes_after, announced).await;
        let w = upstream.world().await;
        let client = w.connect().await;
        assert_eq!(w.status(&client.access).await, 200, "{announced}");
        // The pool is replaced at an announcement, so the connection of the first response is not used again.
        assert_eq!(w.status(&client.access).await, 200, "{announced}");
        let (before, _) = upstream.counts();
        for (pause, connections) in pauses {
            upstream.advance(&w, *pause);
            assert_eq!(w.status(&client.access).await, 200, "{announced}: {pause}");
            let opened = upstream.counts().0 - before + 1;
            assert_eq!(opened, *connections, "{announced}: {pause}");
        }
        assert_eq!(
            upstream.counts().1,
            pauses.len() + 2,
            "each call was sent once"
        );
    }
}

#[tokio::test]
async fn a_connection_that_was_idle_beside_busy_ones_is_not_used_either() {
    let upstream = Closing::start(5, "").await;
    let w = upstream.world().await;
    let client = w.connect().await;
    for _ in 0..3 {
        // Two connections, of which one is used every three seconds.
        let both = tokio::join!(w.status(&client.access), w.status(&client.access));
        assert_eq!(both, (200, 200));
        for _ in 0..2 {
            time_passes(3).await;
            assert_eq!(w.status(&client.access).await, 200);
        }
    }
}

#[tokio::test]
async fn of_calls_that_were_lost_only_those_that_cannot_have_acted_are_sent_again() {
    // It loses the second request of each connection.
    let upstream = Closing::start(1, "").await;
    let w = upstream.world().await;
    let client = w.connect().await;
    for (method, status, sent) in [("GET", 200, 2), ("POST", 502, 1)] {
        assert_eq!(w.status(&client.access).await, 200);
        let (_, before) = upstream.counts();
        upstream.shared.clock_seconds.fetch_add(1, Ordering::SeqCst);
        let response = if method == "GET" {
            let bearer = format!("Bearer {}", client.access);
            w.get("/mcp").header("authorization", &bearer).send().await
        } else {
            w.call(&client.access).send().await
        };
        assert_eq!(response.status, status, "{method}: {}", response.text);
        assert_eq!(upstream.counts().1 - before, sent, "{method}");
    }
}
