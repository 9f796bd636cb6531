//! Which bodies are kept, and what the budget is charged.

use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::*;

type Frame = http_body::Frame<Bytes>;

fn chunks(
    sizes: &[usize],
) -> impl HttpBody<Data = Bytes, Error = io::Error> + Send + Unpin + use<> {
    let frames: Vec<_> = sizes
        .iter()
        .map(|size| Ok(Frame::data(vec![b'x'; *size].into())))
        .collect();
    StreamBody::new(stream::iter(frames))
}

/// A body of what is sent into a channel.
fn channel() -> (
    mpsc::UnboundedSender<io::Result<Frame>>,
    impl HttpBody<Data = Bytes, Error = io::Error> + Send + Unpin,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, StreamBody::new(frames))
}

fn free(budget: &BodyBudget) -> usize {
    budget.0.available_permits()
}

/// The bytes of a kept body, or why it is not kept, with all that is streamed.
async fn outcome(body: Body) -> Result<Bytes, (NotKept, Option<u64>, usize)> {
    match body {
        Body::Kept(bytes) => Ok(bytes),
        Body::Streamed {
            body,
            length,
            reason,
        } => {
            let all = body.collect().await.unwrap().to_bytes();
            Err((reason, length, all.len()))
        }
    }
}

async fn kept(
    budget: &BodyBudget,
    sizes: &[usize],
) -> Result<Bytes, (NotKept, Option<u64>, usize)> {
    let none = HeaderMap::new();
    let body = budget.keep(chunks(sizes), &none, KEPT_BODY_BYTES).await;
    outcome(body.unwrap()).await
}

#[tokio::test]
async fn bodies_up_to_six_megabytes_are_kept_and_longer_ones_stream_whole() {
    let budget = BodyBudget::default();
    for sizes in [
        &[][..],
        &[0],
        &[1],
        &[0, 5, 0, 7],
        &[KEPT_BODY_BYTES],
        &[KEPT_BODY_BYTES - 1, 1],
    ] {
        let all = kept(&budget, sizes).await.unwrap();
        assert_eq!(all.len(), sizes.iter().sum::<usize>(), "{sizes:?}");
        assert!(all.iter().all(|byte| *byte == b'x'));
    }
    for sizes in [
        &[KEPT_BODY_BYTES + 1][..],
        &[KEPT_BODY_BYTES, 1],
        &[1, KEPT_BODY_BYTES, 3],
    ] {
        let streamed = kept(&budget, sizes).await.unwrap_err();
        assert_eq!(streamed, (NotKept::TooLarge, None, sizes.iter().sum()));
    }
    assert_eq!(
        free(&budget),
        free(&BodyBudget::default()),
        "nothing stays charged"
    );
}

#[tokio::test]
async fn a_body_announced_as_too_large_does_not_charge_the_budget() {
    let budget = BodyBudget::default();
    let length = KEPT_BODY_BYTES as u64 + 1;
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, length.into())]);
    let (_sender, body) = channel();
    let body = budget.keep(body, &headers, KEPT_BODY_BYTES).await.unwrap();
    let Body::Streamed { length, reason, .. } = body else {
        panic!("kept");
    };
    assert_eq!((length, reason), (Some(6_291_457), NotKept::TooLarge));
    assert_eq!(free(&budget), free(&BodyBudget::default()));
}

#[tokio::test]
async fn the_budget_is_for_all_bodies_and_is_given_back_with_the_last_copy() {
    let budget = BodyBudget::of(10 * 1024);
    let one = kept(&budget, &[3000, 3000]).await.unwrap();
    assert_eq!(free(&budget), 4);
    let streamed = kept(&budget, &[3000, 3000]).await.unwrap_err();
    assert_eq!(streamed, (NotKept::BudgetUsedUp, None, 6000));
    assert_eq!(
        free(&budget),
        4,
        "what a streamed body was charged is given back"
    );
    let copy = one.clone();
    drop(one);
    assert_eq!(free(&budget), 4);
    drop(copy);
    assert_eq!(free(&budget), 10);
    assert!(kept(&budget, &[3000, 3000]).await.is_ok());
}

#[tokio::test]
async fn room_is_taken_for_what_has_arrived_and_not_for_what_is_announced() {
    let budget = BodyBudget::default();
    let all = free(&budget);
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, 6_000_000.into())]);
    let (sender, body) = channel();
    let mut keeping = Box::pin(budget.keep(body, &headers, KEPT_BODY_BYTES));
    assert!(futures_util::poll!(&mut keeping).is_pending());
    assert_eq!(free(&budget), all);
    sender
        .send(Ok(Frame::data(Bytes::from_static(b"x"))))
        .unwrap();
    assert!(futures_util::poll!(&mut keeping).is_pending());
    assert_eq!(free(&budget), all - 1);
    drop(keeping);
    assert_eq!(
        free(&budget),
        all,
        "a client that goes away is charged nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_streams_after_twenty_seconds_and_nothing_of_it_is_lost() {
    let budget = BodyBudget::default();
    let (sender, body) = channel();
    sender
        .send(Ok(Frame::data(Bytes::from_static(b"slow"))))
        .unwrap();
    let began = Instant::now();
    let none = HeaderMap::new();
    let body = budget.keep(body, &none, KEPT_BODY_BYTES).await.unwrap();
    assert_eq!(began.elapsed(), ARRIVAL_TIMEOUT);
    sender
        .send(Ok(Frame::data(Bytes::from_static(b"ly"))))
        .unwrap();
    drop(sender);
    assert_eq!(outcome(body).await, Err((NotKept::TooSlow, None, 6)));
    assert_eq!(free(&budget), free(&BodyBudget::default()));
}

#[tokio::test]
async fn a_client_that_stops_sending_is_an_error_before_and_after_the_limit() {
    let budget = BodyBudget::default();
    let none = HeaderMap::new();
    let broken = || Err(io::Error::other("reset"));
    let (sender, body) = channel();
    sender
        .send(Ok(Frame::data(Bytes::from_static(b"x"))))
        .unwrap();
    sender.send(broken()).unwrap();
    assert!(budget.keep(body, &none, KEPT_BODY_BYTES).await.is_err());
    let (sender, body) = channel();
    sender
        .send(Ok(Frame::data(Bytes::from_static(b"four"))))
        .unwrap();
    sender.send(broken()).unwrap();
    let Body::Streamed { body, .. } = budget.keep(body, &none, 3).await.unwrap() else {
        panic!("kept");
    };
    assert!(body.collect().await.is_err());
}
