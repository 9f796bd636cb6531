//! During a deployment two versions serve one table: this one must read what the previous one wrote, and ignore
//! what the next one adds.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::support::world::{Connected, World};

const TABLE: &str = "lambda-oauth-mcp-proxy";

/// The optional fields of a record: everything that src/store/record.rs marks as optional or defaulted.
const OPTIONAL: [&str; 13] = [
    "client_name",
    "verified_host",
    "client_secret",
    "access_previous",
    "access_previous_expires_at",
    "refresh_previous",
    "rotated_at",
    "nonce",
    "generation",
    "repeats",
    "attempt",
    "client_extended_at",
    "v",
];

/// Makes every item of the table one of another version.
async fn rewrite(w: &World, remove: &[&str], add: &[&str]) {
    let client = w.dynamodb();
    for item in w.dump() {
        let item: serde_json::Value = serde_json::from_str(&item).unwrap();
        let key = |name: &str| AttributeValue::S(item[name]["S"].as_str().unwrap().to_owned());
        let mut update = client
            .update_item()
            .table_name(TABLE)
            .key("pk", key("pk"))
            .key("sk", key("sk"));
        let mut expression = String::new();
        for (n, name) in remove.iter().enumerate() {
            expression += if n == 0 { "REMOVE " } else { ", " };
            expression += &format!("#r{n}");
            update = update.expression_attribute_names(format!("#r{n}"), *name);
        }
        for (n, name) in add.iter().enumerate() {
            expression += if n == 0 { " SET " } else { ", " };
            expression += &format!("#a{n} = :a");
            update = update.expression_attribute_names(format!("#a{n}"), *name);
        }
        if !add.is_empty() {
            let value = AttributeValue::M(
                [("of".to_owned(), AttributeValue::S("tomorrow".to_owned()))].into(),
            );
            update = update.expression_attribute_values(":a", value);
        }
        update
            .update_expression(expression.trim())
            .send()
            .await
            .unwrap();
    }
}

async fn works(w: &World, one: &Connected) -> Connected {
    assert_eq!(w.status(&one.access).await, 200);
    let two = w.refresh(&one.client_id, &one.refresh).await;
    assert_eq!(two.status, 200, "{}", two.text);
    let two = Connected::read(&one.client_id, "", &two.json());
    assert_eq!(w.status(&two.access).await, 200);
    // A retry gets the same pair, from a record without an earlier rotation.
    let repeated = w.refresh(&one.client_id, &one.refresh).await;
    assert_eq!(
        repeated.json()["refresh_token"].as_str(),
        Some(&*two.refresh)
    );
    two
}

#[tokio::test]
async fn a_record_of_the_previous_version_is_still_valid() {
    let w = World::start().await;
    let one = w.connect().await;
    let code = w.code(&one.client_id).await;
    let page = w.open(&w.authorization_request(&one.client_id)).await;
    rewrite(&w, &OPTIONAL, &[]).await;
    let two = works(&w, &one).await;
    assert_eq!(w.token(&w.redeem(&one.client_id, &code)).await.status, 200);
    assert_eq!(
        w.submit_consent(&page, "authorize", &w.pin).await.status,
        303
    );
    w.open(&w.authorization_request(&one.client_id)).await;
    let listed = w
        .post("/connections")
        .form(&[("action", "sign-in"), ("pin", &w.pin)])
        .send()
        .await;
    let listed = w
        .get("/connections")
        .header("cookie", &listed.cookie().unwrap())
        .send()
        .await;
    assert_eq!(listed.status, 200);
    let revoked = w
        .post("/revoke")
        .form(&[("token", &two.access), ("client_id", &one.client_id)]);
    assert_eq!(revoked.send().await.status, 200);
    assert_eq!(w.status(&two.access).await, 401);
}

#[tokio::test]
async fn fields_added_by_a_later_version_are_ignored_and_kept() {
    let w = World::start().await;
    let one = w.connect().await;
    let page = w.open(&w.authorization_request(&one.client_id)).await;
    rewrite(&w, &[], &["added_later"]).await;
    let two = works(&w, &one).await;
    assert_eq!(
        w.submit_consent(&page, "authorize", &w.pin).await.status,
        303
    );
    let connection = w
        .dump()
        .into_iter()
        .find(|item| item.contains("\"live\""))
        .unwrap();
    assert!(
        connection.contains("tomorrow"),
        "an update leaves alone what it does not know"
    );
    assert_eq!(w.status(&two.access).await, 200);
}

#[tokio::test]
async fn a_record_of_no_known_version_gives_503() {
    let w = World::start().await;
    let one = w.connect().await;
    rewrite(&w, &["stage"], &[]).await;
    let response = w.call(&one.access).send().await;
    assert_eq!(
        (response.status, response.header("retry-after")),
        (503, "5")
    );
    assert_eq!(w.refresh(&one.client_id, &one.refresh).await.status, 503);
}
