//! Refusals and acknowledgements of the upstream: responses that clients would misread are replaced, and everything
//! else passes unchanged.

use crate::support::{
    upstream_cases::{self, Case, Got},
    world::{Connected, World},
};

async fn got(w: &World, client: &Connected, case: &Case) -> Got {
    let token = w.pat.clone();
    let upstream = case.clone();
    w.upstream.responds(move |_| upstream.response(&token));
    let mut request = w
        .request(case.method, "/mcp")
        .header("authorization", &format!("Bearer {}", client.access))
        .header("accept", "application/json, text/event-stream")
        .body("application/json", case.message);
    if case.in_session {
        request = request.header("mcp-session-id", "s-1");
    }
    let response = request.send().await;
    for never in ["www-authenticate", "set-cookie", "content-encoding"] {
        let passes =
            never == "content-encoding" && matches!(case.gets, upstream_cases::Gets::TheSame);
        assert!(
            passes || response.header(never).is_empty(),
            "{}: {never}",
            case.name
        );
    }
    Got {
        status: response.status,
        content_type: response.header("content-type").to_owned(),
        text: response.text,
    }
}

async fn check(cases: Vec<Case>) {
    let w = World::start().await;
    let client = w.connect().await;
    for case in cases {
        let got = got(&w, &client, &case).await;
        case.check(&got, "127.0.0.1", &w.pat, false);
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

pub async fn response_to(
    w: &World,
    client: &Connected,
    case: (&str, &str, &str),
) -> crate::support::world::Response {
    let (method, path, message) = case;
    w.request(method, path)
        .header("authorization", &format!("Bearer {}", client.access))
        .header("accept", "application/json, text/event-stream")
        .body("application/json", message.to_owned())
        .send()
        .await
}

/// The message of an error without an id.
pub fn plain(response: &crate::support::world::Response, what: &str) -> String {
    assert_eq!(response.status, 502, "{what}: {response:?}");
    assert_eq!(
        response.header("content-type"),
        "application/json",
        "{what}"
    );
    let json = response.json();
    assert!(
        json.get("jsonrpc").is_none() && json.get("id").is_none(),
        "{what}: {json}"
    );
    assert_eq!(json["error"], "upstream_refused", "{what}");
    json["error_description"].as_str().unwrap().to_owned()
}

const FORBIDDEN: &str = "The owner of this proxy should check the permissions of the access token for that server, \
     and single sign-on: some organizations must authorize a token first. Your sign-in to this proxy is fine";
const NOT_FOUND: &str = "The owner of this proxy should check UPSTREAM_MCP, set UPSTREAM_TRANSPORT=sse if that server \
     speaks HTTP+SSE only, and check the permissions of the access token for that server: some servers hide what a \
     token may not see";
const NOT_MCP: &str = "The owner of this proxy should check UPSTREAM_MCP, set UPSTREAM_TRANSPORT=sse if that server \
     speaks HTTP+SSE only, and check that the access token for that server is valid, with its permissions and single \
     sign-on";
const PAGE: (&str, &str) = (
    "text/html",
    "<title>Sign in</title><h1>Not here</h1>\n<p>Please <b>sign</b> in<br>first.</p>",
);
const PLAIN_NO: (&str, &str) = ("text/plain", "no");
const EMPTY: (&str, &str) = ("", "");

/// Method, message, and the upstream's status, content type and body; then what the client is told, and the advice.
type Told = (
    (&'static str, &'static str),
    u16,
    (&'static str, &'static str),
    &'static str,
    &'static str,
);

const TOLD: [Told; 10] = {
    use upstream_cases::{INITIALIZE, INITIALIZED, TOOL_CALL};
    [
        (
            ("POST", TOOL_CALL),
            403,
            ("text/plain", "not licensed.\n"),
            "refused this call with status 403: “not licensed”",
            FORBIDDEN,
        ),
        (
            ("POST", TOOL_CALL),
            403,
            EMPTY,
            "refused this call with status 403",
            FORBIDDEN,
        ),
        (
            ("POST", INITIALIZED),
            403,
            PLAIN_NO,
            "refused this message with status 403: “no”",
            FORBIDDEN,
        ),
        (
            ("DELETE", ""),
            403,
            PLAIN_NO,
            "refused this request with status 403: “no”",
            FORBIDDEN,
        ),
        (
            ("GET", ""),
            403,
            PLAIN_NO,
            "refused this request with status 403: “no”",
            FORBIDDEN,
        ),
        (
            ("POST", TOOL_CALL),
            403,
            (
                "application/json",
                r#"{"documentation_url":"https://docs.example/","message":"Not accessible.","status":"403"}"#,
            ),
            "refused this call with status 403: “Not accessible”",
            FORBIDDEN,
        ),
        (
            ("POST", INITIALIZE),
            404,
            PAGE,
            "responded to the first call with status 404: “Sign in Not here Please sign in first”",
            NOT_FOUND,
        ),
        (
            ("POST", INITIALIZE),
            405,
            EMPTY,
            "responded to the first call with status 405",
            NOT_FOUND,
        ),
        (
            ("POST", INITIALIZE),
            200,
            PAGE,
            "responded to the first call with status 200 and text/html instead of an MCP message: “Sign in Not here Please sign in first”",
            NOT_MCP,
        ),
        (
            ("POST", INITIALIZE),
            204,
            EMPTY,
            "responded to the first call with status 204 instead of an MCP message",
            NOT_MCP,
        ),
    ]
};

/// The message of a response's error, with or without JSON-RPC, without its reference.
fn message_without_reference(response: &crate::support::world::Response) -> String {
    let json = response.json();
    let message = json["error"]["message"]
        .as_str()
        .or(json["error_description"].as_str())
        .unwrap();
    message.split_once(" (reference ").unwrap().0.to_owned()
}

#[tokio::test]
async fn a_refusal_says_who_refused_then_why_then_what_to_do_and_last_that_the_sign_in_is_fine() {
    let w = World::with_settings(&[("GET_STREAMS", "on")]).await;
    let client = w.connect().await;
    for ((method, message), status, (content_type, body), says, advice) in TOLD {
        w.upstream.responds(move |_| {
            let mut response = axum::response::Response::new(body.into());
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            if !content_type.is_empty() {
                let value = content_type.parse().unwrap();
                response.headers_mut().insert("content-type", value);
            }
            response
        });
        let response = response_to(&w, &client, (method, "/mcp", message)).await;
        let message = message_without_reference(&response);
        assert_eq!(
            message,
            format!("the MCP server at 127.0.0.1 {says}. {advice}")
        );
        // Codex shows about 150 characters on its screen, and may cut just behind "Your sign-in".
        let shown = message.replace("127.0.0.1", "mcp.example.com");
        let shown: String = format!("Mcp error: -32000: {shown}")
            .chars()
            .take(150)
            .collect();
        assert!(!shown.contains("sign-in"), "{shown}");
    }
}

#[tokio::test]
async fn a_get_stream_that_is_forbidden_is_a_plain_error_and_one_that_is_not_offered_passes() {
    let w = World::with_settings(&[("GET_STREAMS", "on")]).await;
    let client = w.connect().await;
    let get = ("GET", "/mcp", "");
    w.upstream
        .responds_with(403, &[("content-type", "text/plain")], "no licence");
    let message = plain(&response_to(&w, &client, get).await, "403");
    assert!(
        message.contains("no licence") && message.contains("permissions"),
        "{message}"
    );
    for status in [404, 405, 410] {
        w.upstream
            .responds_with(status, &[("allow", "POST")], "no stream");
        let response = response_to(&w, &client, get).await;
        assert_eq!(
            (response.status, response.text.as_str()),
            (status, "no stream")
        );
        assert_eq!(response.header("allow"), "POST");
    }
    w.upstream.responds_with(403, &[], "no licence");
    assert_eq!(
        response_to(&w, &client, ("HEAD", "/mcp", "")).await.status,
        502
    );
    plain(
        &response_to(&w, &client, ("DELETE", "/mcp", "")).await,
        "DELETE",
    );
    // Not an acknowledgement: a session was ended.
    for status in [200, 204] {
        w.upstream.responds_with(status, &[], "");
        assert_eq!(
            response_to(&w, &client, ("DELETE", "/mcp", ""))
                .await
                .status,
            status
        );
    }
}

#[tokio::test]
async fn rate_limit_and_request_id_headers_of_a_refusal_are_forwarded_and_those_about_its_body_are_not()
 {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream.responds_with(
        403,
        &[
            ("content-type", "text/html"),
            ("retry-after", "60"),
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "0"),
            ("ratelimit-policy", "5000;w=3600"),
            ("x-github-request-id", "ABCD:1"),
            ("etag", "W/1"),
            ("content-language", "de"),
            ("content-disposition", "attachment"),
            ("cache-control", "public, max-age=600"),
            ("mcp-session-id", "s-1"),
            ("www-authenticate", "Bearer error=insufficient_scope"),
            ("set-cookie", "a=b"),
            ("location", "https://login.example/"),
        ],
        "You have exceeded a secondary rate limit",
    );
    for message in [upstream_cases::TOOL_CALL, upstream_cases::INITIALIZED] {
        let response = response_to(&w, &client, ("POST", "/mcp", message)).await;
        for (name, value) in [
            ("retry-after", "60"),
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "0"),
            ("ratelimit-policy", "5000;w=3600"),
            ("x-github-request-id", "ABCD:1"),
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(response.header(name), value, "{name}");
        }
        for name in [
            "etag",
            "content-language",
            "content-disposition",
            "mcp-session-id",
            "www-authenticate",
            "set-cookie",
            "location",
        ] {
            assert_eq!(response.header(name), "", "{name}");
        }
        assert!(response.text.contains("secondary rate limit"));
    }
}

#[tokio::test]
async fn a_refusal_is_logged_without_any_text_of_the_upstream() {
    let w = World::start().await;
    let client = w.connect().await;
    w.keep_secret("words-of-the-upstream");
    w.upstream.responds_with(
        403,
        &[("content-type", "text/plain")],
        "words-of-the-upstream",
    );
    let response = w.call(&client.access).send().await;
    assert!(response.text.contains("words-of-the-upstream"));
    let log = String::from_utf8(crate::support::world::logged().lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["fields"]["client_id"] == client.client_id)
        .collect();
    let line = |event: &str| {
        let line = lines.iter().find(|line| line["fields"]["event"] == event);
        line.unwrap()["fields"].clone()
    };
    assert_eq!(line("upstream_refused")["upstream_status"], 403);
    let request = lines
        .iter()
        .rev()
        .find(|line| line["fields"]["event"] == "request");
    let request = &request.unwrap()["fields"];
    assert_eq!(request["refused"], "upstream_refused");
    assert_eq!(request["reason"], "status 403 of the upstream");
    assert_eq!(request["status"], 200);
    // The world looks for the words in the log when it ends.
}

/// A stream is passed on at once: its head does not wait for events, and events do not wait for each other.
#[tokio::test]
async fn a_stream_in_response_to_a_notification_is_not_held_back() {
    use axum::response::IntoResponse as _;
    use futures_util::{StreamExt as _, stream};
    let w = World::start().await;
    let client = w.connect().await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<bytes::Bytes>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    w.upstream.responds(move |_| {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        let events = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let events = events.map(Ok::<_, std::io::Error>);
        let body = axum::body::Body::from_stream(events);
        ([("content-type", "text/event-stream")], body).into_response()
    });
    sender.send(": hello\n\n".into()).unwrap();
    let response = w
        .post("/mcp")
        .header("authorization", &format!("Bearer {}", client.access))
        .body("application/json", upstream_cases::INITIALIZED)
        .stream()
        .await;
    assert_eq!(response.status(), 200);
    let mut body = response.bytes_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), ": hello\n\n");
    for n in 0..3 {
        let event = format!("data: {n}\n\n");
        sender.send(event.clone().into()).unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), event);
    }
    drop(sender);
    assert!(body.next().await.is_none());
}
