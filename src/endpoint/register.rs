//! `POST /register` (RFC 7591).

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};

use super::{
    answer::{self, Refusal},
    body,
};
use crate::{
    app::{App, Caller},
    credential::Plain,
    oauth::{client::ClientMetadata, client_auth::AuthMethod},
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
