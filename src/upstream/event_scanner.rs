//! Lines and events of an event stream (WHATWG HTML §9.2.5 and §9.2.6).

use memchr::memchr2;

/// The UTF-8 byte order mark: clients drop it at the very start, anywhere else it is an ordinary character.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The first line without its end (LF, CR or CRLF), and what follows. `None` if the line has no end yet.
pub(super) fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = text.split_at(memchr2(b'\r', b'\n', text)?);
    Some((line, rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..])))
}

/// Tells whether a stream is between two events, across chunks that may be split at any byte. Keeps none of it.
#[derive(Debug)]
pub(super) struct EventScanner {
    position: Position,
    /// Whether there was a line other than a comment since the last blank one.
    in_event: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the very start, with this many bytes of the byte order mark seen.
    ByteOrderMark(usize),
    /// The next byte begins a line.
    LineStart,
    /// The next byte begins a line, unless it is the line feed of a CRLF.
    AfterCarriageReturn,
    /// In a line.
    WithinLine,
}

impl EventScanner {
    /// At the start of a stream.
    pub(super) fn new() -> Self {
        Self {
            position: Position::ByteOrderMark(0),
            in_event: false,
        }
    }

    /// Reads a chunk. Returns the length of the longest part of the chunk that ends between two events, if there is one.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut rest = self.skip_start(chunk);
        let mut boundary = None;
        if rest.len() < chunk.len() && self.between_events() {
            boundary = Some(chunk.len() - rest.len());
        }
        while let Some(first) = rest.first() {
            let (line, after) = split_line(rest).unwrap_or((rest, b""));
            if self.position != Position::WithinLine {
                self.in_event = !line.is_empty() && (self.in_event || *first != b':');
            }
            self.position = match rest[line.len()..rest.len() - after.len()] {
                [] => Position::WithinLine,
                [b'\r'] if after.is_empty() => Position::AfterCarriageReturn,
                _ => Position::LineStart,
            };
            rest = after;
            if self.between_events() {
                boundary = Some(chunk.len() - rest.len());
            }
        }
        boundary
    }

    /// Skips a byte order mark at the start, and the line feed of a CRLF that was split.
    fn skip_start<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        match (self.position, chunk) {
            (_, []) => chunk,
            (Position::ByteOrderMark(seen), _) => {
                let more = BYTE_ORDER_MARK[seen..].iter().zip(chunk);
                let more = more.take_while(|(a, b)| a == b).count();
                self.position = match seen + more {
                    0 => Position::LineStart,
                    whole if whole == BYTE_ORDER_MARK.len() => Position::LineStart,
                    part if more == chunk.len() => Position::ByteOrderMark(part),
                    _ => Position::WithinLine,
                };
                &chunk[more..]
            }
            (Position::AfterCarriageReturn, [b'\n', rest @ ..]) => {
                self.position = Position::LineStart;
                rest
            }
            _ => chunk,
        }
    }

    /// Whether the stream may end here without cutting an event off: there was nothing yet, or nothing but comments
    /// since the last blank line.
    pub(super) fn between_events(&self) -> bool {
        !self.in_event
            && matches!(
                self.position,
                Position::ByteOrderMark(0) | Position::LineStart | Position::AfterCarriageReturn
            )
    }

    /// Whether a comment may be inserted here. Not after a carriage return: its line feed may follow.
    pub(super) fn takes_comment(&self) -> bool {
        self.between_events() && self.position != Position::AfterCarriageReturn
    }

    /// Whether there was no byte yet.
    pub(super) fn at_start(&self) -> bool {
        self.position == Position::ByteOrderMark(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_stream_samples::{interpret, samples};
    use super::*;

    fn scanned(stream: &[u8]) -> EventScanner {
        let mut scanner = EventScanner::new();
        scanner.feed(stream);
        scanner
    }

    #[test]
    fn every_place_between_two_events_is_found() {
        // `^` is between two events, `~` as well, but not for a comment: a line feed may follow.
        for marked in [
            "^data: x\n\n^id: 1\ndata: x\n\n^\n^",
            "^data: x\r\n\r~\n^data: x\r\n\r~\n^",
            "^data: x\r\r~data: x\r\r~\n^\r~\r~",
            "^: comment\n^: comment\r~\n^data: x\n: comment\n\n^",
            "^\u{FEFF}^: comment\n^data: x\n\n^",
        ] {
            let mut scanner = EventScanner::new();
            let mut rest = marked;
            while !rest.is_empty() {
                let after = rest.trim_start_matches(['^', '~']);
                let place = &rest[..rest.len() - after.len()];
                let seen = (scanner.between_events(), scanner.takes_comment());
                assert_eq!(seen, (!place.is_empty(), place == "^"), "{rest:?}");
                let end = after.chars().next().map_or(0, char::len_utf8);
                for (at, byte) in after[..end].bytes().enumerate() {
                    assert!(at == 0 || !scanner.between_events(), "{rest:?}");
                    scanner.feed(&[byte]);
                }
                rest = &after[end..];
            }
        }
    }

    #[test]
    fn a_chunk_can_be_cut_off_after_its_last_whole_event() {
        let mut scanner = scanned(b"data: x\n");
        assert_eq!(scanner.feed(b"\ndata: y\n\ndata: z"), Some(10));
        assert_eq!(scanner.feed(b"\ndata: z"), None);
        assert_eq!(scanner.feed(b"\r\n\r"), Some(3));
        assert_eq!(scanner.feed(b"\ndata"), Some(1));
        assert_eq!(scanner.feed(b""), None);
    }

    #[test]
    fn a_comment_where_one_may_go_changes_nothing_and_splits_do_not_matter() {
        for stream in samples(400) {
            let seen = interpret(&stream);
            let mut by_byte = EventScanner::new();
            for at in 0..=stream.len() {
                let (head, tail) = stream.split_at(at);
                let whole = scanned(head);
                assert_eq!(whole.between_events(), by_byte.between_events());
                assert_eq!(whole.takes_comment(), by_byte.takes_comment());
                // In front of a byte order mark only when the mark is removed, which is the caller's task.
                if whole.takes_comment() && !(at == 0 && tail.starts_with(BYTE_ORDER_MARK)) {
                    let commented = [head, b": keep-alive\n\n", tail].concat();
                    assert_eq!(interpret(&commented), seen, "{stream:?} at {at}");
                }
                by_byte.feed(&tail[..tail.len().min(1)]);
            }
        }
    }
}
