//! One running instance of the program, and the requests that actors send to it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use lambda_oauth_mcp_proxy::{
    app::{App, Caller},
    endpoint,
    oauth::resource::BaseUrl,
    store::DynamoDb,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use url::form_urlencoded::Serializer;

pub const BASE_URL: &str = "https://mcp.example.com";

/// Access token and refresh token.
pub type Pair = (String, String);

/// What was answered to an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A code or refresh token was presented to `/token`: new tokens, or status and error code.
    Presented(String, Result<Pair, (u16, String)>),
    /// A token was presented to `/revoke`.
    Revoked(String, u16),
    /// The consent page was submitted with this limit and the right PIN: the code, or the status of another response.
    Consented(&'static str, Result<String, u16>),
    /// The consent page was submitted with a refusal.
    Denied(u16),
    /// The owner ended a connection, or all of them.
    EndedByOwner(u16),
    /// The owner limited the connection; `None` if it was not found, otherwise the status.
    Limited(Option<u16>),
    /// Somebody with the owner's session, but without the PIN, tried to remove the limit.
    TriedToWiden(u16),
    /// A response to whatever was asked.
    Answered {
        status: u16,
        retry_after: bool,
        challenge: bool,
    },
    /// The MCP endpoint was called with an access token.
    Called(String, u16),
}

/// A tool that no limit of the model allows.
const FORBIDDEN_TOOL: &str = "writes";
/// Stands for the refusal of a call by the limit, whose status is 200 or, if the upstream's tools are unknown, 502.
pub const REFUSED_BY_LIMIT: u16 = 403;
/// What a call gets that passes: there is no upstream.
pub const PASSED: u16 = 502;

/// A response, read to its end.
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A parameter of the URL that it redirects to.
    pub fn redirected(&self, name: &str) -> Option<String> {
        let location = self.headers.get("location")?.to_str().unwrap();
        let url = url::Url::parse(location).ok()?;
        let mut pairs = url.query_pairs();
        pairs.find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }

    /// The cookie that it sets, as a `Cookie` header.
    pub fn cookie(&self) -> String {
        let cookie = self.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap_or_default().to_owned()
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let (_, after) = self.text.split_once(&format!("name=\"{name}\"")).unwrap();
        let (_, value) = after.split_once("value=\"").unwrap();
        value.split('"').next().unwrap_or_default().to_owned()
    }
}

/// An instance.
pub struct Instance {
    router: Router,
    address: IpAddr,
    /// The table, for what a later version writes to it.
    pub table: DynamoDb,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Instance {
    pub fn new(app: App, table: DynamoDb, actor: usize, events: Arc<Mutex<Vec<Event>>>) -> Self {
        // Each actor has a network of its own, so that none uses up the tries of another.
        let network = u8::try_from(actor % 250).unwrap();
        Self {
            router: endpoint::router(app),
            address: IpAddr::V4(Ipv4Addr::new(198, 18, network, 1)),
            table,
            events,
        }
    }

    /// Notes what was answered.
    pub fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    pub async fn send(&self, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Caller {
            base: BaseUrl::parse(BASE_URL).unwrap(),
            aliases: Vec::new(),
            address: Some(self.address),
            request_id: "model".to_owned(),
            deadline: None,
        });
        let request = Request::from_parts(parts, body);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, cookie: &str, form: &[(&str, &str)]) -> Response {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request =
            Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        if !cookie.is_empty() {
            request = request.header("cookie", cookie);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Response {
        let request = Request::post(path).header("content-type", "application/json");
        let body = Body::from(body.to_string());
        self.send(request.body(body).unwrap()).await
    }

    /// A token request, noted.
    async fn token(&self, presented: &str, form: &[(&str, &str)]) -> Result<Pair, (u16, String)> {
        let response = self.post("/token", "", form).await;
        let json = response.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let answer = match response.status {
            200 => Ok((text("access_token"), text("refresh_token"))),
            status => Err((status, text("error"))),
        };
        self.note(Event::Presented(presented.to_owned(), answer.clone()));
        answer
    }

    pub async fn redeem(
        &self,
        client_id: &str,
        code: &str,
        verifier: &str,
    ) -> Result<Pair, (u16, String)> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", code),
            ("code_verifier", verifier),
        ];
        self.token(code, &form).await
    }

    pub async fn refresh(&self, client_id: &str, token: &str) -> Result<Pair, (u16, String)> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", token),
        ];
        self.token(token, &form).await
    }

    pub async fn revoke(&self, client_id: &str, token: &str) {
        let form = [("client_id", client_id), ("token", token)];
        let response = self.post("/revoke", "", &form).await;
        self.note(Event::Revoked(token.to_owned(), response.status));
    }

    /// Calls the MCP endpoint with a method that it refuses to those whom it lets in (405).
    pub async fn call(&self, access: &str) {
        let bearer = format!("Bearer {access}");
        let response = self.get("/mcp", &[("authorization", &*bearer)]).await;
        self.note(Event::Called(access.to_owned(), response.status));
    }

    /// Calls a tool.
    pub async fn call_tool(&self, access: &str) {
        let params = json!({ "name": FORBIDDEN_TOOL, "arguments": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let request = Request::post("/mcp")
            .header("authorization", format!("Bearer {access}"))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.send(request).await;
        let limits = ["may not use this tool", "may only read"];
        let status = if limits.iter().any(|words| response.text.contains(words)) {
            REFUSED_BY_LIMIT
        } else {
            response.status
        };
        self.note(Event::Called(access.to_owned(), status));
    }
}
