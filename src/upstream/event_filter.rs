//! Changes the data of events on their way to the client. An event is held until it is complete.

use std::{future::ready, io, mem};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use memchr::memchr2;

use super::event_scanner::{BYTE_ORDER_MARK, split_line};

/// Most bytes of an event.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// An event stream (`text/event-stream`, not encoded) with the data of some events replaced. `replace` gets the data of
/// each event, and returns the new data, or `None` for an event that passes unchanged. After an error the stream ends.
pub fn replace_data<S, F>(
    upstream: S,
    replace: F,
) -> impl Stream<Item = io::Result<Bytes>> + use<S, F>
where
    S: Stream<Item = io::Result<Bytes>>,
    F: FnMut(&str) -> io::Result<Option<String>>,
{
    let chunks = upstream.map(Some).chain(stream::once(ready(None)));
    let pieces = chunks.scan(Some(EventFilter::new(replace)), |state, chunk| {
        let pieces = state.take().map(|mut filter| {
            let mut passed = Vec::new();
            let error = match chunk {
                Some(Ok(chunk)) => match filter.feed(&chunk, &mut passed) {
                    Ok(()) => {
                        *state = Some(filter);
                        None
                    }
                    Err(error) => Some(error),
                },
                Some(Err(error)) => Some(error),
                None => filter.finish(&mut passed).err(),
            };
            let passed = (!passed.is_empty()).then(|| Ok(passed.into()));
            stream::iter(passed.into_iter().chain(error.map(Err)))
        });
        ready(pieces)
    });
    pieces.flatten()
}

struct EventFilter<F> {
    replace: F,
    /// The lines of an event so far, with their ends.
    event: Vec<u8>,
    /// Part of a line.
    unfinished: Vec<u8>,
    at_start: bool,
}

impl<F: FnMut(&str) -> io::Result<Option<String>>> EventFilter<F> {
    fn new(replace: F) -> Self {
        Self {
            replace,
            event: Vec::new(),
            unfinished: Vec::new(),
            at_start: true,
        }
    }

    /// Reads a chunk. `passed` gets the events that are complete now; in case of an error, those before it.
    fn feed(&mut self, chunk: &[u8], passed: &mut Vec<u8>) -> io::Result<()> {
        let ends_line = memchr2(b'\r', b'\n', chunk).is_some() || self.unfinished.ends_with(b"\r");
        self.unfinished.extend_from_slice(chunk);
        let text = if ends_line {
            mem::take(&mut self.unfinished)
        } else {
            Vec::new()
        };
        let mut rest = &text[..];
        while let Some((line, after)) = split_line(rest) {
            if after.is_empty() && rest.ends_with(b"\r") {
                // A line feed may follow.
                break;
            }
            let line = self.without_mark(line);
            let ends_event = line.is_empty();
            // Outside an event, a comment is passed on at once.
            let is_comment = self.event.is_empty() && line.starts_with(b":");
            self.event
                .extend_from_slice(&rest[..rest.len() - after.len()]);
            rest = after;
            if ends_event || is_comment {
                self.end_event(passed)?;
            }
        }
        self.unfinished.extend_from_slice(rest);
        if self.event.len() + self.unfinished.len() > MAX_EVENT_BYTES {
            return Err(error("an event is longer than 16 MB"));
        }
        Ok(())
    }

    /// What is left at the end of the stream: some clients read an event that is not complete.
    fn finish(mut self, passed: &mut Vec<u8>) -> io::Result<()> {
        let unfinished = mem::take(&mut self.unfinished);
        for (line, whole) in lines(&unfinished) {
            let ends_event = self.without_mark(line).is_empty();
            self.event.extend_from_slice(whole);
            if ends_event {
                self.end_event(passed)?;
            }
        }
        self.end_event(passed)
    }

    /// The line; the first one of the stream without the byte order mark.
    fn without_mark<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        let first = self.at_start && self.event.is_empty();
        let marked = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| first);
        marked.unwrap_or(line)
    }

    fn end_event(&mut self, passed: &mut Vec<u8>) -> io::Result<()> {
        let mut event = &mem::take(&mut self.event)[..];
        if mem::take(&mut self.at_start)
            && let Some(after) = event.strip_prefix(BYTE_ORDER_MARK)
        {
            passed.extend_from_slice(BYTE_ORDER_MARK);
            event = after;
        }
        let Some(data) = data(event)? else {
            passed.extend_from_slice(event);
            return Ok(());
        };
        let Some(new) = (self.replace)(&data)? else {
            passed.extend_from_slice(event);
            return Ok(());
        };
        let mut kept: Vec<_> = lines(event)
            .filter(|(line, _)| field(line).is_none())
            // The blank line comes last.
            .filter(|(_, whole)| !whole.trim_ascii().is_empty())
            .flat_map(|(_, whole)| whole)
            .copied()
            .collect();
        // The end of the stream may have cut off a line. After a carriage return the blank line would be a part of its end.
        if kept.last().is_some_and(|byte| *byte != b'\n') {
            kept.push(b'\n');
        }
        // First, so that no other line becomes the first one of the stream: a byte order mark in front of it would be removed,
        // and hide nothing any more.
        for line in new.split('\n') {
            passed.extend_from_slice(format!("data: {line}\n").as_bytes());
        }
        passed.extend(kept);
        passed.push(b'\n');
        Ok(())
    }
}

/// The data of an event; `None` if it has none.
fn data(event: &[u8]) -> io::Result<Option<String>> {
    let values: Vec<_> = lines(event).filter_map(|(line, _)| field(line)).collect();
    if values.is_empty() {
        return Ok(None);
    }
    let data = String::from_utf8(values.join(&b'\n'));
    data.map(Some).map_err(|_| error("an event is not UTF-8"))
}

/// The lines, each without and with its end.
fn lines(event: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = event;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = split_line(rest).unwrap_or((rest, b""));
        let whole = &rest[..rest.len() - after.len()];
        rest = after;
        Some((line, whole))
    })
}

/// The value of a `data` line.
fn field(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data")?;
    match value {
        [] => Some(value),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

fn error(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::super::event_stream_samples::{interpret, samples};
    use super::*;

    /// The whole stream, fed in chunks of this size.
    fn filtered(
        stream: &[u8],
        chunk: usize,
        replace: impl FnMut(&str) -> io::Result<Option<String>>,
    ) -> io::Result<Vec<u8>> {
        let mut filter = EventFilter::new(replace);
        let mut out = Vec::new();
        for chunk in stream.chunks(chunk) {
            filter.feed(chunk, &mut out)?;
        }
        filter.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn events_that_are_not_replaced_pass_unchanged_wherever_they_are_split() {
        for stream in samples(200) {
            // Invalid UTF-8 is an error.
            let Ok(whole) = filtered(&stream, usize::MAX, |_| Ok(None)) else {
                continue;
            };
            assert_eq!(whole, stream);
            for chunk in 1..5 {
                assert_eq!(filtered(&stream, chunk, |_| Ok(None)).unwrap(), stream);
            }
        }
    }

    #[test]
    fn replaced_data_keeps_the_rest_of_its_event() {
        let stream = "\u{feff}id: 1\r\nevent: message\r\ndata: a\r\ndata:b\r\n\r\n: c\n\ndata\n\ndata: keep\rretry: 5\r\rdata: end";
        let expected = "\u{feff}data: A\ndata: B\nid: 1\r\nevent: message\r\n\n: c\n\ndata: \n\ndata: keep\rretry: 5\r\rdata: END\n\n";
        let upper = |data: &str| Ok((data != "keep").then(|| data.to_uppercase()));
        for chunk in 1..stream.len() {
            let out = filtered(stream.as_bytes(), chunk, upper).unwrap();
            assert_eq!(interpret(&out), interpret(expected.as_bytes()), "{chunk}");
        }
        let out = filtered(stream.as_bytes(), usize::MAX, upper).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let marked = "\u{feff}\n\u{feff}data: a\n\n\u{feff}\ndata: b\n\n";
        let out = filtered(marked.as_bytes(), 1, upper).unwrap();
        let expected = "\u{feff}\n\u{feff}data: a\n\ndata: B\n\u{feff}\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let cut_off = filtered(b"data: a\nid: 1", 1, upper).unwrap();
        assert_eq!(cut_off, b"data: A\nid: 1\n\n");
        let hidden = "data: a\n\u{feff}data: hidden\n\n";
        let out = filtered(hidden.as_bytes(), 1, upper).unwrap();
        let expected = "data: A\n\u{feff}data: hidden\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_event_that_is_too_long_or_not_utf_8_ends_the_stream() {
        let long = format!("data: {}", "x".repeat(MAX_EVENT_BYTES));
        assert!(filtered(long.as_bytes(), 1 << 20, |_| Ok(None)).is_err());
        assert!(filtered(b"data: \xff\n\n", 3, |_| Ok(None)).is_err());
        assert!(filtered(b"data: x\n\n", 3, |_| Err(error("no"))).is_err());
    }
}
