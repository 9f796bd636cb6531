//! How a `tools/call` ended, read from its response while that passes to the client. Nothing is copied or held.

use memchr::memchr2;

/// Longest member name that matters here (`isError`), and one more.
const NAME_BYTES: usize = 8;

/// What was found in the responses so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A result.
    Result,
    /// A result with `isError`, or a JSON-RPC error.
    Error,
}

/// Reads a body, as JSON or as an event stream.
#[derive(Debug)]
pub struct OutcomeScanner {
    json: JsonScanner,
    /// The current line of an event stream; `None` for a body that is JSON.
    line: Option<Line>,
    found: Option<Found>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At its start, with so many bytes of `data:` seen.
    Start(usize),
    /// In the value of a data line.
    Data,
    /// In another line.
    Other,
}

const DATA: &[u8] = b"data:";

impl OutcomeScanner {
    /// At the start of a body.
    pub fn new(is_event_stream: bool) -> Self {
        Self {
            json: JsonScanner::default(),
            line: is_event_stream.then_some(Line::Start(0)),
            found: None,
        }
    }

    /// What was found in everything that was read. Of several responses an error counts.
    pub fn found(&self) -> Option<Found> {
        self.found
    }

    /// Reads the next bytes.
    pub fn read(&mut self, mut bytes: &[u8]) {
        let Some(mut line) = self.line else {
            return self.read_json(bytes);
        };
        while let Some(first) = bytes.first() {
            match line {
                Line::Start(seen) if matches!(first, b'\r' | b'\n') => {
                    if seen == 0 {
                        self.json = JsonScanner::default();
                    }
                    line = Line::Start(0);
                    bytes = &bytes[1..];
                }
                Line::Start(seen) => {
                    line = match DATA.get(seen) {
                        Some(expected) if expected == first && seen + 1 == DATA.len() => Line::Data,
                        Some(expected) if expected == first => Line::Start(seen + 1),
                        _ => Line::Other,
                    };
                    bytes = &bytes[1..];
                }
                Line::Data | Line::Other => {
                    let end = memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
                    if line == Line::Data {
                        self.read_json(&bytes[..end]);
                    }
                    bytes = &bytes[end..];
                    if let [ended, rest @ ..] = bytes {
                        // The line feed of a CRLF belongs to this line.
                        bytes = rest
                            .strip_prefix(b"\n")
                            .filter(|_| *ended == b'\r')
                            .unwrap_or(rest);
                        line = Line::Start(0);
                    }
                }
            }
        }
        self.line = Some(line);
    }

    fn read_json(&mut self, bytes: &[u8]) {
        if let Some(found) = self.json.read(bytes)
            && self.found != Some(Found::Error)
        {
            self.found = Some(found);
        }
    }
}

/// Follows the structure of a JSON text, as far as the members of a message and of its result.
#[derive(Debug, Default)]
struct JsonScanner {
    /// Open objects and arrays.
    depth: usize,
    /// Of the first levels, whether each is an object.
    is_object: [bool; 4],
    in_string: bool,
    escaped: bool,
    /// Whether the next string is the name of a member.
    expects_name: bool,
    name: Vec<u8>,
    /// The present member of the message, and of its result.
    members: [Member; 2],
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Result,
    IsError,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    result: bool,
    error: bool,
    method: bool,
}

impl JsonScanner {
    /// Reads more; returns what was found in the messages that are complete now.
    fn read(&mut self, bytes: &[u8]) -> Option<Found> {
        let mut found = None;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            at += 1;
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                } else if byte == b'\\' {
                    self.escaped = true;
                } else if byte == b'"' {
                    self.in_string = false;
                } else if !self.expects_name || self.name.len() >= NAME_BYTES {
                    let rest = &bytes[at..];
                    at += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                } else {
                    self.name.push(byte);
                }
                continue;
            }
            if let Some(ended) = self.structure(byte)
                && found != Some(Found::Error)
            {
                found = Some(ended);
            }
        }
        found
    }

    fn structure(&mut self, byte: u8) -> Option<Found> {
        match byte {
            b'"' => {
                self.in_string = true;
                self.name.clear();
            }
            b'{' | b'[' => {
                if let Some(is_object) = self.is_object.get_mut(self.depth) {
                    *is_object = byte == b'{';
                }
                self.depth += 1;
                self.expects_name = byte == b'{';
            }
            b'}' | b']' => {
                self.expects_name = false;
                self.depth = self.depth.saturating_sub(1);
                if self.depth == self.message_depth() && byte == b'}' {
                    return self.message_ended();
                }
            }
            b':' => {
                self.expects_name = false;
                self.member_begins();
            }
            b',' => self.expects_name = self.in_object(),
            b't' if self.members == [Member::Result, Member::IsError]
                && self.depth == self.message_depth() + 2 =>
            {
                self.seen.error = true;
            }
            _ => {}
        }
        None
    }

    fn in_object(&self) -> bool {
        let at = self.depth.checked_sub(1);
        at.and_then(|at| self.is_object.get(at)) == Some(&true)
    }

    /// The depth around a message: 1 in a batch.
    fn message_depth(&self) -> usize {
        usize::from(!self.is_object[0])
    }

    fn member_begins(&mut self) {
        match self.depth.checked_sub(self.message_depth()) {
            Some(1) => {
                self.members = [Member::Other; 2];
                match &self.name[..] {
                    b"result" => {
                        self.members[0] = Member::Result;
                        self.seen.result = true;
                    }
                    b"error" => self.seen.error = true,
                    b"method" => self.seen.method = true,
                    _ => {}
                }
            }
            Some(2) => {
                let is_error = self.name == b"isError";
                self.members[1] = if is_error {
                    Member::IsError
                } else {
                    Member::Other
                };
            }
            _ => {}
        }
    }

    fn message_ended(&mut self) -> Option<Found> {
        let seen = std::mem::take(&mut self.seen);
        self.members = [Member::Other; 2];
        match seen {
            // A notification or a request of the server.
            Seen { method: true, .. } => None,
            Seen { error: true, .. } => Some(Found::Error),
            Seen { result: true, .. } => Some(Found::Result),
            Seen { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(body: &str, events: bool, chunk: usize) -> Option<Found> {
        let mut scanner = OutcomeScanner::new(events);
        body.as_bytes()
            .chunks(chunk)
            .for_each(|part| scanner.read(part));
        scanner.found()
    }

    #[test]
    fn results_and_errors_are_told_apart_wherever_the_body_is_split() {
        use Found::{Error, Result};
        for (json, found) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"isError":true,"text":"\"isError\":true"}]}}"#,
                Some(Result),
            ),
            (
                r#"{"id":1,"result":{"content":[],"isError":false}}"#,
                Some(Result),
            ),
            (
                r#"{"id":1,"result":{"content":[[{}],{"a":[1]}], "isError" : true },"x":1}"#,
                Some(Error),
            ),
            (
                r#"{"result":{"isError":true,"content":["true"]},"id":"result"}"#,
                Some(Error),
            ),
            (r#"{"result":{"isError":null,"other":true}}"#, Some(Result)),
            (
                r#"{"id":1,"error":{"code":-1,"message":"{[\\\""}}"#,
                Some(Error),
            ),
            (
                r#"{"method":"notifications/progress","params":{"result":1,"error":2}}"#,
                None,
            ),
            (
                r#"{"method":"sampling/createMessage","id":3,"result":1}"#,
                None,
            ),
            (
                r#"[{"id":1,"result":{}},{"id":2,"result":{"isError":true}}]"#,
                Some(Error),
            ),
            (
                r#"[{"id":1,"result":{}},{"id":2,"result":{"a":{"isError":true}}}]"#,
                Some(Result),
            ),
            (r#"{"x":{"result":{"isError":true}}}"#, None),
            (r#"{"id":1,"result":{"#, None),
            ("<html>", None),
            ("", None),
        ] {
            for chunk in 1..=json.len().max(1) {
                assert_eq!(scanned(json, false, chunk), found, "{json} {chunk}");
                let events = format!(
                    ": c\r\n\r\nid: 1\r\ndata: {{\"method\":\"x\"}}\r\n\r\nevent: message\ndata:{json}\n\n"
                );
                assert_eq!(scanned(&events, true, chunk), found, "{events} {chunk}");
            }
        }
        let lines = "data: {\"id\":1,\ndata: \"result\":{\"isError\"\ndata: :true}}\n\ndatax: {\"result\":1}\n\n";
        assert_eq!(scanned(lines, true, 3), Some(Error));
        // An event that is cut off does not run into the next.
        assert_eq!(
            scanned(
                "data: {\"result\":{\n\ndata: {\"id\":1,\"result\":{}}\n\n",
                true,
                5
            ),
            Some(Result)
        );
    }
}
