//! Whose access token it is, and the 401 for whoever has none (RFC 6750, RFC 9728).

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use serde_json::json;

use crate::{
    app::{App, Caller},
    credential::AccessToken,
    endpoint::response::{self, RequestLog},
    error::Unavailable,
    oauth::{
        bearer::{self, PresentedBearer},
        error::ErrorCode,
        metadata, scope,
    },
    store::record::{Connection, Stage},
};

/// A request whose access token is valid: what handles it needs these three.
#[derive(Clone, Copy)]
pub struct Authorized<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub connection: &'a Connection,
}

/// Why a request goes no further.
pub enum Denied {
    /// It has no valid access token: the 401.
    Unauthorized(Box<Response>),
    /// Nobody can tell now.
    Unavailable(Unavailable),
}

/// The connection whose access token was presented. One strongly consistent read: ending a connection acts on
/// the next request.
pub async fn authorized(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    path: &str,
) -> Result<Connection, Denied> {
    let refuse = |error| Denied::Unauthorized(Box::new(unauthorized(caller, path, error)));
    let token = match bearer::presented(headers) {
        PresentedBearer::Missing => return Err(refuse(None)),
        PresentedBearer::Malformed => {
            return Err(refuse(Some((
                ErrorCode::InvalidToken,
                "the Authorization header holds no bearer token",
            ))));
        }
        PresentedBearer::Token(token) => token,
    };
    let invalid = (
        ErrorCode::InvalidToken,
        "the access token is unknown, expired or revoked",
    );
    let Some(token) = AccessToken::parse(token) else {
        return Err(refuse(Some(invalid)));
    };
    let now = app.clock.now();
    let connection = app.store.connection(token.id(), now).await;
    connection
        .map_err(Denied::Unavailable)?
        .filter(|connection| connection.stage == Stage::Live)
        .filter(|connection| {
            connection
                .access_token_expires_at(&token.fingerprint())
                .is_some_and(|end| now < end)
        })
        .filter(|connection| {
            app.bases(caller)
                .any(|base| base.as_str() == connection.issuer)
        })
        .ok_or_else(|| refuse(Some(invalid)))
}

/// 401 with the challenge (RFC 6750 §3, RFC 9728 §5.1). The body repeats it, because a Function URL renames
/// the header on its way out.
fn unauthorized(caller: &Caller, path: &str, error: Option<(ErrorCode, &'static str)>) -> Response {
    let resource_metadata = metadata::protected_resource_url(&caller.base, path);
    let code = error.map(|(code, _)| code.as_str());
    let body = json!({
        "error": code.unwrap_or("unauthorized"),
        "error_description": error.map_or("this MCP server needs an OAuth access token", |(_, what)| what),
        "resource_metadata": resource_metadata,
        "scope": scope::MCP,
    });
    let mut response = response::json(StatusCode::UNAUTHORIZED, &body);
    let challenge = bearer::challenge(&resource_metadata, scope::MCP, code);
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response.extensions_mut().insert(RequestLog {
        refused: Some(code.unwrap_or("unauthorized")),
        ..RequestLog::default()
    });
    response
}
