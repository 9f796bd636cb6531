//! The rules of rewriting, one by one.

use std::{convert::Infallible, fmt::Write as _};

use futures_util::{StreamExt as _, stream};

use super::*;

/// The tests' own URLs: recognisable, and telling what they were made from.
pub(super) fn ours(url: &str) -> Option<String> {
    let mut ours = "/ours?".to_owned();
    for byte in url.bytes() {
        write!(ours, "{byte:02x}").unwrap();
    }
    (!url.contains("evil")).then_some(ours)
}

/// What came out of a stream: its pieces and the error that ended it.
pub(super) fn fed<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Bytes>, Option<EndpointRefused>) {
    let mut rewriter = EndpointRewriter::new(ours);
    let mut out = VecDeque::new();
    for chunk in chunks {
        if let Err(refused) = rewriter.feed(&Bytes::copy_from_slice(chunk), &mut out) {
            return (out.into(), Some(refused));
        }
    }
    out.extend(rewriter.finish());
    (out.into(), None)
}

fn text(pieces: &[Bytes]) -> String {
    String::from_utf8(pieces.concat()).unwrap()
}

fn rewritten(stream: &str) -> String {
    let (pieces, refused) = fed([stream.as_bytes()]);
    assert_eq!(refused, None, "{stream}");
    text(&pieces)
}

fn refused(stream: &str) -> Option<&'static str> {
    fed([stream.as_bytes()]).1.map(|refused| refused.0)
}

#[test]
fn only_the_data_of_an_endpoint_event_changes() {
    let m = ours("/m").unwrap();
    for (stream, result) in [
        (
            "event: endpoint\ndata: /m\n\n",
            "event: endpoint\ndata: {}\n\n",
        ),
        (
            "event:endpoint\r\ndata:/m\r\n\r\n",
            "event:endpoint\r\ndata: {}\r\n\r\n",
        ),
        (
            "data: /m\revent: endpoint\r\r",
            "data: {}\revent: endpoint\r\r",
        ),
        (
            "\u{FEFF}: hello\nid: 1\nevent: endpoint\n: between\ndata: /m\nretry: 9\n\n",
            "\u{FEFF}: hello\nid: 1\nevent: endpoint\n: between\ndata: {}\nretry: 9\n\n",
        ),
        (
            "\u{FEFF}event: endpoint\ndata: /m\n\ndata: {}\n\n",
            "\u{FEFF}event: endpoint\ndata: {}\n\ndata: {}\n\n",
        ),
        (
            "event:\t endpoint \ndata: /m\n\n",
            "event:\t endpoint \ndata: {}\n\n",
        ),
    ] {
        assert_eq!(rewritten(stream), result.replacen("{}", &m, 1), "{stream}");
    }
    let empty = ours("").unwrap();
    assert_eq!(
        rewritten("event: endpoint\ndata\n\n"),
        format!("event: endpoint\ndata: {empty}\n\n")
    );
}

#[test]
fn every_endpoint_event_is_rewritten() {
    let stream = "event: endpoint\ndata: /1\n\ndata: x\n\nevent: endpoint\ndata: /2\n\n";
    let result = rewritten(stream);
    assert!(result.contains(&ours("/1").unwrap()) && result.contains(&ours("/2").unwrap()));
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
        assert_eq!(rewritten(stream), stream);
    }
}

#[test]
fn half_a_mark_is_none() {
    let stream: &[u8] = b"\xEF\xBBevent: endpoint\ndata: /m\n\n";
    for chunks in [vec![stream], stream.chunks(1).collect()] {
        assert_eq!(fed(chunks).0.concat(), stream);
    }
}

#[test]
fn what_clients_might_take_for_an_endpoint_of_another_place_is_refused() {
    let elsewhere = Some("points where it must not");
    assert_eq!(
        refused("event: endpoint\ndata: https://evil.example/\n\n"),
        elsewhere
    );
    assert_eq!(
        refused("event: endpoint\ndata: /m\ndata: /n\n\n"),
        Some("has more than one line of data")
    );
    let late = Some("says what it is too late");
    assert_eq!(
        refused("event: message\ndata: /m\nevent: endpoint\n\n"),
        late
    );
    assert_eq!(refused("event: x\nevent: endpoint\ndata: /m\n\n"), late);

    let invalid: &[u8] = b"event: endpoint\ndata: /\xFF\n\n";
    assert_eq!(fed([invalid]).1.map(|refused| refused.0), elsewhere);
    let mut two_lines = EndpointRewriter::new(|_: &str| Some("/ours\ndata: x".to_owned()));
    let event = Bytes::from_static(b"event: endpoint\ndata: /m\n\n");
    let mut out = VecDeque::new();
    assert!(two_lines.feed(&event, &mut out).is_err() && out.is_empty());
}

#[test]
fn all_that_came_before_a_refused_endpoint_is_passed_on() {
    let before = "data: 1\n\nevent: message\ndata: 2\n\n: comment\n";
    let (pieces, refused) =
        fed([format!("{before}event: endpoint\ndata: //evil\n\ndata: 3\n\n").as_bytes()]);
    assert!(refused.is_some());
    assert_eq!(text(&pieces), before);
}

#[test]
fn an_unfinished_endpoint_event_is_dropped_and_any_other_passes() {
    for (stream, result) in [
        ("event: endpoint\ndata: /m\n", ""),
        ("event: endpoint\ndata: /m", ""),
        ("data: /m\nevent: endpoint", ""),
        (
            "event: message\ndata: /m\nevent: endpoint",
            "event: message\ndata: /m\n",
        ),
        ("data: 1\n\nevent: endpoint", "data: 1\n\n"),
        ("data: {}\n", "data: {}\n"),
        ("data: {}", "data: {}"),
        ("event: message\ndata: {", "event: message\ndata: {"),
    ] {
        assert_eq!(rewritten(stream), result, "{stream}");
    }
}

#[test]
fn nothing_waits_longer_than_it_must() {
    for (so_far, gone) in [
        ("\u{FEFF}", "\u{FEFF}"),
        (": com", ": com"),
        ("id: 7\nretry: 1\nfoo", "id: 7\nretry: 1\nfoo"),
        ("event: m", "event: m"),
        (
            "event: message\ndata: {\"jsonrpc",
            "event: message\ndata: {\"jsonrpc",
        ),
        ("data: {}\nevent: mess", "data: {}\nevent: mess"),
        ("data: {}\n\n", "data: {}\n\n"),
        ("data: {}\r\n\r", "data: {}\r\n\r"),
        ("event: x\ndata: 1\neven", "event: x\ndata: 1\n"),
        ("id: 7\ndata: {}\n: comment\n", "id: 7\n"),
        ("event: end", ""),
        ("da", ""),
    ] {
        for chunks in [
            vec![so_far.as_bytes()],
            so_far.as_bytes().chunks(1).collect(),
        ] {
            let mut rewriter = EndpointRewriter::new(ours);
            let mut out = VecDeque::new();
            for chunk in chunks {
                rewriter
                    .feed(&Bytes::copy_from_slice(chunk), &mut out)
                    .unwrap();
            }
            assert_eq!(text(out.make_contiguous()), gone, "{so_far}");
        }
    }
}

#[test]
fn a_chunk_without_an_endpoint_passes_as_it_is() {
    let chunk = Bytes::from("data: 1\n\nevent: message\ndata: 2\n\n: x\n\ndata: 3\n\n");
    let mut out = VecDeque::new();
    EndpointRewriter::new(ours).feed(&chunk, &mut out).unwrap();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), chunk.as_ptr(), "copied");
    assert_eq!(out[0], chunk);
}

#[test]
fn a_long_untyped_event_flows_on_and_can_no_longer_become_an_endpoint() {
    let mut rewriter = EndpointRewriter::new(ours);
    let mut out = VecDeque::new();
    let part = Bytes::from(vec![b'x'; 1000]);
    rewriter
        .feed(&Bytes::from_static(b"data: "), &mut out)
        .unwrap();
    let (mut fed, mut gone) = (6, 0);
    for _ in 0..200 {
        rewriter.feed(&part, &mut out).unwrap();
        fed += part.len();
        gone += out.drain(..).map(|piece| piece.len()).sum::<usize>();
        assert!(fed - gone <= MOST_HELD);
    }
    assert_eq!(fed, gone);
    rewriter
        .feed(&Bytes::from_static(b"\nevent: "), &mut out)
        .unwrap();
    out.clear();
    let refused = rewriter.feed(&Bytes::from_static(b"endpoint\n\n"), &mut out);
    assert_eq!(refused, Err(EndpointRefused("says what it is too late")));
    assert!(out.is_empty());
}

#[test]
fn an_endless_endpoint_event_is_refused() {
    let long = "x".repeat(MOST_HELD);
    let spaces = " ".repeat(MOST_HELD);
    for stream in [
        format!("event: endpoint\ndata: /{long}"),
        format!("event: endpoint\n: {long}"),
        format!("data: /m\nevent: endpoint\nid: {long}"),
        format!("event: message\ndata: 1\nevent:{spaces}"),
    ] {
        let chunks = stream.as_bytes().chunks(777);
        assert_eq!(fed(chunks).1, Some(EndpointRefused("is too long")));
        assert_eq!(refused(&stream), Some("is too long"));
    }
}

#[test]
fn an_error_says_nothing_of_what_it_is_about() {
    let (_, refused) = fed([&b"event: endpoint\ndata: https://evil.example/?key=word\n\n"[..]]);
    let refused = refused.unwrap();
    let error = io::Error::from(refused);
    assert_eq!(error.to_string(), refused.to_string());
    assert!(!format!("{refused} {refused:?} {error:?}").contains("evil"));
}

#[tokio::test]
async fn the_stream_ends_for_good_after_an_error_of_its_own_or_of_the_upstream() {
    let chunk = |text: &'static str| Ok::<_, io::Error>(Bytes::from_static(text.as_bytes()));
    let after = || chunk("data: never\n\n");

    let inner = [
        chunk("data: 1\n\nevent: endpoint\ndata: //evil\n\n"),
        after(),
    ];
    let mut rewritten = RewriteEndpoint::new(stream::iter(inner), ours);
    assert_eq!(rewritten.next().await.unwrap().unwrap(), "data: 1\n\n");
    let error = rewritten.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(rewritten.next().await.is_none() && rewritten.next().await.is_none());

    let inner = [
        chunk("data: 1\n"),
        Err(io::Error::other("upstream")),
        after(),
    ];
    let mut rewritten = RewriteEndpoint::new(stream::iter(inner), ours);
    assert_eq!(rewritten.next().await.unwrap().unwrap(), "data: 1\n");
    assert_eq!(
        rewritten.next().await.unwrap().unwrap_err().to_string(),
        "upstream"
    );
    assert!(rewritten.next().await.is_none() && rewritten.next().await.is_none());
}

#[tokio::test]
async fn the_stream_rewrites_what_comes_in_several_chunks() {
    #[derive(Debug)]
    struct Never;
    impl From<EndpointRefused> for Never {
        fn from(refused: EndpointRefused) -> Self {
            panic!("{refused}")
        }
    }
    let chunks = [
        "event: end",
        "point\r",
        "\ndata: ",
        "/m\r\n\r",
        "\ndata: 1\n\n",
    ];
    let inner = stream::iter(chunks).map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    let inner = inner.map(|chunk| chunk.map_err(|never| match never {}));
    let mut rewritten = RewriteEndpoint::<_, Never, _>::new(inner, ours);
    let mut all = Vec::new();
    while let Some(chunk) = rewritten.next().await {
        all.push(chunk.unwrap());
    }
    let m = ours("/m").unwrap();
    assert_eq!(
        text(&all),
        format!("event: endpoint\r\ndata: {m}\r\n\r\ndata: 1\n\n")
    );
}
