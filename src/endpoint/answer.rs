//! Answers: JSON, pages, and the one place where errors are worded for whoever must act.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER,
        WWW_AUTHENTICATE,
    },
};
use serde_json::{Value, json};

use crate::{
    app::Caller,
    error::Unavailable,
    oauth::error::{ErrorCode, OAuthError},
    page::{ErrorPage, Page},
};

/// What a request did, for its log line. Travels in the answer's extensions.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// The connection it belonged to.
    pub connection: Option<String>,
    /// The client it came from.
    pub client_id: Option<String>,
    /// Milliseconds spent in the store.
    pub store_ms: Option<u128>,
    /// Milliseconds until the upstream's answer began.
    pub upstream_ms: Option<u128>,
    /// An OAuth error code, or a word of ours, when the request was refused.
    pub refused: Option<&'static str>,
    /// What was wrong with it, in our own words.
    pub reason: Option<String>,
}

/// Marks an answer as a page for people: no CORS there.
#[derive(Clone, Copy, Debug)]
pub struct IsPage;

/// Why an endpoint of the authorization server does not do what was asked.
#[derive(Debug)]
pub enum Refusal {
    /// The client must act.
    Client(OAuthError),
    /// The client must act, and the request could not be read at all: a status of its own.
    Unreadable(StatusCode, OAuthError),
    /// We, or the operator, must act.
    Ours(Unavailable),
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        Self::Client(error)
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        Self::Ours(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Client(error) => {
                let status = match error.code {
                    // RFC 6749 §5.2
                    ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
                    _ => StatusCode::BAD_REQUEST,
                };
                oauth_error(status, &error)
            }
            Self::Unreadable(status, error) => oauth_error(status, &error),
            Self::Ours(error) => {
                tracing::error!(event = "unavailable", what = error.what, operator = error.operator, detail = %error);
                let description = "the server cannot answer right now; try again in a few seconds";
                let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, description);
                let mut answer = oauth_error(StatusCode::SERVICE_UNAVAILABLE, &error);
                answer
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_static("5"));
                answer
            }
        }
    }
}

/// A JSON answer which nobody may keep (RFC 6749 §5.1).
pub fn json(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body.to_string()).into_response()
}

/// An error answer (RFC 6749 §5.2, RFC 7591 §3.2.2).
pub fn oauth_error(status: StatusCode, error: &OAuthError) -> Response {
    let body = json!({ "error": error.code.as_str(), "error_description": error.description });
    let mut answer = json(status, &body);
    answer.extensions_mut().insert(Noted {
        refused: Some(error.code.as_str()),
        reason: Some(error.description.to_string()),
        ..Noted::default()
    });
    answer
}

/// Adds the challenge that a client gets which tried Basic (RFC 6749 §5.2).
pub fn challenge_basic(mut answer: Response) -> Response {
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"oauth\""),
        );
    }
    answer
}

/// A redirect of the person's browser. 303 after a POST, so that the form is not sent along.
pub fn redirect(status: StatusCode, to: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(to) else {
        return oauth_error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &OAuthError::new(ErrorCode::ServerError, "bad redirect"),
        );
    };
    let mut answer = (status, Body::empty()).into_response();
    answer.headers_mut().insert(LOCATION, location);
    page_headers(&mut answer, "default-src 'none'; frame-ancestors 'none'");
    answer
}

/// A page for a person.
pub fn page(status: StatusCode, page: Page) -> Response {
    let mut answer = (
        status,
        [(CONTENT_TYPE, "text/html; charset=utf-8")],
        page.html,
    )
        .into_response();
    page_headers(&mut answer, &page.content_security_policy);
    answer
}

/// The head of a page of which only its GET can tell how long it is (RFC 9110 §8.6: no length is better than a wrong
/// one). Answers HEAD.
pub fn page_of_unknown_length() -> Response {
    let body = Body::from_stream(stream::empty::<Result<Bytes, std::convert::Infallible>>());
    let mut answer = (
        StatusCode::OK,
        [(CONTENT_TYPE, "text/html; charset=utf-8")],
        body,
    )
        .into_response();
    page_headers(&mut answer, "default-src 'none'; frame-ancestors 'none'");
    answer
}

/// The headers of every page. No `form-action` in the policy: browsers apply it to the whole chain of
/// redirects, up to `claude://`.
fn page_headers(answer: &mut Response, policy: &str) {
    let headers = answer.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=()",
        ),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer.extensions_mut().insert(IsPage);
}

/// An error that can only be shown to the person.
pub fn error_page(
    caller: &Caller,
    status: StatusCode,
    title: &str,
    what: &str,
    todo: &str,
    details: Option<&str>,
) -> Response {
    let rendered = ErrorPage {
        title,
        what,
        todo,
        details,
        reference: &caller.request_id,
    }
    .render();
    let mut answer = page(status, rendered);
    answer.extensions_mut().insert(Noted {
        refused: Some("page"),
        reason: Some(details.unwrap_or(title).to_owned()),
        ..Noted::default()
    });
    answer
}

/// The page for something that we, or the operator, must mend.
pub fn unavailable_page(caller: &Caller, error: &Unavailable) -> Response {
    tracing::error!(event = "unavailable", what = error.what, operator = error.operator, detail = %error);
    let (what, todo) = if error.operator {
        (
            "This server is not set up completely yet.",
            "If it is yours, look at its log: the line with the reference below says what is missing.",
        )
    } else {
        (
            "This server cannot answer right now.",
            "Wait a moment and try again.",
        )
    };
    let mut answer = error_page(
        caller,
        StatusCode::SERVICE_UNAVAILABLE,
        "Not available",
        what,
        todo,
        None,
    );
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}
