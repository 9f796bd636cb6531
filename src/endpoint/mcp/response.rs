//! What becomes of the upstream's response. Mostly nothing: it is streamed on as it comes. Two kinds change, because
//! clients read something else in them than the upstream meant: a refusal (see [`refusal`]), and an
//! acknowledgement, which is 202 without a body (MCP, Transports, Sending Messages to the Server) and nothing else.

use std::{io, time::Duration};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use tokio::time::{Instant, timeout_at};

use super::{
    auth::Authorized,
    error::{METHOD_NOT_FOUND, McpError, SERVER_ERROR},
    media::{Media, is_encoded},
    message::{Message, RequestBody, ResponseError},
    refusal::{self, Refusal, Refused},
    sse,
};
use crate::{
    config::Transport,
    error::causes,
    secrets::Secret,
    upstream::{
        headers,
        keep_alive::{CutAt, KeepAlive, Limits},
    },
};

/// Silence on an event stream after which a comment is sent, so that nobody in between takes it for dead. A client
/// was reported to give up after ten seconds (elastic/docs-builder #2715).
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(8);
/// Before the function's end a stream ends at the next place between two events…
const END_BEFORE: Duration = Duration::from_secs(5);
/// … and at the latest here: what the runtime cuts is no HTTP response any more.
pub const CUT_BEFORE: Duration = Duration::from_secs(2);

/// Most bytes of a body that are read before its fate is decided…
const PEEKED_BYTES: usize = 16 * 1024;
/// … and how long they are waited for.
const PEEKED_WITHIN: Duration = Duration::from_secs(2);
/// For an event stream shorter: it may be silent for a reason.
const EVENTS_PEEKED_WITHIN: Duration = Duration::from_millis(500);

/// A call and everything that decides about its response.
pub struct Call<'a> {
    pub authorized: Authorized<'a>,
    pub secret: &'a Secret,
    pub method: &'a Method,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    pub body: &'a RequestBody,
}

/// The response to the client.
///
/// # Errors
/// When the upstream's cannot be passed on.
pub async fn respond(call: &Call<'_>, upstream: reqwest::Response) -> Result<Response, McpError> {
    let (events, encoded) = (
        Media::of(upstream.headers()) == Media::Events,
        is_encoded(upstream.headers()),
    );
    if call.opens_event_stream() && upstream.status().is_success() && events && encoded {
        let what = "the MCP server encodes its event stream, which then cannot be passed on";
        return Err(McpError::new(StatusCode::BAD_GATEWAY, SERVER_ERROR, what));
    }
    let message = call.body.message();
    let mut peeked = Peeked::new(upstream);
    Ok(match judge(call, &message, &mut peeked).await {
        Fate::Pass => passed_on(call, peeked),
        Fate::Acknowledge => acknowledged(&peeked.upstream),
        Fate::Refuse(refusal) => {
            let encoded = is_encoded(peeked.upstream.headers());
            if !encoded {
                peeked.read_until(call.by(PEEKED_WITHIN), |_| false).await;
            }
            let refused = Refused {
                refusal,
                status: peeked.upstream.status(),
                headers: peeked.upstream.headers(),
                text: (!encoded).then_some(&peeked.bytes[..peeked.bytes.len().min(PEEKED_BYTES)]),
            };
            refusal::respond(call.authorized, call.secret, &message, &refused)
        }
    })
}

/// What happens to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Acknowledge,
    Refuse(Refusal),
}

async fn judge(call: &Call<'_>, message: &Message<'_>, peeked: &mut Peeked) -> Fate {
    let status = peeked.upstream.status();
    if status == StatusCode::FORBIDDEN {
        return Fate::Refuse(Refusal::Forbidden);
    }
    let opens = call.opens_event_stream() || (call.is_post() && message.opens_session());
    match status {
        // Clients begin a new session after this.
        StatusCode::NOT_FOUND if call.headers.contains_key("mcp-session-id") => Fate::Pass,
        StatusCode::NOT_FOUND if opens && is_unknown_method(call, peeked).await => Fate::Pass,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE if opens => {
            Fate::Refuse(Refusal::NotFound)
        }
        status if !status.is_success() => Fate::Pass,
        _ if opens && !is_opened(call, peeked).await => Fate::Refuse(Refusal::NotMcp),
        _ if !opens && call.is_post() && message.needs_acknowledgement_only() => {
            if acknowledges(call, peeked).await {
                Fate::Acknowledge
            } else {
                Fate::Pass
            }
        }
        _ => Fate::Pass,
    }
}

/// Whether a 404 is the one with which a server of the 2026-07-28 revision says that it has no such method, above all
/// no `initialize`: clients tell the revision by this pair of status and code (MCP 2026-07-28, Transports).
async fn is_unknown_method(call: &Call<'_>, peeked: &mut Peeked) -> bool {
    if call.is_http_sse() || is_encoded(peeked.upstream.headers()) {
        return false;
    }
    peeked.read_until(call.by(PEEKED_WITHIN), |_| false).await;
    ResponseError::parse(&peeked.bytes).is_some_and(|error| error.code == METHOD_NOT_FOUND)
}

/// Whether a 2xx to the first call is MCP: JSON or an event stream. Whatever is not labelled so counts if it is
/// JSON-RPC, and what is labelled JSON counts unless it is empty or begins otherwise.
async fn is_opened(call: &Call<'_>, peeked: &mut Peeked) -> bool {
    let media = Media::of(peeked.upstream.headers());
    if call.is_http_sse() {
        // The response to POST comes over the stream: this one says hardly anything.
        return if call.is_post() {
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
    // Of JSON the first byte is enough: nothing waits for the rest.
    peeked
        .read_until(call.by(PEEKED_WITHIN), |bytes| {
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

/// Whether a 2xx to a message that gets no response is without JSON-RPC. What cannot be known soon is not.
async fn acknowledges(call: &Call<'_>, peeked: &mut Peeked) -> bool {
    if peeked.is_empty_by_head() {
        return true;
    }
    let media = Media::of(peeked.upstream.headers());
    if is_encoded(peeked.upstream.headers()) {
        return media == Media::Other;
    }
    if media == Media::Events {
        let by = call.by(EVENTS_PEEKED_WITHIN);
        peeked.read_until(by, |bytes| !is_commentary(bytes)).await;
        return peeked.is_whole() && is_commentary(&peeked.bytes);
    }
    peeked.read_until(call.by(PEEKED_WITHIN), |_| false).await;
    if peeked.is_whole() {
        return !Message::parse(&peeked.bytes).is_json_rpc();
    }
    media == Media::Other
}

/// Whether the beginning of an event stream holds no event.
fn is_commentary(bytes: &[u8]) -> bool {
    bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .all(|line| matches!(line, [] | [b':', ..]))
}

/// 202 without a body, with what the upstream's headers say of anything else.
fn acknowledged(upstream: &reqwest::Response) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    *response.headers_mut() = headers::for_client(upstream.headers(), false);
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

/// The upstream's response, streamed.
fn passed_on(call: &Call<'_>, peeked: Peeked) -> Response {
    let head = &peeked.upstream;
    let events = Media::of(head.headers()) == Media::Events && !is_encoded(head.headers());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status();
    *response.headers_mut() = headers::for_client(head.headers(), !events);

    let stream_url = head.url().clone();
    let stream = peeked.into_stream();
    let Authorized {
        app,
        caller,
        connection,
    } = call.authorized;
    let stream_max = app.config.stream_max;
    let stream_max = stream_max.map(|longest| Instant::now() + longest);
    let deadline = caller.ends_at(END_BEFORE);
    let limits = Limits {
        end_at: stream_max.into_iter().chain(deadline).min(),
        cut_at: caller.ends_at(CUT_BEFORE),
    };
    *response.body_mut() = if events && call.opens_event_stream() {
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

/// A body on its way to the client: comments go into events only, and only between them.
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

impl Call<'_> {
    fn is_post(&self) -> bool {
        self.method == Method::POST
    }

    /// Whether it opens the stream of an HTTP+SSE upstream, over which everything else comes.
    fn opens_event_stream(&self) -> bool {
        self.method == Method::GET && self.is_http_sse()
    }

    fn is_http_sse(&self) -> bool {
        self.authorized.app.config.upstream.transport == Transport::Sse
    }

    /// In so long a time, or when the host's is up.
    fn by(&self, within: Duration) -> Instant {
        let by = Instant::now() + within;
        let end = self.authorized.caller.ends_at(CUT_BEFORE);
        end.map_or(by, |end| by.min(end))
    }
}

/// A response of which the beginning may have been read.
struct Peeked {
    upstream: reqwest::Response,
    bytes: BytesMut,
    end: Option<reqwest::Result<()>>,
}

impl Peeked {
    fn new(upstream: reqwest::Response) -> Self {
        Self {
            upstream,
            bytes: BytesMut::new(),
            end: None,
        }
    }

    /// Whether status and headers say that there is no body.
    fn is_empty_by_head(&self) -> bool {
        matches!(
            self.upstream.status(),
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT
        ) || self.upstream.content_length() == Some(0)
    }

    /// Whether all of it was read.
    fn is_whole(&self) -> bool {
        matches!(self.end, Some(Ok(())))
    }

    /// Reads on, until that is enough, too much, or too long.
    async fn read_until(&mut self, by: Instant, enough: impl Fn(&[u8]) -> bool) {
        while self.end.is_none() && self.bytes.len() < PEEKED_BYTES && !enough(&self.bytes) {
            let Ok(chunk) = timeout_at(by, self.upstream.chunk()).await else {
                return;
            };
            match chunk {
                Ok(Some(chunk)) => self.bytes.extend_from_slice(&chunk),
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// All of it, from the beginning.
    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let begun = (!self.bytes.is_empty()).then(|| Ok(self.bytes.freeze()));
        let (end, rest) = match self.end {
            None => (None, Some(self.upstream.bytes_stream())),
            Some(Ok(())) => (None, None),
            Some(Err(error)) => (Some(Err(error)), None),
        };
        stream::iter(begun.into_iter().chain(end))
            .chain(stream::iter(rest).flatten())
            // Without the URL: its query may hold a key.
            .map(|chunk| chunk.map_err(|error| io::Error::other(error.without_url())))
            .inspect_err(|error| {
                let detail = causes(error);
                tracing::warn!(event = "upstream_broken", detail, "a response was cut off");
            })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn the_beginning_of_a_stream_without_an_event_is_known() {
        for commentary in ["", "\n", ": ping\n\n", "\u{feff}: a\r\n: b", ":\r\r"] {
            assert!(is_commentary(commentary.as_bytes()), "{commentary:?}");
        }
        for event in ["data: 1", ": ping\nid: 1", "\n\nevent", " : x"] {
            assert!(!is_commentary(event.as_bytes()), "{event:?}");
        }
    }

    /// What comes of a stream that says nothing for half a minute, with the second at which it comes.
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
