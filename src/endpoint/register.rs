//! `POST /register` (RFC 7591).

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};

use super::{body, error::ApiError, response};
use crate::{
    app::{App, Caller},
    credential::SecretString,
    oauth::{client::ClientMetadata, client_auth::AuthMethod},
    store::record::Client,
};

/// Seconds for which a client is kept that has no grant yet.
const UNUSED_CLIENT_LIFETIME_SECONDS: u64 = 86_400;

/// Registers a client.
pub async fn post(
    app: &App,
    caller: &Caller,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::json(&parts.headers, body).await?;
    let metadata = ClientMetadata::from_registration(&body)?;

    let now = app.clock.now();
    // Each registration is a write, which anybody can make us pay for. An invalid one costs nothing.
    app.write_limits
        .take(caller.address, now)
        .map_err(|wait| too_many_registrations(caller, wait))?;
    let client_id = uuid::Builder::from_random_bytes(app.randomness.bytes())
        .into_uuid()
        .to_string();
    let secret = (metadata.auth_method != AuthMethod::None)
        .then(|| SecretString::generate("mcp_cs_", &app.randomness));
    let client = Client {
        client_id,
        client_name: metadata.client_name.clone(),
        redirect_uris: metadata.redirect_uris.clone(),
        auth_method: metadata.auth_method,
        secret: secret.as_ref().map(SecretString::fingerprint),
        refresh: metadata.refresh,
        verified_host: None,
        expires_at: now + UNUSED_CLIENT_LIFETIME_SECONDS,
    };
    app.store.put_client(&client).await?;

    tracing::info!(
        event = "registered",
        client_id = client.client_id,
        client_name = client.client_name,
        address = caller.address_text(),
        "a client registered"
    );
    let registration = metadata.to_registration_response(
        &client.client_id,
        now,
        secret.as_ref().map(SecretString::expose),
    );
    Ok(response::json(StatusCode::CREATED, &registration))
}

fn too_many_registrations(caller: &Caller, wait: u64) -> ApiError {
    tracing::warn!(
        event = "registrations_limited",
        address = caller.address_text(),
        "an address registers too often"
    );
    let description = "too many registrations from this address; try again later";
    ApiError::too_many_requests(wait, description)
}
