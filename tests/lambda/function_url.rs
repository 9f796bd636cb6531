//! What a streaming Function URL needs of every response, beyond the rules that `runtime_api` checks for each one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::lambda::{
    aws::PIN,
    client::{authorization_request, call, event, open, register, submit_consent},
    function::{Function, LONG, Options},
    runtime_api::Response,
    streams::Proxy,
};

const DISCOVERY: &str = "/.well-known/oauth-authorization-server";

fn is_newline(response: &Response, status: u16) {
    assert_eq!((response.prelude.status, response.text()), (status, "\n"));
    assert_eq!(response.prelude.headers["content-type"], "application/json");
}

/// The client's call with another body.
fn message(access_token: &str, message: &Value) -> Value {
    let mut event = call(access_token);
    event["body"] = json!(message.to_string());
    event
}

#[tokio::test]
async fn where_there_is_no_body_there_is_a_newline() {
    let function = Function::start().await;
    let headers = [
        ("origin", "https://client.example"),
        ("access-control-request-method", "POST"),
    ];
    let preflight = function
        .response(&event("OPTIONS", "/mcp", &headers, ""))
        .await;
    // A 204 cannot have a body.
    is_newline(&preflight, 200);
    assert_eq!(
        preflight.prelude.headers["access-control-allow-origin"],
        "*"
    );

    let client_id = register(&function).await;
    let page = open(&function, &client_id).await;
    let consent = submit_consent(&function, &page, PIN).await;
    is_newline(&consent, 303);
    assert!(consent.prelude.headers["location"].is_string());

    // The Function URL drops it again.
    for path in ["/", DISCOVERY, "/nowhere"] {
        let head = function.response(&event("HEAD", path, &[], "")).await;
        assert_eq!(head.text(), "\n", "{path}");
    }
}

#[tokio::test]
async fn a_message_without_an_id_is_acknowledged_by_202_whatever_empty_response_the_upstream_gives()
{
    const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
    const TEXT: [(&str, &str); 1] = [("content-type", "text/plain")];
    let proxy = Proxy::start().await;
    for (status, headers) in [
        (202, &[][..]),
        (202, &TEXT),
        (200, &[]),
        (200, &JSON),
        (201, &[]),
        (204, &[]),
    ] {
        proxy.upstream.responds_with(status, headers, "");
        let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let event = message(&proxy.tokens.access, &notification);
        let response = proxy.function.response(&event).await;
        assert_eq!(response.prelude.status, 202, "{status} {headers:?}");
        assert_eq!(response.text(), "\n", "{status} {headers:?}");
        let content_type = &response.prelude.headers["content-type"];
        assert!(content_type.is_string(), "{status} {headers:?}");
        if headers.is_empty() {
            assert_eq!(*content_type, "application/json", "{status}");
        }
    }
}

#[tokio::test]
async fn the_response_to_the_end_of_a_session_has_a_newline_too() {
    let proxy = Proxy::start().await;
    for status in [200, 202, 204] {
        proxy.upstream.responds_with(status, &[], "");
        let bearer = format!("Bearer {}", proxy.tokens.access);
        let headers = [("authorization", bearer.as_str()), ("mcp-session-id", "s")];
        let ended = event("DELETE", "/mcp", &headers, "");
        let response = proxy.function.response(&ended).await;
        is_newline(&response, if status == 204 { 200 } else { status });
    }
}

#[tokio::test]
async fn the_prelude_is_sent_together_with_the_start_of_the_body() {
    let proxy = Proxy::start().await;
    let client_id = register(&proxy.function).await;
    let json = [("content-type", "application/json")];
    for (name, event) in [
        ("discovery", event("GET", DISCOVERY, &[], "")),
        ("challenge", event("POST", "/mcp", &json, "{}")),
        ("page", authorization_request(&client_id)),
        ("preflight", event("OPTIONS", "/mcp", &[], "")),
        ("head", event("HEAD", "/", &[], "")),
        ("call", call(&proxy.tokens.access)),
    ] {
        let mut asked = proxy.function.invoke(&event);
        let prelude = asked.prelude().await;
        assert!(prelude.with_body, "{name}: {prelude:?}");
        // Read to its end before the next.
        while asked.chunk().await.is_some() {}
    }
}

#[tokio::test]
async fn an_event_that_is_not_json_gets_400_and_the_function_keeps_running() {
    let function = Function::start().await;
    let agent = |agent: &[u8]| {
        let event = event("GET", DISCOVERY, &[("user-agent", "AGENT")], "").to_string();
        let (before, after) = event.split_once("AGENT").unwrap();
        [before.as_bytes(), agent, after.as_bytes()].concat()
    };
    for broken in [
        // Letters of latin1, a cut letter of UTF-8, an encoded surrogate, and bytes of no letter at all.
        agent(b"caf\xe9"),
        agent(b"caf\xc3"),
        agent(b"\xed\xa0\x80"),
        agent(b"\xff\xfe"),
        // A control character that JSON must escape, a lone surrogate, and half an event.
        agent(b"tab\x09"),
        agent(br"\ud800"),
        agent(b"x")[..40].to_vec(),
        b"null".to_vec(),
        Vec::new(),
    ] {
        let told = String::from_utf8_lossy(&broken).into_owned();
        let asked = function.api.invoke_with(broken, Some(LONG));
        let id = asked.id.clone();
        let response = asked.response().await;
        assert_eq!(response.prelude.status, 400, "{told}");
        assert_eq!(response.json()["error"], "invalid_request", "{told}");
        let line = function.logged_for("bad_event", &id).await;
        assert!(!line.to_string().contains("caf"), "{line}");
    }
    let good = function
        .api
        .invoke_with(agent("caf\u{e9}".as_bytes()), Some(LONG));
    assert_eq!(good.response().await.prelude.status, 200);
}

#[tokio::test]
async fn the_upstream_is_asked_for_uncompressed_responses() {
    let proxy = Proxy::start().await;
    let mut event = call(&proxy.tokens.access);
    event["headers"]["accept-encoding"] = json!("gzip, deflate, br");
    assert_eq!(proxy.function.response(&event).await.prelude.status, 200);
    let requests = proxy.upstream.requests();
    assert_eq!(requests.last().unwrap().header("accept-encoding"), None);
}

#[tokio::test]
async fn a_silent_upstream_hardly_delays_the_first_poll() {
    // Accepts connections and sends nothing, not even in the TLS handshake.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/mcp", silent.local_addr().unwrap());
    let started = Instant::now();
    let function = Function::with_options(Options {
        settings: vec![("UPSTREAM_MCP", url)],
        ..Options::default()
    })
    .await;
    let polled = started.elapsed();
    // 300 ms, and what it takes to start on a busy machine. Table and secret may take 1.5 s.
    assert!(polled < Duration::from_millis(1400), "{polled:?}");
    // The secret was read in spite of the silent upstream.
    assert_eq!(function.aws.asked(), 1);
}
