//! The protected resource: a bearer token in, the upstream's response out.
//!
//! * [`auth`] – whose access token it is
//! * [`forward`] – where the request goes, and sending it
//! * [`response`] – what becomes of the upstream's response
//! * [`refusal`] – a refusal of the upstream, in words for a person
//! * [`sse`] – upstreams of the deprecated HTTP+SSE transport
//! * [`error`] – errors of our own, with the id of the call
//! * [`message`] – what a body says as JSON-RPC
//! * [`media`] – what a body is, by its headers

mod auth;
mod error;
mod forward;
mod media;
mod message;
mod refusal;
mod response;
mod sse;

use std::time::Instant;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{Request, request::Parts};

use super::response::RequestLog;
use crate::{
    app::{App, Caller},
    oauth::resource::McpPath,
    upstream::{self, KEPT_BODY_BYTES},
};
use auth::{Authorized, Denied};
use error::McpError;
use message::{Message, RequestBody};

/// Most bytes of a body that are read to find a call's id before it is known who calls.
const STRANGERS_BODY_BYTES: usize = 64 * 1024;

/// Answers a request on an MCP path.
pub async fn any(
    app: &App,
    caller: &Caller,
    path: McpPath<'_>,
    request: Request<Body>,
) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let connection = match auth::authorized(app, caller, &parts.headers, parts.uri.path()).await {
        Ok(connection) => connection,
        Err(Denied::Unauthorized(error)) => return error.into_response(),
        Err(Denied::Unavailable(error)) => {
            let error = McpError::unavailable(&error);
            let budget = app.upstream.body_budget();
            let body = budget
                .keep(body, &parts.headers, STRANGERS_BODY_BYTES)
                .await;
            let body = body.map(|body| RequestBody::of(&parts.headers, &body));
            return error.respond(&body.unwrap_or_default().message());
        }
    };
    let mut log = RequestLog {
        connection: Some(connection.id.to_string()),
        client_id: Some(connection.client_id.clone()),
        store_ms: Some(started.elapsed().as_millis()),
        ..RequestLog::default()
    };
    let call = Authorized {
        app,
        caller,
        connection: &connection,
    };
    let mut response = proxied(call, path, &mut parts, body, &mut log).await;
    if let Some(refusal) = response.extensions_mut().remove::<RequestLog>() {
        log.refused = refusal.refused;
        log.reason = refusal.reason;
    }
    response.extensions_mut().insert(log);
    response
}

/// The body comes first, because every error from here on needs the ids in it.
async fn proxied(
    call: Authorized<'_>,
    path: McpPath<'_>,
    parts: &mut Parts,
    body: Body,
    log: &mut RequestLog,
) -> Response {
    let budget = call.app.upstream.body_budget();
    let body = match budget.keep(body, &parts.headers, KEPT_BODY_BYTES).await {
        Ok(body) => body,
        Err(gone) => return error::failed(call, &gone.into()).respond(&Message::Unreadable),
    };
    let read = RequestBody::of(&parts.headers, &body);
    forwarded(call, path, parts, body, &read, log)
        .await
        .unwrap_or_else(|error| error.respond(&read.message()))
}

async fn forwarded(
    call: Authorized<'_>,
    path: McpPath<'_>,
    parts: &mut Parts,
    body: upstream::Body,
    read: &RequestBody,
    log: &mut RequestLog,
) -> Result<Response, McpError> {
    let secret = call.app.secrets.get().await;
    let secret = secret.map_err(|error| McpError::unavailable(&error))?;
    let target = forward::target(call, &secret, path, parts)?;
    let asked = Instant::now();
    let sent = forward::send(call, parts, target, body, secret.clone()).await;
    let sent = sent.map_err(|failure| error::failed(call, &failure))?;
    log.upstream_ms = Some(asked.elapsed().as_millis());
    let call = response::Call {
        authorized: call,
        secret: &secret,
        method: &parts.method,
        headers: &parts.headers,
        body: read,
    };
    response::respond(&call, sent).await
}
