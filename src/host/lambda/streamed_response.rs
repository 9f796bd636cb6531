//! The format of a streamed response of a Function URL: a prelude with status, headers and cookies, eight zero bytes,
//! then the body in pieces, as it is produced.
//!
//! Function URLs change responses in ways that local tests do not show. Therefore:
//! * a body has at least one byte, because for the client a streamed response with an empty body may never end;
//! * `content-length` is not sent, because it would be renamed;
//! * a stream that is cut off ends with the documented error trailers, because it would look complete otherwise.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{FutureExt as _, Stream, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, SET_COOKIE, TRANSFER_ENCODING},
};
use http_body::Frame;
use http_body_util::BodyExt as _;
use lambda_runtime::{Diagnostic, MetadataPrelude};

use crate::error::causes;

/// The bytes between the prelude and the body.
const SEPARATOR: [u8; 8] = [0; 8];
/// Sent in place of an empty body.
const EMPTY_BODY_PLACEHOLDER: &[u8] = b"\n";
/// How long the prelude waits for the first bytes of the body, so that both are sent in one write. An event stream
/// may be silent for a long time at first, and its client waits for the headers.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_millis(5);
/// The trailers that report that a stream was cut off. Lambda documents them under "Building a custom runtime",
/// Response streaming.
pub const ERROR_TYPE_TRAILER: HeaderName =
    HeaderName::from_static("lambda-runtime-function-error-type");
/// See [`ERROR_TYPE_TRAILER`]: the error as base64-encoded JSON.
pub const ERROR_BODY_TRAILER: HeaderName =
    HeaderName::from_static("lambda-runtime-function-error-body");
/// The type of such an error, in Lambda's form `category.reason`.
const STREAM_CUT_OFF: &str = "Function.StreamCutOff";

/// The frames to send to the Runtime API for this response. If the request was HEAD, the body is not sent. The last
/// frame is held back until `before_end` resolves: the function may be frozen right after it.
pub async fn frames<F>(
    response: Response,
    is_head_request: bool,
    request_id: String,
    before_end: F,
) -> impl Stream<Item = Result<Frame<Bytes>, std::convert::Infallible>> + Send + 'static
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut parts, body) = response.into_parts();
    let mut body = GuardedBody::new(if is_head_request { Body::empty() } else { body });
    let first = first_bytes(&mut body, &parts.headers).await;
    let mut next = NextFrame::Body;
    let first = match first {
        FirstBytes::Bytes(bytes) => bytes,
        FirstBytes::Later => Bytes::new(),
        FirstBytes::Empty => {
            // Older SDKs reject a 202 without a known content type (docs/decisions.md).
            parts
                .headers
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            next = NextFrame::End;
            Bytes::from_static(EMPTY_BODY_PLACEHOLDER)
        }
        FirstBytes::CutOff(detail) => {
            log_cut_off(&request_id, &detail);
            parts.status = StatusCode::BAD_GATEWAY;
            parts.headers = HeaderMap::from_iter([(
                CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]);
            next = NextFrame::End;
            Bytes::from_static(
                br#"{"error":"server_error","error_description":"the response was cut off before its first byte; try again"}"#,
            )
        }
    };
    let state = FrameStream {
        first_frame: Some(first_frame(parts.status, &parts.headers, &first)),
        body_has_bytes: !first.is_empty(),
        body,
        next,
        request_id,
        before_end: Box::pin(before_end),
    };
    stream::unfold(state, |mut state| async move {
        state.next_frame().await.map(|frame| (Ok(frame), state))
    })
}

struct FrameStream<F> {
    /// The first frame, until it is sent.
    first_frame: Option<Bytes>,
    body: GuardedBody,
    body_has_bytes: bool,
    next: NextFrame,
    request_id: String,
    before_end: std::pin::Pin<Box<F>>,
}

/// What the next frame comes from.
enum NextFrame {
    Body,
    End,
    Nothing,
}

impl<F: Future<Output = ()> + Send> FrameStream<F> {
    async fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        if let Some(bytes) = self.first_frame.take() {
            return Some(Frame::data(bytes));
        }
        if matches!(self.next, NextFrame::Body) {
            match self.body.next().await {
                Some(Ok(bytes)) => {
                    self.body_has_bytes = true;
                    return Some(Frame::data(bytes));
                }
                Some(Err(detail)) => {
                    self.next = NextFrame::Nothing;
                    log_cut_off(&self.request_id, &detail);
                    self.before_end.as_mut().await;
                    return Some(Frame::trailers(cut_off_trailers()));
                }
                None => self.next = NextFrame::End,
            }
            if !self.body_has_bytes {
                return Some(Frame::data(Bytes::from_static(EMPTY_BODY_PLACEHOLDER)));
            }
        }
        if matches!(self.next, NextFrame::End) {
            self.next = NextFrame::Nothing;
            self.before_end.as_mut().await;
        }
        None
    }
}

/// The prelude, the separator, and the first bytes of the body in one frame: as separate writes they would reach the
/// Runtime API in separate packets.
fn first_frame(status: StatusCode, headers: &HeaderMap, first_bytes: &[u8]) -> Bytes {
    let prelude = MetadataPrelude {
        // The placeholder byte is a body, which 204 cannot have. So 200 is sent.
        status_code: if status == StatusCode::NO_CONTENT {
            StatusCode::OK
        } else {
            status
        },
        headers: joined_headers(headers),
        cookies: text_values(headers, &SET_COOKIE),
    };
    let prelude = serde_json::to_vec(&prelude).unwrap_or_default();
    let mut frame = BytesMut::with_capacity(prelude.len() + SEPARATOR.len() + first_bytes.len());
    frame.put_slice(&prelude);
    frame.put_slice(&SEPARATOR);
    frame.put_slice(first_bytes);
    frame.freeze()
}

/// The headers, each once, because the prelude is a JSON object of strings. Several values are joined into one list
/// (RFC 9110 §5.3). Values outside ASCII cannot be represented there and are dropped.
fn joined_headers(headers: &HeaderMap) -> HeaderMap {
    const NOT_SENT: [HeaderName; 4] = [CONTENT_LENGTH, DATE, SET_COOKIE, TRANSFER_ENCODING];
    let joined = |name: &HeaderName| {
        let values = text_values(headers, name);
        HeaderValue::try_from(values.join(", "))
            .ok()
            .filter(|_| !values.is_empty())
    };
    headers
        .keys()
        .filter(|name| !NOT_SENT.contains(name))
        .filter_map(|name| Some((name.clone(), joined(name)?)))
        .collect()
}

fn text_values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect()
}

/// What is known about the body when the prelude has to be sent.
enum FirstBytes {
    Bytes(Bytes),
    /// No bytes within [`FIRST_BYTES_TIMEOUT`].
    Later,
    Empty,
    CutOff(String),
}

async fn first_bytes(body: &mut GuardedBody, headers: &HeaderMap) -> FirstBytes {
    let next = body.next();
    let first = if headers.contains_key(CONTENT_TYPE) {
        match tokio::time::timeout(FIRST_BYTES_TIMEOUT, next).await {
            Ok(first) => first,
            Err(_) => return FirstBytes::Later,
        }
    } else {
        // Only an empty body gets a content type, so wait until it is known whether there is a body.
        next.await
    };
    match first {
        Some(Ok(bytes)) => FirstBytes::Bytes(bytes),
        Some(Err(detail)) => FirstBytes::CutOff(detail),
        None => FirstBytes::Empty,
    }
}

/// Turns a panic of the body into an error. The HTTP client polls the body outside `catch_unwind`, where a panic would
/// end the process.
struct GuardedBody(Option<Body>);

impl GuardedBody {
    fn new(body: Body) -> Self {
        Self(Some(body))
    }

    /// Returns the next bytes (never empty). After an error, returns it once and then `None`. Cancel-safe. Trailers are
    /// dropped, because the Runtime API cannot transmit them.
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            let polled = AssertUnwindSafe(self.0.as_mut()?.frame())
                .catch_unwind()
                .await;
            match polled {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Some(Ok(data));
                    }
                }
                Ok(Some(Err(error))) => {
                    self.0 = None;
                    return Some(Err(causes(&error)));
                }
                Ok(None) => self.0 = None,
                Err(_) => {
                    self.0 = None;
                    return Some(Err("a panic".to_owned()));
                }
            }
        }
    }
}

fn cut_off_trailers() -> HeaderMap {
    let diagnostic = Diagnostic {
        error_type: STREAM_CUT_OFF.to_owned(),
        // Without the cause, which only the log contains.
        error_message: "the response was cut off".to_owned(),
    };
    let body = serde_json::to_vec(&diagnostic).unwrap_or_default();
    let mut trailers = HeaderMap::new();
    trailers.insert(ERROR_TYPE_TRAILER, HeaderValue::from_static(STREAM_CUT_OFF));
    if let Ok(body) = HeaderValue::try_from(STANDARD.encode(body)) {
        trailers.insert(ERROR_BODY_TRAILER, body);
    }
    trailers
}

fn log_cut_off(request_id: &str, detail: &str) {
    tracing::warn!(
        event = "stream_broken",
        request_id,
        detail,
        "a response was cut off"
    );
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http::header::{CONTENT_DISPOSITION, VARY};
    use serde_json::{Value, json};

    use super::*;

    /// The prelude, the data frames after it, and the trailers.
    async fn sent(
        response: Response,
        is_head_request: bool,
    ) -> (Value, Vec<Bytes>, Option<HeaderMap>) {
        let frames = frames(response, is_head_request, "id".to_owned(), async {}).await;
        let (mut data, mut trailers) = (Vec::new(), None);
        for frame in frames.collect::<Vec<_>>().await {
            match frame.unwrap().into_data() {
                Ok(bytes) => data.push(bytes),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let first = data.remove(0);
        let end = first
            .windows(8)
            .position(|bytes| bytes == SEPARATOR)
            .unwrap();
        let rest = first.slice(end + SEPARATOR.len()..);
        if !rest.is_empty() {
            data.insert(0, rest);
        }
        (
            serde_json::from_slice(&first[..end]).unwrap(),
            data,
            trailers,
        )
    }

    fn response(status: u16, headers: &[(HeaderName, &str)], body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            response.headers_mut().append(name.clone(), value);
        }
        response
    }

    #[expect(clippy::unnecessary_wraps, reason = "an item of a body's stream")]
    fn ok(text: &'static str) -> Result<Bytes, std::io::Error> {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn headers_are_joined_into_one_value_and_cookies_are_separate() {
        let headers = [
            (VARY, "origin"),
            (VARY, "accept"),
            (SET_COOKIE, "a=1"),
            (SET_COOKIE, "b=2"),
            (CONTENT_DISPOSITION, "inline; filename=\u{e9}"),
            (CONTENT_LENGTH, "4"),
            (CONTENT_TYPE, "text/plain"),
        ];
        let (prelude, ..) = sent(response(200, &headers, Body::from("text")), false).await;
        let headers = json!({ "vary": "origin, accept", "content-type": "text/plain" });
        assert_eq!(
            prelude,
            json!({ "statusCode": 200, "headers": headers, "cookies": ["a=1", "b=2"] })
        );
    }

    #[tokio::test]
    async fn an_empty_response_gets_one_byte_and_a_content_type() {
        let late = || {
            Body::from_stream(stream::once(async {
                tokio::task::yield_now().await;
                ok("")
            }))
        };
        let text = [(CONTENT_TYPE, "text/plain")];
        for (given, is_head_request, status, content_type) in [
            (
                response(202, &[], Body::empty()),
                false,
                202,
                "application/json",
            ),
            (
                response(204, &[], Body::empty()),
                false,
                200,
                "application/json",
            ),
            (
                response(303, &[], Body::empty()),
                false,
                303,
                "application/json",
            ),
            (
                response(200, &text, Body::empty()),
                false,
                200,
                "text/plain",
            ),
            (
                response(200, &text, Body::from("x")),
                true,
                200,
                "text/plain",
            ),
            (response(202, &[], late()), false, 202, "application/json"),
            (response(202, &text, late()), false, 202, "text/plain"),
        ] {
            let (prelude, data, trailers) = sent(given, is_head_request).await;
            assert_eq!(prelude["statusCode"], status);
            assert_eq!(prelude["headers"]["content-type"], content_type);
            assert_eq!((data, trailers), (vec![Bytes::from("\n")], None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_prelude_is_sent_with_the_first_bytes_if_they_arrive_soon() {
        let pieces = |wait_ms| {
            Body::from_stream(stream::iter(["one", "two"]).then(move |piece| async move {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                ok(piece)
            }))
        };
        let events = [(CONTENT_TYPE, "text/event-stream")];
        for (wait_ms, in_first_frame) in [(0, "one"), (3, "one"), (100, "")] {
            let frames = frames(
                response(200, &events, pieces(wait_ms)),
                false,
                String::new(),
                async {},
            )
            .await;
            let frames: Vec<_> = frames
                .map(|frame| frame.unwrap().into_data().unwrap())
                .collect()
                .await;
            assert!(frames[0].ends_with(&[&SEPARATOR[..], in_first_frame.as_bytes()].concat()));
            assert_eq!(frames.last().unwrap(), "two");
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_off_ends_with_the_error_trailers() {
        let breaks = stream::iter([
            ok("one"),
            ok(""),
            Err(std::io::Error::other("the cause")),
            ok("two"),
        ]);
        let panics = stream::iter([1, 0]).map(|n| {
            if n == 0 {
                panic!("on purpose")
            } else {
                ok("one")
            }
        });
        for body in [Body::from_stream(breaks), Body::from_stream(panics)] {
            let (_, data, trailers) = sent(response(200, &[], body), false).await;
            assert_eq!(data, ["one"]);
            let trailers = trailers.unwrap();
            assert_eq!(trailers[ERROR_TYPE_TRAILER], STREAM_CUT_OFF);
            let error = STANDARD.decode(&trailers[ERROR_BODY_TRAILER]).unwrap();
            assert_eq!(
                serde_json::from_slice::<Value>(&error).unwrap(),
                json!({ "errorType": STREAM_CUT_OFF, "errorMessage": "the response was cut off" })
            );
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_off_before_its_first_byte_is_a_502() {
        let breaks = stream::iter([Err::<Bytes, _>(std::io::Error::other("the cause"))]);
        let headers = [(CONTENT_TYPE, "text/event-stream")];
        let (prelude, data, trailers) =
            sent(response(200, &headers, Body::from_stream(breaks)), false).await;
        assert_eq!(prelude["statusCode"], 502);
        assert_eq!(prelude["headers"]["content-type"], "application/json");
        let error: Value = serde_json::from_slice(&data[0]).unwrap();
        assert_eq!(error["error"], "server_error");
        assert_eq!((data.len(), trailers), (1, None));
    }

    #[tokio::test]
    async fn only_the_end_of_the_response_waits_for_before_end() {
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let before_end = async {
            let _ = finished.await;
        };
        let text = [(CONTENT_TYPE, "text/plain")];
        let frames = frames(
            response(200, &text, Body::from("x")),
            false,
            String::new(),
            before_end,
        )
        .await;
        let mut frames = std::pin::pin!(frames);
        assert!(frames.next().await.is_some());
        assert!(frames.next().now_or_never().is_none());
        finish.send(()).unwrap();
        assert!(frames.next().await.is_none());
    }
}
