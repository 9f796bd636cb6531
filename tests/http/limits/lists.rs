//! What a limited connection sees of the upstream's tools.

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::stream;
use lambda_oauth_mcp_proxy::limit::Limit;
use serde_json::{Value, json};

use super::{answer, limited, ordinary_tools, post, serve_sse, serve_streamable, tools};
use crate::support::world::World;

const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

/// The names in a result.
fn names(message: &str) -> Vec<String> {
    let message: Value = serde_json::from_str(message).unwrap();
    let tools = message["result"]["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_shows_only_the_tools_that_may_be_called() {
    let w = World::start().await;
    serve_streamable(&w.upstream, ordinary_tools());
    for (limit, seen) in [
        (Limit::ReadOnly, &["read"][..]),
        (tools(&["write", "gone"]), &["write"]),
        (tools(&[]), &[]),
        (Limit::Everything, &["read", "write", "unknown"]),
    ] {
        let token = limited(&w, limit.clone()).await;
        let response = post(&w, &token, LIST).await;
        assert_eq!(names(&response.text), seen, "{limit:?}");
        assert_eq!(
            response.header("content-length"),
            response.text.len().to_string()
        );
        // In a batch, beside other results.
        let batch = format!(r#"[{LIST},{{"id":8,"method":"ping"}}]"#);
        let tools = json!(ordinary_tools());
        w.upstream.responds(move |_| {
            let result =
                json!([{ "id": 7, "result": { "tools": tools } }, { "id": 8, "result": {} }]);
            super::json_response(&result)
        });
        let response = post(&w, &token, batch).await;
        assert_eq!(names(&response.json()[0].to_string()), seen);
        assert_eq!(response.json()[1], json!({ "id": 8, "result": {} }));
        serve_streamable(&w.upstream, ordinary_tools());
    }
}

#[tokio::test]
async fn lists_in_events_are_filtered_wherever_they_are_split() {
    let w = World::with_settings(&[("GET_STREAMS", "on")]).await;
    let token = limited(&w, Limit::ReadOnly).await;
    let list = answer(&serde_json::from_str(LIST).unwrap(), &ordinary_tools())
        .unwrap()
        .to_string();
    let escaped = list.replace("tools", r"tool\u0073");
    let (first, second) = list.split_at(list.find(",\"result").unwrap_or(10));
    let events = format!(
        "id: 1\nevent: message\ndata: {{\"method\":\"notifications/progress\"}}\n\ndata: {list}\r\n\r\n: ping\n\ndata: {first}\ndata: {second}\n\ndata: {escaped}\r\rid: 2\n\ndata: {list}"
    );
    for chunk in [1, 2, 3, 7, 64, events.len()] {
        let bytes = Bytes::from(events.clone());
        w.upstream.responds(move |_| {
            let chunks: Vec<_> = bytes
                .chunks(chunk)
                .map(|part| Ok::<_, std::io::Error>(Bytes::copy_from_slice(part)))
                .collect();
            let body = Body::from_stream(stream::iter(chunks));
            ([("content-type", "text/event-stream")], body).into_response()
        });
        // The response to a request, and a stream that is resumed.
        let responses = [
            post(&w, &token, LIST).await,
            w.get("/mcp")
                .header("authorization", &format!("Bearer {token}"))
                .header("last-event-id", "1")
                .send()
                .await,
        ];
        for response in responses {
            assert!(
                response.text.contains("notifications/progress") && response.text.contains("id: 2")
            );
            assert!(
                !response.text.contains("write"),
                "{chunk}: {}",
                response.text
            );
            assert_eq!(
                response.text.matches("\"read\"").count(),
                4,
                "{chunk}: {}",
                response.text
            );
        }
    }
}

#[tokio::test]
async fn lists_over_http_sse_are_filtered() {
    let w = World::with_settings(&[("UPSTREAM_TRANSPORT", "sse")]).await;
    serve_sse(&w.upstream, ordinary_tools());
    let token = limited(&w, Limit::ReadOnly).await;
    let bearer = format!("Bearer {token}");
    let mut stream = w
        .get("/mcp")
        .header("authorization", &bearer)
        .stream()
        .await;
    let mut heard = String::new();
    let mut hear = async |until: &str| {
        while !heard.contains(until) {
            heard += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
        }
        std::mem::take(&mut heard)
    };
    let opening = hear("\n\n").await;
    let path = opening.split_once("data: ").unwrap().1.trim().to_owned();
    let sent = w
        .post(&path)
        .header("authorization", &bearer)
        .body("application/json", LIST)
        .send()
        .await;
    assert_eq!(sent.status, 202);
    let event = hear("\n\n").await;
    assert_eq!(
        names(
            event
                .split_once("data: ")
                .unwrap()
                .1
                .lines()
                .next()
                .unwrap()
        ),
        ["read"]
    );
    // Their calls do not tell the path of their stream, so there is only one.
    let below = w
        .get("/mcp/other")
        .header("authorization", &bearer)
        .send()
        .await;
    assert_eq!(below.status, 404);
}

#[tokio::test]
async fn a_list_that_cannot_be_filtered_is_not_passed_on() {
    let w = World::with_settings(&[("GET_STREAMS", "on")]).await;
    let token = limited(&w, Limit::ReadOnly).await;
    let repeated = r#"{"id":7,"result":{"tools":[]},"result":{"tools":[{"name":"write"}]}}"#;
    let cut = r#"{"id":7,"result":{"tools":[{"name":"write"}]}"#;
    for (headers, body) in [
        (&[JSON, GZIP][..], "\u{1f}not really write"),
        (&[JSON], repeated),
        (&[JSON], cut),
        (&[("content-type", "text/plain")], repeated),
        (&[], cut),
    ] {
        w.upstream.responds_with(200, headers, body);
        let response = post(&w, &token, LIST).await;
        assert_eq!(response.status, 502, "{body}");
        assert!(
            !response.text.contains("write") && response.text.contains("\"id\":7"),
            "{}",
            response.text
        );
    }
    w.upstream.responds_with(
        200,
        &[("content-type", "text/event-stream"), GZIP],
        "data: write\n\n",
    );
    let response = w
        .get("/mcp")
        .header("authorization", &format!("Bearer {token}"))
        .send()
        .await;
    assert_eq!(response.status, 502);
    // In a stream that has begun, the event is the last.
    let events: &'static str = "data: 1\n\ndata: {\"id\":7,\"result\":{\"tools\":[{\"name\":\"write\"}]},\"Result\":1}\n\ndata: 2\n\n";
    w.upstream
        .responds_with(200, &[("content-type", "text/event-stream")], events);
    let bearer = format!("Bearer {token}");
    let stream = w.get("/mcp").header("authorization", &bearer);
    // The end may come before the headers were sent.
    if let Ok(mut stream) = stream.0.send().await {
        let mut heard = String::new();
        while let Ok(Some(chunk)) = stream.chunk().await {
            heard += std::str::from_utf8(&chunk).unwrap();
        }
        assert!(heard.is_empty() || heard == "data: 1\n\n", "{heard}");
    }
    // Everything else passes: a page, an error, no body.
    for (status, body) in [
        (500, "<html>tools</html>"),
        (404, "no tools here"),
        (200, "[]"),
        (404, ""),
    ] {
        w.upstream
            .responds_with(status, &[("content-type", "text/html")], body);
        let response = post(&w, &token, LIST).await;
        assert_eq!((response.status, response.text.as_str()), (status, body));
    }
}
