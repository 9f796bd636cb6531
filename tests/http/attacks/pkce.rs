//! Circumventing PKCE (RFC 7636, RFC 9700 §2.1.1, §4.8): leaving it out, weakening it, guessing it.

use crate::support::world::{CALLBACK, CHALLENGE, VERIFIER, World, challenge};

#[tokio::test]
async fn an_authorization_request_without_a_valid_s256_challenge_is_refused() {
    let w = World::start().await;
    let client = w.client().await;
    let ask = w.authorization_request(&client);
    let before = w.dump();
    for (what, asked) in [
        ("missing", ask.clone().without("code_challenge")),
        ("empty", ask.clone().set("code_challenge", "")),
        ("plain", ask.clone().set("code_challenge_method", "plain")),
        (
            "omitted method",
            ask.clone().without("code_challenge_method"),
        ),
        ("empty method", ask.clone().set("code_challenge_method", "")),
        ("case", ask.clone().set("code_challenge_method", "s256")),
        ("other", ask.clone().set("code_challenge_method", "S512")),
        (
            "stripped",
            ask.clone()
                .without("code_challenge")
                .without("code_challenge_method"),
        ),
        ("short", ask.clone().set("code_challenge", &CHALLENGE[1..])),
        (
            "long",
            ask.clone().set("code_challenge", &format!("{CHALLENGE}A")),
        ),
        (
            "padded",
            ask.clone().set("code_challenge", &format!("{CHALLENGE}=")),
        ),
        (
            "alphabet",
            ask.clone()
                .set("code_challenge", &CHALLENGE.replace('-', "+")),
        ),
        (
            "not canonical",
            ask.clone()
                .set("code_challenge", &format!("{}N", &CHALLENGE[..42])),
        ),
        ("twice", ask.clone().and("code_challenge", &"A".repeat(43))),
    ] {
        let response = w
            .get(&format!("/authorize?{}", asked.encode()))
            .send()
            .await;
        assert_eq!(
            response.redirected("error").as_deref(),
            Some("invalid_request"),
            "{what}: {response:?}"
        );
        if what == "stripped" {
            let description = response.redirected("error_description").unwrap();
            for name in ["code_challenge ", "code_challenge_method=S256"] {
                assert!(description.contains(name), "{description}");
            }
        }
        assert!(response.header("location").starts_with(CALLBACK), "{what}");
        assert_eq!(response.redirected("iss").as_deref(), Some(&*w.base));
    }
    assert_eq!(w.dump(), before);
}

#[tokio::test]
async fn a_code_with_a_wrong_verifier_is_refused_and_not_consumed() {
    let w = World::start().await;
    let client = w.client().await;
    let code = w.code(&client).await;
    let right = w.redeem(&client, &code);
    let before = w.dump();
    for (what, form, error) in [
        (
            "stripped",
            right.clone().without("code_verifier"),
            "invalid_request",
        ),
        (
            "empty",
            right.clone().set("code_verifier", ""),
            "invalid_request",
        ),
        (
            "the challenge itself",
            right.clone().set("code_verifier", CHALLENGE),
            "invalid_grant",
        ),
        (
            "short",
            right.clone().set("code_verifier", &VERIFIER[..42]),
            "invalid_grant",
        ),
        (
            "longer",
            right.clone().set("code_verifier", &format!("{VERIFIER}A")),
            "invalid_grant",
        ),
        (
            "other case",
            right.clone().set("code_verifier", &VERIFIER.to_lowercase()),
            "invalid_grant",
        ),
        (
            "129 characters",
            right.clone().set("code_verifier", &"a".repeat(129)),
            "invalid_grant",
        ),
        (
            "twice",
            right.clone().and("code_verifier", VERIFIER),
            "invalid_request",
        ),
        (
            "a method",
            right
                .clone()
                .set("code_verifier", CHALLENGE)
                .and("code_challenge_method", "plain"),
            "invalid_grant",
        ),
    ] {
        let response = w.token(&form).await;
        assert_eq!(response.error(), (400, error.into()), "{what}");
    }
    assert_eq!(w.dump(), before);
    assert_eq!(w.token(&right).await.status, 200);
}

#[tokio::test]
async fn a_verifier_with_invalid_characters_or_length_is_refused_even_if_its_hash_matches() {
    let w = World::start().await;
    let client = w.client().await;
    for verifier in [
        "spaces are in this one, and it is long enough for it",
        "this-one-is-much-too-short",
        &"é".repeat(30),
        &"a".repeat(129),
    ] {
        let ask = w
            .authorization_request(&client)
            .set("code_challenge", &challenge(verifier));
        let page = w.open(&ask).await;
        let code = w.submit_consent(&page, "authorize", &w.pin).await;
        let code = code.redirected("code").unwrap();
        let form = w.redeem(&client, &code).set("code_verifier", verifier);
        assert_eq!(w.token(&form).await.error(), (400, "invalid_grant".into()));
    }
}

#[tokio::test]
async fn a_stolen_code_injected_into_the_attackers_own_session_is_refused() {
    let w = World::start().await;
    // The attacker uses the same public client, and so the same redirect URI, with a challenge of their own.
    let client = w.client().await;
    let stolen = w.code(&client).await;
    let thief = "the-thief-knows-this-verifier-and-no-other-one";
    let page = w
        .open(
            &w.authorization_request(&client)
                .set("code_challenge", &challenge(thief)),
        )
        .await;
    let own = w.submit_consent(&page, "authorize", &w.pin).await;
    let own = own.redirected("code").unwrap();
    let injected = w.redeem(&client, &stolen).set("code_verifier", thief);
    assert_eq!(
        w.token(&injected).await.error(),
        (400, "invalid_grant".into())
    );
    let swapped = w.redeem(&client, &own);
    assert_eq!(
        w.token(&swapped).await.error(),
        (400, "invalid_grant".into())
    );
    assert_eq!(w.token(&w.redeem(&client, &stolen)).await.status, 200);
}
