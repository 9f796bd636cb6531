//! One request and its response, with time limits that tell a silent server from a body that never ends.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use reqwest::{Client, redirect};
use rustls::ClientConfig;
use serde_json::Value;
use url::Url;

use crate::error::causes;

/// As what the doctor introduces itself. (This program's own name would be refused at `/authorize`.)
const USER_AGENT: &str = "connector-doctor/1";
/// The most bytes of a body that are read.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What came of a request.
pub type Probe = Result<Answer, Failure>;

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The URL that was requested.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, or the beginning of it.
    pub body: Vec<u8>,
    /// Whether the body ended in time.
    pub ended: bool,
    /// Milliseconds until the headers arrived.
    pub ms: u128,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing arrived in time.
    Silent,
    /// The certificate is not accepted.
    Certificate(String),
    /// There is no connection, or it was closed.
    Unreachable(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => f.write_str("there was no response in time"),
            Self::Certificate(detail) => write!(f, "the certificate is not accepted: {detail}"),
            Self::Unreachable(detail) => write!(f, "there is no connection: {detail}"),
        }
    }
}

impl Answer {
    /// A header's value, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// The body as a JSON object.
    pub fn json(&self) -> Option<Value> {
        let body = serde_json::from_slice::<Value>(&self.body).ok();
        body.filter(Value::is_object)
    }

    /// Whether the body is a web page.
    pub fn is_html(&self) -> bool {
        self.header(CONTENT_TYPE.as_str()).contains("html")
    }

    /// Where a redirect leads.
    pub fn redirected(&self) -> Option<Url> {
        self.status.is_redirection().then_some(())?;
        self.url.join(self.header("location")).ok()
    }
}

/// Sends requests.
#[derive(Clone)]
pub struct Prober {
    client: Option<Client>,
    timeout: Duration,
}

impl Prober {
    /// Follows no redirects and uses no proxy.
    pub fn new(tls: ClientConfig, timeout: Duration) -> Self {
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .build();
        Self {
            client: client.ok(),
            timeout,
        }
    }

    /// GET.
    pub async fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Probe {
        self.send(Method::GET, url, headers, String::new()).await
    }

    /// POST of a JSON body.
    pub async fn post_json(&self, url: &Url, headers: &[(&str, &str)], body: &Value) -> Probe {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(Method::POST, url, &headers, body.to_string())
            .await
    }

    /// POST of a form.
    pub async fn post_form(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Probe {
        let headers = [
            headers,
            &[("content-type", "application/x-www-form-urlencoded")],
        ]
        .concat();
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        self.send(
            Method::POST,
            url,
            &headers,
            body.extend_pairs(form).finish(),
        )
        .await
    }

    /// Any request.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: String,
    ) -> Probe {
        let Some(client) = &self.client else {
            return Err(Failure::Unreachable(
                "no HTTP client could be created".to_owned(),
            ));
        };
        let mut request = client.request(method, url.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let (sent_at, by) = (Instant::now(), tokio::time::Instant::now() + self.timeout);
        let sent = tokio::time::timeout_at(by, request.send()).await;
        let response = sent.map_err(|_| Failure::Silent)?.map_err(failure)?;
        let ms = sent_at.elapsed().as_millis();
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, ended) = self.read(response, by).await;
        Ok(Answer {
            url: url.clone(),
            status,
            headers,
            body,
            ended,
            ms,
        })
    }

    /// The body until it ends, is long enough, or the time is up.
    async fn read(
        &self,
        mut response: reqwest::Response,
        by: tokio::time::Instant,
    ) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        while body.len() < BODY_BYTES_MAX {
            match tokio::time::timeout_at(by, response.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => return (body, true),
                Ok(Err(_)) | Err(_) => return (body, false),
            }
        }
        (body, true)
    }
}

fn failure(error: reqwest::Error) -> Failure {
    let text = causes(&error.without_url());
    if text.contains("certificate") {
        Failure::Certificate(text)
    } else {
        Failure::Unreachable(text)
    }
}
