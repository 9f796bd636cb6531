//! What goes over the wire in a test, in the words of the protocol: parameters, requests, responses, pages.

use http::HeaderMap;
use serde_json::Value;

/// A consent page that was opened.
pub struct Page {
    pub id: String,
    pub cookie: String,
    pub response: Response,
}

impl Page {
    pub fn read(response: Response) -> Self {
        Self {
            id: response.field("page").expect("the page has its id"),
            cookie: response.cookie().expect("the page sets a cookie"),
            response,
        }
    }
}

/// A client with its tokens.
#[derive(Clone, Debug)]
pub struct Connected {
    pub client_id: String,
    pub code: String,
    pub access: String,
    pub refresh: String,
}

impl Connected {
    pub fn read(client_id: &str, code: &str, tokens: &Value) -> Self {
        let text = |name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
        Self {
            client_id: client_id.to_owned(),
            code: code.to_owned(),
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }

    /// The id of the connection, which its tokens contain.
    pub fn id(&self) -> &str {
        let (id, _) = self.access.split_once('.').unwrap();
        id.strip_prefix("mcp_at_").unwrap()
    }
}

/// Parameters, in order, perhaps more than once.
#[derive(Clone, Debug)]
pub struct Pairs(pub Vec<(String, String)>);

impl Pairs {
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(
            pairs
                .iter()
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect(),
        )
    }

    /// Replaces or adds one.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(n, _)| n != name);
        self.and(name, value)
    }

    /// Adds one, even if there is one of this name.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(n, _)| n != name);
        self
    }

    pub fn encode(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }
}

/// A request that is being built.
pub struct Request(pub reqwest::RequestBuilder);

impl Request {
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header("content-type", content_type).body(body))
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        self.form_of(&Pairs::of(pairs))
    }

    pub fn form_of(self, pairs: &Pairs) -> Self {
        self.body("application/x-www-form-urlencoded", pairs.encode())
    }

    pub async fn send(self) -> Response {
        let response = self.0.send().await.unwrap();
        Response {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// The response, before its body is read.
    pub async fn stream(self) -> reqwest::Response {
        self.0.send().await.unwrap()
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Response {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The error code of an OAuth response, with its status.
    pub fn error(&self) -> (u16, String) {
        let code = self.json()["error"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }

    /// The cookie that it sets, as a `Cookie` header.
    pub fn cookie(&self) -> Option<String> {
        self.header("set-cookie")
            .split(';')
            .next()
            .map(str::to_owned)
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> Option<String> {
        let after = self.text.split_once(&format!("name=\"{name}\""))?.1;
        let tag = after.split_once('>')?.0;
        let value = tag.split_once("value=\"")?.1.split_once('"')?.0;
        Some(value.to_owned())
    }

    /// A parameter of the URL that it redirects to.
    pub fn redirected(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(self.header("location")).ok()?;
        url.query_pairs()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.into_owned())
    }
}
