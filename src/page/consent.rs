//! The consent page, which asks whether a client may connect.

use askama::Template;

use super::{Notice, Page, display, text};

/// Everything that a person must know to decide, and the form for the decision.
///
/// `POST /authorize` with `page`, `limit` = `everything` or `read_only`, `name`, `pin`, `decision` = `authorize` or `deny`;
/// `username` is only for password managers.
#[derive(Debug, Template)]
#[template(path = "consent.html")]
pub struct Consent<'a> {
    /// The id of the stored request; hidden field `page`.
    pub page_id: &'a str,
    /// The name that the client gave itself.
    pub client_name: Option<&'a str>,
    /// The verified host of the client-id metadata document. Without it the name is marked as not verified.
    pub verified_host: Option<&'a str>,
    /// Whether the redirect URI belongs to an app that many people use, and so may be shown without a warning.
    pub known_redirect: bool,
    /// Where the response goes: a host, or a private-use scheme with its colon (`cursor:`).
    pub redirect_host: &'a str,
    /// The full redirect URI, shown on request.
    pub redirect_uri: &'a str,
    /// Whether every redirect URI is on this computer, where any program could receive the response.
    pub loopback_only: bool,
    /// The name of the server to which the client gets access.
    pub upstream_name: &'a str,
    /// The host of that server.
    pub upstream_host: &'a str,
    /// Restrictions by pinned headers, in words for people: `read-only (X-MCP-Readonly: true)`.
    pub restrictions: &'a [String],
    /// How long the connection lasts: `30 days after its last use`.
    pub lifetime: &'a str,
    /// The name that the connection will get, unless the person changes it.
    pub connection_name: &'a str,
    /// Whether "Read only" is chosen.
    pub read_only: bool,
    /// Why the last PIN was not accepted.
    pub notice: Option<Notice>,
}

impl Consent<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }

    fn name(&self) -> String {
        text::client_name(self.client_name)
    }

    fn has_name(&self) -> bool {
        self.client_name
            .is_some_and(|name| !display(name, text::MAX_CLIENT_NAME_CHARACTERS).is_empty())
    }

    /// Whether the redirect URI has a private-use scheme, which an app on the device has registered (RFC 8252 §7.1).
    fn goes_to_an_app(&self) -> bool {
        self.redirect_host.ends_with(':')
    }

    /// People should read the page from the top at first: the focus would scroll a small screen, and move a screen reader,
    /// past the name and the host. After a wrong PIN they only need the field.
    fn focuses_pin(&self) -> bool {
        self.notice.is_some()
    }

    fn takes_a_pin(&self) -> bool {
        self.notice != Some(Notice::ClosedForToday)
    }
}
