//! Deceiving the person or their browser: framing, script, forms from elsewhere, forms twice.

use serde_json::json;

use super::documents;
use crate::support::world::{CALLBACK, Page, Response, World};

const SCRIPT: &str = "</p><script>alert('mark')</script><img src=mark onerror=alert('mark')>\"'`<!--\u{202e}\u{2066}";

/// The headers without which a page could be framed, sniffed, stored or scripted.
fn is_locked_down(response: &Response, what: &str) {
    let policy = response.header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("form-action"));
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("access-control-allow-origin", ""),
    ] {
        assert_eq!(response.header(name), value, "{what}: {name}");
    }
    // A client in a browser waits in the window that opened the consent page. This header would sever the two, also on a
    // redirect or an error page in between (HTML, Cross-origin opener policies).
    let isolated = ["connections", "foreign sign-in", "landing"].contains(&what);
    let policy = if isolated { "same-origin" } else { "" };
    let got = response.header("cross-origin-opener-policy");
    assert_eq!(got, policy, "{what}");
}

/// Nothing that the client wrote has become markup: every `<` of it is escaped, and every quote.
fn is_text_only(response: &Response, what: &str) {
    let html = response.text.to_lowercase();
    for bad in [
        "<script>alert",
        "<img",
        "onerror=alert('",
        "<!--\u{202e}",
        "javascript:",
        "='mark",
    ] {
        assert!(!html.contains(bad), "{what}: {bad} in {html}");
    }
    assert!(
        !html.contains('\u{202e}'),
        "{what}: a right-to-left override"
    );
}

#[tokio::test]
async fn no_page_can_be_framed_sniffed_or_cached() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    is_locked_down(&page.response, "consent");
    is_locked_down(
        &w.submit_consent(&page, "authorize", "wrong000").await,
        "wrong PIN",
    );
    let done = w.submit_consent(&page, "authorize", &w.pin).await;
    is_locked_down(&done, "the way back");
    let code = done.redirected("code").unwrap();
    w.token(&w.redeem(&client, &code)).await;
    is_locked_down(
        &w.submit_consent(&page, "authorize", &w.pin).await,
        "connected already",
    );
    let other = w.open(&w.authorization_request(&client)).await;
    is_locked_down(&w.submit_consent(&other, "deny", "").await, "denied");
    is_locked_down(&w.submit_consent(&other, "deny", "").await, "expired");
    for (what, path) in [
        ("unknown client", "/authorize?client_id=nobody"),
        ("bad link", "/authorize"),
        ("bad document", "/authorize?client_id=https://127.0.0.1/x"),
        ("connections", "/connections"),
    ] {
        is_locked_down(&w.get(path).send().await, what);
    }
    let landing = w.get("/").header("accept", "text/html").send().await;
    assert_eq!(landing.status, 200);
    is_locked_down(&landing, "landing");
    let foreign = w
        .post("/authorize")
        .header("sec-fetch-site", "cross-site")
        .form(&[]);
    is_locked_down(&foreign.send().await, "foreign form");
    let foreign = w
        .post("/connections")
        .header("sec-fetch-site", "cross-site")
        .form(&[]);
    is_locked_down(&foreign.send().await, "foreign sign-in");
    // An error that goes back by redirect is seen by the browser too.
    let ask = w
        .authorization_request(&client)
        .set("response_type", "token");
    is_locked_down(
        &w.get(&format!("/authorize?{}", ask.encode())).send().await,
        "error by redirect",
    );
    for method in ["HEAD", "PUT", "OPTIONS"] {
        let path = format!("/authorize?{}", w.authorization_request(&client).encode());
        let response = w.request(method, &path).send().await;
        let policy = response.header("cross-origin-opener-policy");
        assert_eq!(policy, "", "{method}");
    }
}

#[tokio::test]
async fn script_in_any_displayed_field_stays_text() {
    let w = World::start().await;
    let redirect = "https://client.example/%3Cscript%3Ealert('mark')?a='onerror=alert('mark')";
    let client = w
        .register(json!({ "redirect_uris": [redirect], "client_name": SCRIPT }))
        .await;
    let client = client["client_id"].as_str().unwrap();
    let ask = w
        .authorization_request(client)
        .set("redirect_uri", redirect)
        .set("state", SCRIPT)
        .set("scope", SCRIPT)
        .set("login_hint", SCRIPT)
        .set("ui_locales", SCRIPT);
    let page = w.open(&ask).await;
    is_text_only(&page.response, "consent");
    is_text_only(
        &w.submit_consent(&page, "authorize", SCRIPT).await,
        "wrong PIN",
    );
    let done = w.submit_consent(&page, "authorize", &w.pin).await;
    let location = done.header("location");
    assert!(
        location.starts_with(redirect) && !location.contains('<'),
        "{location}"
    );
    assert_eq!(done.redirected("state").as_deref(), Some(SCRIPT));
    let form = w
        .redeem(client, &done.redirected("code").unwrap())
        .set("redirect_uri", redirect);
    assert_eq!(w.token(&form).await.status, 200);
    is_text_only(
        &w.submit_consent(&page, "authorize", &w.pin).await,
        "connected already",
    );

    // The connections page shows the name to the owner.
    let signed_in = w
        .post("/connections")
        .form(&[("action", "sign-in"), ("pin", &w.pin)])
        .send()
        .await;
    let listed = w
        .get("/connections")
        .header("cookie", &signed_in.cookie().unwrap())
        .send()
        .await;
    assert!(
        listed.text.contains("alert("),
        "the name is shown: {}",
        listed.text
    );
    is_text_only(&listed, "connections");

    // Error pages echo nothing.
    let encoded = url::form_urlencoded::byte_serialize(SCRIPT.as_bytes()).collect::<String>();
    for path in [
        format!("/authorize?client_id={encoded}"),
        format!("/authorize?client_id={client}&redirect_uri={encoded}"),
        format!("/authorize?client_id=https://client.example/{encoded}"),
        format!("/authorize?{encoded}={encoded}"),
        format!("/{encoded}"),
        format!("/mcp/{encoded}"),
    ] {
        let response = w.get(&path).send().await;
        is_text_only(&response, &path);
        assert!(!response.text.contains("mark"), "{path}: {}", response.text);
    }
    let form = [("page", SCRIPT), (SCRIPT, SCRIPT)];
    let response = w.post("/authorize").form(&form).send().await;
    assert!(!response.text.contains("mark"), "{}", response.text);
}

#[tokio::test]
async fn script_in_a_clients_document_stays_text() {
    let origin = documents::origin(&json!({ "client_name": SCRIPT })).await;
    let w = documents::world(&origin).await;
    let page = w.open(&w.authorization_request(documents::ID)).await;
    is_text_only(&page.response, "consent");
    assert!(page.response.text.contains("client.example"));
}

#[tokio::test]
async fn a_client_name_that_imitates_another_is_marked_as_unverified() {
    let w = World::start().await;
    let client = w
        .register(json!({ "redirect_uris": ["https://evil.example/callback"], "client_name": "Claude (claude.ai)" }))
        .await;
    let client = client["client_id"].as_str().unwrap();
    let ask = w
        .authorization_request(client)
        .set("redirect_uri", "https://evil.example/callback");
    let html = w.open(&ask).await.response.text;
    assert!(
        html.contains("evil.example"),
        "where the response goes: {html}"
    );
    assert!(html.contains("Name not verified"), "{html}");
    // Every redirect URI is on this machine: the page warns of that (MCP 2025-11-25, Localhost Redirect URI Risks).
    let local = w
        .register(
            json!({ "redirect_uris": ["http://127.0.0.1/callback"], "client_name": "Claude Code" }),
        )
        .await;
    let ask = w
        .authorization_request(local["client_id"].as_str().unwrap())
        .set("redirect_uri", "http://127.0.0.1:4711/callback");
    let html = w.open(&ask).await.response.text;
    assert!(html.contains("127.0.0.1:4711"), "{html}");
    assert!(html.contains("own computer"), "{html}");
}

#[tokio::test]
async fn a_form_sent_by_another_site_is_refused_before_anything_is_read() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let before = w.dump();
    for site in ["cross-site", "same-site", "Same-Origin", "evil", ""] {
        let form = [
            ("page", &*page.id),
            ("pin", &w.pin),
            ("decision", "authorize"),
        ];
        let response = w
            .post("/authorize")
            .header("cookie", &page.cookie)
            .header("sec-fetch-site", site)
            .form(&form)
            .send()
            .await;
        assert_eq!(
            (response.status, response.header("location")),
            (403, ""),
            "{site}"
        );
        let sign_in = w
            .post("/connections")
            .header("sec-fetch-site", site)
            .form(&[("action", "sign-in"), ("pin", &w.pin)])
            .send()
            .await;
        assert_eq!(
            (sign_in.status, sign_in.header("set-cookie")),
            (403, ""),
            "{site}"
        );
    }
    assert_eq!(w.dump(), before);
    // The API takes no cookie for anything, so there is nothing to forge there.
    let code = w.submit_consent(&page, "authorize", &w.pin).await;
    let form = w.redeem(&client, &code.redirected("code").unwrap());
    let response = w
        .post("/token")
        .header("cookie", &page.cookie)
        .header("origin", "https://evil.example")
        .form_of(&form.clone().without("client_id"))
        .send()
        .await;
    assert_eq!(response.error(), (400, "invalid_request".into()));
    assert_eq!(response.header("access-control-allow-credentials"), "");
    assert_eq!(w.token(&form).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn consent_given_twice_at_once_creates_one_connection() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let limit = |tab: usize| ["everything", "read_only"][tab % 2];
    let name = |tab: usize| format!("Tab {tab}");
    let both = futures_util::future::join_all((0..8).map(|tab| {
        let form = [
            ("page", &*page.id),
            ("pin", &w.pin),
            ("name", &name(tab)),
            ("limit", limit(tab)),
            ("decision", "authorize"),
        ];
        w.send_as_browser(&page.cookie, w.post("/authorize").form(&form))
    }))
    .await;
    // A try that meets another of the same address is refused for a second; the rest get codes of one connection.
    let codes: Vec<_> = both
        .iter()
        .enumerate()
        .filter_map(|(tab, response)| Some((tab, response.redirected("code")?)))
        .collect();
    assert!(!codes.is_empty());
    for response in &both {
        assert!(matches!(response.status, 303 | 429), "{response:?}");
    }
    let mut good = Vec::new();
    for (tab, code) in &codes {
        w.keep_secret(code);
        let response = w.token(&w.redeem(&client, code)).await;
        if response.status == 200 {
            let access = response.json()["access_token"].as_str().unwrap().to_owned();
            good.push((*tab, access));
        } else {
            assert_eq!(response.error(), (400, "invalid_grant".into()));
        }
    }
    assert_eq!(good.len(), 1, "of {} codes", codes.len());
    let (tab, access) = &good[0];
    assert_eq!(w.status(access).await, 200);
    // The form that was stored last counts as a whole: its code, its name and its limit.
    let mut connections = w.dump();
    connections.retain(|item| item.contains("\"stage\""));
    assert_eq!(connections.len(), 1);
    let stored = &connections[0];
    assert!(
        stored.contains(&name(*tab)) && stored.contains(limit(*tab)),
        "{tab} {stored}"
    );
}

#[tokio::test]
async fn a_cookie_planted_by_an_attacker_does_not_open_another_browsers_page() {
    let w = World::start().await;
    let client = w.client().await;
    let victim = w.open(&w.authorization_request(&client)).await;
    // Reused while well-formed, so an attacker may choose it: it binds only pages opened with it.
    let name = victim.cookie.split_once('=').unwrap().0.to_owned();
    for planted in [
        "AAAAAAAAAAAAAAAAAAAAAA",
        "short",
        "",
        "../../x",
        "AAAAAAAAAAAAAAAAAAAAAB",
    ] {
        let planted = format!("{name}={planted}");
        let response = w
            .post("/authorize")
            .header("cookie", &planted)
            .form(&[("page", &victim.id), ("pin", &w.pin)])
            .send()
            .await;
        assert_eq!(response.status, 403, "{planted}");
    }
    let opened = w
        .get(&format!(
            "/authorize?{}",
            w.authorization_request(&client).encode()
        ))
        .header("cookie", &format!("{name}=not-one-of-ours; {name}=short"))
        .send()
        .await;
    let opened = Page::read(opened);
    assert!(!opened.cookie.contains("not-one-of-ours"));
    assert!(
        !opened.response.text.contains(CALLBACK) || opened.response.text.contains("client.example")
    );
}
