//! Decides what the client gets. Most responses are streamed unchanged. Two kinds are changed, because clients
//! misunderstand them:
//! * a refusal gets an explanation (see [`refusal`]);
//! * a response to a message that needs no response becomes 202 without a body (MCP, Transports, Sending Messages to
//!   the Server).

use std::{io, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use tokio::time::Instant;

use super::{
    auth::Authorized,
    error::{METHOD_NOT_FOUND, McpError, SERVER_ERROR},
    limited::ListFilter,
    media::{Media, is_encoded},
    message::{Message, ResponseError},
    partly_read::{PEEK_MAX_BYTES, PartlyReadResponse},
    refusal::{self, Refusal, Refused},
    sse,
    stream_end::EndsWithConnection,
};
use crate::{
    config::Transport,
    secrets::Secret,
    upstream::{
        disclosure::SentCredentials,
        headers,
        keep_alive::{CutAt, KeepAlive, Limits},
    },
};

/// After this time without data on an event stream a comment is sent, so that no proxy between closes it as idle. A
/// client was reported to give up after ten seconds (elastic/docs-builder #2715).
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(8);
/// This long before the function's deadline, a stream ends after the current event.
const STREAM_END_MARGIN: Duration = Duration::from_secs(5);
/// This long before the function's deadline, a stream is cut off even within an event. If Lambda cut it off, the client
/// would get an invalid HTTP response.
pub const STREAM_CUT_OFF_MARGIN: Duration = Duration::from_secs(2);

/// The longest response that is read whole, to filter a list of tools.
const FILTERED_MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long these bytes are waited for.
const PEEK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a response that is read whole is waited for.
const FILTERED_TIMEOUT: Duration = Duration::from_mins(1);
/// How long the bytes of an event stream are waited for: a shorter time, because an event stream may be silent at
/// first.
const EVENT_STREAM_PEEK_TIMEOUT: Duration = Duration::from_millis(500);

/// A request that was sent to the upstream, and everything else that the response to the client depends on.
pub struct ForwardedRequest<'a> {
    pub authorized: Authorized<'a>,
    pub secret: &'a Secret,
    pub method: &'a Method,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// What it says as JSON-RPC.
    pub message: &'a Message<'a>,
    /// For a limited connection whose response may contain a list of tools.
    pub filter: Option<ListFilter>,
}

/// Returns the response to the client.
///
/// # Errors
/// When the upstream's response cannot be forwarded.
pub async fn respond(
    request: &ForwardedRequest<'_>,
    upstream: reqwest::Response,
) -> Result<Response, McpError> {
    // RFC 9110 section 15: other status codes are invalid, and 101 would end HTTP on the client's connection.
    if !(200..600).contains(&upstream.status().as_u16()) {
        let what = format!(
            "the MCP server sent the status code {}, which cannot be forwarded",
            upstream.status().as_u16()
        );
        return Err(McpError::new(StatusCode::BAD_GATEWAY, SERVER_ERROR, what));
    }
    let (events, encoded) = (
        Media::of(upstream.headers()) == Media::Events,
        is_encoded(upstream.headers()),
    );
    if request.opens_event_stream() && upstream.status().is_success() && events && encoded {
        let what = "the MCP server compresses its event stream, so it cannot be forwarded";
        return Err(McpError::new(StatusCode::BAD_GATEWAY, SERVER_ERROR, what));
    }
    if request.filter.is_some() && encoded {
        let what = "the MCP server compresses its response, so its tools cannot be limited";
        let error = McpError::new(StatusCode::BAD_GATEWAY, SERVER_ERROR, what);
        return Err(error.logged_as("upstream_list_refused"));
    }
    let message = request.message;
    let mut peeked = PartlyReadResponse::new(upstream);
    Ok(match decide(request, message, &mut peeked).await {
        Handling::PassThrough => match &request.filter {
            Some(filter) if !events => filtered(request, filter, peeked).await?,
            _ => passed_on(request, peeked),
        },
        Handling::Acknowledge => acknowledged(request, &peeked.upstream),
        Handling::Refuse(refusal) => {
            let encoded = is_encoded(peeked.upstream.headers());
            if !encoded {
                peeked.read_until(request.by(PEEK_TIMEOUT), |_| false).await;
            }
            let refused = Refused {
                refusal,
                status: peeked.upstream.status(),
                headers: peeked.upstream.headers(),
                text: (!encoded).then_some(&peeked.bytes[..peeked.bytes.len().min(PEEK_MAX_BYTES)]),
            };
            refusal::respond(request.authorized, request.secret, message, &refused)
        }
    })
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handling {
    /// The response of the upstream.
    PassThrough,
    /// 202 without a body.
    Acknowledge,
    /// An explanation of the refusal.
    Refuse(Refusal),
}

async fn decide(
    request: &ForwardedRequest<'_>,
    message: &Message<'_>,
    peeked: &mut PartlyReadResponse,
) -> Handling {
    let status = peeked.upstream.status();
    if status == StatusCode::FORBIDDEN {
        return Handling::Refuse(Refusal::Forbidden);
    }
    let opens_session_or_stream =
        request.opens_event_stream() || (request.is_post() && message.opens_session());
    match status {
        // Clients start a new session after this response.
        StatusCode::NOT_FOUND if request.headers.contains_key("mcp-session-id") => {
            Handling::PassThrough
        }
        StatusCode::NOT_FOUND
            if opens_session_or_stream && is_unknown_method(request, peeked).await =>
        {
            Handling::PassThrough
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE
            if opens_session_or_stream =>
        {
            Handling::Refuse(Refusal::NotFound)
        }
        status if !status.is_success() => Handling::PassThrough,
        _ if opens_session_or_stream && !looks_like_mcp(request, peeked).await => {
            Handling::Refuse(Refusal::NotMcp)
        }
        _ if !opens_session_or_stream
            && request.is_post()
            && message.needs_acknowledgement_only() =>
        {
            if contains_no_json_rpc(request, peeked).await {
                Handling::Acknowledge
            } else {
                Handling::PassThrough
            }
        }
        _ => Handling::PassThrough,
    }
}

/// Whether a 404 has the JSON-RPC code for an unknown method. A server of the revision 2026-07-28 responds to
/// `initialize` like this, and clients recognise the revision by this status and code (MCP 2026-07-28, Transports).
async fn is_unknown_method(
    request: &ForwardedRequest<'_>,
    peeked: &mut PartlyReadResponse,
) -> bool {
    if request.is_http_sse() || is_encoded(peeked.upstream.headers()) {
        return false;
    }
    peeked.read_until(request.by(PEEK_TIMEOUT), |_| false).await;
    ResponseError::parse(&peeked.bytes).is_some_and(|error| error.code == METHOD_NOT_FOUND)
}

/// Whether a 2xx response to the first request looks like MCP. An event stream counts. A body with a JSON content type
/// counts if its first byte is `{` or `[`, or did not arrive within the timeout. Any other body counts if it is
/// JSON-RPC; if it was not read to its end, the first byte decides.
async fn looks_like_mcp(request: &ForwardedRequest<'_>, peeked: &mut PartlyReadResponse) -> bool {
    let media = Media::of(peeked.upstream.headers());
    if request.is_http_sse() {
        // The JSON-RPC response to a POST arrives over the event stream. Here it is only
        // checked that the upstream did not send a web page.
        return if request.is_post() {
            !is_page(peeked.upstream.headers())
        } else {
            media == Media::Events
        };
    }
    if media == Media::Events {
        return true;
    }
    if peeked.is_empty_by_head() {
        return false;
    }
    let json = media == Media::Json;
    if is_encoded(peeked.upstream.headers()) {
        return json;
    }
    let first = |bytes: &[u8]| {
        bytes
            .iter()
            .copied()
            .find(|byte| !byte.is_ascii_whitespace())
    };
    // For JSON the first byte is enough, so the rest is not waited for.
    peeked
        .read_until(request.by(PEEK_TIMEOUT), |bytes| {
            json && first(bytes).is_some()
        })
        .await;
    let bytes = peeked
        .bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(&peeked.bytes);
    match first(bytes) {
        Some(byte) if json || !peeked.is_whole() => matches!(byte, b'{' | b'['),
        None if json => !peeked.is_whole(),
        _ => Message::parse(bytes).is_json_rpc(),
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    let essence = super::media::essence(headers);
    ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|page| essence.eq_ignore_ascii_case(page))
}

/// Whether a 2xx response contains no JSON-RPC. If the body was not read to its end, the content type decides: `false`
/// for JSON and event streams.
async fn contains_no_json_rpc(
    request: &ForwardedRequest<'_>,
    peeked: &mut PartlyReadResponse,
) -> bool {
    if peeked.is_empty_by_head() {
        return true;
    }
    let media = Media::of(peeked.upstream.headers());
    if is_encoded(peeked.upstream.headers()) {
        return media == Media::Other;
    }
    if media == Media::Events {
        let by = request.by(EVENT_STREAM_PEEK_TIMEOUT);
        peeked
            .read_until(by, |bytes| !contains_no_event(bytes))
            .await;
        return peeked.is_whole() && contains_no_event(&peeked.bytes);
    }
    peeked.read_until(request.by(PEEK_TIMEOUT), |_| false).await;
    if peeked.is_whole() {
        return !Message::parse(&peeked.bytes).is_json_rpc();
    }
    media == Media::Other
}

/// Whether the start of an event stream contains no event, only comments and blank lines.
fn contains_no_event(bytes: &[u8]) -> bool {
    bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .all(|line| matches!(line, [] | [b':', ..]))
}

/// 202 without a body, and with the upstream's headers except those that describe a body.
fn acknowledged(request: &ForwardedRequest<'_>, upstream: &reqwest::Response) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    *response.headers_mut() = request.headers_for_client(upstream.headers(), false);
    for name in [
        CONTENT_TYPE.as_str(),
        "content-encoding",
        "content-language",
        "content-disposition",
        "etag",
        "last-modified",
    ] {
        response.headers_mut().remove(name);
    }
    response
}

/// A response that is no event stream, without the tools that the connection may not call.
async fn filtered(
    request: &ForwardedRequest<'_>,
    filter: &ListFilter,
    mut peeked: PartlyReadResponse,
) -> Result<Response, McpError> {
    let refused = |what: &str| {
        let what = format!("the list of tools of the MCP server cannot be passed on: {what}");
        let error = McpError::new(StatusCode::BAD_GATEWAY, SERVER_ERROR, what);
        error.logged_as("upstream_list_refused")
    };
    let by = request.by(FILTERED_TIMEOUT);
    peeked.read(FILTERED_MAX_BYTES, by, |_| false).await;
    if !peeked.is_whole() {
        return Err(refused("it is incomplete, or longer than 16 MB"));
    }
    let body = peeked.bytes.split().freeze();
    // What is neither an object nor an array, such as a page, contains no list. Zeros may be UTF-16.
    let start = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body);
    let may_be_json =
        matches!(start.trim_ascii_start().first(), Some(b'{' | b'[')) || body.contains(&0);
    let kept = match str::from_utf8(&body) {
        _ if !may_be_json => None,
        Ok(text) => filter
            .apply(text)
            .map_err(|error| refused(&error.to_string()))?,
        Err(_) => return Err(refused("it is not UTF-8")),
    };
    let unchanged = kept.is_none();
    let mut response = Response::new(kept.map_or_else(|| Body::from(body), Body::from));
    *response.status_mut() = peeked.upstream.status();
    *response.headers_mut() = request.headers_for_client(peeked.upstream.headers(), unchanged);
    Ok(response)
}

/// The upstream's response, streamed.
fn passed_on(request: &ForwardedRequest<'_>, peeked: PartlyReadResponse) -> Response {
    let head = &peeked.upstream;
    let events = Media::of(head.headers()) == Media::Events && !is_encoded(head.headers());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status();
    *response.headers_mut() = request.headers_for_client(head.headers(), !events);

    let stream_url = head.url().clone();
    let stream = match &request.filter {
        // Everything else was filtered whole.
        Some(filter) => filter.clone().events(peeked.into_stream()).left_stream(),
        None => peeked.into_stream().right_stream(),
    };
    let stream = EndsWithConnection::new(request.authorized, stream, events);
    let Authorized {
        app,
        caller,
        connection,
        ..
    } = request.authorized;
    let stream_max = app.config.stream_max;
    let stream_max = stream_max.map(|longest| Instant::now() + longest);
    let deadline = caller.ends_at(STREAM_END_MARGIN);
    let limits = Limits {
        end_at: stream_max.into_iter().chain(deadline).min(),
        cut_at: caller.ends_at(STREAM_CUT_OFF_MARGIN),
    };
    *response.body_mut() = if events && request.opens_event_stream() {
        sse::body(
            app,
            connection,
            stream_url,
            stream,
            KEEP_ALIVE_AFTER,
            limits,
        )
    } else {
        body(events, stream, limits)
    };
    response
}

/// The body for the client. Comments are inserted into event streams only, and only between two events.
fn body<S>(events: bool, stream: S, limits: Limits) -> Body
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    match limits.cut_at {
        _ if events => Body::from_stream(KeepAlive::new(stream, KEEP_ALIVE_AFTER, limits)),
        Some(at) => Body::from_stream(CutAt::new(
            stream,
            at,
            Some(io::Error::other("out of time")),
        )),
        None => Body::from_stream(stream),
    }
}

impl ForwardedRequest<'_> {
    fn is_post(&self) -> bool {
        self.method == Method::POST
    }

    /// Whether the request opens the event stream of an HTTP+SSE upstream, over which all messages of the server
    /// arrive.
    fn opens_event_stream(&self) -> bool {
        self.method == Method::GET && self.is_http_sse()
    }

    fn is_http_sse(&self) -> bool {
        self.authorized.app.config.upstream.transport == Transport::Sse
    }

    fn headers_for_client(&self, upstream: &HeaderMap, body_unchanged: bool) -> HeaderMap {
        let config = self.authorized.app.upstream.config();
        let credentials = SentCredentials::new(config, self.secret);
        headers::for_client(upstream, body_unchanged, |text| credentials.are_in(text))
    }

    /// The time after `within`, but not after the time at which streams are cut off.
    fn by(&self, within: Duration) -> Instant {
        let by = Instant::now() + within;
        let end = self.authorized.caller.ends_at(STREAM_CUT_OFF_MARGIN);
        end.map_or(by, |end| by.min(end))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn comments_and_blank_lines_are_no_event() {
        for commentary in ["", "\n", ": ping\n\n", "\u{feff}: a\r\n: b", ":\r\r"] {
            assert!(contains_no_event(commentary.as_bytes()), "{commentary:?}");
        }
        for event in ["data: 1", ": ping\nid: 1", "\n\nevent", " : x"] {
            assert!(!contains_no_event(event.as_bytes()), "{event:?}");
        }
    }

    /// The chunks of a stream that is silent for 30 seconds, each with the second at which it arrives.
    async fn heard(events: bool) -> Vec<(u64, String)> {
        let began = Instant::now();
        let late = stream::once(async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok::<_, io::Error>(Bytes::from_static(b"data: 1\n\n"))
        });
        let mut body = body(events, Box::pin(late), Limits::default());
        let mut heard = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            let text = String::from_utf8(data.to_vec()).unwrap();
            heard.push((began.elapsed().as_secs(), text));
        }
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_event_stream_is_kept_alive_from_the_eighth_second_on_and_nothing_else_is() {
        let comment = |second| (second, ": keep-alive\n".to_owned());
        let late = (30, "data: 1\n\n".to_owned());
        assert_eq!(
            heard(true).await,
            [comment(8), comment(16), comment(24), late.clone()]
        );
        assert_eq!(heard(false).await, [late]);
    }
}
