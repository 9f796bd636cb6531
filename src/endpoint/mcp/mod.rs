//! The protected resource: a bearer token in, the upstream's response out.
//!
//! * [`auth`] – checks the access token
//! * [`forward`] – finds the target URL and sends the request
//! * [`limited`] – connections that may not do everything
//! * [`activity`], [`outcome`] – records the calls of tools
//! * [`response`] – decides what the client gets from the upstream's response
//! * [`partly_read`] – the upstream's response, as far as it was read
//! * [`refusal`] – explains a refusal by the upstream to a person
//! * [`stream_end`] – ends a response when its connection ends
//! * [`sse`] – upstreams of the deprecated HTTP+SSE transport
//! * [`error`] – errors of the proxy, with the JSON-RPC id of the request
//! * [`message`] – reads a body as JSON-RPC
//! * [`media`] – the media type of a body

mod activity;
mod auth;
mod error;
mod forward;
mod limited;
mod media;
mod message;
mod outcome;
mod partly_read;
mod refusal;
mod response;
mod sse;
mod stream_end;

use std::time::Instant;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{Request, request::Parts};

use super::{log::plain_word, response::RequestLogFields};
use crate::{
    app::{App, Caller},
    oauth::resource::McpPath,
    upstream::{self, KEPT_BODY_BYTES},
};
use activity::Calls;
use auth::{Authorized, Denied};
use error::McpError;
use message::{Message, RequestBody};

/// The most bytes of a body that are read when the access token cannot be checked. They are read only to find the
/// JSON-RPC id for the error.
const UNAUTHENTICATED_BODY_MAX_BYTES: usize = 64 * 1024;

/// Handles a request on an MCP path.
pub async fn handle(
    app: &App,
    caller: &Caller,
    path: McpPath<'_>,
    request: Request<Body>,
) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let authorized = auth::authorized(app, caller, &parts.headers, parts.uri.path()).await;
    let (connection, token) = match authorized {
        Ok(authorized) => authorized,
        Err(Denied::Unauthorized(error)) => return error.into_response(),
        Err(Denied::Unavailable(error)) => {
            let error = McpError::unavailable(&error);
            let budget = app.upstream.body_budget();
            let body = budget
                .keep(body, &parts.headers, UNAUTHENTICATED_BODY_MAX_BYTES)
                .await;
            let body = body.map(|body| RequestBody::of(&parts.headers, &body));
            return error.respond(&body.unwrap_or_default().message());
        }
    };
    let mut log = RequestLogFields {
        connection: Some(connection.id.to_string()),
        client_id: connection.client_id().map(str::to_owned),
        connection_name: Some(connection.shown_name()),
        store_ms: Some(started.elapsed().as_millis()),
        ..RequestLogFields::default()
    };
    let authorized = Authorized {
        app,
        caller,
        connection: &connection,
        token: &token,
    };
    let mut response = proxied(authorized, path, &mut parts, body, &mut log).await;
    if let Some(error_fields) = response.extensions_mut().remove::<RequestLogFields>() {
        log.refused = error_fields.refused;
        log.reason = error_fields.reason;
    }
    response.extensions_mut().insert(log);
    response
}

/// The body is read first, because every error after that needs the JSON-RPC ids in it.
async fn proxied(
    authorized: Authorized<'_>,
    path: McpPath<'_>,
    parts: &mut Parts,
    body: Body,
    log: &mut RequestLogFields,
) -> Response {
    let budget = authorized.app.upstream.body_budget();
    let body = match budget.keep(body, &parts.headers, KEPT_BODY_BYTES).await {
        Ok(body) => body,
        Err(gone) => return error::failed(authorized, &gone.into()).respond(&Message::Unreadable),
    };
    let read = RequestBody::of(&parts.headers, &body);
    let message = read.message();
    let (method, name) = message.method_and_name();
    log.mcp_method = method.as_deref().and_then(plain_word);
    log.mcp_name = name.as_deref().and_then(plain_word);
    let calls = Calls::begin(authorized, &message);
    match forwarded(authorized, path, parts, body, &message, log).await {
        Ok(response) => match calls {
            Some(calls) => calls.watch(response),
            None => response,
        },
        Err(error) => {
            if let Some(calls) = calls {
                calls.failed(error.is_limit());
            }
            error.respond(&message)
        }
    }
}

async fn forwarded(
    authorized: Authorized<'_>,
    path: McpPath<'_>,
    parts: &mut Parts,
    body: upstream::Body,
    message: &Message<'_>,
    log: &mut RequestLogFields,
) -> Result<Response, McpError> {
    let secret = authorized.app.secrets.get().await;
    let secret = secret.map_err(|error| McpError::unavailable(&error))?;
    let target = forward::target(authorized, &secret, path, parts)?;
    let filter = limited::check(authorized, &secret, &target, parts, &body).await?;
    let sent_at = Instant::now();
    let sent = forward::send(authorized, parts, target, body, secret.clone()).await;
    let sent = sent.map_err(|failure| error::failed(authorized, &failure))?;
    log.upstream_ms = Some(sent_at.elapsed().as_millis());
    let request = response::ForwardedRequest {
        authorized,
        secret: &secret,
        method: &parts.method,
        headers: &parts.headers,
        message,
        filter,
    };
    response::respond(&request, sent).await
}
