//! The pages of the authorization endpoint.

use axum::response::Response;
use http::StatusCode;

use crate::{
    app::App,
    config::UpstreamConfig,
    endpoint::{error::PageError, response},
    oauth::redirect_uri::RedirectUri,
    page::{Connected, Consent, Notice},
    store::record::PendingConsent,
};

const CONNECT_AGAIN: &str = "Go back to the app that sent you here and connect again.";
const ADD_AGAIN: &str = "Remove the connector in the app and add it again.";

/// The consent page: who asks, what for, and until when.
pub fn consent(
    app: &App,
    status: StatusCode,
    page_id: &str,
    pending: &PendingConsent,
    notice: Option<Notice>,
) -> Response {
    let client = &pending.client;
    let days = app.config.lifetimes.refresh_token / 86_400;
    let lifetime = if client.refresh {
        format!("{days} days after its last use")
    } else {
        format!("{days} days from now")
    };
    let page = Consent {
        page_id,
        client_name: client.client_name.as_deref(),
        verified_host: client.verified_host.as_deref(),
        redirect_host: pending.redirect_uri.display_host(),
        redirect_uri: pending.redirect_uri.as_str(),
        loopback_only: client.redirect_uris.iter().all(RedirectUri::is_loopback),
        upstream_host: app.upstream.host(),
        restrictions: &restrictions(app.upstream.config()),
        lifetime: &lifetime,
        notice,
    };
    response::page(status, page.render())
}

/// What pinned headers take away, in words where we know them. Only `X-MCP-…` ones are shown: another could
/// hold a key.
fn restrictions(upstream: &UpstreamConfig) -> Vec<String> {
    let shown = upstream
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-mcp-"));
    shown
        .filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some(match name.as_str() {
                "x-mcp-readonly" if value == "true" => "read-only".to_owned(),
                "x-mcp-toolsets" => format!("only these toolsets: {}", spaced(value)),
                "x-mcp-tools" => format!("only these tools: {}", spaced(value)),
                name => format!("{name}: {value}"),
            })
        })
        .collect()
}

/// A list with room to breathe, and to break lines.
fn spaced(list: &str) -> String {
    list.split(',')
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The page's code was redeemed already.
pub fn already_connected(pending: &PendingConsent) -> Response {
    let client_name = pending.client.client_name.as_deref();
    response::page(StatusCode::OK, Connected { client_name }.render())
}

/// Not a request that can be reported to the client, since its redirect URI is not proven.
pub fn bad_link(details: impl Into<String>) -> PageError {
    let what = "The app that sent you here made a request that this server cannot accept.";
    PageError::new(
        StatusCode::BAD_REQUEST,
        "This link does not work",
        what,
        ADD_AGAIN,
    )
    .with_details(details)
}

/// Nobody registered this client.
pub fn unknown_client() -> PageError {
    let what = "The app that sent you here is not known to this server, or no longer.";
    PageError::new(StatusCode::BAD_REQUEST, "Unknown app", what, ADD_AGAIN)
        .with_details("client_id is not registered here.")
}

/// The client's document cannot be fetched, or is not acceptable.
pub fn bad_document(reason: String) -> PageError {
    let what = "The app that sent you here describes itself in a document that could not be read.";
    let todo = "Try again in a few minutes; if it stays like this, tell whoever makes the app.";
    let title = "The app could not be checked";
    PageError::new(StatusCode::BAD_REQUEST, title, what, todo).with_details(reason)
}

/// The address has opened too many pages.
pub fn too_many_pages(retry_after_seconds: u64) -> PageError {
    let what = "Too many pages like this were opened from your address.";
    let todo = "Wait a minute, then connect again.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    PageError::new(status, "Too many requests", what, todo).with_retry_after(retry_after_seconds)
}

/// The form came from another site, or from another browser than the page was opened in.
pub fn not_from_this_browser() -> PageError {
    let what = "This form was not opened in this browser, or cookies are switched off.";
    let title = "Not from this browser";
    PageError::new(StatusCode::FORBIDDEN, title, what, CONNECT_AGAIN)
}

/// The page's ten minutes are over, or the person refused on it.
pub fn expired() -> PageError {
    let what = "This page was open for too long, or was answered already.";
    let title = "This page has expired";
    PageError::new(StatusCode::BAD_REQUEST, title, what, CONNECT_AGAIN)
}

/// The form is not as the page sends it.
pub fn unreadable_form(error: crate::endpoint::error::ApiError) -> PageError {
    PageError::unreadable_form(error, CONNECT_AGAIN)
}
