//! `POST /register` (RFC 7591).

use axum::{body::Body, response::Response};
use http::{Request, StatusCode, header::RETRY_AFTER};

use super::{
    answer::{self, Refusal},
    body,
};
use crate::{
    app::{App, Caller},
    credential::Plain,
    oauth::{
        client::ClientMetadata,
        client_auth::AuthMethod,
        error::{ErrorCode, OAuthError},
    },
    store::record::Client,
};

/// Seconds a client lives until its first grant.
const UNUSED: u64 = 86_400;

/// Registers a client.
pub async fn post(app: &App, caller: &Caller, request: Request<Body>) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let body = body::json(&parts.headers, body).await?;
    let metadata = ClientMetadata::from_registration(&body)?;

    let now = app.clock.now();
    // Each registration is a write that a stranger makes us pay for. One that is refused costs nothing.
    if let Err(wait) = app.strangers.take(caller.address, now) {
        return Ok(too_many(caller, wait));
    }
    let client_id = uuid::Builder::from_random_bytes(app.randomness.bytes())
        .into_uuid()
        .to_string();
    let secret =
        (metadata.auth_method != AuthMethod::None).then(|| Plain::draw("mcp_cs_", &app.randomness));
    let client = Client {
        client_id,
        client_name: metadata.client_name.clone(),
        redirect_uris: metadata.redirect_uris.clone(),
        auth_method: metadata.auth_method,
        secret: secret.as_ref().map(Plain::fingerprint),
        refresh: metadata.refresh,
        verified_host: None,
        expires_at: now + UNUSED,
    };
    app.store.put_client(&client).await?;

    tracing::info!(
        event = "registered",
        client_id = client.client_id,
        client_name = client.client_name,
        address = caller.address_text(),
        "a client registered"
    );
    let answer =
        metadata.to_registration_answer(&client.client_id, now, secret.as_ref().map(Plain::expose));
    Ok(answer::json(StatusCode::CREATED, &answer))
}

/// 429 in the RFC's form (RFC 7591 §3.2.2, RFC 6585 §4); the code is RFC 6749's word for a server that is asked
/// too much, since RFC 7591 has none.
fn too_many(caller: &Caller, wait: u64) -> Response {
    tracing::warn!(
        event = "registrations_limited",
        address = caller.address_text(),
        "an address registers too often"
    );
    let error = OAuthError::new(
        ErrorCode::TemporarilyUnavailable,
        "too many registrations from this address; try again later",
    );
    let mut answer = answer::oauth_error(StatusCode::TOO_MANY_REQUESTS, &error);
    answer.headers_mut().insert(RETRY_AFTER, wait.into());
    answer
}
