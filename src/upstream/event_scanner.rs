//! Where an event stream stands: its lines, and whether it is between two events, across chunks that may be
//! split at any byte (WHATWG HTML §9.2.5 and §9.2.6).

/// A UTF-8 byte order mark: dropped by clients at the very start, an ordinary character anywhere else.
pub(super) const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Splits a stream into pieces of lines without keeping any of it.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the very start, with this many bytes of the mark seen.
    Mark(usize),
    /// The next byte begins a line.
    LineStart,
    /// As `LineStart`, but a line feed would still belong to the line end before it.
    AfterCarriageReturn,
    /// Within a line.
    Inside,
}

/// What the first bytes of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// How many bytes; never 0.
    pub(super) len: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The mark or a part of it. Should the rest of the mark not follow, text does that opens no line: the
    /// part turns out to have opened it.
    Mark,
    /// A part of a line.
    Text { opens: bool },
    /// A line end; `blank` if there was no line before it.
    LineEnd { blank: bool },
    /// The second half of a line end whose first half came in an earlier chunk.
    LineFeed,
}

impl Lines {
    /// At the start of a stream.
    pub(super) fn new() -> Self {
        Self { at: At::Mark(0) }
    }

    /// The next piece; `None` when the chunk is used up.
    pub(super) fn next(&mut self, rest: &[u8]) -> Option<Piece> {
        let first = *rest.first()?;
        if let At::Mark(seen) = self.at {
            let fits = MARK[seen..].iter().zip(rest);
            let len = fits.take_while(|(a, b)| a == b).count();
            let whole = seen + len == MARK.len();
            self.at = match (whole, len) {
                (true, _) => At::LineStart,
                (false, 0) if seen == 0 => At::LineStart,
                (false, 0) => At::Inside,
                (false, _) => At::Mark(seen + len),
            };
            if len > 0 {
                let kind = Kind::Mark;
                return Some(Piece { len, kind });
            }
        }
        if self.at == At::AfterCarriageReturn {
            self.at = At::LineStart;
            if first == b'\n' {
                let kind = Kind::LineFeed;
                return Some(Piece { len: 1, kind });
            }
        }
        let opens = self.at == At::LineStart;
        let len = rest
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'))
            .unwrap_or(rest.len());
        if len > 0 {
            self.at = At::Inside;
            let kind = Kind::Text { opens };
            return Some(Piece { len, kind });
        }
        let (at, len) = match rest {
            [b'\r'] => (At::AfterCarriageReturn, 1),
            [b'\r', b'\n', ..] => (At::LineStart, 2),
            _ => (At::LineStart, 1),
        };
        self.at = at;
        let kind = Kind::LineEnd { blank: opens };
        Some(Piece { len, kind })
    }
}

/// Tells whether a stream stands between two events.
#[derive(Clone, Debug)]
pub struct EventScanner {
    lines: Lines,
    /// Whether a line other than a comment came since the last blank one.
    in_event: bool,
}

impl EventScanner {
    /// At the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lines: Lines::new(),
            in_event: false,
        }
    }

    /// Reads on. Returns the length of the longest part of the chunk after which the stream stands between
    /// events, if there is one.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<usize> {
        let (mut read, mut boundary) = (0, None);
        while let Some(piece) = self.lines.next(&chunk[read..]) {
            match piece.kind {
                Kind::Text { opens: true } if chunk[read] != b':' => self.in_event = true,
                Kind::LineEnd { blank: true } => self.in_event = false,
                _ => {}
            }
            read += piece.len;
            if self.between_events() {
                boundary = Some(read);
            }
        }
        boundary
    }

    /// Whether the stream may end here without an event being cut: nothing was seen yet, or nothing but
    /// comments since the last blank line.
    #[must_use]
    pub fn between_events(&self) -> bool {
        !self.in_event
            && matches!(
                self.lines.at,
                At::Mark(0) | At::LineStart | At::AfterCarriageReturn
            )
    }

    /// Whether a comment may be put in here. Not behind a carriage return: a line feed that belongs to it
    /// may follow.
    #[must_use]
    pub fn takes_comment(&self) -> bool {
        self.between_events() && self.lines.at != At::AfterCarriageReturn
    }

    /// Whether no byte was seen yet.
    #[must_use]
    pub fn at_start(&self) -> bool {
        self.lines.at == At::Mark(0)
    }
}

impl Default for EventScanner {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_corpus::{corpus, interpret};
    use super::*;

    fn scanned(stream: &[u8]) -> EventScanner {
        let mut scanner = EventScanner::new();
        scanner.feed(stream);
        scanner
    }

    #[test]
    fn between_events_is_the_start_and_behind_blank_lines_and_comments() {
        let between: [&[u8]; 9] = [
            b"",
            b"\xEF\xBB\xBF",
            b"\n",
            b"data: x\n\n",
            b"data: x\r\n\r\n",
            b"data: x\r\r",
            b"data: x\r\n\r",
            b": comment\n",
            b"\xEF\xBB\xBF: comment\r\n",
        ];
        for stream in between {
            assert!(scanned(stream).between_events(), "{stream:?}");
        }
        let within: [&[u8]; 8] = [
            b"\xEF",
            b"\xEF\xBB",
            b"data: x",
            b"data: x\n",
            b"data: x\r\n",
            b"data: x\r",
            b": comment",
            b"data: x\n: comment\n",
        ];
        for stream in within {
            assert!(!scanned(stream).between_events(), "{stream:?}");
        }
    }

    #[test]
    fn no_comment_goes_between_a_carriage_return_and_what_may_be_its_line_feed() {
        for stream in ["data: x\r\n\r", "data: x\r\r", "\r"] {
            assert!(!scanned(stream.as_bytes()).takes_comment(), "{stream:?}");
        }
        assert!(scanned(b"data: x\r\n\r\n").takes_comment());
        assert!(scanned(b"data: x\r\r\n").takes_comment());
    }

    #[test]
    fn a_chunk_says_where_it_can_be_cut_best() {
        let mut scanner = scanned(b"data: x\n");
        assert_eq!(scanner.feed(b"\ndata: y\n\ndata: z"), Some(10));
        assert_eq!(scanner.feed(b"\ndata: z"), None);
        assert_eq!(scanner.feed(b"\r\n\r\n"), Some(4));
        assert_eq!(scanner.feed(b""), None);
    }

    #[test]
    fn where_a_comment_may_go_it_changes_nothing_and_splits_do_not_matter() {
        for stream in corpus(400) {
            let seen = interpret(&stream);
            let mut by_byte = EventScanner::new();
            for at in 0..=stream.len() {
                let (head, tail) = stream.split_at(at);
                let whole = scanned(head);
                assert_eq!(whole.between_events(), by_byte.between_events());
                assert_eq!(whole.takes_comment(), by_byte.takes_comment());
                // Before a mark only with the mark taken away, which is the inserter's business.
                if whole.takes_comment() && !(at == 0 && tail.starts_with(MARK)) {
                    let commented = [head, b": keep-alive\n\n", tail].concat();
                    assert_eq!(interpret(&commented), seen, "{stream:?} at {at}");
                }
                if let Some(byte) = tail.first() {
                    by_byte.feed(&[*byte]);
                }
            }
        }
    }
}
