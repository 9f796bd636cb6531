//! `POST /revoke` (RFC 7009).

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};
use serde_json::json;

use super::{body, clients, error::ApiError, response};
use crate::{
    app::{App, Caller},
    credential::IssuedToken,
    oauth::{
        client_auth::PresentedClient,
        error::{ErrorCode, OAuthError},
    },
    store::record::{Connection, Revocation},
};

/// Revokes a token: a current one ends its connection, a superseded one only itself. An unknown one is no error
/// (RFC 7009 §2.2). `token_type_hint` is not needed: our tokens say what they are.
pub async fn post(
    app: &App,
    caller: &Caller,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let params = body::form_or_json(&parts.headers, body).await?;
    params.no_duplicates()?;
    let token = IssuedToken::parse(params.required("token")?);
    let connection = match &token {
        Some(token) => {
            app.store
                .connection(token.connection_id(), app.clock.now())
                .await?
        }
        None => None,
    };
    let revocation = token
        .zip(connection)
        .and_then(|(token, connection)| Some((connection.revocation(&token)?, connection)));
    // A token created by hand belongs to no client: whoever has it may end it.
    if let Some((revocation, connection)) = &revocation
        && connection.grant().is_none()
    {
        return end(app, caller, connection, revocation).await;
    }
    let client = PresentedClient::read(&parts.headers, &params)?.by_either_method();
    let revocation = revocation.and_then(|(revocation, connection)| {
        let grant = connection.grant().cloned()?;
        Some((revocation, connection, grant))
    });
    let Some((revocation, connection, grant)) = revocation else {
        clients::authenticate_alone(app, &client).await?;
        return Ok(done());
    };
    if grant.client_id != client.client_id {
        clients::authenticate_alone(app, &client).await?;
        let description = "the token was issued to another client";
        return Err(OAuthError::new(ErrorCode::InvalidGrant, description).into());
    }
    clients::authenticate(&client, grant.auth_method, grant.client_secret.as_ref())?;
    end(app, caller, &connection, &revocation).await
}

async fn end(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    revocation: &Revocation,
) -> Result<Response, ApiError> {
    app.store.revoke(&connection.id, revocation).await?;
    tracing::info!(
        event = "revoked",
        by = "client",
        whole = *revocation == Revocation::Connection,
        connection = connection.id.as_str(),
        client_id = connection.client_id(),
        address = caller.address_text(),
        "a token was revoked"
    );
    Ok(done())
}

fn done() -> Response {
    response::json(StatusCode::OK, &json!({}))
}
