//! Time limits for a client's connection: for the head of a request, for being idle between two requests, and for taking
//! nothing of a response. Otherwise a request that is under way has no limit here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, sleep_until},
};

/// How long the head of a request may take: from the start of the connection, later from its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be idle between two requests. Clients that keep it for 90 seconds (reqwest, Go) close it first,
/// so that no request crosses the closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(100);
/// How long a client may take no byte of a response, once the buffers between it and this program are full.
const UNREAD_TIMEOUT: Duration = Duration::from_mins(2);

/// The requests of one connection. HTTP/1.1 handles them one after the other.
#[derive(Debug, Default)]
pub struct Requests {
    begun: AtomicUsize,
    under_way: AtomicBool,
    unread: AtomicBool,
    /// Of the task that reads the connection.
    reader: AtomicWaker,
}

impl Requests {
    /// A request has arrived.
    pub fn begin(&self) {
        self.under_way.store(true, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The last byte of its response was handed over. The connection is read again, because its idle time begins now and
    /// the timer may have fired during the response.
    pub fn end(&self) {
        self.under_way.store(false, Ordering::Relaxed);
        self.reader.wake();
    }

    /// Whether a request has no complete response yet.
    pub fn under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Whether a part of a response waits until the client takes it.
    pub fn unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }
}

/// A connection that fails with `TimedOut` when its client exceeds a limit.
pub struct TimedStream {
    inner: TcpStream,
    requests: Arc<Requests>,
    /// How many requests had begun when the deadline was set.
    begun: usize,
    /// Whether a part of the next head has arrived.
    head_begun: bool,
    /// When the client must have sent a head.
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing of a response.
    unread: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    /// A connection that begins now.
    pub fn new(inner: TcpStream, requests: Arc<Requests>) -> Self {
        let deadline = Instant::now() + HEAD_TIMEOUT;
        Self {
            inner,
            requests,
            begun: 0,
            head_begun: true,
            deadline,
            timer: Box::pin(sleep_until(deadline)),
            unread: None,
        }
    }

    /// The client is idle from now on.
    fn idle(&mut self) {
        self.head_begun = false;
        self.deadline = Instant::now() + IDLE_TIMEOUT;
    }

    fn received(&mut self) {
        if !self.head_begun {
            self.head_begun = true;
            self.deadline = Instant::now() + HEAD_TIMEOUT;
        }
    }

    /// Ready when the client has exceeded its limit.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.deadline() != self.deadline {
            self.timer.as_mut().reset(self.deadline);
        }
        self.timer.as_mut().poll(cx)
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Before `under_way` is read: a request that ends later wakes this task.
        this.requests.reader.register(cx.waker());
        let polled = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if this.requests.under_way() {
            return polled;
        }
        let begun = this.requests.begun.load(Ordering::Relaxed);
        if begun != this.begun {
            this.begun = begun;
            this.idle();
        }
        if polled.is_ready() {
            this.received();
            return polled;
        }
        this.poll_limit(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl TimedStream {
    /// A client that is still reading a response is not idle. One that has stopped reading would keep its place for ever:
    /// nothing else ends a response, and no limit for reading applies while further requests wait in the buffer.
    fn sent(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let is_unread = written.is_pending();
        self.requests.unread.store(is_unread, Ordering::Relaxed);
        if is_unread {
            let unread = self
                .unread
                .get_or_insert_with(|| Box::pin(sleep(UNREAD_TIMEOUT)));
            let timed_out = unread.as_mut().poll(cx);
            return timed_out.map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.unread = None;
        if !self.head_begun {
            self.idle();
        }
        written
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.sent(written, cx)
    }

    // Nothing is buffered here or in the socket's type, so this is never pending and needs no limit.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.sent(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
