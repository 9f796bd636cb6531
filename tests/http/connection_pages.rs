//! The pages of one connection: its name, what it may do, what it did, its tools.

use axum::response::IntoResponse as _;
use lambda_oauth_mcp_proxy::{
    credential::{ConnectionId, Randomness},
    store::{
        Store,
        record::{Activity, ActivityOutcome},
    },
};
use serde_json::{Value, json};

use crate::{
    http::owner::{Owner, leads_to, token_form},
    support::world::{BEGIN, Response, World},
};

/// The id in an access token.
fn id(access: &str) -> String {
    let (id, _) = access
        .trim_start_matches("mcp_at_")
        .split_once('.')
        .unwrap();
    id.to_owned()
}

/// Lets the upstream list these tools, and answer every other request with an empty result.
fn lists(w: &World, tools: Value) {
    w.upstream.responds(move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let result = match body["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
                "serverInfo": { "name": "s", "version": "1" },
            }),
            Some("tools/list") => json!({ "tools": tools }),
            _ => json!({}),
        };
        let response = json!({ "jsonrpc": "2.0", "id": body["id"], "result": result });
        ([("content-type", "application/json")], response.to_string()).into_response()
    });
}

#[tokio::test]
async fn the_consent_page_asks_for_a_name_and_a_limit_and_keeps_them_after_a_wrong_pin() {
    let w = World::start().await;
    let on_this_machine =
        json!({ "redirect_uris": ["http://127.0.0.1/callback"], "client_name": "Claude Code" });
    let local = w.register(on_this_machine).await;
    let ask = w
        .authorization_request(local["client_id"].as_str().unwrap())
        .set("redirect_uri", "http://127.0.0.1:4711/callback");
    let path = format!("/authorize?{}", ask.encode());
    let opened = w.get(&path).header("sec-ch-ua-platform", "\"macOS\"");
    let opened = opened.send().await;
    assert!(
        opened
            .text
            .contains("name=\"name\" value=\"Claude Code on macOS\"")
    );
    assert!(opened.text.contains("value=\"everything\" checked"));
    // The system of the browser says nothing about a client that runs somewhere else.
    let client = w.client().await;
    let path = format!("/authorize?{}", w.authorization_request(&client).encode());
    let elsewhere = w.get(&path).header("sec-ch-ua-platform", "\"macOS\"");
    assert!(
        elsewhere
            .send()
            .await
            .text
            .contains("name=\"name\" value=\"Test client\"")
    );

    let page = w.open(&w.authorization_request(&client)).await;
    let form = async |pin: &str| {
        let name = "<b>Laptop</b>\u{202e}";
        let form = [
            ("page", &*page.id),
            ("pin", pin),
            ("name", name),
            ("limit", "read_only"),
        ];
        let request = w.post("/authorize").form(&form);
        w.send_as_browser(&page.cookie, request).await
    };
    let wrong = form("wrong000").await;
    assert_eq!(wrong.status, 403);
    assert!(
        wrong
            .text
            .contains("value=\"&#60;b&#62;Laptop&#60;/b&#62;\""),
        "{}",
        wrong.text
    );
    assert!(wrong.text.contains("value=\"read_only\" checked"));
    let code = form(&w.pin).await.redirected("code").unwrap();
    w.token(&w.redeem(&client, &code)).await;
    let owner = Owner::sign_in(&w).await;
    let listed = owner.page().await.text;
    assert!(
        listed.contains("<bdi>&#60;b&#62;Laptop&#60;/b&#62;</bdi>") && listed.contains("Read only")
    );
    assert!(listed.contains("Test client, name not verified, through client.example"));
}

#[tokio::test]
async fn the_owner_renames_a_connection_and_changes_what_it_may_do() {
    let w = World::start().await;
    let one = w.connect().await;
    let owner = Owner::sign_in(&w).await;
    let id = id(&one.access);
    let here = format!("/connections/edit?connection={id}");
    let page = owner.get(&here).await;
    let csrf = page.field("csrf").unwrap();
    assert!(
        page.text.contains("<h1><bdi>Test client</bdi></h1>") && page.text.contains("127.0.0.1")
    );
    let form = async |fields: &[(&str, &str)]| {
        let mut form = vec![("csrf", &*csrf), ("connection", &*id)];
        form.extend(fields);
        owner.send(&form).await
    };
    let renamed = form(&[("action", "rename"), ("name", " Work \u{2066} laptop")]).await;
    leads_to(&renamed, &here);
    assert!(
        owner
            .get(&here)
            .await
            .text
            .contains("<h1><bdi>Work laptop</bdi></h1>")
    );
    leads_to(
        &form(&[("action", "limit"), ("limit", "read_only")]).await,
        &here,
    );
    assert!(
        owner
            .get(&here)
            .await
            .text
            .contains("value=\"read_only\" checked")
    );
    let tools = [("action", "tools"), ("tool", "a"), ("tool", "b")];
    let with_pin = [&tools[..], &[("pin", &*w.pin)]].concat();
    leads_to(&form(&with_pin).await, &here);
    assert!(
        owner
            .get(&here)
            .await
            .text
            .contains("value=\"tools\" checked> 2 chosen tools")
    );
    leads_to(
        &form(&[("action", "limit"), ("limit", "tools")]).await,
        &here,
    );
    assert!(
        owner.get(&here).await.text.contains("2 chosen tools"),
        "they stay"
    );
}

#[tokio::test]
async fn a_session_alone_gives_no_client_more_than_it_has() {
    let w = World::start().await;
    let one = w.connect().await;
    let owner = Owner::sign_in(&w).await;
    let id = id(&one.access);
    let edit = format!("/connections/edit?connection={id}");
    let choose = format!("/connections/tools?connection={id}");
    let csrf = owner.get(&edit).await.field("csrf").unwrap();
    let form = async |fields: &[(&str, &str)]| {
        let mut form = vec![("csrf", &*csrf), ("connection", &*id)];
        form.extend(fields);
        owner.send(&form).await
    };
    // No token without the PIN.
    let connection = owner.get("/connections/token").await.field("connection");
    let connection = connection.unwrap();
    leads_to(
        &owner.send(&token_form(&csrf, &connection)).await,
        "/connections/token",
    );
    assert!(!w.dump().iter().any(|item| item.contains(&connection)));
    // Less than now needs no PIN.
    let fewer = [("action", "tools"), ("tool", "a")];
    leads_to(&form(&fewer).await, &edit);
    let unchanged = w.dump();
    for (fields, back) in [
        (&[("action", "limit"), ("limit", "everything")][..], &edit),
        (&[("action", "limit"), ("limit", "read_only")], &edit),
        (
            &[("action", "tools"), ("tool", "a"), ("tool", "b")],
            &choose,
        ),
    ] {
        leads_to(&form(fields).await, back);
        assert!(owner.get(&edit).await.text.contains("One chosen tool"));
    }
    // Nor was it a try: five wrong ones would make the owner wait.
    assert_eq!(w.dump(), unchanged);
    let everything = [("action", "limit"), ("limit", "everything")];
    let wrong = [&everything[..], &[("pin", "wrong00000")]].concat();
    let request = w
        .post("/connections")
        .form(&[&[("csrf", &*csrf), ("connection", &*id)], &wrong[..]].concat());
    let page = w.send_as_browser(&owner.cookie, request).await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("That PIN is wrong.") && page.text.contains("One chosen tool"));
    let right = [&everything[..], &[("pin", &*w.pin)]].concat();
    leads_to(&form(&right).await, &edit);
    assert!(
        owner
            .get(&edit)
            .await
            .text
            .contains("value=\"everything\" checked")
    );
}

#[tokio::test]
async fn an_invalid_form_of_a_connection_changes_nothing() {
    let w = World::start().await;
    let one = w.connect().await;
    let owner = Owner::sign_in(&w).await;
    let id = id(&one.access);
    let here = format!("/connections/edit?connection={id}");
    let csrf = owner.get(&here).await.field("csrf").unwrap();
    let form = async |fields: &[(&str, &str)]| {
        let mut form = vec![("csrf", &*csrf), ("connection", &*id)];
        form.extend(fields);
        owner.send(&form).await
    };
    let unchanged = w.dump();
    for (status, fields) in [
        (
            400,
            &[("action", "rename"), ("name", &*"x".repeat(101))][..],
        ),
        (400, &[("action", "rename"), ("name", "a\u{7}")]),
        (400, &[("action", "limit"), ("limit", "all")]),
        (400, &[("action", "limit")]),
        (
            400,
            &[
                ("action", "limit"),
                ("limit", "everything"),
                ("limit", "tools"),
            ],
        ),
        (400, &[("action", "tools"), ("tool", "a\nb")]),
        (303, &[("action", "tools"), ("tool", &*"x".repeat(257))]),
    ] {
        assert_eq!(form(fields).await.status, status, "{fields:?}");
    }
    let many: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    let mut too_many = vec![("action", "tools")];
    too_many.extend(many.iter().map(|name| ("tool", name.as_str())));
    leads_to(
        &form(&too_many).await,
        &format!("/connections/tools?connection={id}"),
    );
    let mut far_too_many = too_many.repeat(3);
    far_too_many.dedup_by_key(|(name, _)| *name == "action");
    assert_eq!(form(&far_too_many).await.status, 400);
    let huge = "x".repeat(300_000);
    assert_eq!(
        form(&[("action", "tools"), ("tool", &huge)]).await.status,
        413
    );
    let stranger = w
        .post("/connections")
        .form(&[("action", "tools"), ("tool", &huge)]);
    assert_eq!(
        stranger.send().await.status,
        413,
        "16 KB, if nobody is signed in"
    );
    assert_eq!(w.dump(), unchanged);

    let form_of_other_session = [
        ("csrf", "x"),
        ("connection", &*id),
        ("action", "rename"),
        ("name", "x"),
    ];
    leads_to(&owner.send(&form_of_other_session).await, "/connections");
    w.post("/revoke")
        .form(&[("token", &*one.refresh), ("client_id", &*one.client_id)])
        .send()
        .await;
    let gone = form(&[("action", "rename"), ("name", "x")]).await;
    leads_to(&gone, "/connections");
    for path in [
        &*here,
        "/connections/edit",
        "/connections/tools?connection=x",
    ] {
        leads_to(&owner.get(path).await, "/connections");
    }
    assert!(
        !w.dump().iter().any(|item| item.contains("\"stage\"")),
        "nothing came back"
    );
}

#[tokio::test]
async fn the_page_of_a_connection_shows_its_latest_calls() {
    let w = World::start().await;
    let one = w.connect().await;
    let owner = Owner::sign_in(&w).await;
    let here = format!("/connections/edit?connection={}", id(&one.access));
    assert!(
        owner
            .get(&here)
            .await
            .text
            .contains("There were no calls in the last 30 days.")
    );
    let store = Store::new(
        w.dynamodb(),
        "lambda-oauth-mcp-proxy".to_owned(),
        Randomness::system(),
    );
    for outcome in [ActivityOutcome::Ok, ActivityOutcome::Refused] {
        let activity = Activity {
            tool: "list_<b>\u{202e}".to_owned(),
            at: BEGIN,
            outcome,
            ms: 214,
        };
        let id = ConnectionId::parse(&id(&one.access)).unwrap();
        let kept = store.record_activity(&id, &activity, BEGIN + 86_400);
        kept.await.unwrap();
    }
    let page = owner.get(&here).await.text;
    assert!(
        page.contains("list_&#60;b&#62;") && page.contains(">ok <small"),
        "{page}"
    );
    assert!(page.contains("refused: not allowed") && page.contains("214 ms"));
    assert!(page.contains("<dt>Last 24 hours</dt><dd>2</dd>") && !page.contains('\u{202e}'));

    let off = World::with_settings(&[("ACTIVITY_DAYS", "0")]).await;
    let one = off.connect().await;
    let here = format!("/connections/edit?connection={}", id(&one.access));
    let page = Owner::sign_in(&off).await.get(&here).await;
    assert!(page.text.contains("Calls are not recorded on this server."));
}

#[tokio::test]
async fn tools_are_chosen_from_the_list_that_the_upstream_has_now() {
    let w = World::start().await;
    let one = w.connect().await;
    let owner = Owner::sign_in(&w).await;
    let here = format!("/connections/tools?connection={}", id(&one.access));
    let calls = w.upstream.requests().len();
    leads_to(&w.get(&here).send().await, "/connections");
    assert_eq!(
        w.upstream.requests().len(),
        calls,
        "no stranger makes this program call the upstream"
    );
    let hostile = "</label><script>alert(1)</script>\u{202e}";
    lists(
        &w,
        json!([
            { "name": "read", "title": "Read it", "description": hostile, "annotations": { "readOnlyHint": true } },
            { "name": "write", "annotations": { "destructiveHint": false } },
            { "name": "wipe", "title": hostile },
            { "name": "read", "annotations": { "destructiveHint": false } },
            { "name": "both", "annotations": { "readOnlyHint": true } },
            { "name": "x".repeat(300) },
        ]),
    );
    let checked = |page: &Response| {
        let boxes = page.text.split("name=\"tool\" value=\"").skip(1);
        let boxes = boxes.filter(|text| text.split_once('>').unwrap().0.contains(" checked"));
        boxes
            .map(|text| text.split_once('"').unwrap().0.to_owned())
            .collect::<Vec<_>>()
    };
    let page = owner.get(&here).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(!page.text.contains("<script>alert") && !page.text.contains('\u{202e}'));
    assert_eq!(
        checked(&page),
        ["both", "read", "write", "wipe"],
        "what it may use now"
    );
    let at = |text: &str| page.text.find(text).expect(text);
    // Of two tools with one name the worse one counts.
    assert!(at("value=\"both\"") < at("Tools that change something"));
    assert!(
        at("Tools that change something") < at("value=\"read\"")
            && at("value=\"read\"") < at("may delete")
    );
    assert!(at("may delete") < at("value=\"wipe\""));
    assert!(
        page.text.contains(" disabled>"),
        "a name that cannot be stored"
    );
    let none: [&str; 0] = [];
    assert_eq!(
        checked(&owner.get(&format!("{here}&select=none")).await),
        none
    );
    assert_eq!(
        checked(&owner.get(&format!("{here}&select=reading")).await),
        ["both"]
    );
    let csrf = page.field("csrf").unwrap();
    let id = id(&one.access);
    let form = [
        ("csrf", &*csrf),
        ("connection", &*id),
        ("action", "tools"),
        ("tool", "both"),
        ("tool", "gone"),
    ];
    leads_to(
        &owner.send(&form).await,
        &format!("/connections/edit?connection={id}"),
    );
    let page = owner.get(&here).await;
    assert_eq!(checked(&page), ["both", "gone"]);
    assert!(page.text.contains("No longer offered by the server"));
    w.upstream.responds_with(500, &[], "secret-of-the-upstream");
    let failed = owner.get(&here).await;
    assert_eq!(failed.status, 502);
    assert!(
        failed.text.contains("The tools are not known")
            && !failed.text.contains("secret-of-the-upstream")
    );
}
