//! The rules, one by one, and generated streams that are split anywhere.

use std::{fmt::Write as _, iter, slice};

use super::{
    super::event_stream_samples::{Seen, field as read_field, interpret, lines, samples},
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
fn replaced<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Refused>) {
    replaced_within(HELD_BYTES_MAX, chunks)
}

fn replaced_within<'a>(
    held_bytes_max: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<Refused>) {
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

/// The same for a stream in one chunk and byte by byte, with an outcome that `{}` shows our URL in.
fn assert_replaced(stream: &str, url: &str, expected: &str, refused: Option<Refused>) {
    let expected = expected.replacen("{}", &ours(url).unwrap(), 1);
    for size in [stream.len(), 1] {
        let (out, why) = replaced(stream.as_bytes().chunks(size));
        assert_eq!(String::from_utf8_lossy(&out), expected, "{stream}");
        assert_eq!(why, refused, "{stream}");
    }
}

#[test]
fn only_the_data_of_an_endpoint_event_changes() {
    for stream in [
        "event: endpoint\ndata: {}\n\n",
        "event: endpoint\r\ndata: {}\r\n\r\n",
        "data: {}\revent: endpoint\r\r",
        "\u{FEFF}: hello\nid: 1\nevent: endpoint\n: between\ndata: {}\nretry: 9\n\n",
        "\u{FEFF}event: endpoint\ndata: {}\n\ndata: x\n\n",
        "event:\t endpoint \ndata: {}\n\n",
        "event: endpoint\nevent: endpoint\ndata: {}\n\n",
        "data: 1\n\nevent: message\ndata: 2\n\nevent: endpoint\ndata: {}\n\ndata: 3\n\n",
    ] {
        assert_replaced(&stream.replace("{}", "/m"), "/m", stream, None);
    }
    let without_space = "event:endpoint\r\ndata:/m\r\n\r\n";
    assert_replaced(
        without_space,
        "/m",
        "event:endpoint\r\ndata: {}\r\n\r\n",
        None,
    );
    let empty = "event: endpoint\ndata\n\n";
    assert_replaced(empty, "", "event: endpoint\ndata: {}\n\n", None);
    let (two, expected) = (
        "event: endpoint\ndata: /1\n\n".repeat(2),
        ours("/1").unwrap(),
    );
    let (out, _) = replaced([two.as_bytes()]);
    assert_eq!(
        String::from_utf8(out).unwrap().matches(&expected).count(),
        2
    );
}

#[test]
fn what_only_resembles_an_endpoint_passes() {
    for stream in [
        "event: endpoints\ndata: /m\n\n",
        "event: endpoin\ndata: /m\n\n",
        "event: end point\ndata: /m\n\n",
        "Event: endpoint\ndata: /m\n\n",
        "\u{FEFF}\u{FEFF}event: endpoint\ndata: /m\n\n",
        "data: event: endpoint\ndata: /m\n\n",
        ": event: endpoint\ndata: /m\n\n",
        "event: endpoint\n\ndata: /m\n\n",
        "event: endpoint\ndata: /m\nevent: message\n\n",
        "event: endpoint\ndata: /m\nevent\n\n",
    ] {
        assert_replaced(stream, "", stream, None);
    }
    let half_a_mark = b"\xEF\xBBevent: endpoint\ndata: /m\n\n";
    for size in [half_a_mark.len(), 1] {
        assert_eq!(replaced(half_a_mark.chunks(size)).0, half_a_mark);
    }
}

#[test]
fn an_endpoint_that_could_lead_elsewhere_is_refused_and_what_came_before_it_passes() {
    for (before, endpoint, refused) in [
        (
            "",
            "event: endpoint\ndata: https://evil.example/\n\n",
            WRONG_URL,
        ),
        ("", "event: endpoint\ndata: /m\ndata: /n\n\n", SEVERAL_URLS),
        (
            "event: message\ndata: /m\n",
            "event: endpoint\n\n",
            TOO_LATE,
        ),
        ("event: x\n", "event: endpoint\ndata: /m\n\n", TOO_LATE),
        (
            "event: x\r\n",
            "event: endpoint\r\ndata: /m\r\n\r\n",
            TOO_LATE,
        ),
        (
            "data: 1\n\nevent: message\ndata: 2\n\n: comment\n",
            "event: endpoint\ndata: //evil\n\ndata: 3\n\n",
            WRONG_URL,
        ),
    ] {
        assert_replaced(&format!("{before}{endpoint}"), "", before, Some(refused));
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
    for (before, rest) in [
        ("", "event: endpoint\ndata: /m\n"),
        ("", "event: endpoint\ndata: /m"),
        ("", "data: /m\nevent: endpoint"),
        ("event: message\ndata: /m\n", "event: endpoint"),
        ("data: 1\n\n", "event: endpoint"),
        ("data: {\"a\":1}\n", ""),
        ("data: {\"a\":1}", ""),
        ("event: message\ndata: {", ""),
        ("\u{FEFF}", ""),
    ] {
        assert_replaced(&format!("{before}{rest}"), "", before, None);
    }
}

#[test]
fn no_line_waits_longer_than_it_must() {
    for (passed, waiting) in [
        ("", "\u{FEFF}"),
        ("\u{FEFF}: comment\n", ": com"),
        ("id: 7\nretry: 1\n", "foo"),
        ("event: message\n", "data: {\"jsonrpc"),
        ("event: message\ndata: 1\n", "even"),
        ("data: 1\n\n", ""),
        ("data: 1\r\n\r", ""),
        ("id: 7\n", "data: 1\n: comment\n"),
        ("", "event: end"),
    ] {
        let stream = format!("{passed}{waiting}");
        for size in [stream.len(), 1] {
            let (mut replacer, mut out) = (EndpointReplacer::new(ours, HELD_BYTES_MAX), Vec::new());
            for chunk in stream.as_bytes().chunks(size) {
                let fed = replacer.feed(Bytes::copy_from_slice(chunk), &mut out);
                assert_eq!(fed, Ok(()));
            }
            assert_eq!(out.concat(), passed.as_bytes(), "{stream}");
        }
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
    // Padding is no data.
    let padded = format!(": {}\n", part.repeat(20));
    let endpoint = "event: endpoint\ndata: {}\n\n";
    let stream = format!("{padded}{endpoint}").replace("{}", "/m");
    assert_replaced(&stream, "/m", &format!("{padded}{endpoint}"), None);
}

#[test]
fn an_endless_endpoint_event_is_refused() {
    let (long, spaces) = ("x".repeat(HELD_BYTES_MAX), " ".repeat(HELD_BYTES_MAX));
    for (passed, rest) in [
        ("", format!("event: endpoint\ndata: /{long}")),
        ("", format!("event: endpoint\n: {long}")),
        ("", format!("data: /m\nevent: endpoint\nid: {long}")),
        ("event: message\ndata: 1\n", format!("event:{spaces}")),
        (
            "event: message\ndata: 1\n",
            format!("event: endpoint{spaces}"),
        ),
    ] {
        assert_replaced(&format!("{passed}{rest}"), "", passed, Some(TOO_LONG));
    }
}

#[tokio::test]
async fn the_stream_ends_for_good_after_an_error_of_its_own_or_of_the_upstream() {
    let chunk = |text: &'static str| Ok::<_, io::Error>(Bytes::from(text));
    let broken = || Err(io::Error::other("upstream"));
    for (chunks, out, kind) in [
        (
            vec![chunk("data: 1\n\nevent: endpoint\ndata: //evil\n\n")],
            "data: 1\n\n",
            io::ErrorKind::InvalidData,
        ),
        (
            vec![chunk("data: 1\n"), broken()],
            "data: 1\n",
            io::ErrorKind::Other,
        ),
        (vec![chunk(""), broken()], "", io::ErrorKind::Other),
    ] {
        let upstream = stream::iter(chunks.into_iter().chain([chunk("data: never\n\n")]));
        let mut replaced = std::pin::pin!(replace_endpoints(upstream, ours));
        if !out.is_empty() {
            assert_eq!(replaced.next().await.unwrap().unwrap(), out);
        }
        assert_eq!(replaced.next().await.unwrap().unwrap_err().kind(), kind);
        assert!(replaced.next().await.is_none() && replaced.next().await.is_none());
    }
}

#[tokio::test]
async fn the_stream_replaces_what_comes_in_several_chunks() {
    let chunks = [
        "event: end",
        "point\r",
        "\ndata: ",
        "/m\r\n\r",
        "\ndata: 1\n\n",
    ];
    let upstream = stream::iter(chunks).map(|text| Ok(Bytes::from(text)));
    let out: Vec<_> = replace_endpoints(upstream, ours)
        .map(Result::unwrap)
        .collect()
        .await;
    let m = ours("/m").unwrap();
    assert_eq!(
        out.concat(),
        format!("event: endpoint\r\ndata: {m}\r\n\r\ndata: 1\n\n").as_bytes()
    );
}

/// What the rules require, read from a whole stream: the events that clients see, and whether an error ends them.
fn expected(stream: &[u8]) -> (Seen, bool) {
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
