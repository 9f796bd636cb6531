//! Checks the access token. Without a valid one the response is 401 (RFC 6750, RFC 9728).

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use serde_json::json;

use crate::{
    app::{App, Caller},
    credential::{AccessToken, Fingerprint},
    endpoint::response::{self, RequestLogFields},
    error::Unavailable,
    oauth::{
        bearer::{self, PresentedBearer},
        error::ErrorCode,
        metadata, scope,
    },
    store::record::{Connection, Stage},
};

/// What the functions that handle a request with a valid access token need.
#[derive(Clone, Copy)]
pub struct Authorized<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub connection: &'a Connection,
    /// Fingerprint of the access token.
    pub token: &'a Fingerprint,
}

/// Why a request is refused.
pub enum Denied {
    /// It has no valid access token.
    Unauthorized(Unauthorized),
    /// The store is unavailable, so the access token cannot be checked.
    Unavailable(Unavailable),
}

/// 401 with the challenge (RFC 6750 §3, RFC 9728 §5.1). The body repeats it, because a Function URL renames the header.
pub struct Unauthorized {
    resource_metadata: String,
    /// `None` if no token was presented: then the challenge contains no error code (RFC 6750 §3.1).
    error: Option<(ErrorCode, &'static str)>,
}

const MALFORMED: (ErrorCode, &str) = (
    ErrorCode::InvalidToken,
    "the Authorization header contains no bearer token",
);
const INVALID: (ErrorCode, &str) = (
    ErrorCode::InvalidToken,
    "the access token is unknown, expired or revoked",
);

impl IntoResponse for Unauthorized {
    fn into_response(self) -> Response {
        let code = self.error.map(|(code, _)| code.as_str());
        let description = self.error.map_or(
            "this MCP server needs an OAuth access token",
            |(_, what)| what,
        );
        let body = json!({
            "error": code.unwrap_or("unauthorized"),
            "error_description": description,
            "resource_metadata": self.resource_metadata,
            "scope": scope::MCP,
        });
        let mut response = response::json(StatusCode::UNAUTHORIZED, &body);
        let challenge = bearer::challenge(&self.resource_metadata, scope::MCP, code);
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(RequestLogFields {
            refused: Some(code.unwrap_or("unauthorized")),
            ..RequestLogFields::default()
        });
        response
    }
}

/// When this access token expires; `None` if the connection has no such token, or not any more.
pub fn token_expires_at(connection: &Connection, token: &Fingerprint) -> Option<u64> {
    let live = connection.stage == Stage::Live;
    live.then(|| connection.access_token_expires_at(token))?
}

/// Checks the access token and returns its connection and its fingerprint. Uses one strongly consistent read, so that a connection that was
/// ended is refused at the next request.
pub async fn authorized(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    path: &str,
) -> Result<(Connection, Fingerprint), Denied> {
    let unauthorized = |error| {
        Denied::Unauthorized(Unauthorized {
            resource_metadata: metadata::protected_resource_url(&caller.base, path),
            error,
        })
    };
    let token = match bearer::presented(headers) {
        PresentedBearer::Missing => return Err(unauthorized(None)),
        PresentedBearer::Malformed => return Err(unauthorized(Some(MALFORMED))),
        PresentedBearer::Token(token) => token,
    };
    let Some(token) = AccessToken::parse(token) else {
        return Err(unauthorized(Some(INVALID)));
    };
    let (now, fingerprint) = (app.clock.now(), token.fingerprint());
    let connection = app.store.connection(token.id(), now).await;
    let connection = connection
        .map_err(Denied::Unavailable)?
        .filter(|connection| connection.grant().is_some() || app.config.manual_tokens)
        .filter(|connection| {
            token_expires_at(connection, &fingerprint).is_some_and(|end| now < end)
        })
        .filter(|connection| {
            app.bases(caller)
                .any(|base| base.as_str() == connection.issuer)
        })
        .ok_or_else(|| unauthorized(Some(INVALID)))?;
    Ok((connection, fingerprint))
}
