//! What the owner chooses for a connection, in the store: its name, its limit, tokens created by hand, activity.

use lambda_oauth_mcp_proxy::{
    credential::{AccessToken, ConnectionId, Randomness},
    limit::{Limit, ToolNames},
    store::{
        ActivityCount,
        record::{Activity, ActivityOutcome},
    },
};

use super::{manual, name, store};
use crate::support::world::{BEGIN, World};

const DAY: u64 = 86_400;

fn token_id(access: &str) -> ConnectionId {
    AccessToken::parse(access).unwrap().id().clone()
}

#[tokio::test]
async fn name_and_limit_are_chosen_at_consent_and_changed_only_while_the_connection_lives() {
    let w = World::start().await;
    let store = store(&w);
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let consent = async |fields: &[(&str, &str)]| {
        let mut form = vec![
            ("page", page.id.as_str()),
            ("pin", &w.pin),
            ("decision", "authorize"),
        ];
        form.extend(fields);
        w.post("/authorize")
            .header("cookie", &page.cookie)
            .form(&form)
            .send()
            .await
    };
    for bad in [
        ("name", "x".repeat(101)),
        ("name", "a\u{7}b".to_owned()),
        ("name", "y".repeat(10_240)),
        ("limit", "tools".to_owned()),
    ] {
        let refused = consent(&[(bad.0, &bad.1)]).await;
        assert_eq!(refused.status, 400, "{bad:?}");
    }
    let accepted = consent(&[("name", " My \u{202e}laptop "), ("limit", "read_only")]).await;
    assert_eq!(accepted.status, 303, "{}", accepted.text);
    let code = accepted.redirected("code").unwrap();
    let tokens = w.token(&w.redeem(&client, &code)).await.json();
    let id = token_id(tokens["access_token"].as_str().unwrap());

    let read = async || store.connection(&id, BEGIN).await.unwrap().unwrap();
    let connection = read().await;
    assert_eq!(
        (connection.shown_name().as_str(), connection.limit),
        ("My laptop", Limit::ReadOnly)
    );

    let tools = Limit::Tools(ToolNames::new(["a".to_owned(), "b".to_owned()]).unwrap());
    assert!(store.set_limit(&id, &tools, BEGIN).await.unwrap());
    assert!(store.rename_connection(&id, None, BEGIN).await.unwrap());
    let connection = read().await;
    assert_eq!(
        (connection.shown_name().as_str(), &connection.limit),
        ("Test client", &tools)
    );
    // A refresh keeps both.
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(w.refresh(&client, refresh).await.status, 200);
    assert_eq!(read().await.limit, tools);

    let before = w.dump();
    let expired = BEGIN + 365 * DAY;
    assert!(
        !store
            .set_limit(&id, &Limit::Everything, expired)
            .await
            .unwrap()
    );
    let other = ConnectionId::generate(&Randomness::system());
    assert!(
        !store
            .rename_connection(&other, name("x").as_ref(), BEGIN)
            .await
            .unwrap()
    );
    assert_eq!(w.dump(), before);
    store.end_connection(&id).await.unwrap();
    assert!(
        !store
            .set_limit(&id, &Limit::Everything, BEGIN)
            .await
            .unwrap()
    );
    assert!(
        store.connection(&id, BEGIN).await.unwrap().is_none(),
        "it is not brought back"
    );
}

#[tokio::test]
async fn a_token_created_by_hand_is_a_connection_without_a_client() {
    let w = World::start().await;
    let store = store(&w);
    let (token, connection) = manual(&w, Limit::Everything);
    assert!(store.create_manual_connection(&connection).await.unwrap());
    // A live connection is never replaced.
    assert!(!store.create_manual_connection(&connection).await.unwrap());
    let item = w
        .dump()
        .into_iter()
        .find(|item| item.contains("manual"))
        .unwrap();
    for field in [
        "client_id",
        "redirect_uri",
        "code",
        "refresh",
        "scope",
        token.expose(),
    ] {
        assert!(
            !item.contains(&format!("\"{field}\"")) && !item.contains(token.expose()),
            "{item}"
        );
    }
    let listed = store.connections(BEGIN).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].grant().is_none());
    assert_eq!(listed[0].shown_name(), "Backup script");

    assert_eq!(w.status(token.expose()).await, 200);
    let refresh = w
        .refresh("anybody", &token.expose().replace("_at_", "_rt_"))
        .await;
    assert_ne!(refresh.status, 200);
    // Whoever has it may end it.
    let revoked = w
        .post("/revoke")
        .form(&[("token", token.expose())])
        .send()
        .await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    assert_eq!(w.status(token.expose()).await, 401);

    let (token, connection) = manual(&w, Limit::Everything);
    store.create_manual_connection(&connection).await.unwrap();
    w.advance_clock(DAY - 1);
    assert_eq!(w.status(token.expose()).await, 200);
    w.advance_clock(1);
    assert_eq!(w.status(token.expose()).await, 401);
}

#[tokio::test]
async fn tokens_created_by_hand_can_be_switched_off() {
    let w = World::with_settings(&[("MANUAL_TOKENS", "off")]).await;
    let (token, connection) = manual(&w, Limit::Everything);
    store(&w)
        .create_manual_connection(&connection)
        .await
        .unwrap();
    assert_eq!(w.status(token.expose()).await, 401);
    assert_eq!(w.status(&w.connect().await.access).await, 200);
}

#[tokio::test]
async fn activity_is_listed_counted_and_expires() {
    let w = World::start().await;
    let store = store(&w);
    let (id, other) = (
        token_id(manual(&w, Limit::Everything).0.expose()),
        token_id(manual(&w, Limit::Everything).0.expose()),
    );
    let record = async |id: &ConnectionId, at: u64, tool: String| {
        let activity = Activity {
            tool,
            at,
            outcome: ActivityOutcome::ToolError,
            ms: 12,
        };
        store
            .record_activity(id, &activity, at + 30 * DAY)
            .await
            .unwrap();
    };
    let now = BEGIN + 40 * DAY;
    record(&other, now, "of another connection".to_owned()).await;
    for (days, calls) in [(35, 1), (20, 2), (3, 3), (0, 60)] {
        for call in 0..calls {
            record(&id, now - days * DAY - call, format!("tool {days} {call}")).await;
        }
    }
    let listed = store.activity(&id, now).await.unwrap();
    assert_eq!(listed.len(), 50);
    assert_eq!(
        (listed[0].tool.as_str(), listed[0].at, listed[0].ms),
        ("tool 0 0", now, 12)
    );
    assert_eq!(listed[49].tool, "tool 0 49");
    let counts = store.activity_counts(&id, now).await.unwrap();
    let count = |calls| ActivityCount {
        calls,
        or_more: false,
    };
    assert_eq!(
        (counts.day, counts.week, counts.month),
        (count(60), count(63), count(65))
    );
    let counts = store.activity_counts(&id, now + 28 * DAY).await.unwrap();
    assert_eq!(
        (counts.day, counts.week, counts.month),
        (count(0), count(0), count(60))
    );
    assert!(
        store
            .activity(&id, now + 30 * DAY)
            .await
            .unwrap()
            .is_empty()
    );
}
