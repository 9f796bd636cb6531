//! The two kinds of errors that the authorization server responds with: OAuth's JSON for programs, a page for people.
//! (Errors of the MCP endpoint are JSON-RPC: `mcp/error.rs`.)

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;

use super::response::{self, RequestLogFields};
use crate::{
    error::Unavailable,
    oauth::error::{ErrorCode, OAuthError},
    page::{ErrorPage, PageLink},
};

/// Seconds after which something that is unavailable may be back.
const UNAVAILABLE_RETRY_SECONDS: u64 = 5;

/// An error in OAuth's JSON form (RFC 6749 §5.2, RFC 7591 §3.2.2).
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    error: OAuthError,
    retry_after_seconds: Option<u64>,
    challenge_basic: bool,
}

impl ApiError {
    /// An error with a status of its own.
    pub fn new(status: StatusCode, error: OAuthError) -> Self {
        Self {
            status,
            error,
            retry_after_seconds: None,
            challenge_basic: false,
        }
    }

    /// 429 (RFC 6585 §4). The code is RFC 6749's for a server that is asked too much; RFC 7591 has none.
    pub fn too_many_requests(retry_after_seconds: u64, description: &'static str) -> Self {
        let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, description);
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, error)
        }
    }

    /// A client that tried Basic gets a challenge for it with a 401 (RFC 6749 §5.2).
    pub fn challenging_basic(mut self, tried_basic: bool) -> Self {
        self.challenge_basic = tried_basic;
        self
    }
}

impl From<OAuthError> for ApiError {
    fn from(error: OAuthError) -> Self {
        let status = match error.code {
            // RFC 6749 §5.2
            ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
            ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

/// 503, never 401: that would make clients drop their session.
impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        log_unavailable(&error);
        let description = "the server cannot respond right now; try again in a few seconds";
        let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, description);
        Self {
            retry_after_seconds: Some(UNAVAILABLE_RETRY_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.error.code.as_str();
        let body = json!({ "error": code, "error_description": self.error.description });
        let mut response = response::json(self.status, &body);
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if self.challenge_basic && self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"oauth\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(RequestLogFields {
            refused: Some(code),
            reason: Some(self.error.description.to_string()),
            ..RequestLogFields::default()
        });
        response
    }
}

/// 404 for a path that is none of ours.
pub fn not_found() -> Response {
    let body =
        json!({ "error": "not_found", "error_description": "there is nothing at this path" });
    response::json(StatusCode::NOT_FOUND, &body)
}

/// 405 with the methods that the path takes (RFC 9110 §15.5.6).
pub fn method_not_allowed(allow: &'static str) -> Response {
    let error = OAuthError::invalid_request("this path does not take that method");
    let mut response = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, error).into_response();
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Links on the page of an error.
#[derive(Clone, Copy, Debug)]
enum Links {
    None,
    Connections,
    /// With the landing page, which can be switched off.
    All,
}

impl Links {
    fn pages(self) -> &'static [PageLink] {
        const PAGES: [PageLink; 2] = [
            PageLink {
                path: "/connections",
                text: "Connected apps",
            },
            PageLink {
                path: "/",
                text: "How to connect an app",
            },
        ];
        match self {
            Self::None => &[],
            Self::Connections => &PAGES[..1],
            Self::All => &PAGES,
        }
    }
}

/// An error that can only be shown to the person.
#[derive(Debug)]
pub struct PageError {
    status: StatusCode,
    title: &'static str,
    /// What happened.
    what: &'static str,
    /// What the person can do.
    todo: &'static str,
    links: Links,
    details: Option<String>,
    retry_after_seconds: Option<u64>,
    /// The request's id, which the log line has too.
    reference: Option<String>,
}

impl PageError {
    /// A page that says what happened, and what to do.
    pub fn new(
        status: StatusCode,
        title: &'static str,
        what: &'static str,
        todo: &'static str,
    ) -> Self {
        Self {
            status,
            title,
            what,
            todo,
            links: Links::None,
            details: None,
            retry_after_seconds: None,
            reference: None,
        }
    }

    /// A form that cannot be read; `todo` says how to get a fresh one.
    pub fn unreadable_form(error: ApiError, todo: &'static str) -> Self {
        let what = "The form arrived in a shape that this server cannot read.";
        Self::new(error.status, "That did not work", what, todo)
            .with_details(error.error.description)
    }

    /// A path at which there is nothing.
    pub fn nothing_here(landing_page: bool) -> Self {
        let what = "There is no page at this address.";
        let todo = "Check the address for typing errors.";
        Self {
            links: if landing_page {
                Links::All
            } else {
                Links::Connections
            },
            ..Self::new(StatusCode::NOT_FOUND, "Page not found", what, todo)
        }
    }

    /// With a sentence for whoever knows OAuth.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// With `Retry-After`.
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// With the request's id, for the person who reads the log.
    pub fn with_reference(mut self, request_id: &str) -> Self {
        self.reference = Some(request_id.to_owned());
        self
    }
}

impl From<Unavailable> for PageError {
    fn from(error: Unavailable) -> Self {
        log_unavailable(&error);
        let (what, todo) = if error.operator {
            (
                "This server is not set up completely yet.",
                "If it is yours, look at its log: the line with the reference below says what is missing.",
            )
        } else {
            (
                "This server cannot respond right now.",
                "Wait a moment and try again.",
            )
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available", what, todo)
            .with_retry_after(UNAVAILABLE_RETRY_SECONDS)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let page = ErrorPage {
            title: self.title,
            what: self.what,
            todo: self.todo,
            links: self.links.pages(),
            details: self.details.as_deref(),
            reference: self.reference.as_deref().unwrap_or_default(),
        };
        let mut response = response::page(self.status, page.render());
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(RequestLogFields {
            refused: Some("page"),
            reason: Some(self.details.unwrap_or_else(|| self.title.to_owned())),
            ..RequestLogFields::default()
        });
        response
    }
}

/// The one line that says why; the response says it to nobody.
fn log_unavailable(error: &Unavailable) {
    tracing::error!(event = "unavailable", what = error.what, operator = error.operator, detail = %error);
}
