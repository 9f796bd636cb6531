//! The main flow, from a client that knows only the URL of the proxy to a response of the upstream.

use serde_json::json;

use crate::support::world::{CALLBACK, CHALLENGE, Pairs, World, challenge};

#[tokio::test]
async fn a_client_that_knows_only_the_url_reaches_the_upstream() {
    let w = World::start().await;

    // The challenge names the resource's metadata, and that names the authorization server's.
    let refused = w.post("/mcp").json(&json!({})).send().await;
    assert_eq!(refused.status, 401);
    let metadata_url = refused.json()["resource_metadata"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        refused.header("www-authenticate"),
        format!("Bearer resource_metadata=\"{metadata_url}\", scope=\"mcp\"")
    );
    let path = metadata_url.strip_prefix(&w.base).unwrap();
    let resource = w.get(path).send().await.json();
    assert_eq!(resource["resource"], w.url("/mcp"));
    assert_eq!(resource["authorization_servers"], json!([w.base]));
    let server = w
        .get("/.well-known/oauth-authorization-server")
        .send()
        .await
        .json();
    assert_eq!(server["issuer"], w.base);
    assert_eq!(server["code_challenge_methods_supported"], json!(["S256"]));
    for endpoint in ["authorization", "token", "registration", "revocation"] {
        let url = server[format!("{endpoint}_endpoint")].as_str().unwrap();
        assert!(url.starts_with(&w.base), "{url}");
    }

    let client_id = w.client().await;
    let page = w.open(&w.authorization_request(&client_id)).await;
    assert!(page.response.text.contains("Test client"));
    assert!(page.response.text.contains("client.example"));
    let decided = w.submit_consent(&page, "authorize", &w.pin).await;
    assert_eq!(decided.status, 303);
    assert!(decided.header("location").starts_with(CALLBACK));
    assert_eq!(decided.redirected("state").as_deref(), Some("the-state"));
    assert_eq!(decided.redirected("iss").as_deref(), Some(w.base.as_str()));
    let code = decided.redirected("code").unwrap();

    let response = w.token(&w.redeem(&client_id, &code)).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(response.header("cache-control"), "no-store");
    let tokens = response.json();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 86_400);
    assert_eq!(tokens["scope"], "mcp");

    let response = w
        .call(tokens["access_token"].as_str().unwrap())
        .send()
        .await;
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["result"], json!({}));
    let seen = w.upstream.only_request();
    assert_eq!(
        seen.header("authorization"),
        Some(&*format!("Bearer {}", w.pat))
    );
    assert_eq!(seen.target, "/mcp");
}

#[tokio::test]
async fn connections_of_different_clients_are_independent() {
    let w = World::start().await;
    let (one, other) = (w.connect().await, w.connect().await);
    let again = w.connect_as(&one.client_id).await;
    let revoked = w
        .post("/revoke")
        .form(&[("token", &one.refresh), ("client_id", &one.client_id)])
        .send()
        .await;
    assert_eq!(revoked.status, 200);
    assert_eq!(w.status(&one.access).await, 401);
    assert_eq!(w.status(&other.access).await, 200);
    assert_eq!(
        w.status(&again.access).await,
        200,
        "the same client's other connection"
    );
    assert_eq!(
        w.refresh(&one.client_id, &one.refresh).await.error(),
        (400, "invalid_grant".into())
    );
}

#[tokio::test]
async fn a_connection_survives_a_restart_and_a_changed_pin() {
    let database = dynoxide::Database::memory().unwrap();
    let shared = database.clone();
    let options = |database| crate::support::world::Options {
        database: Some(database),
        settings: vec![("BASE_URL", "https://mcp.example.com".into())],
        ..Default::default()
    };
    let before = World::with_options(options(database)).await;
    let client_id = before.client().await;
    let page = before
        .open(
            &before
                .authorization_request(&client_id)
                .set("resource", "https://mcp.example.com/mcp"),
        )
        .await;
    let decided = before.submit_consent(&page, "authorize", &before.pin).await;
    let code = decided.redirected("code").unwrap();
    let tokens = before.token(&before.redeem(&client_id, &code)).await.json();

    let after = World::with_options(options(shared)).await;
    assert_ne!(before.pin, after.pin);
    assert_eq!(
        after.status(tokens["access_token"].as_str().unwrap()).await,
        200
    );
    let refreshed = after
        .refresh(&client_id, tokens["refresh_token"].as_str().unwrap())
        .await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test]
async fn every_alias_of_the_endpoint_is_one_resource() {
    let w = World::start().await;
    let client = w.connect().await;
    for path in [
        "/",
        "/mcp",
        "/mcp/",
        "/mcp/x/all",
        "/mcp-work",
        "/mcp-work/readonly",
    ] {
        let response = w
            .post(path)
            .header("authorization", &format!("Bearer {}", client.access))
            .json(&json!({}))
            .send()
            .await;
        assert_eq!(response.status, 200, "{path}");
        let document = w
            .get(&format!("/.well-known/oauth-protected-resource{path}"))
            .send()
            .await;
        assert_eq!(document.status, 200, "{path}");
    }
    let targets: Vec<_> = w
        .upstream
        .requests()
        .into_iter()
        .map(|r| r.target)
        .collect();
    assert_eq!(
        targets,
        [
            "/mcp",
            "/mcp",
            "/mcp",
            "/mcp/x/all",
            "/mcp",
            "/mcp/readonly"
        ]
    );
}

#[tokio::test]
async fn the_three_loopback_names_are_one_server() {
    let w = World::start().await;
    let port = w.address.port();
    let client_id = w.client().await;
    let localhost = format!("localhost:{port}");
    // A client that knows us as localhost…
    let page = w
        .get(&format!(
            "/authorize?{}",
            w.authorization_request(&client_id)
                .set("resource", &format!("http://{localhost}/mcp"))
                .encode()
        ))
        .header("host", &localhost)
        .send()
        .await;
    assert_eq!(page.status, 200, "{}", page.text);
    let page = crate::support::world::Page::read(page);
    let decided = w
        .post("/authorize")
        .header("host", &localhost)
        .header("cookie", &page.cookie)
        .form(&[("page", &page.id), ("pin", &w.pin)])
        .send()
        .await;
    assert_eq!(
        decided.redirected("iss"),
        Some(format!("http://{localhost}"))
    );
    let tokens = w
        .token(&w.redeem(&client_id, &decided.redirected("code").unwrap()))
        .await
        .json();
    // … may come back with the IP address.
    assert_eq!(
        w.status(tokens["access_token"].as_str().unwrap()).await,
        200
    );

    let stranger = w
        .get("/")
        .header("host", &format!("evil.example:{port}"))
        .send()
        .await;
    assert_eq!(stranger.status, 421);
}

#[tokio::test]
async fn a_client_without_refresh_tokens_gets_a_long_access_token() {
    let w = World::start().await;
    let client = w
        .register(json!({ "redirect_uris": [CALLBACK], "grant_types": ["authorization_code"] }))
        .await;
    let client_id = client["client_id"].as_str().unwrap();
    let code = w.code(client_id).await;
    let tokens = w.token(&w.redeem(client_id, &code)).await.json();
    assert_eq!(tokens["expires_in"], 2_592_000);
    assert!(tokens.get("refresh_token").is_none());
}

#[tokio::test]
async fn the_verifier_of_the_tests_is_the_one_of_rfc_7636() {
    assert_eq!(challenge(crate::support::world::VERIFIER), CHALLENGE);
    assert_eq!(Pairs::of(&[("a b", "c&d")]).encode(), "a+b=c%26d");
}
