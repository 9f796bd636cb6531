//! Cross-origin requests: clients that run in a browser may use everything but the pages. Never with
//! credentials, so `*` gives away nothing: without a bearer token there is nothing to have.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const ALLOWED_HEADERS: &str = "authorization, content-type, accept, mcp-protocol-version, mcp-session-id, last-event-id, \
                       mcp-method, mcp-name";
const EXPOSED_HEADERS: &str = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After";

/// The response to a preflight request.
pub fn preflight(asked: &HeaderMap) -> Response {
    let mut allowed = ALLOWED_HEADERS.to_owned();
    // `mcp-param-<name>` (MCP 2026-07-28) and the like: the names are the client's, so those asked for are allowed, with
    // every character that a name may have (RFC 9110 §5.6.2), `_` too.
    let asked = asked
        .get("access-control-request-headers")
        .and_then(|names| names.to_str().ok())
        .unwrap_or_default();
    for name in asked.split(',').map(str::trim).take(64) {
        let Ok(name) = name.parse::<HeaderName>() else {
            continue;
        };
        if ["mcp-", "x-mcp-"]
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix))
        {
            allowed += ", ";
            allowed += name.as_str();
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(
        "access-control-allow-methods",
        HeaderValue::from_static("GET, POST, DELETE, OPTIONS"),
    );
    headers.insert("access-control-max-age", HeaderValue::from_static("86400"));
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        headers.insert("access-control-allow-headers", allowed);
    }
    response
}

/// Lets scripts of every origin read a response.
pub fn allow_every_origin(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
    headers.insert(
        "access-control-expose-headers",
        HeaderValue::from_static(EXPOSED_HEADERS),
    );
}
