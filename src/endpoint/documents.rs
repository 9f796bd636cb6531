//! Clients that describe themselves in a document at their id (draft-ietf-oauth-client-id-metadata-document).

use http::HeaderMap;

use super::{
    client_lookup::{Found, NotFound},
    write_limit,
};
use crate::{
    app::{App, Caller},
    client_document::{DocumentUrl, FetchError, Fetched, Validators, bundled},
    error::Unavailable,
    oauth::{client::ClientMetadata, resource::BaseUrl},
    store::record::{Client, NEVER_EXPIRES, StoredDocument},
};

/// Seconds for which the last valid copy is used while its origin fails.
const COPY_LIFETIME_SECONDS: u64 = 7 * 86_400;

/// The client that the document at this URL describes: a fresh copy, else the origin's, else the last good
/// copy, else the one that ships with the program. A document that is gone, or was read and is not acceptable, ends
/// the search: its publisher may mean it.
///
/// Anybody can make us fetch: each fetch takes from the caller's write limit, and what was fetched is only kept by
/// [`keep`], after the redirect URI was proven against it.
pub async fn client(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    client_id: &str,
) -> Result<Found, NotFound> {
    let url =
        DocumentUrl::parse(client_id).map_err(|error| NotFound::Document(error.to_string()))?;
    if app.bases(caller).any(|base| is_below(client_id, base)) {
        let reason = "The client id is an address of this server.";
        return Err(NotFound::Document(reason.to_owned()));
    }
    let now = app.clock.now();
    let copy = app.store.document(client_id, now).await?;
    if let Some(copy) = copy.as_ref().filter(|copy| now < copy.fresh_until) {
        return described(client_id, &url, &copy.body).map(Found::from);
    }
    write_limit::take(app, caller, headers).await?;
    let known = copy.as_ref().map(|copy| Validators {
        etag: copy.etag.clone(),
        last_modified: copy.last_modified.clone(),
    });
    match app.documents.fetch(&url, &known.unwrap_or_default()).await {
        Ok(fetched) => {
            let copy = renewed(fetched, copy, now)
                .ok_or_else(|| NotFound::Document(FetchError::Status(304).to_string()))?;
            // Checked before it is kept: an invalid one must not replace a valid one.
            let client = described(client_id, &url, &copy.body)?;
            Ok(Found {
                client,
                fetched: Some(copy),
            })
        }
        // Gone is gone: its publisher took it back.
        Err(error @ FetchError::Status(404 | 410)) => Err(NotFound::Document(error.to_string())),
        Err(error) => {
            let kept = copy.map(|copy| copy.body.into());
            let Some(body) = kept.or_else(|| bundled(client_id)) else {
                return Err(NotFound::Document(error.to_string()));
            };
            tracing::warn!(
                event = "document_unavailable",
                host = url.host(),
                detail = %error,
                "a copy of the client's document is used"
            );
            described(client_id, &url, &body).map(Found::from)
        }
    }
}

/// Keeps a document that was fetched, now that it has proven to be worth it.
pub async fn keep(
    app: &App,
    client_id: &str,
    fetched: Option<StoredDocument>,
) -> Result<(), Unavailable> {
    match fetched {
        Some(document) => app.store.put_document(client_id, &document).await,
        None => Ok(()),
    }
}

/// A fetch of our own address would make us call ourselves, again and again.
fn is_below(client_id: &str, base: &BaseUrl) -> bool {
    client_id
        .strip_prefix(base.as_str())
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The same from the copy that there is, for who may not make us fetch or write anything.
pub async fn kept_client(app: &App, client_id: &str) -> Result<Client, NotFound> {
    let url =
        DocumentUrl::parse(client_id).map_err(|error| NotFound::Document(error.to_string()))?;
    let copy = app.store.document(client_id, app.clock.now()).await?;
    let kept = copy.map(|copy| copy.body.into());
    match kept.or_else(|| bundled(client_id)) {
        Some(body) => described(client_id, &url, &body),
        None => Err(NotFound::NotFetched),
    }
}

fn renewed(fetched: Fetched, copy: Option<StoredDocument>, now: u64) -> Option<StoredDocument> {
    let until = |fresh_for: std::time::Duration| now + fresh_for.as_secs();
    match fetched {
        Fetched::Fresh {
            body,
            validators,
            fresh_for,
        } => Some(StoredDocument {
            body,
            etag: validators.etag,
            last_modified: validators.last_modified,
            fresh_until: until(fresh_for),
            expires_at: now + COPY_LIFETIME_SECONDS,
        }),
        Fetched::NotModified { fresh_for } => copy.map(|copy| StoredDocument {
            fresh_until: until(fresh_for),
            expires_at: now + COPY_LIFETIME_SECONDS,
            ..copy
        }),
    }
}

fn described(client_id: &str, url: &DocumentUrl, body: &str) -> Result<Client, NotFound> {
    let metadata = ClientMetadata::from_document(client_id, body.as_bytes())
        .map_err(|error| NotFound::Document(error.description.into_owned()))?;
    Ok(Client {
        client_id: client_id.to_owned(),
        client_name: metadata.client_name,
        redirect_uris: metadata.redirect_uris,
        auth_method: metadata.auth_method,
        secret: None,
        refresh: metadata.refresh,
        verified_host: Some(url.host().to_owned()),
        expires_at: NEVER_EXPIRES,
    })
}
