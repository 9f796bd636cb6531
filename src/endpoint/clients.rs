//! Finding a client, wherever it is known from, and letting it prove itself.

use subtle::ConstantTimeEq as _;

use super::{
    client_lookup::{Found, Lookup, NotFound},
    documents,
    error::ApiError,
};
use crate::{
    app::{App, Caller},
    config::Registration,
    credential::{Fingerprint, SecretString},
    error::Unavailable,
    oauth::{
        client_auth::{AuthMethod, PresentedClient},
        error::{ErrorCode, OAuthError},
    },
    secrets::PreRegistered,
    store::record::{Client, NEVER_EXPIRES},
};

/// Seconds for which a client is kept from its last grant or refresh. Claude Desktop cannot recover when its client is
/// gone.
pub const CLIENT_LIFETIME_SECONDS: u64 = 365 * 86_400;

/// Longest id of a client without a document, as long as that of one with a document.
const MAX_CLIENT_ID_BYTES: usize = 500;

/// Whether the id is the URL of a client-id document.
pub fn is_document(client_id: &str) -> bool {
    client_id.starts_with("https://")
}

/// A client that registered or was registered by hand; documents are another matter.
async fn registered(
    app: &App,
    client_id: &str,
    lookup: Lookup<'_>,
) -> Result<Option<Client>, Unavailable> {
    // Ids of ours are 36 characters; the bound keeps hostile ones out of the store's keys.
    if client_id.len() > MAX_CLIENT_ID_BYTES || is_document(client_id) {
        return Ok(None);
    }
    let secret = app.secrets.get().await?;
    if let Some(client) = secret
        .clients
        .iter()
        .find(|client| client.client_id == client_id)
    {
        return Ok(Some(by_hand(client)));
    }
    if app.config.registration != Registration::Open {
        return Ok(None);
    }
    let now = app.clock.now();
    match lookup {
        // The write returns the client as it is now: no read is needed.
        Lookup::Grant => {
            let expires_at = now + CLIENT_LIFETIME_SECONDS;
            app.store.extend_client(client_id, expires_at, now).await
        }
        Lookup::Fetch(_) | Lookup::Keep => app.store.client(client_id, now).await,
    }
}

fn by_hand(client: &PreRegistered) -> Client {
    Client {
        client_id: client.client_id.clone(),
        client_name: client.client_name.clone(),
        redirect_uris: client.redirect_uris.clone(),
        auth_method: if client.client_secret.is_some() {
            AuthMethod::ClientSecret
        } else {
            AuthMethod::None
        },
        secret: client.client_secret.as_ref().map(SecretString::fingerprint),
        refresh: true,
        verified_host: None,
        expires_at: NEVER_EXPIRES,
    }
}

/// Lets a client prove itself by the method it registered with (RFC 6749 §3.2.1).
pub fn authenticate(
    presented: &PresentedClient,
    registered: AuthMethod,
    secret: Option<&Fingerprint>,
) -> Result<(), OAuthError> {
    let right = match (&presented.client_secret, secret) {
        (None, None) => registered == AuthMethod::None,
        (Some(presented), Some(secret)) => {
            let presented = Fingerprint::of(presented);
            bool::from(
                presented
                    .as_str()
                    .as_bytes()
                    .ct_eq(secret.as_str().as_bytes()),
            )
        }
        // A public client that sends a secret, or a confidential one without.
        _ => false,
    };
    if right && registered.allows(presented.method) {
        Ok(())
    } else {
        Err(OAuthError::new(
            ErrorCode::InvalidClient,
            "the client could not be authenticated as it is registered",
        ))
    }
}

/// The same on the failing path, where no connection says how the client is registered.
pub async fn authenticate_alone(app: &App, presented: &PresentedClient) -> Result<(), ApiError> {
    if is_document(&presented.client_id) {
        // Clients with a document are public; its content does not matter here.
        return Ok(authenticate(presented, AuthMethod::None, None)?);
    }
    match registered(app, &presented.client_id, Lookup::Keep).await? {
        Some(client) => Ok(authenticate(
            presented,
            client.auth_method,
            client.secret.as_ref(),
        )?),
        None => Err(OAuthError::new(
            ErrorCode::InvalidClient,
            "the client is not known here; register again",
        )
        .into()),
    }
}

/// The client with this id, wherever it is known from.
pub async fn find(
    app: &App,
    caller: &Caller,
    client_id: &str,
    lookup: Lookup<'_>,
) -> Result<Found, NotFound> {
    if is_document(client_id) && app.config.registration != Registration::Closed {
        return match lookup {
            Lookup::Fetch(headers) => documents::client(app, caller, headers, client_id).await,
            Lookup::Keep | Lookup::Grant => documents::kept_client(app, client_id)
                .await
                .map(Found::from),
        };
    }
    registered(app, client_id, lookup)
        .await?
        .map(Found::from)
        .ok_or(NotFound::NotRegistered)
}
