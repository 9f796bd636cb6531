//! The doctor: it finds nothing wrong with this program, and names what breaks connectors most often. The faults are those
//! of docs/operate/doctor.md.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use http::{HeaderValue, Method, StatusCode, header};
use lambda_oauth_mcp_proxy::{
    clock::Clock,
    credential::Randomness,
    host::doctor::{Doctor, Finding, Report, Verdict},
    http_client::tls,
};
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

use crate::support::{
    origin::{Origin, Script},
    world::{BEGIN, World},
};

/// What is known of a request.
struct Asked {
    method: Method,
    path: String,
    agent: String,
    has_token: bool,
}

/// Changes a response on its way back.
type Fault = fn(&Asked, Response) -> Response;

/// Something in front of a proxy that can break.
struct Front {
    w: World,
    base: String,
    fault: Arc<Mutex<Fault>>,
}

#[derive(Clone)]
struct Shared {
    behind: Arc<Mutex<String>>,
    http: reqwest::Client,
    fault: Arc<Mutex<Fault>>,
}

impl Front {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let w = World::with_settings(&[("BASE_URL", &base)]).await;
        let shared = Shared {
            behind: Arc::new(Mutex::new(w.base.clone())),
            http: reqwest::Client::builder()
                .tls_backend_preconfigured(tls())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()
                .unwrap(),
            fault: Arc::new(Mutex::new(|_, response| response)),
        };
        let fault = shared.fault.clone();
        let router = Router::new().fallback(pass).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { w, base, fault }
    }

    async fn examine(&self, fault: Fault, pin: bool, timeout: u64) -> Report {
        *self.fault.lock().unwrap() = fault;
        let pin = pin.then(|| self.w.pin.clone());
        let url = format!("{}/mcp", self.base);
        doctor(pin, timeout)
            .examine(&Url::parse(&url).unwrap())
            .await
    }
}

fn doctor(pin: Option<String>, timeout: u64) -> Doctor {
    Doctor {
        tls: tls(),
        timeout: Duration::from_millis(timeout),
        pin,
        clock: Clock::from_fn(|| BEGIN),
        randomness: Randomness::system(),
    }
}

async fn pass(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let text = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let asked = Asked {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        agent: text(header::USER_AGENT).to_owned(),
        has_token: text(header::AUTHORIZATION).contains("mcp_at_"),
    };
    let behind = shared.behind.lock().unwrap().clone();
    let sent = shared
        .http
        .request(parts.method, format!("{behind}{}", parts.uri))
        .headers(parts.headers)
        .body(to_bytes(body, usize::MAX).await.unwrap())
        .send()
        .await
        .unwrap();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = sent.status();
    *response.headers_mut() = sent.headers().clone();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    *response.body_mut() = Body::from(sent.bytes().await.unwrap());
    let fault = *shared.fault.lock().unwrap();
    fault(&asked, response)
}

fn is_call(asked: &Asked) -> bool {
    asked.method == Method::POST && asked.path == "/mcp"
}

fn web_page(status: StatusCode) -> Response {
    (
        status,
        [("content-type", "text/html")],
        "<h1>Just a moment</h1>",
    )
        .into_response()
}

fn with_header(mut response: Response, name: &'static str, value: &'static str) -> Response {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}

/// The response with another JSON body.
fn changed(asked: &Asked, path: &str, response: Response, body: &'static str) -> Response {
    if asked.path.starts_with(path) {
        return ([("content-type", "application/json")], body).into_response();
    }
    response
}

/// A fault, the check that finds it, how bad it is, and what is said.
const FAULTS: [(Fault, &str, Verdict, &str); 17] = [
    // 1. A firewall or bot rule refuses every call, or only claude.ai's.
    (
        |asked, response| {
            if is_call(asked) {
                web_page(StatusCode::FORBIDDEN)
            } else {
                response
            }
        },
        "first call",
        Verdict::Fail,
        "a web page",
    ),
    (
        |asked, response| {
            if is_call(asked) {
                StatusCode::FORBIDDEN.into_response()
            } else {
                response
            }
        },
        "first call",
        Verdict::Fail,
        "a firewall or bot rule",
    ),
    (
        |asked, response| {
            if asked.agent == "Claude-User" {
                StatusCode::FORBIDDEN.into_response()
            } else {
                response
            }
        },
        "as claude.ai",
        Verdict::Fail,
        "AI-bot rule",
    ),
    // 2. The challenge is renamed, missing, or relative.
    (
        |_, mut response| {
            if let Some(value) = response.headers_mut().remove(header::WWW_AUTHENTICATE) {
                response
                    .headers_mut()
                    .insert("x-amzn-remapped-www-authenticate", value);
            }
            response
        },
        "challenge",
        Verdict::Warn,
        "renamed",
    ),
    (
        |_, mut response| {
            response.headers_mut().remove(header::WWW_AUTHENTICATE);
            response
        },
        "challenge",
        Verdict::Warn,
        "does not implement OAuth",
    ),
    (
        |asked, response| {
            let relative = "Bearer resource_metadata=\"/.well-known/oauth-protected-resource/mcp\"";
            if is_call(asked) {
                with_header(response, "www-authenticate", relative)
            } else {
                response
            }
        },
        "challenge",
        Verdict::Fail,
        "not an absolute URL",
    ),
    // 3. The documents are missing, or a web page is in front of them.
    (
        |asked, response| {
            if asked.path.starts_with("/.well-known") {
                StatusCode::NOT_FOUND.into_response()
            } else {
                response
            }
        },
        "resource document",
        Verdict::Fail,
        "404",
    ),
    (
        |asked, response| {
            if asked.method == Method::GET {
                web_page(StatusCode::OK)
            } else {
                response
            }
        },
        "server document",
        Verdict::Fail,
        "web page instead of JSON",
    ),
    // 4. The documents are about another name.
    (
        |asked, response| {
            changed(
                asked,
                "/.well-known/oauth-protected-resource",
                response,
                r#"{"resource":"https://internal.example/mcp","authorization_servers":["https://internal.example"]}"#,
            )
        },
        "resource document",
        Verdict::Fail,
        "it is about https://internal.example/mcp",
    ),
    (
        |asked, response| {
            changed(
                asked,
                "/.well-known/oauth-authorization-server",
                response,
                r#"{"issuer":"https://internal.example"}"#,
            )
        },
        "server document",
        Verdict::Fail,
        "its issuer is https://internal.example",
    ),
    // 5. A redirect in front of the endpoint.
    (
        |asked, response| {
            if is_call(asked) {
                return (StatusCode::PERMANENT_REDIRECT, [("location", "/mcp/")]).into_response();
            }
            response
        },
        "first call",
        Verdict::Fail,
        "redirected to",
    ),
    // 6. A path rule that misses the endpoint.
    (
        |asked, response| {
            if is_call(asked) {
                StatusCode::NOT_FOUND.into_response()
            } else {
                response
            }
        },
        "first call",
        Verdict::Fail,
        "no MCP server was found",
    ),
    // 7. Clients cannot register.
    (
        |asked, response| {
            if asked.path == "/register" {
                StatusCode::FORBIDDEN.into_response()
            } else {
                response
            }
        },
        "registration",
        Verdict::Fail,
        "status 403",
    ),
    // 8. A page in a browser cannot call.
    (
        |_, mut response| {
            response
                .headers_mut()
                .append("access-control-allow-origin", HeaderValue::from_static("*"));
            response
        },
        "browser clients",
        Verdict::Warn,
        "two Access-Control-Allow-Origin",
    ),
    // 9. The page cannot go back to the client.
    (
        |asked, response| {
            if asked.path == "/authorize" {
                return with_header(response, "content-security-policy", "form-action 'self'");
            }
            response
        },
        "sign-in page",
        Verdict::Fail,
        "form-action",
    ),
    // 10. An invalid token does not get 401, so clients do not refresh; errors are web pages.
    (
        |asked, response| {
            if is_call(asked)
                && response.headers()["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .contains("invalid_token")
            {
                return StatusCode::FORBIDDEN.into_response();
            }
            response
        },
        "errors",
        Verdict::Fail,
        "clients refresh only after 401",
    ),
    (
        |asked, response| {
            if asked.path == "/token" {
                web_page(StatusCode::FORBIDDEN)
            } else {
                response
            }
        },
        "errors",
        Verdict::Fail,
        "something in front refuses POST",
    ),
];

fn found<'a>(report: &'a Report, check: &str) -> &'a Finding {
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.check == check);
    finding.unwrap_or_else(|| panic!("{}", report.to_text()))
}

fn assert_found(report: &Report, (check, verdict, words): (&str, Verdict, &str)) {
    let finding = found(report, check);
    let text = report.to_text();
    assert_eq!(finding.verdict, verdict, "{check}: {text}");
    assert!(
        finding.what.contains(words) && !finding.todo.is_empty(),
        "{words}: {text}"
    );
    assert_eq!(report.has_failed(), text.contains("Clients cannot connect"));
}

#[tokio::test]
async fn each_of_the_most_frequent_faults_in_front_of_a_connector_is_named() {
    let front = Front::start().await;
    for (fault, check, verdict, words) in FAULTS {
        let report = front.examine(fault, false, 10_000).await;
        assert_found(&report, (check, verdict, words));
    }
}

#[tokio::test]
async fn faults_after_the_pin_are_named() {
    let front = Front::start().await;
    let changed_redirect: Fault = |_, mut response| {
        if response.status() == StatusCode::SEE_OTHER {
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        }
        response
    };
    let report = front.examine(changed_redirect, true, 10_000).await;
    assert_found(&report, ("consent", Verdict::Fail, "repeats the POST"));
    let bot_rule: Fault = |asked, response| {
        if asked.has_token {
            StatusCode::FORBIDDEN.into_response()
        } else {
            response
        }
    };
    let report = front.examine(bot_rule, true, 10_000).await;
    assert_found(&report, ("calls", Verdict::Fail, "status 403"));
    front.w.upstream.responds_with(401, &[], "no");
    let report = front.examine(|_, response| response, true, 10_000).await;
    assert_found(
        &report,
        ("calls", Verdict::Fail, "refused the access token"),
    );
    assert!(
        found(&report, "calls")
            .todo
            .contains("replace the token for the upstream")
    );
    assert_eq!(found(&report, "revocation").verdict, Verdict::Pass);
}

#[tokio::test]
async fn responses_that_never_begin_or_never_end_are_named() {
    let front = Front::start().await;
    let hangs: Fault = |asked, response| {
        if asked.method != Method::OPTIONS {
            return response;
        }
        let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
        (StatusCode::OK, Body::from_stream(never)).into_response()
    };
    let report = front.examine(hangs, false, 500).await;
    assert_found(&report, ("empty bodies", Verdict::Fail, "never ends"));

    // A certificate of an authority that nobody knows, and a port at which nobody listens.
    let origin = Origin::named("localhost", Script::Respond(Vec::new())).await;
    let url = format!("https://localhost:{}/mcp", origin.address.port());
    let report = doctor(None, 10_000)
        .examine(&Url::parse(&url).unwrap())
        .await;
    assert_found(&report, ("connection", Verdict::Fail, "certificate"));
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}/mcp");
    let report = doctor(None, 10_000)
        .examine(&Url::parse(&url).unwrap())
        .await;
    assert_found(
        &report,
        ("connection", Verdict::Fail, "there is no connection"),
    );
}

#[tokio::test]
async fn this_program_is_healthy_from_the_first_call_to_the_revocation() {
    let w = World::start().await;
    w.upstream.responds(|recorded| {
        let message: Value = serde_json::from_slice(&recorded.body).unwrap_or_default();
        let result = match message["method"].as_str() {
            Some("initialize") => r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"u","version":"1"}}"#,
            Some("tools/list") => r#"{"tools":[{"name":"a","inputSchema":{}},{"name":"b","inputSchema":{}}]}"#,
            _ => return StatusCode::ACCEPTED.into_response(),
        };
        let body = format!(r#"event: message{}data: {{"jsonrpc":"2.0","id":{},"result":{result}}}{}"#, "\n", message["id"], "\n\n");
        ([("content-type", "text/event-stream"), ("mcp-session-id", "s1")], body).into_response()
    });
    let url = w.url("/mcp");
    let report = doctor(Some(w.pin.clone()), 10_000)
        .examine(&Url::parse(&url).unwrap())
        .await;
    for finding in &report.findings {
        let expected = match finding.check {
            "address" | "clock" => continue,
            _ => Verdict::Pass,
        };
        assert_eq!(finding.verdict, expected, "{}", report.to_text());
    }
    assert_eq!(report.findings.len(), 21, "{}", report.to_text());
    assert!(found(&report, "calls").what.starts_with("2 tools"));
    assert!(
        !w.dump()
            .iter()
            .any(|item| item.contains(r#""pk":{"S":"connection"}"#)),
        "the connection is gone"
    );

    // The command: exit code and JSON; a wrong PIN is a failure.
    for (pin, ok) in [(w.pin.as_str(), true), ("wrongPIN77", false)] {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"))
            .args(["doctor", &url, "--json", "--sign-in"])
            .env_clear()
            .env("AUTH_PIN", pin)
            .output()
            .await
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], ok, "{report:#}");
        assert_eq!(output.status.code(), Some(i32::from(!ok)));
        assert!(!report.to_string().contains(pin));
    }
}
