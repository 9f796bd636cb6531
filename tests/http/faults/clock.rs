//! Clocks that jump: a machine wakes up, two instances differ, somebody corrects the time.

use serde_json::json;

use crate::support::world::{Connected, World};

const HOUR: u64 = 3600;
const YEAR: u64 = 365 * 86_400;

#[tokio::test]
async fn a_clock_that_steps_back_loses_no_connection_and_locks_nobody_out() {
    for step in [1, 600, 2 * HOUR, 40 * 86_400] {
        let w = World::start().await;
        let one = w.connect().await;
        let code = w.code(&one.client_id).await;
        w.advance_clock(600 + HOUR);
        let page = w.open(&w.authorization_request(&one.client_id)).await;
        let two = w.refresh(&one.client_id, &one.refresh).await;
        let two = Connected::read(&one.client_id, "", &two.json());
        w.set_clock_back(step);
        assert_eq!(w.status(&two.access).await, 200, "{step}");
        assert_eq!(w.status(&one.access).await, 200, "{step}");
        // A retry after a rotation in the future is still a retry, not a replay.
        let repeated = w.refresh(&one.client_id, &one.refresh).await;
        assert_eq!(repeated.status, 200, "{step}: {}", repeated.text);
        assert_eq!(repeated.json()["refresh_token"], json!(two.refresh));
        let three = w.refresh(&one.client_id, &two.refresh).await;
        assert_eq!(three.status, 200, "{step}: {}", three.text);
        let three = Connected::read(&one.client_id, "", &three.json());
        assert_eq!(w.status(&three.access).await, 200, "{step}");
        assert_eq!(
            w.submit_consent(&page, "authorize", &w.pin).await.status,
            303,
            "{step}"
        );
        let registered = w.client().await;
        w.open(&w.authorization_request(&registered)).await;
        // And forward again, to the time of the others. (What was renewed forty days ago has expired in between.)
        if step > HOUR * 24 {
            continue;
        }
        w.advance_clock(step);
        assert_eq!(w.status(&three.access).await, 200, "{step}");
        let four = w.refresh(&one.client_id, &three.refresh).await;
        assert_eq!(four.status, 200, "{step}: {}", four.text);
        let stale = w.token(&w.redeem(&one.client_id, &code)).await;
        assert_eq!(stale.error(), (400, "invalid_grant".into()), "{step}");
    }
}

#[tokio::test]
async fn a_clock_that_steps_forward_and_back_ends_nothing_for_good() {
    let w = World::start().await;
    let one = w.connect().await;
    let client = w.client().await;
    let code = w.code(&client).await;
    let page = w.open(&w.authorization_request(&client)).await;
    let before = w.dump();
    w.advance_clock(10 * YEAR);
    assert_eq!(w.status(&one.access).await, 401);
    assert_eq!(
        w.refresh(&one.client_id, &one.refresh).await.status,
        401,
        "client and connection are past"
    );
    assert_eq!(w.token(&w.redeem(&client, &code)).await.status, 401);
    assert_eq!(
        w.submit_consent(&page, "authorize", &w.pin).await.status,
        400
    );
    assert_eq!(
        w.dump(),
        before,
        "expired things are left to the table's TTL"
    );
    w.set_clock_back(10 * YEAR);
    assert_eq!(w.status(&one.access).await, 200);
    assert_eq!(w.refresh(&one.client_id, &one.refresh).await.status, 200);
    assert_eq!(w.token(&w.redeem(&client, &code)).await.status, 200);
}

#[tokio::test]
async fn a_block_made_by_a_clock_that_was_ahead_does_not_outlast_the_correction() {
    for (ahead, status) in [(YEAR, 303), (24 * HOUR, 303), (HOUR / 2, 429)] {
        let w = World::start().await;
        let client = w.client().await;
        w.advance_clock(ahead);
        let client_then = w.client().await;
        let page = w.open(&w.authorization_request(&client_then)).await;
        for _ in 0..5 {
            w.submit_consent(&page, "authorize", "wrong000").await;
        }
        assert_eq!(
            w.submit_consent(&page, "authorize", &w.pin).await.status,
            429
        );
        w.set_clock_back(ahead);
        let page = w.open(&w.authorization_request(&client)).await;
        let after = w.submit_consent(&page, "authorize", &w.pin).await;
        assert_eq!(after.status, status, "{ahead}");
        if status == 303 {
            continue;
        }
        // Within the difference that two instances may have, it is a block like any other.
        let wait: u64 = after.header("retry-after").parse().unwrap();
        assert!(wait <= HOUR, "{wait}");
        w.advance_clock(wait);
        let page = w.open(&w.authorization_request(&client)).await;
        assert_eq!(
            w.submit_consent(&page, "authorize", &w.pin).await.status,
            303
        );
    }
}

#[tokio::test]
async fn a_day_of_wrong_pins_that_began_in_the_future_ends_when_the_clock_is_right_again() {
    let w = World::with_settings(&[("TRUSTED_PROXY_HEADER", "x-real-ip")]).await;
    let decide = |address: &'static str, pin: String| {
        let w = &w;
        async move {
            let client = w.client().await;
            let page = w.open(&w.authorization_request(&client)).await;
            let form = [("page", page.id.as_str()), ("pin", &pin)];
            let request = w.post("/authorize").header("x-real-ip", address);
            let response = w.send_as_browser(&page.cookie, request.form(&form)).await;
            response.status
        }
    };
    w.advance_clock(36 * HOUR);
    assert_eq!(decide("198.51.100.1", "wrong000".into()).await, 403);
    w.set_tries_of_the_day(100_000).await;
    assert_eq!(
        decide("198.51.100.2", w.pin.clone()).await,
        429,
        "closed for the day"
    );
    w.set_clock_back(36 * HOUR);
    assert_eq!(decide("198.51.100.3", w.pin.clone()).await, 303);
}
