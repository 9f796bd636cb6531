//! Sending the code somewhere else: clients and redirect URIs that nobody registered (RFC 9700 §4.1).

use serde_json::json;

use crate::support::world::{CALLBACK, Response, World};

const LOOPBACK: &str = "http://localhost/callback";

/// A page for the person, and nothing that leads anywhere else.
fn is_a_dead_end(response: &Response, what: &str) {
    assert_eq!(response.status, 400, "{what}: {response:?}");
    assert_eq!(response.header("location"), "", "{what}");
    assert_eq!(response.header("refresh"), "", "{what}");
    assert!(
        response.header("content-type").starts_with("text/html"),
        "{what}"
    );
    assert!(!response.text.contains("http-equiv"), "{what}");
    assert!(!response.text.contains("evil"), "{what}: {}", response.text);
}

#[tokio::test]
async fn an_unregistered_client_gets_a_page_at_get_and_at_post_and_is_sent_nowhere() {
    let w = World::start().await;
    let known = w.client().await;
    let page = w.open(&w.authorization_request(&known)).await;
    let before = w.dump();
    for client in [
        "nobody".to_owned(),
        "00000000-0000-4000-8000-000000000000".to_owned(),
        known.to_uppercase(),
        format!("{known} "),
        format!("{known}#"),
        format!("client#{known}"),
    ] {
        let client = client.as_str();
        let ask = w
            .authorization_request(client)
            .set("redirect_uri", "https://evil.example/");
        let response = w.get(&format!("/authorize?{}", ask.encode())).send().await;
        is_a_dead_end(&response, client);
        // The form names no client, and a page that nobody opened has none.
        let invented = crate::support::world::Page {
            id: client.to_owned(),
            cookie: page.cookie.clone(),
            response,
        };
        let response = w.submit_consent(&invented, "authorize", &w.pin).await;
        is_a_dead_end(&response, client);
    }
    assert_eq!(w.dump(), before);
}

#[tokio::test]
async fn a_manipulated_redirect_uri_is_refused_without_a_redirect() {
    let w = World::start().await;
    let client = w
        .register(json!({ "redirect_uris": [CALLBACK, LOOPBACK, "cursor://anysphere.cursor-mcp/oauth/callback"] }))
        .await;
    let client = client["client_id"].as_str().unwrap();
    let before = w.dump();
    for trick in [
        // longer, shorter, other paths
        "https://client.example/callback/",
        "https://client.example/callback2",
        "https://client.example/callback?evil",
        "https://client.example/callback/../evil",
        "https://client.example/callback/..%2fevil",
        "https://client.example/",
        "https://client.example",
        "https://client.example/Callback",
        "https://client.example//callback",
        "https://client.example/callback;evil",
        "https://client.example/evil/callback",
        // other hosts
        "https://evil.example/callback",
        "https://client.example.evil.example/callback",
        "https://evil.client.example/callback",
        "https://client.example@evil.example/callback",
        "https://evil.example#https://client.example/callback",
        "https://evil.example/?https://client.example/callback",
        "https://client.example:8443/callback",
        "https://client.example:443/callback",
        "https://client.example./callback",
        "https://client.example\\@evil.example/callback",
        "https://client.example%2eevil.example/callback",
        "https:/client.example/callback",
        "https:client.example/callback",
        "//client.example/callback",
        "/callback",
        // other spellings
        "HTTPS://client.example/callback",
        "https://CLIENT.example/callback",
        "https://client.example/%63allback",
        "https://client.example/callback%20",
        " https://client.example/callback",
        "https://client.example/callback ",
        "https://user@client.example/callback",
        "https://client.example/callback#",
        "https://client.example/callback#evil",
        "http://client.example/callback",
        // other loopback names and schemes
        "http://127.0.0.1/callback",
        "http://127.0.0.2/callback",
        "http://[::1]/callback",
        "http://LOCALHOST/callback",
        "http://localhost./callback",
        "http://localhost.evil.example/callback",
        "http://localhost@evil.example/callback",
        "http://evil.example@localhost/callback",
        "http://localhost:80@evil.example/callback",
        "http://localhost:evil/callback",
        "http://localhost:99999/callback",
        "http://localhost/callback/",
        "http://127.1/callback",
        "http://2130706433/callback",
        "https://localhost/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback2",
        "cursor://evil/oauth/callback",
        "Cursor://anysphere.cursor-mcp/oauth/callback",
        "cursor:/anysphere.cursor-mcp/oauth/callback",
        "cursor-evil://anysphere.cursor-mcp/oauth/callback",
        "javascript:alert(1)//https://client.example/callback",
        "data:text/html,evil",
    ] {
        let ask = w.authorization_request(client).set("redirect_uri", trick);
        // Also with an error that would be reported by redirect: the redirect URI is checked first.
        for ask in [ask.clone(), ask.set("response_type", "token")] {
            let response = w.get(&format!("/authorize?{}", ask.encode())).send().await;
            is_a_dead_end(&response, trick);
        }
    }
    assert_eq!(w.dump(), before);
    // The port of a loopback address is the client's choice, and nothing else is.
    let port = "http://localhost:49152/callback";
    let page = w
        .open(&w.authorization_request(client).set("redirect_uri", port))
        .await;
    let sent = w.submit_consent(&page, "authorize", &w.pin).await;
    assert!(sent.header("location").starts_with(port), "{sent:?}");
}

#[tokio::test]
async fn a_dangerous_redirect_uri_cannot_be_registered_even_next_to_valid_ones() {
    let w = World::start().await;
    let before = w.dump();
    for uri in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "javascript\u{1}:alert(1)",
        "javascript://client.example/%0aalert(1)",
        "data:text/html,<script>alert(1)</script>",
        "blob:https://client.example/x",
        "file:///etc/passwd",
        "vbscript:x",
        "view-source:https://client.example/",
        "https://user:word@client.example/",
        "https://client.example/#fragment",
        "https://*.client.example/",
        "https://client.example/*",
        "http://client.example/",
        "http://127.0.0.1.client.example/",
        "http://0.0.0.0/",
        "https://client.example/\r\nlocation: https://evil.example/",
        "//client.example/",
        "callback",
        "",
    ] {
        let response = w
            .post("/register")
            .json(&json!({ "redirect_uris": [CALLBACK, uri] }))
            .send()
            .await;
        assert_eq!(
            response.error(),
            (400, "invalid_redirect_uri".into()),
            "{uri:?}"
        );
    }
    assert_eq!(w.dump(), before);
}

#[tokio::test]
async fn altered_or_added_hidden_form_fields_change_nothing() {
    let w = World::start().await;
    let client = w.client().await;
    let stranger = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let other = w.open(&w.authorization_request(&stranger)).await;
    let before = w.dump();
    let good = crate::support::world::Pairs::of(&[
        ("page", &page.id),
        ("pin", &w.pin),
        ("decision", "authorize"),
    ]);
    let cut = &page.id[..page.id.len() - 1];
    for (status, form) in [
        (400, good.clone().and("client_id", &stranger)),
        (
            400,
            good.clone().and("redirect_uri", "https://evil.example/"),
        ),
        (400, good.clone().and("code_challenge", &"A".repeat(43))),
        (400, good.clone().and("code_challenge_method", "plain")),
        (400, good.clone().and("scope", "admin")),
        (400, good.clone().and("resource", "https://evil.example/")),
        (400, good.clone().and("state", "evil")),
        (400, good.clone().and("page", &other.id)),
        (400, good.clone().set("page", cut)),
        (400, good.clone().without("page")),
        // Another browser's page.
        (403, good.clone().set("page", &other.id)),
    ] {
        let response = w
            .post("/authorize")
            .header("cookie", &page.cookie)
            .form_of(&form)
            .send()
            .await;
        assert_eq!(response.status, status, "{form:?}: {response:?}");
        assert_eq!(response.header("location"), "");
    }
    assert_eq!(w.dump(), before, "the PIN was not even compared");
    // The query of the POST is ignored too.
    let response = w
        .post("/authorize?redirect_uri=https://evil.example/&client_id=x")
        .header("cookie", &page.cookie)
        .form_of(&good)
        .send()
        .await;
    assert_eq!(response.status, 303);
    assert!(response.header("location").starts_with(CALLBACK));
    assert_eq!(response.redirected("state").as_deref(), Some("the-state"));
}
