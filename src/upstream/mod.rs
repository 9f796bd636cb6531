//! The outgoing side: our credential in, the client's out, everything else through allow-lists.

mod body;
pub mod disclosure;
pub mod endpoint_event;
pub mod endpoint_target;
mod event_scanner;
#[cfg(test)]
mod event_stream_samples;
pub mod headers;
pub mod keep_alive;
pub mod target;

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, LOCATION},
};
use url::Url;

pub use body::{Body, BodyBudget, ClientGone, KEPT_BODY_BYTES, NotKept};

use crate::{
    config::UpstreamConfig,
    http_client::HttpClient,
    secrets::{Secret, UpstreamToken},
};

/// Most redirects followed on the upstream's own origin.
const MOST_REDIRECTS: usize = 3;

/// Why there is no answer to pass on.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or it broke before an answer.
    Unreachable(String),
    /// No answer within `UPSTREAM_FIRST_BYTE_SECONDS`.
    Silent(Duration),
    /// A redirect that is not followed: to another origin, or one that would change the method.
    Redirect(StatusCode),
    /// The upstream refused our credential (401). Never the client's business.
    CredentialRefused,
    /// A redirect that would be followed if the body had been kept.
    RedirectedTooLate(NotKept),
    /// The upstream refused a credential that has been replaced meanwhile, and the body was not kept.
    CredentialReplaced(NotKept),
    /// The client stopped sending before its body was complete.
    ClientGone,
}

impl From<ClientGone> for Failure {
    fn from(ClientGone: ClientGone) -> Self {
        Self::ClientGone
    }
}

/// The outgoing side, with its connection pool.
#[derive(Clone, Debug)]
pub struct Upstream {
    http: HttpClient,
    config: UpstreamConfig,
    body_budget: BodyBudget,
}

impl Upstream {
    /// An upstream as configured.
    #[must_use]
    pub fn new(http: HttpClient, config: UpstreamConfig) -> Self {
        Self {
            http,
            config,
            body_budget: BodyBudget::default(),
        }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// The memory that there is for request bodies.
    #[must_use]
    pub fn body_budget(&self) -> &BodyBudget {
        &self.body_budget
    }

    /// Its host, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.config.url.host_str().unwrap_or_default()
    }

    /// Opens a connection before it is needed, without our credential.
    pub async fn warm_up(&self) {
        let _ = self
            .http
            .client()
            .request(Method::OPTIONS, self.config.url.clone())
            .send()
            .await;
    }

    /// Sends one request and waits for the head of the answer. Redirects are followed for 307 and 308 on the
    /// same origin only: anywhere else our credential would travel with them.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn send(
        &self,
        method: &Method,
        mut target: Url,
        client_headers: &HeaderMap,
        mut body: Body,
        secret: &Secret,
    ) -> Result<reqwest::Response, Failure> {
        let mut pinned = self.config.headers.clone();
        pinned.extend(secret.upstream_headers.iter().cloned());
        let credential = (
            &self.config.auth_header,
            self.credential(&secret.upstream_token),
        );
        let mut headers = headers::up(
            client_headers,
            &self.config.forward_headers,
            &pinned,
            credential,
        );
        if let Body::Streamed {
            length: Some(length),
            ..
        } = body
        {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let asked = target.clone();
        for _ in 0..=MOST_REDIRECTS {
            let (this, again) = match body {
                Body::Kept(bytes) => (reqwest::Body::from(bytes.clone()), Ok(bytes)),
                Body::Streamed { body, reason, .. } => (body, Err(reason)),
            };
            let mut request = self
                .http
                .client()
                .request(method.clone(), target.clone())
                .headers(headers.clone());
            // A bodiless GET stays bodiless instead of gaining `content-length: 0`.
            if again.as_ref().map_or(true, |bytes| !bytes.is_empty()) || *method == Method::POST {
                request = request.body(this);
            }
            let answer = tokio::time::timeout(self.config.first_byte, request.send())
                .await
                .map_err(|_| Failure::Silent(self.config.first_byte))?
                .map_err(|error| Failure::from(&error))?;
            let status = answer.status();
            if status == StatusCode::UNAUTHORIZED {
                return Err(Failure::CredentialRefused);
            }
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let next = answer
                .headers()
                .get(LOCATION)
                .and_then(|to| to.to_str().ok())
                .and_then(|to| target.join(to).ok());
            let keeps_method = matches!(
                status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            );
            match (next, again) {
                (Some(next), again) if keeps_method && next.origin() == asked.origin() => {
                    target = next;
                    body = Body::Kept(again.map_err(Failure::RedirectedTooLate)?);
                }
                _ => return Err(Failure::Redirect(status)),
            }
        }
        Err(Failure::Redirect(StatusCode::TEMPORARY_REDIRECT))
    }

    /// The value of the header that carries the credential; it was made when the secret was read.
    #[expect(clippy::unused_self, reason = "reads as the others do")]
    fn credential(&self, token: &UpstreamToken) -> HeaderValue {
        token.header_value()
    }
}

impl From<&reqwest::Error> for Failure {
    fn from(error: &reqwest::Error) -> Self {
        // Causes, outermost first, without the URL: its query may hold a key.
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        if causes.iter().any(|cause| cause.contains(CLIENT_GONE)) {
            return Self::ClientGone;
        }
        Self::Unreachable(causes.join(": "))
    }
}

/// The text of the error that a streamed client body ends with when the client breaks off.
pub const CLIENT_GONE: &str = "the client's body broke off";
