//! Ends a response when its connection ends. Its access token was checked when the request arrived, so for a response
//! that takes long it is checked again.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, Span};

use super::auth::{self, Authorized};
use crate::{
    app::App,
    credential::{ConnectionId, Fingerprint},
};

/// How often the connection of an open response is read again.
const CHECK_INTERVAL: Duration = Duration::from_mins(1);

/// A response body that ends when the access token of its request is no longer valid.
pub struct EndsWithConnection<S> {
    /// `None` after the end.
    inner: Option<Pin<Box<S>>>,
    checked: Checked,
    /// Finishes when the token is no longer valid. A task of its own: neither does it delay the body, nor does a client
    /// that reads slowly delay it. `None` until something has to be waited for after the first chunk, because most bodies
    /// have arrived whole by then. So a client that takes nothing after the first chunk is checked when it reads again.
    check: Option<JoinHandle<()>>,
    /// Whether the body was not polled yet.
    is_new: bool,
    /// Whether the body is an event stream, which may end after any event. Every other one is cut off, because it would
    /// look complete otherwise.
    events: bool,
}

impl<S> EndsWithConnection<S> {
    /// Wraps a body.
    pub fn new(authorized: Authorized<'_>, inner: S, events: bool) -> Self {
        let Authorized {
            app,
            caller,
            connection,
            token,
        } = authorized;
        Self {
            inner: Some(Box::pin(inner)),
            checked: Checked {
                app: app.clone(),
                id: connection.id.clone(),
                client_id: connection.client_id().map(str::to_owned),
                token: token.clone(),
                expires_at: auth::token_expires_at(connection, token).unwrap_or(0),
                request_id: caller.request_id.clone(),
                begun: Instant::now(),
                span: Span::current(),
            },
            check: None,
            is_new: true,
            events,
        }
    }

    /// Ready when the token is no longer valid.
    fn poll_check(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.check {
            Some(check) => Pin::new(check).poll(cx).map(drop),
            None => Poll::Pending,
        }
    }

    /// The end of the body, because the token is no longer valid.
    fn cut_off(&mut self) -> Poll<Option<io::Result<Bytes>>> {
        self.inner = None;
        let cut_off = io::Error::other("its access token is no longer valid");
        Poll::Ready((!self.events).then_some(Err(cut_off)))
    }
}

impl<S> Drop for EndsWithConnection<S> {
    fn drop(&mut self) {
        if let Some(check) = &self.check {
            check.abort();
        }
    }
}

// No field is pinned in place.
impl<S> Unpin for EndsWithConnection<S> {}

impl<S> Stream for EndsWithConnection<S>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.inner.is_some() && this.poll_check(cx).is_ready() {
            return this.cut_off();
        }
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let polled = inner.as_mut().poll_next(cx);
        let is_first_chunk = std::mem::take(&mut this.is_new) && polled.is_ready();
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.inner = None;
        } else if this.check.is_none() && !is_first_chunk {
            this.check = Some(this.checked.spawn());
            if this.poll_check(cx).is_ready() {
                return this.cut_off();
            }
        }
        polled
    }
}

/// The access token of an open response.
#[derive(Clone)]
struct Checked {
    app: App,
    id: ConnectionId,
    client_id: Option<String>,
    token: Fingerprint,
    expires_at: u64,
    request_id: String,
    /// When the token was valid.
    begun: Instant,
    span: Span,
}

impl Checked {
    /// A task that finishes when the token is no longer valid.
    fn spawn(&self) -> JoinHandle<()> {
        let checked = self.clone();
        let check = async move {
            let reason = until_invalid(&checked).await;
            tracing::info!(
                event = "stream_ended",
                reason,
                connection = checked.id.as_str(),
                client_id = checked.client_id,
                request_id = checked.request_id,
                "an open response was ended, because its access token is no longer valid"
            );
        };
        tokio::spawn(check.instrument(self.span.clone()))
    }
}

/// Resolves when the token is no longer valid, with the reason. While the store is unavailable, only the token's expiry
/// counts: no client must take a fault of the store for the end of its connection.
async fn until_invalid(checked: &Checked) -> &'static str {
    let Checked {
        app,
        id,
        token,
        expires_at,
        ..
    } = checked;
    let expires_at = *expires_at;
    let mut due = checked.begun + CHECK_INTERVAL;
    loop {
        let left = Duration::from_secs(expires_at.saturating_sub(app.clock.now()));
        sleep_until(due.min(Instant::now() + left.min(CHECK_INTERVAL))).await;
        due = Instant::now() + CHECK_INTERVAL;
        let now = app.clock.now();
        if expires_at <= now {
            return "token_expired";
        }
        match app.store.connection(id, now).await {
            Ok(None) => return "connection_ended",
            Ok(Some(connection)) if auth::token_expires_at(&connection, token).is_none() => {
                return "token_replaced";
            }
            Ok(Some(_)) => {}
            Err(error) => tracing::warn!(
                event = "unavailable",
                what = error.what,
                operator = error.operator,
                detail = %error,
                "the connection of an open response could not be read again"
            ),
        }
    }
}
