//! Using a credential where it does not belong: another client, another server, another endpoint, another kind.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dynoxide::Database;
use lambda_oauth_mcp_proxy::secrets::{Secret, TokenForm};
use serde_json::json;

use crate::support::world::{CALLBACK, Connected, Options, Pairs, World};

fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".into())
}

#[tokio::test]
async fn a_wrong_client_secret_consumes_neither_code_nor_refresh_token() {
    let w = World::start().await;
    let client = w
        .register(json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic" }))
        .await;
    let (id, secret) = (
        client["client_id"].as_str().unwrap(),
        client["client_secret"].as_str().unwrap(),
    );
    let code = w.code(id).await;
    let send = |form: &Pairs, credentials: String| {
        let credentials = STANDARD.encode(credentials);
        w.post("/token")
            .header("authorization", &format!("Basic {credentials}"))
            .form_of(form)
            .send()
    };
    let wrong = [
        format!("{id}:wrong"),
        format!("{id}:"),
        format!("{id}:{secret}x"),
        format!("{id}:{}", secret.to_uppercase()),
    ];
    let form = w.redeem(id, &code);
    for credentials in &wrong {
        let response = send(&form, credentials.clone()).await;
        assert_eq!(response.error(), (401, "invalid_client".into()));
        assert!(response.header("www-authenticate").starts_with("Basic "));
    }
    let tokens = send(&form, format!("{id}:{secret}")).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    let one = Connected::read(id, &code, &tokens.json());
    w.keep_secret(&one.access);
    let form = Pairs::of(&[
        ("grant_type", "refresh_token"),
        ("client_id", id),
        ("refresh_token", &one.refresh),
    ]);
    let before = w.dump();
    for credentials in wrong {
        let response = send(&form, credentials).await;
        assert_eq!(response.error(), (401, "invalid_client".into()));
    }
    // Without the secret the connection can be neither refreshed nor ended.
    let bare = w.token(&form).await;
    assert_eq!(bare.error(), (401, "invalid_client".into()));
    let revoked = w
        .post("/revoke")
        .form(&[("token", &one.refresh), ("client_id", id)])
        .send()
        .await;
    assert_eq!(revoked.error(), (401, "invalid_client".into()));
    assert_eq!(w.dump(), before);
    assert_eq!(w.status(&one.access).await, 200);
    assert_eq!(send(&form, format!("{id}:{secret}")).await.status, 200);
}

#[tokio::test]
async fn a_resource_of_another_server_is_refused_everywhere_and_consumes_nothing() {
    let w = World::start().await;
    let client = w.client().await;
    let code = w.code(&client).await;
    let host = w.base.strip_prefix("http://").unwrap();
    let foreign = [
        "https://other.example/mcp".to_owned(),
        format!("https://{host}/mcp"),
        format!("http://{host}.other.example/mcp"),
        format!("http://other.example@{host}/mcp"),
        format!("http://{host}/mcp#x"),
        format!("http://{host}/authorize"),
        format!("http://{host}/mcpx"),
        format!("http://{host}/mcp/%2e%2e/x"),
        "http://127.0.0.1:1/mcp".to_owned(),
        "mcp".to_owned(),
        "urn:mcp".to_owned(),
    ];
    let before = w.dump();
    for resource in &foreign {
        let ask = w.authorization_request(&client).set("resource", resource);
        let response = w.get(&format!("/authorize?{}", ask.encode())).send().await;
        assert_eq!(
            response.redirected("error").as_deref(),
            Some("invalid_target"),
            "{resource}"
        );
        let redeem = w.redeem(&client, &code).and("resource", resource);
        let response = w.token(&redeem).await;
        assert_eq!(
            response.error(),
            (400, "invalid_target".into()),
            "{resource}"
        );
        // A valid resource does not make another one acceptable.
        let both = redeem.and("resource", &w.url("/mcp"));
        let response = w.token(&both).await;
        assert_eq!(
            response.error(),
            (400, "invalid_target".into()),
            "{resource}"
        );
    }
    assert_eq!(w.dump(), before);
    let redeem = w.redeem(&client, &code).and("resource", &w.url("/mcp"));
    let tokens = w.token(&redeem).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    let one = Connected::read(&client, &code, &tokens.json());
    let before = w.dump();
    let refresh = Pairs::of(&[
        ("grant_type", "refresh_token"),
        ("client_id", &client),
        ("refresh_token", &one.refresh),
    ]);
    for resource in &foreign {
        let response = w.token(&refresh.clone().and("resource", resource)).await;
        assert_eq!(
            response.error(),
            (400, "invalid_target".into()),
            "{resource}"
        );
    }
    assert_eq!(w.dump(), before);
    // Root, endpoint, path below it and alias are this one server.
    for resource in [w.base.clone(), w.url("/"), w.url("/mcp/x"), w.url("/mcp-2")] {
        let tokens = w.token(&refresh.clone().and("resource", &resource)).await;
        assert_eq!(tokens.status, 200, "{resource}: {}", tokens.text);
    }
}

#[tokio::test]
async fn credentials_of_one_deployment_are_refused_by_another() {
    let (w, other) = (World::start().await, World::start().await);
    let one = w.connect().await;
    let code = w.code(&one.client_id).await;
    assert_eq!(other.status(&one.access).await, 401);
    assert!(other.upstream.requests().is_empty());
    let refreshed = other.refresh(&one.client_id, &one.refresh).await;
    assert_eq!(refreshed.error(), (401, "invalid_client".into()));
    // Nor for a client that is known there.
    let client = other.client().await;
    let refreshed = other.refresh(&client, &one.refresh).await;
    assert_eq!(refreshed.error(), invalid_grant());
    let redeemed = other.token(&other.redeem(&client, &code)).await;
    assert_eq!(redeemed.error(), invalid_grant());
    let page = w.open(&w.authorization_request(&one.client_id)).await;
    let decided = other.submit_consent(&page, "authorize", &other.pin).await;
    assert_eq!(decided.status, 403, "its cookie is for another port");
}

#[tokio::test]
async fn a_token_issued_under_another_base_url_is_refused_even_on_the_same_table() {
    let database = Database::memory().unwrap();
    let with = |database: &Database, settings: &[(&'static str, &str)]| Options {
        database: Some(database.clone()),
        settings: settings
            .iter()
            .map(|(n, v)| (*n, (*v).to_owned()))
            .collect(),
        ..Options::default()
    };
    let old = World::with_options(with(&database, &[("BASE_URL", "https://old.example")])).await;
    let client = old.client().await;
    let consent = || async {
        let page = old
            .open(&old.authorization_request(&client).without("resource"))
            .await;
        let decided = old.submit_consent(&page, "authorize", &old.pin).await;
        decided.redirected("code").unwrap()
    };
    let (first, second) = (consent().await, consent().await);
    let tokens = old.token(&old.redeem(&client, &first)).await.json();
    let one = Connected::read(&client, &first, &tokens);

    let new = World::with_options(with(&database, &[("BASE_URL", "https://new.example")])).await;
    let before = new.dump();
    assert_eq!(new.status(&one.access).await, 401);
    assert_eq!(
        new.refresh(&client, &one.refresh).await.error(),
        invalid_grant()
    );
    let redeemed = new.token(&new.redeem(&client, &second)).await;
    assert_eq!(redeemed.error(), invalid_grant());
    assert_eq!(new.dump(), before);

    // Unless the settings say that the old name still belongs to this server.
    let settings = [
        ("BASE_URL", "https://new.example"),
        ("ALSO_BASE_URLS", "https://old.example"),
    ];
    let both = World::with_options(with(&database, &settings)).await;
    assert_eq!(both.status(&one.access).await, 200);
    assert_eq!(both.refresh(&client, &one.refresh).await.status, 200);
}

#[tokio::test]
async fn no_kind_of_credential_is_taken_for_another() {
    let w = World::start().await;
    let one = w.connect().await;
    let code = w.code(&one.client_id).await;
    for wrong in [&one.refresh, &code, &one.client_id, &one.code] {
        assert_eq!(w.status(wrong).await, 401);
    }
    let before = w.dump();
    for wrong in [&one.access, &code, &one.client_id] {
        let refreshed = w.refresh(&one.client_id, wrong).await;
        assert_eq!(refreshed.error(), invalid_grant());
    }
    for wrong in [&one.access, &one.refresh, &one.client_id] {
        let redeemed = w.token(&w.redeem(&one.client_id, wrong)).await;
        assert_eq!(redeemed.error(), invalid_grant());
    }
    // A code is no token: revoking it is no error and does nothing (RFC 7009 §2.2).
    let revoked = w
        .post("/revoke")
        .form(&[("token", &code), ("client_id", &one.client_id)])
        .send()
        .await;
    assert_eq!(revoked.status, 200);
    assert_eq!(w.dump(), before);
    assert!(w.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_pre_registered_clients_id_cannot_be_used_without_its_secret_nor_registered_again() {
    let w = World::with_options(Options {
        secret: Some(Box::new(|secret| {
            let document = json!({
                "upstream_token": "unused", "auth_pin": "unused000",
                "clients": [{ "client_id": "claude", "client_secret": "by-hand", "redirect_uris": [CALLBACK] }],
            });
            let read = Secret::parse(&document.to_string(), &TokenForm::default());
            secret.clients = read.unwrap().clients;
        })),
        ..Options::default()
    })
    .await;
    w.keep_secret("by-hand");
    let code = w.code("claude").await;
    let form = w.redeem("claude", &code);
    for wrong in [form.clone(), form.clone().and("client_secret", "guess")] {
        assert_eq!(
            w.token(&wrong).await.error(),
            (401, "invalid_client".into())
        );
    }
    let elsewhere = w
        .authorization_request("claude")
        .set("redirect_uri", "https://evil.example/");
    let elsewhere = w
        .get(&format!("/authorize?{}", elsewhere.encode()))
        .send()
        .await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (400, ""));
    let again = w
        .register(json!({ "client_id": "claude", "redirect_uris": ["https://evil.example/"] }))
        .await;
    assert_ne!(again["client_id"], "claude");
    // The credentials may be in the form or in the header: nothing says which.
    let tokens = w.token(&form.and("client_secret", "by-hand")).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    let refresh = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
    let refreshed = w
        .post("/token")
        .header(
            "authorization",
            &format!("Basic {}", STANDARD.encode("claude:by-hand")),
        )
        .form(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)])
        .send()
        .await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
}

#[tokio::test]
async fn a_client_assertion_or_two_methods_at_once_are_refused() {
    let w = World::start().await;
    let client = w.client().await;
    let code = w.code(&client).await;
    let form = w.redeem(&client, &code);
    let assertion = form
        .clone()
        .and(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )
        .and("client_assertion", "eyJ.eyJ.x");
    assert_eq!(
        w.token(&assertion).await.error(),
        (401, "invalid_client".into())
    );
    let basic = format!("Basic {}", STANDARD.encode(format!("{client}:x")));
    for form in [
        form.clone().and("client_secret", "x"),
        form.clone().set("client_id", "another"),
    ] {
        let response = w
            .post("/token")
            .header("authorization", &basic)
            .form_of(&form)
            .send()
            .await;
        assert_eq!(response.error(), (400, "invalid_request".into()));
    }
    assert_eq!(w.token(&form).await.status, 200);
}
