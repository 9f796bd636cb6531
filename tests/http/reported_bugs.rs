//! Bugs that are publicly reported of other programs, and that this one must not have.

use axum::{body::Body, response::IntoResponse as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::world::{CALLBACK, Options, World};

#[tokio::test]
async fn event_streams_of_every_spelling_arrive_byte_by_byte() {
    let w = World::start().await;
    let client = w.connect().await;
    for events in [
        "data: 1\r\n\r\ndata: 2\r\n\r\n",
        "data: 1\r\rdata: 2\r\r",
        "data: 1\r\n\ndata: 2\n\r\n",
        "\u{feff}data: 1\n\n",
        ": a comment\n\n: another\r\n\r\ndata: 1\n\n",
        "retry: 10\nid: 7\n\nid\n\ndata\n\n",
        "event: message\ndata: {\ndata:   \"a\": 1\ndata: }\n\n",
        "data: caf\u{e9} \u{1f980} \u{10ffff}\n\n",
        ":\n\n\n\n\ndata:x\n\n\n",
        "data: without an end",
    ] {
        for size in [1, 2, 3, 7, events.len()] {
            w.upstream.responds(move |_| {
                let chunks: Vec<_> = events
                    .as_bytes()
                    .chunks(size)
                    .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
                    .collect();
                let body = Body::from_stream(stream::iter(chunks));
                ([("content-type", "text/event-stream")], body).into_response()
            });
            let response = w.call(&client.access).0.send().await.unwrap();
            let bytes = response.bytes().await.unwrap();
            assert_eq!(bytes, events, "in chunks of {size}");
        }
    }
}

#[tokio::test]
async fn an_event_of_six_megabytes_arrives_whole() {
    let w = World::start().await;
    let client = w.connect().await;
    let event = format!("data: {}\n\n", "\u{e9}".repeat(3 * 1024 * 1024));
    let sent = event.clone();
    w.upstream
        .responds(move |_| ([("content-type", "text/event-stream")], sent.clone()).into_response());
    let response = w.call(&client.access).send().await;
    assert!(response.text == event, "{} bytes", response.text.len());
}

/// It closes each connection right after its response, without announcing it: sometimes the next call is already sent.
#[tokio::test]
async fn an_upstream_that_closes_its_idle_connection_loses_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let mut seen = Vec::new();
                while !seen.ends_with(b"}") {
                    let Ok(length @ 1..) = socket.read(&mut request).await else {
                        return;
                    };
                    seen.extend_from_slice(&request[..length]);
                }
                let response = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                let _ = socket.write_all(response).await;
            });
        }
    });
    let w = World::with_options(Options {
        upstream: Some(format!("http://{address}/mcp")),
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    for call in 0..40 {
        let response = w.call(&client.access).send().await;
        assert_eq!(response.status, 200, "call {call}: {}", response.text);
    }
}

#[tokio::test]
async fn basic_authentication_works_with_and_without_client_id_in_the_body() {
    let w = World::start().await;
    let metadata =
        json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic" });
    let client = w.register(metadata).await;
    let text = |name: &str| client[name].as_str().unwrap().to_owned();
    let (id, secret) = (text("client_id"), text("client_secret"));
    let credentials = STANDARD.encode(format!("{id}:{secret}"));
    for with_id in [true, false] {
        let code = w.code(&id).await;
        let mut form = w.redeem(&id, &code);
        if !with_id {
            form = form.without("client_id");
        }
        let response = w
            .post("/token")
            .header("authorization", &format!("Basic {credentials}"))
            .form_of(&form)
            .send()
            .await;
        assert_eq!(response.status, 200, "{with_id}: {}", response.text);
    }
}

#[tokio::test]
async fn a_second_sign_in_may_come_from_another_loopback_port() {
    let w = World::start().await;
    let metadata = json!({ "redirect_uris": ["http://127.0.0.1:49152/callback"] });
    let client = w.register(metadata).await;
    let id = client["client_id"].as_str().unwrap();
    for port in [49_152, 49_153, 1] {
        let redirect_uri = format!("http://127.0.0.1:{port}/callback");
        let page = w
            .open(
                &w.authorization_request(id)
                    .set("redirect_uri", &redirect_uri),
            )
            .await;
        let decided = w.submit_consent(&page, "authorize", &w.pin).await;
        assert_eq!(decided.status, 303, "{}", decided.text);
        assert!(decided.header("location").starts_with(&redirect_uri));
        let policy = decided.header("content-security-policy");
        assert!(!policy.contains("form-action"), "{policy}");
        let code = decided.redirected("code").unwrap();
        w.keep_secret(&code);
        let form = w.redeem(id, &code).set("redirect_uri", &redirect_uri);
        assert_eq!(w.token(&form).await.status, 200, "{port}");
    }
}
