//! Silence, split chunks and limits, on a paused clock.

use std::{convert::Infallible, sync::Arc};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::{advance, sleep};

use super::{
    super::event_stream_samples::{interpret, samples},
    *,
};

const INTERVAL: Duration = Duration::from_secs(15);
const NO_LIMITS: Limits = Limits {
    end_at: None,
    cut_at: None,
};

type Item = Result<Bytes, Infallible>;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A stream of chunks, each after a number of seconds. An empty chunk at the end delays the end.
fn timed(chunks: Vec<(u64, Vec<u8>)>) -> impl Stream<Item = Item> {
    stream::iter(chunks).then(|(wait, chunk)| async move {
        sleep(seconds(wait)).await;
        Ok(chunk.into())
    })
}

fn timed_text(chunks: &[(u64, &str)]) -> impl Stream<Item = Item> + use<> {
    let bytes = chunks.iter().map(|(wait, text)| (*wait, (*text).into()));
    timed(bytes.collect())
}

/// All that arrives, each chunk with the second of its arrival.
async fn arrivals(mut stream: impl Stream<Item = Item> + Unpin) -> Vec<(u64, String)> {
    let start = Instant::now();
    let mut arrivals = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        let text = String::from_utf8(chunk.into()).unwrap();
        arrivals.push((start.elapsed().as_secs(), text));
    }
    arrivals.push((start.elapsed().as_secs(), "end".to_owned()));
    assert!(stream.next().await.is_none(), "it goes on after its end");
    arrivals
}

fn keep_alive<S>(inner: S) -> KeepAlive<S> {
    KeepAlive::new(inner, INTERVAL, NO_LIMITS)
}

fn limited<S>(inner: S, end_at: Option<u64>, cut_at: Option<u64>) -> KeepAlive<S> {
    let at = |limit: Option<u64>| limit.map(|limit| Instant::now() + seconds(limit));
    let limits = Limits {
        end_at: at(end_at),
        cut_at: at(cut_at),
    };
    KeepAlive::new(inner, INTERVAL, limits)
}

fn comment() -> String {
    String::from_utf8(COMMENT.into()).unwrap()
}

fn at(second: u64, text: &str) -> (u64, String) {
    (second, text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn comments_come_after_every_interval_of_silence() {
    let inner = timed_text(&[(50, "data: 1\n\n"), (14, "data: 2\n\n"), (31, "")]);
    let expected = [
        at(15, &comment()),
        at(30, &comment()),
        at(45, &comment()),
        at(50, "data: 1\n\n"),
        at(64, "data: 2\n\n"),
        at(79, &comment()),
        at(94, &comment()),
        at(95, "end"),
    ];
    assert_eq!(arrivals(keep_alive(inner)).await, expected);
}

#[tokio::test(start_paused = true)]
async fn no_comment_is_sent_within_an_event() {
    for part in [
        "d",
        "data: 1",
        "data: 1\n",
        "id: 1\n",
        "data: 1\n: x\n",
        ": x",
        "\u{FEFF}d",
    ] {
        let inner = timed_text(&[(0, part), (600, "\n\n"), (20, "")]);
        let expected = [
            at(0, part),
            at(600, "\n\n"),
            at(615, &comment()),
            at(620, "end"),
        ];
        assert_eq!(arrivals(keep_alive(inner)).await, expected, "{part}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_comment_goes_between_a_carriage_return_and_its_line_feed() {
    let inner = timed_text(&[(0, "data: 1\r\n\r"), (60, "\n"), (20, "")]);
    let expected = [
        at(0, "data: 1\r\n\r"),
        at(60, "\n"),
        at(75, &comment()),
        at(80, "end"),
    ];
    assert_eq!(arrivals(keep_alive(inner)).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_after_a_comment_is_removed() {
    let mark = BYTE_ORDER_MARK.to_vec();
    let [first, second, third] = [vec![mark[0]], vec![mark[1]], vec![mark[2]]];
    let rest = b"data: 1\n\n".to_vec();
    let whole = [&mark[..], &rest].concat();
    let begun = [&mark[2..], &rest].concat();
    for chunks in [
        vec![(20, whole)],
        vec![
            (20, first.clone()),
            (60, second.clone()),
            (60, third),
            (1, rest.clone()),
        ],
        vec![(20, first.clone()), (1, second.clone()), (1, begun)],
        vec![(20, mark), (1, rest)],
    ] {
        let received = arrivals(keep_alive(timed(chunks))).await;
        let text: String = received.into_iter().map(|(_, text)| text).collect();
        assert_eq!(text.replace(&comment(), ""), "data: 1\n\nend");
    }
    // What only begins like one is not removed.
    let other = [&first[..], &[0xBC, 0x81], b"\n\n"].concat();
    for split in 0..other.len() {
        let (head, tail) = other.split_at(split);
        let inner = timed(vec![(20, head.to_vec()), (1, tail.to_vec())]);
        let all = all_bytes(keep_alive(inner)).await;
        assert_eq!(all, [COMMENT, &other].concat());
    }
}

async fn all_bytes(stream: impl Stream<Item = Item>) -> Vec<u8> {
    let chunks: Vec<_> = stream.map(Result::unwrap).collect().await;
    chunks.concat()
}

fn without_comments(mut stream: Vec<u8>) -> Vec<u8> {
    while let Some(at) = stream
        .windows(COMMENT.len())
        .position(|part| part == COMMENT)
    {
        stream.drain(at..at + COMMENT.len());
    }
    stream
}

#[tokio::test(start_paused = true)]
async fn comments_never_change_what_clients_see_wherever_chunks_are_split() {
    let mut comments = 0;
    for stream in samples(250) {
        let seen = interpret(&stream);
        let splits = (0..=stream.len()).map(|at| {
            let (head, tail) = stream.split_at(at);
            vec![(17, head.to_vec()), (40, tail.to_vec()), (20, Vec::new())]
        });
        let by_byte = |wait| stream.iter().map(|byte| (wait, vec![*byte])).collect();
        for chunks in splits.chain([by_byte(16), by_byte(1), by_byte(0)]) {
            let received = all_bytes(keep_alive(timed(chunks.clone()))).await;
            assert_eq!(interpret(&received), seen, "{chunks:?}");
            let bare = without_comments(received.clone());
            comments += received.len() - bare.len();
            let unmarked = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&stream);
            // A stream that is only part of a mark may be dropped.
            assert!(
                bare == stream || bare == unmarked || BYTE_ORDER_MARK.starts_with(&stream),
                "{chunks:?}"
            );
        }
    }
    assert!(comments > 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_gets_one_comment_and_not_many() {
    let mut stream = keep_alive(stream::pending::<Item>());
    advance(seconds(100)).await;
    assert_eq!(stream.next().await, Some(Ok(Bytes::from_static(COMMENT))));
    assert!(stream.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_ready_comes_before_a_comment() {
    let mut stream = keep_alive(timed_text(&[(0, "data: 1\n\n")]));
    advance(seconds(100)).await;
    assert_eq!(stream.next().await, Some(Ok(Bytes::from("data: 1\n\n"))));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn chunks_are_passed_on_and_not_copied() {
    let chunk = Bytes::from(b"data: 1\n\ndata".to_vec());
    let mut stream = keep_alive(stream::iter([Item::Ok(chunk.clone())]));
    let passed = stream.next().await.unwrap().unwrap();
    assert_eq!(
        (passed.as_ptr(), passed.len()),
        (chunk.as_ptr(), chunk.len())
    );
}

#[tokio::test(start_paused = true)]
async fn after_the_end_time_a_stream_ends_at_once_between_events() {
    let inner = timed_text(&[(5, "data: 1\n\n"), (60, "data: never\n\n")]);
    let expected = [at(5, "data: 1\n\n"), at(12, "end")];
    assert_eq!(arrivals(limited(inner, Some(12), Some(30))).await, expected);

    let silent = stream::pending();
    assert_eq!(
        arrivals(limited(silent, Some(12), None)).await,
        [at(12, "end")]
    );
    let late = timed_text(&[(0, "data: never\n\n")]);
    assert_eq!(arrivals(limited(late, Some(0), None)).await, [at(0, "end")]);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_time_an_event_that_has_begun_is_completed() {
    let inner = timed_text(&[
        (10, "data: 1\n"),
        (10, "data: 2\n"),
        (5, "\ndata: 3\r\n\r\ndata: cut"),
        (1, "data: never\n\n"),
    ]);
    let expected = [
        at(10, "data: 1\n"),
        at(20, "data: 2\n"),
        at(25, "\ndata: 3\r\n\r\n"),
        at(25, "end"),
    ];
    assert_eq!(arrivals(limited(inner, Some(12), Some(30))).await, expected);
}

#[tokio::test(start_paused = true)]
async fn at_the_cut_time_a_stream_ends_even_within_an_event() {
    let inner = timed_text(&[(10, "data: 1\n"), (60, "\n")]);
    let expected = [at(10, "data: 1\n"), at(30, "end")];
    assert_eq!(arrivals(limited(inner, Some(12), Some(30))).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_far_limit_delays_no_comment() {
    let inner = timed_text(&[(0, "data: 1\n"), (10, "\n"), (20, "")]);
    let expected = [
        at(0, "data: 1\n"),
        at(10, "\n"),
        at(25, &comment()),
        at(30, "end"),
    ];
    assert_eq!(arrivals(limited(inner, None, Some(300))).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_pauses_is_ended_too() {
    let busy = |text: &'static str| {
        stream::repeat(()).then(move |()| async move {
            advance(Duration::from_millis(100)).await;
            Item::Ok(Bytes::from(text))
        })
    };
    let last_arrival = |mut arrivals: Vec<(u64, String)>| arrivals.pop().unwrap();
    let events = limited(busy("data: 1\n\n"), Some(12), Some(30));
    assert_eq!(last_arrival(arrivals(events).await), at(12, "end"));
    let endless = limited(busy("data: 1\n"), Some(12), Some(30));
    assert_eq!(last_arrival(arrivals(endless).await), at(30, "end"));
    let cut = CutAt::new(busy("x"), Instant::now() + seconds(30), None);
    assert_eq!(last_arrival(arrivals(cut).await), at(30, "end"));
}

#[tokio::test(start_paused = true)]
async fn after_an_error_the_stream_stays_ended_and_drops_the_inner_one() {
    let connection = Arc::new(());
    let held = Arc::clone(&connection);
    let inner = stream::iter([Ok(Bytes::from("data: 1")), Err("broken"), Ok(Bytes::new())])
        .inspect(move |_| assert_eq!(Arc::strong_count(&held), 2));
    let mut stream = keep_alive(inner);
    assert_eq!(stream.next().await, Some(Ok(Bytes::from("data: 1"))));
    assert_eq!(stream.next().await, Some(Err("broken")));
    assert_eq!(Arc::strong_count(&connection), 1, "the connection is kept");
    assert_eq!(stream.next().await, None);
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_waiting_loses_nothing() {
    let mut stream = keep_alive(timed_text(&[(20, "data: 1\n\n"), (20, "data: 2\n\n")]));
    let mut received = String::new();
    for _ in 0..60 {
        // Each wait is dropped after a second.
        if let Ok(Some(Ok(chunk))) = tokio::time::timeout(seconds(1), stream.next()).await {
            received += str::from_utf8(&chunk).unwrap();
        }
    }
    let comment = comment();
    assert_eq!(
        received,
        format!("{comment}data: 1\n\n{comment}data: 2\n\n")
    );
}

#[tokio::test(start_paused = true)]
async fn other_bodies_are_cut_off_with_the_given_error() {
    let open = || timed_text(&[(10, "{"), (60, "}")]).map(|chunk| chunk.map_err(|_| ""));
    let cut_at = |second| Instant::now() + seconds(second);
    let connection = Arc::new(());
    let held = Arc::clone(&connection);
    let inner = open().inspect(move |_| assert_eq!(Arc::strong_count(&held), 2));
    let mut cut = CutAt::new(inner, cut_at(30), Some("cut"));
    assert_eq!(cut.next().await, Some(Ok(Bytes::from("{"))));
    assert_eq!(cut.next().await, Some(Err("cut")));
    assert_eq!(Arc::strong_count(&connection), 1, "the connection is kept");
    assert_eq!(cut.next().await, None);

    let mut whole = CutAt::new(open(), cut_at(300), Some("cut"));
    assert_eq!(whole.next().await, Some(Ok(Bytes::from("{"))));
    assert_eq!(whole.next().await, Some(Ok(Bytes::from("}"))));
    assert_eq!(whole.next().await, None);
    advance(seconds(300)).await;
    assert_eq!(whole.next().await, None);
}
