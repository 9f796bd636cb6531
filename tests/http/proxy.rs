//! Proxied requests: what the upstream gets, what the client gets, and what neither ever gets.

use std::time::Duration;

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::world::{Options, World};

#[tokio::test]
async fn the_upstream_receives_our_credential_and_not_the_clients() {
    let w = World::start().await;
    let client = w.connect().await;
    let response = w
        .call(&client.access)
        .header("cookie", "a=b")
        .header("origin", "https://client.example")
        .header("referer", "https://client.example/")
        .header("x-forwarded-for", "203.0.113.9")
        .header("forwarded", "for=203.0.113.9")
        .header("x-amzn-trace-id", "Root=1")
        .header("sec-fetch-mode", "cors")
        .header("x-api-key", "guess")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-session-id", "s-1")
        .header("mcp-param-region", "eu")
        .header("last-event-id", "7")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("accept", "application/json, text/event-stream")
        .send()
        .await;
    assert_eq!(response.status, 200);
    let seen = w.upstream.only_request();
    assert_eq!(
        seen.header("authorization"),
        Some(&*format!("Bearer {}", w.pat))
    );
    for kept in [
        "mcp-protocol-version",
        "mcp-session-id",
        "mcp-param-region",
        "last-event-id",
        "traceparent",
        "accept",
        "content-type",
    ] {
        assert!(seen.header(kept).is_some(), "{kept}");
    }
    for dropped in [
        "cookie",
        "origin",
        "referer",
        "x-forwarded-for",
        "forwarded",
        "x-amzn-trace-id",
        "sec-fetch-mode",
        "x-api-key",
    ] {
        assert!(seen.header(dropped).is_none(), "{dropped}");
    }
    assert!(!format!("{seen:?}").contains(&client.access));
}

#[tokio::test]
async fn the_client_receives_status_and_mcp_headers_but_no_cookies() {
    let w = World::start().await;
    let client = w.connect().await;
    for status in [200, 202, 204, 400, 404, 405, 409, 429, 500, 503] {
        w.upstream.responds(move |_| {
            (
                http::StatusCode::from_u16(status).unwrap(),
                [
                    ("mcp-session-id", "s-1"),
                    ("content-type", "application/json; charset=utf-8"),
                    ("retry-after", "7"),
                    ("x-ratelimit-remaining", "1"),
                    ("set-cookie", "a=b"),
                    ("location", "https://other.example/"),
                    (
                        "www-authenticate",
                        "Bearer resource_metadata=\"https://other.example/\"",
                    ),
                    ("access-control-allow-origin", "https://only.example"),
                    ("strict-transport-security", "max-age=1"),
                    ("server", "upstream"),
                ],
                Body::empty(),
            )
                .into_response()
        });
        let response = w.call(&client.access).send().await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("mcp-session-id"), "s-1");
        assert_eq!(
            response.header("content-type"),
            "application/json; charset=utf-8"
        );
        assert_eq!(response.header("retry-after"), "7");
        assert_eq!(response.header("x-ratelimit-remaining"), "1");
        assert_eq!(
            response.header("access-control-allow-origin"),
            "*",
            "ours, not the upstream's"
        );
        for dropped in [
            "set-cookie",
            "location",
            "www-authenticate",
            "strict-transport-security",
            "server",
        ] {
            assert_eq!(response.header(dropped), "", "{dropped} at {status}");
        }
    }
}

/// Makes the upstream respond to the next call with an event stream of what is sent here.
fn says_what_it_is_told(w: &World) -> mpsc::UnboundedSender<Bytes> {
    let (send, receive) = mpsc::unbounded_channel::<Bytes>();
    let receive = std::sync::Mutex::new(Some(receive));
    w.upstream.responds(move |_| {
        let receive = receive.lock().unwrap().take().unwrap();
        let events = stream::unfold(receive, |mut receive| async {
            let event = receive.recv().await?;
            Some((Ok::<_, std::io::Error>(event), receive))
        });
        (
            [("content-type", "text/event-stream")],
            Body::from_stream(events),
        )
            .into_response()
    });
    send
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let w = World::start().await;
    let client = w.connect().await;
    let send = says_what_it_is_told(&w);
    let response = w.call(&client.access).stream().await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(response.headers().get("content-length").is_none());
    let mut body = response.bytes_stream();
    for n in 0..5 {
        // The next is sent only when the one before has arrived: nothing can have been held back.
        let event = format!("id: {n}\ndata: {{\"n\":{n}}}\n\n");
        send.send(event.clone().into()).unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), event);
    }
    drop(send);
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn stopping_lets_running_responses_finish_and_accepts_no_new_requests() {
    let mut w = World::start().await;
    let client = w.connect().await;
    let send = says_what_it_is_told(&w);
    let mut body = w.call(&client.access).stream().await.bytes_stream();
    send.send("data: 1\n\n".into()).unwrap();
    assert!(body.next().await.is_some());
    w.stop();
    // The listener is gone as soon as the signal was seen.
    while tokio::net::TcpStream::connect(w.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    send.send("data: 2\n\n".into()).unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: 2\n\n");
    drop(send);
    assert!(body.next().await.is_none());
    w.stopped().await;
}

#[tokio::test]
async fn a_request_body_is_streamed_to_the_upstream() {
    let w = World::start().await;
    let client = w.connect().await;
    for size in [0, 1, 256 * 1024, 256 * 1024 + 1, 10 * 1024 * 1024] {
        let chunks = vec![b'x'; size];
        let chunks: Vec<_> = chunks
            .chunks(65_536)
            .map(|c| Ok::<_, std::io::Error>(c.to_vec()))
            .collect();
        let response = w
            .post("/mcp")
            .header("authorization", &format!("Bearer {}", client.access))
            .body(
                "application/json",
                reqwest::Body::wrap_stream(stream::iter(chunks)),
            )
            .send()
            .await;
        assert_eq!(response.status, 200, "{size}");
        assert_eq!(w.upstream.requests().last().unwrap().body.len(), size);
    }
}

#[tokio::test]
async fn get_is_refused_with_the_reason_unless_it_is_switched_on() {
    let w = World::start().await;
    let client = w.connect().await;
    let authorization = format!("Bearer {}", client.access);
    let refused = w
        .get("/mcp")
        .header("authorization", &authorization)
        .send()
        .await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, "POST, DELETE, OPTIONS")
    );
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("event stream")
    );
    assert!(w.upstream.requests().is_empty());
    let deleted = w
        .request("DELETE", "/mcp")
        .header("authorization", &authorization)
        .send()
        .await;
    assert_eq!(deleted.status, 200);
    assert_eq!(w.upstream.only_request().method, "DELETE");

    let w = World::with_settings(&[("GET_STREAMS", "on")]).await;
    let client = w.connect().await;
    let response = w
        .get("/mcp")
        .header("authorization", &format!("Bearer {}", client.access))
        .send()
        .await;
    assert_eq!(response.status, 200);
    let seen = w.upstream.only_request();
    assert_eq!(seen.method, "GET");
    assert!(
        seen.header("content-length").is_none(),
        "a GET stays without a body"
    );
}

#[tokio::test]
async fn an_upstream_that_refuses_our_credential_is_not_the_clients_fault() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream
        .responds_with(401, &[("www-authenticate", "Bearer")], "secret details");
    let response = w.call(&client.access).send().await;
    assert_eq!(
        response.status, 502,
        "never 401: the client would drop its session"
    );
    let message = response.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("refused the access token"), "{message}");
    assert!(!response.text.contains("secret details"));
}

#[tokio::test]
async fn an_unreachable_upstream_is_502() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let w = World::with_options(Options {
        upstream: Some(format!("http://{gone}/mcp?key=in-the-query")),
        ..Options::default()
    })
    .await;
    w.keep_secret("in-the-query");
    let client = w.connect().await;
    let response = w.call(&client.access).send().await;
    assert_eq!(response.status, 502);
    assert!(
        response.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("cannot be reached")
    );
    assert!(!response.text.contains("in-the-query"));
}

#[tokio::test]
async fn a_silent_upstream_is_504() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let w = World::with_options(Options {
        upstream: Some(format!("http://{}/mcp", silent.local_addr().unwrap())),
        settings: vec![("UPSTREAM_FIRST_BYTE_SECONDS", "1".into())],
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    let response = w.call(&client.access).send().await;
    assert_eq!(response.status, 504);
    assert!(
        response.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("did not answer within 1 s")
    );
}

#[tokio::test]
async fn pinned_headers_and_the_configured_credential_header_replace_those_of_the_client() {
    let w = World::with_settings(&[
        (
            "UPSTREAM_HEADERS",
            r#"{"X-MCP-Readonly":"true","X-MCP-Toolsets":"repos,issues"}"#,
        ),
        ("UPSTREAM_AUTH_HEADER", "X-API-Key"),
        ("UPSTREAM_AUTH_SCHEME", "none"),
        ("FORWARD_HEADERS", "x-tenant"),
    ])
    .await;
    let client = w.connect().await;
    let response = w
        .call(&client.access)
        .header("x-mcp-readonly", "false")
        .header("x-api-key", "guess")
        .header("x-tenant", "t-1")
        .send()
        .await;
    assert_eq!(response.status, 200);
    let seen = w.upstream.only_request();
    assert_eq!(seen.header("x-mcp-readonly"), Some("true"));
    assert_eq!(seen.headers.get_all("x-mcp-readonly").iter().count(), 1);
    assert_eq!(seen.header("x-mcp-toolsets"), Some("repos,issues"));
    assert_eq!(seen.header("x-api-key"), Some(w.pat.as_str()));
    assert_eq!(seen.header("x-tenant"), Some("t-1"));
    assert_eq!(seen.header("authorization"), None);
}

#[tokio::test]
async fn pinned_toolsets_cannot_be_widened_by_path_or_by_other_headers() {
    let w = World::with_settings(&[("UPSTREAM_HEADERS", r#"{"X-MCP-Toolsets":"issues"}"#)]).await;
    let client = w.connect().await;
    let authorization = format!("Bearer {}", client.access);
    for path in [
        "/mcp/x/all",
        "/mcp-work/x/all",
        "/mcp/readonly",
        "/MCP/x/all",
        "//mcp/x/all",
        "/mcp//x/all",
        "/mcp//x",
    ] {
        let response = w
            .post(path)
            .header("authorization", &authorization)
            .json(&json!({}))
            .send()
            .await;
        assert_eq!(response.status, 404, "{path}");
    }
    assert!(w.upstream.requests().is_empty());
    for path in ["/mcp", "/mcp/", "/mcp-work", "/", "//mcp//", "/MCP"] {
        let request = w
            .post(path)
            .header("authorization", &authorization)
            .json(&json!({}));
        let response = request
            .header("x-mcp-tools", "delete_everything")
            .header("x-mcp_toolsets", "all")
            .header("x-mcp-toolsets", "all")
            .send()
            .await;
        assert_eq!(response.status, 200, "{path}");
        let seen = w.upstream.requests().pop().unwrap();
        assert_eq!(seen.header("x-mcp-toolsets"), Some("issues"));
        assert!(seen.header("x-mcp-tools").is_none() && seen.header("x-mcp_toolsets").is_none());
    }
    // No header can switch off read-only, so a client may still choose its tools.
    let w = World::with_settings(&[("UPSTREAM_HEADERS", r#"{"X-MCP-Readonly":"true"}"#)]).await;
    let client = w.connect().await;
    let response = w
        .post("/mcp/x/issues")
        .header("authorization", &format!("Bearer {}", client.access))
        .header("x-mcp-toolsets", "issues")
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(response.status, 200);
    assert_eq!(
        w.upstream.only_request().header("x-mcp-toolsets"),
        Some("issues")
    );
}

#[tokio::test]
async fn cors_allows_the_api_from_any_origin_and_the_pages_from_none() {
    let w = World::start().await;
    let client = w.connect().await;
    for path in [
        "/mcp",
        "/token",
        "/register",
        "/revoke",
        "/.well-known/oauth-authorization-server",
    ] {
        let preflight = w
            .request("OPTIONS", path)
            .header("origin", "https://inspector.example")
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,mcp-protocol-version,mcp-param-x",
            )
            .send()
            .await;
        assert!(preflight.status < 300, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), "*");
        assert_eq!(preflight.header("access-control-allow-credentials"), "");
        let allowed = preflight
            .header("access-control-allow-headers")
            .to_ascii_lowercase();
        for header in [
            "authorization",
            "content-type",
            "mcp-protocol-version",
            "mcp-param-x",
        ] {
            assert!(allowed.contains(header), "{path}: {allowed}");
        }
    }
    let called = w
        .call(&client.access)
        .header("origin", "https://inspector.example")
        .send()
        .await;
    assert_eq!(called.header("access-control-allow-origin"), "*");
    let exposed = called.header("access-control-expose-headers");
    assert!(exposed.contains("Mcp-Session-Id") && exposed.contains("WWW-Authenticate"));
    let page = w
        .get("/authorize")
        .header("origin", "https://evil.example")
        .send()
        .await;
    assert_eq!(page.header("access-control-allow-origin"), "");
    let preflight = w.request("OPTIONS", "/connections").send().await;
    assert_eq!(preflight.status, 405);
    assert_eq!(preflight.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_client_that_disconnects_ends_the_stream_of_the_upstream() {
    let w = World::start().await;
    let client = w.connect().await;
    let (alive, mut ended) = mpsc::unbounded_channel::<()>();
    w.upstream.responds(move |_| {
        let alive = alive.clone();
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"data: 1\n\n"))]);
        let open = stream::pending().map(move |()| {
            let _held = &alive;
            Ok(Bytes::new())
        });
        (
            [("content-type", "text/event-stream")],
            Body::from_stream(first.chain(open)),
        )
            .into_response()
    });
    let response = w.call(&client.access).stream().await;
    let mut body = response.bytes_stream();
    assert!(body.next().await.is_some());
    drop(body);
    // The script itself holds a sender until it is replaced.
    w.upstream.responds_with(200, &[], "");
    let gone = tokio::time::timeout(Duration::from_secs(20), ended.recv()).await;
    assert_eq!(gone, Ok(None), "the upstream's stream was dropped");
}
