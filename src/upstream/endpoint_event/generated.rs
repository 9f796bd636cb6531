//! Generated streams at every split, compared with a plain reading of the whole.

use super::{
    super::event_corpus::{Event, Seen, corpus, field, interpret, lines},
    tests::{fed, ours},
};

/// What the rules ask for, read off the whole stream at once: the events seen, and whether an error ends them.
fn expected(stream: &[u8]) -> (Seen, bool) {
    let (mut other_type, mut endpoint, mut data) = (false, false, Vec::<String>::new());
    let mut events = 0;
    let mut refused = None;
    let mut seen = interpret(stream);
    for line in lines(stream) {
        if line.is_empty() {
            let unacceptable = data.len() > 1 || data.iter().any(|url| ours(url).is_none());
            if endpoint && unacceptable {
                refused = Some(events);
                break;
            }
            events += usize::from(!data.is_empty());
            (other_type, endpoint) = (false, false);
            data.clear();
            continue;
        }
        match field(&line) {
            _ if names_endpoint(&line) => {
                if other_type {
                    refused = Some(events);
                    break;
                }
                endpoint = true;
            }
            ("event", _) => (other_type, endpoint) = (true, false),
            ("data", value) => data.push(value.to_owned()),
            _ => {}
        }
    }
    if let Some(events) = refused {
        seen.events.truncate(events);
    }
    for event in seen.events.iter_mut().filter(|event| is_endpoint(event)) {
        event.data = ours(&event.data).unwrap();
    }
    (seen, refused.is_some())
}

/// As a client may see it which trims.
fn is_endpoint(event: &Event) -> bool {
    event.kind.trim_matches([' ', '\t']) == "endpoint"
}

fn names_endpoint(line: &str) -> bool {
    let (name, value) = field(line);
    name == "event" && value.trim_matches([' ', '\t']) == "endpoint"
}

#[test]
fn clients_see_the_same_events_with_our_endpoints_wherever_chunks_are_split() {
    let (mut endpoints, mut refusals, mut untouched) = (0, 0, 0);
    for stream in corpus(1500) {
        let (seen, is_refused) = expected(&stream);
        let whole = fed([&stream[..]]);
        let bytes = whole.0.concat();
        assert_eq!(whole.1.is_some(), is_refused, "{stream:?}");
        let got = interpret(&bytes);
        assert_eq!(got.events, seen.events, "{stream:?}");
        // An unfinished endpoint event is dropped with its `retry`, which would act at once.
        if !is_refused && lines(&stream).last().is_none_or(String::is_empty) {
            assert_eq!(got.retry, seen.retry, "{stream:?}");
        }

        // Not even a client that takes an unfinished event for a whole one sees an endpoint of the upstream.
        for end in ["\n\n", "\r\n\r\n", "\r\r"] {
            let finished = [&bytes, end.as_bytes()].concat();
            let mut events = interpret(&finished).events.into_iter();
            assert!(
                events.all(|event| !is_endpoint(&event) || event.data.starts_with("/ours?")),
                "{stream:?}"
            );
        }

        let named = seen
            .events
            .iter()
            .filter(|event| is_endpoint(event))
            .count();
        let closed = [&stream[..], b"\n"].concat();
        if !lines(&closed).iter().any(|line| names_endpoint(line)) {
            assert_eq!(bytes, stream);
            untouched += 1;
        }
        endpoints += named;
        refusals += usize::from(is_refused);

        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            let (pieces, refused) = fed([head, tail]);
            assert_eq!(
                (pieces.concat(), refused),
                (bytes.clone(), whole.1),
                "{stream:?} at {at}"
            );
        }
        let (pieces, refused) = fed(stream.chunks(1));
        assert_eq!(
            (pieces.concat(), refused),
            (bytes, whole.1),
            "{stream:?} by bytes"
        );
    }
    assert!(
        endpoints > 300 && refusals > 100 && untouched > 100,
        "the corpus has become dull: {endpoints} {refusals} {untouched}"
    );
}
