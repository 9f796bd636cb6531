//! Refusals and acknowledgements of an upstream that speaks HTTP+SSE.

use crate::{
    http::upstream_refusals::{plain, response_to},
    support::{
        upstream_cases,
        world::{Connected, World},
    },
};

/// Without an endpoint event the stream has no call whose error this could be.
#[tokio::test]
async fn over_http_sse_a_refused_stream_is_a_plain_error() {
    let w = World::with_settings(&[("UPSTREAM_TRANSPORT", "sse")]).await;
    let client = w.connect().await;
    for (status, content_type, body) in [
        (403, "text/plain", "no licence"),
        (404, "text/html", "<h1>Not Found</h1>"),
        (405, "text/plain", ""),
        (410, "text/plain", "gone"),
        (200, "text/html", "<title>Sign in</title>"),
        (200, "application/json", r#"{"jsonrpc":"2.0","result":{}}"#),
        (200, "text/plain", ""),
        (204, "text/plain", ""),
    ] {
        w.upstream.responds(move |_| {
            let mut response = axum::response::Response::new(body.into());
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response
                .headers_mut()
                .insert("content-type", content_type.parse().unwrap());
            response
        });
        let what = format!("{status} {content_type}");
        let message = plain(&response_to(&w, &client, ("GET", "/sse", "")).await, &what);
        assert!(
            message.contains("127.0.0.1") && message.contains(&status.to_string()),
            "{message}"
        );
        let advice = if status == 403 {
            "single sign-on"
        } else {
            "UPSTREAM_TRANSPORT=streamable-http"
        };
        assert!(message.contains(advice), "{message}");
        assert!(!message.contains('<'), "{message}");
    }
    for status in [400, 429, 500] {
        w.upstream.responds_with(status, &[], "as it is");
        let response = response_to(&w, &client, ("GET", "/mcp", "")).await;
        assert_eq!(
            (response.status, response.text.as_str()),
            (status, "as it is")
        );
    }
}

/// The URL for messages that a stream names.
async fn message_url(w: &World, client: &Connected) -> String {
    w.upstream.responds_with(
        200,
        &[("content-type", "text/event-stream")],
        "event: endpoint\ndata: /messages?s=1\n\n",
    );
    let stream = response_to(w, client, ("GET", "/mcp", "")).await;
    let after = stream.text.split_once("data: ").unwrap().1;
    after.trim_end().to_owned()
}

/// Over HTTP+SSE a client reads only the status of a response to POST, so an error is never 200.
#[tokio::test]
async fn over_http_sse_a_refused_message_is_502_with_its_id_and_acknowledgements_are_202() {
    let w = World::with_settings(&[("UPSTREAM_TRANSPORT", "sse")]).await;
    let client = w.connect().await;
    let url = message_url(&w, &client).await;
    let post = |message: &'static str| response_to(&w, &client, ("POST", &url, message));
    let (initialize, call) = (upstream_cases::INITIALIZE, upstream_cases::TOOL_CALL);
    for (status, content_type, message, ids) in [
        (403, "text/plain", call, "7"),
        (403, "text/plain", initialize, "0"),
        (404, "text/plain", initialize, "0"),
        (405, "text/plain", initialize, "0"),
        (410, "text/plain", initialize, "0"),
        (200, "text/html", initialize, "0"),
        (
            403,
            "text/plain",
            r#"[{"id":1,"method":"a"},{"id":2,"method":"b"}]"#,
            "[1,2]",
        ),
    ] {
        w.upstream.responds(move |_| {
            let status = http::StatusCode::from_u16(status).unwrap();
            let headers = [("content-type", content_type)];
            axum::response::IntoResponse::into_response((status, headers, "<b>no</b>"))
        });
        let response = post(message).await;
        assert_eq!(response.status, 502, "{status}: {response:?}");
        assert_eq!(upstream_cases::error_ids(&response.text), ids, "{status}");
        assert!(response.text.contains(": “no”"), "{status}: {response:?}");
    }
    w.upstream.responds_with(403, &[], "no licence");
    plain(&post(upstream_cases::INITIALIZED).await, "a notification");
    for (status, body) in [(202, "Accepted"), (200, "OK"), (200, ""), (204, "")] {
        w.upstream
            .responds_with(status, &[("content-type", "text/plain")], body);
        for message in [upstream_cases::INITIALIZED, upstream_cases::RESULT] {
            let response = post(message).await;
            assert_eq!(
                (response.status, response.text.as_str()),
                (202, ""),
                "{status}"
            );
            assert_eq!(response.header("content-type"), "");
        }
        for message in [call, initialize] {
            let response = post(message).await;
            assert_eq!((response.status, response.text.as_str()), (status, body));
        }
    }
    w.upstream.responds_with(404, &[], "unknown session");
    assert_eq!(post(call).await.status, 404);
}
