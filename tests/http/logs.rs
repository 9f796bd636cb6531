//! The whole flow, and everything that was logged and returned on the way: no credential, PIN or PAT.

use serde_json::Value;

use crate::support::world::{Response, World, logged};

/// Every response to a request that is not the one which issues the secret.
fn clean(responses: &[&Response], secrets: &[(&str, &str)]) {
    for response in responses {
        for (what, secret) in secrets {
            assert!(!response.text.contains(secret), "{what} in {response:?}");
            assert!(
                !format!("{:?}", response.headers).contains(secret),
                "{what} in {response:?}"
            );
        }
    }
}

#[tokio::test]
async fn no_credential_is_logged_or_returned_and_every_step_is_logged() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let wrong = w.submit_consent(&page, "authorize", "wrongPIN77").await;
    assert_eq!(wrong.status, 403);
    let decided = w.submit_consent(&page, "authorize", &w.pin).await;
    let code = decided.redirected("code").unwrap();
    let form = w.redeem(&client, &code);
    let bad = w
        .token(&form.clone().set("code_verifier", &"v".repeat(50)))
        .await;
    let issued = w.token(&form).await;
    let access = issued.json()["access_token"].as_str().unwrap().to_owned();
    let refresh = issued.json()["refresh_token"].as_str().unwrap().to_owned();
    let called = w.call(&access).send().await;
    w.upstream.responds_with(
        401,
        &[("www-authenticate", "Bearer realm=\"upstream\"")],
        "no",
    );
    let refused = w.call(&access).send().await;
    assert_eq!(refused.status, 502);
    let refreshed = w.refresh(&client, &refresh).await;
    let next = refreshed.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let replayed = w.token(&form).await;
    let gone = w.call(&access).send().await;
    assert_eq!(gone.status, 401);

    let standing = [("the PAT", w.pat.as_str()), ("the PIN", w.pin.as_str())];
    clean(
        &[
            &page.response,
            &wrong,
            &decided,
            &bad,
            &issued,
            &called,
            &refused,
            &refreshed,
            &replayed,
            &gone,
        ],
        &standing,
    );
    let issued_once = [
        ("the code", code.as_str()),
        ("the verifier", crate::support::world::VERIFIER),
        ("the access token", &access),
        ("the refresh token", &refresh),
    ];
    clean(
        &[
            &page.response,
            &wrong,
            &bad,
            &called,
            &refused,
            &refreshed,
            &replayed,
            &gone,
        ],
        &issued_once,
    );

    let log = String::from_utf8(logged().lock().unwrap().clone()).unwrap();
    let never = [
        "wrongPIN77",
        crate::support::world::VERIFIER,
        &code,
        &access,
        &refresh,
        &next,
        &w.pat,
        &w.pin,
    ];
    for secret in never {
        assert!(!log.contains(secret), "{secret}");
    }
    // The events that an audit needs are there, each with the connection or the client.
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["fields"]["client_id"] == client.as_str())
        .collect();
    for event in [
        "registered",
        "wrong_pin",
        "authorized",
        "issued",
        "refreshed",
        "replay_found",
        "upstream_credential_refused",
        "request",
    ] {
        assert!(
            events.iter().any(|line| line["fields"]["event"] == event),
            "{event} in {events:#?}"
        );
    }
}

#[tokio::test]
async fn a_credential_in_the_wrong_place_is_not_logged_either() {
    let w = World::start().await;
    let client = w.connect().await;
    for path in [
        format!("/mcp?access_token={}", client.access),
        format!("/mcp/{}", client.access),
        format!("/{}", client.access),
        format!("/authorize?client_id={}", client.refresh),
        format!(
            "/.well-known/oauth-protected-resource/mcp/{}",
            client.access
        ),
    ] {
        w.get(&path).send().await;
    }
    let misplaced = w
        .post("/token")
        .header("mcp-method", &client.access)
        .header("mcp-name", &client.refresh)
        .header("user-agent", &client.access)
        .form(&[
            ("client_id", &client.refresh),
            ("grant_type", &client.access),
        ])
        .send()
        .await;
    assert_eq!(misplaced.status, 400);
    // The world looks for all of them in the log when it ends.
}

#[tokio::test]
async fn the_path_of_a_404_is_logged_unless_it_could_contain_a_credential() {
    let w = World::start().await;
    let token = w.connect().await.access;
    w.request("AN-INVENTED-METHOD", "/nowhere").send().await;
    for path in ["/wp-login.php", &format!("/{token}"), "/a%20b", "/token"] {
        w.get(path).send().await;
    }
    let log = String::from_utf8_lossy(&logged().lock().unwrap()).into_owned();
    assert!(log.contains(r#""path":"/wp-login.php""#));
    assert!(log.contains(r#""method":"other""#));
    for other in [&token, "AN-INVENTED-METHOD", "%20", r#""path":"/token""#] {
        assert!(!log.contains(other), "{other}");
    }
}
