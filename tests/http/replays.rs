//! What real clients send, from `clients/*.json`, each replayed up to a working connection: discovery, registration,
//! consent, tokens, a call, a refresh, another call; then the rest of its life: two refreshes at once from two addresses,
//! one without `resource`, calls at the base URL, a second registration, a second sign-in (from another loopback port, if
//! it listens on one), revocation.

use std::{fs, path::Path};

use lambda_oauth_mcp_proxy::secrets::{Secret, TokenForm};
use serde_json::{Map, Value, json};

use crate::support::{
    origin::{Origin, Script},
    world::{CHALLENGE, Options, Pairs, Request, Response, VERIFIER, World},
};

/// Fills the placeholders of a recorded request.
struct Filled(Vec<(&'static str, String)>);

impl Filled {
    fn text(&self, template: &str) -> String {
        self.0
            .iter()
            .fold(template.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            })
    }

    /// Replaces a value.
    fn set(&mut self, name: &'static str, value: &Value) {
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, value.as_str().unwrap().to_owned()));
    }

    fn pairs(&self, recorded: &Value) -> Pairs {
        let fields = recorded.as_object().unwrap().iter();
        Pairs(
            fields
                .map(|(name, value)| (name.clone(), self.text(value.as_str().unwrap())))
                .collect(),
        )
    }
}

fn with_headers(mut request: Request, way: &Map<String, Value>) -> Request {
    for (name, value) in way["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    request
}

/// The proxy for one client: the client's document is the bundled copy, since its origin refuses.
async fn world(way: &Map<String, Value>) -> World {
    let mut options = Options {
        settings: vec![("TRUSTED_PROXY_HEADER", "x-real-ip".to_owned())],
        ..Options::default()
    };
    if let Some(document) = way.get("document") {
        let host = url::Url::parse(document.as_str().unwrap()).unwrap();
        let refuses = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_vec();
        let origin = Origin::named(host.host_str().unwrap(), Script::Respond(refuses)).await;
        let policy = crate::http::attacks::documents::policy(&origin);
        options.documents = Some(
            lambda_oauth_mcp_proxy::client_document::Fetcher::with_policy(
                origin.tls.clone(),
                policy,
            ),
        );
    }
    if let Some(by_hand) = way.get("pre_registered").cloned() {
        options.secret = Some(Box::new(move |secret| {
            let document = json!({ "upstream_token": "unused", "auth_pin": "unused000", "clients": [by_hand] });
            let read = Secret::parse(&document.to_string(), &TokenForm::default());
            secret.clients = read.unwrap().clients;
        }));
    }
    World::with_options(options).await
}

async fn ok(request: Request, what: &str) -> Response {
    let response = request.send().await;
    assert!(matches!(response.status, 200 | 201), "{what}: {response:?}");
    response
}

/// Replays what one client does.
async fn play(what: &str, way: &Map<String, Value>) {
    let w = world(way).await;
    // Discovery, as every client begins it.
    let challenge = w.post("/mcp").json(&json!({})).send().await;
    assert_eq!(challenge.status, 401, "{what}");
    let resource = ok(w.get("/.well-known/oauth-protected-resource/mcp"), what)
        .await
        .json();
    assert_eq!(resource["authorization_servers"], json!([w.base]), "{what}");
    let server = ok(w.get("/.well-known/oauth-authorization-server"), what)
        .await
        .json();
    let methods = server["token_endpoint_auth_methods_supported"]
        .as_array()
        .unwrap();

    let mut filled = Filled(vec![
        ("base", w.base.clone()),
        ("challenge", CHALLENGE.to_owned()),
        ("verifier", VERIFIER.to_owned()),
        ("state", way["state"].as_str().unwrap().to_owned()),
        (
            "redirect_uri",
            way["redirect_uri"].as_str().unwrap().to_owned(),
        ),
    ]);
    if let Some(body) = way.get("register") {
        let asked = body.get("token_endpoint_auth_method").unwrap();
        assert!(methods.contains(asked), "{what}: {asked} is advertised");
        let client = ok(with_headers(w.post("/register"), way).json(body), what)
            .await
            .json();
        for name in ["redirect_uris", "token_endpoint_auth_method", "client_name"] {
            assert_eq!(client.get(name), body.get(name), "{what}: {name}");
        }
        filled.0.push((
            "client_id",
            client["client_id"].as_str().unwrap().to_owned(),
        ));
        if let Some(secret) = client["client_secret"].as_str() {
            w.keep_secret(secret);
            filled.0.push(("client_secret", secret.to_owned()));
        }
    } else if let Some(by_hand) = way.get("pre_registered") {
        filled.0.push((
            "client_id",
            by_hand["client_id"].as_str().unwrap().to_owned(),
        ));
        filled.0.push((
            "client_secret",
            by_hand["client_secret"].as_str().unwrap().to_owned(),
        ));
    } else {
        assert_eq!(
            server["client_id_metadata_document_supported"], true,
            "{what}"
        );
        assert!(methods.contains(&json!("none")), "{what}");
        filled
            .0
            .push(("client_id", way["document"].as_str().unwrap().to_owned()));
    }

    let page = w.open(&filled.pairs(&way["authorize"])).await;
    let decided = w.submit_consent(&page, "authorize", &w.pin).await;
    assert_eq!(decided.status, 303, "{what}: {}", decided.text);
    assert!(
        decided
            .header("location")
            .starts_with(&filled.text("{redirect_uri}")),
        "{what}"
    );
    assert_eq!(
        decided.redirected("state"),
        Some(filled.text("{state}")),
        "{what}"
    );
    assert_eq!(
        decided.redirected("iss").as_deref(),
        Some(&*w.base),
        "{what}"
    );
    filled.0.push(("code", decided.redirected("code").unwrap()));

    let post = |form: &Pairs| with_headers(w.post("/token"), way).form_of(form);
    let tokens = ok(post(&filled.pairs(&way["token"])), what).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    w.keep_secret(access);
    assert_eq!(
        (tokens["token_type"].as_str(), tokens["expires_in"].as_u64()),
        (Some("Bearer"), Some(86_400))
    );
    ok(w.call(access), what).await;

    w.advance_clock(86_400);
    assert_eq!(w.status(access).await, 401, "{what}: a day later");
    filled.0.push((
        "refresh_token",
        tokens["refresh_token"].as_str().unwrap().to_owned(),
    ));
    let tokens = ok(post(&filled.pairs(&way["refresh"])), what).await.json();
    ok(w.call(tokens["access_token"].as_str().unwrap()), what).await;
    filled.set("refresh_token", &tokens["refresh_token"]);
    live_on(&w, what, way, filled).await;
}

/// What clients do in the months after they have connected.
async fn live_on(w: &World, what: &str, way: &Map<String, Value>, mut filled: Filled) {
    let post = |form: &Pairs| with_headers(w.post("/token"), way).form_of(form);
    // claude.ai refreshes from several machines at once: both get the same tokens.
    let refresh = filled.pairs(&way["refresh"]);
    let from = |address: &str| ok(post(&refresh).header("x-real-ip", address), what);
    let (one, two) = tokio::join!(from("198.51.100.1"), from("203.0.113.1"));
    let (one, two) = (one.json(), two.json());
    for name in ["access_token", "refresh_token"] {
        assert_eq!(one[name], two[name], "{what}: {name}");
    }
    filled.set("refresh_token", &one["refresh_token"]);

    // Without `resource`, which is optional (RFC 8707 §2).
    let mut without_resource = filled.pairs(&way["refresh"]);
    without_resource.0.retain(|(name, _)| name != "resource");
    let tokens = ok(post(&without_resource), what).await.json();
    filled.set("refresh_token", &tokens["refresh_token"]);
    let access = tokens["access_token"].as_str().unwrap().to_owned();
    // Some people enter the base URL.
    let at_the_root = w
        .post("/")
        .header("authorization", &format!("Bearer {access}"));
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    ok(at_the_root.json(&call), what).await;

    // Clients that register before each sign-in leave the first registration in use.
    if let Some(body) = way.get("register") {
        let again = ok(with_headers(w.post("/register"), way).json(body), what).await;
        assert_ne!(
            again.json()["client_id"],
            filled.text("{client_id}"),
            "{what}"
        );
    }
    // A second sign-in is another connection. An app that listens on loopback has another port then (RFC 8252 §7.3).
    let mut redirect_uri = url::Url::parse(&filled.text("{redirect_uri}")).unwrap();
    let on_loopback = matches!(redirect_uri.host_str(), Some("127.0.0.1" | "localhost"));
    if on_loopback && redirect_uri.port().is_some() {
        redirect_uri.set_port(Some(61_234)).unwrap();
        filled.set("redirect_uri", &json!(redirect_uri.as_str()));
    }
    let page = w.open(&filled.pairs(&way["authorize"])).await;
    let decided = w.submit_consent(&page, "authorize", &w.pin).await;
    assert_eq!(decided.status, 303, "{what}: {}", decided.text);
    filled.set("code", &json!(decided.redirected("code").unwrap()));
    let second = ok(post(&filled.pairs(&way["token"])), what).await.json();
    let second = second["access_token"].as_str().unwrap();

    // Ended by its person: the first connection alone.
    let mut revocation = filled.pairs(&way["refresh"]);
    revocation
        .0
        .retain(|(name, _)| !matches!(&**name, "grant_type" | "resource"));
    for (name, _) in &mut revocation.0 {
        if name == "refresh_token" {
            "token".clone_into(name);
        }
    }
    ok(
        with_headers(w.post("/revoke"), way).form_of(&revocation),
        what,
    )
    .await;
    assert_eq!(w.status(&access).await, 401, "{what}");
    let refused = post(&filled.pairs(&way["refresh"])).send().await;
    assert_eq!(
        (refused.status, &refused.json()["error"]),
        (400, &json!("invalid_grant")),
        "{what}"
    );
    ok(w.call(second), what).await;
}

async fn replay(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/http/clients")
        .join(file);
    let recorded: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(!recorded["source"].as_array().unwrap().is_empty());
    for way in recorded["ways"].as_array().unwrap() {
        let what = format!("{}, {}", recorded["client"], way["way"]);
        play(&what, way.as_object().unwrap()).await;
    }
}

macro_rules! replays {
    ($($name:ident: $file:literal;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                replay($file).await;
            }
        )+

        #[test]
        fn every_recorded_client_is_replayed() {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/clients");
            let mut there: Vec<_> = fs::read_dir(directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            there.sort();
            assert_eq!(there, [$($file),+]);
        }
    };
}

replays! {
    chatgpt_connects: "chatgpt.json";
    claude_ai_connects: "claude-ai.json";
    claude_code_connects: "claude-code.json";
    codex_connects: "codex.json";
    cursor_connects: "cursor.json";
    vscode_connects: "vscode.json";
}
