//! Draining: what is left of a request's body when its response is ready is read and discarded, within bounds.
//! Otherwise the connection would be closed while the client sends its next request on it, which the client would take
//! for a server that failed.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// A client that has more to send gets its connection closed instead.
const MAX_DRAINED_BYTES: usize = 1024 * 1024;
/// How long the rest of the body is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A body that is read to its end even when it is dropped.
pub struct DrainedBody(Option<Body>);

impl DrainedBody {
    /// Wraps a body that comes from a socket.
    pub fn new(body: Body) -> Self {
        Self(Some(body))
    }
}

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let rest = async move {
            let mut seen = 0;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, Bytes::len);
                if seen > MAX_DRAINED_BYTES {
                    break;
                }
            }
        };
        runtime.spawn(tokio::time::timeout(DRAIN_TIMEOUT, rest));
    }
}
