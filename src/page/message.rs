//! Pages without a form: errors that cannot be sent to a redirect URI, "already connected", and what a browser is shown at
//! the MCP endpoint.

use askama::Template;

use super::Page;

/// A link to another page of this server.
#[derive(Clone, Copy, Debug)]
pub struct PageLink {
    /// Its path.
    pub path: &'static str,
    /// What is there.
    pub text: &'static str,
}

/// An error that is shown to the person because it cannot be sent to the client.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// A few words: `This connector is not known here`.
    pub title: &'a str,
    /// What happened, without jargon.
    pub what: &'a str,
    /// What to do, in one sentence.
    pub todo: &'a str,
    /// Where the person may have wanted to go.
    pub links: &'a [PageLink],
    /// Technical details, shown on request.
    pub details: Option<&'a str>,
    /// The request id, by which the operator finds the log line.
    pub reference: &'a str,
}

impl ErrorPage<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}

/// The page after a second consent whose first code has been used: the client is connected.
#[derive(Debug, Template)]
#[template(path = "connected.html")]
pub struct Connected<'a> {
    /// The name that the client gave itself.
    pub client_name: Option<&'a str>,
}

impl Connected<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}

/// What a browser is shown at the MCP endpoint.
#[derive(Debug, Template)]
#[template(path = "address.html")]
pub struct Address<'a> {
    /// The address that people enter in a client.
    pub connector_url: &'a str,
}

impl Address<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}
