//! Making us name another server, or split a header: Host, Forwarded and X-Forwarded headers, CR and LF.

use serde_json::{Value, json};

use crate::support::world::{Pairs, Response, World};

/// Headers that proxies and frameworks are known to trust.
const BELIEVED_ELSEWHERE: [(&str, &str); 14] = [
    ("forwarded", "for=1.2.3.4;host=evil.example;proto=https"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-server", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-scheme", "https"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x-original-host", "evil.example"),
    ("x-original-url", "/evil"),
    ("x-rewrite-url", "/evil"),
    ("x-http-method-override", "DELETE"),
    ("x-host", "evil.example"),
    ("front-end-https", "on"),
];

/// Every response that contains a URL of ours, with its headers.
async fn everything_with_a_url(w: &World, extra: &[(&str, &str)]) -> Vec<String> {
    let client = w.client().await;
    let ask = w.authorization_request(&client).without("resource");
    let mut responses = Vec::new();
    for path in [
        "/.well-known/oauth-protected-resource".to_owned(),
        "/.well-known/oauth-protected-resource/mcp".to_owned(),
        "/.well-known/oauth-authorization-server".to_owned(),
        "/.well-known/openid-configuration".to_owned(),
        "/mcp".to_owned(),
        "/connections".to_owned(),
        format!("/authorize?{}", ask.clone().set("prompt", "none").encode()),
        format!("/authorize?{}", ask.encode()),
    ] {
        let mut request = w.get(&path);
        for (name, value) in extra {
            request = request.header(name, value);
        }
        responses.push(request.send().await);
    }
    let mut landing = w.get("/").header("accept", "text/html");
    for (name, value) in extra {
        landing = landing.header(name, value);
    }
    responses.push(landing.send().await);
    responses
        .into_iter()
        .map(|response| without_chance(&response))
        .collect()
}

/// The response without what is generated for each request.
fn without_chance(response: &Response) -> String {
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "set-cookie" | "content-length"))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let page = response.field("page").unwrap_or_default();
    let text = if page.is_empty() {
        response.text.clone()
    } else {
        response.text.replace(&page, "")
    };
    let cookie = response
        .header("set-cookie")
        .split_once('=')
        .map(|(name, rest)| {
            let attributes = rest.split_once(';').unwrap_or_default().1;
            format!("{name}{attributes}")
        });
    format!("{} {headers:?} {cookie:?} {text}", response.status)
}

#[tokio::test]
async fn host_forwarded_and_x_forwarded_headers_change_no_url() {
    for settings in [&[][..], &[("BASE_URL", "https://mcp.example.com")]] {
        let w = World::with_settings(settings).await;
        let plain = everything_with_a_url(&w, &[]).await;
        for header in BELIEVED_ELSEWHERE {
            let with = everything_with_a_url(&w, &[header]).await;
            assert_eq!(plain, with, "{header:?}");
        }
        assert!(plain.iter().all(|response| !response.contains("evil")));
    }
}

#[tokio::test]
async fn with_a_configured_base_url_the_host_header_is_ignored() {
    let w = World::with_settings(&[("BASE_URL", "https://mcp.example.com")]).await;
    let plain = everything_with_a_url(&w, &[]).await;
    assert!(
        plain[2].contains("https://mcp.example.com/token"),
        "{}",
        plain[2]
    );
    for host in [
        "evil.example",
        "mcp.example.com:8443",
        "localhost",
        "127.0.0.1:9001",
    ] {
        assert_eq!(
            plain,
            everything_with_a_url(&w, &[("host", host)]).await,
            "{host}"
        );
    }
}

#[tokio::test]
async fn with_a_configured_http_base_url_a_rebinding_page_reaches_nothing() {
    let w = World::with_settings(&[("BASE_URL", "http://localhost:8787")]).await;
    for (host, status) in [
        ("localhost:8787", 200),
        ("LOCALHOST:8787", 200),
        ("evil.example:8787", 421),
        ("localhost:8787.evil.example", 421),
        ("localhost", 421),
        ("127.0.0.1:8787", 421),
    ] {
        let response = w.get("/connections").header("host", host).send().await;
        assert_eq!(response.status, status, "{host}");
    }
    // The PIN is not even compared, and nothing is counted or stored.
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/authorize"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("POST", "/authorize"),
        ("POST", "/connections"),
        ("POST", "/register"),
        ("POST", "/token"),
        ("POST", "/mcp"),
        ("OPTIONS", "/mcp"),
    ] {
        let request = w.request(method, path).header("host", "evil.example:8787");
        let request = request.form(&[
            ("action", "sign-in"),
            ("pin", &w.pin),
            ("decision", "authorize"),
        ]);
        let response = request.send().await;
        assert_eq!(response.status, 421, "{method} {path}");
        for name in ["set-cookie", "location", "access-control-allow-origin"] {
            assert_eq!(response.header(name), "", "{method} {path}");
        }
    }
    assert_eq!(w.dump(), Vec::<String>::new());
}

#[tokio::test]
async fn without_a_configured_base_url_an_unknown_host_is_refused_at_every_path() {
    let w = World::start().await;
    let one = w.connect().await;
    let before = w.dump();
    let port = w.address.port();
    for host in [
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.:{port}"),
        format!("0.0.0.0:{port}"),
        format!("127.0.0.2:{port}"),
        "127.0.0.1".to_owned(),
        format!("localhost:{}", port.wrapping_add(1)),
    ] {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/.well-known/oauth-authorization-server"),
            ("GET", "/authorize"),
            ("POST", "/register"),
            ("POST", "/token"),
            ("POST", "/mcp"),
            ("OPTIONS", "/mcp"),
        ] {
            let response = w
                .request(method, path)
                .header("host", &host)
                .header("authorization", &format!("Bearer {}", one.access))
                .send()
                .await;
            assert_eq!(response.status, 421, "{host} {method} {path}");
            assert_eq!(response.header("access-control-allow-origin"), "");
        }
    }
    assert_eq!(w.dump(), before);
    assert!(w.upstream.requests().is_empty());
}

const SPLIT: &str = "x\r\nset-cookie: split=1\r\nlocation: https://evil.example/\r\n\r\n<html>";

fn is_not_split(response: &Response, what: &str) {
    assert!(!response.header("set-cookie").contains("split"), "{what}");
    assert!(
        !format!("{:?}", response.headers).contains("evil"),
        "{what}: {response:?}"
    );
}

#[tokio::test]
async fn cr_and_lf_in_any_parameter_do_not_split_the_response() {
    let w = World::start().await;
    let client = w.client().await;
    let before = w.dump();
    let ask = w
        .authorization_request(&client)
        .and("scope", "mcp")
        .and("prompt", "consent")
        .and("response_mode", "query");
    for (name, _) in ask.0.clone() {
        for bad in [SPLIT, "a\rb", "a\nb", "a\u{85}b", "a\u{0}b"] {
            let asked = ask.clone().set(&name, bad);
            let response = w
                .get(&format!("/authorize?{}", asked.encode()))
                .send()
                .await;
            is_not_split(&response, &name);
            assert_eq!(
                (response.status, response.header("location")),
                (400, ""),
                "{name}"
            );
        }
    }
    let one = w
        .redeem(&client, "mcp_ac_x")
        .and("client_secret", "x")
        .and("resource", "x");
    for (name, _) in one.0.clone() {
        let response = w.token(&one.clone().set(&name, SPLIT)).await;
        is_not_split(&response, &name);
        assert_eq!(response.error(), (400, "invalid_request".into()), "{name}");
    }
    for name in ["token", "client_id", "token_type_hint"] {
        let form = Pairs::of(&[("token", "x"), ("client_id", &client)]).set(name, SPLIT);
        let response = w.post("/revoke").form_of(&form).send().await;
        is_not_split(&response, name);
        assert_eq!(response.error(), (400, "invalid_request".into()), "{name}");
    }
    for name in ["page", "pin", "decision", "username"] {
        let response = w.post("/authorize").form(&[(name, SPLIT)]).send().await;
        is_not_split(&response, name);
        assert_eq!(response.status, 400);
    }
    assert_eq!(w.dump(), before);
}

#[tokio::test]
async fn cr_and_lf_in_registered_metadata_reach_no_header_and_no_log_line() {
    let w = World::start().await;
    for name in ["client_name", "token_endpoint_auth_method"] {
        let mut metadata = json!({ "redirect_uris": ["https://client.example/callback"] });
        metadata[name] = Value::from(SPLIT);
        let response = w.post("/register").json(&metadata).send().await;
        is_not_split(&response, name);
        assert_eq!(
            response.error(),
            (400, "invalid_client_metadata".into()),
            "{name}"
        );
    }
    for name in [
        "client_uri",
        "logo_uri",
        "scope",
        "software_id",
        "unheard_of\r\n",
    ] {
        let mut metadata = json!({ "redirect_uris": ["https://client.example/callback"] });
        metadata[name] = Value::from(SPLIT);
        let response = w.post("/register").json(&metadata).send().await;
        is_not_split(&response, name);
        assert_eq!(response.status, 201, "{name}");
        assert!(
            !response.text.contains("split"),
            "{name}: {}",
            response.text
        );
    }
}

#[tokio::test]
async fn a_path_cannot_write_into_the_challenge() {
    let w = World::start().await;
    for path in [
        "/mcp/\",scope=\"evil\",x=\"",
        "/mcp/%22,scope=evil",
        "/mcp/%0d%0aset-cookie:split=1",
        "/mcp-evil\"",
        "/mcp/<evil>",
    ] {
        // Not with the HTTP client, because that would encode it.
        let response = raw(&w, &format!("POST {path} HTTP/1.1")).await;
        let challenge = response
            .lines()
            .find(|line| line.to_lowercase().starts_with("www-authenticate"));
        if let Some(challenge) = challenge {
            assert_eq!(challenge.matches('"').count(), 4, "{challenge}");
        } else {
            assert!(
                response.starts_with("HTTP/1.1 404") || response.starts_with("HTTP/1.1 400"),
                "{response}"
            );
        }
        assert!(
            !response.to_lowercase().contains("set-cookie"),
            "{response}"
        );
    }
}

/// Sends a request line as it is, and reads the whole response.
async fn raw(w: &World, line: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(w.address).await.unwrap();
    let request = format!(
        "{line}\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        w.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}
