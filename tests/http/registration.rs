//! `POST /register` beyond the single request: floods, lifetimes, and the settings that close it.

use std::sync::Arc;

use dynoxide::{Database, storage_backend::ManualClock};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::support::world::{BEGIN, CALLBACK, Options, World};

#[tokio::test]
async fn a_flood_of_registrations_is_limited_and_expires_and_slows_nobody_down() {
    let engine_clock = Arc::new(ManualClock::new(BEGIN));
    let database = Database::memory_with_clock(engine_clock.clone()).unwrap();
    let w = World::with_options(Options {
        settings: vec![("TRUSTED_PROXY_HEADER", "x-real-ip".into())],
        database: Some(database.clone()),
        ..Options::default()
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

    // Addresses of one IPv6 network count as one; an invalid registration does not count.
    let refused = w
        .post("/register")
        .header("x-real-ip", "2001:db8:7::1")
        .json(&json!({ "redirect_uris": [] }))
        .send()
        .await;
    assert_eq!(refused.error(), (400, "invalid_redirect_uri".into()));
    let addresses = (0..1000).map(|n| format!("2001:db8:7::{n:x}"));
    let responses: Vec<_> = stream::iter(addresses)
        .map(|address| async move { register(&address).await })
        .buffer_unordered(16)
        .collect()
        .await;
    let (done, limited): (Vec<_>, Vec<_>) = responses.iter().partition(|a| a.status == 201);
    assert_eq!((done.len(), limited.len()), (200, 800));
    for response in limited {
        assert_eq!(response.error(), (429, "temporarily_unavailable".into()));
        assert_eq!(response.header("retry-after"), "1");
        assert_eq!(response.header("cache-control"), "no-store");
        assert_eq!(response.header("access-control-allow-origin"), "*");
    }
    assert_eq!(w.status(&owner.access).await, 200, "a client at work");
    assert_eq!(
        register("203.0.113.9").await.status,
        201,
        "another address registers as ever"
    );
    w.advance_clock(1);
    assert_eq!(register("2001:db8:7::1").await.status, 201);
    assert_eq!(register("2001:db8:7::1").await.status, 429);

    // Every item that the flood left has the TTL attribute, a day from now.
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
async fn a_client_without_consent_expires_after_a_day_and_one_with_consent_after_a_year() {
    let w = World::start().await;
    let unused = w.client().await;
    let used = w.connect().await;
    w.advance_clock(86_400);
    let gone = w
        .get(&format!(
            "/authorize?{}",
            w.authorization_request(&unused).encode()
        ))
        .send()
        .await;
    assert_eq!(gone.status, 400);
    assert!(gone.text.contains("add it again"), "{}", gone.text);
    let at_token = w.refresh(&unused, &used.refresh).await;
    assert_eq!(at_token.error(), (401, "invalid_client".into()));
    w.advance_clock(363 * 86_400);
    w.open(&w.authorization_request(&used.client_id)).await;
    w.advance_clock(2 * 86_400);
    let forgotten = w
        .get(&format!(
            "/authorize?{}",
            w.authorization_request(&used.client_id).encode()
        ))
        .send()
        .await;
    assert_eq!(forgotten.status, 400);
}

#[tokio::test]
async fn the_response_has_the_effective_values_and_no_ignored_members() {
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

/// Every member that a client may leave out (RFC 7591 §2), known here or not.
const OPTIONAL_MEMBERS: [&str; 17] = [
    "token_endpoint_auth_method",
    "grant_types",
    "response_types",
    "client_name",
    "client_uri",
    "logo_uri",
    "scope",
    "contacts",
    "tos_uri",
    "policy_uri",
    "jwks_uri",
    "jwks",
    "software_id",
    "software_version",
    "software_statement",
    "application_type",
    "token_endpoint_auth_methods_supported",
];

#[tokio::test]
async fn null_an_empty_string_and_an_empty_list_mean_that_a_member_is_absent() {
    let w = World::start().await;
    let absent = [
        json!(null),
        json!(""),
        json!([]),
        json!("  "),
        json!([null]),
        json!([""]),
    ];
    let mut wrong = Vec::new();
    let mut check = |told: String, response: crate::support::world::Response| {
        let mut got: serde_json::Value = serde_json::from_str(&response.text).unwrap_or_default();
        got.as_object_mut()
            .map(|members| members.remove("client_id"));
        let expected = json!({
            "client_id_issued_at": BEGIN,
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        });
        if (response.status, &got) != (201, &expected) {
            wrong.push(format!("{told}: {} {}", response.status, response.text));
        }
    };
    for member in OPTIONAL_MEMBERS {
        for value in &absent {
            let mut metadata = json!({ "redirect_uris": [CALLBACK] });
            metadata[member] = value.clone();
            let response = w.post("/register").json(&metadata).send().await;
            check(metadata.to_string(), response);
        }
    }
    // All of them at once, as serialisers write what their user left out.
    for value in &absent {
        let mut metadata = json!({ "redirect_uris": [CALLBACK] });
        for member in OPTIONAL_MEMBERS {
            metadata[member] = value.clone();
        }
        let response = w.post("/register").json(&metadata).send().await;
        check(format!("everything {value}"), response);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_defaults_for_absent_members_in_the_response_are_those_that_apply() {
    let w = World::start().await;
    let client = w
        .register(json!({
            "redirect_uris": [CALLBACK], "grant_types": [], "response_types": [],
            "token_endpoint_auth_method": "", "client_name": null, "scope": "",
        }))
        .await;
    let client_id = client["client_id"].as_str().unwrap();
    let one = w.connect_as(client_id).await;
    assert!(!one.refresh.is_empty());
    assert_eq!(w.refresh(client_id, &one.refresh).await.status, 200);
}

#[tokio::test]
async fn empty_list_elements_are_dropped_and_the_others_count() {
    let w = World::start().await;
    for (grant_types, effective) in [
        (
            json!(["authorization_code", null]),
            json!(["authorization_code"]),
        ),
        (
            json!(["", "authorization_code"]),
            json!(["authorization_code"]),
        ),
        (
            json!([null, "authorization_code", "", "refresh_token"]),
            json!(["authorization_code", "refresh_token"]),
        ),
    ] {
        let client = w
            .register(json!({
                "redirect_uris": [CALLBACK], "grant_types": grant_types, "response_types": ["", "code"],
            }))
            .await;
        assert_eq!(client["grant_types"], effective, "{grant_types}");
        assert_eq!(client["response_types"], json!(["code"]));
    }
}

#[tokio::test]
async fn given_members_are_still_validated_and_redirect_uris_are_required() {
    let w = World::start().await;
    let before = w.dump();
    for (member, value, code) in [
        ("redirect_uris", json!(null), "invalid_redirect_uri"),
        ("redirect_uris", json!(""), "invalid_redirect_uri"),
        ("redirect_uris", json!([]), "invalid_redirect_uri"),
        ("redirect_uris", json!([null]), "invalid_redirect_uri"),
        ("redirect_uris", json!([""]), "invalid_redirect_uri"),
        (
            "redirect_uris",
            json!([CALLBACK, ""]),
            "invalid_redirect_uri",
        ),
        (
            "redirect_uris",
            json!([CALLBACK, null]),
            "invalid_redirect_uri",
        ),
        ("redirect_uris", json!({}), "invalid_redirect_uri"),
        (
            "grant_types",
            json!(["refresh_token"]),
            "invalid_client_metadata",
        ),
        (
            "grant_types",
            json!(["implicit"]),
            "invalid_client_metadata",
        ),
        (
            "grant_types",
            json!("authorization_code"),
            "invalid_client_metadata",
        ),
        ("grant_types", json!({}), "invalid_client_metadata"),
        ("grant_types", json!([7]), "invalid_client_metadata"),
        (
            "response_types",
            json!(["token"]),
            "invalid_client_metadata",
        ),
        ("response_types", json!(false), "invalid_client_metadata"),
        ("client_name", json!(["x"]), "invalid_client_metadata"),
        ("client_name", json!({}), "invalid_client_metadata"),
        ("client_name", json!(0), "invalid_client_metadata"),
        (
            "token_endpoint_auth_method",
            json!(["none"]),
            "invalid_client_metadata",
        ),
        (
            "token_endpoint_auth_method",
            json!("private_key_jwt"),
            "invalid_client_metadata",
        ),
    ] {
        let mut metadata = json!({ "redirect_uris": [CALLBACK] });
        metadata[member] = value.clone();
        let refused = w.post("/register").json(&metadata).send().await;
        assert_eq!(refused.error(), (400, code.into()), "{member} {value}");
    }
    assert_eq!(w.dump(), before);
}
