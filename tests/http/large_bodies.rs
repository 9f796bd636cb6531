//! Calls of every size up to 6 MB are treated like small ones. Beyond that, or without memory budget, an error says why.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all, stream};
use http::StatusCode;
use tokio::{net::TcpListener, sync::watch};

use crate::support::{
    recorder::Recorded,
    world::{Connected, Options, World},
};

const LIMIT: usize = 6 * 1024 * 1024;

/// A call of this many bytes.
fn call(size: usize) -> Bytes {
    let frame = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":""}"#;
    let (before, after) = frame.split_at(frame.len() - 2);
    [before, &"x".repeat(size - frame.len()), after]
        .concat()
        .into()
}

async fn send(
    w: &World,
    client: &Connected,
    body: Bytes,
    chunked: bool,
) -> crate::support::world::Response {
    let body = if chunked {
        let chunks: Vec<_> = body
            .chunks(65_536)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect();
        reqwest::Body::wrap_stream(stream::iter(chunks))
    } else {
        body.into()
    };
    w.post("/mcp")
        .header("authorization", &format!("Bearer {}", client.access))
        .body("application/json", body)
        .send()
        .await
}

/// `/mcp` moves to `/mcp/`, as in many frameworks.
fn redirecting(recorded: &Recorded) -> Response {
    if recorded.target == "/mcp" {
        return (StatusCode::TEMPORARY_REDIRECT, [("location", "/mcp/")]).into_response();
    }
    (
        [("content-type", "application/json")],
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
    )
        .into_response()
}

#[tokio::test]
async fn a_redirect_is_followed_whatever_the_size_up_to_six_megabytes() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream.responds(redirecting);
    for size in [
        100,
        65_536,
        262_144,
        262_145,
        1_000_000,
        4_500_000,
        LIMIT - 1,
        LIMIT,
    ] {
        for chunked in [false, true] {
            let body = call(size);
            let response = send(&w, &client, body.clone(), chunked).await;
            assert_eq!(response.status, 200, "{size}, {chunked}: {}", response.text);
            let seen = w.upstream.requests().pop().unwrap();
            assert_eq!(seen.target, "/mcp/");
            assert!(seen.body == body, "{size}");
            // The length is known, so it is sent.
            assert_eq!(seen.header("content-length"), Some(&*size.to_string()));
            assert_eq!(seen.header("transfer-encoding"), None);
        }
    }
}

#[tokio::test]
async fn beyond_six_megabytes_a_body_streams_and_an_error_names_the_size() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream.responds(redirecting);
    for size in [LIMIT + 1, 7_000_000] {
        for chunked in [false, true] {
            let response = send(&w, &client, call(size), chunked).await;
            assert_eq!(response.status, 413, "{}", response.text);
            assert!(response.json()["id"].is_null());
            let message = response.json()["error"]["message"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(
                message.contains("6 MB") && !message.contains("UPSTREAM"),
                "{message}"
            );
        }
    }
    w.upstream
        .responds_with(200, &[("content-type", "application/json")], "{}");
    for size in [LIMIT + 1, 20_000_000] {
        for chunked in [false, true] {
            let body = call(size);
            let response = send(&w, &client, body.clone(), chunked).await;
            assert_eq!(response.status, 200, "{}", response.text);
            let seen = w.upstream.requests().pop().unwrap();
            assert!(seen.body == body, "{size}");
            assert_eq!(seen.header("content-length").is_some(), !chunked);
        }
    }
}

#[tokio::test]
async fn a_large_calls_error_carries_its_id() {
    let w = World::start().await;
    let client = w.connect().await;
    for size in [262_145, LIMIT] {
        w.upstream.responds_with(401, &[], "");
        let response = send(&w, &client, call(size), false).await;
        assert_eq!(
            (response.status, response.json()["id"].as_u64()),
            (502, Some(7))
        );
        w.upstream.responds_with(403, &[], "no");
        let response = send(&w, &client, call(size), true).await;
        assert_eq!(
            (response.status, response.json()["id"].as_u64()),
            (200, Some(7))
        );
    }
}

/// An upstream that holds calls back until it is told to let them go: before the head of its response, or behind it.
struct Holding {
    address: SocketAddr,
    release: watch::Sender<bool>,
    held: watch::Receiver<usize>,
}

struct Shared {
    released: watch::Receiver<bool>,
    held: watch::Sender<usize>,
}

impl Holding {
    async fn start() -> Self {
        let (release, released) = watch::channel(false);
        let (count, held) = watch::channel(0);
        let shared = Arc::new(Shared {
            released,
            held: count,
        });
        let router = Router::new().fallback(hold).with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            release,
            held,
        }
    }

    async fn world(&self) -> World {
        World::with_options(Options {
            upstream: Some(format!("http://{}/mcp", self.address)),
            ..Options::default()
        })
        .await
    }
}

async fn hold(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let name = request.headers().get("mcp-name").cloned();
    let path = request.uri().path().to_owned();
    let _ = to_bytes(request.into_body(), usize::MAX).await;
    let mut released = shared.released.clone();
    let waits = async move {
        let _ = released.wait_for(|released| *released).await;
    };
    match name.as_ref().and_then(|name| name.to_str().ok()) {
        Some("hold") => {
            shared.held.send_modify(|held| *held += 1);
            waits.await;
            "{}".into_response()
        }
        Some("open") => {
            shared.held.send_modify(|held| *held += 1);
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"data: 1\n\n"))]);
            let end = stream::once(waits).filter_map(|()| async { None });
            let events = Body::from_stream(first.chain(end));
            ([("content-type", "text/event-stream")], events).into_response()
        }
        _ if path == "/mcp" => {
            (StatusCode::TEMPORARY_REDIRECT, [("location", "/mcp/")]).into_response()
        }
        _ => "{}".into_response(),
    }
}

/// A call of 6 MB that is held.
async fn held(w: &World, client: &Connected, how: &str) -> reqwest::Response {
    w.post("/mcp")
        .header("authorization", &format!("Bearer {}", client.access))
        .header("mcp-name", how)
        .body("application/json", call(LIMIT))
        .stream()
        .await
}

#[tokio::test]
async fn all_calls_share_one_memory_budget_and_return_what_they_used() {
    let upstream = Holding::start().await;
    let w = upstream.world().await;
    let client = w.connect().await;
    let body = call(LIMIT);
    // Ten are 60 MB: the eleventh does not fit into the budget of 64 MB.
    let ten = join_all((0..10).map(|_| held(&w, &client, "hold")));
    let eleventh = async {
        let mut held = upstream.held.clone();
        held.wait_for(|held| *held == 10).await.unwrap();
        let large = send(&w, &client, body.clone(), false).await;
        let small = send(&w, &client, call(100_000), false).await;
        upstream.release.send(true).unwrap();
        (large, small)
    };
    let (ten, (large, small)) = tokio::join!(ten, eleventh);
    assert!(ten.iter().all(|response| response.status() == 200));
    assert_eq!(large.status, 503, "{}", large.text);
    assert_eq!(large.header("retry-after"), "5");
    let message = large.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("64 MB") && !message.contains("UPSTREAM"),
        "{message}"
    );
    assert_eq!(small.status, 200, "4 MB were left");
    // Now it fits, and the redirect is followed.
    assert_eq!(send(&w, &client, body, false).await.status, 200);
}

#[tokio::test]
async fn a_response_that_has_started_uses_nothing_of_the_memory_budget() {
    let upstream = Holding::start().await;
    let w = upstream.world().await;
    let client = w.connect().await;
    let mut open = Vec::new();
    for _ in 0..12 {
        let mut response = held(&w, &client, "open").await;
        assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 1\n\n");
        open.push(response);
    }
    assert_eq!(send(&w, &client, call(LIMIT), false).await.status, 200);
    upstream.release.send(true).unwrap();
    for response in open {
        // On a slow machine comments keep the connection alive meanwhile.
        let rest = response.text().await.unwrap();
        assert!(
            rest.lines()
                .all(|line| line.is_empty() || line.starts_with(':')),
            "{rest}"
        );
    }
}
