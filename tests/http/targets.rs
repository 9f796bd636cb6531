//! Where a proxied request goes: below the upstream's URL, on its own origin, and nowhere else.

use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::support::world::{Options, World};

#[tokio::test]
async fn redirects_are_followed_on_the_upstreams_own_origin_only() {
    let w = World::start().await;
    let other = crate::support::recorder::Recorder::start().await;
    let client = w.connect().await;
    let to = |location: String, status: u16| {
        move |request: &crate::support::recorder::Recorded| -> Response {
            if request.target == "/moved" {
                return "there".into_response();
            }
            let status = http::StatusCode::from_u16(status).unwrap();
            (status, [("location", location.clone())]).into_response()
        }
    };
    for status in [307, 308] {
        w.upstream.responds(to("/moved".into(), status));
        let response = w.call(&client.access).send().await;
        assert_eq!((response.status, response.text.as_str()), (200, "there"));
        let last = w.upstream.requests().pop().unwrap();
        assert_eq!(
            (last.method.as_str(), last.target.as_str()),
            ("POST", "/moved")
        );
        assert!(!last.body.is_empty());
    }
    let elsewhere = format!("http://{}/mcp", other.address);
    for (location, status) in [
        (elsewhere.clone(), 307),
        (elsewhere.clone(), 308),
        (elsewhere, 302),
        ("/moved".into(), 301),
        ("/moved".into(), 303),
        ("/mcp".into(), 307),
    ] {
        w.upstream.responds(to(location, status));
        let response = w.call(&client.access).send().await;
        assert_eq!(response.status, 502, "{status}");
        assert!(response.text.contains("redirect"));
    }
    assert!(
        other.requests().is_empty(),
        "our credential goes nowhere else"
    );
}

#[tokio::test]
async fn paths_and_queries_stay_below_the_upstream() {
    let upstream = crate::support::recorder::Recorder::start().await;
    let w = World::with_options(Options {
        upstream: Some(format!("http://{}/base/mcp?tenant=ours", upstream.address)),
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    let status = |path: &str| {
        let request = w.request("POST", path);
        request
            .header("authorization", &format!("Bearer {}", client.access))
            .json(&json!({}))
            .send()
    };
    for (path, target) in [
        ("/mcp", "/base/mcp?tenant=ours"),
        ("/mcp/", "/base/mcp?tenant=ours"),
        ("/mcp/x/readonly", "/base/mcp/x/readonly?tenant=ours"),
        (
            "/mcp?a=1&tenant=theirs&b=2",
            "/base/mcp?tenant=ours&a=1&b=2",
        ),
        ("/mcp?%74enant=theirs", "/base/mcp?tenant=ours"),
        (
            "/mcp?TENANT=theirs&tenant[]=theirs&tenant[0]=theirs&+tenant[x]=theirs&a=1;tenant=theirs",
            "/base/mcp?tenant=ours",
        ),
        ("/mcp-alias?x=%2e%2e", "/base/mcp?tenant=ours&x=%2e%2e"),
        ("//MCP//?a=1", "/base/mcp?tenant=ours&a=1"),
        // Below the endpoint an empty segment is part of the upstream's path; it names no other server.
        (
            "/mcp//other.example/x",
            "/base/mcp//other.example/x?tenant=ours",
        ),
    ] {
        assert_eq!(status(path).await.status, 200, "{path}");
        assert_eq!(upstream.requests().pop().unwrap().target, target, "{path}");
    }
    let before = upstream.requests().len();
    for path in [
        "/mcp/%2e%2e/admin",
        "/mcp/%2E%2e/x",
        "/mcp/..%2fx",
        "/mcp/%252e%252e/x",
        "/mcp/a%5cb",
        "//mcp/..%2f/x",
        "/mcp//..;/x",
        "/mcp/..;/x",
    ] {
        assert!(matches!(status(path).await.status, 400 | 404), "{path}");
    }
    assert_eq!(upstream.requests().len(), before);
}
