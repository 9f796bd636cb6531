//! `POST /revoke` (RFC 7009).

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};
use serde_json::json;

use super::{
    answer::{self, Refusal},
    body, clients,
};
use crate::{
    app::{App, Caller},
    credential::{AccessToken, Fingerprint, RefreshToken},
    oauth::{
        client_auth::PresentedClient,
        error::{ErrorCode, OAuthError},
    },
    store::record::Connection,
};

/// Revokes a token: a current one ends its connection, a superseded one only itself. Unknown ones answer 200
/// (RFC 7009 §2.2). `token_type_hint` is not needed: our tokens say what they are.
pub async fn post(app: &App, caller: &Caller, request: Request<Body>) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let params = body::params(&parts.headers, body, true).await?;
    params.no_duplicates()?;
    let token = params.required("token")?;
    let client = PresentedClient::read(&parts.headers, &params)?;

    let presented = Presented::parse(token);
    let connection = match &presented {
        Some(token) => {
            app.store
                .connection(token.connection(), app.clock.now())
                .await?
        }
        None => None,
    };
    let known =
        connection.and_then(|connection| Some((presented?.place(&connection)?, connection)));
    let Some((place, connection)) = known else {
        clients::authenticate_alone(app, &client).await?;
        return Ok(done());
    };
    if connection.client_id != client.client_id {
        clients::authenticate_alone(app, &client).await?;
        return Err(OAuthError::new(
            ErrorCode::InvalidGrant,
            "the token was issued to another client",
        )
        .into());
    }
    clients::authenticate(
        &client,
        connection.auth_method,
        connection.client_secret.as_ref(),
    )?;

    match &place {
        Place::Current => app.store.end_connection(&connection.id).await?,
        Place::PreviousAccess(token) => {
            app.store
                .end_previous_access_token(&connection.id, token)
                .await?;
        }
        Place::PreviousRefresh(token) => {
            app.store
                .end_previous_refresh_token(&connection.id, token)
                .await?;
        }
    }
    tracing::info!(
        event = "revoked",
        by = "client",
        whole = matches!(place, Place::Current),
        connection = connection.id.as_str(),
        client_id = connection.client_id,
        address = caller.address_text(),
        "a token was revoked"
    );
    Ok(done())
}

enum Presented {
    Access(AccessToken),
    Refresh(RefreshToken),
}

/// What the token is to its connection.
enum Place {
    Current,
    PreviousAccess(Fingerprint),
    PreviousRefresh(Fingerprint),
}

impl Presented {
    fn parse(token: &str) -> Option<Self> {
        AccessToken::parse(token)
            .map(Self::Access)
            .or_else(|| RefreshToken::parse(token).map(Self::Refresh))
    }

    fn connection(&self) -> &crate::credential::ConnectionId {
        match self {
            Self::Access(token) => token.id(),
            Self::Refresh(token) => token.id(),
        }
    }

    fn place(&self, connection: &Connection) -> Option<Place> {
        let (fingerprint, current, previous) = match self {
            Self::Access(token) => (
                token.fingerprint(),
                &connection.access,
                &connection.access_previous,
            ),
            Self::Refresh(token) => (
                token.fingerprint(),
                &connection.refresh,
                &connection.refresh_previous,
            ),
        };
        if current.as_ref() == Some(&fingerprint) {
            return Some(Place::Current);
        }
        (previous.as_ref() == Some(&fingerprint)).then_some(match self {
            Self::Access(_) => Place::PreviousAccess(fingerprint),
            Self::Refresh(_) => Place::PreviousRefresh(fingerprint),
        })
    }
}

fn done() -> Response {
    answer::json(StatusCode::OK, &json!({}))
}
