//! URLs as people build them: repeated slashes, the endpoint's name in another case, documents below the endpoint,
//! and HEAD wherever there is GET. Every table is checked whole, so that a failure lists each URL that is wrong.

use std::fmt::Debug;

use serde_json::json;

use crate::support::world::{CALLBACK, Connected, Page, Response, World};

/// Compares each URL's result with the expected one, and lists all differences.
fn compare<T: PartialEq + Debug>(rows: Vec<(String, T, T)>) {
    let wrong: Vec<_> = rows
        .into_iter()
        .filter(|(_, got, expected)| got != expected)
        .map(|(url, got, expected)| format!("{url}: {got:?}, not {expected:?}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A spelling of the endpoint, and the path that the upstream sees for it.
const ENDPOINTS: [(&str, &str); 22] = [
    ("//mcp", "/mcp"),
    ("///mcp", "/mcp"),
    ("//mcp/", "/mcp"),
    ("/mcp//", "/mcp"),
    ("//mcp///", "/mcp"),
    ("//", "/mcp"),
    ("///", "/mcp"),
    ("/MCP", "/mcp"),
    ("/Mcp", "/mcp"),
    ("/mCP/", "/mcp"),
    ("//MCP", "/mcp"),
    ("//mcp-2", "/mcp"),
    ("/MCP-2", "/mcp"),
    ("/Mcp-Home/", "/mcp"),
    ("/mcp-HOME//", "/mcp"),
    ("//mcp/x/all", "/mcp/x/all"),
    ("/MCP/x/All", "/mcp/x/All"),
    ("//Mcp-work//", "/mcp"),
    ("/MCP/mcp", "/mcp/mcp"),
    // Below the endpoint the path is the upstream's: it goes up as it was sent.
    ("/mcp//x/all", "/mcp//x/all"),
    ("/mcp/x//all/", "/mcp/x//all/"),
    ("//MCP//X", "/mcp//X"),
];

#[tokio::test]
async fn every_spelling_of_the_endpoint_is_one_resource_and_is_named_as_requested() {
    let w = World::start().await;
    let client = w.connect().await;
    let bearer = format!("Bearer {}", client.access);
    let mut rows = Vec::new();
    for (path, target) in ENDPOINTS {
        let refused = w.post(path).json(&json!({})).send().await;
        let metadata = w.url(&format!("/.well-known/oauth-protected-resource{path}"));
        let challenge = format!("Bearer resource_metadata=\"{metadata}\", scope=\"mcp\"");
        let got = (
            refused.status,
            refused.header("www-authenticate").to_owned(),
        );
        rows.push((format!("POST {path}"), got, (401, challenge)));

        let document = w.get(metadata.strip_prefix(&w.base).unwrap()).send().await;
        let named = serde_json::from_str::<serde_json::Value>(&document.text)
            .unwrap_or_default()["resource"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let got = (document.status, named);
        rows.push((format!("document of {path}"), got, (200, w.url(path))));

        let before = w.upstream.requests().len();
        let called = w
            .post(path)
            .header("authorization", &bearer)
            .json(&json!({}))
            .send()
            .await;
        let seen = w.upstream.requests().into_iter().nth(before);
        let got = (
            called.status,
            seen.map_or(String::new(), |seen| seen.target),
        );
        rows.push((format!("call of {path}"), got, (200, target.to_owned())));
    }
    compare(rows);
}

#[tokio::test]
async fn a_token_for_one_spelling_is_valid_at_every_other() {
    let w = World::start().await;
    let client_id = w.client().await;
    let mut rows = Vec::new();
    for (path, _) in ENDPOINTS {
        let ask = w
            .authorization_request(&client_id)
            .set("resource", &w.url(path));
        let response = w.get(&format!("/authorize?{}", ask.encode())).send().await;
        if response.status != 200 {
            rows.push((
                format!("authorize {path}"),
                vec![response.status],
                vec![200],
            ));
            continue;
        }
        let page = Page::read(response);
        let decided = w.submit_consent(&page, "authorize", &w.pin).await;
        let code = decided.redirected("code").unwrap();
        let form = w.redeem(&client_id, &code).set("resource", &w.url(path));
        let redeemed = w.token(&form).await;
        let mut got = vec![redeemed.status];
        if redeemed.status == 200 {
            let tokens = Connected::read(&client_id, &code, &redeemed.json());
            for at in ["/mcp", path, "//MCP/", "/"] {
                let called = w
                    .post(at)
                    .header("authorization", &format!("Bearer {}", tokens.access))
                    .json(&json!({}))
                    .send()
                    .await;
                got.push(called.status);
            }
        }
        rows.push((format!("token for {path}"), got, vec![200; 5]));
    }
    compare(rows);
}

#[tokio::test]
async fn the_authorization_servers_document_is_found_however_its_url_was_built() {
    let w = World::start().await;
    let document = async |name| w.get(&format!("/.well-known/{name}")).send().await.text;
    let server = document("oauth-authorization-server").await;
    let openid = document("openid-configuration").await;
    let mut rows = Vec::new();
    for path in [
        "//.well-known/oauth-authorization-server",
        "/.well-known//oauth-authorization-server",
        "/.well-known/oauth-authorization-server//",
        "/.well-known/oauth-authorization-server//mcp",
        "/.well-known/oauth-authorization-server/MCP",
        "//.well-known//oauth-authorization-server//Mcp-2//",
        "/.well-known/oauth-authorization-server/mcp//x",
        "/mcp/.well-known/oauth-authorization-server",
        "/mcp/.well-known/oauth-authorization-server/",
        "//mcp/.well-known/oauth-authorization-server",
        "/mcp//.well-known/oauth-authorization-server",
        "/MCP/.well-known/oauth-authorization-server",
        "/mcp-2/.well-known//oauth-authorization-server",
        "/mcp/x/.well-known/oauth-authorization-server",
        "/mcp/.well-known/oauth-authorization-server/mcp",
        "//.well-known/openid-configuration",
        "/.well-known/openid-configuration//mcp",
        "/.well-known/openid-configuration/MCP/",
        "//mcp//.well-known//openid-configuration",
        "/Mcp/.well-known/openid-configuration/",
    ] {
        let response = w.get(path).send().await;
        let same = response.text
            == *if path.contains("openid") {
                &openid
            } else {
                &server
            };
        rows.push((path.to_owned(), (response.status, same), (200, true)));
    }
    compare(rows);
}

#[tokio::test]
async fn the_resource_document_is_found_however_its_url_was_built() {
    let w = World::start().await;
    let mut rows = Vec::new();
    for (path, named) in [
        ("//.well-known/oauth-protected-resource", ""),
        ("/.well-known//oauth-protected-resource/", ""),
        ("//.well-known/oauth-protected-resource/mcp", "/mcp"),
        ("/.well-known//oauth-protected-resource/mcp/", "/mcp/"),
        ("/.well-known/oauth-protected-resource//mcp", "//mcp"),
        ("/.well-known/oauth-protected-resource/MCP-2", "/MCP-2"),
        ("/.well-known/oauth-protected-resource//MCP//", "//MCP//"),
        ("/.well-known/oauth-protected-resource/mcp//x", "/mcp//x"),
        ("/mcp/.well-known/oauth-protected-resource", "/mcp"),
        ("/mcp/.well-known/oauth-protected-resource/", "/mcp"),
        ("/MCP/.well-known/oauth-protected-resource", "/MCP"),
        ("//mcp/.well-known/oauth-protected-resource", "//mcp"),
        ("/mcp//.well-known/oauth-protected-resource", "/mcp/"),
        ("/mcp-2/.well-known//oauth-protected-resource", "/mcp-2"),
        (
            "/mcp/x/all/.well-known/oauth-protected-resource",
            "/mcp/x/all",
        ),
        // A base with a path, and the path once more: the URL that was typed is the shorter one.
        ("/mcp/.well-known/oauth-protected-resource/mcp", "/mcp"),
    ] {
        let response = w.get(path).send().await;
        let document: serde_json::Value = serde_json::from_str(&response.text).unwrap_or_default();
        let got = document["resource"].as_str().unwrap_or_default().to_owned();
        rows.push((path.to_owned(), (response.status, got), (200, w.url(named))));
    }
    compare(rows);
}

#[tokio::test]
async fn below_well_known_nothing_is_ever_401() {
    let w = World::start().await;
    let client = w.connect().await;
    let bearer = format!("Bearer {}", client.access);
    let mut rows = Vec::new();
    for (method, path, status) in [
        ("GET", "/mcp/.well-known", 404),
        ("GET", "/mcp/.well-known/", 404),
        ("GET", "/mcp/.well-known/mcp.json", 404),
        ("GET", "/MCP//.well-known/security.txt", 404),
        ("GET", "/mcp-2/.well-known/oauth-client/x", 404),
        ("GET", "/mcp/x/.well-known/nothing", 404),
        ("POST", "/mcp/.well-known/nothing", 404),
        ("DELETE", "/mcp/.well-known/nothing", 404),
        ("POST", "/mcp/.well-known/oauth-protected-resource", 405),
        ("DELETE", "/mcp/.well-known/oauth-authorization-server", 405),
        ("POST", "//.well-known/openid-configuration", 405),
        ("GET", "/.well-known/oauth-protected-resource/nowhere", 404),
        (
            "GET",
            "/.well-known/oauth-protected-resource/mcp/.well-known/x",
            404,
        ),
        ("GET", "/nowhere/.well-known/oauth-protected-resource", 404),
        ("OPTIONS", "/mcp/.well-known/oauth-protected-resource", 204),
        ("OPTIONS", "//.well-known/oauth-authorization-server", 204),
    ] {
        for token in ["", bearer.as_str(), "Bearer wrong"] {
            let mut request = w.request(method, path);
            if !token.is_empty() {
                request = request.header("authorization", token);
            }
            let response = request.send().await;
            rows.push((format!("{method} {path}"), response.status, status));
            if !path.starts_with("/nowhere") {
                let cors = response.header("access-control-allow-origin");
                assert_eq!(cors, "*", "{method} {path}");
            }
        }
    }
    compare(rows);
    assert!(w.upstream.requests().is_empty(), "nothing of it goes up");
}

#[tokio::test]
async fn our_own_routes_work_with_repeated_slashes() {
    let w = World::start().await;
    let registered = w
        .post("//register")
        .json(&json!({ "redirect_uris": [CALLBACK] }))
        .send()
        .await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    assert_eq!(registered.header("access-control-allow-origin"), "*");
    let client_id = registered.json()["client_id"].as_str().unwrap().to_owned();

    let shown = w
        .get(&format!(
            "//authorize?{}",
            w.authorization_request(&client_id).encode()
        ))
        .send()
        .await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert_eq!(shown.header("access-control-allow-origin"), "", "a page");
    let page = Page::read(shown);
    let decided = w
        .post("///authorize")
        .header("cookie", &page.cookie)
        .form(&[("page", &page.id), ("pin", &w.pin)])
        .send()
        .await;
    let code = decided.redirected("code").unwrap();
    let redeemed = w
        .post("//token")
        .form_of(&w.redeem(&client_id, &code))
        .send()
        .await;
    assert_eq!(redeemed.status, 200, "{}", redeemed.text);
    let tokens = Connected::read(&client_id, &code, &redeemed.json());
    w.keep_secret(&tokens.access);
    w.keep_secret(&tokens.refresh);
    let revoked = w
        .post("//revoke")
        .form(&[("token", &tokens.refresh), ("client_id", &client_id)])
        .send()
        .await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);

    let mut rows = Vec::new();
    for (method, path, status) in [
        ("GET", "//connections", 200),
        ("GET", "///connections", 200),
        ("OPTIONS", "//token", 204),
        ("OPTIONS", "///register", 204),
        ("OPTIONS", "//mcp", 204),
        ("OPTIONS", "/MCP", 204),
        ("GET", "//token", 405),
        ("GET", "//register", 405),
        ("PUT", "//authorize", 405),
        // A slash at the end is not a repeated one, and only the endpoint's own name has no case.
        ("POST", "/register/", 404),
        ("POST", "/token//", 404),
        ("GET", "/connections/", 404),
        ("POST", "/Register", 404),
        ("POST", "/TOKEN", 404),
        ("GET", "//nothing", 404),
        ("GET", "//evil.example/mcp", 404),
        ("POST", "//evil.example//mcp", 404),
        ("POST", "/x//mcp", 404),
        ("POST", "/mcpx", 404),
        ("POST", "/MCPX", 404),
        ("POST", "/mcp//../x", 404),
        ("POST", "/mcp//%2e%2e/x", 404),
        ("POST", "/mcp/x//%2e%2e//%2e%2e//admin", 404),
        ("POST", "//mcp/%2e%2e/x", 404),
        ("GET", "/mcp/../.well-known/oauth-protected-resource", 404),
        (
            "GET",
            "/mcp/%2e%2e/.well-known/oauth-protected-resource",
            404,
        ),
        ("GET", "/.well-known/oauth-protected-resource/mcp/..", 404),
    ] {
        // Not with the HTTP client, because that would resolve the dots.
        rows.push((
            format!("{method} {path}"),
            status_of(&w, method, path).await,
            status,
        ));
    }
    compare(rows);
}

#[tokio::test]
async fn head_is_supported_wherever_get_is_and_writes_nothing() {
    let w = World::start().await;
    let client_id = w.client().await;
    let sound = format!(
        "/authorize?{}",
        w.authorization_request(&client_id).encode()
    );
    let unsound = w
        .authorization_request(&client_id)
        .without("code_challenge");
    let unsound = format!("/authorize?{}", unsound.encode());
    let before = w.dump();
    let twice = format!("/{sound}");
    let paths = [
        "/",
        "//",
        "/connections",
        "//connections",
        &sound,
        &twice,
        &unsound,
        "/authorize",
        "/authorize?client_id=nobody",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/MCP",
        "/.well-known/oauth-authorization-server/mcp",
        "/mcp/.well-known/oauth-protected-resource",
        "/mcp/.well-known/openid-configuration",
        "/register",
        "/token",
        "/mcp",
        "/nothing",
    ];
    let mut heads = Vec::new();
    for path in paths {
        let head = w.request("HEAD", path).header("accept", "text/html");
        let head = head.send().await;
        assert_eq!(w.dump(), before, "HEAD {path} wrote something");
        assert_eq!(head.text, "", "{path}");
        assert_eq!(head.header("set-cookie"), "", "{path}");
        heads.push(head);
    }
    let mut rows = Vec::new();
    for (path, head) in paths.into_iter().zip(heads) {
        let get = w.get(path).header("accept", "text/html").send().await;
        let seen = |response: &Response| {
            [
                "content-type",
                "content-length",
                "cache-control",
                "content-security-policy",
                "allow",
                "location",
                "access-control-allow-origin",
            ]
            .map(|name| response.header(name).to_owned())
        };
        let expected = (get.status, seen(&get));
        rows.push((format!("HEAD {path}"), (head.status, seen(&head)), expected));
    }
    compare(rows);
}

#[tokio::test]
async fn head_of_the_consent_page_stores_nothing_and_uses_up_no_limit() {
    let w = World::start().await;
    let client_id = w.client().await;
    let before = w.dump();
    let path = format!(
        "/authorize?{}",
        w.authorization_request(&client_id).encode()
    );
    // More than an address may open.
    for _ in 0..=200 {
        assert_eq!(w.request("HEAD", &path).send().await.status, 200);
    }
    assert_eq!(w.dump(), before);
    assert_eq!(w.get(&path).send().await.status, 200);
}

/// The status of a request whose path is sent as it is.
async fn status_of(w: &World, method: &str, path: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(w.address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        w.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.split(' ').nth(1).unwrap().parse().unwrap()
}
