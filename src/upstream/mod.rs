//! Sends requests to the upstream. The client's credential is replaced with the one for the upstream, and allow-lists
//! decide which other headers are sent.

mod body;
pub mod disclosure;
pub mod endpoint_event;
pub mod endpoint_target;
pub mod event_filter;
mod event_scanner;
#[cfg(test)]
mod event_stream_samples;
pub mod headers;
pub mod keep_alive;
mod session;
pub mod target;
pub mod tool_list;

use std::{error::Error as _, sync::Arc, time::Duration};

use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LENGTH, LOCATION},
};
use url::Url;

pub use body::{Body, BodyBudget, ClientGone, KEPT_BODY_BYTES, NotKept};

use crate::{config::UpstreamConfig, error::causes, http_client::HttpClient, secrets::Secret};

/// The most redirects that are followed for one request. Only redirects within the upstream's origin are followed.
const REDIRECTS_MAX: usize = 3;
/// The text of the error with which a streamed request body ends when the client stops sending.
const CLIENT_GONE: &str = "the client's request body was cut off";

/// Why there is no response to forward.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or it was cut off before the response.
    Unreachable(String),
    /// No response within `UPSTREAM_FIRST_BYTE_SECONDS`.
    Silent(Duration),
    /// A redirect that is not followed: to another origin, or one that would change the method.
    Redirect(StatusCode),
    /// The upstream refused the credential for it (401). The client must never see that status code.
    CredentialRefused,
    /// A redirect that would be followed if the request body had been kept.
    RedirectedTooLate(NotKept),
    /// The upstream refused a credential that has been replaced since, and the request body was not kept.
    CredentialReplaced(NotKept),
    /// The client stopped sending before its request body was complete.
    ClientGone,
}

impl From<ClientGone> for Failure {
    fn from(ClientGone: ClientGone) -> Self {
        Self::ClientGone
    }
}

/// The client for the upstream, with its connection pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream {
    http: HttpClient,
    config: Arc<UpstreamConfig>,
    body_budget: BodyBudget,
    reading_tools: tool_list::ReadingTools,
}

impl Upstream {
    /// An upstream as configured, over connections of its own.
    #[must_use]
    pub fn new(http: &HttpClient, config: UpstreamConfig) -> Self {
        Self {
            http: http.for_upstream(),
            config: Arc::new(config),
            body_budget: BodyBudget::default(),
            reading_tools: tool_list::ReadingTools::default(),
        }
    }

    /// The same upstream over connections of its own.
    #[must_use]
    pub fn with_own_connections(&self) -> Self {
        Self::new(&self.http, (*self.config).clone())
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// The memory available for request bodies.
    #[must_use]
    pub fn body_budget(&self) -> &BodyBudget {
        &self.body_budget
    }

    /// Its host, as shown to people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.config.url.host_str().unwrap_or_default()
    }

    /// Opens a connection before it is needed, without the credential.
    pub async fn warm_up(&self) {
        let _ = self
            .http
            .client()
            .request(Method::OPTIONS, self.config.url.clone())
            .send()
            .await;
    }

    /// Sends one request and waits for the status and headers of the response. Redirects are followed for 307 and 308
    /// on the same origin only: any other origin would receive the credential.
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
            secret.upstream_token.header_value(),
        );
        let mut headers = headers::for_upstream(
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
        let origin = target.origin();
        for _ in 0..=REDIRECTS_MAX {
            let (request_body, kept) = match body {
                Body::Kept(bytes) => (reqwest::Body::from(bytes.clone()), Ok(bytes)),
                Body::Streamed { body, reason, .. } => (body, Err(reason)),
            };
            let mut request = self
                .http
                .client()
                .request(method.clone(), target.clone())
                .headers(headers.clone());
            // So that a GET without a body has no `content-length: 0`.
            if kept.as_ref().map_or(true, |bytes| !bytes.is_empty()) || *method == Method::POST {
                request = request.body(request_body);
            }
            let sent = send_or_repeat(request, method);
            let response = tokio::time::timeout(self.config.first_byte, sent)
                .await
                .map_err(|_| Failure::Silent(self.config.first_byte))?
                .map_err(|error| Failure::from(&error))?;
            self.http.heed_keep_alive(response.headers());
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED {
                return Err(Failure::CredentialRefused);
            }
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let next = response
                .headers()
                .get(LOCATION)
                .and_then(|to| to.to_str().ok())
                .and_then(|to| target.join(to).ok())
                // reqwest would send user and password, which nobody configured.
                .filter(|to| to.username().is_empty() && to.password().is_none());
            let keeps_method = matches!(
                status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            );
            match (next, kept) {
                (Some(next), kept) if keeps_method && next.origin() == origin => {
                    target = next;
                    body = Body::Kept(kept.map_err(Failure::RedirectedTooLate)?);
                }
                _ => return Err(Failure::Redirect(status)),
            }
        }
        Err(Failure::Redirect(StatusCode::TEMPORARY_REDIRECT))
    }
}

/// Sends a request, and once more if there was a connection but no valid response. The upstream may have acted already,
/// so only a safe method is repeated (RFC 9110 §9.2). A request of which nothing was sent is repeated by hyper.
async fn send_or_repeat(
    request: reqwest::RequestBuilder,
    method: &Method,
) -> Result<reqwest::Response, reqwest::Error> {
    let again = method.is_safe().then(|| request.try_clone()).flatten();
    match (request.send().await, again) {
        (Err(error), Some(again)) if !error.is_connect() => again.send().await,
        (sent, _) => sent,
    }
}

impl From<&reqwest::Error> for Failure {
    fn from(error: &reqwest::Error) -> Self {
        // Without the error itself, which contains the URL, whose query may contain a key.
        let detail = error.source().map(causes).unwrap_or_default();
        if detail.contains(CLIENT_GONE) {
            return Self::ClientGone;
        }
        Self::Unreachable(detail)
    }
}
