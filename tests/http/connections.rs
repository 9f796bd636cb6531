//! `/connections` and the landing page: who sees what, and that ending a connection takes effect at once.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::support::world::{Response, World};

/// A signed-in owner.
pub struct Owner<'a> {
    w: &'a World,
    cookie: String,
}

impl<'a> Owner<'a> {
    pub async fn sign_in(w: &'a World) -> Self {
        let response = sign_in(w, &w.pin).await;
        assert_eq!(
            (response.status, response.header("location")),
            (303, "/connections")
        );
        let cookie = response.cookie().unwrap();
        w.keep_secret(cookie.split_once('=').unwrap().1);
        Self { w, cookie }
    }

    async fn page(&self) -> Response {
        self.w
            .get("/connections")
            .header("cookie", &self.cookie)
            .send()
            .await
    }

    async fn act(&self, form: &[(&str, &str)]) -> Response {
        self.w
            .post("/connections")
            .header("cookie", &self.cookie)
            .form(form)
            .send()
            .await
    }

    async fn csrf(&self) -> String {
        self.page().await.field("csrf").unwrap()
    }

    /// Ends a connection.
    pub async fn end(&self, connection: &str) {
        let csrf = self.csrf().await;
        let form = [
            ("csrf", &*csrf),
            ("action", "end"),
            ("connection", connection),
        ];
        let ended = self.act(&form).await;
        assert!(ended.text.contains("was ended"), "{}", ended.text);
    }
}

async fn sign_in(w: &World, pin: &str) -> Response {
    w.post("/connections")
        .form(&[("action", "sign-in"), ("pin", pin)])
        .send()
        .await
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
        4,
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
    let csrf = page.field("csrf").unwrap();
    let ended = owner
        .act(&[("csrf", &csrf), ("action", "end"), ("connection", id)])
        .await;
    assert_eq!(ended.status, 200);
    assert!(ended.text.contains("was ended") && !ended.text.contains(id));
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
    let no_cookie = w.post("/connections").form(&form).send().await;
    let wrong_csrf = owner.act(&[("csrf", "x"), ("action", "end-all")]).await;
    let cross_site = w
        .post("/connections")
        .header("cookie", &owner.cookie)
        .header("sec-fetch-site", "same-site")
        .form(&form)
        .send()
        .await;
    for response in [no_cookie, wrong_csrf, cross_site] {
        assert_eq!(response.status, 403);
        assert!(!response.text.contains("Test client"));
    }
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
    assert_eq!(out.status, 303);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
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
        assert_eq!(sign_in(&w, "wrong000").await.status, 403);
        assert_eq!(
            w.submit_consent(&page, "authorize", "wrong000")
                .await
                .status,
            403
        );
    }
    let fifth = sign_in(&w, "wrong000").await;
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
    assert!(page.text.len() < 15_000, "{}", page.text.len());
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
