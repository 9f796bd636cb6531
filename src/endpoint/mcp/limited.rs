//! Requests of a connection with a limit: what it forbids never reaches the upstream, and lists show only the tools that
//! the connection may call. What cannot be decided is refused. A connection without a limit never gets here.

use std::{collections::HashSet, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE},
    request::Parts,
};
use url::Url;

use super::{
    auth::Authorized,
    error::{
        self, INVALID_PARAMS, INVALID_REQUEST, LIMIT_REFUSED, METHOD_NOT_FOUND, McpError,
        SERVER_ERROR,
    },
    media::is_encoded,
    message::{CallIds, Message},
};
use crate::{
    config::Transport,
    limit::{ClientMessage, Forbidden, Limit, ListedTool, keep_tools, read_strictly},
    page,
    secrets::Secret,
    upstream::{Body, Failure, event_filter::replace_data, tool_list::ListError},
};

/// Longest body of a request that is checked.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Longest name of a tool or method in a message or a log line.
const SHOWN_NAME_CHARACTERS: usize = 100;

const MCP_METHOD: &str = "mcp-method";
const MCP_NAME: &str = "mcp-name";

/// The tools that a list shows.
#[derive(Clone, Debug)]
pub struct ListFilter(Limit);

impl ListFilter {
    fn keeps(&self, tool: &ListedTool<'_>) -> bool {
        match &self.0 {
            Limit::Everything => true,
            Limit::ReadOnly => tool.read_only,
            Limit::Tools(names) => names.contains(&tool.name),
        }
    }

    /// A message of the upstream for the client; `None` if it passes unchanged.
    ///
    /// # Errors
    /// When it contains a list that cannot be read with certainty.
    pub fn apply(&self, message: &str) -> io::Result<Option<String>> {
        keep_tools(message, &|tool| self.keeps(tool)).map_err(|_| {
            let what = "a list of tools could not be read";
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    /// The same for each event of a stream.
    pub fn events<S>(self, stream: S) -> impl Stream<Item = io::Result<Bytes>> + use<S>
    where
        S: Stream<Item = io::Result<Bytes>>,
    {
        replace_data(stream, move |data| self.apply(data)).inspect_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                tracing::warn!(
                    event = "upstream_list_refused",
                    detail = %error,
                    "an event stream was ended"
                );
            }
        })
    }
}

/// Checks a request. Returns the filter for the response, if that may contain a list of tools.
///
/// # Errors
/// When the limit forbids the request, or it cannot be known whether it does.
pub async fn check(
    authorized: Authorized<'_>,
    secret: &Secret,
    target: &Url,
    parts: &mut Parts,
    body: &Body,
) -> Result<Option<ListFilter>, McpError> {
    let limit = &authorized.connection.limit;
    if !limit.is_limited() {
        return Ok(None);
    }
    // It could take off the headers that are set here (RFC 9110 §7.6.1).
    parts.headers.remove(CONNECTION);
    // A list in a compressed response could not be filtered.
    let identity = HeaderValue::from_static("identity");
    parts.headers.insert(ACCEPT_ENCODING, identity);
    if *limit == Limit::ReadOnly {
        // Some upstreams enforce this themselves.
        let read_only = HeaderValue::from_static("true");
        parts.headers.insert("x-mcp-readonly", read_only);
    }
    let filter = || ListFilter(limit.clone());
    match parts.method {
        Method::POST => {}
        Method::GET | Method::HEAD if is_empty(body) => {
            check_stream_path(authorized, target)?;
            return Ok(Some(filter()));
        }
        Method::DELETE if is_empty(body) => return Ok(None),
        _ => {
            let what = "a limited connection can use GET and DELETE without a body, and POST";
            let error = McpError::method_not_allowed("GET, POST, DELETE, OPTIONS", what);
            return Err(error.logged_as(LIMIT_REFUSED));
        }
    }
    let bytes = checked_body(authorized, &parts.headers, body)?;
    let messages = read_strictly(bytes).map_err(|reason| {
        let what = format!(
            "this request cannot be checked against the limit of the connection “{}”: {reason}",
            authorized.connection.shown_name()
        );
        McpError::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, what)
            .logged_as(LIMIT_REFUSED)
            .logged_with_reason(reason)
    })?;
    let reading = match limit {
        Limit::ReadOnly if messages.iter().any(ClientMessage::calls_tool) => {
            Some(reading_tools(authorized, secret, target).await?)
        }
        _ => None,
    };
    let may_call = |tool: &str| match limit {
        Limit::Everything => true,
        Limit::ReadOnly => reading.as_ref().is_some_and(|names| names.contains(tool)),
        Limit::Tools(names) => names.contains(tool),
    };
    if let Some(forbidden) = messages
        .iter()
        .find_map(|message| message.forbidden(may_call))
    {
        return Err(refused(authorized, &forbidden, bytes));
    }
    say_what_the_body_says(&mut parts.headers, &messages);
    let lists = messages.iter().any(ClientMessage::lists_tools);
    Ok(lists.then(filter))
}

fn is_empty(body: &Body) -> bool {
    matches!(body, Body::Kept(bytes) if bytes.is_empty())
}

/// The tools of an HTTP+SSE upstream are called at URLs that do not tell the path of their stream. So the path that
/// they are listed at is the only one where a connection that may only read can open a stream.
fn check_stream_path(authorized: Authorized<'_>, target: &Url) -> Result<(), McpError> {
    let config = authorized.app.upstream.config();
    let same = target.path().trim_end_matches('/') == config.url.path().trim_end_matches('/');
    if config.transport == Transport::Sse && authorized.connection.limit == Limit::ReadOnly && !same
    {
        let what = "a connection that may only read can use /mcp, and no path below it";
        let error = McpError::new(StatusCode::NOT_FOUND, INVALID_REQUEST, what);
        return Err(error.logged_as(LIMIT_REFUSED));
    }
    Ok(())
}

fn checked_body<'b>(
    authorized: Authorized<'_>,
    headers: &HeaderMap,
    body: &'b Body,
) -> Result<&'b Bytes, McpError> {
    let name = authorized.connection.shown_name();
    let refuse = |status, because: &str| {
        let what = format!("the connection “{name}” has a limit, and {because}");
        McpError::new(status, INVALID_REQUEST, what).logged_as(LIMIT_REFUSED)
    };
    if is_encoded(headers) {
        let because = "a compressed request cannot be checked";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, because));
    }
    match body {
        Body::Kept(bytes) if bytes.len() <= MAX_BODY_BYTES => Ok(bytes),
        Body::Kept(_) => {
            let because = "a request of more than 4 MB cannot be checked";
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, because))
        }
        Body::Streamed { reason, .. } => {
            let (status, because) = error::not_kept(*reason);
            Err(refuse(
                status,
                &format!("this request cannot be checked: {because}"),
            ))
        }
    }
}

/// The names of the tools that only read, from the upstream's own list.
async fn reading_tools(
    authorized: Authorized<'_>,
    secret: &Secret,
    target: &Url,
) -> Result<Arc<HashSet<String>>, McpError> {
    let Authorized {
        app,
        connection,
        caller,
        ..
    } = authorized;
    let upstream = &app.upstream;
    let url = match upstream.config().transport {
        Transport::StreamableHttp => target,
        Transport::Sse => &upstream.config().url,
    };
    let now = app.clock.now();
    let mut listed = upstream.reading_tools_at(url, secret, now).await;
    if let Err(ListError::Failure(Failure::CredentialRefused)) = listed
        && let Some(secret) = app.secrets.reread(&secret.upstream_token).await
    {
        listed = upstream.reading_tools_at(url, &secret, now).await;
    }
    listed.map_err(|error| {
        let host = upstream.host();
        tracing::warn!(
            event = "tools_not_listed",
            detail = %error,
            host,
            connection = connection.id.as_str(),
            client_id = connection.client_id(),
            request_id = caller.request_id,
            "a call was refused, because the upstream did not say which of its tools only read"
        );
        let what = format!(
            "the connection “{}” may only read, and the MCP server at {host} could not be asked which of its tools do: \
             {error}; try again (reference {})",
            connection.shown_name(),
            caller.request_id
        );
        McpError::new(StatusCode::BAD_GATEWAY, SERVER_ERROR, what).logged_as("tools_not_listed")
    })
}

/// The error for what the limit forbids, and its log line. A batch is refused whole: to send on the rest of it would be
/// a request that nobody sent.
fn refused(authorized: Authorized<'_>, forbidden: &Forbidden<'_>, body: &[u8]) -> McpError {
    let Authorized {
        app,
        caller,
        connection,
        ..
    } = authorized;
    let (code, what, shown) = match forbidden {
        Forbidden::Tool(tool) => (INVALID_PARAMS, "tool", tool),
        Forbidden::Method(method) => (METHOD_NOT_FOUND, "method", method),
    };
    let shown = page::display(shown, SHOWN_NAME_CHARACTERS);
    tracing::warn!(
        event = "limit_refused",
        what,
        called = shown,
        limit = connection.limit.as_str(),
        connection = connection.id.as_str(),
        client_id = connection.client_id(),
        request_id = caller.request_id,
        "a call was refused, because the connection may not make it"
    );
    let may = match (&connection.limit, forbidden) {
        (Limit::ReadOnly, _) => "may only read",
        (_, Forbidden::Tool(_)) => "may not use this tool",
        (_, Forbidden::Method(_)) => "may only call the tools that were chosen for it",
    };
    let message = format!(
        "the {what} “{shown}” was not called. Your connection “{}” {may}. Change it at {}/connections",
        connection.shown_name(),
        caller.base.as_str()
    );
    // As for a refusal of the upstream: clients show a message with 200, and over HTTP+SSE they read only the status.
    let has_call = !matches!(Message::parse(body).call_ids(), CallIds::None);
    let status = match app.upstream.config().transport {
        Transport::StreamableHttp if has_call => StatusCode::OK,
        _ => StatusCode::BAD_REQUEST,
    };
    McpError::new(status, code, message)
        .logged_as(LIMIT_REFUSED)
        .logged_with_reason(format!("the {what} is not allowed"))
}

/// Headers that repeat a part of the body must not say something else: an upstream may go by them (MCP 2026-07-28,
/// Streamable HTTP, Standard Request Headers). The body was read as JSON in UTF-8, and is announced as that.
fn say_what_the_body_says(headers: &mut HeaderMap, messages: &[ClientMessage<'_>]) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (method, name) = match messages {
        [ClientMessage::ToolCall(tool)] => (Some("tools/call"), Some(&**tool)),
        [ClientMessage::Other(method)] => (Some(&**method), None),
        _ => (None, None),
    };
    if headers.contains_key(MCP_METHOD) {
        match method.and_then(|method| HeaderValue::from_str(method).ok()) {
            Some(method) => drop(headers.insert(MCP_METHOD, method)),
            None => drop(headers.remove(MCP_METHOD)),
        }
    }
    if let Some(name) = name
        && headers.contains_key(MCP_NAME)
    {
        headers.insert(MCP_NAME, mirrored(name));
    }
}

/// A value as such a header has it (MCP 2026-07-28, Streamable HTTP, Value Encoding).
fn mirrored(value: &str) -> HeaderValue {
    let plain = value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && value.trim() == value
        && !value.starts_with("=?base64?");
    let text = if plain {
        value.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(value))
    };
    // Graphic ASCII is a valid value.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}
