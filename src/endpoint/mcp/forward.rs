//! Where a request goes, and sending it: with our credential, once more if that has just changed, and until the
//! host's time is up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode, request::Parts};
use url::Url;

use super::{
    auth::Authorized,
    error::{INVALID_REQUEST, McpError},
    response::CUT_BEFORE,
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

/// Seconds between two notes that a connection is in use.
const USE_NOTED_EVERY_SECONDS: u64 = 3600;
/// How long a response waits for such a note to be written.
const USE_NOTED_WITHIN: Duration = Duration::from_millis(500);

/// Where a request goes.
///
/// # Errors
/// When it goes nowhere.
pub fn target(
    call: Authorized<'_>,
    secret: &Secret,
    path: McpPath<'_>,
    parts: &mut Parts,
) -> Result<Url, McpError> {
    let Authorized {
        app, connection, ..
    } = call;
    match app.config.upstream.transport {
        Transport::StreamableHttp => streamable_target(app, secret, path, parts),
        Transport::Sse => sse::target(app, connection, path, parts),
    }
}

/// The target over Streamable HTTP. GET opens a stream that the 2026-07-28 revision no longer has, and which costs a
/// running function: refused unless it is switched on. TRACE and CONNECT are not for proxies.
fn streamable_target(
    app: &App,
    secret: &Secret,
    path: McpPath<'_>,
    parts: &Parts,
) -> Result<Url, McpError> {
    let pinned = [&app.config.upstream.headers, &secret.upstream_headers];
    if !matches!(path.rest(), "" | "/") && pinned.iter().any(|pinned| headers::choose_tools(pinned))
    {
        let what = "the owner of this server has chosen its tools, so there is nothing below /mcp";
        return Err(McpError::new(StatusCode::NOT_FOUND, INVALID_REQUEST, what));
    }
    match parts.method {
        Method::GET | Method::HEAD if !app.config.get_streams => {
            let what = "this server does not offer the GET event stream; everything arrives in the responses to POST";
            Err(McpError::method_not_allowed("POST, DELETE, OPTIONS", what))
        }
        Method::TRACE | Method::CONNECT => {
            let what = "this method cannot be passed on";
            Err(McpError::method_not_allowed(
                "GET, POST, DELETE, OPTIONS",
                what,
            ))
        }
        _ => target::resolve(&app.upstream.config().url, path.rest(), parts.uri.query())
            .ok_or_else(McpError::bad_path),
    }
}

/// Sends a request, and waits for the head of the response.
///
/// # Errors
/// When there is no response to pass on.
pub async fn send(
    call: Authorized<'_>,
    parts: &Parts,
    target: Url,
    body: upstream::Body,
    secret: Arc<Secret>,
) -> Result<reqwest::Response, Failure> {
    let Authorized {
        app,
        caller,
        connection,
    } = call;
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
        // Noting the use happens beside the call; whether it succeeds changes nothing.
        let (sent, ()) = tokio::join!(send(body, secret.clone()), note_use(app, connection));
        let Err(Failure::CredentialRefused) = sent else {
            return sent;
        };
        // The owner may have replaced the credential a moment ago: ask, and repeat if it changed.
        let Some(secret) = app.secrets.reread(&secret.upstream_token).await else {
            return Err(Failure::CredentialRefused);
        };
        let bytes = again.map_err(Failure::CredentialReplaced)?;
        send(upstream::Body::Kept(bytes), secret).await
    };
    match caller.ends_at(CUT_BEFORE) {
        // An upstream that is silent until the function's end leaves the client without any response.
        Some(at) => tokio::time::timeout_at(at, sent)
            .await
            .unwrap_or_else(|_| Err(Failure::Silent(started.elapsed()))),
        None => sent.await,
    }
}

async fn note_use(app: &App, connection: &Connection) {
    let now = app.clock.now();
    if now.saturating_sub(connection.last_used_at) < USE_NOTED_EVERY_SECONDS {
        return;
    }
    // The response waits for it, but not for long.
    let noted = app.store.note_use(&connection.id, now);
    let noted = tokio::time::timeout(USE_NOTED_WITHIN, noted).await;
    if let Ok(Err(error)) = noted {
        tracing::warn!(event = "unavailable", detail = %error, "the use was not noted");
    }
}
