//! Access tokens that the owner creates by hand.

use crate::{
    http::owner::{Owner, leads_to, token_form},
    support::world::{World, logged},
};

#[tokio::test]
async fn a_token_is_created_once_shown_once_and_ended_like_any_connection() {
    let w = World::start().await;
    let owner = Owner::sign_in(&w).await;
    let page = owner.get("/connections/token").await;
    let (csrf, connection) = (
        page.field("csrf").unwrap(),
        page.field("connection").unwrap(),
    );
    let form = async |days: &str, limit: &str, name: &str| {
        owner
            .send(&[
                ("csrf", &*csrf),
                ("connection", &*connection),
                ("action", "create-token"),
                ("name", name),
                ("days", days),
                ("limit", limit),
                ("pin", &*w.pin),
            ])
            .await
    };
    let before = w.dump();
    for (days, limit) in [
        ("8", "everything"),
        ("", "everything"),
        ("07", "tools"),
        ("7", "tools"),
        ("99999999999999999999", "everything"),
    ] {
        assert_eq!(form(days, limit, "x").await.status, 400, "{days} {limit}");
    }
    assert_eq!(form("7", "everything", &"x".repeat(101)).await.status, 400);
    let forged = token_form("x", &connection);
    leads_to(&owner.send(&forged).await, "/connections");
    assert_eq!(w.dump(), before);

    let created = form("7", "read_only", "Backup <script>").await;
    assert_eq!(
        (
            created.status,
            created.header("location"),
            created.header("cache-control")
        ),
        (200, "", "no-store")
    );
    let (_, token) = created.text.split_once("id=\"token\">").unwrap();
    let token = token.split_once('<').unwrap().0.to_owned();
    w.keep_secret(&token);
    assert!(token.starts_with("mcp_at_") && created.text.matches(&token).count() == 1);
    assert!(
        !created.text.contains("<script>\"") && created.text.contains("Backup &#60;script&#62;")
    );
    let secret = token.split_once('.').unwrap().1;
    assert!(!created.header("set-cookie").contains(secret));
    assert!(
        !w.dump().iter().any(|item| item.contains(secret)),
        "only its fingerprint is stored"
    );
    // The form again, as after reloading: no second token.
    let stored = w.dump();
    leads_to(&form("7", "everything", "x").await, "/connections");
    assert_eq!(w.dump(), stored);

    let listed = owner.page().await.text;
    assert!(
        listed.contains("A token that you created")
            && listed.contains("Read only")
            && !listed.contains(secret)
    );
    let log = String::from_utf8(logged().lock().unwrap().clone()).unwrap();
    let mut lines = log.lines();
    let line = lines.find(|line| line.contains("token_created") && line.contains(&connection));
    for field in ["Backup <script>", "read_only", "127.0.0.1"] {
        assert!(line.unwrap().contains(field), "{field}");
    }
    let call = || w.status(&token);
    assert_eq!(call().await, 200);
    w.advance_clock(7 * 86_400 - 1);
    assert_eq!(call().await, 200);
    w.advance_clock(1);
    assert_eq!(call().await, 401);

    let off = World::with_settings(&[("MANUAL_TOKENS", "off")]).await;
    let owner = Owner::sign_in(&off).await;
    assert!(!owner.page().await.text.contains("/connections/token"));
    assert_eq!(owner.get("/connections/token").await.status, 404);
    let csrf = owner.page().await.field("csrf").unwrap();
    let form = token_form(&csrf, &connection);
    assert_eq!(owner.send(&form).await.status, 404);
    assert!(!off.dump().iter().any(|item| item.contains("\"stage\"")));
}
