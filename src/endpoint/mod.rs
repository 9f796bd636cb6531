//! The endpoints, and the router.
//!
//! The layers, outermost first, each with its reason:
//! 1. [`log`]: one line per request, so it must see every answer, also those made by the layers below;
//! 2. catching panics: one broken request must not take the function down;
//! 3. [`cors`]: on every answer of the API, errors included, so above everything that makes errors;
//! 4. the [`route`]s: matching them needs rules of our own.

mod answer;
mod authorize;
mod body;
mod browser;
mod clients;
mod connections;
mod cors;
mod documents;
mod log;
mod mcp;
mod pin;
mod register;
mod revoke;
mod route;
mod time;
mod token;
mod well_known;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT, ALLOW, AUTHORIZATION},
};

use crate::{
    app::{App, Caller},
    config::Registration,
    oauth::{
        error::{ErrorCode, OAuthError},
        resource::McpPath,
    },
    page::Landing,
};
use answer::IsPage;
use route::Route;

/// The router. The host must add a [`Caller`] to every request's extensions.
pub fn router(app: App) -> Router {
    Router::new()
        .fallback(dispatch)
        .layer(middleware::from_fn(open_to_browsers))
        .layer(middleware::from_fn(catch_panic))
        .layer(middleware::from_fn(log::requests))
        .with_state(Arc::new(app))
}

/// One column: path, then method. (axum's own router would decode the path first; ours are judged as sent.)
async fn dispatch(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return answer::oauth_error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &OAuthError::new(ErrorCode::ServerError, "the host did not say who calls"),
        );
    };
    let (app, caller) = (&*app, &caller);
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    match (Route::of(&path), &method) {
        (route, &Method::OPTIONS) if route.is_api() => cors::preflight(request.headers()),

        (Route::Register, &Method::POST) if app.config.registration == Registration::Open => {
            register::post(app, caller, request)
                .await
                .unwrap_or_else(answer::Refusal::into_response)
        }
        (Route::Register, _) if app.config.registration == Registration::Open => {
            not_allowed("POST, OPTIONS")
        }
        (Route::Token, &Method::POST) => {
            with_basic_challenge(request, |request| token::post(app, caller, request)).await
        }
        (Route::Revoke, &Method::POST) => {
            with_basic_challenge(request, |request| revoke::post(app, caller, request)).await
        }
        (Route::Token | Route::Revoke, _) => not_allowed("POST, OPTIONS"),

        // HEAD wherever GET is (RFC 9110 §9.1). The hosts leave the body away.
        (Route::Authorize, &Method::GET) => {
            let query = request.uri().query().unwrap_or_default();
            authorize::get(app, caller, query, request.headers()).await
        }
        (Route::Authorize, &Method::HEAD) => {
            let query = request.uri().query().unwrap_or_default();
            authorize::head(app, caller, query).await
        }
        (Route::Authorize, &Method::POST) => authorize::post(app, caller, request).await,
        (Route::Connections, &Method::GET | &Method::HEAD) => {
            connections::get(app, caller, request.headers()).await
        }
        (Route::Connections, &Method::POST) => connections::post(app, caller, request).await,
        (Route::Authorize | Route::Connections, _) => not_allowed("GET, HEAD, POST"),

        (Route::WellKnown(document), method) => {
            match document.and_then(|document| well_known::document(app, caller, document)) {
                Some(document) if matches!(*method, Method::GET | Method::HEAD) => document,
                Some(_) => not_allowed("GET, HEAD, OPTIONS"),
                None => not_found(),
            }
        }
        (Route::Mcp(McpPath::Root), &Method::GET | &Method::HEAD)
            if app.config.landing_page && wants_page(&request) =>
        {
            landing(app, caller)
        }
        (Route::Mcp(_), _) => match app.mcp_path(&path) {
            Some(mcp) => mcp::any(app, caller, mcp, request).await,
            None => not_found(),
        },
        (Route::Register | Route::Unknown, _) => not_found(),
    }
}

/// A client that tried Basic is answered in kind (RFC 6749 §5.2).
async fn with_basic_challenge<F>(request: Request, endpoint: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Result<Response, answer::Refusal>>,
{
    let tried_basic = request.headers().contains_key(AUTHORIZATION);
    let answer = endpoint(request)
        .await
        .unwrap_or_else(answer::Refusal::into_response);
    if tried_basic {
        answer::challenge_basic(answer)
    } else {
        answer
    }
}

/// Whether a person's browser asks, not an MCP client.
fn wants_page(request: &Request) -> bool {
    let accepts = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("text/html"))
    };
    !request.headers().contains_key(AUTHORIZATION)
        && request.headers().get_all(ACCEPT).iter().any(accepts)
}

fn landing(app: &App, caller: &Caller) -> Response {
    let upstream_host = app.upstream.host();
    let connector_name = connector_name(upstream_host);
    let page = Landing {
        connector_url: &caller.base.join("/mcp"),
        connector_name: &connector_name,
        upstream_host,
        // Without TLS it is a loopback address: nothing else is configured or listened on.
        only_this_machine: !caller.base.is_https(),
        show_connections_link: true,
    };
    answer::page(StatusCode::OK, page.render())
}

/// A short name for the connector: `github` for GitHub's server, else the host's telling label.
fn connector_name(upstream_host: &str) -> String {
    if upstream_host == "api.githubcopilot.com" {
        return "github".to_owned();
    }
    let telling = upstream_host
        .split('.')
        .find(|label| !matches!(*label, "mcp" | "api" | "www"));
    telling
        .filter(|label| label.contains(|c: char| c.is_ascii_alphabetic()))
        .unwrap_or("mcp")
        .to_owned()
}

fn not_found() -> Response {
    let body = serde_json::json!({ "error": "not_found", "error_description": "there is nothing at this path" });
    answer::json(StatusCode::NOT_FOUND, &body)
}

fn not_allowed(allow: &'static str) -> Response {
    let error = OAuthError::invalid_request("this path does not take that method");
    let mut answer = answer::oauth_error(StatusCode::METHOD_NOT_ALLOWED, &error);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

async fn open_to_browsers(request: Request, next: Next) -> Response {
    let api = Route::of(request.uri().path()).is_api();
    let mut answer = next.run(request).await;
    if api && answer.extensions().get::<IsPage>().is_none() {
        cors::open(&mut answer);
    }
    answer
}

async fn catch_panic(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            let error = OAuthError::new(ErrorCode::ServerError, "something went wrong here");
            answer::oauth_error(StatusCode::INTERNAL_SERVER_ERROR, &error)
        })
}
