//! One line per request: who, what, how it ended, and how long each part took. Never a query, a body, or the
//! value of a header that could hold a credential.

use std::time::Instant;

use axum::{extract::Request, response::Response};
use http::HeaderMap;

use super::{response::RequestLogFields, route::Route};
use crate::app::Caller;

/// The log line of a request, with the fields that are known before the request is handled.
pub struct RequestLogEntry {
    started: Instant,
    route: &'static str,
    method: http::Method,
    /// The path, if no endpoint has it.
    path: Option<String>,
    mcp_method: Option<String>,
    mcp_name: Option<String>,
}

impl RequestLogEntry {
    /// Starts the clock and reads the fields from the request.
    pub fn begin(route: Route<'_>, request: &Request) -> Self {
        Self {
            started: Instant::now(),
            route: route.label(),
            method: request.method().clone(),
            path: matches!(route, Route::Unknown | Route::WellKnown(None))
                .then(|| plain_path(request.uri().path()))
                .flatten(),
            mcp_method: header(request.headers(), "mcp-method"),
            mcp_name: header(request.headers(), "mcp-name"),
        }
    }

    /// Writes the line as soon as the status and the headers of the response are known. A streamed body may still
    /// follow.
    pub fn end(self, caller: &Caller, response: &Response) {
        let log = response.extensions().get::<RequestLogFields>().cloned();
        let log = log.unwrap_or_default();
        tracing::info!(
            event = "request",
            request_id = caller.request_id,
            address = caller.address_text(),
            method = self.method.as_str(),
            route = self.route,
            path = self.path,
            status = response.status().as_u16(),
            ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            store_ms = log.store_ms.and_then(|ms| u64::try_from(ms).ok()),
            upstream_ms = log.upstream_ms.and_then(|ms| u64::try_from(ms).ok()),
            connection = log.connection,
            client_id = log.client_id,
            connection_name = log.connection_name,
            refused = log.refused,
            reason = log.reason,
            mcp_method = log.mcp_method.or(self.mcp_method),
            mcp_name = log.mcp_name.or(self.mcp_name),
        );
    }
}

/// A path if it is a plain one, as people and scanners type it.
fn plain_path(path: &str) -> Option<String> {
    let plain = path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/_-.~".contains(&b));
    // Nothing that could be one of our own credentials, pasted into the address.
    (plain && path.len() <= 128 && !path.contains("mcp_")).then(|| path.to_owned())
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    plain_word(headers.get(name)?.to_str().ok()?)
}

/// A text if it is a plain word, as the names of MCP methods and tools are.
pub fn plain_word(value: &str) -> Option<String> {
    let plain = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/_-.".contains(&b));
    // Nothing that could be one of our own credentials, sent in the wrong place.
    (plain && value.len() <= 128 && !value.starts_with("mcp_")).then(|| value.to_owned())
}
