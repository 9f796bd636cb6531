//! An open stream ends with its connection: within a minute after revocation, after the owner ended it, and when the
//! access token expires. An unavailable store is no reason to end it.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::{
    http::{faults::wire::Wire, owner::Owner},
    support::world::{Connected, World, logged, time_passes},
};

/// The chunks of a response that is still open.
type Chunks = stream::BoxStream<'static, reqwest::Result<Bytes>>;

const FIRST: &str = "event: endpoint\ndata: /messages\n\n";

/// The upstream responds to each request with a stream of one event that does not end. The channel closes when the
/// upstream's side of the last of these streams is closed.
fn never_ends(w: &World, content_type: &'static str) -> mpsc::Receiver<()> {
    let (open, closed) = mpsc::channel::<()>(1);
    // The script holds no sender after the first request, so that only streams keep the channel open.
    let open = std::sync::Mutex::new(Some(open));
    w.upstream.responds(move |_| -> Response {
        let open = open.lock().unwrap().take();
        let pending = stream::once(async move {
            std::future::pending::<()>().await;
            drop(open);
            Ok::<_, std::io::Error>(Bytes::new())
        });
        let body = stream::once(async { Ok(Bytes::from_static(FIRST.as_bytes())) }).chain(pending);
        ([("content-type", content_type)], Body::from_stream(body)).into_response()
    });
    closed
}

async fn open(w: &World, client: &Connected, method: &str) -> Chunks {
    let request = if method == "GET" {
        let request = w.get("/mcp");
        request.header("authorization", &format!("Bearer {}", client.access))
    } else {
        w.call(&client.access)
    };
    let mut chunks = request.stream().await.bytes_stream().boxed();
    // The URL in it may have been replaced.
    let mut first = Vec::new();
    while !first.ends_with(b"\n\n") {
        first.extend_from_slice(&chunks.next().await.unwrap().unwrap());
    }
    chunks
}

/// Everything until the end, which must be a clean one.
async fn rest(chunks: Chunks) -> String {
    let chunks = chunks.map(Result::unwrap).collect::<Vec<_>>();
    let chunks = tokio::time::timeout(Duration::from_secs(10), chunks).await;
    let chunks = chunks.expect("the stream goes on");
    String::from_utf8(chunks.concat()).unwrap()
}

/// The reasons with which streams of this connection were ended, from the log.
fn reasons(client: &Connected) -> Vec<String> {
    let log = String::from_utf8_lossy(&logged().lock().unwrap()).into_owned();
    // The log of all tests is long: only these lines are read as JSON.
    let ended = log.lines().filter(|line| line.contains("stream_ended"));
    let lines = ended.filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = &line["fields"];
        let of_it = fields["event"] == "stream_ended" && fields["connection"] == client.id();
        of_it.then(|| fields["reason"].as_str().unwrap().to_owned())
    });
    lines.collect()
}

#[tokio::test]
async fn every_kind_of_stream_ends_within_a_minute_after_its_connection_or_its_token() {
    for (settings, methods, ends) in [
        (
            ("GET_STREAMS", "on"),
            &["POST", "GET"][..],
            &["revoked", "ended by the owner", "expired"][..],
        ),
        (("UPSTREAM_TRANSPORT", "sse"), &["GET"], &["revoked"]),
    ] {
        let w = World::with_settings(&[settings]).await;
        let owner = Owner::sign_in(&w).await;
        for reason in ends {
            let client = w.connect().await;
            let mut streams = Vec::new();
            for method in methods {
                let upstream = never_ends(&w, "text/event-stream");
                streams.push((open(&w, &client, method).await, upstream));
            }
            // As long as the connection is valid, so is the stream.
            time_passes(130).await;
            assert!(reasons(&client).is_empty());
            match *reason {
                "revoked" => {
                    let token = [
                        ("token", &*client.refresh),
                        ("client_id", &client.client_id),
                    ];
                    assert_eq!(w.post("/revoke").form(&token).send().await.status, 200);
                }
                "ended by the owner" => owner.end(client.id()).await,
                _ => w.advance_clock(86_400),
            }
            time_passes(60).await;
            for (stream, mut upstream) in streams {
                let rest = rest(stream).await;
                assert!(rest.replace(": keep-alive\n", "").is_empty(), "{rest}");
                assert!(upstream.recv().await.is_none());
            }
            let word = if *reason == "expired" {
                "token_expired"
            } else {
                "connection_ended"
            };
            assert_eq!(reasons(&client), vec![word; methods.len()], "{reason}");
        }
    }
}

#[tokio::test]
async fn a_refresh_leaves_the_stream_open_and_the_second_one_ends_it_with_the_token() {
    let w = World::start().await;
    let client = w.connect().await;
    let _upstream = never_ends(&w, "text/event-stream");
    let stream = open(&w, &client, "POST").await;
    let tokens = w.refresh(&client.client_id, &client.refresh).await.json();
    time_passes(61).await;
    assert!(reasons(&client).is_empty());
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(w.refresh(&client.client_id, refresh).await.status, 200);
    time_passes(60).await;
    rest(stream).await;
    assert_eq!(reasons(&client), ["token_replaced"]);
}

#[tokio::test]
async fn an_unavailable_store_ends_no_stream_but_the_expiry_of_the_token_does() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    for store_returns in [true, false] {
        let client = w.connect().await;
        let _upstream = never_ends(&w, "text/event-stream");
        let stream = open(&w, &client, "POST").await;
        let token = [
            ("token", &*client.refresh),
            ("client_id", &client.client_id),
        ];
        assert_eq!(w.post("/revoke").form(&token).send().await.status, 200);
        wire.down();
        time_passes(125).await;
        assert!(reasons(&client).is_empty());
        let expected = if store_returns {
            wire.sound();
            "connection_ended"
        } else {
            w.advance_clock(86_400);
            "token_expired"
        };
        time_passes(60).await;
        rest(stream).await;
        assert_eq!(reasons(&client), [expected]);
        wire.sound();
    }
}

#[tokio::test]
async fn any_other_response_is_cut_off_so_that_it_does_not_look_complete() {
    let w = World::start().await;
    let client = w.connect().await;
    let _upstream = never_ends(&w, "application/octet-stream");
    let mut stream = open(&w, &client, "POST").await;
    w.advance_clock(86_400);
    time_passes(60).await;
    let last = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    assert!(last.unwrap().unwrap().is_err());
    assert_eq!(reasons(&client), ["token_expired"]);
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_no_later_end() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream.responds(|_| {
        let event = format!("data: {}\n\n", "x".repeat(64 * 1024));
        let events = stream::repeat_with(move || Ok::<_, std::io::Error>(event.clone()));
        let body = Body::from_stream(events);
        ([("content-type", "application/octet-stream")], body).into_response()
    });
    let unread = w.call(&client.access).stream().await;
    w.advance_clock(86_400);
    time_passes(60).await;
    assert_eq!(reasons(&client), ["token_expired"]);
    // What was under way still arrives, and no more.
    let arrived = tokio::time::timeout(Duration::from_secs(10), unread.bytes());
    assert!(arrived.await.unwrap().is_err());
}
