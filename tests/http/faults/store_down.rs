//! The store is unavailable: 503 with `Retry-After` at every endpoint, never 401 (clients would drop their session),
//! and nothing is half done when it is back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use super::wire::{Fate, Wire};
use crate::support::world::{CALLBACK, Connected, Pairs, Response, World};

fn unavailable(response: &Response, what: &str) {
    assert_eq!(response.status, 503, "{what}: {response:?}");
    assert_eq!(response.header("retry-after"), "5", "{what}");
    assert_eq!(response.header("www-authenticate"), "", "{what}");
    assert_eq!(response.header("location"), "", "{what}");
    assert_eq!(response.header("cache-control"), "no-store", "{what}");
    // The store's name and its error are only in the log.
    // The pages' own script, which is the same everywhere, has timeouts.
    let text = response.text.split("<script>").next().unwrap();
    for inside in ["dynamodb", "lambda-oauth-mcp-proxy", "timeout", "lost"] {
        assert!(
            !text.to_lowercase().contains(inside),
            "{what}: {}",
            response.text
        );
    }
}

fn revocation(token: &str, client: &str) -> Pairs {
    Pairs::of(&[("token", token), ("client_id", client)])
}

#[tokio::test]
async fn every_endpoint_responds_with_503_and_recovers_with_the_store() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let one = w.connect().await;
    let code = w.code(&one.client_id).await;
    let page = w.open(&w.authorization_request(&one.client_id)).await;
    let signed_in = w
        .post("/connections")
        .form(&[("action", "sign-in"), ("pin", &w.pin)])
        .send()
        .await;
    let session = signed_in.cookie().unwrap();
    let before = w.dump();
    let calls = w.upstream.requests().len();

    wire.down();
    let metadata = json!({ "redirect_uris": [CALLBACK] });
    let get_page = format!(
        "/authorize?{}",
        w.authorization_request(&one.client_id).encode()
    );
    unavailable(
        &w.post("/register").json(&metadata).send().await,
        "register",
    );
    unavailable(&w.get(&get_page).send().await, "authorize");
    unavailable(
        &w.submit_consent(&page, "authorize", &w.pin).await,
        "consent",
    );
    unavailable(
        &w.submit_consent(&page, "authorize", "wrong000").await,
        "wrong PIN",
    );
    unavailable(&w.submit_consent(&page, "deny", "").await, "deny");
    unavailable(&w.token(&w.redeem(&one.client_id, &code)).await, "code");
    unavailable(
        &w.token(&w.redeem("nobody", "mcp_ac_x")).await,
        "unknown client",
    );
    unavailable(&w.refresh(&one.client_id, &one.refresh).await, "refresh");
    for token in [&*one.access, &*one.refresh, "unknown"] {
        let revoked = w
            .post("/revoke")
            .form_of(&revocation(token, &one.client_id));
        unavailable(&revoked.send().await, "revoke");
    }
    unavailable(&w.call(&one.access).send().await, "mcp");
    let listed = w
        .get("/connections")
        .header("cookie", &session)
        .send()
        .await;
    unavailable(&listed, "connections");
    let sign_in = w
        .post("/connections")
        .form(&[("action", "sign-in"), ("pin", &w.pin)]);
    unavailable(&sign_in.send().await, "sign-in");
    // What needs no store still works.
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
    ] {
        assert_eq!(w.get(path).send().await.status, 200, "{path}");
    }
    assert_eq!(
        w.post("/mcp").json(&json!({})).send().await.status,
        401,
        "without a token"
    );
    assert_eq!(w.dump(), before, "nothing half done");
    assert_eq!(w.upstream.requests().len(), calls);

    wire.sound();
    assert_eq!(w.status(&one.access).await, 200);
    assert_eq!(w.refresh(&one.client_id, &one.refresh).await.status, 200);
    assert_eq!(w.token(&w.redeem(&one.client_id, &code)).await.status, 200);
    assert_eq!(
        w.submit_consent(&page, "authorize", &w.pin).await.status,
        303
    );
}

/// Lets this many requests to the store pass, then none.
fn fails_after(wire: &Wire, passes: usize) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    wire.decide(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) < passes {
            Fate::Pass
        } else {
            Fate::Lose
        }
    });
    seen
}

/// The store fails at each step of a consent in turn; then the person tries again.
#[tokio::test]
async fn a_consent_interrupted_at_any_step_can_be_given_again() {
    for passes in 0..20 {
        let wire = Wire::new();
        let w = wire.world(&[]).await;
        let client = w.client().await;
        let page = w.open(&w.authorization_request(&client)).await;
        fails_after(&wire, passes);
        let broken = w.submit_consent(&page, "authorize", &w.pin).await;
        wire.sound();
        if broken.status == 303 {
            assert!(passes > 4, "a consent is more than {passes} steps");
            return;
        }
        unavailable(&broken, &format!("after {passes} steps"));
        assert!(live(&w).is_empty());
        let again = w.submit_consent(&page, "authorize", &w.pin).await;
        assert_eq!(again.status, 303, "after {passes} steps: {}", again.text);
        let code = again.redirected("code").unwrap();
        let tokens = w.token(&w.redeem(&client, &code)).await;
        assert_eq!(tokens.status, 200, "after {passes} steps: {}", tokens.text);
        assert_eq!(live(&w).len(), 1);
    }
    panic!("a consent has no end of steps");
}

/// The same for a whole client: registration, page, code, refresh, revocation.
#[tokio::test]
async fn a_token_request_interrupted_before_its_write_changes_nothing() {
    for passes in 0..2 {
        let wire = Wire::new();
        let w = wire.world(&[]).await;
        let client = w.client().await;
        let code = w.code(&client).await;
        let before = w.dump();
        fails_after(&wire, passes);
        unavailable(&w.token(&w.redeem(&client, &code)).await, "code");
        assert_eq!(w.dump(), before);
        wire.sound();
        let tokens = w.token(&w.redeem(&client, &code)).await;
        let one = Connected::read(&client, &code, &tokens.json());

        let before = w.dump();
        fails_after(&wire, passes);
        unavailable(&w.refresh(&client, &one.refresh).await, "refresh");
        assert_eq!(w.dump(), before);
        fails_after(&wire, passes);
        let revoked = w
            .post("/revoke")
            .form_of(&revocation(&one.refresh, &client))
            .send()
            .await;
        unavailable(&revoked, "revoke");
        assert_eq!(w.dump(), before);
        wire.sound();
        assert_eq!(w.status(&one.access).await, 200);
        assert_eq!(w.refresh(&client, &one.refresh).await.status, 200);
    }
}

#[tokio::test]
async fn a_call_succeeds_even_if_its_time_of_use_cannot_be_stored() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let one = w.connect().await;
    w.advance_clock(3600);
    wire.decide(|operation| {
        // The time of use, and the record of a call.
        if matches!(operation, "UpdateItem" | "PutItem") {
            Fate::Lose
        } else {
            Fate::Pass
        }
    });
    let call = json!({ "id": 1, "method": "tools/call", "params": { "name": "a_tool" } });
    assert_eq!(w.call(&one.access).json(&call).send().await.status, 200);
    assert_eq!(w.status(&one.access).await, 200);
}

/// A lost extension of the client's record does not fail the refresh, and the next refresh extends it.
#[tokio::test]
async fn a_client_whose_extension_failed_is_extended_at_the_next_refresh() {
    const DAY: u64 = 86_400;
    /// The SDK's standard number of attempts.
    const ATTEMPTS: usize = 3;
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let mut one = w.connect().await;
    // After 40 days the client's record is due, and all attempts to extend it are lost.
    for (seconds, lost, updates) in [
        (20 * DAY, 0, 1),
        (20 * DAY, ATTEMPTS, ATTEMPTS + 1),
        (1, 0, 2),
        (1, 0, 1),
    ] {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        wire.decide(move |operation| {
            if operation == "UpdateItem" && count.fetch_add(1, Ordering::SeqCst) < lost {
                Fate::Lose
            } else {
                Fate::Pass
            }
        });
        w.advance_clock(seconds);
        let response = w.refresh(&one.client_id, &one.refresh).await;
        assert_eq!(response.status, 200, "{}", response.text);
        assert_eq!(seen.load(Ordering::SeqCst), updates);
        one = Connected::read(&one.client_id, "", &response.json());
    }
}

fn live(w: &World) -> Vec<String> {
    w.dump()
        .into_iter()
        .filter(|item| item.contains("\"live\""))
        .collect()
}
