//! The `endpoint` event of the deprecated HTTP+SSE transport (MCP 2024-11-05). It names the URL to which the client
//! sends its messages. On the way to the client that URL is replaced with one of ours; everything else stays.
//!
//! Clients act on whole lines and whole events, so a line is passed on when it is complete. An event's type may follow
//! its data, and a later type replaces an earlier one (WHATWG HTML §9.2.6). So data is held until the event's type or its
//! end arrives. A type `endpoint` after data that was passed on is an error: no client ever sees an endpoint that was not
//! replaced.

use std::{future::ready, io, mem};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use memchr::memchr;

use super::event_scanner::{BYTE_ORDER_MARK, split_line};

/// Most bytes of an event that are held from one chunk to the next. More are passed on, and then the event must not become
/// an endpoint event any more. The URLs that we accept have at most half as many.
const HELD_BYTES_MAX: usize = 8 * 1024;

/// Why an endpoint event cannot be passed on. Nothing of its content is in it: the URL may hold a key.
type Reason = &'static str;

const TOO_LATE: Reason = "the type of the upstream's endpoint event came too late";
const TOO_LONG: Reason = "the upstream's endpoint event is too long";
const SEVERAL_URLS: Reason = "the upstream's endpoint event has more than one line of data";
const WRONG_URL: Reason = "the upstream's endpoint event has a URL that is not allowed";

/// An event stream (`text/event-stream`, not encoded) with the URL of each endpoint event replaced. `replace` gives our
/// URL for the upstream's, or `None` if that is not allowed: then the stream ends with an error of the kind
/// `InvalidData`.
pub fn replace_endpoints<S, F>(
    upstream: S,
    replace: F,
) -> impl Stream<Item = io::Result<Bytes>> + use<S, F>
where
    S: Stream<Item = io::Result<Bytes>>,
    F: FnMut(&str) -> Option<String>,
{
    let chunks = upstream.map(Some).chain(stream::once(ready(None)));
    // The state is gone after the end and after an error.
    let pieces = chunks.scan(
        Some(EndpointReplacer::new(replace, HELD_BYTES_MAX)),
        |state, chunk| {
            let pieces = state.take().map(|mut replacer| {
                let mut pieces = Vec::new();
                let error = match chunk {
                    Some(Ok(chunk)) => match replacer.feed(chunk, &mut pieces) {
                        Ok(()) => {
                            *state = Some(replacer);
                            None
                        }
                        Err(refused) => Some(io::Error::new(io::ErrorKind::InvalidData, refused)),
                    },
                    end => {
                        pieces.extend(replacer.finish());
                        end.and_then(Result::err)
                    }
                };
                pieces.retain(|piece| !piece.is_empty());
                stream::iter(pieces.into_iter().map(Ok).chain(error.map(Err)))
            });
            ready(pieces)
        },
    );
    pieces.flatten()
}

struct EndpointReplacer<F> {
    replace: F,
    held_bytes_max: usize,
    /// The last byte that was passed on. `None` at the very start, where a byte order mark may follow.
    last_passed: Option<u8>,
    /// What follows it: a byte order mark, part of a line, or an event whose type is not known.
    held: Bytes,
    /// Whether `held` belongs to an event in the state `Passing`.
    passing: bool,
}

/// What is known of the current event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EventState {
    /// It has neither data nor a type.
    Fresh,
    /// It has data, but no type yet.
    Untyped,
    /// Its type so far is `endpoint`.
    Endpoint,
    /// It has another type, or is too long to be held. Its lines are passed on.
    Passing,
}

impl EventState {
    fn with(self, line: &[u8]) -> Result<Self, Reason> {
        match field(line) {
            (b"event", _) if !names_endpoint(line) => Ok(Self::Passing),
            (b"event", _) if self == Self::Passing => Err(TOO_LATE),
            (b"event", _) => Ok(Self::Endpoint),
            (b"data", _) if self == Self::Fresh => Ok(Self::Untyped),
            _ => Ok(self),
        }
    }
}

impl<F> EndpointReplacer<F>
where
    F: FnMut(&str) -> Option<String>,
{
    fn new(replace: F, held_bytes_max: usize) -> Self {
        Self {
            replace,
            held_bytes_max,
            last_passed: None,
            held: Bytes::new(),
            passing: false,
        }
    }

    /// Reads a chunk. `out` gets what may be passed on; in case of an error, what precedes the endpoint event.
    fn feed(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Reason> {
        let mut text = match mem::take(&mut self.held) {
            held if held.is_empty() => chunk,
            held => [held, chunk].concat().into(),
        };
        if self.last_passed.is_none() {
            if BYTE_ORDER_MARK.starts_with(&text) {
                self.held = text;
                return Ok(());
            }
            if text.starts_with(BYTE_ORDER_MARK) {
                out.push(text.split_to(BYTE_ORDER_MARK.len()));
            }
            // What follows begins a line.
            self.last_passed = Some(b'\n');
        }
        let mut free = 0;
        let result = self.read(&mut text, &mut free, out);
        if free > 0 {
            self.last_passed = Some(text[free - 1]);
            out.push(text.split_to(free));
        }
        self.held = text;
        result
    }

    /// Reads the lines of a text that follows what was passed on. `free` becomes the number of bytes that may be passed on.
    fn read(
        &mut self,
        text: &mut Bytes,
        free: &mut usize,
        out: &mut Vec<Bytes>,
    ) -> Result<(), Reason> {
        let mut read = match self.last_passed {
            Some(b'\n') | None => 0,
            Some(b'\r') => usize::from(text.starts_with(b"\n")),
            // The rest of a line that was too long to be held.
            Some(_) => text.len() - split_line(text).map_or(0, |(_, after)| after.len()),
        };
        *free = read;
        let mut event = if self.passing {
            EventState::Passing
        } else {
            EventState::Fresh
        };
        while let Some((line, after)) = split_line(&text[read..]) {
            read = text.len() - after.len();
            if line.is_empty() {
                if event == EventState::Endpoint {
                    out.push(text.split_to(*free));
                    let whole = text.split_to(read - *free);
                    (read, *free) = (0, 0);
                    out.push(self.replaced(&whole)?);
                    self.last_passed = whole.last().copied();
                }
                event = EventState::Fresh;
            } else {
                event = event.with(line)?;
            }
            if matches!(event, EventState::Fresh | EventState::Passing) {
                *free = read;
            }
        }
        if text.len() - *free > self.held_bytes_max {
            match event {
                EventState::Endpoint => return Err(TOO_LONG),
                EventState::Untyped => event = EventState::Passing,
                EventState::Fresh | EventState::Passing => {}
            }
            *free = read;
        }
        let unfinished = &text[read..];
        if unfinished.len() > self.held_bytes_max {
            if may_name_endpoint(unfinished) {
                return Err(TOO_LONG);
            }
            if matches!(field(unfinished).0, b"data" | b"event") {
                event = EventState::Passing;
            }
            *free = text.len();
        }
        self.passing = event == EventState::Passing;
        Ok(())
    }

    /// A whole endpoint event with its data replaced.
    fn replaced(&mut self, event: &[u8]) -> Result<Bytes, Reason> {
        let mut replaced = Vec::new();
        let (mut rest, mut has_url) = (event, false);
        while let Some((line, after)) = split_line(rest) {
            let whole = &rest[..rest.len() - after.len()];
            rest = after;
            let (b"data", url) = field(line) else {
                replaced.extend_from_slice(whole);
                continue;
            };
            if mem::replace(&mut has_url, true) {
                return Err(SEVERAL_URLS);
            }
            let url =
                str::from_utf8(url.strip_prefix(b" ").unwrap_or(url)).map_err(|_| WRONG_URL)?;
            let ours = (self.replace)(url).filter(|ours| !ours.contains(['\r', '\n']));
            replaced.extend_from_slice(b"data: ");
            replaced.extend_from_slice(ours.ok_or(WRONG_URL)?.as_bytes());
            replaced.extend_from_slice(&whole[line.len()..]);
        }
        Ok(replaced.into())
    }

    /// What is still held when the stream ends: part of an event, which clients discard. An endpoint event is dropped all
    /// the same.
    fn finish(self) -> Option<Bytes> {
        let mut lines = self.held.split(|byte| matches!(byte, b'\r' | b'\n'));
        let passes = !self.held.is_empty() && !lines.any(names_endpoint);
        passes.then_some(self.held)
    }
}

/// Name and value of a line. The value still has the space that may follow the colon.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b':', line) {
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        None => (line, b""),
    }
}

/// Whether a line makes its event an endpoint event. Some clients trim the value.
fn names_endpoint(line: &[u8]) -> bool {
    matches!(field(line), (b"event", kind) if kind.trim_ascii() == b"endpoint")
}

/// The same for a line that is not complete, as far as it is known.
fn may_name_endpoint(unfinished: &[u8]) -> bool {
    let kind = unfinished.strip_prefix(b"event:");
    kind.is_some_and(|kind| b"endpoint".starts_with(kind.trim_ascii()))
}

#[cfg(test)]
mod tests;
