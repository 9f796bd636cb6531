//! Pages that only tell something: errors which cannot be redirected, and "already connected".

use askama::Template;

use super::Page;

/// Something failed and no client can be told, so the person is.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// A few words: `This connector is not known here`.
    pub title: &'a str,
    /// What happened, without jargon.
    pub what: &'a str,
    /// What to do about it, in one sentence.
    pub todo: &'a str,
    /// For whoever looks closer; folded away.
    pub details: Option<&'a str>,
    /// Finds the log line.
    pub reference: &'a str,
}

impl ErrorPage<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}

/// The consent was already given and its code used: nothing is wrong and nothing is left to do.
#[derive(Debug, Template)]
#[template(path = "connected.html")]
pub struct Connected<'a> {
    /// What the client calls itself.
    pub client_name: Option<&'a str>,
}

impl Connected<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}
