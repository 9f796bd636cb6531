//! An answer as the Runtime API takes it: a prelude with status, headers and cookies, then the body as it comes.

use std::{
    convert::Infallible,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, HttpBody as _},
    response::Response,
};
use bytes::Bytes;
use futures_util::Stream;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, SET_COOKIE},
};
use lambda_runtime::{MetadataPrelude, StreamResponse};

/// The answer to an invocation; `bare` for one to HEAD, which has no body.
pub fn streamed(answer: Response, bare: bool, request_id: String) -> StreamResponse<Whole> {
    let (parts, mut body) = answer.into_parts();
    let mut headers = parts.headers;
    if bare
        || matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
    {
        body = Body::empty();
        headers.remove(CONTENT_LENGTH);
    }
    let cookies = text(&headers, SET_COOKIE.as_str());
    headers.remove(SET_COOKIE);
    StreamResponse {
        metadata_prelude: MetadataPrelude {
            status_code: parts.status,
            headers: single(&headers),
            cookies,
        },
        stream: Whole {
            body: Some(body),
            request_id,
        },
    }
}

/// Each header once: the prelude is a JSON object of strings, and what it makes of anything else is no header.
/// Several values are one list (RFC 9110 §5.3); values beyond ASCII cannot be said there.
fn single(headers: &HeaderMap) -> HeaderMap {
    let joined = |name: &http::HeaderName| {
        let values = text(headers, name.as_str());
        HeaderValue::try_from(values.join(", "))
            .ok()
            .filter(|_| !values.is_empty())
    };
    headers
        .keys()
        .filter_map(|name| Some((name.clone(), joined(name)?)))
        .collect()
}

fn text(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect()
}

/// A body that never ends with an error: the runtime would write the error's text into the answer as if it were
/// part of it. What breaks off is logged, and ends.
pub struct Whole {
    /// `None` once ended.
    body: Option<Body>,
    request_id: String,
}

impl Whole {
    fn breaks_off(&mut self, detail: &str) {
        self.body = None;
        tracing::warn!(
            event = "stream_broken",
            request_id = self.request_id,
            detail,
            "an answer broke off in its midst"
        );
    }
}

impl Stream for Whole {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(body) = &mut self.body {
            // The runtime polls this in a task of its own, where a panic would go unheard.
            let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
            let Ok(polled) = polled else {
                self.breaks_off("a panic");
                break;
            };
            match ready!(polled) {
                // Trailers cannot be said to the Runtime API.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => self.breaks_off(&causes(&error)),
                None => self.body = None,
            }
        }
        Poll::Ready(None)
    }
}

/// What went wrong, outermost first.
fn causes(error: &axum::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use http::header::{CONTENT_DISPOSITION, VARY};

    use super::*;

    #[test]
    fn headers_are_single_and_cookies_apart() {
        let mut answer = Response::new(Body::empty());
        for (name, value) in [
            (VARY, &b"origin"[..]),
            (VARY, b"accept"),
            (SET_COOKIE, b"a=1"),
            (SET_COOKIE, b"b=2"),
            (CONTENT_DISPOSITION, "inline; filename=\u{e9}".as_bytes()),
        ] {
            answer
                .headers_mut()
                .append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let prelude = streamed(answer, false, String::new()).metadata_prelude;
        let text = serde_json::to_value(prelude).unwrap();
        assert_eq!(
            text,
            serde_json::json!({ "statusCode": 200, "headers": { "vary": "origin, accept" }, "cookies": ["a=1", "b=2"] })
        );
    }

    #[tokio::test]
    async fn no_error_and_no_panic_of_a_body_gets_through() {
        let ok = |text: &'static str| Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes()));
        let breaks = stream::iter([
            ok("one"),
            ok(""),
            Err(std::io::Error::other("gone")),
            ok("two"),
        ]);
        let panics = stream::iter([1, 0]).map(move |n| {
            if n == 0 {
                panic!("on purpose")
            } else {
                ok("one")
            }
        });
        for body in [Body::from_stream(breaks), Body::from_stream(panics)] {
            let answer = streamed(Response::new(body), false, "id".to_owned());
            let sent: Vec<_> = answer.stream.collect().await;
            assert_eq!(sent, [Ok(Bytes::from_static(b"one"))]);
        }
    }

    #[tokio::test]
    async fn an_answer_to_head_has_no_body() {
        let mut answer = Response::new(Body::from("text"));
        answer
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("4"));
        let answer = streamed(answer, true, String::new());
        assert!(answer.metadata_prelude.headers.is_empty());
        assert_eq!(answer.stream.count().await, 0);
    }
}
