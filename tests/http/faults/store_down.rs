//! The store is not there: 503 with `Retry-After` at every endpoint, never 401 (clients would drop their session),
//! and nothing half done when it is back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use super::wire::{Fate, Wire};
use crate::support::world::{Answer, CALLBACK, Connected, Pairs, World};

fn unavailable(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    assert_eq!(answer.header("retry-after"), "5", "{what}");
    assert_eq!(answer.header("www-authenticate"), "", "{what}");
    assert_eq!(answer.header("location"), "", "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    // How the store is called, and what it said, is for the log alone.
    for inside in ["dynamodb", "lambda-oauth-mcp-proxy", "timeout", "lost"] {
        assert!(
            !answer.text.to_lowercase().contains(inside),
            "{what}: {}",
            answer.text
        );
    }
}

fn revocation(token: &str, client: &str) -> Pairs {
    Pairs::of(&[("token", token), ("client_id", client)])
}

#[tokio::test]
async fn every_endpoint_answers_503_and_goes_on_when_the_store_is_back() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let one = w.connect().await;
    let code = w.code(&one.client_id).await;
    let page = w.open(&w.ask(&one.client_id)).await;
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
    let get_page = format!("/authorize?{}", w.ask(&one.client_id).encode());
    unavailable(
        &w.post("/register").json(&metadata).send().await,
        "register",
    );
    unavailable(&w.get(&get_page).send().await, "authorize");
    unavailable(&w.decide(&page, "authorize", &w.pin).await, "consent");
    unavailable(&w.decide(&page, "authorize", "wrong000").await, "wrong PIN");
    unavailable(&w.decide(&page, "deny", "").await, "deny");
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
    // What needs no store is there.
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
    assert_eq!(w.decide(&page, "authorize", &w.pin).await.status, 303);
}

/// Lets so many requests of the store pass, then none.
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

/// At each step of a consent in turn the store goes away; then the person tries again.
#[tokio::test]
async fn a_consent_that_broke_off_anywhere_can_be_given_again() {
    for passes in 0..20 {
        let wire = Wire::new();
        let w = wire.world(&[]).await;
        let client = w.client().await;
        let page = w.open(&w.ask(&client)).await;
        fails_after(&wire, passes);
        let broken = w.decide(&page, "authorize", &w.pin).await;
        wire.sound();
        if broken.status == 303 {
            assert!(passes > 4, "a consent is more than {passes} steps");
            return;
        }
        unavailable(&broken, &format!("after {passes} steps"));
        assert!(live(&w).is_empty());
        let again = w.decide(&page, "authorize", &w.pin).await;
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
async fn a_token_request_that_broke_off_before_its_write_changed_nothing() {
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
async fn a_use_that_cannot_be_noted_is_no_reason_to_refuse_the_call() {
    let wire = Wire::new();
    let w = wire.world(&[]).await;
    let one = w.connect().await;
    w.pass(3600);
    wire.decide(|operation| {
        if operation == "UpdateItem" {
            Fate::Lose
        } else {
            Fate::Pass
        }
    });
    assert_eq!(w.status(&one.access).await, 200);
}

fn live(w: &World) -> Vec<String> {
    w.dump()
        .into_iter()
        .filter(|item| item.contains("\"live\""))
        .collect()
}
