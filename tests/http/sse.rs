//! Upstreams of the deprecated HTTP+SSE transport: the endpoint event is rewritten, and leads to one URL only.

use axum::response::IntoResponse as _;
use http::Method;
use serde_json::json;

use crate::support::{
    recorder::Recorded,
    world::{Connected, Response, World},
};

const OPENING: &str = "event: endpoint\r\ndata: /messages?session=7f&api_key=hidden\r\n\r\n";

async fn world() -> World {
    world_with(&[]).await
}

async fn world_with(settings: &[(&'static str, &str)]) -> World {
    let w = World::with_settings(&[&[("UPSTREAM_TRANSPORT", "sse")], settings].concat()).await;
    w.keep_secret("api_key=hidden");
    w.upstream
        .responds(|request: &Recorded| match request.method {
            Method::GET => (
                [("content-type", "text/event-stream; charset=utf-8")],
                format!("{OPENING}event: message\ndata: {{\"id\":1}}\n\n"),
            )
                .into_response(),
            _ => (http::StatusCode::ACCEPTED, "Accepted").into_response(),
        });
    w
}

async fn open(w: &World, client: &Connected, path: &str) -> Response {
    w.get(path)
        .header("authorization", &format!("Bearer {}", client.access))
        .header("accept", "text/event-stream")
        .header("accept-encoding", "gzip, br")
        .send()
        .await
}

async fn post(w: &World, client: &Connected, path: &str) -> Response {
    w.post(path)
        .header("authorization", &format!("Bearer {}", client.access))
        .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))
        .send()
        .await
}

fn endpoint(stream: &Response) -> String {
    let after = stream.text.split_once("data: ").unwrap().1;
    after.split(['\r', '\n']).next().unwrap().to_owned()
}

#[tokio::test]
async fn the_endpoint_event_is_rewritten_and_leads_to_the_url_that_the_upstream_named() {
    let w = world().await;
    let client = w.connect().await;
    for path in ["/mcp", "/sse", "/", "//mcp", "/MCP", "//SSE"] {
        let stream = open(&w, &client, path).await;
        assert_eq!(stream.status, 200, "{stream:?}");
        assert!(
            stream
                .text
                .ends_with("event: message\ndata: {\"id\":1}\n\n")
        );
        let ours = endpoint(&stream);
        assert!(ours.starts_with("/mcp/message/"), "{ours}");
        for part in ["messages", "session", "hidden"] {
            assert!(!stream.text.contains(part), "{part}");
        }
        assert_eq!(
            w.upstream
                .requests()
                .pop()
                .unwrap()
                .header("accept-encoding"),
            Some("identity")
        );

        let ours = if path.starts_with("//") {
            ours.replace('/', "//")
        } else {
            ours
        };
        let sent = post(&w, &client, &ours).await;
        assert_eq!((sent.status, sent.text.as_str()), (202, "Accepted"));
        let seen = w.upstream.requests().pop().unwrap();
        assert_eq!(seen.target, "/messages?session=7f&api_key=hidden");
        assert_eq!(
            seen.header("authorization"),
            Some(&*format!("Bearer {}", w.pat))
        );
    }
}

#[tokio::test]
async fn no_other_path_can_be_reached() {
    let w = world().await;
    let (client, other) = (w.connect().await, w.connect().await);
    let ours = endpoint(&open(&w, &client, "/mcp").await);
    let theirs = endpoint(&open(&w, &other, "/mcp").await);
    let before = w.upstream.requests().len();
    let last = if ours.ends_with('A') { 'B' } else { 'A' };
    for (path, status) in [
        (theirs, 404),
        (format!("{}{last}", &ours[..ours.len() - 1]), 404),
        ("/mcp/message/AAAA".into(), 404),
        ("/mcp/message/".into(), 404),
        ("/mcp".into(), 405),
        ("/mcp/admin".into(), 405),
        ("/sse".into(), 405),
    ] {
        assert_eq!(post(&w, &client, &path).await.status, status, "{path}");
    }
    let posted = post(&w, &client, "/mcp").await;
    assert_eq!(
        posted.header("allow"),
        "GET",
        "clients fall back to GET after this"
    );
    let got = open(&w, &client, &ours).await;
    assert_eq!((got.status, got.header("allow")), (405, "POST"));
    let deleted = w
        .request("DELETE", "/mcp")
        .header("authorization", &format!("Bearer {}", client.access))
        .send()
        .await;
    assert_eq!(deleted.status, 405);
    assert_eq!(w.upstream.requests().len(), before);
    let stranger = w.post(&ours).json(&json!({})).send().await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn pinned_toolsets_cannot_be_widened_by_the_path_of_a_stream_or_the_query_of_a_message() {
    let w = world_with(&[("UPSTREAM_HEADERS", r#"{"X-MCP-Toolsets":"issues"}"#)]).await;
    let client = w.connect().await;
    for path in [
        "/mcp/x/all",
        "/mcp-work/readonly",
        "//MCP//x",
        "/mcp/messages",
    ] {
        assert_eq!(open(&w, &client, path).await.status, 404, "{path}");
    }
    assert!(w.upstream.requests().is_empty());
    let ours = endpoint(&open(&w, &client, "/mcp").await);
    let sent = post(&w, &client, &format!("{ours}?toolsets=all&session=8")).await;
    assert_eq!((sent.status, sent.text.as_str()), (202, "Accepted"));
    let seen = w.upstream.requests().pop().unwrap();
    assert_eq!(seen.target, "/messages?session=7f&api_key=hidden");
    assert_eq!(seen.header("x-mcp-toolsets"), Some("issues"));
    // Without pins, a path below is the client's choice.
    let w = world().await;
    let client = w.connect().await;
    assert_eq!(open(&w, &client, "/mcp/x/all").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_event_for_another_origin_ends_the_stream_before_the_client_sees_it() {
    let w = world().await;
    let client = w.connect().await;
    for hostile in [
        "https://evil.example/messages",
        "//evil.example/m",
        "javascript:x",
    ] {
        w.upstream.responds(move |_| {
            let body = format!(": hello\n\nevent: endpoint\ndata: {hostile}\n\ndata: after\n\n");
            ([("content-type", "text/event-stream")], body).into_response()
        });
        let stream = w
            .get("/mcp")
            .header("authorization", &format!("Bearer {}", client.access))
            .0
            .send()
            .await;
        // The connection is cut, before the head of the response or after it.
        if let Ok(stream) = stream {
            let body = stream.text().await;
            assert!(body.is_err(), "{hostile}: {body:?}");
        }
    }
}

#[tokio::test]
async fn an_encoded_stream_is_refused_because_it_cannot_be_rewritten() {
    let w = world().await;
    let client = w.connect().await;
    w.upstream.responds_with(
        200,
        &[
            ("content-type", "text/event-stream"),
            ("content-encoding", "gzip"),
        ],
        "x",
    );
    assert_eq!(open(&w, &client, "/mcp").await.status, 502);
}

#[tokio::test]
async fn the_path_sse_is_a_resource_only_if_the_upstream_uses_http_sse() {
    let metadata = "/.well-known/oauth-protected-resource/sse";
    let w = world().await;
    let document = w.get(metadata).send().await;
    assert_eq!(document.json()["resource"], w.url("/sse"));
    assert_eq!(w.get("/sse").send().await.status, 401);
    let w = World::start().await;
    assert_eq!(w.get(metadata).send().await.status, 404);
    assert_eq!(w.get("/sse").send().await.status, 404);
}
