//! Responses: JSON, pages and redirects, and what the request's log line says about them.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, PRAGMA},
};
use serde_json::Value;

use crate::page::Page;

/// Fields of a request's log line that only its handler knows. They are kept in the response's extensions.
#[derive(Clone, Debug, Default)]
pub struct RequestLogFields {
    /// The connection it belonged to.
    pub connection: Option<String>,
    /// The client it came from.
    pub client_id: Option<String>,
    /// The name of the connection, or of its client.
    pub connection_name: Option<String>,
    /// Milliseconds spent in the store.
    pub store_ms: Option<u128>,
    /// Milliseconds until the upstream's response began.
    pub upstream_ms: Option<u128>,
    /// The method in the body of a request to the MCP endpoint.
    pub mcp_method: Option<String>,
    /// The tool or prompt that its body names.
    pub mcp_name: Option<String>,
    /// Why the request was refused: an OAuth error code, or a word that this program defines.
    pub refused: Option<&'static str>,
    /// A description of the error, without text that others wrote.
    pub reason: Option<String>,
}

/// Marks a response as a page for people: no CORS there.
#[derive(Clone, Copy, Debug)]
pub struct IsPage;

/// A JSON response which nobody may cache. `Pragma` for caches of HTTP/1.0 (RFC 6749 §5.1).
pub fn json(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (PRAGMA, "no-cache"),
    ];
    (status, headers, body.to_string()).into_response()
}

/// A redirect of the person's browser. 303 after a POST, so that the form is not sent along (RFC 9700 §4.12).
pub fn redirect(status: StatusCode, to: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(to) else {
        // A redirect URI is ASCII since it was parsed, and what is appended to it is percent-encoded.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, Body::empty()).into_response();
    response.headers_mut().insert(LOCATION, location);
    set_page_headers(&mut response, NOTHING_ALLOWED);
    response
}

/// A page for a person.
pub fn page(status: StatusCode, page: Page) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    let mut response = (status, headers, page.html).into_response();
    set_page_headers(&mut response, &page.content_security_policy);
    response
}

/// The response to HEAD for a page whose length only GET can tell (RFC 9110 §8.6: no length is better than a wrong
/// one).
pub fn page_of_unknown_length() -> Response {
    let body = Body::from_stream(stream::empty::<Result<Bytes, std::convert::Infallible>>());
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    let mut response = (StatusCode::OK, headers, body).into_response();
    set_page_headers(&mut response, NOTHING_ALLOWED);
    response
}

/// The policy of a response that shows nothing.
const NOTHING_ALLOWED: &str = "default-src 'none'; frame-ancestors 'none'";

/// The headers of every page. No `form-action` in the policy: browsers apply it to the whole chain of
/// redirects, up to `claude://`.
fn set_page_headers(response: &mut Response, policy: &str) {
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        ("cache-control", "no-store"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=()",
        ),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response.extensions_mut().insert(IsPage);
}

/// Keeps the page apart from windows that opened it or that it opens. Never below `/authorize`: a client in a browser
/// opens the consent page in a window of its own and waits there for the redirect back, which this header would sever
/// for good (`same-origin-allow-popups` does, too).
pub fn isolate_window(mut response: Response) -> Response {
    response.headers_mut().insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}
