//! The `endpoint` event of the deprecated HTTP+SSE transport (MCP 2024-11-05), rewritten on its way down: it
//! names the URL that the client shall POST to, and that has to be ours.
//!
//! All else passes byte for byte, as soon as it is known to belong to no endpoint event. An event's type may
//! come behind its data, and a later type replaces an earlier one (WHATWG HTML §9.2.6). So data is held until
//! the type or the event's end comes, and a type that turns out to be `endpoint` when data has gone already is
//! an error which its line never outruns: no client sees an endpoint that was not rewritten.

mod line;

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;

use self::line::Line;
use super::event_scanner::{Kind, Lines};

/// Most bytes that are held of one event. An untyped one that is longer is let go; an endpoint is refused.
const MOST_HELD: usize = 64 * 1024;

/// The upstream's endpoint event cannot be passed on; the stream ends here. Says why, never what was in it:
/// the URL may hold a key of the upstream's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointRefused(&'static str);

impl fmt::Display for EndpointRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the upstream's endpoint event {}", self.0)
    }
}

impl std::error::Error for EndpointRefused {}

impl From<EndpointRefused> for io::Error {
    fn from(refused: EndpointRefused) -> Self {
        Self::new(io::ErrorKind::InvalidData, refused)
    }
}

/// Rewrites chunk after chunk. Of no use after an error.
#[derive(Debug)]
pub struct EndpointRewriter<F> {
    /// Gives our URL for the upstream's; `None` if that is unacceptable.
    rewrite: F,
    lines: Lines,
    line: Line,
    event: Event,
    /// Bytes of earlier chunks that are not let go yet.
    held: Vec<u8>,
}

/// What is known of the event at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nothing that matters.
    Fresh,
    /// It has data, but no type yet.
    Untyped,
    /// Its type, so far, is `endpoint`.
    Endpoint,
    /// It has another type or is too long: its data may be gone.
    LetGo,
}

impl<F> EndpointRewriter<F>
where
    F: FnMut(&str) -> Option<String>,
{
    /// At the start of a stream. `rewrite` gives our URL for the one of the event.
    pub fn new(rewrite: F) -> Self {
        Self {
            rewrite,
            lines: Lines::new(),
            // A line that begins with half a mark opens with no text.
            line: Line::Other,
            event: Event::Fresh,
            held: Vec::new(),
        }
    }

    /// Reads on, and appends to `out` what may go down now.
    ///
    /// # Errors
    /// When an endpoint event cannot be passed on. `out` has then got all that came before it.
    pub fn feed(
        &mut self,
        chunk: &Bytes,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), EndpointRefused> {
        let mut cursor = Cursor::default();
        let result = self.read(chunk, &mut cursor, out);
        cursor.flush(chunk, out);
        self.held.extend_from_slice(&chunk[cursor.free..]);
        result
    }

    /// What is still held when the stream ends: part of an event, which clients discard; all the same an
    /// endpoint is not among it.
    #[must_use]
    pub fn finish(&mut self) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        let endpoint = self.event == Event::Endpoint || self.line == Line::EventValue(8);
        (!endpoint && !held.is_empty()).then(|| held.into())
    }

    fn read(
        &mut self,
        chunk: &Bytes,
        cursor: &mut Cursor,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), EndpointRefused> {
        let mut read = 0;
        while let Some(piece) = self.lines.next(&chunk[read..]) {
            let text = &chunk[read..read + piece.len];
            read += piece.len;
            match piece.kind {
                Kind::Mark | Kind::LineFeed => {}
                Kind::Text { opens } => {
                    if opens {
                        self.line = Line::Empty;
                    }
                    self.line.read(text);
                }
                Kind::LineEnd { blank: true } => {
                    if self.event == Event::Endpoint {
                        cursor.flush(chunk, out);
                        let mut event = std::mem::take(&mut self.held);
                        event.extend_from_slice(&chunk[cursor.free..read]);
                        cursor.skip_to(read);
                        out.push_back(self.rewritten(event)?.into());
                    }
                    self.event = Event::Fresh;
                }
                Kind::LineEnd { blank: false } => self.line_ended()?,
            }
            if self.line == Line::OtherType {
                self.event = Event::LetGo;
            }
            if self.holds() && self.held.len() + read - cursor.free > MOST_HELD {
                self.too_long()?;
            }
            if !self.holds() {
                if !self.held.is_empty() {
                    out.push_back(std::mem::take(&mut self.held).into());
                }
                cursor.free = read;
            }
        }
        Ok(())
    }

    fn line_ended(&mut self) -> Result<(), EndpointRefused> {
        self.event = match (self.line.ended(), self.event) {
            (Line::EventValue(_), Event::LetGo) => {
                return Err(EndpointRefused("says what it is too late"));
            }
            (Line::EventValue(_), _) => Event::Endpoint,
            (Line::OtherType, _) => Event::LetGo,
            (Line::Data, Event::Fresh) => Event::Untyped,
            (_, event) => event,
        };
        self.line = Line::Other;
        Ok(())
    }

    fn holds(&self) -> bool {
        let event = matches!(self.line, Line::EventName(_) | Line::EventValue(_));
        let data = matches!(self.line, Line::DataName(_) | Line::Data);
        match self.event {
            Event::Fresh => event || data,
            Event::Untyped | Event::Endpoint => true,
            Event::LetGo => event,
        }
    }

    fn too_long(&mut self) -> Result<(), EndpointRefused> {
        // What is held of an event that was let go is `event:` and a great many spaces.
        if matches!(self.event, Event::Endpoint | Event::LetGo) {
            return Err(EndpointRefused("is too long"));
        }
        self.event = Event::LetGo;
        Ok(())
    }

    /// A whole endpoint event with its data replaced in place.
    fn rewritten(&mut self, mut event: Vec<u8>) -> Result<Vec<u8>, EndpointRefused> {
        // What is held begins with `e` or `d`: there is no mark to mind.
        let (mut lines, mut read, mut line_start) = (Lines::new(), 0, 0);
        let mut data = None;
        while let Some(piece) = lines.next(&event[read..]) {
            if matches!(piece.kind, Kind::LineEnd { .. }) {
                let line = &event[line_start..read];
                if line == b"data" || line.starts_with(b"data:") {
                    if data.is_some() {
                        return Err(EndpointRefused("has more than one line of data"));
                    }
                    data = Some(line_start..read);
                }
                line_start = read + piece.len;
            }
            read += piece.len;
        }
        // Without data it is no event.
        let Some(line) = data else {
            return Ok(event);
        };
        let value = event[line.clone()].strip_prefix(b"data:").unwrap_or(b"");
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let ours = std::str::from_utf8(value)
            .ok()
            .and_then(|url| (self.rewrite)(url))
            .filter(|ours| !ours.contains(['\r', '\n']))
            .ok_or(EndpointRefused("points where it must not"))?;
        event.splice(line, [b"data: ", ours.as_bytes()].concat());
        Ok(event)
    }
}

/// How far a chunk is dealt with. What lies between is let go, but not sent yet: few large pieces are better
/// than many small ones.
#[derive(Default)]
struct Cursor {
    sent: usize,
    free: usize,
}

impl Cursor {
    fn flush(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>) {
        if self.sent < self.free {
            out.push_back(chunk.slice(self.sent..self.free));
            self.sent = self.free;
        }
    }

    fn skip_to(&mut self, position: usize) {
        (self.sent, self.free) = (position, position);
    }
}

/// A stream with its endpoint events rewritten. After an error it stays ended.
#[derive(Debug)]
pub struct RewriteEndpoint<S, E, F> {
    /// `None` once ended.
    inner: Option<Pin<Box<S>>>,
    rewriter: EndpointRewriter<F>,
    ready: VecDeque<Bytes>,
    error: Option<E>,
}

impl<S, E, F> RewriteEndpoint<S, E, F>
where
    F: FnMut(&str) -> Option<String>,
{
    /// Wraps an event stream (`text/event-stream`, not encoded). `rewrite` as in [`EndpointRewriter::new`].
    pub fn new(inner: S, rewrite: F) -> Self {
        Self {
            inner: Some(Box::pin(inner)),
            rewriter: EndpointRewriter::new(rewrite),
            ready: VecDeque::new(),
            error: None,
        }
    }
}

// No field is pinned in place.
impl<S, E, F> Unpin for RewriteEndpoint<S, E, F> {}

impl<S, E, F> Stream for RewriteEndpoint<S, E, F>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: From<EndpointRefused>,
    F: FnMut(&str) -> Option<String>,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(chunk) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            let Some(inner) = &mut this.inner else {
                return Poll::Ready(this.error.take().map(Err));
            };
            match ready!(inner.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => {
                    if let Err(refused) = this.rewriter.feed(&chunk, &mut this.ready) {
                        this.inner = None;
                        this.error = Some(refused.into());
                    }
                }
                last => {
                    this.inner = None;
                    this.error = last.and_then(Result::err);
                    this.ready.extend(this.rewriter.finish());
                }
            }
        }
    }
}

#[cfg(test)]
mod generated;
#[cfg(test)]
mod tests;
