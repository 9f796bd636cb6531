//! A frozen function: while it does not run, the clock goes on, and what lies between it and the upstream forgets its
//! connections without a word.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{
    recorder::Recorder,
    world::{Options, World},
};

const FREEZES: usize = 25;
/// Longer than pooled connections are trusted.
const FROZEN_SECONDS: u64 = 4;

/// Forwards connections. Forgotten ones stay open and are silent.
struct Relay {
    address: SocketAddr,
    forgotten: Arc<watch::Sender<()>>,
}

impl Relay {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let forgotten = Arc::new(watch::channel(()).0);
        let forget = forgotten.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut forgotten = forget.subscribe();
                tokio::spawn(async move {
                    let mut onward = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut socket, &mut onward) => {}
                        _ = forgotten.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, forgotten }
    }

    fn forget_connections(&self) {
        self.forgotten.send_replace(());
    }
}

#[tokio::test]
async fn the_first_call_after_a_freeze_succeeds_although_connections_were_dropped_silently() {
    let upstream = Recorder::start().await;
    let relay = Relay::start(upstream.address).await;
    let w = World::with_options(Options {
        upstream: Some(format!("http://{}/mcp", relay.address)),
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    for freeze in 1..=FREEZES {
        assert_eq!(w.status(&client.access).await, 200);
        relay.forget_connections();
        w.advance_clock(FROZEN_SECONDS);
        let call = tokio::time::timeout(Duration::from_secs(10), w.status(&client.access));
        assert_eq!(call.await, Ok(200), "freeze {freeze}");
    }
    let calls = upstream.requests().len();
    assert_eq!(calls, 2 * FREEZES, "each call was sent once");
}
