//! The list of connections, the sign-in before it, and the question before some of them are ended.

use askama::Template;

use super::{ConnectionRow, Notice, Page, Timestamp};

/// Wrong PIN tries from one address.
#[derive(Clone, Debug)]
pub struct WrongTries<'a> {
    /// The time of the latest one.
    pub time: Timestamp,
    /// Their IP address or network.
    pub address: &'a str,
    /// Their number.
    pub count: u32,
}

/// The list. Its form is `GET /connections/end` with `connection` for each selected one.
///
/// No `Debug`: it contains a secret.
#[derive(Template)]
#[template(path = "connections.html")]
pub struct Connections<'a> {
    /// The name of the server to which the connections give access.
    pub upstream_name: &'a str,
    /// The connections, in the order in which they are shown.
    pub rows: &'a [ConnectionRow<'a>],
    /// Hidden field `csrf` of every form.
    pub csrf: &'a str,
    /// The latest wrong PINs.
    pub wrong_tries: &'a [WrongTries<'a>],
    /// What has just been done: `The connection was ended.`
    pub notice: Option<&'a str>,
    /// Whether tokens can be created by hand.
    pub manual_tokens: bool,
    /// Whether there is a landing page to link to.
    pub landing_page: bool,
}

impl Connections<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}

/// The question before connections are ended. `POST /connections` with `csrf` and `action` = `end` (and `connection` for
/// each), or `end-all`.
///
/// No `Debug`: it contains a secret.
#[derive(Template)]
#[template(path = "end_connections.html")]
pub struct EndConnections<'a> {
    /// What would be ended; not empty.
    pub rows: &'a [ConnectionRow<'a>],
    /// Whether these are all connections, with those that are just being made.
    pub all: bool,
    /// Hidden field `csrf`.
    pub csrf: &'a str,
}

impl EndConnections<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }

    fn question(&self) -> String {
        match self.rows.len() {
            1 => "End this connection?".to_owned(),
            count if self.all => format!("End all {count} connections?"),
            count => format!("End {count} connections?"),
        }
    }
}

/// The PIN form in front of the list. `POST /connections` with `action` = `sign-in` and `pin`.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignIn<'a> {
    /// The name of the server to which the connections give access.
    pub upstream_name: &'a str,
    /// Why the last PIN was not accepted.
    pub notice: Option<Notice>,
    /// Another message: `You are signed out.`
    pub message: Option<&'a str>,
    /// Whether there is a landing page to link to.
    pub landing_page: bool,
}

impl SignIn<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }

    /// Always: there is nothing else to read on this page.
    #[expect(
        clippy::unused_self,
        reason = "the template asks every page with a PIN field"
    )]
    fn focuses_pin(&self) -> bool {
        true
    }

    fn takes_a_pin(&self) -> bool {
        self.notice != Some(Notice::ClosedForToday)
    }
}
