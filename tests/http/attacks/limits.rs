//! What an unknown client can make the server do: fetch documents, store them, and call itself.

use lambda_oauth_mcp_proxy::client_document::Fetcher;
use serde_json::json;

use crate::{
    http::attacks::documents::{ID, origin, policy, world},
    support::world::{Options, World},
};

/// How many documents the table holds.
fn documents(w: &World) -> usize {
    let items = w.dump();
    items
        .iter()
        .filter(|item| item.contains("\"document#"))
        .count()
}

async fn open(w: &World, client_id: &str) -> u16 {
    let request = w.get(&format!(
        "/authorize?{}",
        w.authorization_request(client_id).encode()
    ));
    request.send().await.status
}

#[tokio::test]
async fn unknown_client_ids_cause_no_more_fetches_than_an_address_may_write_and_none_is_stored() {
    // No document matches its id, like those of an attacker.
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    let mut statuses = Vec::new();
    for n in 0..230 {
        statuses.push(open(&w, &format!("https://client.example/unseen/{n}")).await);
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!((20..=30).contains(&refused), "{refused}");
    assert!(origin.connections() <= 210, "{}", origin.connections());
    assert_eq!(documents(&w), 0);
}

#[tokio::test]
async fn a_document_is_stored_only_after_its_redirect_uri_matched() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    let elsewhere = w
        .authorization_request(ID)
        .and("redirect_uri", "https://evil.example/callback");
    let request = w.get(&format!("/authorize?{}", elsewhere.encode()));
    assert_eq!(request.send().await.status, 400);
    assert_eq!(documents(&w), 0);
    assert_eq!(open(&w, ID).await, 200);
    assert_eq!(documents(&w), 1);
}

#[tokio::test]
async fn a_client_id_at_our_own_address_is_not_fetched() {
    let origin = origin(&json!({})).await;
    // The documents come from `client.example`; here that is also a base URL of the server.
    let w = World::with_options(Options {
        documents: Some(Fetcher::with_policy(origin.tls.clone(), policy(&origin))),
        settings: vec![("ALSO_BASE_URLS", "https://client.example".to_owned())],
        ..Options::default()
    })
    .await;
    assert_eq!(open(&w, ID).await, 400);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn the_authorization_endpoint_does_not_serve_this_programs_own_fetches() {
    let w = World::start().await;
    let client = w.client().await;
    let ask = format!("/authorize?{}", w.authorization_request(&client).encode());
    for (agent, status) in [
        ("lambda-oauth-mcp-proxy/9.9.9", 400),
        ("Mozilla/5.0 (compatible; lambda-oauth-mcp-proxy/1)", 200),
    ] {
        let response = w.get(&ask).header("user-agent", agent).send().await;
        assert_eq!(response.status, status, "{agent}");
    }
}
