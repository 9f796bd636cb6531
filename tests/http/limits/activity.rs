//! What is recorded of the calls of tools, and what the log says about them.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use lambda_oauth_mcp_proxy::{
    credential::AccessToken,
    limit::Limit,
    store::record::{Activity, ActivityOutcome},
};

use super::{call, limited, ordinary_tools, post, serve_sse, store, tools};
use crate::support::world::{BEGIN, World, logged};

/// Waits until so many calls of this token are recorded.
async fn recorded(w: &World, token: &str, count: usize) -> Vec<Activity> {
    let id = AccessToken::parse(token).unwrap().id().clone();
    for _ in 0..10_000 {
        let activity = store(w).activity(&id, BEGIN + 60).await.unwrap();
        if activity.len() >= count {
            assert_eq!(activity.len(), count, "{activity:?}");
            return activity;
        }
        tokio::task::yield_now().await;
    }
    panic!("there are fewer than {count} records");
}

#[tokio::test]
async fn each_call_of_a_tool_is_recorded_with_its_outcome() {
    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
    const EVENTS: &[(&str, &str)] = &[("content-type", "text/event-stream")];
    let w = World::start().await;
    for (status, headers, body, outcome) in [
        (
            200,
            JSON,
            r#"{"id":7,"result":{"content":[]}}"#,
            ActivityOutcome::Ok,
        ),
        (
            200,
            JSON,
            r#"{"id":7,"result":{"content":[],"isError":true}}"#,
            ActivityOutcome::ToolError,
        ),
        (
            200,
            JSON,
            r#"{"id":7,"error":{"code":-32602,"message":"no such tool"}}"#,
            ActivityOutcome::ToolError,
        ),
        (
            200,
            EVENTS,
            "data: {\"method\":\"notifications/progress\"}\n\ndata: {\"id\":7,\"result\":{}}\n\n",
            ActivityOutcome::Ok,
        ),
        (
            200,
            EVENTS,
            "data: {\"id\":7,\"result\":{\"isError\":true}}\n\n",
            ActivityOutcome::ToolError,
        ),
        (200, EVENTS, ": nothing\n\n", ActivityOutcome::UpstreamError),
        (200, JSON, "", ActivityOutcome::UpstreamError),
        (401, JSON, "", ActivityOutcome::UpstreamError),
        (403, JSON, "{}", ActivityOutcome::UpstreamError),
        (500, JSON, "{}", ActivityOutcome::UpstreamError),
    ] {
        let token = limited(&w, Limit::Everything).await;
        w.upstream.responds_with(status, headers, body);
        let length = post(&w, &token, call("tool\u{202e}x"))
            .await
            .header("content-length")
            .to_owned();
        assert!(
            status != 200 || headers != JSON || length == body.len().to_string(),
            "{length}"
        );
        let activity = recorded(&w, &token, 1).await;
        let seen = (
            activity[0].tool.as_str(),
            activity[0].at,
            activity[0].outcome,
        );
        assert_eq!(seen, ("toolx", BEGIN, outcome), "{status} {body}");
    }
    // What the limit forbids, and a batch.
    let token = limited(&w, tools(&["read"])).await;
    post(&w, &token, call("write")).await;
    assert_eq!(
        recorded(&w, &token, 1).await[0].outcome,
        ActivityOutcome::Refused
    );
    let token = limited(&w, Limit::Everything).await;
    let batch = format!(
        "[{},{},{}]",
        call("a"),
        call("b"),
        r#"{"id":1,"method":"ping"}"#
    );
    post(&w, &token, batch).await;
    recorded(&w, &token, 2).await;
    // Nothing else is recorded.
    let token = limited(&w, Limit::Everything).await;
    for body in [
        r#"{"id":1,"method":"tools/list","params":{"name":"a"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":1}}"#,
        "tools/call",
    ] {
        post(&w, &token, body).await;
    }
    recorded(&w, &token, 0).await;
}

#[tokio::test]
async fn nothing_waits_for_the_record_and_a_client_that_goes_away_is_recorded() {
    let w = World::start().await;
    let token = limited(&w, Limit::Everything).await;
    w.upstream.responds(|_| -> Response {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"data: 1\n\n"))]);
        let body = Body::from_stream(first.chain(stream::pending()));
        ([("content-type", "text/event-stream")], body).into_response()
    });
    let request = w
        .post("/mcp")
        .header("authorization", &format!("Bearer {token}"));
    let mut stream = request
        .body("application/json", call("slow"))
        .stream()
        .await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    recorded(&w, &token, 0).await;
    drop(stream);
    assert_eq!(
        recorded(&w, &token, 1).await[0].outcome,
        ActivityOutcome::UpstreamError
    );
}

#[tokio::test]
async fn activity_can_be_switched_off_and_over_http_sse_an_accepted_call_counts() {
    let off = World::with_settings(&[("ACTIVITY_DAYS", "0")]).await;
    let token = limited(&off, Limit::Everything).await;
    assert_eq!(post(&off, &token, call("read")).await.status, 200);
    assert!(!off.dump().iter().any(|item| item.contains("activity#")));

    let w = World::with_settings(&[("UPSTREAM_TRANSPORT", "sse")]).await;
    serve_sse(&w.upstream, ordinary_tools());
    let token = limited(&w, Limit::Everything).await;
    let bearer = format!("Bearer {token}");
    let mut stream = w
        .get("/mcp")
        .header("authorization", &bearer)
        .stream()
        .await;
    let opening = stream.chunk().await.unwrap().unwrap();
    let path = std::str::from_utf8(&opening)
        .unwrap()
        .split_once("data: ")
        .unwrap()
        .1
        .trim()
        .to_owned();
    let sent = w
        .post(&path)
        .header("authorization", &bearer)
        .body("application/json", call("read"))
        .send()
        .await;
    assert_eq!(sent.status, StatusCode::ACCEPTED);
    assert_eq!(
        recorded(&w, &token, 1).await[0].outcome,
        ActivityOutcome::Ok
    );
}

#[tokio::test]
async fn the_log_names_method_and_tool_as_the_body_does() {
    let w = World::start().await;
    let token = limited(&w, Limit::Everything).await;
    let long = "x".repeat(129);
    for (name, logged_name) in [
        ("plain_tool.v2", Some("plain_tool.v2")),
        ("two words", None),
        (&*long, None),
        (&*token, None),
    ] {
        let request = w
            .post("/mcp")
            .header("authorization", &format!("Bearer {token}"))
            .header("mcp-method", "tools/list")
            .header("x-request", "1");
        let response = request.body("application/json", call(name)).send().await;
        assert_eq!(response.status, 200);
        let id = AccessToken::parse(&token).unwrap().id().to_string();
        let log = String::from_utf8(logged().lock().unwrap().clone()).unwrap();
        let line = log
            .lines()
            .rev()
            .find(|line| line.contains(r#""event":"request""#) && line.contains(&id))
            .unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["fields"]["mcp_method"], "tools/call");
        assert_eq!(line["fields"]["mcp_name"].as_str(), logged_name, "{line}");
    }
}
