//! Keeps an idle event stream alive, and ends streams in an orderly way when their time is up.

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

/// What is sent into the silence: a comment, which clients skip. One line end and no blank line: some clients
/// take a blank line for the end of an event even if there was none.
pub const COMMENT: &[u8] = b": keep-alive\n";

/// When a stream has to end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// From here on at the next place between two events.
    pub end_at: Option<Instant>,
    /// From here on at once, be it in the midst of an event: clients discard what has no end.
    pub cut_at: Option<Instant>,
}

/// An event stream (`text/event-stream`, not encoded) with a comment after every so much silence, but only
/// between events: within one, a blank line of ours would end it. All else passes untouched. After an error, an
/// end or a limit the stream stays ended, and the inner one is dropped.
#[derive(Debug)]
pub struct KeepAlive<S> {
    /// `None` once ended.
    inner: Option<Pin<Box<S>>>,
    scanner: EventScanner,
    interval: Duration,
    quiet_since: Instant,
    limits: Limits,
    timer: Timer,
    /// A comment before the first byte robs a mark there of its place, and the first line would be lost to
    /// clients: the mark is then taken away. So many bytes of it have been so far.
    mark_taken: Option<usize>,
    /// A chunk that waits behind what was taken for a mark and was none.
    next: Option<Bytes>,
}

impl<S> KeepAlive<S> {
    /// Wraps a stream; silence counts from now.
    pub fn new(inner: S, interval: Duration, limits: Limits) -> Self {
        Self {
            inner: Some(Box::pin(inner)),
            scanner: EventScanner::new(),
            interval,
            quiet_since: Instant::now(),
            limits,
            timer: Timer(None),
            mark_taken: None,
            next: None,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let past = |limit: Option<Instant>| limit.is_some_and(|limit| limit <= now);
        past(self.limits.cut_at) || past(self.limits.end_at) && self.scanner.between_events()
    }

    /// What to send of a chunk from upstream.
    fn passed(&mut self, mut chunk: Bytes, now: Instant) -> Bytes {
        if !chunk.is_empty() {
            self.quiet_since = now;
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
        let Some(taken) = self.mark_taken else {
            return chunk;
        };
        let fits = BYTE_ORDER_MARK[taken..].iter().zip(&chunk);
        let more = fits.take_while(|(a, b)| a == b).count();
        if taken + more < BYTE_ORDER_MARK.len() && more == chunk.len() {
            self.mark_taken = Some(taken + more);
            return Bytes::new();
        }
        self.mark_taken = None;
        if taken + more == BYTE_ORDER_MARK.len() {
            chunk.advance(more);
            return chunk;
        }
        if taken == 0 {
            return chunk;
        }
        self.next = Some(chunk);
        Bytes::from_static(&BYTE_ORDER_MARK[..taken])
    }

    fn comment(&mut self, now: Instant) -> Bytes {
        self.quiet_since = now;
        if self.scanner.at_start() {
            self.mark_taken = Some(0);
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
            // A silence within an event is the upstream's own.
            let comment_at = this
                .scanner
                .takes_comment()
                .then(|| this.quiet_since + this.interval);
            if comment_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Some(Ok(this.comment(now))));
            }
            // Within an event, `end_at` is over only when bytes come.
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

/// Any other body with a limit. It cannot be ended well, only cut.
#[derive(Debug)]
pub struct CutAt<S, E> {
    /// `None` once ended.
    inner: Option<Pin<Box<S>>>,
    limit: Instant,
    error: Option<E>,
    timer: Timer,
}

impl<S, E> CutAt<S, E> {
    /// Wraps a stream. With an error, a cut body ends with it and so does not pass for a whole one; without,
    /// it just ends.
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

/// One timer for a stream's whole life, set anew only when it would ring too late: an early ring makes its
/// owner look again and costs less than a setting per chunk.
#[derive(Debug)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when the time has come, or sooner.
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
