//! An OAuth client and a person's browser that send Function URL events.

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::lambda::{
    aws::PIN,
    function::Function,
    runtime_api::{Call, Response},
};

pub const BASE: &str = "https://abc123.lambda-url.us-east-1.on.aws";
pub const CALLBACK: &str = "https://client.example/callback";
/// A verifier, and its challenge.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A Function URL event.
pub fn event(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut all = serde_json::Map::new();
    for (name, value) in headers {
        all.insert((*name).to_owned(), json!(value));
    }
    let cookies = all.remove("cookie").map(|cookie| vec![cookie]);
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": all, "cookies": cookies, "body": body, "isBase64Encoded": false,
        "requestContext": {
            "accountId": "anonymous", "apiId": "abc123", "domainName": BASE.trim_start_matches("https://"),
            "domainPrefix": "abc123", "requestId": "00000000-0000-4000-8000-000000000000",
            "routeKey": "$default", "stage": "$default", "timeEpoch": 1_793_534_400_000_u64,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.80" },
        },
    })
}

pub fn form(path: &str, headers: &[(&str, &str)], pairs: &[(&str, &str)]) -> Value {
    let body = Serializer::new(String::new()).extend_pairs(pairs).finish();
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/x-www-form-urlencoded"));
    event("POST", path, &headers, &body)
}

/// A call of the MCP endpoint.
pub fn call(access_token: &str) -> Value {
    let bearer = format!("Bearer {access_token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
    ];
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "echo" } });
    event("POST", "/mcp", &headers, &body.to_string())
}

/// A consent page that was opened.
pub struct Page {
    id: String,
    cookie: String,
}

pub async fn register(function: &Function) -> String {
    let body = json!({ "redirect_uris": [CALLBACK], "client_name": "Test client" });
    let headers = [("content-type", "application/json")];
    let asked = event("POST", "/register", &headers, &body.to_string());
    let response = function.response(&asked).await;
    assert_eq!(response.prelude.status, 201, "{}", response.text());
    response.json()["client_id"].as_str().unwrap().to_owned()
}

pub fn authorization_request(client_id: &str) -> Value {
    let query = Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", CALLBACK),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("scope", "mcp offline_access"),
            ("resource", &format!("{BASE}/mcp")),
        ])
        .finish();
    // As seen behind CloudFront.
    let query = query.replace('+', " ");
    event(
        "GET",
        &format!("/authorize?{query}"),
        &[("accept", "text/html")],
        "",
    )
}

pub async fn open(function: &Function, client_id: &str) -> Page {
    let response = function.response(&authorization_request(client_id)).await;
    assert_eq!(response.prelude.status, 200, "{}", response.text());
    let cookie = response.prelude.cookies[0].split(';').next().unwrap();
    let after = response.text().split_once("name=\"page\"").unwrap().1;
    let value = after.split_once("value=\"").unwrap().1;
    Page {
        id: value.split_once('"').unwrap().0.to_owned(),
        cookie: cookie.to_owned(),
    }
}

pub async fn submit_consent(function: &Function, page: &Page, pin: &str) -> Response {
    let headers = [
        ("cookie", page.cookie.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let pairs = [
        ("page", page.id.as_str()),
        ("pin", pin),
        ("decision", "authorize"),
    ];
    function
        .response(&form("/authorize", &headers, &pairs))
        .await
}

/// Where a response sends the browser.
pub fn location(response: &Response) -> &str {
    response.prelude.headers["location"].as_str().unwrap()
}

/// A connected client's tokens.
pub struct Tokens {
    pub client_id: String,
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    pub fn read(function: &Function, client_id: &str, response: &Response) -> Self {
        assert_eq!(response.prelude.status, 200, "{}", response.text());
        let tokens = response.json();
        let text = |name: &str| {
            let token = tokens[name].as_str().unwrap();
            function.keep_secret(token);
            token.to_owned()
        };
        Self {
            client_id: client_id.to_owned(),
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

/// All steps, from registration to tokens.
pub async fn connect(function: &Function) -> Tokens {
    let client_id = register(function).await;
    let page = open(function, &client_id).await;
    let response = submit_consent(function, &page, PIN).await;
    assert_eq!(response.prelude.status, 303, "{}", response.text());
    let to = url::Url::parse(location(&response)).unwrap();
    let code = to.query_pairs().find(|(name, _)| name == "code").unwrap().1;
    function.keep_secret(&code);
    let pairs = [
        ("grant_type", "authorization_code"),
        ("client_id", &client_id),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", CALLBACK),
    ];
    let response = function.response(&form("/token", &[], &pairs)).await;
    Tokens::read(function, &client_id, &response)
}

pub async fn refresh(function: &Function, tokens: &Tokens) -> Tokens {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("client_id", tokens.client_id.as_str()),
        ("refresh_token", tokens.refresh.as_str()),
    ];
    let response = function.response(&form("/token", &[], &pairs)).await;
    Tokens::read(function, &tokens.client_id, &response)
}

/// Reads until the body ends, and returns it.
pub async fn rest(call: &mut Call) -> String {
    let mut all = String::new();
    while let Some((data, _)) = call.chunk().await {
        all += std::str::from_utf8(&data).unwrap();
    }
    all
}
