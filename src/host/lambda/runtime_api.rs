//! The Runtime API: receives the next invocation and sends its response, one at a time.
//!
//! `lambda_runtime::Runtime` does the same, but (docs/decisions.md has the figures):
//! * it does not set `TCP_NODELAY` on its connection, so each request waits for a delayed acknowledgement;
//! * it sends the prelude in separate packets;
//! * for an event that is not JSON the client gets a 502 from Lambda;
//! * it does not send error trailers.

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use futures_util::Stream;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, HeaderValue, TRAILER, TRANSFER_ENCODING},
};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::client::legacy::connect::HttpConnector;
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};

use super::streamed_response::{ERROR_BODY_TRAILER, ERROR_TYPE_TRAILER};

const NEXT_INVOCATION: &str = "/2018-06-01/runtime/invocation/next";
const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const DEADLINE_MS: &str = "lambda-runtime-deadline-ms";
/// If the invocation has this header, the response must repeat it.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";

/// Why the Runtime API cannot be used. The function then stops.
pub type RuntimeApiError = Box<dyn Error + Send + Sync>;

/// An event, and what the Runtime API says about it.
pub struct Invocation {
    /// The id that Lambda's own log lines also contain.
    pub request_id: String,
    /// When Lambda stops this invocation, in milliseconds since 1970.
    pub deadline_unix_ms: u64,
    /// The event as sent. Normally JSON.
    pub event: Bytes,
    /// The value of [`INVOCATION_ID`], which the response must repeat.
    id_to_repeat: Option<HeaderValue>,
}

/// The connection to the Runtime API.
#[derive(Debug)]
pub struct RuntimeApi(PooledClient);

impl RuntimeApi {
    /// A client for the address in `AWS_LAMBDA_RUNTIME_API`.
    ///
    /// # Errors
    /// When that is neither a host with a port nor a URL.
    pub fn new(address: &str) -> Result<Self, RuntimeApiError> {
        let endpoint: Uri = address.parse()?;
        if endpoint.authority().is_none() {
            return Err("AWS_LAMBDA_RUNTIME_API contains no host".into());
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = PooledClient::builder()
            .with_endpoint(endpoint)
            .with_connector(connector)
            .build();
        Ok(Self(client))
    }

    /// Waits for the next invocation.
    ///
    /// # Errors
    /// When the Runtime API does not return one.
    pub async fn next(&self) -> Result<Invocation, RuntimeApiError> {
        let response = loop {
            let request = build_request().uri(NEXT_INVOCATION).body(Body::empty())?;
            let response = self.0.call(request).await?;
            match response.status() {
                StatusCode::OK => break response,
                // Emulators respond with 204 when there was no invocation for some time.
                StatusCode::NO_CONTENT => {}
                status => return Err(format!("the next invocation was refused: {status}").into()),
            }
        };
        let (parts, body) = response.into_parts();
        let request_id = header_text(&parts.headers, REQUEST_ID)
            .ok_or("the invocation has no request id")?
            .to_owned();
        Ok(Invocation {
            request_id,
            deadline_unix_ms: header_text(&parts.headers, DEADLINE_MS)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            event: body.collect().await?.to_bytes(),
            id_to_repeat: parts.headers.get(INVOCATION_ID).cloned(),
        })
    }

    /// Sends a streamed response, and returns when all of it is sent.
    ///
    /// # Errors
    /// When the Runtime API does not accept it.
    pub async fn respond<S>(
        &self,
        invocation: &Invocation,
        frames: S,
    ) -> Result<(), RuntimeApiError>
    where
        S: Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static,
    {
        let path = format!(
            "/2018-06-01/runtime/invocation/{}/response",
            invocation.request_id
        );
        let mut request: Request<Body> = build_request()
            .method(Method::POST)
            .uri(path)
            .header(TRANSFER_ENCODING, "chunked")
            .header(RESPONSE_MODE, "streaming")
            .header(
                CONTENT_TYPE,
                "application/vnd.awslambda.http-integration-response",
            )
            .header(TRAILER, ERROR_TYPE_TRAILER.as_str())
            .header(TRAILER, ERROR_BODY_TRAILER.as_str())
            .body(Body::new(StreamBody::new(frames)))?;
        if let Some(id) = &invocation.id_to_repeat {
            request.headers_mut().insert(INVOCATION_ID, id.clone());
        }
        let response: Response<_> = self.0.call(request).await?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        response.into_body().collect().await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the response was refused: {status}").into())
        }
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
