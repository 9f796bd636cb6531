//! Responses of an upstream and what the client gets, through the function: the same tables as in tests/http.

use serde_json::json;

use crate::{
    lambda::{
        aws::{PAT, good_secret},
        client::{connect, event},
        function::Function,
        runtime_api::Response,
        streams::Proxy,
    },
    support::upstream_cases::{self, Case, Got, MESSAGES, error_ids},
};

async fn post(function: &Function, access: &str, headers: &[(&str, &str)], body: &str) -> Response {
    send(function, access, "POST", headers, body).await
}

async fn send(
    function: &Function,
    access: &str,
    method: &str,
    more: &[(&str, &str)],
    body: &str,
) -> Response {
    let bearer = format!("Bearer {access}");
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    headers.extend(more);
    function
        .response(&event(method, "/mcp", &headers, body))
        .await
}

async fn check(cases: Vec<Case>) {
    let proxy = Proxy::start().await;
    for case in cases {
        let upstream = case.clone();
        proxy.upstream.responds(move |_| upstream.response(PAT));
        let session = [("mcp-session-id", "s-1")];
        let session = if case.in_session { &session[..] } else { &[] };
        let access = &proxy.tokens.access;
        let response = send(&proxy.function, access, case.method, session, case.message).await;
        let kind = response.prelude.headers["content-type"].as_str();
        let got = Got {
            status: response.prelude.status,
            content_type: kind.unwrap_or_default().to_owned(),
            text: String::from_utf8_lossy(&response.body).into_owned(),
        };
        case.check(&got, "localhost", PAT, true);
    }
}

#[tokio::test]
async fn a_refusal_by_the_upstream_becomes_an_error_of_the_call_that_names_the_upstream() {
    check(upstream_cases::refusals()).await;
}

#[tokio::test]
async fn responses_that_clients_understand_pass_unchanged() {
    check(upstream_cases::untouched()).await;
}

#[tokio::test]
async fn an_acknowledgement_is_202_without_a_body_whatever_empty_response_the_upstream_sends() {
    check(upstream_cases::acknowledgements()).await;
}

fn has_ids(response: &Response, message: &str, ids: &str, status: u16, says: &str) {
    assert_eq!(
        response.prelude.status,
        status,
        "{message}: {}",
        response.text()
    );
    assert_eq!(
        error_ids(response.text()),
        ids,
        "{message}: {}",
        response.text()
    );
    assert!(response.text().contains(says), "{}", response.text());
}

#[tokio::test]
async fn errors_of_our_own_carry_the_calls_id() {
    let proxy = Proxy::start().await;
    let (function, access) = (&proxy.function, &proxy.tokens.access);
    for (status, location, says) in [
        (401, "", "refused the access token"),
        (302, "/login", "redirect (302)"),
    ] {
        proxy.upstream.responds(move |_| {
            let status = http::StatusCode::from_u16(status).unwrap();
            axum::response::IntoResponse::into_response((status, [("location", location)]))
        });
        for (message, ids) in MESSAGES {
            let response = post(function, access, &[], message).await;
            has_ids(&response, message, ids, 502, says);
        }
    }
    for (message, ids) in MESSAGES {
        let response = send(function, access, "GET", &[], message).await;
        has_ids(&response, message, ids, 405, "GET event stream");
    }
}

/// With the binary that is deployed: nobody listens at its upstream.
#[tokio::test]
async fn an_error_about_an_upstream_that_is_not_there_carries_the_calls_id() {
    let function = Function::start().await;
    let tokens = connect(&function).await;
    for (message, ids) in MESSAGES {
        let response = post(&function, &tokens.access, &[], message).await;
        has_ids(&response, message, ids, 502, "cannot be reached");
    }
}

/// The last valid secret is used for a day; a day later there is none.
#[tokio::test]
async fn an_error_about_the_secret_carries_the_calls_id() {
    let proxy = Proxy::start().await;
    for (error, says) in [
        ("InternalServiceError", "try again in a few seconds"),
        ("AccessDeniedException", "not set up completely"),
    ] {
        proxy.function.aws.set_secret(Err(error));
        proxy.hand.says("90000");
        for (message, ids) in &MESSAGES[..4] {
            let response = post(&proxy.function, &proxy.tokens.access, &[], message).await;
            has_ids(&response, message, ids, 503, says);
            assert_eq!(response.prelude.headers["retry-after"], "5");
        }
        let line = proxy.function.logged("unavailable").await;
        assert_eq!(line["what"], "secret");
    }
    assert!(
        proxy
            .upstream
            .requests()
            .iter()
            .all(|recorded| recorded.method != "POST")
    );
}

#[tokio::test]
async fn a_call_of_any_size_follows_a_redirect_and_is_repeated_with_a_new_token() {
    let proxy = Proxy::start().await;
    let (function, access) = (&proxy.function, &proxy.tokens.access);
    let call = |size: usize| {
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": "x".repeat(size) })
            .to_string()
    };
    for size in [262_000, 262_144, 4_000_000, 5_900_000] {
        proxy.upstream.responds(|recorded| {
            use axum::response::IntoResponse as _;
            if recorded.target == "/mcp" {
                let moved = http::StatusCode::TEMPORARY_REDIRECT;
                return (moved, [("location", "/mcp/")]).into_response();
            }
            ([("content-type", "application/json")], "{}").into_response()
        });
        let body = call(size);
        let response = post(function, access, &[], &body).await;
        assert_eq!(response.prelude.status, 200, "{size}: {}", response.text());
        let seen = proxy.upstream.requests().pop().unwrap();
        assert_eq!(seen.target, "/mcp/");
        assert!(seen.body == body, "{size}");
        assert_eq!(
            seen.header("content-length"),
            Some(&*body.len().to_string())
        );
    }
    function.keep_secret("new-token-of-the-owner");
    proxy.upstream.responds(|recorded| {
        use axum::response::IntoResponse as _;
        let new = recorded.header("authorization") == Some("Bearer new-token-of-the-owner");
        if new {
            "{}".into_response()
        } else {
            http::StatusCode::UNAUTHORIZED.into_response()
        }
    });
    let new = good_secret().replace(PAT, "new-token-of-the-owner");
    function.aws.set_secret(Ok(new));
    proxy.hand.says("31");
    let body = call(5_900_000);
    let response = post(function, access, &[], &body).await;
    assert_eq!((response.prelude.status, response.text()), (200, "{}"));
    assert!(proxy.upstream.requests().pop().unwrap().body == body);
}
