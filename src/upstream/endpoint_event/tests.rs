//! The rules, one by one, and generated streams that are split anywhere.

use std::{fmt::Write as _, iter, slice};

use super::{
    super::event_stream_samples::{Interpretation, field as read_field, interpret, lines, samples},
    *,
};

/// The tests' own URLs: each shows what it was made from.
fn ours(url: &str) -> Option<String> {
    let mut ours = "/ours?".to_owned();
    for byte in url.bytes() {
        write!(ours, "{byte:02x}").unwrap();
    }
    (!url.contains("evil")).then_some(ours)
}

/// What becomes of a stream: all that is passed on, and why it is ended early.
fn replaced<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Reason>) {
    replaced_within(HELD_BYTES_MAX, chunks)
}

fn replaced_within<'a>(
    held_bytes_max: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<Reason>) {
    let mut replacer = EndpointReplacer::new(ours, held_bytes_max);
    let mut out = Vec::new();
    for chunk in chunks {
        if let Err(refused) = replacer.feed(Bytes::copy_from_slice(chunk), &mut out) {
            return (out.concat(), Some(refused));
        }
    }
    out.extend(replacer.finish());
    (out.concat(), None)
}

/// Checks streams with each line end, in one chunk and byte by byte. In `marked`, `|` is a line end, a URL in braces is
/// replaced with ours, and what follows `[` is not passed on.
fn check(marked: &str, finish: bool, refused: Option<Reason>) {
    for end in ["\n", "\r\n", "\r"] {
        let marked = marked.replace('|', end);
        let (passed, rest) = marked.split_once('[').unwrap_or((&marked, ""));
        let stream = passed.replace(['{', '}'], "") + rest;
        let parts = passed.split(['{', '}']).enumerate();
        let expected: String = parts
            .map(|(at, part)| {
                if at % 2 == 0 {
                    part.to_owned()
                } else {
                    ours(part).unwrap()
                }
            })
            .collect();
        for size in [stream.len(), 1] {
            let (mut replacer, mut out) = (EndpointReplacer::new(ours, HELD_BYTES_MAX), Vec::new());
            let mut chunks = stream.as_bytes().chunks(size).map(Bytes::copy_from_slice);
            let result = chunks.try_for_each(|chunk| replacer.feed(chunk, &mut out));
            assert_eq!(result.err(), refused, "{stream:?}");
            if finish && refused.is_none() {
                out.extend(replacer.finish());
            }
            assert_eq!(
                String::from_utf8_lossy(&out.concat()),
                expected,
                "{stream:?}"
            );
        }
    }
}

#[test]
fn only_the_data_of_an_endpoint_event_changes() {
    for marked in [
        "event: endpoint|data: {/m}||",
        "event: endpoint|data: {}||",
        "data: {/m}|event:endpoint||",
        "\u{FEFF}: hello|id: 1|event: endpoint|: between|data: {/m}|retry: 9||",
        "\u{FEFF}event: endpoint|data: {/m}||data: x||",
        "event:\t endpoint |data: {/m}||",
        "event: endpoint|event: endpoint|data: {/m}||",
        "data: 1||event: x|data: 2||event: endpoint|data: {/3}||data: 4||",
        "event: endpoint|data: {/1}||event: endpoint|data: {/2}||",
    ] {
        check(marked, true, None);
    }
    for stream in [
        "event: endpoint\ndata:/m\n\n",
        "event: endpoint\ndata:  /m\n\n",
    ] {
        let url = stream.split_once("data:").unwrap().1.trim_end();
        let expected = ours(url.strip_prefix(' ').unwrap_or(url)).unwrap();
        let (out, _) = replaced([stream.as_bytes()]);
        assert!(
            String::from_utf8(out)
                .unwrap()
                .ends_with(&format!("\ndata: {expected}\n\n"))
        );
    }
}

#[test]
fn what_only_resembles_an_endpoint_event_passes() {
    for marked in [
        "event: endpoints|data: /m||",
        "event: endpoin|data: /m||",
        "event: end point|data: /m||",
        "Event: endpoint|data: /m||",
        "\u{FEFF}\u{FEFF}event: endpoint|data: /m||",
        "data: event: endpoint|data: /m||",
        ": event: endpoint|data: /m||",
        "event: endpoint||data: /m||",
        "event: endpoint|data: /m|event: message||",
        "event: endpoint|data: /m|event||",
    ] {
        check(marked, true, None);
    }
    let half_a_mark = b"\xEF\xBBevent: endpoint\ndata: /m\n\n";
    for size in [half_a_mark.len(), 1] {
        assert_eq!(replaced(half_a_mark.chunks(size)).0, half_a_mark);
    }
}

#[test]
fn an_endpoint_event_that_could_lead_elsewhere_is_refused() {
    let (long, spaces) = ("x".repeat(HELD_BYTES_MAX), " ".repeat(HELD_BYTES_MAX));
    for (marked, refused) in [
        ("[event: endpoint|data: https://evil.example/||", WRONG_URL),
        (
            "data: 1||: x|[event: endpoint|data: //evil||data: 2||",
            WRONG_URL,
        ),
        ("[event: endpoint|data: /m|data: /n||", SEVERAL_URLS),
        ("event: message|data: /m|[event: endpoint||", TOO_LATE),
        ("event: x|[event: endpoint|data: /m||", TOO_LATE),
        (&format!("[event: endpoint|data: /{long}"), TOO_LONG),
        (&format!("[event: endpoint|: {long}"), TOO_LONG),
        (&format!("[data: /m|event: endpoint|id: {long}"), TOO_LONG),
        (&format!("event: message|data: 1|[event:{spaces}"), TOO_LONG),
        (&format!("event: x|[event: endpoint{spaces}"), TOO_LONG),
    ] {
        check(marked, true, Some(refused));
        assert!(!refused.contains("evil"));
    }
    let invalid: &[u8] = b"event: endpoint\ndata: /\xFF\n\n";
    assert_eq!(replaced([invalid]), (vec![], Some(WRONG_URL)));
    let mut two_lines = EndpointReplacer::new(|_: &str| Some("/ours\ndata: x".to_owned()), 99);
    let event = Bytes::from_static(b"event: endpoint\ndata: /m\n\n");
    assert_eq!(two_lines.feed(event, &mut Vec::new()), Err(WRONG_URL));
}

#[test]
fn an_unfinished_endpoint_event_is_dropped_and_any_other_passes() {
    for marked in [
        "[event: endpoint|data: /m|",
        "[event: endpoint|data: /m",
        "[data: /m|event: endpoint",
        "event: message|data: /m|[event: endpoint",
        "data: 1||[event: endpoint",
        "data: 1|",
        "data: 1",
        "event: message|data: 1",
        "\u{FEFF}",
    ] {
        check(marked, true, None);
    }
}

#[test]
fn no_line_waits_longer_than_it_must() {
    for marked in [
        "[\u{FEFF}",
        "\u{FEFF}: comment|[: com",
        "id: 7|retry: 1|[foo",
        "event: message|[data: 1",
        "event: message|data: 1|[even",
        "data: 1||[",
        "id: 7|[data: 1|: comment|",
        "[event: end",
    ] {
        check(marked, false, None);
    }
}

#[test]
fn a_chunk_without_an_endpoint_is_not_copied() {
    let chunk = Bytes::from("data: 1\n\nevent: message\ndata: 2\n\n: x\n\ndata: 3\n\n");
    let mut out = Vec::new();
    EndpointReplacer::new(ours, HELD_BYTES_MAX)
        .feed(chunk.clone(), &mut out)
        .unwrap();
    assert_eq!(out, slice::from_ref(&chunk));
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());
}

#[test]
fn a_long_event_passes_and_can_no_longer_become_an_endpoint() {
    let part = "x".repeat(1000);
    for begun in [
        "data: ",
        "data: 1\ndata: ",
        "event: message\ndata: ",
        "event: x",
    ] {
        let (mut replacer, mut out) = (EndpointReplacer::new(ours, HELD_BYTES_MAX), Vec::new());
        let (mut fed, mut passed) = (0, 0);
        for chunk in iter::once(begun).chain(iter::repeat_n(&*part, 200)) {
            replacer
                .feed(Bytes::copy_from_slice(chunk.as_bytes()), &mut out)
                .unwrap();
            fed += chunk.len();
            passed += out.drain(..).map(|piece| piece.len()).sum::<usize>();
            assert!(fed - passed <= HELD_BYTES_MAX);
        }
        assert_eq!(fed, passed);
        for chunk in ["\nevent: endp", "oint"] {
            replacer.feed(Bytes::from(chunk), &mut out).unwrap();
        }
        assert_eq!(out.concat(), b"\n");
        assert_eq!(replacer.feed(Bytes::from("\n\n"), &mut out), Err(TOO_LATE));
    }
    let padding = ": padding".repeat(HELD_BYTES_MAX);
    check(
        &format!("{padding}|event: endpoint|data: {{/m}}||"),
        true,
        None,
    );
}

#[tokio::test]
async fn the_stream_ends_with_an_error_of_its_own_or_of_the_upstream() {
    let chunk = |text: &'static str| Ok::<_, io::Error>(Bytes::from(text));
    for (chunks, expected, kind) in [
        (vec![chunk("data: 1")], "data: 1", None),
        (
            vec![chunk("data: 1\n\nevent: endpoint\ndata: //evil\n\n")],
            "data: 1\n\n",
            Some(io::ErrorKind::InvalidData),
        ),
        (
            vec![chunk("data: "), chunk("1\n"), Err(io::Error::other(""))],
            "data: 1\n",
            Some(io::ErrorKind::Other),
        ),
    ] {
        let more = kind.map(|_| chunk("data: never\n\n"));
        let upstream = stream::iter(chunks.into_iter().chain(more));
        let out: Vec<_> = replace_endpoints(upstream, ours).collect().await;
        let errors: Vec<_> = out
            .iter()
            .filter_map(|item| Some(item.as_ref().err()?.kind()))
            .collect();
        assert_eq!(errors, Vec::from_iter(kind));
        assert!(
            kind.is_none() || out.last().unwrap().is_err(),
            "the error is the last item"
        );
        let bytes: Vec<_> = out.into_iter().filter_map(Result::ok).collect();
        assert_eq!(bytes.concat(), expected.as_bytes());
    }
}

/// What the rules require, read from a whole stream: the events that clients see, and whether an error ends them.
fn expected(stream: &[u8]) -> (Interpretation, bool) {
    let (mut seen, lines) = (interpret(stream), lines(stream));
    let events: Vec<_> = lines.split(String::is_empty).collect();
    let (mut count, mut is_refused) = (0, false);
    for (at, event) in events.iter().enumerate() {
        let values = |name| {
            let fields = event.iter().map(|line| read_field(line));
            fields
                .filter(move |field| field.0 == name)
                .map(|field| field.1)
        };
        let types: Vec<_> = values("event").map(is_endpoint).collect();
        let urls: Vec<_> = values("data").map(ours).collect();
        let finished = at + 1 < events.len();
        let wrong = urls.len() > 1 || urls.contains(&None);
        if types.contains(&true) && types.windows(2).any(|pair| pair == [false, true])
            || finished && types.last() == Some(&true) && wrong
        {
            is_refused = true;
            seen.events.truncate(count);
            break;
        }
        count += usize::from(finished && !urls.is_empty());
    }
    for event in seen
        .events
        .iter_mut()
        .filter(|event| is_endpoint(&event.kind))
    {
        event.data = ours(&event.data).unwrap();
    }
    (seen, is_refused)
}

/// As a client sees it that trims.
fn is_endpoint(kind: &str) -> bool {
    kind.trim_matches([' ', '\t']) == "endpoint"
}

/// Not even a client that takes an unfinished event for a whole one sees an endpoint of the upstream.
fn assert_endpoints_are_ours(stream: &[u8]) {
    for end in ["\n\n", "\r\n\r\n", "\r\r"] {
        for event in interpret(&[stream, end.as_bytes()].concat()).events {
            let is_ours = !is_endpoint(&event.kind) || event.data.starts_with("/ours?");
            assert!(is_ours, "{:?}", String::from_utf8_lossy(stream));
        }
    }
}

#[test]
fn no_endpoint_of_the_upstream_is_seen_however_little_is_held() {
    for (stream, held_bytes_max) in samples(3000).zip((6..36).cycle()) {
        let (seen, _) = expected(&stream);
        for size in [1, 2, 3, 7, 19] {
            let (out, refused) = replaced_within(held_bytes_max, stream.chunks(size));
            assert_endpoints_are_ours(&out);
            let events = interpret(&out).events;
            assert!(seen.events.starts_with(&events), "{stream:?} in {size}");
            assert!(
                refused.is_some() || events == seen.events,
                "{stream:?} in {size}"
            );
        }
    }
}

#[test]
fn clients_see_the_same_events_with_our_endpoints_wherever_chunks_are_split() {
    let (mut endpoints, mut refusals, mut unchanged) = (0, 0, 0);
    for stream in samples(1500) {
        let (seen, is_refused) = expected(&stream);
        let whole = replaced([&stream[..]]);
        let out = interpret(&whole.0);
        assert_eq!(whole.1.is_some(), is_refused, "{stream:?}");
        assert_eq!(out.events, seen.events, "{stream:?}");
        // An unfinished endpoint event is dropped with its `retry`, which would act at once.
        if !is_refused && lines(&stream).last().is_none_or(String::is_empty) {
            assert_eq!(out.retry, seen.retry, "{stream:?}");
        }
        assert_endpoints_are_ours(&whole.0);
        let closed = [&stream[..], b"\n"].concat();
        if !lines(&closed)
            .iter()
            .any(|line| names_endpoint(line.as_bytes()))
        {
            assert_eq!(whole.0, stream);
            unchanged += 1;
        }
        endpoints += seen
            .events
            .iter()
            .filter(|event| is_endpoint(&event.kind))
            .count();
        refusals += usize::from(is_refused);
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(replaced([head, tail]), whole, "{stream:?} at {at}");
        }
        assert_eq!(replaced(stream.chunks(1)), whole, "{stream:?} by bytes");
    }
    assert!(
        endpoints > 300 && refusals > 100 && unchanged > 100,
        "the samples do not cover enough: {endpoints} {refusals} {unchanged}"
    );
}
