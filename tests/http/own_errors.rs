//! Errors of our own on the MCP paths: each carries the id of the call that it is about, as the client wrote it.

use serde_json::Value;

use crate::{
    http::faults::wire::Wire,
    support::{
        upstream_cases::{MESSAGES, error_ids as ids},
        world::{Connected, Options, Response, World},
    },
};

async fn call(w: &World, client: &Connected, method: &str, path: &str, message: &str) -> Response {
    w.request(method, path)
        .header("authorization", &format!("Bearer {}", client.access))
        .body("application/json", message.to_owned())
        .send()
        .await
}

fn check(response: &Response, message: &str, expected: &str, status: u16, says: &str) {
    assert_eq!(response.status, status, "{message}: {response:?}");
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(response.header("cache-control"), "no-store");
    assert_eq!(ids(&response.text), expected, "{message}: {response:?}");
    let errors = match response.json() {
        Value::Array(errors) => errors,
        error => vec![error],
    };
    for error in errors {
        assert_eq!(error["jsonrpc"], "2.0");
        assert!(error["error"]["code"].is_i64());
        let text = error["error"]["message"].as_str().unwrap();
        assert!(text.contains(says), "{says:?} is not in {text:?}");
    }
}

/// Every message in this situation.
async fn each(w: &World, method: &str, path: &str, status: u16, says: &str) {
    let client = w.connect().await;
    for (message, ids) in MESSAGES {
        let response = call(w, &client, method, path, message).await;
        check(&response, message, ids, status, says);
    }
}

async fn world(upstream: Option<String>, settings: &[(&'static str, &str)]) -> World {
    let settings = settings.iter().map(|(n, v)| (*n, (*v).to_owned()));
    World::with_options(Options {
        settings: settings.collect(),
        upstream,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn an_error_about_the_upstreams_token_carries_the_calls_id() {
    let w = World::start().await;
    w.upstream
        .responds_with(401, &[("www-authenticate", "Bearer")], "");
    each(&w, "POST", "/mcp", 502, "refused the access token").await;
}

#[tokio::test]
async fn an_error_about_a_redirect_carries_the_calls_id() {
    let w = World::start().await;
    w.upstream.responds_with(302, &[("location", "/login")], "");
    each(&w, "POST", "/mcp", 502, "redirect (302)").await;
    w.upstream
        .responds_with(307, &[("location", "https://other.example/mcp")], "");
    each(&w, "POST", "/mcp-work", 502, "redirect (307)").await;
    w.upstream.responds_with(308, &[("location", "/mcp")], "");
    each(&w, "POST", "/", 502, "redirect").await;
}

#[tokio::test]
async fn an_error_about_an_upstream_that_is_not_there_carries_the_calls_id() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let w = world(Some(format!("http://{gone}/mcp")), &[]).await;
    each(&w, "POST", "/mcp/", 502, "cannot be reached").await;
    each(&w, "DELETE", "/mcp", 502, "cannot be reached").await;
}

#[tokio::test]
async fn an_error_about_a_silent_upstream_carries_the_calls_id() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}/mcp", silent.local_addr().unwrap());
    let w = world(Some(upstream), &[("UPSTREAM_FIRST_BYTE_SECONDS", "1")]).await;
    let client = w.connect().await;
    let calls = MESSAGES.map(|(message, ids)| {
        let (w, client) = (&w, &client);
        async move {
            let response = call(w, client, "POST", "/mcp", message).await;
            check(&response, message, ids, 504, "did not answer within 1 s");
        }
    });
    futures_util::future::join_all(calls).await;
}

#[tokio::test]
async fn an_error_about_path_or_method_carries_the_calls_id() {
    let w = World::with_settings(&[("UPSTREAM_HEADERS", r#"{"X-MCP-Toolsets":"issues"}"#)]).await;
    each(
        &w,
        "POST",
        "/mcp/x/all",
        404,
        "paths below /mcp are not available",
    )
    .await;
    each(&w, "GET", "/mcp", 405, "GET event stream").await;
    each(&w, "PUT", "/mcp", 405, "MCP does not use this method").await;
    let w = World::with_settings(&[("UPSTREAM_TRANSPORT", "sse")]).await;
    each(&w, "POST", "/mcp", 405, "HTTP+SSE").await;
    each(&w, "POST", "/mcp/message/AAAA", 404, "message URL").await;
    assert!(w.upstream.requests().is_empty());
}

#[tokio::test]
async fn an_error_about_the_store_carries_the_calls_id() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let client = w.connect().await;
    wire.down();
    for (message, ids) in &MESSAGES[..11] {
        let response = call(&w, &client, "POST", "/mcp", message).await;
        check(&response, message, ids, 503, "try again");
        assert_eq!(response.header("retry-after"), "5");
    }
}

#[tokio::test]
async fn an_encoded_body_is_not_decoded_for_its_id() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream.responds_with(401, &[], "");
    let response = w
        .call(&client.access)
        .header("content-encoding", "gzip")
        .send()
        .await;
    assert_eq!(
        (response.status, ids(&response.text)),
        (502, "null".to_owned())
    );
}

#[tokio::test]
async fn deep_and_long_messages_are_read_for_their_ids_and_endless_batches_are_not_multiplied() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream.responds_with(401, &[], "");
    let deep = format!(
        "{{\"params\":{}{},\"id\":1,\"method\":\"a\"}}",
        "[".repeat(1_000_000),
        "]".repeat(1_000_000)
    );
    let long = format!(
        "{{\"params\":\"{}\",\"id\":2,\"method\":\"a\"}}",
        "x".repeat(5_000_000)
    );
    for (message, expected) in [(deep, "1"), (long, "2")] {
        let response = call(&w, &client, "POST", "/mcp", &message).await;
        assert_eq!(
            (response.status, ids(&response.text)),
            (502, expected.to_owned())
        );
    }
    let batch = vec![r#"{"id":1,"method":"a"}"#; 100_000].join(",");
    let response = call(&w, &client, "POST", "/mcp", &format!("[{batch}]")).await;
    assert_eq!(
        (response.status, ids(&response.text)),
        (502, "null".to_owned())
    );
}
