//! Clients that publish a document at their client id: the whole flow, and what is cached.

use lambda_oauth_mcp_proxy::{
    client_document::Fetcher,
    secrets::{Secret, TokenForm},
};
use serde_json::{Value, json};

use crate::{
    http::attacks::documents::{ID, document, origin, policy, response, world},
    support::{
        origin::{Origin, Script},
        world::{CALLBACK, Connected, Options, Response, World},
    },
};

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

fn status(line: &str) -> Script {
    Script::Respond(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into_bytes())
}

async fn ask(w: &World, client_id: &str) -> Response {
    w.get(&format!(
        "/authorize?{}",
        w.authorization_request(client_id).encode()
    ))
    .send()
    .await
}

#[tokio::test]
async fn a_client_with_a_document_connects_refreshes_and_revokes_without_registering() {
    let origin = origin(&json!({ "token_endpoint_auth_method": "none" })).await;
    let w = world(&origin).await;
    let page = w.open(&w.authorization_request(ID)).await;
    assert!(page.response.text.contains("Document client"));
    assert!(
        page.response.text.contains("host verified"),
        "{}",
        page.response.text
    );
    let one = w.connect_as(ID).await;
    assert_eq!(w.status(&one.access).await, 200);
    let two = w.refresh(ID, &one.refresh).await;
    let two = Connected::read(ID, "", &two.json());
    assert_eq!(w.status(&two.access).await, 200);
    // It still refreshes a year later: no registration expires, and the document was fetched only once.
    let revoked = w
        .post("/revoke")
        .form(&[("token", &two.refresh), ("client_id", ID)])
        .send()
        .await;
    assert_eq!(revoked.status, 200);
    assert_eq!(w.status(&two.access).await, 401);
    assert_eq!(
        origin.connections(),
        1,
        "fetched once, and only at /authorize"
    );
    // Clients with a document are public: a request with a secret is not theirs.
    let response = w
        .token(&w.redeem(ID, "mcp_ac_x").and("client_secret", "x"))
        .await;
    assert_eq!(response.error(), (401, "invalid_client".into()));
    let response = w.token(&w.redeem(ID, "mcp_ac_x")).await;
    assert_eq!(response.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn null_an_empty_string_and_an_empty_list_in_a_document_mean_absent() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    let mut wrong = Vec::new();
    for member in [
        "token_endpoint_auth_method",
        "token_endpoint_auth_methods_supported",
        "grant_types",
        "response_types",
        "client_uri",
        "logo_uri",
        "scope",
        "contacts",
        "jwks",
        "jwks_uri",
        "client_secret",
        "client_secret_expires_at",
    ] {
        for value in [json!(null), json!(""), json!([])] {
            let change = json!({ member: value });
            origin.now(response("", &document(&change)));
            let shown = ask(&w, ID).await;
            if shown.status != 200 {
                wrong.push(format!("{change}: {}", shown.status));
            }
            // Older than any copy may become.
            w.advance_clock(8 * DAY);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Then required members are missing.
    for change in [
        json!({ "client_name": null }),
        json!({ "client_name": "" }),
        json!({ "client_name": [] }),
        json!({ "client_id": "" }),
        json!({ "redirect_uris": [] }),
        json!({ "redirect_uris": null }),
        json!({ "redirect_uris": "" }),
    ] {
        origin.now(response("", &document(&change)));
        assert_eq!(ask(&w, ID).await.status, 400, "{change}");
        w.advance_clock(8 * DAY);
    }
}

#[tokio::test]
async fn head_of_the_consent_page_fetches_no_document_and_keeps_none() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    let path = format!("/authorize?{}", w.authorization_request(ID).encode());
    let before = w.dump();
    // Whether it would be accepted is not known yet, and so neither is the length of the page.
    let head = w.request("HEAD", &path).send().await;
    assert_eq!((head.status, head.header("content-length")), (200, ""));
    assert_eq!(head.header("content-type"), "text/html; charset=utf-8");
    assert_eq!((origin.connections(), w.dump()), (0, before));

    let page = w.open(&w.authorization_request(ID)).await;
    w.advance_clock(DAY);
    let before = w.dump();
    let head = w.request("HEAD", &path).send().await;
    let length = page.response.header("content-length");
    assert_eq!((head.status, head.header("content-length")), (200, length));
    let redirected = w
        .authorization_request(ID)
        .set("redirect_uri", "https://other.example/");
    let refused = w.request("HEAD", &format!("/authorize?{}", redirected.encode()));
    assert_eq!(refused.send().await.status, 400);
    assert_eq!((origin.connections(), w.dump()), (1, before));
}

#[tokio::test]
async fn a_cached_document_is_used_while_it_is_fresh_and_then_revalidated() {
    let body = document(&json!({}));
    let origin = Origin::start(response(
        "cache-control: max-age=7200\r\netag: \"one\"\r\n",
        &body,
    ))
    .await;
    let w = world(&origin).await;
    w.open(&w.authorization_request(ID)).await;
    w.advance_clock(2 * HOUR - 1);
    w.open(&w.authorization_request(ID)).await;
    assert_eq!(origin.connections(), 1);
    origin.now(Script::Respond(
        b"HTTP/1.1 304 Not Modified\r\ncache-control: max-age=7200\r\n\r\n".to_vec(),
    ));
    w.advance_clock(1);
    w.open(&w.authorization_request(ID)).await;
    assert_eq!(origin.connections(), 2);
    assert!(origin.requests.lock().unwrap()[1].contains("if-none-match: \"one\""));
    w.advance_clock(2 * HOUR - 1);
    w.open(&w.authorization_request(ID)).await;
    assert_eq!(origin.connections(), 2, "a 304 makes it fresh again");
    // A day at most, whatever the headers of the origin say.
    origin.now(response("cache-control: max-age=31536000\r\n", &body));
    w.advance_clock(1);
    w.open(&w.authorization_request(ID)).await;
    w.advance_clock(DAY);
    w.open(&w.authorization_request(ID)).await;
    assert_eq!(origin.connections(), 4);
}

#[tokio::test]
async fn the_last_valid_document_is_used_while_its_host_fails_and_for_a_week_at_most() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    w.open(&w.authorization_request(ID)).await;
    for failing in ["500 No", "503 No", "403 No", "302 Found\r\nlocation: /x"] {
        origin.now(status(failing));
        w.advance_clock(DAY);
        w.open(&w.authorization_request(ID)).await;
    }
    w.advance_clock(3 * DAY);
    let late = ask(&w, ID).await;
    assert_eq!((late.status, late.header("location")), (400, ""));
    assert!(late.text.contains("Try again in a few minutes"));
    // Failures are not cached: the next request fetches again.
    origin.now(response("", &document(&json!({}))));
    w.open(&w.authorization_request(ID)).await;
}

#[tokio::test]
async fn a_deleted_document_is_no_longer_used() {
    for gone in ["404 Not Found", "410 Gone"] {
        let origin = origin(&json!({})).await;
        let w = world(&origin).await;
        w.open(&w.authorization_request(ID)).await;
        origin.now(status(gone));
        w.advance_clock(DAY);
        let refused = ask(&w, ID).await;
        assert_eq!(
            (refused.status, refused.header("location")),
            (400, ""),
            "{gone}"
        );
    }
}

#[tokio::test]
async fn a_redirect_uri_removed_from_the_document_is_refused_once_the_cached_copy_is_stale() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    let page = w.open(&w.authorization_request(ID)).await;
    origin.now(response(
        "",
        &document(&json!({ "redirect_uris": ["https://client.example/new"] })),
    ));
    w.advance_clock(300);
    assert_eq!(
        w.submit_consent(&page, "authorize", &w.pin).await.status,
        303,
        "as shown"
    );
    w.advance_clock(HOUR - 600);
    let page = w.open(&w.authorization_request(ID)).await;
    w.advance_clock(300);
    let refused = ask(&w, ID).await;
    assert_eq!((refused.status, refused.header("location")), (400, ""));
    let ask = w
        .authorization_request(ID)
        .set("redirect_uri", "https://client.example/new");
    w.open(&ask).await;
    // The page that was opened before is for a redirect URI that the client no longer has.
    for decision in ["authorize", "deny"] {
        let refused = w.submit_consent(&page, decision, &w.pin).await;
        assert_eq!((refused.status, refused.header("location")), (400, ""));
        assert!(refused.text.contains("no longer registered"));
    }
}

#[tokio::test]
async fn bundled_documents_of_known_clients_are_used_when_their_host_refuses_the_request() {
    let bundled: Value =
        serde_json::from_str(include_str!("../../src/client_document/bundled.json")).unwrap();
    for document in bundled.as_array().unwrap() {
        let id = document["client_id"].as_str().unwrap();
        let host = url::Url::parse(id).unwrap().host_str().unwrap().to_owned();
        let origin = Origin::named(&host, status("403 Forbidden")).await;
        let w = world(&origin).await;
        let redirect = document["redirect_uris"][0].as_str().unwrap();
        let page = w
            .open(&w.authorization_request(id).set("redirect_uri", redirect))
            .await;
        assert!(page.response.text.contains(&host), "{id}");
        assert_eq!(origin.connections(), 1, "the live one is asked first");
        let done = w.submit_consent(&page, "authorize", &w.pin).await;
        let form = w
            .redeem(id, &done.redirected("code").unwrap())
            .set("redirect_uri", redirect);
        assert_eq!(w.token(&form).await.status, 200, "{id}");
        // A live copy that is valid wins.
        let live = json!({ "client_id": id, "client_name": "Live", "redirect_uris": [CALLBACK] });
        origin.now(response("", &live.to_string()));
        assert!(
            w.open(&w.authorization_request(id))
                .await
                .response
                .text
                .contains("Live")
        );
    }
}

#[tokio::test]
async fn a_client_whose_document_also_supports_none_is_accepted_as_a_public_client() {
    let origin = origin(&json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "jwks": { "keys": [{ "kty": "EC", "crv": "P-256", "x": "a", "y": "b" }] },
    }))
    .await;
    let w = world(&origin).await;
    let one = w.connect_as(ID).await;
    assert_eq!(w.status(&one.access).await, 200);

    let only = document(&json!({ "token_endpoint_auth_method": "private_key_jwt" }));
    origin.now(response("", &only));
    w.advance_clock(2 * HOUR);
    let refused = ask(&w, ID).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("`none`") || refused.text.contains("none"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_native_clients_document_needs_no_port_in_its_redirect_uri() {
    let change =
        json!({ "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"] });
    let origin = origin(&change).await;
    let w = world(&origin).await;
    for redirect in [
        "http://localhost:3118/callback",
        "http://127.0.0.1:49152/callback",
    ] {
        let page = w
            .open(&w.authorization_request(ID).set("redirect_uri", redirect))
            .await;
        assert!(page.response.text.contains("own computer"));
        let done = w.submit_consent(&page, "authorize", &w.pin).await;
        assert!(done.header("location").starts_with(redirect));
    }
    for redirect in [
        "http://[::1]:3118/callback",
        "http://localhost:3118/",
        "https://localhost:3118/callback",
    ] {
        let refused = w.get(&format!(
            "/authorize?{}",
            w.authorization_request(ID)
                .set("redirect_uri", redirect)
                .encode()
        ));
        assert_eq!(refused.send().await.status, 400, "{redirect}");
    }
}

async fn with_registration(origin: &Origin, setting: &str) -> World {
    World::with_options(Options {
        settings: vec![("REGISTRATION", setting.into())],
        documents: Some(Fetcher::with_policy(origin.tls.clone(), policy(origin))),
        secret: Some(Box::new(|secret| {
            let document = json!({
                "upstream_token": "unused", "auth_pin": "unused000",
                "clients": [{ "client_id": "by-hand", "redirect_uris": [CALLBACK] }],
            });
            let read = Secret::parse(&document.to_string(), &TokenForm::default());
            secret.clients = read.unwrap().clients;
        })),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn the_registration_setting_decides_which_clients_may_register() {
    let origin = origin(&json!({})).await;
    for (setting, registers, documents) in [
        ("open", true, true),
        ("documents", false, true),
        ("closed", false, false),
    ] {
        let w = with_registration(&origin, setting).await;
        let metadata = w
            .get("/.well-known/oauth-authorization-server")
            .send()
            .await
            .json();
        assert_eq!(
            metadata.get("registration_endpoint").is_some(),
            registers,
            "{setting}"
        );
        let advertised = metadata.get("client_id_metadata_document_supported");
        assert_eq!(advertised, documents.then_some(&json!(true)), "{setting}");
        let registered = w
            .post("/register")
            .json(&json!({ "redirect_uris": [CALLBACK] }))
            .send()
            .await;
        assert_eq!(
            registered.status,
            if registers { 201 } else { 404 },
            "{setting}"
        );
        let shown = ask(&w, ID).await;
        assert_eq!(shown.status, if documents { 200 } else { 400 }, "{setting}");
        assert_eq!(
            w.open(&w.authorization_request("by-hand"))
                .await
                .response
                .status,
            200,
            "{setting}"
        );
    }
    assert_eq!(origin.connections(), 2, "closed asks nobody");
}

#[tokio::test]
async fn closing_registration_keeps_existing_connections_and_refuses_new_ones() {
    let database = dynoxide::Database::memory().unwrap();
    let options = |registration: &str| Options {
        database: Some(database.clone()),
        settings: vec![
            ("BASE_URL", "https://mcp.example.com".into()),
            ("REGISTRATION", registration.into()),
        ],
        ..Options::default()
    };
    let open = World::with_options(options("open")).await;
    let client = open.client().await;
    let page = open
        .open(&open.authorization_request(&client).without("resource"))
        .await;
    let code = open
        .submit_consent(&page, "authorize", &open.pin)
        .await
        .redirected("code")
        .unwrap();
    let one = open.token(&open.redeem(&client, &code)).await.json();
    let one = Connected::read(&client, &code, &one);

    let closed = World::with_options(options("closed")).await;
    assert_eq!(closed.status(&one.access).await, 200);
    assert_eq!(closed.refresh(&client, &one.refresh).await.status, 200);
    let again = closed.get(&format!(
        "/authorize?{}",
        closed
            .authorization_request(&client)
            .without("resource")
            .encode()
    ));
    assert_eq!(again.send().await.status, 400);
}
