//! Upstreams of the deprecated HTTP+SSE transport (MCP 2024-11-05): GET opens a stream whose first event names the URL
//! for POST requests. The client gets a URL of this proxy instead, which stands for exactly that URL.

use std::{io, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::{HeaderValue, Method, StatusCode, header::ACCEPT_ENCODING, request::Parts};
use url::Url;

use super::error::{INVALID_REQUEST, McpError};
use crate::{
    app::App,
    oauth::resource::McpPath,
    store::record::Connection,
    upstream::{
        endpoint_event::replace_endpoints,
        endpoint_target::{open_target, resolve_endpoint, seal_target},
        keep_alive::{KeepAlive, Limits},
        target,
    },
};

/// The prefix, after `/mcp/`, of the URLs to which clients send messages.
const MESSAGE_PREFIX: &str = "message/";

/// Whether messages are sent to this path.
pub fn is_message(path: McpPath<'_>) -> bool {
    message_token(path).is_some()
}

/// What follows the prefix of message URLs. They are a route of the proxy, so repeated slashes count as one.
fn message_token(path: McpPath<'_>) -> Option<&str> {
    let rest = path.rest().trim_start_matches('/');
    let token = rest.strip_prefix(MESSAGE_PREFIX)?;
    Some(token.trim_start_matches('/'))
}

/// The upstream's URL for a message: the one that the upstream named. The client's query is dropped, because the URL is
/// complete.
///
/// # Errors
/// When the request is not forwarded.
pub fn message_target(
    app: &App,
    connection: &Connection,
    path: McpPath<'_>,
    parts: &Parts,
) -> Result<Url, McpError> {
    if parts.method != Method::POST {
        let what = "messages are sent by POST";
        return Err(McpError::method_not_allowed("POST", what));
    }
    let upstream = &app.upstream.config().url;
    let key = connection.sealing_key.as_ref();
    key.zip(message_token(path))
        .and_then(|(key, token)| open_target(key, token, upstream))
        .ok_or_else(|| {
            let what = "this message URL is not one that this connection was given";
            McpError::new(StatusCode::NOT_FOUND, INVALID_REQUEST, what)
        })
}

/// The upstream's URL for an event stream.
///
/// # Errors
/// When the request is not forwarded.
pub fn stream_target(app: &App, path: McpPath<'_>, parts: &mut Parts) -> Result<Url, McpError> {
    if parts.method != Method::GET {
        // Clients that try Streamable HTTP first fall back to GET after this status code.
        let what = "this server speaks HTTP+SSE: open the event stream with GET first";
        return Err(McpError::method_not_allowed("GET", what));
    }
    // The URL in a compressed stream could not be replaced.
    parts
        .headers
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let upstream = &app.upstream.config().url;
    target::resolve(upstream, path.rest(), parts.uri.query()).ok_or_else(McpError::bad_path)
}

/// The upstream's event stream, with a URL of this proxy in the endpoint event.
pub fn body<S>(
    app: &App,
    connection: &Connection,
    stream_url: Url,
    stream: S,
    keep_alive_after: Duration,
    limits: Limits,
) -> Body
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let (key, randomness) = (connection.sealing_key.clone(), app.randomness.clone());
    let stream = replace_endpoints(stream, move |endpoint: &str| {
        let target = resolve_endpoint(&stream_url, endpoint)?;
        let token = seal_target(key.as_ref()?, &randomness, &target);
        Some(format!("/mcp/{MESSAGE_PREFIX}{token}"))
    })
    .inspect_err(|error| {
        if error.kind() == io::ErrorKind::InvalidData {
            tracing::warn!(
                event = "upstream_endpoint_refused",
                detail = %error,
                "an event stream was ended"
            );
        }
    });
    Body::from_stream(KeepAlive::new(stream, keep_alive_after, limits))
}
