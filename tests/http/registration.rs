//! `POST /register` beyond the single request: floods, lifetimes, and the settings that close it.

use std::sync::Arc;

use dynoxide::{Database, storage_backend::ManualClock};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::world::{BEGIN, CALLBACK, Choices, World};

#[tokio::test]
async fn a_flood_of_registrations_is_stopped_and_vanishes_and_slows_nobody() {
    let engine_clock = Arc::new(ManualClock::new(BEGIN));
    let database = Database::memory_with_clock(engine_clock.clone()).unwrap();
    let w = World::choosing(Choices {
        settings: vec![("TRUSTED_PROXY_HEADER", "x-real-ip".into())],
        database: Some(database.clone()),
        ..Choices::default()
    })
    .await;
    let register = |address: &str| {
        w.post("/register")
            .header("x-real-ip", address)
            .json(&json!({ "redirect_uris": [CALLBACK] }))
            .send()
    };
    let owner = w.connect().await;
    let before = w.dump();

    // Addresses of one IPv6 network are one; what is not acceptable costs nothing.
    let refused = w
        .post("/register")
        .header("x-real-ip", "2001:db8:7::1")
        .json(&json!({ "redirect_uris": [] }))
        .send()
        .await;
    assert_eq!(refused.error(), (400, "invalid_redirect_uri".into()));
    let addresses = (0..1000).map(|n| format!("2001:db8:7::{n:x}"));
    let answers: Vec<_> = stream::iter(addresses)
        .map(|address| async move { register(&address).await })
        .buffer_unordered(16)
        .collect()
        .await;
    let (done, limited): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 201);
    assert_eq!((done.len(), limited.len()), (200, 800));
    for answer in limited {
        assert_eq!(answer.error(), (429, "temporarily_unavailable".into()));
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    assert_eq!(w.status(&owner.access).await, 200, "a client at work");
    assert_eq!(
        register("203.0.113.9").await.status,
        201,
        "another address registers as ever"
    );
    w.pass(1);
    assert_eq!(register("2001:db8:7::1").await.status, 201);
    assert_eq!(register("2001:db8:7::1").await.status, 429);

    // Everything that the flood left bears the TTL attribute, a day from now.
    let left: Vec<_> = w
        .dump()
        .into_iter()
        .filter(|item| !before.contains(item))
        .collect();
    assert_eq!(left.len(), 202);
    let ends = [BEGIN + 86_400, BEGIN + 86_401];
    for item in &left {
        let item: serde_json::Value = serde_json::from_str(item).unwrap();
        let at: u64 = item["expires_at"]["N"].as_str().unwrap().parse().unwrap();
        assert!(ends.contains(&at), "{item}");
    }
    engine_clock.tick(std::time::Duration::from_secs(86_402));
    database.sweep_ttl().unwrap();
    assert_eq!(
        w.dump().iter().filter(|item| left.contains(item)).count(),
        0
    );
    assert_eq!(w.status(&owner.access).await, 200, "and nothing else went");
}

#[tokio::test]
async fn a_client_that_never_finished_vanishes_after_a_day_and_one_that_did_lives_a_year() {
    let w = World::start().await;
    let unused = w.client().await;
    let used = w.connect().await;
    w.pass(86_400);
    let gone = w
        .get(&format!("/authorize?{}", w.ask(&unused).encode()))
        .send()
        .await;
    assert_eq!(gone.status, 400);
    assert!(gone.text.contains("add it again"), "{}", gone.text);
    let at_token = w.refresh(&unused, &used.refresh).await;
    assert_eq!(at_token.error(), (401, "invalid_client".into()));
    w.pass(363 * 86_400);
    w.open(&w.ask(&used.client_id)).await;
    w.pass(2 * 86_400);
    let forgotten = w
        .get(&format!("/authorize?{}", w.ask(&used.client_id).encode()))
        .send()
        .await;
    assert_eq!(forgotten.status, 400);
}

#[tokio::test]
async fn the_answer_holds_the_effective_values_and_nothing_that_was_ignored() {
    let w = World::start().await;
    let client = w
        .register(json!({
            "redirect_uris": [CALLBACK, "http://127.0.0.1:33418/", "cursor://anysphere.cursor-mcp/oauth/callback"],
            "client_name": "All of it",
            "client_uri": "javascript:alert(1)",
            "logo_uri": "http://169.254.169.254/",
            "contacts": ["a@client.example"],
            "jwks_uri": "http://127.0.0.1:9001/",
            "scope": "admin",
            "software_id": "x",
            "application_type": "native",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
            "response_types": ["code", "token"],
            "client_id": "mine",
            "client_secret": "mine",
            "registration_access_token": "mine",
        }))
        .await;
    let client_id = client["client_id"].clone();
    assert_ne!(client_id, "mine");
    assert_eq!(
        client,
        json!({
            "client_id": client_id,
            "client_id_issued_at": BEGIN,
            "client_name": "All of it",
            "redirect_uris": [CALLBACK, "http://127.0.0.1:33418/", "cursor://anysphere.cursor-mcp/oauth/callback"],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        })
    );
}

#[tokio::test]
async fn a_client_that_can_only_sign_assertions_is_told_so() {
    let w = World::start().await;
    for method in [
        "private_key_jwt",
        "client_secret_jwt",
        "tls_client_auth",
        "NONE",
    ] {
        let refused = w
            .post("/register")
            .json(&json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": method }))
            .send()
            .await;
        assert_eq!(refused.error(), (400, "invalid_client_metadata".into()));
        assert!(refused.text.contains("client_secret_basic"), "{method}");
    }
}
