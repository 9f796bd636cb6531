//! What can break in front of a connector.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use lambda_oauth_mcp_proxy::{
    host::doctor::{Report, Verdict},
    http_client::tls,
};
use tokio::net::TcpListener;
use url::Url;

use crate::support::world::World;

/// What is known of a request.
pub struct Asked {
    pub method: Method,
    path: String,
    agent: String,
    pub has_token: bool,
}

/// Changes a response on its way back.
pub type Fault = fn(&Asked, Response) -> Response;

/// Something in front of a proxy that can break.
pub struct Front {
    pub w: World,
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
    pub async fn start() -> Self {
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

    pub async fn examine(&self, fault: Fault, pin: bool, timeout: u64) -> Report {
        *self.fault.lock().unwrap() = fault;
        let pin = pin.then(|| self.w.pin.clone());
        let url = format!("{}/mcp", self.base);
        super::doctor(pin, timeout)
            .examine(&Url::parse(&url).unwrap())
            .await
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
pub const FAULTS: [(Fault, &str, Verdict, &str); 17] = [
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
