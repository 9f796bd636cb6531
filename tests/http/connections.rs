//! `/connections` and the landing page: who sees what, and that ending a connection takes effect at once.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    http::owner::Owner,
    support::world::{Response, World},
};

/// The page after a sign-in that fails.
async fn sign_in_page(w: &World, pin: &str) -> Response {
    let form = [("action", "sign-in"), ("pin", pin)];
    let request = w.post("/connections").form(&form);
    w.send_as_browser("", request).await
}

#[tokio::test]
async fn the_owner_sees_each_connection_and_ends_one() {
    let w = World::start().await;
    let (one, two) = (w.connect().await, w.connect().await);
    let unredeemed = w.client().await;
    w.code(&unredeemed).await;
    let owner = Owner::sign_in(&w).await;
    let page = owner.page().await;
    assert_eq!(
        page.text.matches("Test client").count(),
        6,
        "each row names it for eye and ear"
    );
    assert!(page.text.contains("client.example") && page.text.contains("127.0.0.1"));
    for secret in [&one.access, &one.refresh, &one.code, &w.pin, &w.pat] {
        assert!(!page.text.contains(secret.as_str()));
    }
    let id = one
        .access
        .trim_start_matches("mcp_at_")
        .split('.')
        .next()
        .unwrap();
    let asked = owner
        .get(&format!("/connections/end?connection={id}"))
        .await;
    assert!(asked.text.contains("End this connection?") && asked.text.contains("Test client"));
    assert_eq!(w.status(&one.access).await, 200, "nothing has ended yet");
    let csrf = asked.field("csrf").unwrap();
    let ended = owner
        .act(&[("csrf", &csrf), ("action", "end"), ("connection", id)])
        .await;
    assert_eq!(ended.status, 200);
    assert!(ended.text.contains("Test client was ended.") && !ended.text.contains(id));
    assert!(
        ended.header("set-cookie").contains("Max-Age=0"),
        "the message is shown once"
    );
    assert_eq!(
        w.status(&one.access).await,
        401,
        "it acts on the next request"
    );
    assert_eq!(w.refresh(&one.client_id, &one.refresh).await.status, 400);
    assert_eq!(w.status(&two.access).await, 200);
    let all = owner.act(&[("csrf", &csrf), ("action", "end-all")]).await;
    assert!(all.text.contains("Nothing is connected"));
    assert_eq!(w.status(&two.access).await, 401);
}

#[tokio::test]
async fn several_connections_are_ended_at_once_after_a_question() {
    let w = World::start().await;
    let (one, two, three) = (w.connect().await, w.connect().await, w.connect().await);
    let id = |access: &str| {
        access
            .trim_start_matches("mcp_at_")
            .split('.')
            .next()
            .unwrap()
            .to_owned()
    };
    let (first, second) = (id(&one.access), id(&two.access));
    let owner = Owner::sign_in(&w).await;
    let before = w.dump();
    let none = owner.get("/connections/end").await;
    assert_eq!(
        (none.status, none.header("location")),
        (303, "/connections")
    );
    let query = format!("/connections/end?connection={first}&connection={second}");
    let asked = owner.get(&query).await;
    assert!(asked.text.contains("End 2 connections?"), "{}", asked.text);
    assert_eq!(asked.text.matches("name=\"connection\"").count(), 2);
    assert_eq!(
        owner
            .get("/connections/end?connection=unknown")
            .await
            .status,
        303
    );
    assert_eq!(
        owner.get("/connections/end?connection=%ff").await.status,
        400
    );
    assert_eq!(w.dump(), before, "the question changes nothing");
    let csrf = asked.field("csrf").unwrap();
    let form = [
        ("csrf", &*csrf),
        ("action", "end"),
        ("connection", &first),
        ("connection", &second),
    ];
    let response = owner.act(&form).await;
    assert!(response.text.contains("2 connections were ended."));
    for (access, status) in [(&one.access, 401), (&two.access, 401), (&three.access, 200)] {
        assert_eq!(w.status(access).await, status);
    }
    let all = owner.get("/connections/end?all=yes").await;
    assert!(all.text.contains("value=\"end-all\"") && all.text.contains("End this connection?"));
}

#[tokio::test]
async fn the_response_to_every_form_is_a_redirect_so_that_reloading_sends_nothing_again() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let form = |pin: &str| {
        w.post("/authorize")
            .header("cookie", &page.cookie)
            .form(&[("page", &page.id), ("pin", pin)])
    };
    let wrong = form("wrong000").send().await;
    let here = format!("/authorize?page={}", page.id);
    assert_eq!((wrong.status, wrong.header("location")), (303, &*here));
    let message = wrong.cookie().unwrap();
    let cookies = format!("{}; {message}", page.cookie);
    let before = w.dump();
    let shown = w.get(&here).header("cookie", &cookies).send().await;
    assert_eq!(shown.status, 403);
    assert!(
        shown.text.contains("4 tries left") && shown.header("set-cookie").contains("Max-Age=0")
    );
    let reloaded = w.get(&here).header("cookie", &page.cookie).send().await;
    assert_eq!(
        (reloaded.status, reloaded.field("page").as_ref()),
        (200, Some(&page.id))
    );
    assert!(!reloaded.text.contains("role=\"alert\""));
    let head = w
        .request("HEAD", &here)
        .header("cookie", &page.cookie)
        .send()
        .await;
    assert_eq!(head.status, 200);
    // The id alone opens nothing, and nobody writes by asking.
    assert_eq!(w.get(&here).send().await.status, 403);
    let other = w.open(&w.authorization_request(&client)).await;
    assert_eq!(
        w.get(&here)
            .header("cookie", &other.cookie)
            .send()
            .await
            .status,
        403
    );
    assert_eq!(w.dump().len(), before.len() + 1, "only the other page");
    let unknown = "/authorize?page=AAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(
        w.get(unknown)
            .header("cookie", &page.cookie)
            .send()
            .await
            .status,
        400
    );
    assert_eq!(w.get("/authorize?page=x").send().await.status, 400);
    // Whatever is in the cookie, the page is shown.
    let name = message.split_once('=').unwrap().0.to_owned();
    for value in [
        "x".repeat(2000),
        "e30".into(),
        "bnVsbA".into(),
        "/w".into(),
        String::new(),
    ] {
        let cookies = format!("{}; {name}={value}", page.cookie);
        assert_eq!(
            w.get(&here).header("cookie", &cookies).send().await.status,
            200
        );
    }
    // {"ended":"<script>"} is a message of another page, and text there.
    let owner = Owner::sign_in(&w).await;
    let planted = format!("{}; {name}=eyJlbmRlZCI6IjxzY3JpcHQ-In0", owner.cookie);
    let listed = w
        .get("/connections")
        .header("cookie", &planted)
        .send()
        .await;
    assert!(
        listed.text.contains("&#60;script&#62; was ended."),
        "{}",
        listed.text
    );
    let done = form(&w.pin).send().await;
    w.token(&w.redeem(&client, &done.redirected("code").unwrap()))
        .await;
    let again = form(&w.pin).send().await;
    assert_eq!((again.status, again.header("location")), (303, &*here));
    let connected = w.get(&here).header("cookie", &page.cookie).send().await;
    assert_eq!(connected.status, 200);
    assert!(connected.text.contains("Already connected"));
}

#[tokio::test]
async fn people_see_pages_where_programs_get_json() {
    let w = World::start().await;
    let browser = |path: &str| w.get(path).header("accept", "text/html,*/*;q=0.8");
    for path in ["/mcp", "/mcp/", "/mcp/x/readonly", "/mcp-work"] {
        let page = browser(path).send().await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (401, "text/html; charset=utf-8")
        );
        assert!(
            page.header("www-authenticate").starts_with("Bearer "),
            "{path}"
        );
        assert!(
            page.text.contains("This address is for apps") && page.text.contains(&w.url("/mcp"))
        );
        assert!(page.text.contains("href=\"/\"") && page.text.contains("href=\"/connections\""));
        for client in [
            w.get(path),
            browser(path).header("authorization", "Bearer x"),
            w.post(path).header("accept", "text/html"),
        ] {
            let response = client.send().await;
            assert_eq!(
                (response.status, response.header("content-type")),
                (401, "application/json")
            );
        }
    }
    for path in ["/connections/", "/authorise", "/.env", "/sse"] {
        let page = browser(path).send().await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (404, "text/html; charset=utf-8")
        );
        assert!(
            page.text.contains("Page not found") && page.text.contains("href=\"/connections\"")
        );
        assert_eq!(w.get(path).send().await.error(), (404, "not_found".into()));
        assert_eq!(
            w.post(path)
                .header("accept", "text/html")
                .send()
                .await
                .error(),
            (404, "not_found".into())
        );
    }
    for path in ["/favicon.svg", "/favicon.ico"] {
        let icon = w.get(path).send().await;
        assert_eq!(
            (icon.status, icon.header("content-type")),
            (200, "image/svg+xml")
        );
        assert_eq!(icon.header("cache-control"), "public, max-age=604800");
        assert!(icon.text.starts_with("<svg"));
    }
    let off = World::with_settings(&[("LANDING_PAGE", "off")]).await;
    let get = |path: &str| off.get(path).header("accept", "text/html").send();
    assert_eq!(get("/mcp").await.header("content-type"), "application/json");
    assert!(!get("/x").await.text.contains("href=\"/\""));
}

#[tokio::test]
async fn an_unreadable_record_hides_no_other_and_is_deleted_when_all_connections_are_ended() {
    let w = World::start().await;
    let client = w.connect().await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    w.dynamodb()
        .put_item()
        .table_name("lambda-oauth-mcp-proxy")
        .item("pk", text("connection"))
        .item("sk", text("AAAAAAAAAAAAAAAAAAAAAA"))
        .item("stage", text("of a version to come"))
        .send()
        .await
        .unwrap();
    let owner = Owner::sign_in(&w).await;
    assert!(owner.page().await.text.contains("Test client"));
    let csrf = owner.csrf().await;
    owner.act(&[("csrf", &csrf), ("action", "end-all")]).await;
    assert_eq!(w.status(&client.access).await, 401);
    assert!(
        !w.dump()
            .iter()
            .any(|item| item.contains("of a version to come"))
    );
}

#[tokio::test]
async fn ending_all_also_ends_connections_that_are_being_made() {
    let w = World::start().await;
    let client = w.client().await;
    let code = w.code(&client).await;
    let owner = Owner::sign_in(&w).await;
    assert!(owner.page().await.text.contains("Nothing is connected"));
    let csrf = owner.csrf().await;
    owner.act(&[("csrf", &csrf), ("action", "end-all")]).await;
    let late = w.token(&w.redeem(&client, &code)).await;
    assert_eq!(late.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn without_the_pin_nothing_is_shown_or_ended() {
    let w = World::start().await;
    let client = w.connect().await;
    let owner = Owner::sign_in(&w).await;
    let csrf = owner.csrf().await;
    let before = w.dump();

    let stranger = w.get("/connections").send().await;
    assert_eq!(stranger.status, 200);
    assert!(!stranger.text.contains("Test client"));
    let form = [("csrf", csrf.as_str()), ("action", "end-all")];
    let no_cookie = w.post("/connections").form(&form);
    let no_cookie = w.send_as_browser("", no_cookie).await;
    assert_eq!(no_cookie.status, 200);
    assert!(
        no_cookie.text.contains("session has ended") && !no_cookie.text.contains("Test client")
    );
    let wrong_csrf = owner.act(&[("csrf", "x"), ("action", "end-all")]).await;
    assert!(
        wrong_csrf
            .text
            .contains("out of date, so nothing was changed")
    );
    let cross_site = w
        .post("/connections")
        .header("cookie", &owner.cookie)
        .header("sec-fetch-site", "same-site")
        .form(&form)
        .send()
        .await;
    assert_eq!(cross_site.status, 403);
    assert!(!cross_site.text.contains("Test client"));
    let asked = w.get("/connections/end?all=yes").send().await;
    assert_eq!(
        (asked.status, asked.header("location")),
        (303, "/connections")
    );
    for form in [
        &[("action", "end-all")][..],
        &[("csrf", &csrf), ("action", "end")],
        &[("csrf", &csrf), ("action", "end"), ("connection", "../x")],
        &[("csrf", &csrf), ("action", "format-disk")],
        &[("csrf", &csrf), ("csrf", &csrf), ("action", "end-all")],
    ] {
        assert_eq!(owner.act(form).await.status, 400, "{form:?}");
    }
    assert_eq!(w.dump(), before);
    assert_eq!(w.status(&client.access).await, 200);
}

#[tokio::test]
async fn a_session_lasts_fifteen_minutes_and_ends_with_signing_out() {
    let w = World::start().await;
    w.connect().await;
    let owner = Owner::sign_in(&w).await;
    let other = Owner::sign_in(&w).await;
    assert_ne!(owner.cookie, other.cookie, "fresh at each sign-in");
    let csrf = owner.csrf().await;
    let out = owner.act(&[("csrf", &csrf), ("action", "sign-out")]).await;
    assert!(out.text.contains("You are signed out.") && !out.text.contains("Test client"));
    assert!(!owner.page().await.text.contains("Test client"));
    w.advance_clock(899);
    assert!(other.page().await.text.contains("Test client"));
    w.advance_clock(1);
    assert!(!other.page().await.text.contains("Test client"));
}

#[tokio::test]
async fn a_planted_session_cookie_opens_nothing() {
    let w = World::start().await;
    w.connect().await;
    let name = Owner::sign_in(&w)
        .await
        .cookie
        .split_once('=')
        .unwrap()
        .0
        .to_owned();
    let planted = format!("{name}=AAAAAAAAAAAAAAAAAAAAAA");
    let response = w
        .post("/connections")
        .header("cookie", &planted)
        .form(&[("action", "sign-in"), ("pin", &w.pin)])
        .send()
        .await;
    assert_ne!(response.cookie().unwrap(), planted);
    assert!(
        !w.get("/connections")
            .header("cookie", &planted)
            .send()
            .await
            .text
            .contains("Test client")
    );
}

#[tokio::test]
async fn both_pages_share_one_limit_of_wrong_pins_and_the_owner_sees_the_tries() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    for _ in 0..2 {
        assert_eq!(sign_in_page(&w, "wrong000").await.status, 403);
        assert_eq!(
            w.submit_consent(&page, "authorize", "wrong000")
                .await
                .status,
            403
        );
    }
    let fifth = sign_in_page(&w, "wrong000").await;
    assert_eq!((fifth.status, fifth.header("retry-after")), (429, "30"));
    w.advance_clock(30);
    let owner = Owner::sign_in(&w).await;
    assert!(owner.page().await.text.contains("5 tries"));
}

#[tokio::test]
async fn a_browser_at_the_root_is_shown_how_to_connect() {
    let w = World::start().await;
    let accept = "text/html,application/xhtml+xml";
    let page = w.get("/").header("accept", accept).send().await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains(&w.url("/mcp")));
    for client in [
        "claude.ai",
        "Claude Code",
        "ChatGPT",
        "Cursor",
        "VS Code",
        ".mcp.json",
    ] {
        assert!(page.text.contains(client), "{client}");
    }
    for secret in [&w.pin, &w.pat] {
        assert!(!page.text.contains(secret.as_str()));
    }
    assert!(
        page.text.contains("Connect an app to <bdi>127.0.0.1</bdi>"),
        "{}",
        page.text
    );
    assert!(page.text.len() < 20_000, "{}", page.text.len());
    // A request of an MCP client at the root is a call, not a visit of the page.
    assert_eq!(w.get("/").send().await.status, 401);
    assert_eq!(
        w.post("/").header("accept", accept).send().await.status,
        401
    );

    let off = World::with_settings(&[("LANDING_PAGE", "off")]).await;
    assert_eq!(
        off.get("/").header("accept", accept).send().await.status,
        401
    );
}
