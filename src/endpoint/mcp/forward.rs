//! Finds the target URL of a request and sends the request with the credential for the upstream. If the credential was
//! replaced a moment ago, the request is sent once more. It is given up shortly before the function's deadline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode, request::Parts};
use url::Url;

use super::{
    auth::Authorized,
    error::{INVALID_REQUEST, McpError},
    response::STREAM_CUT_OFF_MARGIN,
    sse,
};
use crate::{
    app::App,
    config::Transport,
    oauth::resource::McpPath,
    secrets::Secret,
    store::record::Connection,
    upstream::{self, Failure, headers, target},
};

/// The shortest time between two writes of the time of last use.
const RECORD_USE_INTERVAL_SECONDS: u64 = 3600;
/// How long a response waits for the time of last use to be written.
const RECORD_USE_TIMEOUT: Duration = Duration::from_millis(500);

/// The URL that a request is forwarded to.
///
/// # Errors
/// When the request is not forwarded.
pub fn target(
    authorized: Authorized<'_>,
    secret: &Secret,
    path: McpPath<'_>,
    parts: &mut Parts,
) -> Result<Url, McpError> {
    let Authorized {
        app, connection, ..
    } = authorized;
    match app.config.upstream.transport {
        // The upstream itself chose the URL of a message.
        Transport::Sse if sse::is_message(path) => {
            sse::message_target(app, connection, path, parts)
        }
        _ if may_widen_tools(app, secret, path) => {
            let what = "the owner of this server has fixed its tools, so paths below /mcp are not available; use /mcp";
            Err(McpError::new(StatusCode::NOT_FOUND, INVALID_REQUEST, what))
        }
        Transport::Sse => sse::stream_target(app, path, parts),
        Transport::StreamableHttp => streamable_target(app, path, parts),
    }
}

/// Whether pinned headers choose the tools, and the path could choose others, as GitHub's `/x/all` does.
fn may_widen_tools(app: &App, secret: &Secret, path: McpPath<'_>) -> bool {
    let pinned = [&app.config.upstream.headers, &secret.upstream_headers];
    !matches!(path.rest(), "" | "/") && pinned.iter().any(|pinned| headers::choose_tools(pinned))
}

/// The target for Streamable HTTP, whose methods are POST, DELETE and GET (MCP, Transports). GET opens an event stream,
/// which keeps a function running and which MCP 2026-07-28 no longer has. So GET, and HEAD with it, is refused unless
/// `GET_STREAMS` is set. No other method reaches the upstream.
fn streamable_target(app: &App, path: McpPath<'_>, parts: &Parts) -> Result<Url, McpError> {
    let get_streams = app.config.get_streams;
    let allow = if get_streams {
        "GET, HEAD, POST, DELETE, OPTIONS"
    } else {
        "POST, DELETE, OPTIONS"
    };
    let refused = |what| Err(McpError::method_not_allowed(allow, what));
    match parts.method {
        Method::POST | Method::DELETE => {}
        Method::GET | Method::HEAD if get_streams => {}
        Method::GET | Method::HEAD => {
            return refused(
                "this server does not offer the GET event stream; everything arrives in the responses to POST",
            );
        }
        _ => return refused("MCP does not use this method"),
    }
    target::resolve(&app.upstream.config().url, path.rest(), parts.uri.query())
        .ok_or_else(McpError::bad_path)
}

/// Sends a request and waits for the status and headers of the response.
///
/// # Errors
/// When there is no response to forward.
pub async fn send(
    authorized: Authorized<'_>,
    parts: &Parts,
    target: Url,
    body: upstream::Body,
    secret: Arc<Secret>,
) -> Result<reqwest::Response, Failure> {
    let Authorized {
        app,
        caller,
        connection,
        ..
    } = authorized;
    let started = Instant::now();
    let again = match &body {
        upstream::Body::Kept(bytes) => Ok(bytes.clone()),
        upstream::Body::Streamed { reason, .. } => Err(*reason),
    };
    let send = |body, secret: Arc<Secret>| {
        let target = target.clone();
        async move {
            app.upstream
                .send(&parts.method, target, &parts.headers, body, &secret)
                .await
        }
    };
    let sent = async {
        // Recording the use runs concurrently with the request. If it fails, the response is the same.
        let (sent, ()) = tokio::join!(send(body, secret.clone()), record_use(app, connection));
        let Err(Failure::CredentialRefused) = sent else {
            return sent;
        };
        // The owner may have replaced the token a moment ago: read the secret again and repeat the request if the token
        // has changed.
        let Some(secret) = app.secrets.reread(&secret.upstream_token).await else {
            return Err(Failure::CredentialRefused);
        };
        let bytes = again.map_err(Failure::CredentialReplaced)?;
        send(upstream::Body::Kept(bytes), secret).await
    };
    match caller.ends_at(STREAM_CUT_OFF_MARGIN) {
        // Without this timeout, an upstream that stays silent until the function ends would leave the client without a
        // response.
        Some(at) => tokio::time::timeout_at(at, sent)
            .await
            .unwrap_or_else(|_| Err(Failure::Silent(started.elapsed()))),
        None => sent.await,
    }
}

async fn record_use(app: &App, connection: &Connection) {
    let now = app.clock.now();
    if now.saturating_sub(connection.last_used_at) < RECORD_USE_INTERVAL_SECONDS {
        return;
    }
    let recorded = app.store.record_use(&connection.id, now);
    let recorded = tokio::time::timeout(RECORD_USE_TIMEOUT, recorded).await;
    if let Ok(Err(error)) = recorded {
        tracing::warn!(event = "unavailable", detail = %error, "the time of last use could not be stored");
    }
}
