//! Guessing the PIN all at once; `consent` and `connections` have the slow ways.

use futures_util::future::join_all;

use crate::world::World;

/// How many tries the table counts, of one address and overall.
fn counted(w: &World, key: &str) -> u64 {
    w.dump()
        .iter()
        .map(|item| serde_json::from_str::<serde_json::Value>(item).unwrap())
        .filter(|item| item["pk"]["S"] == key)
        .map(|item| item["tries"]["N"].as_str().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_wrong_pins_at_once_are_no_more_tries_than_one_after_another() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.ask(&client)).await;
    for _ in 0..4 {
        join_all((0..50).map(|n| {
            let (w, page) = (&w, &page);
            async move { w.decide(page, "authorize", &format!("guess{n:03}")).await }
        }))
        .await;
    }
    assert!(counted(&w, "pin#127.0.0.1") <= 5, "{:?}", w.dump());
    assert!(counted(&w, "pin#overall") <= 5);
    let blocked = w.decide(&page, "authorize", &w.pin).await;
    assert_eq!((blocked.status, blocked.header("location")), (429, ""));
    w.pass(30);
    assert_eq!(
        w.decide(&page, "authorize", &w.pin).await.status,
        303,
        "the owner still gets in"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_right_pin_among_fifty_at_once_wins_at_most_its_own_try() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.ask(&client)).await;
    let answers = join_all((0..50).map(|n| {
        let (w, page) = (&w, &page);
        let pin = if n == 49 {
            w.pin.clone()
        } else {
            format!("guess{n:03}")
        };
        async move { w.decide(page, "authorize", &pin).await }
    }))
    .await;
    let right = answers.iter().filter(|answer| answer.status == 303).count();
    let compared = answers.iter().filter(|answer| answer.status == 403).count();
    assert!(right <= 1 && compared <= 4, "{right} {compared}");
}

#[tokio::test]
async fn a_pin_is_compared_exactly() {
    let w = World::with(&[("TRUSTED_PROXY_HEADER", "x-real-ip")]).await;
    let client = w.client().await;
    let page = w.open(&w.ask(&client)).await;
    let pin = w.pin.clone();
    for (n, wrong) in [
        format!(" {pin}"),
        format!("{pin} "),
        pin.to_uppercase() + "x",
        pin[..9].to_owned(),
        format!("{pin}{pin}"),
        format!("{pin}%00"),
        String::new(),
    ]
    .iter()
    .enumerate()
    {
        let answer = w
            .post("/authorize")
            .header("cookie", &page.cookie)
            .header("x-real-ip", &format!("198.51.100.{n}"))
            .form(&[("page", &page.id), ("pin", wrong)])
            .send()
            .await;
        assert_eq!(answer.status, 403, "{n}");
    }
}
