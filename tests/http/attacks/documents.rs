//! Documents that mean harm: how they arrive, what they contain. (`crate::http::documents` has the valid ones;
//! `crate::http::client_document` tests each step of a fetch.)

use std::{sync::Arc, time::Duration};

use lambda_oauth_mcp_proxy::client_document::{Fetcher, Policy};
use serde_json::{Value, json};

use crate::support::{
    origin::{Origin, Script},
    world::{CALLBACK, Options, Response, World},
};

pub const ID: &str = "https://client.example/oauth/client.json";

/// A valid document, with these fields changed.
pub fn document(change: &Value) -> String {
    let mut document =
        json!({ "client_id": ID, "client_name": "Document client", "redirect_uris": [CALLBACK] });
    let fields = document.as_object_mut().unwrap();
    fields.extend(change.as_object().unwrap().clone());
    document.to_string()
}

/// A 200 with these header lines and this body.
pub fn response(lines: &str, body: &str) -> Script {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{lines}\r\n"
    );
    Script::Respond([head.as_bytes(), body.as_bytes()].concat())
}

/// An origin with a document in which these fields are changed.
pub async fn origin(change: &Value) -> Origin {
    Origin::start(response("", &document(change))).await
}

/// Every name resolves to the origin.
pub fn policy(origin: &Origin) -> Policy {
    let address = origin.address;
    Policy::public()
        .with_lookup(move |_| async move { Ok(vec![address]) })
        .permitting(|address| address.is_loopback())
}

pub async fn world_with(origin: &Origin, policy: Policy) -> World {
    World::with_options(Options {
        documents: Some(Fetcher::with_policy(origin.tls.clone(), policy)),
        ..Options::default()
    })
    .await
}

pub async fn world(origin: &Origin) -> World {
    world_with(origin, policy(origin)).await
}

pub async fn ask(w: &World, client_id: &str) -> Response {
    w.get(&format!(
        "/authorize?{}",
        w.authorization_request(client_id).encode()
    ))
    .send()
    .await
}

/// The response is a page, nothing is stored, and nobody is redirected.
pub fn refused(w: &World, response: &Response, what: &str) {
    assert_eq!(response.status, 400, "{what}: {response:?}");
    assert_eq!(response.header("location"), "", "{what}");
    assert_eq!(response.header("set-cookie"), "", "{what}");
    assert!(
        response.text.contains("could not be"),
        "{what}: {}",
        response.text
    );
    assert_eq!(
        w.dump(),
        Vec::<String>::new(),
        "{what}: nothing may be kept"
    );
}

#[tokio::test]
async fn endless_slow_and_huge_documents_are_cut_off() {
    const JSON: &str = "content-type: application/json\r\n";
    let origin = origin(&json!({})).await;
    let w = world_with(&origin, policy(&origin).within(Duration::from_millis(700))).await;
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{JSON}{lines}\r\n").into_bytes();
    let padded = document(&json!({ "padding": "x".repeat(5 * 1024) }));
    for (what, script) in [
        (
            "endless",
            Script::Endless(
                head("transfer-encoding: chunked\r\n"),
                b"5\r\n     \r\n".to_vec(),
            ),
        ),
        (
            "endless head",
            Script::Endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 4096]),
        ),
        (
            "announced as huge",
            Script::Hang(head("content-length: 1000000000000\r\n")),
        ),
        ("just too large", response("", &padded)),
        ("never responds", Script::Hang(Vec::new())),
        (
            "stops after the head",
            Script::Hang(head("content-length: 100\r\n")),
        ),
        (
            "stops in the body",
            Script::Hang([head("content-length: 100\r\n"), b"{".to_vec()].concat()),
        ),
        (
            "ends early",
            Script::Respond([head("content-length: 100\r\n"), b"{".to_vec()].concat()),
        ),
        ("not HTTP", Script::Respond(b"SSH-2.0-x\r\n\r\n".to_vec())),
    ] {
        origin.now(script);
        refused(&w, &ask(&w, ID).await, what);
    }
    // The next valid one is read.
    origin.now(response("", &document(&json!({}))));
    assert_eq!(ask(&w, ID).await.status, 200);
}

#[tokio::test]
async fn a_compressed_document_is_never_inflated() {
    // gzip of a megabyte of zeros would be a thousand bytes; its first ones are enough.
    let bomb: Vec<u8> = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3][..], &[0; 900]].concat();
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    for lines in [
        "content-encoding: gzip\r\n",
        "content-encoding: br\r\n",
        "content-encoding: zstd\r\n",
        "content-encoding: deflate, gzip\r\n",
        "content-encoding: identity\r\ncontent-encoding: gzip\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "",
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{lines}connection: close\r\n\r\n"
        );
        origin.now(Script::Respond([head.as_bytes(), &bomb].concat()));
        refused(&w, &ask(&w, ID).await, lines);
    }
    let asked = origin.requests.lock().unwrap()[0].to_lowercase();
    assert!(asked.contains("accept-encoding: identity\r\n"), "{asked}");
}

#[tokio::test]
async fn a_document_with_invalid_content_is_refused_and_not_cached() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    let key = |member: &str| json!({ "jwks": { "keys": [{ "kty": "EC", "crv": "P-256", "x": "a", "y": "b", member: "secret" }] } });
    for change in [
        json!({ "client_id": "https://client.example/oauth/client.json/" }),
        json!({ "client_id": "https://CLIENT.example/oauth/client.json" }),
        json!({ "client_id": "https://evil.example/oauth/client.json" }),
        json!({ "client_id": null }),
        json!({ "client_id": [ID] }),
        json!({ "client_name": null }),
        json!({ "client_name": 7 }),
        json!({ "client_name": "a\r\nb" }),
        json!({ "redirect_uris": [] }),
        json!({ "redirect_uris": CALLBACK }),
        json!({ "redirect_uris": [CALLBACK, "javascript:alert(1)"] }),
        json!({ "redirect_uris": vec![CALLBACK; 33] }),
        json!({ "client_secret": "public-secret" }),
        json!({ "client_secret_expires_at": 0 }),
        json!({ "token_endpoint_auth_method": "client_secret_basic" }),
        json!({ "token_endpoint_auth_method": "private_key_jwt" }),
        json!({ "grant_types": ["implicit"] }),
        json!({ "response_types": ["token"] }),
        key("d"),
        key("k"),
        key("p"),
        key("dp"),
        key("oth"),
        key("priv"),
        json!({ "jwks": { "kty": "RSA", "d": "x" } }),
    ] {
        origin.now(response("", &document(&change)));
        refused(&w, &ask(&w, ID).await, &change.to_string());
    }
    for body in [
        "",
        "[]",
        "null",
        "{\"client_id\":",
        "<html></html>",
        "{\"a\":1,\"a\":2}",
    ] {
        origin.now(response("", body));
        refused(&w, &ask(&w, ID).await, body);
    }
    let twice =
        document(&json!({})).replacen('{', "{\"redirect_uris\":[\"https://evil.example/\"],", 1);
    origin.now(response("", &twice));
    refused(&w, &ask(&w, ID).await, "a field twice");
    let html = String::from_utf8(match response("", &document(&json!({}))) {
        Script::Respond(bytes) => bytes,
        _ => Vec::new(),
    });
    origin.now(Script::Respond(
        html.unwrap()
            .replace("application/json", "text/html")
            .into_bytes(),
    ));
    refused(&w, &ask(&w, ID).await, "text/html");
}

#[tokio::test]
async fn an_invalid_document_does_not_replace_a_valid_one() {
    let origin = origin(&json!({})).await;
    let w = world(&origin).await;
    w.open(&w.authorization_request(ID)).await;
    let kept = w.dump();
    w.advance_clock(2 * 3600);
    origin.now(response(
        "",
        &document(&json!({ "client_id": "https://evil.example/x" })),
    ));
    let response = ask(&w, ID).await;
    assert_eq!((response.status, response.header("location")), (400, ""));
    let documents = |items: Vec<String>| -> Vec<String> {
        items
            .into_iter()
            .filter(|item| item.contains("document#"))
            .collect()
    };
    assert_eq!(documents(w.dump()), documents(kept));
}

#[tokio::test]
async fn slow_documents_of_an_unknown_client_do_not_keep_a_known_client_out() {
    let origin = origin(&json!({})).await;
    let address = origin.address;
    let begun = Arc::new(tokio::sync::Notify::new());
    let policy = policy(&origin).at_once(1).with_lookup({
        let begun = begun.clone();
        move |host| {
            let begun = begun.clone();
            async move {
                if host == "slow.example" {
                    begun.notify_one();
                    std::future::pending::<()>().await;
                }
                Ok(vec![address])
            }
        }
    });
    let w = Arc::new(world_with(&origin, policy).await);
    w.open(&w.authorization_request(ID)).await;
    w.advance_clock(2 * 3600);
    let slow = tokio::spawn({
        let w = w.clone();
        async move { ask(&w, "https://slow.example/client.json").await.status }
    });
    begun.notified().await;
    // The unknown client's fetch takes the only slot; the known client is served at once from its last valid copy.
    w.open(&w.authorization_request(ID)).await;
    assert_eq!(origin.connections(), 1);
    assert!(!slow.is_finished());
    slow.abort();
    let _ = slow.await;
}
