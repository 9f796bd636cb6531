//! Keeps idle event streams alive, and ends streams when their time is up, if possible between two events.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::event_scanner::{BYTE_ORDER_MARK, EventScanner};

/// What is sent when the upstream is silent: a comment, which clients skip. No blank line follows it: some clients take
/// one for the end of an event even if there was none.
const COMMENT: &[u8] = b": keep-alive\n";

/// When a stream has to end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// From this time on, at the next place between two events.
    pub end_at: Option<Instant>,
    /// At this time, even within an event: clients discard an event that is cut off.
    pub cut_at: Option<Instant>,
}

/// An event stream (`text/event-stream`, not encoded) with a comment after each interval of silence, but only between
/// events. Everything else passes unchanged. After an error, the end or a limit the stream stays ended, and the inner
/// one is dropped.
#[derive(Debug)]
pub struct KeepAlive<S> {
    /// `None` after the end.
    inner: Option<Pin<Box<S>>>,
    scanner: EventScanner,
    interval: Duration,
    silent_since: Instant,
    limits: Limits,
    timer: Timer,
    /// Clients skip a byte order mark only at the start of a stream. So after a comment at the start it is removed: this
    /// many bytes so far.
    mark_removed: Option<usize>,
    /// A chunk that is sent after bytes that were removed but turned out not to be a byte order mark.
    next: Option<Bytes>,
}

impl<S> KeepAlive<S> {
    /// Wraps a stream. Silence counts from now on.
    pub fn new(inner: S, interval: Duration, limits: Limits) -> Self {
        Self {
            inner: Some(Box::pin(inner)),
            scanner: EventScanner::new(),
            interval,
            silent_since: Instant::now(),
            limits,
            timer: Timer(None),
            mark_removed: None,
            next: None,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let past = |limit: Option<Instant>| limit.is_some_and(|limit| limit <= now);
        past(self.limits.cut_at) || past(self.limits.end_at) && self.scanner.between_events()
    }

    /// What is sent of a chunk from the upstream.
    fn passed(&mut self, mut chunk: Bytes, now: Instant) -> Bytes {
        if !chunk.is_empty() {
            self.silent_since = now;
        }
        let boundary = self.scanner.feed(&chunk);
        if self.limits.end_at.is_some_and(|limit| limit <= now)
            && let Some(boundary) = boundary
        {
            chunk.truncate(boundary);
            self.inner = None;
        }
        self.without_mark(chunk)
    }

    fn without_mark(&mut self, mut chunk: Bytes) -> Bytes {
        let Some(removed) = self.mark_removed else {
            return chunk;
        };
        let fits = BYTE_ORDER_MARK[removed..].iter().zip(&chunk);
        let more = fits.take_while(|(a, b)| a == b).count();
        if removed + more < BYTE_ORDER_MARK.len() && more == chunk.len() {
            self.mark_removed = Some(removed + more);
            return Bytes::new();
        }
        self.mark_removed = None;
        if removed + more == BYTE_ORDER_MARK.len() {
            chunk.advance(more);
            return chunk;
        }
        if removed == 0 {
            return chunk;
        }
        self.next = Some(chunk);
        Bytes::from_static(&BYTE_ORDER_MARK[..removed])
    }

    fn comment(&mut self, now: Instant) -> Bytes {
        self.silent_since = now;
        if self.scanner.at_start() {
            self.mark_removed = Some(0);
        }
        Bytes::from_static(COMMENT)
    }
}

impl<S, E> Stream for KeepAlive<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(chunk) = this.next.take() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        loop {
            let now = Instant::now();
            if this.is_over(now) {
                this.inner = None;
            }
            let Some(inner) = &mut this.inner else {
                return Poll::Ready(None);
            };
            match inner.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    let chunk = this.passed(chunk, now);
                    if chunk.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Poll::Ready(last) => {
                    this.inner = None;
                    return Poll::Ready(last);
                }
                Poll::Pending => {}
            }
            // No comment within an event, however long the upstream is silent.
            let comment_at = this
                .scanner
                .takes_comment()
                .then(|| this.silent_since + this.interval);
            if comment_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Some(Ok(this.comment(now))));
            }
            // After `end_at`, an event that has begun is waited for.
            let end_at = this.limits.end_at.filter(|at| now < *at);
            let next = [comment_at, end_at, this.limits.cut_at];
            let Some(next) = next.into_iter().flatten().min() else {
                return Poll::Pending;
            };
            if this.timer.poll(next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Any other body with a time limit, at which it is cut off.
#[derive(Debug)]
pub struct CutAt<S, E> {
    /// `None` after the end.
    inner: Option<Pin<Box<S>>>,
    limit: Instant,
    error: Option<E>,
    timer: Timer,
}

impl<S, E> CutAt<S, E> {
    /// Wraps a stream. A body that is cut off ends with the error, so that nobody takes it for a complete one; without
    /// an error it just ends.
    pub fn new(inner: S, cut_at: Instant, error: Option<E>) -> Self {
        Self {
            inner: Some(Box::pin(inner)),
            limit: cut_at,
            error,
            timer: Timer(None),
        }
    }
}

// No field is pinned in place.
impl<S, E> Unpin for CutAt<S, E> {}

impl<S, E> Stream for CutAt<S, E>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        if this.timer.poll(this.limit, cx).is_ready() {
            this.inner = None;
            return Poll::Ready(this.error.take().map(Err));
        }
        let polled = inner.as_mut().poll_next(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.inner = None;
        }
        polled
    }
}

/// One timer for the whole life of a stream. It is reset only if it would fire too late: firing early, after which the
/// owner checks the time and polls again, costs less than a reset for each chunk.
#[derive(Debug)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready at the given time or earlier.
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.is_elapsed() || sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
