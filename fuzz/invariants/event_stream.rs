//! Event streams of the upstream, on their way to the client.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use lambda_oauth_mcp_proxy::{
    credential::{Randomness, SealingKey},
    upstream::{endpoint_event, endpoint_target, event_filter, keep_alive},
};
use url::Url;

/// An event of an event stream, as a client sees it: type, data, last event id.
type ClientEvent = (String, String, String);

/// Reads an event stream as the standard says (WHATWG HTML §9.2.6).
fn interpret(stream: &[u8]) -> Vec<ClientEvent> {
    let mut events = Vec::new();
    let mut id = String::new();
    for event in events_of(stream).filter(|event| event.complete) {
        let (mut kind, mut data) = (String::new(), String::new());
        for line in &event.lines {
            let (field, value) = field(line);
            match &*field {
                "event" => kind = value,
                "data" => data += &(value + "\n"),
                "id" if !value.contains('\0') => id = value,
                _ => {}
            }
        }
        if data.pop().is_some() {
            events.push((kind, data, id.clone()));
        }
    }
    events
}

/// Name and value of a line.
fn field(line: &[u8]) -> (String, String) {
    let line = String::from_utf8_lossy(line);
    let (field, value) = line.split_once(':').unwrap_or((&line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    (field.to_owned(), value.to_owned())
}

/// The bytes of an event.
struct RawEvent<'s> {
    bytes: &'s [u8],
    /// Its lines, without their ends.
    lines: Vec<&'s [u8]>,
    /// Whether a blank line ends it.
    complete: bool,
}

impl RawEvent<'_> {
    /// Whether its type is `endpoint`, for a client that trims it.
    fn is_endpoint(&self) -> bool {
        let mut fields = self.lines.iter().rev().map(|line| field(line));
        let kind = fields.find(|(field, _)| field == "event");
        kind.is_some_and(|(_, kind)| kind.trim_ascii() == "endpoint")
    }

    /// Its lines without data. Lines of white space mean nothing.
    fn other_lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.iter().copied();
        lines.filter(|line| field(line).0 != "data" && !line.trim_ascii().is_empty())
    }

    fn data(&self) -> Option<String> {
        let values = self.lines.iter().map(|line| field(line));
        let values: Vec<_> = values
            .filter(|(field, _)| field == "data")
            .map(|(_, value)| value)
            .collect();
        (!values.is_empty()).then(|| values.join("\n"))
    }
}

/// The events of a stream, the last of which may be incomplete.
fn events_of(stream: &[u8]) -> impl Iterator<Item = RawEvent<'_>> {
    let mut rest = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    std::iter::from_fn(move || {
        let start = rest;
        let (mut lines, mut complete) = (Vec::new(), false);
        while !rest.is_empty() && !complete {
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after
                .strip_prefix(b"\r\n")
                .or(after.get(1..))
                .unwrap_or_default();
            complete = line.is_empty() && end.is_some();
            if !complete {
                lines.push(line);
            }
        }
        let bytes = &start[..start.len() - rest.len()];
        (!bytes.is_empty()).then_some(RawEvent {
            bytes,
            lines,
            complete,
        })
    })
}

/// Cuts the input into chunks. Its first bytes say where.
fn chunks(input: &[u8]) -> (Vec<Bytes>, &[u8]) {
    let (cuts, stream) = input.split_at(input.len().min(4));
    let mut chunks = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (chunk, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        chunks.push(Bytes::copy_from_slice(chunk));
        rest = after;
    }
    chunks.push(Bytes::copy_from_slice(rest));
    (chunks, stream)
}

fn collected(stream: impl Stream<Item = io::Result<Bytes>>) -> (Vec<u8>, bool) {
    let all: Vec<_> = stream.collect().now_or_never().unwrap();
    let whole = all.iter().all(Result::is_ok);
    (all.into_iter().flatten().flatten().collect(), whole)
}

/// Events whose data is replaced: those and no others, however the stream is cut into chunks.
pub fn event_filter(input: &[u8]) {
    const NEW: &str = "replaced";
    let (chunks, sent) = chunks(input);
    let replace = |data: &str| Ok(data.contains('x').then(|| NEW.to_owned()));
    let whole = stream::iter([Ok(Bytes::copy_from_slice(sent))]);
    let cut = stream::iter(chunks.into_iter().map(Ok));
    let (passed, complete) = collected(event_filter::replace_data(cut, replace));
    let (passed_whole, complete_whole) = collected(event_filter::replace_data(whole, replace));
    assert_eq!((&passed, complete), (&passed_whole, complete_whole));
    // Also in an event that the end of the stream cuts off, which some clients read.
    assert!(!events_of(&passed).any(|event| event.data().is_some_and(|data| data.contains('x'))));
    if !complete {
        return;
    }
    let mut events = events_of(&passed);
    for sent in events_of(sent) {
        let event = events.next();
        if sent.data().is_none_or(|data| !data.contains('x')) {
            assert_eq!(event.unwrap().bytes, sent.bytes);
            continue;
        }
        // An event that the end of the stream cuts off is completed.
        let event = event.unwrap();
        assert_eq!(event.data().as_deref(), Some(NEW));
        assert!(event.complete && event.other_lines().eq(sent.other_lines()));
    }
    assert!(events.next().is_none());
}

/// Comments in an idle stream change nothing of what a client sees.
pub fn keep_alive(input: &[u8]) {
    const INTERVAL: Duration = Duration::from_secs(8);
    thread_local! {
        // A new one costs more than everything else.
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
    }
    let (chunks, sent) = chunks(input);
    let passed: Vec<u8> = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let slow = stream::iter(chunks).then(|chunk| async move {
                tokio::time::sleep(INTERVAL * 2).await;
                Ok::<_, io::Error>(chunk)
            });
            let limits = keep_alive::Limits::default();
            let alive = keep_alive::KeepAlive::new(slow, INTERVAL, limits);
            let all: Vec<_> = alive.map(Result::unwrap).collect().await;
            all.concat()
        })
    });
    assert_eq!(interpret(&passed), interpret(sent));
    // Without the comments it is what was sent, byte for byte, if that is more than part of a byte order mark.
    if b"\xef\xbb\xbf".starts_with(sent) {
        return;
    }
    assert_eq!(without_comments(&passed), without_comments(sent));
}

const COMMENT: &[u8] = b": keep-alive\n";

/// The stream without byte order mark and without every comment as the program writes it.
fn without_comments(stream: &[u8]) -> Vec<u8> {
    let mut left = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(COMMENT) {
            rest = after;
        } else if let Some(after) = rest
            .strip_prefix(b"\xef\xbb\xbf")
            .filter(|_| left.is_empty())
        {
            rest = after;
        } else {
            left.push(rest[0]);
            rest = &rest[1..];
        }
    }
    left
}

/// The endpoint event of HTTP+SSE: every URL is replaced, nothing else changes, however the stream is cut into chunks.
pub fn endpoint_event(input: &[u8]) {
    const OURS: &str = "/mcp/message/replaced";
    thread_local! {
        static KEY: SealingKey = SealingKey::generate(&fixed_bytes());
    }
    let (chunks, sent) = chunks(input);
    let base = Url::parse("https://up.example/a/sse?k=v").unwrap();
    let replace = |data: &str| {
        let target = endpoint_target::resolve_endpoint(&base, data)?;
        assert_eq!(target.origin(), base.origin());
        KEY.with(|key| {
            let token = endpoint_target::seal_target(key, &fixed_bytes(), &target);
            let opened = endpoint_target::open_target(key, &token, &base);
            assert_eq!(opened, Some(target));
        });
        Some(OURS.to_owned())
    };
    let whole = stream::iter([Ok(Bytes::copy_from_slice(sent))]);
    let cut = stream::iter(chunks.into_iter().map(Ok));
    let (passed, complete) = collected(endpoint_event::replace_endpoints(cut, replace));
    let (passed_whole, complete_whole) =
        collected(endpoint_event::replace_endpoints(whole, replace));
    if sent.len() < 4096 {
        assert_eq!((&passed, complete), (&passed_whole, complete_whole));
    }
    // Also in an event that is cut off, which some clients read.
    for event in events_of(&passed).filter(RawEvent::is_endpoint) {
        assert!(
            event.data().is_none_or(|data| data == OURS),
            "{:?}",
            event.bytes
        );
    }
    if !complete {
        return;
    }
    let mut events = events_of(&passed);
    for sent in events_of(sent) {
        let event = events.next();
        if !sent.complete {
            // What could become an endpoint event is dropped.
            assert!(event.is_none_or(|event| sent.bytes.starts_with(event.bytes)));
        } else if sent.is_endpoint() && sent.data().is_some() {
            let event = event.unwrap();
            assert!(event.complete && event.data().as_deref() == Some(OURS));
            assert!(event.other_lines().eq(sent.other_lines()));
        } else {
            assert_eq!(event.unwrap().bytes, sent.bytes);
        }
    }
    assert!(events.next().is_none());
}

fn fixed_bytes() -> Randomness {
    Randomness::from_fn(|bytes| bytes.fill(7))
}
