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
use tokio::task::JoinHandle;
use tracing::Instrument as _;

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
    /// Finishes when the token is no longer valid. A task of its own: neither does it delay the body, nor does a client
    /// that reads slowly delay it.
    check: JoinHandle<()>,
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
        let (app, token) = (app.clone(), token.clone());
        let (id, client_id) = (
            connection.id.clone(),
            connection.client_id().map(str::to_owned),
        );
        let request_id = caller.request_id.clone();
        let expires_at = auth::token_expires_at(connection, &token).unwrap_or(0);
        let check = async move {
            let reason = until_invalid(&app, &id, &token, expires_at).await;
            tracing::info!(
                event = "stream_ended",
                reason,
                connection = id.as_str(),
                client_id,
                request_id,
                "an open response was ended, because its access token is no longer valid"
            );
        };
        Self {
            inner: Some(Box::pin(inner)),
            check: tokio::spawn(check.in_current_span()),
            events,
        }
    }
}

impl<S> Drop for EndsWithConnection<S> {
    fn drop(&mut self) {
        self.check.abort();
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
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        if Pin::new(&mut this.check).poll(cx).is_ready() {
            this.inner = None;
            let cut_off = io::Error::other("its access token is no longer valid");
            return Poll::Ready((!this.events).then_some(Err(cut_off)));
        }
        let polled = inner.as_mut().poll_next(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.inner = None;
        }
        polled
    }
}

/// Resolves when the token is no longer valid, with the reason. While the store is unavailable, only the token's expiry
/// counts: no client must take a fault of the store for the end of its connection.
async fn until_invalid(
    app: &App,
    id: &ConnectionId,
    token: &Fingerprint,
    expires_at: u64,
) -> &'static str {
    loop {
        let left = Duration::from_secs(expires_at.saturating_sub(app.clock.now()));
        tokio::time::sleep(left.min(CHECK_INTERVAL)).await;
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
