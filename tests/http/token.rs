//! `/token` and `/revoke`: who may redeem what, and that a refusal changes nothing.

use base64::Engine as _;
use serde_json::json;

use crate::support::world::{CALLBACK, Connected, Pairs, World};

fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".into())
}

#[tokio::test]
async fn a_refused_code_is_not_consumed() {
    let w = World::start().await;
    let client = w.client().await;
    let stranger = w.client().await;
    let code = w.code(&client).await;
    let right = w.redeem(&client, &code);
    let before = w.dump();
    for (wrong, error) in [
        (
            right.clone().set("code_verifier", &"x".repeat(43)),
            "invalid_grant",
        ),
        (right.clone().set("client_id", &stranger), "invalid_grant"),
        (
            right
                .clone()
                .set("redirect_uri", "https://client.example/other"),
            "invalid_grant",
        ),
        (
            right
                .clone()
                .set("redirect_uri", "https://client.example/callback/"),
            "invalid_grant",
        ),
        (
            right.clone().set("resource", "https://other.example/mcp"),
            "invalid_target",
        ),
        (right.clone().set("code_verifier", "short"), "invalid_grant"),
        (right.clone().without("code_verifier"), "invalid_request"),
        (
            right.clone().and("client_secret", "guess"),
            "invalid_client",
        ),
    ] {
        let response = w.token(&wrong).await;
        assert_eq!(response.json()["error"], error, "{wrong:?}");
    }
    assert_eq!(w.dump(), before);
    assert_eq!(w.token(&right).await.status, 200);
}

#[tokio::test]
async fn a_code_expires_after_five_minutes() {
    let w = World::start().await;
    let client = w.client().await;
    let (code, other) = (w.code(&client).await, w.code(&client).await);
    w.advance_clock(299);
    assert_eq!(w.token(&w.redeem(&client, &code)).await.status, 200);
    w.advance_clock(1);
    assert_eq!(
        w.token(&w.redeem(&client, &other)).await.error(),
        invalid_grant()
    );
}

#[tokio::test]
async fn a_code_used_again_ends_the_connection() {
    let w = World::start().await;
    let client = w.connect().await;
    let again = w.token(&w.redeem(&client.client_id, &client.code)).await;
    assert_eq!(again.error(), invalid_grant());
    assert_eq!(w.status(&client.access).await, 401);
    assert_eq!(
        w.refresh(&client.client_id, &client.refresh).await.error(),
        invalid_grant()
    );
}

#[tokio::test]
async fn an_access_token_expires_when_announced() {
    let w = World::start().await;
    let client = w.connect().await;
    w.advance_clock(86_399);
    assert_eq!(w.status(&client.access).await, 200);
    w.advance_clock(1);
    let response = w.call(&client.access).send().await;
    assert_eq!(response.error(), (401, "invalid_token".into()));
    assert!(
        response
            .header("www-authenticate")
            .contains("error=\"invalid_token\"")
    );
    assert_eq!(
        w.refresh(&client.client_id, &client.refresh).await.status,
        200
    );
}

#[tokio::test]
async fn a_refresh_issues_a_new_pair_and_the_old_access_token_stays_valid_until_the_next_refresh() {
    let w = World::start().await;
    let one = w.connect().await;
    w.advance_clock(600);
    let two = w.refresh(&one.client_id, &one.refresh).await;
    let two = Connected::read(&one.client_id, "", &two.json());
    assert_ne!((&one.access, &one.refresh), (&two.access, &two.refresh));
    assert_eq!(
        w.status(&one.access).await,
        200,
        "calls under way keep working"
    );
    assert_eq!(w.status(&two.access).await, 200);
    w.advance_clock(600);
    let three = w.refresh(&one.client_id, &two.refresh).await;
    assert_eq!(three.status, 200);
    assert_eq!(w.status(&one.access).await, 401);
    assert_eq!(w.status(&two.access).await, 200);
}

#[tokio::test]
async fn a_refresh_repeated_within_the_grace_period_gets_the_same_pair() {
    let w = World::start().await;
    let one = w.connect().await;
    let first = w.refresh(&one.client_id, &one.refresh).await;
    w.advance_clock(60);
    let repeated = w.refresh(&one.client_id, &one.refresh).await;
    let tokens = |response: &crate::support::world::Response| {
        let json = response.json();
        (json["access_token"].clone(), json["refresh_token"].clone())
    };
    assert_eq!(tokens(&first), tokens(&repeated));
    assert_eq!(repeated.json()["expires_in"], 86_340, "what is left of it");
}

#[tokio::test]
async fn a_replaced_refresh_token_presented_after_the_grace_period_ends_the_connection() {
    let w = World::start().await;
    let one = w.connect().await;
    let two = w.refresh(&one.client_id, &one.refresh).await;
    let two = Connected::read(&one.client_id, "", &two.json());
    w.advance_clock(121);
    assert_eq!(
        w.refresh(&one.client_id, &one.refresh).await.error(),
        invalid_grant()
    );
    assert_eq!(w.status(&two.access).await, 401);
    assert_eq!(
        w.refresh(&one.client_id, &two.refresh).await.error(),
        invalid_grant()
    );
}

#[tokio::test]
async fn a_refresh_token_of_two_rotations_ago_is_refused_and_after_the_grace_period_ends_the_connection()
 {
    let w = World::start().await;
    let one = w.connect().await;
    let two = w.refresh(&one.client_id, &one.refresh).await;
    let two = Connected::read(&one.client_id, "", &two.json());
    let three = w.refresh(&one.client_id, &two.refresh).await;
    let three = Connected::read(&one.client_id, "", &three.json());
    // A slow process of the client may still use it.
    assert_eq!(
        w.refresh(&one.client_id, &one.refresh).await.error(),
        invalid_grant()
    );
    assert_eq!(w.status(&three.access).await, 200);
    w.advance_clock(121);
    assert_eq!(
        w.refresh(&one.client_id, &one.refresh).await.error(),
        invalid_grant()
    );
    assert_eq!(w.status(&three.access).await, 401);
}

#[tokio::test]
async fn a_forged_refresh_token_of_a_real_connection_does_not_end_it() {
    let w = World::start().await;
    let one = w.connect().await;
    let before = w.dump();
    // Right connection, wrong family: anyone who has seen an access token could write this.
    let (id, rest) = one.refresh.split_once('.').unwrap();
    let invented = format!(
        "{id}.{}.{}",
        "A".repeat(rest.split_once('.').unwrap().0.len()),
        "A".repeat(43)
    );
    assert_eq!(
        w.refresh(&one.client_id, &invented).await.error(),
        invalid_grant()
    );
    assert_eq!(w.dump(), before);
    assert_eq!(w.status(&one.access).await, 200);
}

#[tokio::test]
async fn a_connection_unused_for_thirty_days_ends() {
    let w = World::start().await;
    let one = w.connect().await;
    w.advance_clock(2_592_000 - 1);
    let two = w.refresh(&one.client_id, &one.refresh).await;
    assert_eq!(two.status, 200, "{}", two.text);
    let two = Connected::read(&one.client_id, "", &two.json());
    w.advance_clock(2_592_000);
    assert_eq!(
        w.refresh(&one.client_id, &two.refresh).await.error(),
        invalid_grant()
    );
}

#[tokio::test]
async fn another_client_can_neither_refresh_nor_revoke() {
    let w = World::start().await;
    let (one, stranger) = (w.connect().await, w.client().await);
    assert_eq!(
        w.refresh(&stranger, &one.refresh).await.error(),
        invalid_grant()
    );
    for token in [&one.refresh, &one.access] {
        let revoked = w
            .post("/revoke")
            .form(&[("token", token), ("client_id", &stranger)])
            .send()
            .await;
        assert_eq!(revoked.status, 400);
    }
    assert_eq!(w.status(&one.access).await, 200);
}

#[tokio::test]
async fn revoking_either_token_ends_the_connection_and_unknown_ones_are_no_error() {
    let w = World::start().await;
    for access in [true, false] {
        let one = w.connect().await;
        let token = if access { &one.access } else { &one.refresh };
        for _ in 0..2 {
            let revoked = w
                .post("/revoke")
                .form(&[("token", token), ("client_id", &one.client_id)])
                .send()
                .await;
            assert_eq!((revoked.status, revoked.text.as_str()), (200, "{}"));
        }
        assert_eq!(w.status(&one.access).await, 401);
    }
    let client = w.client().await;
    let unknown = w
        .post("/revoke")
        .form(&[("token", "x"), ("client_id", &client)])
        .send()
        .await;
    assert_eq!(unknown.status, 200);
}

#[tokio::test]
async fn bodies_may_be_json() {
    let w = World::start().await;
    let client = w.client().await;
    let code = w.code(&client).await;
    let body: serde_json::Map<_, _> = w
        .redeem(&client, &code)
        .0
        .into_iter()
        .map(|(n, v)| (n, json!(v)))
        .collect();
    let response = w.post("/token").json(&body.into()).send().await;
    assert_eq!(response.status, 200, "{}", response.text);
}

/// RFC 6749 §5.1 requires both headers with tokens; no cache may keep an error either.
#[tokio::test]
async fn no_response_with_credentials_may_be_cached_by_any_version_of_http() {
    let w = World::start().await;
    let client = w.client().await;
    let tokens = w.token(&w.redeem(&client, &w.code(&client).await)).await;
    let registered = w
        .post("/register")
        .json(&json!({ "redirect_uris": [CALLBACK] }));
    let mut responses = vec![tokens, registered.send().await];
    for path in ["/token", "/register", "/revoke"] {
        responses.push(w.post(path).form(&[("grant_type", "x")]).send().await);
        responses.push(w.get(path).send().await);
    }
    for response in responses {
        let caching = ["cache-control", "pragma"].map(|name| response.header(name));
        assert_eq!(caching, ["no-store", "no-cache"], "{response:?}");
    }
}

fn basic_credentials(id: &str, secret: &str) -> String {
    let pair = format!("{id}:{secret}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

#[tokio::test]
async fn a_client_that_asks_for_a_secret_gets_one_and_must_use_it_as_registered() {
    let w = World::start().await;
    for (method, basic) in [("client_secret_basic", true), ("client_secret_post", false)] {
        let client = w
            .register(json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": method }))
            .await;
        assert_eq!(client["token_endpoint_auth_method"], method);
        assert_eq!(client["client_secret_expires_at"], 0);
        let (id, secret) = (
            client["client_id"].as_str().unwrap(),
            client["client_secret"].as_str().unwrap(),
        );
        let code = w.code(id).await;
        let form = w.redeem(id, &code);
        let as_basic = |form: &Pairs, secret: &str| {
            w.post("/token")
                .header("authorization", &basic_credentials(id, secret))
                .form_of(form)
        };
        let as_post = |form: &Pairs, secret: &str| {
            w.post("/token")
                .form_of(&form.clone().and("client_secret", secret))
        };

        let none = w.token(&form).await;
        assert_eq!(none.error(), (401, "invalid_client".into()));
        let wrong = as_basic(&form, "wrong").send().await;
        assert_eq!(wrong.error(), (401, "invalid_client".into()));
        assert!(wrong.header("www-authenticate").starts_with("Basic "));
        let other_way = if basic {
            as_post(&form, secret)
        } else {
            as_basic(&form, secret)
        }
        .send()
        .await;
        assert_eq!(
            other_way.error(),
            (401, "invalid_client".into()),
            "{method}"
        );
        let right = if basic {
            as_basic(&form, secret)
        } else {
            as_post(&form, secret)
        }
        .send()
        .await;
        assert_eq!(right.status, 200, "{method}: {}", right.text);

        // Registration says nothing about revocation: either way will do, and the secret must be right.
        let tokens = Connected::read(id, "", &right.json());
        let revocation = Pairs::of(&[("token", &tokens.refresh)]);
        for (secret, status) in [("wrong", 401), (secret, 200), (secret, 200)] {
            let in_form = revocation.clone().and("client_id", id);
            let in_form = in_form.and("client_secret", secret);
            let revoke = w.post("/revoke");
            let revoked = if basic {
                revoke.form_of(&in_form)
            } else {
                let credentials = basic_credentials(id, secret);
                revoke
                    .header("authorization", &credentials)
                    .form_of(&revocation)
            };
            assert_eq!(revoked.send().await.status, status, "{method}");
        }
        assert_eq!(w.status(&tokens.access).await, 401);
    }
}
