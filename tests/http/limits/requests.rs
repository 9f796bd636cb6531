//! Requests of a limited connection that could be read in two ways, that say different things in different places, or
//! for which it cannot be known whether they are allowed.

use axum::response::IntoResponse as _;
use http::{Method, StatusCode};
use lambda_oauth_mcp_proxy::limit::Limit;
use serde_json::{Value, json};

use super::{
    answer, call, forwarded, json_response, limited, ordinary_tools, post, serve_streamable, tools,
};
use crate::support::world::{Options, World};

#[tokio::test]
async fn what_cannot_be_read_with_certainty_does_not_reach_the_upstream() {
    let w = World::start().await;
    serve_streamable(&w.upstream, ordinary_tools());
    let token = limited(&w, tools(&["read"])).await;
    let padded = |length: usize| {
        let call = call("read");
        let fill = " ".repeat(length - call.len());
        call + &fill
    };
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"read","arguments":{{"a":{}{}}}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for (body, status) in [
        (
            br#"{"id":7,"method":"ping","method":"tools/call","params":{"name":"write"}}"#.to_vec(),
            400,
        ),
        (
            br#"{"id":7,"method":"tools/call","params":{"name":"read","name":"write"}}"#.to_vec(),
            400,
        ),
        (
            br#"{"id":7,"method":"tools/call","params":{"name":"read"},"params":{"name":"write"}}"#
                .to_vec(),
            400,
        ),
        (
            br#"{"id":7,"method":"tools/call","params":{"name":"read","NAME":"write"}}"#.to_vec(),
            400,
        ),
        (
            br#"{"id":7,"method":"tools/call","params":{"name":{"read":1}}}"#.to_vec(),
            400,
        ),
        (
            b"{\"id\":7,\"method\":\"tools/call\",\"params\":{\"name\":\"re\xffad\"}}".to_vec(),
            400,
        ),
        (b"\xff\xfe{\0\"\0".to_vec(), 400),
        (br#"[{"id":7,"method":"ping"},7]"#.to_vec(), 400),
        (b"".to_vec(), 400),
        (b"{".to_vec(), 400),
        (deep.into_bytes(), 400),
        (padded(4 * 1024 * 1024 + 1).into_bytes(), 413),
        (padded(6 * 1024 * 1024 + 1).into_bytes(), 413),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let response = post(&w, &token, body).await;
        assert_eq!(response.status, status, "{shown} {response:?}");
        assert!(
            response.text.contains("“Backup script”"),
            "{}",
            response.text
        );
    }
    let bearer = format!("Bearer {token}");
    for (method, encoding, body, status) in [
        ("POST", "gzip", &*call("read"), 415),
        ("DELETE", "identity", &*call("write"), 405),
        ("PUT", "identity", &*call("read"), 405),
        ("PATCH", "identity", "", 405),
    ] {
        let request = w.request(method, "/mcp").header("authorization", &bearer);
        let response = request
            .header("content-encoding", encoding)
            .body("application/json", body.to_owned())
            .send()
            .await;
        assert_eq!(response.status, status, "{method}");
    }
    assert!(
        w.upstream.requests().is_empty(),
        "{:?}",
        w.upstream.requests()
    );
    assert_eq!(post(&w, &token, padded(4 * 1024 * 1024)).await.status, 200);
}

#[tokio::test]
async fn headers_say_upstream_what_the_body_says() {
    let w = World::start().await;
    serve_streamable(&w.upstream, ordinary_tools());
    let token = limited(&w, tools(&["read", "lesen "])).await;
    for (tool, mirrored) in [("read", "read"), ("lesen ", "=?base64?bGVzZW4g?=")] {
        let response = w
            .post("/mcp")
            .header("authorization", &format!("Bearer {token}"))
            .header("accept-encoding", "gzip, br")
            .header("connection", "content-type, accept-encoding")
            .header("content-type", "application/json; charset=utf-7")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "write")
            .header("x-mcp-readonly", "false");
        let response = reqwest_body(response, call(tool)).await;
        assert_eq!(response, 200);
        let seen = w.upstream.requests().pop().unwrap();
        assert_eq!(seen.header("mcp-name"), Some(mirrored));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
    }
    // A connection that may only read says so to the upstream, even where toolsets are pinned.
    let pinned =
        World::with_settings(&[("UPSTREAM_HEADERS", r#"{"X-MCP-Toolsets":"repos"}"#)]).await;
    serve_streamable(&pinned.upstream, ordinary_tools());
    let token = limited(&pinned, Limit::ReadOnly).await;
    assert_eq!(post(&pinned, &token, call("read")).await.status, 200);
    let seen = pinned.upstream.requests().pop().unwrap();
    assert_eq!(seen.header("x-mcp-readonly"), Some("true"));
    assert_eq!(seen.header("x-mcp-toolsets"), Some("repos"));
}

async fn reqwest_body(request: crate::support::world::Request, body: String) -> u16 {
    crate::support::world::Request(request.0.body(body))
        .send()
        .await
        .status
}

#[tokio::test]
async fn a_changed_limit_acts_on_the_next_call_and_no_limit_changes_nothing() {
    let w = World::start().await;
    serve_streamable(&w.upstream, ordinary_tools());
    let client = w.connect().await;
    let id = lambda_oauth_mcp_proxy::credential::AccessToken::parse(&client.access)
        .unwrap()
        .id()
        .clone();
    // Ambiguous, and none of our business.
    let odd = r#"{"id":7,"id":7,"method":"x","method":"tools/call","params":{"name":"write"}} "#;
    assert_eq!(post(&w, &client.access, odd).await.status, 200);
    assert_eq!(w.upstream.only_request().body, odd);
    for (limit, reached) in [
        (tools(&["read"]), 1),
        (tools(&["write"]), 2),
        (tools(&[]), 2),
        (Limit::Everything, 3),
    ] {
        assert!(
            super::store(&w)
                .set_limit(&id, &limit, crate::support::world::BEGIN)
                .await
                .unwrap()
        );
        let response = post(&w, &client.access, call("write")).await;
        assert_eq!(response.status, 200);
        let refused = response.text.contains("-32602");
        assert_eq!(w.upstream.requests().len(), reached, "{limit:?}");
        assert_eq!(
            refused,
            !matches!(limit, Limit::Everything) && !limit_has(&limit, "write")
        );
    }
}

fn limit_has(limit: &Limit, tool: &str) -> bool {
    matches!(limit, Limit::Tools(names) if names.contains(tool))
}

#[tokio::test]
async fn without_a_complete_list_of_tools_a_connection_that_may_only_read_calls_none() {
    let w = World::start().await;
    let token = limited(&w, Limit::ReadOnly).await;
    let read = || json!({ "name": "read", "annotations": { "readOnlyHint": true } });
    let page = |tools: Vec<Value>, cursor: Value| json!({ "tools": tools, "nextCursor": cursor });
    let many = |count: usize| {
        (0..count)
            .map(|n| json!({ "name": format!("t{n}") }))
            .chain([read()])
            .collect::<Vec<_>>()
    };
    let twice = vec![read(), json!({ "name": "read" })];
    let no_tool = vec![read(), json!({ "title": "no name" })];
    let repeated =
        r#"{"tools":[{"name":"read","name":"write","annotations":{"readOnlyHint":true}}]}"#;
    for (result, says) in [
        (
            page(many(10_000), Value::Null).to_string(),
            "more than 10,000 tools",
        ),
        (
            page(vec![read()], json!("again")).to_string(),
            "repeats a cursor",
        ),
        (page(no_tool, Value::Null).to_string(), "malformed"),
        (repeated.to_owned(), "malformed"),
        (json!({ "tools": null }).to_string(), "malformed"),
        (
            page(twice, Value::Null).to_string(),
            "may only read. Change it at",
        ),
    ] {
        lists(&w, result);
        let response = post(&w, &token, call("read")).await;
        assert!(
            response.text.contains(says) && response.text.contains("\"id\":7"),
            "{says}: {}",
            response.text
        );
    }
    for status in [401, 403, 404, 500] {
        w.upstream
            .responds_with(status, &[("content-type", "text/plain")], "no");
        let response = post(&w, &limited(&w, Limit::ReadOnly).await, call("read")).await;
        // The list with the repeated name is still kept.
        assert!(
            response.text.contains("may only read"),
            "{status}: {}",
            response.text
        );
        w.advance_clock(300);
        let response = post(&w, &limited(&w, Limit::ReadOnly).await, call("read")).await;
        assert_eq!(response.status, 502, "{}", response.text);
    }
    let called = |request: &crate::support::recorder::Recorded| {
        String::from_utf8_lossy(&request.body).contains("tools/call")
    };
    assert!(!w.upstream.requests().iter().any(called));
    lists(&w, page(many(9_999), Value::Null).to_string());
    let token = limited(&w, Limit::ReadOnly).await;
    assert!(
        post(&w, &token, call("read"))
            .await
            .text
            .contains("content")
    );
}

/// The upstream's result for `tools/list`.
fn lists(w: &World, result: String) {
    w.upstream.responds(move |request| {
        let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if message["method"] == "tools/list" {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
                message["id"]
            );
            return ([("content-type", "application/json")], body).into_response();
        }
        answer(&message, &[]).map_or(StatusCode::ACCEPTED.into_response(), |answer| {
            json_response(&answer)
        })
    });
}

#[tokio::test]
async fn the_list_is_read_in_a_session_of_our_own_with_every_page_and_kept_for_five_minutes() {
    let w = World::start().await;
    w.upstream.responds(|request| {
        let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let tool = |name: &str| json!({ "name": name, "annotations": { "readOnlyHint": true } });
        let result = match (message["method"].as_str(), message["params"]["cursor"].as_str()) {
            (Some("tools/list"), None) => json!({ "tools": [tool("read")], "nextCursor": "2" }),
            (Some("tools/list"), Some(_)) => json!({ "tools": [tool("read more")] }),
            _ => match answer(&message, &[]) {
                Some(answer) => answer["result"].clone(),
                None => return StatusCode::ACCEPTED.into_response(),
            },
        };
        // Events instead of JSON, after a notification, in a session.
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        let events = format!(": hello\r\n\r\nevent: message\r\ndata: {{\"method\":\"notifications/message\"}}\r\n\r\ndata: {answer}\r\n\r\n");
        ([("content-type", "text/event-stream"), ("mcp-session-id", "s1")], events).into_response()
    });
    let token = limited(&w, Limit::ReadOnly).await;
    for tool in ["read", "read more", "read"] {
        assert!(post(&w, &token, call(tool)).await.text.contains("content"));
    }
    let ours: Vec<String> = w
        .upstream
        .requests()
        .iter()
        .map(|request| {
            let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let method = message["method"]
                .as_str()
                .unwrap_or(request.method.as_str());
            format!(
                "{method} {}",
                request.header("mcp-session-id").unwrap_or("-")
            )
        })
        .collect();
    assert_eq!(
        ours,
        [
            "initialize -",
            "notifications/initialized s1",
            "tools/list s1",
            "tools/list s1",
            "DELETE s1",
            "tools/call -",
            "tools/call -",
            "tools/call -"
        ]
    );
    // A tool that is renamed in the meantime is unknown.
    serve_streamable(
        &w.upstream,
        vec![json!({ "name": "renamed", "annotations": { "readOnlyHint": true } })],
    );
    w.advance_clock(299);
    assert!(
        post(&w, &token, call("renamed"))
            .await
            .text
            .contains("-32602")
    );
    w.advance_clock(1);
    assert!(
        post(&w, &token, call("renamed"))
            .await
            .text
            .contains("content")
    );
    assert!(post(&w, &token, call("read")).await.text.contains("-32602"));
}

#[tokio::test]
async fn a_server_without_sessions_and_a_path_of_its_own_have_their_own_lists() {
    let w = World::start().await;
    w.upstream.responds(|request| {
        let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let name = if request.target == "/mcp/other" { "other" } else { "read" };
        let revision = message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str();
        match message["method"].as_str() {
            Some("tools/list") if revision == request.header("mcp-protocol-version") && request.header("mcp-method") == Some("tools/list") => {
                let tool = json!({ "name": name, "annotations": { "readOnlyHint": true } });
                json_response(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "tools": [tool] } }))
            }
            Some("tools/call") => json_response(&answer(&message, &[]).unwrap()),
            _ => {
                let body = json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": -32601, "message": "no" } });
                (StatusCode::NOT_FOUND, [("content-type", "application/json")], body.to_string()).into_response()
            }
        }
    });
    let token = limited(&w, Limit::ReadOnly).await;
    for (path, tool, called) in [
        ("/mcp", "read", true),
        ("/mcp", "other", false),
        ("/mcp/other", "other", true),
        ("/mcp/other", "read", false),
    ] {
        let request = w
            .post(path)
            .header("authorization", &format!("Bearer {token}"));
        let response = request.body("application/json", call(tool)).send().await;
        assert_eq!(
            response.text.contains("content"),
            called,
            "{path} {tool} {}",
            response.text
        );
    }
}

#[tokio::test]
async fn a_replaced_token_for_the_upstream_is_read_again_for_the_list_too() {
    let w = World::with_options(Options::default()).await;
    w.upstream.responds(|request| {
        assert!(request.method == Method::POST || request.method == Method::DELETE);
        StatusCode::UNAUTHORIZED.into_response()
    });
    let token = limited(&w, Limit::ReadOnly).await;
    let response = post(&w, &token, call("read")).await;
    assert_eq!(response.status, 502);
    assert!(
        response.text.contains("refused the access token"),
        "{}",
        response.text
    );
    assert!(forwarded(&w).is_empty());
}
