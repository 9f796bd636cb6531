//! Tool calls to an upstream that responds: pieces arrive as they are sent, and whatever happens, the invocation ends
//! as the Runtime API wants it.

use std::time::Duration;

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::{
    lambda::{
        aws::PAT,
        client::{Tokens, call, connect, register, rest},
        function::{Function, Options},
        host::Hand,
        tls_listener::TlsListener,
    },
    support::{authority::Authority, recorder::Recorder},
};

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];

/// The function in front of an upstream that responds.
pub struct Proxy {
    pub function: Function,
    pub upstream: Recorder,
    pub hand: Hand,
    pub tokens: Tokens,
}

impl Proxy {
    pub async fn start() -> Self {
        let authority = Authority::new();
        let listener = TlsListener::start(&authority, "localhost", rustls::ALL_VERSIONS).await;
        let upstream = Recorder::start_on(listener);
        let hand = Hand::new();
        let url = format!("https://localhost:{}/mcp", upstream.address.port());
        let mut settings = hand.settings(&authority);
        settings.push(("UPSTREAM_MCP", url));
        settings.push(("ACCESS_TOKEN_SECONDS", "1000000".to_owned()));
        let function = Function::with_options(Options {
            settings,
            own_host: true,
            ..Options::default()
        })
        .await;
        let tokens = connect(&function).await;
        Self {
            function,
            upstream,
            hand,
            tokens,
        }
    }

    /// Makes the upstream respond with what is sent into the channel.
    fn streams(&self, headers: &'static [(&'static str, &'static str)]) -> Sender {
        let (sender, receiver) = mpsc::unbounded_channel::<Piece>();
        let receiver = std::sync::Mutex::new(Some(receiver));
        self.upstream.responds(move |_| {
            let receiver = receiver.lock().unwrap().take().expect("one call");
            let pieces = stream::unfold(receiver, |mut receiver| async {
                Some((receiver.recv().await?, receiver))
            });
            let mut response = Body::from_stream(pieces).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        });
        sender
    }
}

type Piece = Result<&'static str, std::io::Error>;
type Sender = mpsc::UnboundedSender<Piece>;

#[tokio::test]
async fn a_tool_call_is_streamed_piece_by_piece() {
    let proxy = Proxy::start().await;
    let upstream = proxy.streams(&EVENTS);
    let mut asked = proxy.function.invoke(&call(&proxy.tokens.access));
    let prelude = asked.prelude().await;
    assert_eq!(prelude.status, 200);
    assert_eq!(prelude.headers["content-type"], "text/event-stream");
    // The client has status and headers before there is an event.
    assert!(!prelude.with_body);
    // Each piece is sent only after the previous one has arrived: nothing waits for the end.
    for piece in [
        "data: {\"progress\":1}\n\n",
        "data: {\"prog",
        "ress\":2}\n\n",
        "data: {\"result\":{}}\n\n",
    ] {
        upstream.send(Ok(piece)).unwrap();
        let (data, _) = asked.chunk().await.unwrap();
        assert_eq!(data, piece.as_bytes());
    }
    drop(upstream);
    assert!(asked.chunk().await.is_none());
    let requests = proxy.upstream.requests();
    let recorded = requests.last().unwrap();
    assert_eq!(
        recorded.header("authorization"),
        Some(format!("Bearer {PAT}").as_str())
    );
    assert_eq!(recorded.target, "/mcp");
    assert!(
        requests
            .iter()
            .all(|recorded| !format!("{recorded:?}").contains(&proxy.tokens.access))
    );
}

#[tokio::test]
async fn a_stream_that_the_upstream_cuts_off_is_reported_in_trailers_and_nothing_is_added_to_it() {
    let proxy = Proxy::start().await;
    let upstream = proxy.streams(&EVENTS);
    let mut asked = proxy.function.invoke(&call(&proxy.tokens.access));
    asked.prelude().await;
    upstream.send(Ok("data: 1\n\n")).unwrap();
    let (data, _) = asked.chunk().await.unwrap();
    assert_eq!(data, "data: 1\n\n");
    upstream.send(Err(std::io::Error::other("broken"))).unwrap();
    let (rest, report) = asked.cut_off().await;
    assert_eq!(rest, "");
    // Lambda recommends `category.reason`.
    assert_eq!(report.error_type, "Function.StreamCutOff");
    assert_eq!(report.body["errorType"], report.error_type);
    // The cause is only in the log.
    assert_eq!(report.body["errorMessage"], "the response was cut off");
    let line = proxy.function.logged("stream_broken").await;
    assert_eq!(line["request_id"], asked.id.as_str());

    // And it keeps running.
    proxy
        .upstream
        .responds_with(200, &[("content-type", "application/json")], "{}");
    let response = proxy.function.response(&call(&proxy.tokens.access)).await;
    assert_eq!((response.prelude.status, response.text()), (200, "{}"));
}

#[tokio::test]
async fn streams_end_between_events_five_seconds_before_the_deadline() {
    let proxy = Proxy::start().await;
    let upstream = proxy.streams(&EVENTS);
    let runs = Duration::from_secs(8);
    let mut asked = proxy
        .function
        .api
        .invoke(&call(&proxy.tokens.access), Some(runs));
    asked.prelude().await;
    upstream.send(Ok("data: 1\n\n")).unwrap();
    assert_eq!(rest(&mut asked).await, "data: 1\n\n");
    let took = asked.elapsed();
    assert!(took <= Duration::from_millis(3500), "{took:?}");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let log = proxy.function.log();
    assert!(
        !log.iter().any(|line| line.contains("stream_broken")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn a_stream_without_an_event_boundary_is_cut_before_the_deadline() {
    let proxy = Proxy::start().await;
    let upstream = proxy.streams(&[("content-type", "application/json")]);
    let runs = Duration::from_secs(5);
    let mut asked = proxy
        .function
        .api
        .invoke(&call(&proxy.tokens.access), Some(runs));
    asked.prelude().await;
    upstream.send(Ok("{\"half\":")).unwrap();
    let (half, report) = asked.cut_off().await;
    assert_eq!(half, "{\"half\":");
    assert_eq!(report.error_type, "Function.StreamCutOff");
    let took = asked.elapsed();
    assert!(took <= Duration::from_millis(3500), "{took:?}");
    proxy.function.logged("stream_broken").await;
}

#[tokio::test]
async fn a_silent_upstream_gives_an_error_before_the_deadline() {
    let proxy = Proxy::start().await;
    proxy.upstream.falls_silent();
    let runs = Duration::from_secs(4);
    let asked = proxy
        .function
        .api
        .invoke(&call(&proxy.tokens.access), Some(runs));
    let response = asked.response().await;
    assert_eq!(response.prelude.status, 504, "{}", response.text());
    assert!(
        response.took < Duration::from_millis(2500),
        "{:?}",
        response.took
    );
    proxy.function.logged("upstream_silent").await;
}

#[tokio::test]
async fn a_deadline_in_the_past_is_no_deadline() {
    let proxy = Proxy::start().await;
    let upstream = proxy.streams(&EVENTS);
    let mut asked = proxy.function.api.invoke(&call(&proxy.tokens.access), None);
    asked.prelude().await;
    for piece in ["data: 1\n\n", "data: 2\n\n"] {
        upstream.send(Ok(piece)).unwrap();
        assert_eq!(asked.chunk().await.unwrap().0, piece.as_bytes());
    }
    drop(upstream);
    assert!(asked.chunk().await.is_none());
}

#[tokio::test]
async fn a_panic_gives_500_and_the_function_keeps_running() {
    let proxy = Proxy::start().await;
    proxy.hand.says("panic");
    let body = r#"{"redirect_uris":["https://client.example/callback"]}"#;
    let headers = [("content-type", "application/json")];
    let asked = crate::lambda::client::event("POST", "/register", &headers, body);
    let response = proxy.function.response(&asked).await;
    assert_eq!(response.prelude.status, 500);
    assert_eq!(response.json()["error"], "server_error");
    assert!(!response.text().contains("on purpose"));
    proxy.function.logged("panic").await;
    proxy.function.counted("ServerError").await;
    proxy.hand.says("0");
    register(&proxy.function).await;
}

#[tokio::test]
async fn a_large_response_arrives_complete() {
    let proxy = Proxy::start().await;
    proxy.upstream.responds(|_| {
        let pieces =
            stream::iter(0..64).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![n; 65_536])));
        Body::from_stream(pieces).into_response()
    });
    let response = proxy.function.response(&call(&proxy.tokens.access)).await;
    assert_eq!(response.body.len(), 64 * 65_536);
    assert!(
        response
            .body
            .chunks(65_536)
            .zip(0_u8..)
            .all(|(piece, n)| piece.iter().all(|byte| *byte == n))
    );
}
