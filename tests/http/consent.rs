//! The consent page and its form: who may see it, who may submit it, and how often a PIN is tried.

use serde_json::json;

use crate::{
    http::attacks::documents::{ID, origin, world},
    support::world::{CALLBACK, Page, World},
};

#[tokio::test]
async fn errors_go_to_the_client_only_when_its_redirect_uri_is_proven() {
    let w = World::start().await;
    let client = w.client().await;
    let ask = w.authorization_request(&client);
    for (asked, error) in [
        (
            ask.clone().set("response_type", "token"),
            "unsupported_response_type",
        ),
        (ask.clone().without("response_type"), "invalid_request"),
        (ask.clone().without("code_challenge"), "invalid_request"),
        (
            ask.clone().set("code_challenge_method", "plain"),
            "invalid_request",
        ),
        (
            ask.clone().without("code_challenge_method"),
            "invalid_request",
        ),
        (
            ask.clone().set("code_challenge", "short"),
            "invalid_request",
        ),
        (
            ask.clone().set("code_challenge", &"~".repeat(43)),
            "invalid_request",
        ),
        (
            ask.clone().set("resource", "https://other.example/mcp"),
            "invalid_target",
        ),
        (
            ask.clone()
                .set("resource", &w.url(&format!("/mcp/{}", "a".repeat(1024)))),
            "invalid_target",
        ),
        (
            ask.clone().set("state", &"a".repeat(2049)),
            "invalid_request",
        ),
        (ask.clone().set("prompt", "none"), "consent_required"),
        (ask.clone().and("state", "another"), "invalid_request"),
        (
            ask.clone().set("response_mode", "fragment"),
            "invalid_request",
        ),
        (ask.clone().set("request", "eyJ"), "request_not_supported"),
        (
            ask.clone().set("request_uri", "https://client.example/r"),
            "request_uri_not_supported",
        ),
    ] {
        let response = w
            .get(&format!("/authorize?{}", asked.encode()))
            .send()
            .await;
        assert!(
            matches!(response.status, 302 | 303),
            "{error}: {response:?}"
        );
        assert!(
            response.header("location").starts_with(CALLBACK),
            "{error}: {response:?}"
        );
        assert_eq!(
            response.redirected("error").as_deref(),
            Some(error),
            "{asked:?}"
        );
        assert_eq!(response.redirected("iss").as_deref(), Some(w.base.as_str()));
        assert!(response.redirected("code").is_none());
    }
    // What clients send beyond the specification is tolerated.
    for (name, value) in [
        ("prompt", "consent"),
        ("prompt", "select_account"),
        ("scope", "mcp offline_access openid"),
        ("scope", "unheard-of"),
        ("access_type", "offline"),
        ("response_mode", "query"),
        ("resource", &w.base),
        ("resource", &w.url("/")),
        ("resource", &w.url("/mcp/x")),
        ("state", &"a".repeat(2048)),
    ] {
        w.open(&ask.clone().set(name, value)).await;
    }
    w.open(&ask.clone().without("state").without("resource"))
        .await;
    w.open(&ask.clone().without("redirect_uri")).await;
}

#[tokio::test]
async fn denying_consent_informs_the_client_and_closes_the_page() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let denied = w.submit_consent(&page, "deny", "").await;
    assert_eq!(denied.status, 303);
    assert_eq!(denied.redirected("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.redirected("state").as_deref(), Some("the-state"));
    let again = w.submit_consent(&page, "authorize", &w.pin).await;
    assert_eq!(again.status, 400);
    assert!(again.text.contains("expired"));
}

#[tokio::test]
async fn a_client_that_disappeared_while_the_page_was_open_gets_nothing() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    w.delete_client(&client).await;
    for pin in ["wrong000", &*w.pin] {
        let authorized = w.submit_consent(&page, "authorize", pin).await;
        assert_eq!(
            (authorized.status, authorized.header("location")),
            (400, "")
        );
        assert!(authorized.text.contains("Unknown app"));
        assert_eq!(authorized.header("set-cookie"), "");
    }
    let items = w.dump().concat();
    assert!(!items.contains("client#"), "{items}");
    assert!(!items.contains(r#""pk":{"S":"connection"}"#), "{items}");
    let denied = w.submit_consent(&page, "deny", "").await;
    assert_eq!((denied.status, denied.header("location")), (400, ""));
    assert!(denied.text.contains("Unknown app"));
}

#[tokio::test]
async fn only_the_browser_that_opened_the_page_may_submit_it() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let other = w.open(&w.authorization_request(&client)).await;
    assert_ne!(page.cookie, other.cookie);
    let form = [
        ("page", page.id.as_str()),
        ("pin", &w.pin),
        ("decision", "authorize"),
    ];
    let without = w.post("/authorize").form(&form).send().await;
    let with_other = w
        .post("/authorize")
        .header("cookie", &other.cookie)
        .form(&form)
        .send()
        .await;
    let garbage = w
        .post("/authorize")
        .header("cookie", &format!("{}x", page.cookie))
        .form(&form)
        .send()
        .await;
    let cross_site = w
        .post("/authorize")
        .header("cookie", &page.cookie)
        .header("sec-fetch-site", "cross-site")
        .form(&form)
        .send()
        .await;
    for response in [without, with_other, garbage, cross_site] {
        assert_eq!(response.status, 403, "{response:?}");
        assert_eq!(response.header("location"), "");
    }
    // `Origin: null` is what browsers send under our referrer policy.
    let right = w
        .post("/authorize")
        .header("cookie", &page.cookie)
        .header("origin", "null")
        .header("sec-fetch-site", "same-origin")
        .form(&form)
        .send()
        .await;
    assert_eq!(right.status, 303);
}

#[tokio::test]
async fn cookies_of_other_applications_are_ignored() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let theirs = [
        b"name=\xff\xe9; ".as_slice(),
        page.cookie.as_bytes(),
        b"; b",
    ]
    .concat();
    let request = w.post("/authorize").0.header("cookie", theirs);
    let response = crate::support::world::Request(request)
        .form(&[("page", &page.id), ("pin", &w.pin)])
        .send()
        .await;
    assert_eq!(response.status, 303, "{response:?}");
}

#[tokio::test]
async fn one_browser_may_have_two_pages_open() {
    let w = World::start().await;
    let client = w.client().await;
    let first = w.open(&w.authorization_request(&client)).await;
    let second = w
        .get(&format!(
            "/authorize?{}",
            w.authorization_request(&client).encode()
        ))
        .header("cookie", &first.cookie)
        .send()
        .await;
    let second = Page::read(second);
    assert_eq!(first.cookie, second.cookie);
    for page in [second, first] {
        assert_eq!(
            w.submit_consent(&page, "authorize", &w.pin).await.status,
            303
        );
    }
}

#[tokio::test]
async fn a_page_expires_after_ten_minutes() {
    let w = World::start().await;
    let client = w.client().await;
    let (one, two) = (
        w.open(&w.authorization_request(&client)).await,
        w.open(&w.authorization_request(&client)).await,
    );
    w.advance_clock(599);
    assert_eq!(
        w.submit_consent(&one, "authorize", &w.pin).await.status,
        303
    );
    w.advance_clock(1);
    let late = w.submit_consent(&two, "authorize", &w.pin).await;
    assert_eq!(late.status, 400);
    assert!(late.text.contains("expired"));
}

#[tokio::test]
async fn the_pin_again_on_the_same_page_replaces_the_code_until_it_is_redeemed() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let decide = || async { w.submit_consent(&page, "authorize", &w.pin).await };
    let first = decide().await.redirected("code").unwrap();
    let second = decide().await.redirected("code").unwrap();
    assert_ne!(first, second);
    let stale = w.token(&w.redeem(&client, &first)).await;
    assert_eq!(stale.error(), (400, "invalid_grant".into()));
    let tokens = w.token(&w.redeem(&client, &second)).await;
    assert_eq!(tokens.status, 200);
    let third = decide().await;
    assert_eq!(
        third.status, 200,
        "a page says that the client is connected"
    );
    assert!(third.text.contains("connected"));
    assert_eq!(
        w.status(tokens.json()["access_token"].as_str().unwrap())
            .await,
        200
    );
}

#[tokio::test]
async fn five_wrong_pins_block_the_ip_address_and_the_correct_pin_is_not_even_compared() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    for left in (1..=4).rev() {
        let wrong = w.submit_consent(&page, "authorize", "wrong000").await;
        assert_eq!(wrong.status, 403);
        assert!(
            wrong.text.contains("role=\"alert\""),
            "the page says it aloud"
        );
        assert!(
            wrong.text.contains(&format!("{left} ")),
            "{left} tries left"
        );
    }
    let fifth = w.submit_consent(&page, "authorize", "wrong000").await;
    assert_eq!((fifth.status, fifth.header("retry-after")), (429, "30"));
    let blocked = w.submit_consent(&page, "authorize", &w.pin).await;
    assert_eq!(blocked.status, 429);
    assert_eq!(blocked.header("location"), "");
    w.advance_clock(30);
    let sixth = w.submit_consent(&page, "authorize", "wrong000").await;
    assert_eq!((sixth.status, sixth.header("retry-after")), (429, "60"));
    w.advance_clock(60);
    assert_eq!(
        w.submit_consent(&page, "authorize", &w.pin).await.status,
        303
    );
    // The correct PIN resets the count: a later typo is the first one again.
    let page = w.open(&w.authorization_request(&client)).await;
    let typo = w.submit_consent(&page, "authorize", "wrong000").await;
    assert_eq!(typo.status, 403);
    assert!(typo.text.contains("4 tries"), "{}", typo.text);
}

#[tokio::test]
async fn resetting_the_daily_limit_while_wrong_pins_arrive_does_no_harm() {
    let w = World::with_settings(&[("TRUSTED_PROXY_HEADER", "x-real-ip")]).await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let decide = |n: u32, pin: String| {
        let request = w
            .post("/authorize")
            .header("x-real-ip", &format!("2001:db8:0:{n:x}::1"))
            .form(&[("page", page.id.as_str()), ("pin", &pin)]);
        w.send_as_browser(&page.cookie, request)
    };
    // The owner deletes the day's count, as the documentation says, while somebody guesses.
    for round in 0..20 {
        let guesses = (0..4).map(|n| decide(round * 4 + n, "wrong000".into()));
        let (responses, ()) =
            tokio::join!(futures_util::future::join_all(guesses), w.reopen_consent());
        for response in responses {
            assert!(matches!(response.status, 403 | 429), "{response:?}");
        }
    }
    assert_eq!(decide(999, w.pin.clone()).await.status, 303);
}

#[tokio::test]
async fn opening_too_many_consent_pages_is_refused_but_not_in_a_browser_that_is_known() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let consent = w.submit_consent(&page, "authorize", &w.pin).await;
    let known = consent.cookie().unwrap();
    let ask = |client_id: &str, cookie: &str| {
        let query = w.authorization_request(client_id).encode();
        let request = w.get(&format!("/authorize?{query}"));
        request.header("cookie", cookie).send()
    };
    // A stranger at the owner's own address.
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(ask(&client, "").await.status);
    }
    assert!(statuses.starts_with(&[200; 150]));
    assert_eq!(statuses.last(), Some(&429));
    let (name, value) = known.split_once('=').unwrap();
    let unknown = format!("{name}={}", "A".repeat(value.len()));
    let before = w.dump();
    for cookie in ["", &unknown, &page.cookie] {
        let stopped = ask(&client, cookie).await;
        assert_eq!(stopped.status, 429);
        assert_ne!(stopped.header("retry-after"), "");
        assert_eq!(ask(ID, cookie).await.status, 429);
    }
    assert_eq!(origin.connections(), 0);
    assert_eq!(w.dump(), before, "a refusal writes nothing");
    assert_eq!(ask(&client, &known).await.status, 200);
    assert_eq!(ask(ID, &known).await.status, 200);
    assert_eq!(origin.connections(), 1, "the client's document");
    // Known browsers have a limit too.
    let mut statuses = Vec::new();
    for _ in 0..100 {
        for client in [&client, ID] {
            statuses.push(ask(client, &known).await.status);
        }
    }
    assert!(statuses.ends_with(&[429; 2]), "with and without a document");
    assert_eq!(origin.connections(), 1);
    w.advance_clock(60);
    assert_eq!(ask(&client, "").await.status, 200);
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_share_their_tries() {
    let w = World::with_settings(&[("TRUSTED_PROXY_HEADER", "x-real-ip")]).await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let mut statuses = Vec::new();
    for n in 0..6 {
        let request = w
            .post("/authorize")
            .header("x-real-ip", &format!("2001:db8:1:1:{n:x}::{n:x}"))
            .form(&[("page", page.id.as_str()), ("pin", "wrong000")]);
        statuses.push(w.send_as_browser(&page.cookie, request).await.status);
    }
    assert_eq!(statuses, [403, 403, 403, 403, 429, 429]);
}

#[tokio::test]
async fn a_forwarding_header_counts_only_where_it_is_trusted() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    for n in 0..6 {
        let request = w
            .post("/authorize")
            .header("x-forwarded-for", &format!("198.51.100.{n}"))
            .header("forwarded", &format!("for=198.51.100.{n}"))
            .form(&[("page", page.id.as_str()), ("pin", "wrong000")]);
        let response = w.send_as_browser(&page.cookie, request).await;
        assert_eq!(response.status, if n < 4 { 403 } else { 429 });
    }
}

#[tokio::test]
async fn client_names_are_escaped_and_pages_have_strict_security_headers() {
    let w = World::start().await;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";
    let client = w
        .register(json!({ "redirect_uris": ["https://client.example/%3Cb%3E?a='b'&c=%22"], "client_name": hostile }))
        .await;
    let client_id = client["client_id"].as_str().unwrap();
    let redirect = client["redirect_uris"][0].as_str().unwrap();
    let page = w
        .open(
            &w.authorization_request(client_id)
                .set("redirect_uri", redirect),
        )
        .await;
    let html = &page.response.text;
    assert!(
        !html.contains("<script>alert") && !html.contains("<img"),
        "{html}"
    );
    assert!(!html.contains("client.example/<b>"), "{html}");
    let policy = page.response.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        !policy.contains("form-action"),
        "it would block the way back to the app"
    );
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("access-control-allow-origin", ""),
    ] {
        assert_eq!(page.response.header(name), value, "{name}");
    }
    let cookie = page.response.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain http on loopback");
}

#[tokio::test]
async fn under_https_the_cookie_is_bound_to_the_host() {
    let w = World::with_settings(&[("BASE_URL", "https://mcp.example.com")]).await;
    let client = w.client().await;
    let page = w
        .open(&w.authorization_request(&client).without("resource"))
        .await;
    let cookie = page.response.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-consent=") && cookie.contains("Secure"),
        "{cookie}"
    );
}
