//! The protected resource: a bearer token in, the upstream's answer out.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
    request::Parts,
};
use http_body_util::BodyExt as _;
use serde_json::json;
use url::Url;

use super::{
    answer::{self, Noted, Refusal},
    sse,
};
use crate::{
    app::{App, Caller},
    config::Transport,
    credential::AccessToken,
    error::causes,
    oauth::{bearer, error::ErrorCode, metadata, resource::McpPath, scope},
    secrets::Secret,
    store::record::{Connection, Stage},
    upstream::{
        self, CLIENT_GONE, Failure, headers,
        keep_alive::{CutAt, KeepAlive, Limits},
        target,
    },
};

/// Longest body that is kept in memory, so that the call can be repeated with a new credential.
const KEPT: usize = 256 * 1024;
/// Silence on an event stream after which a comment is sent, so that nobody in between takes it for dead.
const QUIET: Duration = Duration::from_secs(15);
/// Before the function's end a stream ends at the next place between two events…
const END_BEFORE: Duration = Duration::from_secs(5);
/// … and at the latest here: what the runtime cuts is no HTTP answer any more.
const CUT_BEFORE: Duration = Duration::from_secs(2);
/// Seconds between two notes that a connection is in use.
const NOTE_USE: u64 = 3600;
const NOTED_IN: Duration = Duration::from_millis(500);

/// Answers a request on an MCP path.
pub async fn any(
    app: &App,
    caller: &Caller,
    path: McpPath<'_>,
    request: Request<Body>,
) -> Response {
    let started = Instant::now();
    let connection = match authorized(app, caller, request.headers(), request.uri().path()).await {
        Ok(connection) => connection,
        Err(answer) => return *answer,
    };
    let store_ms = started.elapsed().as_millis();
    let mut noted = Noted {
        connection: Some(connection.id.to_string()),
        client_id: Some(connection.client_id.clone()),
        store_ms: Some(store_ms),
        ..Noted::default()
    };
    let mut answer = match proxied(app, caller, &connection, path, request, &mut noted).await {
        Ok(answer) => answer,
        Err(failure) => failed(app, caller, &connection, &failure, &mut noted),
    };
    if let Some(refusal) = answer.extensions_mut().remove::<Noted>() {
        noted.refused = noted.refused.or(refusal.refused);
        noted.reason = refusal.reason;
    }
    answer.extensions_mut().insert(noted);
    answer
}

/// The connection whose access token was presented. One strongly consistent read: ending a connection acts on
/// the next request.
async fn authorized(
    app: &App,
    caller: &Caller,
    headers: &http::HeaderMap,
    path: &str,
) -> Result<Connection, Box<Response>> {
    let refuse = |error| Box::new(unauthorized(caller, path, error));
    let token = match bearer::presented(headers) {
        bearer::Presented::Nothing => return Err(refuse(None)),
        bearer::Presented::Malformed => {
            return Err(refuse(Some((
                ErrorCode::InvalidToken,
                "the Authorization header holds no bearer token",
            ))));
        }
        bearer::Presented::Token(token) => token,
    };
    let invalid = (
        ErrorCode::InvalidToken,
        "the access token is unknown, expired or revoked",
    );
    let Some(token) = AccessToken::parse(token) else {
        return Err(refuse(Some(invalid)));
    };
    let now = app.clock.now();
    let connection = match app.store.connection(token.id(), now).await {
        Ok(connection) => connection,
        // 503, never 401: that would make clients drop their session.
        Err(error) => return Err(Box::new(Refusal::from(error).into_response())),
    };
    connection
        .filter(|connection| connection.stage == Stage::Live)
        .filter(|connection| {
            connection
                .access_token_expires_at(&token.fingerprint())
                .is_some_and(|end| now < end)
        })
        .filter(|connection| {
            app.bases(caller)
                .any(|base| base.as_str() == connection.issuer)
        })
        .ok_or_else(|| refuse(Some(invalid)))
}

/// 401 with the challenge (RFC 6750 §3, RFC 9728 §5.1). The body repeats it, because a Function URL renames
/// the header on its way out.
fn unauthorized(caller: &Caller, path: &str, error: Option<(ErrorCode, &'static str)>) -> Response {
    let resource_metadata = metadata::protected_resource_url(&caller.base, path);
    let code = error.map(|(code, _)| code.as_str());
    let body = json!({
        "error": code.unwrap_or("unauthorized"),
        "error_description": error.map_or("this MCP server needs an OAuth access token", |(_, what)| what),
        "resource_metadata": resource_metadata,
        "scope": scope::MCP,
    });
    let mut answer = answer::json(StatusCode::UNAUTHORIZED, &body);
    let challenge = bearer::challenge(&resource_metadata, scope::MCP, code);
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer.extensions_mut().insert(Noted {
        refused: Some(code.unwrap_or("unauthorized")),
        ..Noted::default()
    });
    answer
}

async fn proxied(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    path: McpPath<'_>,
    request: Request<Body>,
    noted: &mut Noted,
) -> Result<Response, Failure> {
    let (mut parts, body) = request.into_parts();
    let secret = match app.secrets.get().await {
        Ok(secret) => secret,
        Err(error) => return Ok(Refusal::from(error).into_response()),
    };
    let target = match app.config.upstream.transport {
        Transport::StreamableHttp => streamable_target(app, &secret, path, &parts),
        Transport::Sse => sse::target(app, connection, path, &mut parts),
    };
    let target = match target {
        Ok(target) => target,
        Err(refusal) => return Ok(*refusal),
    };
    let asked = Instant::now();
    let body = outgoing(&parts, body).await?;
    let again = match &body {
        upstream::Body::Kept(bytes) => Some(bytes.clone()),
        upstream::Body::Streamed(..) => None,
    };
    let send = |body, secret: Arc<Secret>| {
        let (target, parts) = (target.clone(), &parts);
        async move {
            app.upstream
                .send(&parts.method, target, &parts.headers, body, &secret)
                .await
        }
    };
    let answered = async {
        // Noting the use rides beside the call; whether it succeeds changes nothing.
        let (sent, ()) = tokio::join!(send(body, secret.clone()), note_use(app, connection));
        match (sent, again) {
            // The owner may have replaced the credential a moment ago: ask, and repeat if it changed.
            (Err(Failure::CredentialRefused), again) => {
                match (app.secrets.reread(&secret.upstream_token).await, again) {
                    (Some(secret), Some(bytes)) => send(upstream::Body::Kept(bytes), secret).await,
                    _ => Err(Failure::CredentialRefused),
                }
            }
            (sent, _) => sent,
        }
    };
    let sent = match caller.ends_at(CUT_BEFORE) {
        // An upstream that is silent until the function's end leaves the client without any answer.
        Some(at) => tokio::time::timeout_at(at, answered)
            .await
            .unwrap_or_else(|_| Err(Failure::Silent(asked.elapsed())))?,
        None => answered.await?,
    };
    noted.upstream_ms = Some(asked.elapsed().as_millis());
    Ok(incoming(app, caller, connection, &parts.method, sent))
}

/// Where a request of Streamable HTTP goes, or the answer when it goes nowhere. GET opens a stream that the
/// 2026-07-28 revision no longer has, and which costs a running function: refused unless it is switched on. TRACE
/// and CONNECT are not for proxies.
fn streamable_target(
    app: &App,
    secret: &Secret,
    path: McpPath<'_>,
    parts: &Parts,
) -> Result<Url, Box<Response>> {
    let pinned = [&app.config.upstream.headers, &secret.upstream_headers];
    if !matches!(path.rest(), "" | "/") && pinned.iter().any(|pinned| headers::choose_tools(pinned))
    {
        let what = "the owner of this server has chosen its tools, so there is nothing below /mcp";
        return Err(Box::new(error(StatusCode::NOT_FOUND, -32600, what)));
    }
    let refused = match parts.method {
        Method::GET | Method::HEAD if !app.config.get_streams => Some((
            "this server does not offer the GET event stream; everything arrives in the answers to POST",
            "POST, DELETE, OPTIONS",
        )),
        Method::TRACE | Method::CONNECT => Some((
            "this method cannot be passed on",
            "GET, POST, DELETE, OPTIONS",
        )),
        _ => None,
    };
    if let Some((what, allow)) = refused {
        let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, -32000, what);
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
        return Err(Box::new(answer));
    }
    target::resolve(&app.upstream.config().url, path.rest(), parts.uri.query()).ok_or_else(|| {
        let what = "this path or query cannot be passed on";
        Box::new(error(StatusCode::BAD_REQUEST, -32600, what))
    })
}

/// The client's body: kept whole if it is small, else streamed on.
async fn outgoing(parts: &Parts, mut body: Body) -> Result<upstream::Body, Failure> {
    let mut kept = BytesMut::new();
    while kept.len() <= KEPT {
        let Some(frame) = body.frame().await else {
            return Ok(upstream::Body::Kept(kept.freeze()));
        };
        if let Ok(data) = frame.map_err(|_| Failure::ClientGone)?.into_data() {
            kept.extend_from_slice(&data);
        }
    }
    let first = stream::iter([Ok::<Bytes, io::Error>(kept.freeze())]);
    let rest = body
        .into_data_stream()
        .map(|data| data.map_err(|_| io::Error::other(CLIENT_GONE)));
    let length = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(upstream::Body::Streamed(
        reqwest::Body::wrap_stream(first.chain(rest)),
        length,
    ))
}

async fn note_use(app: &App, connection: &Connection) {
    let now = app.clock.now();
    if now.saturating_sub(connection.last_used_at) < NOTE_USE {
        return;
    }
    // The answer waits for it, but not for long.
    let noted = tokio::time::timeout(NOTED_IN, app.store.note_use(&connection.id, now)).await;
    if let Ok(Err(error)) = noted {
        tracing::warn!(event = "unavailable", detail = %error, "the use was not noted");
    }
}

/// The upstream's answer, streamed.
fn incoming(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    method: &Method,
    sent: reqwest::Response,
) -> Response {
    let (events, encoded) = (is_events(sent.headers()), is_encoded(sent.headers()));
    let rewritten =
        events && method == Method::GET && app.config.upstream.transport == Transport::Sse;
    if rewritten && encoded {
        let what = "the MCP server encodes its event stream, which then cannot be passed on";
        return error(StatusCode::BAD_GATEWAY, -32000, what);
    }
    let plain_events = events && !encoded;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = sent.status();
    *answer.headers_mut() = headers::down(sent.headers(), !plain_events);

    let stream_url = sent.url().clone();
    let stream = sent
        .bytes_stream()
        // Without the URL: its query may hold a key.
        .map(|chunk| chunk.map_err(|error| io::Error::other(error.without_url())))
        .inspect_err(|error| {
            let detail = causes(error);
            tracing::warn!(event = "upstream_broken", detail, "an answer broke off");
        });
    let asked = app
        .config
        .stream_max
        .map(|longest| tokio::time::Instant::now() + longest);
    let limits = Limits {
        end_at: asked.into_iter().chain(caller.ends_at(END_BEFORE)).min(),
        cut_at: caller.ends_at(CUT_BEFORE),
    };
    *answer.body_mut() = match limits.cut_at {
        _ if rewritten => sse::body(app, connection, stream_url, stream, QUIET, limits),
        _ if plain_events => Body::from_stream(KeepAlive::new(stream, QUIET, limits)),
        Some(at) => Body::from_stream(CutAt::new(
            stream,
            at,
            Some(io::Error::other("out of time")),
        )),
        None => Body::from_stream(stream),
    };
    answer
}

fn is_events(headers: &http::HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}

fn is_encoded(headers: &http::HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn failed(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    failure: &Failure,
    noted: &mut Noted,
) -> Response {
    let host = app.upstream.host();
    let reference = &caller.request_id;
    let (status, word, message) = match failure {
        Failure::Unreachable(_) => (
            StatusCode::BAD_GATEWAY,
            "upstream_unreachable",
            format!(
                "the MCP server at {host} cannot be reached; try again (reference {reference})"
            ),
        ),
        Failure::Silent(after) => (
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_silent",
            format!(
                "the MCP server at {host} did not answer within {} s (reference {reference})",
                after.as_secs()
            ),
        ),
        Failure::Redirect(status) => (
            StatusCode::BAD_GATEWAY,
            "upstream_redirect",
            format!(
                "the MCP server at {host} answered with a redirect ({}) that is not followed; \
                     its owner should correct UPSTREAM_MCP (reference {reference})",
                status.as_u16()
            ),
        ),
        Failure::CredentialRefused => (
            StatusCode::BAD_GATEWAY,
            "upstream_credential_refused",
            format!(
                "the MCP server at {host} refused the access token that this proxy holds for it; the owner of \
                     the proxy must replace it. Your own connection is fine (reference {reference})"
            ),
        ),
        Failure::ClientGone => (
            StatusCode::BAD_REQUEST,
            "client_gone",
            "the request's body broke off".to_owned(),
        ),
    };
    noted.refused = Some(word);
    let detail = match failure {
        Failure::Unreachable(detail) => detail.as_str(),
        _ => "",
    };
    tracing::warn!(
        event = word,
        detail,
        host,
        connection = connection.id.as_str(),
        client_id = connection.client_id,
        request_id = caller.request_id,
        "the upstream gave no answer to pass on"
    );
    error(status, -32000, &message)
}

/// An error in the form that MCP clients show to people: a JSON-RPC error without an id.
pub fn error(status: StatusCode, code: i32, message: &str) -> Response {
    let body =
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } });
    let mut answer = answer::json(status, &body);
    answer.extensions_mut().insert(Noted {
        reason: Some(message.to_owned()),
        ..Noted::default()
    });
    answer
}
