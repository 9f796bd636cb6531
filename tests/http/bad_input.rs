//! Hostile input at every endpoint, one test per row: the protocol's own error, and nothing changes.

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::support::world::{Pairs, Request, Response, World};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MEGABYTE: usize = 1024 * 1024;

/// One row: a name, the request, the expected status, and the expected word in the response.
macro_rules! rows {
    ($($name:ident: |$world:ident, $client:ident| $request:expr => $status:literal $word:literal;)+) => {$(
        #[tokio::test]
        async fn $name() {
            let $world = World::start().await;
            let $client = $world.client().await;
            let before = $world.dump();
            let request: Request = $request;
            let response = request.send().await;
            refused(&response, $status, $word);
            assert_eq!($world.dump(), before, "nothing may change");
            assert!($world.upstream.requests().is_empty(), "nothing may go upstream");
        }
    )+};
}

fn refused(response: &Response, status: u16, word: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.text.contains(word), "{response:?}");
    let kind = response.header("content-type");
    assert!(
        kind == JSON || kind.starts_with("text/html"),
        "{response:?}"
    );
    assert_eq!(response.header("cache-control"), "no-store", "{response:?}");
    assert_eq!(response.header("location"), "", "{response:?}");
}

/// A form field as a correct client sends it.
fn token_form(client: &str) -> Pairs {
    Pairs::of(&[
        ("grant_type", "refresh_token"),
        ("client_id", client),
        ("refresh_token", "mcp_rt_x"),
    ])
}

fn query(world: &World, ask: &Pairs) -> Request {
    world.get(&format!("/authorize?{}", ask.encode()))
}

rows! {
    // --- /register ---
    register_malformed_json: |w, _c| w.post("/register").body(JSON, "{\"redirect_uris\":[") => 400 "invalid_client_metadata";
    register_invalid_utf8: |w, _c| w.post("/register").body(JSON, b"{\"client_name\":\"\xff\"}".to_vec()) => 400 "invalid_client_metadata";
    register_not_an_object: |w, _c| w.post("/register").body(JSON, "[]") => 400 "invalid_client_metadata";
    register_empty: |w, _c| w.post("/register").body(JSON, "") => 400 "invalid_client_metadata";
    register_duplicated_member: |w, _c| w.post("/register").body(JSON, "{\"redirect_uris\":[\"https://a.example/\"],\"redirect_uris\":[\"https://b.example/\"]}") => 400 "invalid_client_metadata";
    register_wrong_content_type: |w, _c| w.post("/register").body("text/plain", "{}") => 415 "invalid_request";
    register_form: |w, _c| w.post("/register").form(&[("redirect_uris", "https://a.example/")]) => 415 "invalid_request";
    register_no_content_type: |w, _c| Request(w.post("/register").0.body("{}")) => 415 "invalid_request";
    register_megabyte: |w, _c| w.post("/register").body(JSON, vec![b' '; MEGABYTE]) => 413 "invalid_request";
    register_without_redirect_uris: |w, _c| w.post("/register").json(&json!({})) => 400 "invalid_redirect_uri";
    register_no_redirect_uris: |w, _c| w.post("/register").json(&json!({ "redirect_uris": [] })) => 400 "invalid_redirect_uri";
    register_redirect_uris_not_a_list: |w, _c| w.post("/register").json(&json!({ "redirect_uris": "https://a.example/" })) => 400 "invalid_redirect_uri";
    register_10_000_redirect_uris: |w, _c| w.post("/register").json(&json!({ "redirect_uris": vec!["https://a.example/"; 10_000] })) => 413 "invalid_request";
    register_too_many_redirect_uris: |w, _c| w.post("/register").json(&json!({ "redirect_uris": (0..200).map(|n| format!("https://a.example/{n}")).collect::<Vec<_>>() })) => 400 "invalid_redirect_uri";
    register_100_kb_name: |w, _c| w.post("/register").json(&json!({ "redirect_uris": ["https://a.example/"], "client_name": "n".repeat(100 * 1024) })) => 413 "invalid_request";
    register_long_name: |w, _c| w.post("/register").json(&json!({ "redirect_uris": ["https://a.example/"], "client_name": "n".repeat(10 * 1024) })) => 400 "invalid_client_metadata";
    register_deep_nesting: |w, _c| w.post("/register").body(JSON, "[".repeat(16_000)) => 400 "invalid_client_metadata";
    register_get: |w, _c| w.get("/register") => 405 "invalid_request";
    register_put: |w, _c| w.request("PUT", "/register").json(&json!({})) => 405 "invalid_request";

    // --- GET /authorize: a page, never a redirect ---
    authorize_without_parameters: |w, _c| w.get("/authorize") => 400 "client_id";
    authorize_unknown_client: |w, _c| query(&w, &w.authorization_request("nobody")) => 400 "not known";
    authorize_control_character_in_client: |w, _c| w.get("/authorize?response_type=code&client_id=a%00b") => 400 "does not work";
    authorize_broken_escape: |w, c| w.get(&format!("/authorize?client_id={c}&state=%zz")) => 400 "does not work";
    authorize_invalid_utf8: |w, c| w.get(&format!("/authorize?client_id={c}&state=%ff")) => 400 "does not work";
    authorize_duplicated_client: |w, c| query(&w, &w.authorization_request(&c).and("client_id", &c)) => 400 "client_id";
    authorize_duplicated_redirect: |w, c| query(&w, &w.authorization_request(&c).and("redirect_uri", "https://evil.example/")) => 400 "redirect_uri";
    authorize_other_redirect: |w, c| query(&w, &w.authorization_request(&c).set("redirect_uri", "https://evil.example/")) => 400 "redirect_uri";
    authorize_100_kb_query: |w, c| query(&w, &w.authorization_request(&c).set("state", &"s".repeat(60 * 1024))) => 400 "too long";
    authorize_put: |w, c| w.request("PUT", &format!("/authorize?client_id={c}")) => 405 "invalid_request";

    // --- POST /authorize: a page ---
    decide_empty: |w, _c| w.post("/authorize").body(FORM, "") => 400 "page";
    decide_json: |w, _c| w.post("/authorize").json(&json!({ "page": "x" })) => 415 "form";
    decide_megabyte: |w, _c| w.post("/authorize").body(FORM, vec![b'a'; MEGABYTE]) => 413 "16 KB";
    decide_duplicated_pin: |w, _c| w.post("/authorize").body(FORM, "page=x&pin=1&pin=2") => 400 "more than once";
    decide_unknown_field: |w, _c| w.post("/authorize").body(FORM, "page=x&pin=1&redirect_uri=https://evil.example/") => 400 "field";
    decide_unknown_decision: |w, _c| w.post("/authorize").body(FORM, "page=x&pin=1&decision=maybe") => 400 "decision";
    decide_invalid_utf8: |w, _c| w.post("/authorize").body(FORM, "page=x&pin=%ff") => 400 "did not work";
    decide_without_cookie: |w, _c| w.post("/authorize").body(FORM, "page=x&pin=1") => 403 "browser";

    // --- /token ---
    token_empty: |w, _c| w.post("/token").body(FORM, "") => 400 "invalid_request";
    token_without_grant: |w, c| w.post("/token").form_of(&token_form(&c).without("grant_type")) => 400 "invalid_request";
    token_without_client: |w, c| w.post("/token").form_of(&token_form(&c).without("client_id")) => 400 "invalid_request";
    token_without_token: |w, c| w.post("/token").form_of(&token_form(&c).without("refresh_token")) => 400 "invalid_request";
    token_unknown_grant: |w, c| w.post("/token").form_of(&token_form(&c).set("grant_type", "password")) => 400 "unsupported_grant_type";
    token_duplicated: |w, c| w.post("/token").form_of(&token_form(&c).and("refresh_token", "y")) => 400 "invalid_request";
    token_unknown_client: |w, _c| w.post("/token").form_of(&token_form("nobody")) => 401 "invalid_client";
    token_unknown_token: |w, c| w.post("/token").form_of(&token_form(&c)) => 400 "invalid_grant";
    token_control_characters: |w, c| w.post("/token").form_of(&token_form(&c).set("refresh_token", "a\u{0}\r\nb")) => 400 "invalid_request";
    token_control_characters_in_client: |w, c| w.post("/token").form_of(&token_form(&c).set("client_id", "a\r\nb")) => 400 "invalid_request";
    token_invalid_utf8: |w, _c| w.post("/token").body(FORM, "grant_type=%ff") => 400 "invalid_request";
    token_raw_invalid_utf8: |w, _c| w.post("/token").body(FORM, b"grant_type=\xff".to_vec()) => 400 "invalid_request";
    token_broken_escape: |w, _c| w.post("/token").body(FORM, "grant_type=%4") => 400 "invalid_request";
    token_megabyte: |w, _c| w.post("/token").body(FORM, vec![b'a'; MEGABYTE]) => 413 "invalid_request";
    token_malformed_json: |w, _c| w.post("/token").body(JSON, "{") => 400 "invalid_request";
    token_nested_json: |w, c| w.post("/token").json(&json!({ "grant_type": "refresh_token", "client_id": c, "refresh_token": ["x"] })) => 400 "invalid_request";
    token_multipart: |w, _c| w.post("/token").body("multipart/form-data; boundary=x", "--x--") => 415 "invalid_request";
    token_get: |w, _c| w.get("/token") => 405 "invalid_request";
    token_basic_garbage: |w, c| w.post("/token").header("authorization", "Basic !!!").form_of(&token_form(&c)) => 401 "invalid_client";
    token_60_kb_code: |w, c| w.post("/token").form_of(&w.redeem(&c, &"c".repeat(15_000))) => 400 "invalid_grant";

    // --- /revoke ---
    revoke_empty: |w, _c| w.post("/revoke").body(FORM, "") => 400 "invalid_request";
    revoke_without_client: |w, _c| w.post("/revoke").form(&[("token", "x")]) => 400 "invalid_request";
    revoke_unknown_client: |w, _c| w.post("/revoke").form(&[("token", "x"), ("client_id", "nobody")]) => 401 "invalid_client";
    revoke_duplicated: |w, c| w.post("/revoke").form(&[("token", "x"), ("token", "y"), ("client_id", &c)]) => 400 "invalid_request";
    revoke_megabyte: |w, _c| w.post("/revoke").body(FORM, vec![b'a'; MEGABYTE]) => 413 "invalid_request";
    revoke_text: |w, _c| w.post("/revoke").body("text/plain", "token=x") => 415 "invalid_request";
    revoke_get: |w, _c| w.get("/revoke") => 405 "invalid_request";

    // --- the MCP endpoint ---
    mcp_without_token: |w, _c| w.post("/mcp").json(&json!({})) => 401 "resource_metadata";
    mcp_unknown_token: |w, _c| w.call("mcp_at_x") => 401 "invalid_token";
    mcp_60_kb_bearer: |w, _c| w.call(&"x".repeat(60 * 1024)) => 401 "invalid_token";
    mcp_basic: |w, _c| w.post("/mcp").header("authorization", "Basic eDp5").json(&json!({})) => 401 "resource_metadata";
    mcp_two_bearers: |w, _c| w.call("a").header("authorization", "Bearer b") => 401 "resource_metadata";
    mcp_token_in_the_query: |w, _c| w.post("/mcp?access_token=x").json(&json!({})) => 401 "resource_metadata";
    mcp_get: |w, _c| w.get("/mcp") => 401 "resource_metadata";

    // --- elsewhere ---
    nothing_there: |w, _c| w.get("/nowhere") => 404 "not_found";
    traversal: |w, _c| w.get("/mcp/%2e%2e/x") => 404 "not_found";
    metadata_post: |w, _c| w.post("/.well-known/oauth-authorization-server").json(&json!({})) => 405 "invalid_request";
    metadata_of_an_unknown_resource: |w, _c| w.get("/.well-known/oauth-protected-resource/other") => 404 "not_found";
    connections_put: |w, _c| w.request("PUT", "/connections") => 405 "invalid_request";
}

#[tokio::test]
async fn dangerous_redirect_uris_cannot_be_registered() {
    let w = World::start().await;
    for uri in [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\tscript:alert(1)",
        " javascript:alert(1)",
        "\u{0}javascript:alert(1)",
        "javascript://client.example/%0aalert(1)",
        "data:text/html,<script>",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://client.example/x",
        "about:blank",
        "view-source:https://client.example/",
        "http://client.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "https://user@client.example/",
        "https://user:pass@client.example/",
        "https://client.example/#fragment",
        "https://*.client.example/",
        "https://client.example\\@evil.example/",
        "//client.example/",
        "/callback",
        "https:client.example",
        "https://",
        "",
        "https://client.example/\r\nset-cookie: a=b",
    ] {
        let metadata = json!({ "redirect_uris": ["https://client.example/", uri] });
        let response = w.post("/register").json(&metadata).send().await;
        refused(&response, 400, "invalid_redirect_uri");
    }
    assert!(w.dump().is_empty());
}

#[tokio::test]
async fn a_tcp_connection_survives_a_refusal_when_the_request_body_arrives_late() {
    let w = World::start().await;
    for (method, path, status) in [
        ("POST", "/mcp", "401"),
        ("PUT", "/nowhere", "404"),
        ("PUT", "/token", "405"),
    ] {
        let mut socket = BufReader::new(TcpStream::connect(w.address).await.unwrap());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n",
            w.address
        );
        for _ in 0..3 {
            socket.write_all(head.as_bytes()).await.unwrap();
            // The response first, then the body.
            assert_eq!(read_response(&mut socket).await, status, "{path}");
            socket.write_all(b"{}").await.unwrap();
        }
    }
}

/// Reads one response with a length, and returns its status line; empty if there was none.
async fn read_response(socket: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head).await.unwrap() == 0 {
            return String::new();
        }
    }
    let length = head
        .split_once("content-length: ")
        .unwrap()
        .1
        .split_once('\r')
        .unwrap()
        .0;
    let mut body = vec![0; length.parse().unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    head.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn every_405_names_the_allowed_methods() {
    let w = World::start().await;
    for (method, path, allow) in [
        ("GET", "/register", "POST, OPTIONS"),
        ("GET", "/token", "POST, OPTIONS"),
        ("DELETE", "/revoke", "POST, OPTIONS"),
        ("PUT", "/authorize", "GET, HEAD, POST"),
        ("PUT", "/connections", "GET, HEAD, POST"),
        (
            "POST",
            "/.well-known/oauth-protected-resource",
            "GET, HEAD, OPTIONS",
        ),
    ] {
        let response = w.request(method, path).send().await;
        assert_eq!(
            (response.status, response.header("allow")),
            (405, allow),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn the_bearer_scheme_is_accepted_in_any_case_and_in_no_other_spelling() {
    let w = World::start().await;
    let client = w.connect().await;
    for (value, status) in [
        (format!("bearer {}", client.access), 200),
        (format!("BEARER {}", client.access), 200),
        (client.access.clone(), 401),
        (format!("Bearer {},", client.access), 401),
        (format!("Bearer {} x", client.access), 401),
        (format!("Bearer {}", client.refresh), 401),
        (format!("Bearer {}", client.code), 401),
        (format!("Bearer {}", client.access.to_uppercase()), 401),
        (
            format!("Bearer {}", &client.access[..client.access.len() - 1]),
            401,
        ),
        (format!("Bearer {}A", client.access), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer ".to_owned(), 401),
    ] {
        let response = w
            .post("/mcp")
            .header("authorization", &value)
            .json(&json!({}))
            .send()
            .await;
        assert_eq!(response.status, status, "{}", value.len());
    }
}
