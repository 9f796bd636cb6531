//! The page that asks: may this client connect?

use askama::Template;

use super::{Notice, Page, display, text};

/// All that a person must know to decide, and the form that takes the decision.
///
/// `POST /authorize` with `page`, `pin`, `decision` = `authorize` or `deny`; `username` is there for
/// password managers and means nothing.
#[derive(Debug, Template)]
#[template(path = "consent.html")]
pub struct Consent<'a> {
    /// Identifies the parameters kept on the server; hidden field `page`.
    pub page_id: &'a str,
    /// What the client calls itself.
    pub client_name: Option<&'a str>,
    /// Host of the client-id metadata document: proven. Without it the name is marked as unverified.
    pub verified_host: Option<&'a str>,
    /// Where the answer goes: a host, or a private-use scheme with its colon (`cursor:`).
    pub redirect_host: &'a str,
    /// The same in full, folded away.
    pub redirect_uri: &'a str,
    /// Every redirect URI is on this computer, so anything on it could receive the answer.
    pub loopback_only: bool,
    /// What the client will reach.
    pub upstream_host: &'a str,
    /// Pinned limits, worded for people: `read-only (X-MCP-Readonly: true)`.
    pub restrictions: &'a [String],
    /// How long the connection lives: `30 days after its last use`.
    pub lifetime: &'a str,
    /// Why the last try was refused.
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

    fn gave_a_name(&self) -> bool {
        self.client_name
            .is_some_and(|name| !display(name, 60).is_empty())
    }

    /// RFC 8252 §7.1: a private-use scheme has no host; some app on the device has claimed it.
    fn goes_to_an_app(&self) -> bool {
        self.redirect_host.ends_with(':')
    }

    /// At first the page is to be read from its top: focus would scroll a small screen past the name and
    /// the host, and a screen reader with it. After a refused try, the field is what matters.
    fn focuses_pin(&self) -> bool {
        self.notice.is_some()
    }

    fn takes_a_pin(&self) -> bool {
        self.notice != Some(Notice::ClosedForToday)
    }
}
