//! Cross-origin requests: clients that run in a browser may use everything but the pages. Never with
//! credentials, so `*` gives away nothing: without a bearer token there is nothing to have.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};

use crate::upstream::headers::{REQUEST_HEADERS, is_request_header};

/// Besides [`REQUEST_HEADERS`], what is allowed if a preflight request asks for no name: headers that MCP defines.
const MCP_HEADERS: [&str; 4] = [
    "mcp-protocol-version",
    "mcp-session-id",
    "mcp-method",
    "mcp-name",
];
/// The most names of one preflight request that are considered.
const ASKED_NAMES_MAX: usize = 64;
const ASKED_NAMES: &str = "access-control-request-headers";
const EXPOSED_HEADERS: &str = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After";

/// The response to a preflight request. Of the names that it asks for, those are allowed that the proxy forwards, and
/// `Authorization`. Many names are the client's own: `mcp-param-<name>` (MCP 2026-07-28), `FORWARD_HEADERS`.
pub fn preflight(asked: &HeaderMap, forward: &[HeaderName]) -> Response {
    let names: Vec<&str> = asked
        .get_all(ASKED_NAMES)
        .iter()
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .collect();
    let allowed: Vec<String> = if names.is_empty() {
        let listed = [AUTHORIZATION.as_str()]
            .into_iter()
            .chain(REQUEST_HEADERS)
            .chain(MCP_HEADERS);
        let forward = forward.iter().map(HeaderName::as_str);
        listed.chain(forward).map(str::to_owned).collect()
    } else {
        let names = names.into_iter().take(ASKED_NAMES_MAX);
        let names = names.filter_map(|name| name.parse::<HeaderName>().ok());
        names
            .filter(|name| name == AUTHORIZATION || is_request_header(name, forward))
            .map(|name| name.to_string())
            .collect()
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(
        "access-control-allow-methods",
        HeaderValue::from_static("GET, POST, DELETE, OPTIONS"),
    );
    headers.insert("access-control-max-age", HeaderValue::from_static("86400"));
    headers.insert(
        "vary",
        HeaderValue::from_static("Access-Control-Request-Headers"),
    );
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
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
