//! One line per request: who, what, how it ended, and how long each part took. Never a query, a body, or the
//! value of a header that could hold a credential.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};
use http::HeaderMap;
use tracing::Instrument as _;

use super::{answer::Noted, route::Route};
use crate::{app::Caller, oauth::resource::McpPath};

/// Writes the line when the answer's head is ready; a streamed body may go on after it.
pub async fn requests(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let caller = request.extensions().get::<Caller>().cloned();
    let route = route(request.uri().path());
    let method = request.method().clone();
    let (mcp_method, mcp_name) = (
        word(request.headers(), "mcp-method"),
        word(request.headers(), "mcp-name"),
    );

    // Every line that is written on the way bears the request's id.
    let request_id = caller.as_ref().map(|caller| caller.request_id.as_str());
    let span = tracing::info_span!("call", request_id);
    let answer = next.run(request).instrument(span).await;

    let noted = answer
        .extensions()
        .get::<Noted>()
        .cloned()
        .unwrap_or_default();
    tracing::info!(
        event = "request",
        request_id,
        address = caller.as_ref().map(Caller::address_text),
        method = method.as_str(),
        route,
        status = answer.status().as_u16(),
        ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        store_ms = noted.store_ms.and_then(|ms| u64::try_from(ms).ok()),
        upstream_ms = noted.upstream_ms.and_then(|ms| u64::try_from(ms).ok()),
        connection = noted.connection,
        client_id = noted.client_id,
        refused = noted.refused,
        reason = noted.reason,
        mcp_method,
        mcp_name,
    );
    answer
}

/// The kind of path, not the path: a label that a person can group by, and nothing a stranger chose.
fn route(path: &str) -> &'static str {
    match Route::of(path) {
        Route::Register => "/register",
        Route::Authorize => "/authorize",
        Route::Token => "/token",
        Route::Revoke => "/revoke",
        Route::Connections => "/connections",
        Route::WellKnown(_) => "/.well-known",
        Route::Mcp(McpPath::Root) => "/",
        Route::Mcp(_) => "/mcp",
        Route::Unknown => "other",
    }
}

/// A header's value if it is a plain word, as the names of MCP methods and tools are.
fn word(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let plain = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/_-.".contains(&b));
    // Nothing that could be one of our own credentials, sent in the wrong place.
    (plain && value.len() <= 128 && !value.starts_with("mcp_")).then(|| value.to_owned())
}
