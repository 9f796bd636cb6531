//! The pages of the authorization endpoint.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::ValidRequest;
use crate::{
    app::App,
    endpoint::{browser, client_lookup::NotFound, error::PageError, response},
    oauth::redirect_uri::RedirectUri,
    page::{Connected, Consent, Notice, display},
    store::record::Client,
};

const CONNECT_AGAIN: &str = "Go back to the app that sent you here and connect again.";
/// Redirect URIs that belong to apps which many people use: their https hosts, which nobody else receives a code for, and the
/// schemes that these apps register on a device. A warning on these pages too would teach people to ignore it.
const KNOWN_REDIRECT_HOSTS: [&str; 10] = [
    "claude.ai",
    "claude.com",
    "chatgpt.com",
    "www.cursor.com",
    "vscode.dev",
    "insiders.vscode.dev",
    "cursor:",
    "vscode:",
    "vscode-insiders:",
    "claude:",
];
/// Longest name of a client in a proposed name; with the system it is shorter than the longest name of a connection.
const MAX_PROPOSED_NAME_CHARACTERS: usize = 60;
const ADD_AGAIN: &str = "Remove the connector in the app and add it again.";

/// What the person has entered so far, and why it was not enough.
pub struct Entered {
    /// The name of the connection.
    pub name: String,
    /// Whether "Read only" is chosen.
    pub read_only: bool,
    /// Why the last PIN was not accepted.
    pub notice: Option<Notice>,
}

impl Entered {
    /// What the page proposes at first: the client's name, with the person's system if the client runs there.
    pub fn proposed(request: &ValidRequest, headers: &HeaderMap) -> Self {
        let mut name = request.client.client_name.clone().unwrap_or_default();
        let redirect_uri = &request.pending.redirect_uri;
        let runs_there = redirect_uri.is_loopback() || redirect_uri.display_host().ends_with(':');
        if let Some(platform) = browser::platform(headers)
            && runs_there
            && !name.is_empty()
        {
            name = format!(
                "{} on {platform}",
                display(&name, MAX_PROPOSED_NAME_CHARACTERS)
            );
        }
        Self {
            name,
            read_only: false,
            notice: None,
        }
    }
}

/// The consent page: who asks, what for, and until when.
pub fn consent(
    app: &App,
    status: StatusCode,
    page_id: &str,
    request: &ValidRequest,
    entered: &Entered,
) -> Response {
    let ValidRequest {
        client,
        pending,
        secret,
    } = request;
    let pinned = [&app.config.upstream.headers, &secret.upstream_headers];
    let page = Consent {
        page_id,
        client_name: client.client_name.as_deref(),
        verified_host: client.verified_host.as_deref(),
        known_redirect: KNOWN_REDIRECT_HOSTS.contains(&pending.redirect_uri.display_host()),
        redirect_host: pending.redirect_uri.display_host(),
        redirect_uri: pending.redirect_uri.as_str(),
        loopback_only: client.redirect_uris.iter().all(RedirectUri::is_loopback),
        upstream_name: &app.config.upstream.name,
        upstream_host: app.upstream.host(),
        restrictions: &restrictions(pinned.into_iter().flatten()),
        lifetime: &lifetime(app.config.lifetimes.refresh_token, client.refresh),
        connection_name: &entered.name,
        read_only: entered.read_only,
        notice: entered.notice,
    };
    response::page(status, page.render())
}

/// What pinned headers take away, in words. Only headers that are known to hold no key are shown; others are mentioned,
/// wherever they are pinned.
fn restrictions<'a>(
    pinned: impl IntoIterator<Item = &'a (HeaderName, HeaderValue)>,
) -> Vec<String> {
    let mut restrictions = Vec::new();
    let mut others = false;
    for (name, value) in pinned {
        let value = value.to_str().unwrap_or_default();
        match name.as_str() {
            "x-mcp-readonly" if value == "true" => restrictions.push("read-only".to_owned()),
            "x-mcp-lockdown" if value == "true" => restrictions.push("lockdown mode".to_owned()),
            "x-mcp-readonly" | "x-mcp-lockdown" => {}
            "x-mcp-toolsets" => {
                restrictions.push(format!("only these toolsets: {}", spaced(value)));
            }
            "x-mcp-tools" => restrictions.push(format!("only these tools: {}", spaced(value))),
            _ => others = true,
        }
    }
    if others {
        restrictions.push("further settings of the owner".to_owned());
    }
    restrictions
}

/// When a connection expires, in days, or in hours if it is less than two days.
fn lifetime(refresh_token_seconds: u64, refreshable: bool) -> String {
    let (number, unit) = match refresh_token_seconds {
        0..172_800 => (refresh_token_seconds / 3600, "hour"),
        _ => (refresh_token_seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    let from = if refreshable {
        "after its last use"
    } else {
        "from now"
    };
    format!("{number} {unit}{plural} {from}")
}

/// A list with a space after each comma, so that lines can break there.
fn spaced(list: &str) -> String {
    list.split(',')
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The page's code was redeemed already.
pub fn already_connected(client: &Client) -> Response {
    let client_name = client.client_name.as_deref();
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

/// The client is not known, or cannot be looked up.
pub fn not_found(reason: NotFound) -> PageError {
    match reason {
        NotFound::NotRegistered => unknown_client(),
        NotFound::Document(reason) => bad_document(reason),
        NotFound::TooManyFetches(wait) => too_many_pages(wait),
        // The copy of its document expired while the page was open.
        NotFound::NotFetched => expired(),
        NotFound::Unavailable(error) => error.into(),
    }
}

/// Nobody registered this client.
fn unknown_client() -> PageError {
    let what = "The app that sent you here is not known to this server, or no longer.";
    PageError::new(StatusCode::BAD_REQUEST, "Unknown app", what, ADD_AGAIN)
        .with_details("client_id is not registered here.")
}

/// The client's document cannot be fetched, or is not acceptable.
fn bad_document(reason: String) -> PageError {
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
    let what = "This page was open for too long, or its form was sent already.";
    let title = "This page has expired";
    PageError::new(StatusCode::BAD_REQUEST, title, what, CONNECT_AGAIN)
}

/// The form is not as the page sends it.
pub fn unreadable_form(error: crate::endpoint::error::ApiError) -> PageError {
    PageError::unreadable_form(error, CONNECT_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_headers;

    #[test]
    fn only_headers_that_hold_no_key_are_shown() {
        let said = |headers: &str| restrictions(&parse_headers(headers).unwrap());
        let none: [&str; 0] = [];
        assert_eq!(said(r#"{"X-MCP-Readonly":"false"}"#), none);
        assert_eq!(
            said(r#"{"X-MCP-Readonly":"true","X-MCP-Toolsets":"repos,issues"}"#),
            ["read-only", "only these toolsets: repos, issues"]
        );
        for key in ["X-MCP-Key", "X-Api-Key", "X-MCP-Toolsets-2"] {
            let said = said(&format!(r#"{{"{key}":"hunter2"}}"#));
            assert_eq!(said, ["further settings of the owner"], "{key}");
        }
    }

    #[test]
    fn lifetimes_have_the_right_unit_and_plural() {
        for (seconds, said) in [
            (3600, "1 hour after its last use"),
            (86_400, "24 hours after its last use"),
            (172_800, "2 days after its last use"),
            (2_592_000, "30 days after its last use"),
        ] {
            assert_eq!(lifetime(seconds, true), said);
        }
        assert_eq!(lifetime(86_400 * 30, false), "30 days from now");
    }
}
