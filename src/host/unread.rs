//! What is left of a request's body when its answer is ready: read on and thrown away, within bounds. Otherwise the
//! connection would be closed under a client that sends its next request on it, which to that client looks like a
//! server that hung up.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// Most bytes thrown away; who has more to send may as well connect anew.
const MOST: usize = 1024 * 1024;
/// And for how long they are waited for.
const LONGEST: Duration = Duration::from_secs(5);

/// A body that is read to its end even when nobody wants it.
pub struct Unread(Option<Body>);

impl Unread {
    /// Wraps a body that comes from a socket.
    pub fn new(body: Body) -> Self {
        Self(Some(body))
    }
}

impl HttpBody for Unread {
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

impl Drop for Unread {
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
                if seen > MOST {
                    break;
                }
            }
        };
        runtime.spawn(tokio::time::timeout(LONGEST, rest));
    }
}
