//! Request bodies from a socket. One that stalls fails. And draining: what is left of a request's body when its response is ready is read and discarded, within bounds.
//! Otherwise the connection would be closed while the client sends its next request on it, which the client would take
//! for a server that failed.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Sleep, sleep};

/// How long a body may stay without a further byte.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that has more to send gets its connection closed instead.
const MAX_DRAINED_BYTES: usize = 1024 * 1024;
/// How long the rest of the body is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A body that fails when it stalls, and is read to its end even when it is dropped.
pub struct DrainedBody {
    /// `None` after the end.
    inner: Option<Body>,
    /// Runs while a byte is waited for.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl DrainedBody {
    /// Wraps a body that comes from a socket.
    pub fn new(body: Body) -> Self {
        Self {
            inner: Some(body),
            stalled: None,
        }
    }
}

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let mut polled = Pin::new(body).poll_frame(cx);
        if polled.is_ready() {
            this.stalled = None;
        } else {
            let stalled = this
                .stalled
                .get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
            ready!(stalled.as_mut().poll(cx));
            let error = io::Error::from(io::ErrorKind::TimedOut);
            polled = Poll::Ready(Some(Err(axum::Error::new(error))));
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.inner = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let Some(mut body) = self.inner.take().filter(|body| !body.is_end_stream()) else {
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
