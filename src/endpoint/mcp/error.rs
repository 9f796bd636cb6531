//! Errors of the proxy on an MCP path, in the form that clients show to people: JSON-RPC errors with the id of the
//! request (JSON-RPC 2.0 section 5), one for each request of a batch.

use axum::response::{IntoResponse as _, Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use super::{
    auth::Authorized,
    message::{CallIds, Id, Message},
};
use crate::{
    endpoint::response::RequestLogFields,
    error::Unavailable,
    upstream::{Failure, NotKept},
};

/// The JSON-RPC error code for a request that is invalid (JSON-RPC 2.0 section 5.1).
pub const INVALID_REQUEST: i64 = -32600;
/// The JSON-RPC error code for a method that the server does not have.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The JSON-RPC error code for parameters that are invalid; MCP uses it for tools that do not exist.
pub const INVALID_PARAMS: i64 = -32602;
/// The JSON-RPC error code for every other error.
pub const SERVER_ERROR: i64 = -32000;

/// The word in the log for what the limit of a connection forbids.
pub const LIMIT_REFUSED: &str = "limit_refused";

/// Seconds after which a client may repeat a request that failed for a temporary reason.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// An error, with a message for people.
#[derive(Debug)]
pub struct McpError {
    status: StatusCode,
    code: i64,
    message: String,
    /// For the log's field `refused`.
    refused: Option<&'static str>,
    /// For the log's field `reason`, where it must not be the message.
    reason: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl McpError {
    /// An error with this status, JSON-RPC code and message.
    pub fn new(status: StatusCode, code: i64, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            refused: None,
            reason: None,
            headers: Vec::new(),
        }
    }

    /// 405, with the methods that are allowed (RFC 9110 section 15.5.6).
    pub fn method_not_allowed(allow: &'static str, message: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, SERVER_ERROR, message)
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// 400, for a path or a query that would not arrive as it was sent.
    pub fn bad_path() -> Self {
        let what = "this path or query cannot be passed on";
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, what)
    }

    /// 503: the store or the secret is unavailable. Never 401, which would make clients drop their session.
    pub fn unavailable(error: &Unavailable) -> Self {
        tracing::error!(event = "unavailable", what = error.what, operator = error.operator, detail = %error);
        let message = if error.operator {
            "this proxy is not set up completely; its log tells the owner what is missing"
        } else {
            "this proxy cannot respond right now; try again in a few seconds"
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, message)
            .logged_as("temporarily_unavailable")
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// With a further header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a word for the log.
    pub fn logged_as(mut self, refused: &'static str) -> Self {
        self.refused = Some(refused);
        self
    }

    /// With a reason for the log in place of the message, which holds text that others wrote.
    pub fn logged_with_reason(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Whether the limit of the connection forbids the call.
    pub fn is_limit(&self) -> bool {
        self.refused == Some(LIMIT_REFUSED)
    }

    /// The response to this message: with `"id":null` where no call can be read (section 5: "If there was an error in
    /// detecting the id in the Request object […], it MUST be Null").
    pub fn respond(self, message: &Message<'_>) -> Response {
        let error = ErrorObject {
            code: self.code,
            message: &self.message,
        };
        let one = |id| ErrorMessage {
            jsonrpc: "2.0",
            id,
            error,
        };
        let body = match message.call_ids() {
            CallIds::None => serde_json::to_string(&one(Id::NULL)),
            CallIds::One(id) => serde_json::to_string(&one(id)),
            CallIds::Each(ids) => {
                let errors: Vec<_> = ids.into_iter().map(one).collect();
                serde_json::to_string(&errors)
            }
        };
        self.finish(body.unwrap_or_default())
    }

    /// The response to a message without a call: JSON, but no JSON-RPC, which would need an id.
    pub fn respond_plainly(self) -> Response {
        let body = serde_json::json!({
            "error": self.refused.unwrap_or("error"),
            "error_description": self.message,
        });
        self.finish(body.to_string())
    }

    fn finish(self, body: String) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (self.status, headers, body).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(RequestLogFields {
            refused: self.refused,
            reason: Some(self.reason.unwrap_or(self.message)),
            ..RequestLogFields::default()
        });
        response
    }
}

#[derive(Clone, Copy, Serialize)]
struct ErrorObject<'a> {
    code: i64,
    message: &'a str,
}

#[derive(Serialize)]
struct ErrorMessage<'a> {
    jsonrpc: &'static str,
    id: Id<'a>,
    error: ErrorObject<'a>,
}

/// The error for a call that has no response of the upstream, and its log line.
pub fn failed(authorized: Authorized<'_>, failure: &Failure) -> McpError {
    let Authorized {
        app,
        caller,
        connection,
        ..
    } = authorized;
    let host = app.upstream.host();
    let reference = &caller.request_id;
    let (status, word, message) = match failure {
        Failure::Unreachable(_) => (
            StatusCode::BAD_GATEWAY,
            "upstream_unreachable",
            format!(
                "the MCP server at {host} cannot be reached; try again (reference {reference})"
            ),
        ),
        Failure::Silent(after) => (
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_silent",
            format!(
                "the MCP server at {host} did not answer within {} s (reference {reference})",
                after.as_secs()
            ),
        ),
        Failure::Redirect(status) => (
            StatusCode::BAD_GATEWAY,
            "upstream_redirect",
            format!(
                "the MCP server at {host} answered with a redirect ({}) that is not followed; \
                     its owner should correct UPSTREAM_MCP (reference {reference})",
                status.as_u16()
            ),
        ),
        Failure::CredentialRefused => (
            StatusCode::BAD_GATEWAY,
            "upstream_credential_refused",
            format!(
                "the MCP server at {host} refused the access token that this proxy holds for it; the owner of \
                     the proxy must replace it. Your own connection is fine (reference {reference})"
            ),
        ),
        Failure::RedirectedTooLate(reason) => {
            let (status, because) = not_kept(*reason);
            (
                status,
                "body_not_kept",
                format!(
                    "the MCP server at {host} redirected this call, and it cannot be sent a second time: {because} \
                     (reference {reference})"
                ),
            )
        }
        Failure::CredentialReplaced(reason) => {
            let (_, because) = not_kept(*reason);
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "body_not_kept",
                format!(
                    "the access token for the MCP server at {host} was replaced a moment ago, and this call cannot \
                     be sent a second time: {because}; with the new token a further try may succeed (reference \
                     {reference})"
                ),
            )
        }
        Failure::ClientGone => (
            StatusCode::BAD_REQUEST,
            "client_gone",
            "the connection ended before the request's body was complete".to_owned(),
        ),
    };
    let detail = match failure {
        Failure::Unreachable(detail) => detail.as_str(),
        _ => "",
    };
    tracing::warn!(
        event = word,
        detail,
        host,
        connection = connection.id.as_str(),
        client_id = connection.client_id(),
        request_id = caller.request_id,
        "the upstream gave no response to pass on"
    );
    let error = McpError::new(status, SERVER_ERROR, message).logged_as(word);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        error.with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
    } else {
        error
    }
}

/// Why a request cannot be sent again, and the status code: 413 if the client has to send less, 503 if it may simply
/// try again.
pub fn not_kept(reason: NotKept) -> (StatusCode, &'static str) {
    match reason {
        NotKept::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "its body is longer than 6 MB (6,291,456 bytes)",
        ),
        NotKept::BudgetUsedUp => (
            StatusCode::SERVICE_UNAVAILABLE,
            "its body found no room in the 64 MB that are kept for all calls together; try again when fewer are \
             under way",
        ),
        NotKept::TooSlow => (
            StatusCode::SERVICE_UNAVAILABLE,
            "its body took longer than 20 seconds to arrive",
        ),
    }
}
