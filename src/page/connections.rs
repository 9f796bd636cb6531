//! Who is connected, and how to end it.

use askama::Template;

use super::{Notice, Page, Timestamp, text};

/// One connection, as the list shows it.
#[derive(Clone, Debug)]
pub struct ConnectionRow<'a> {
    /// Goes back in the field `connection` when it is to be ended.
    pub id: &'a str,
    /// What the client calls itself.
    pub client_name: Option<&'a str>,
    /// Host of the client-id metadata document: proven. Without it the name is marked as unverified.
    pub verified_host: Option<&'a str>,
    /// Where its answer went: a host, or a private-use scheme with its colon.
    pub redirect_host: &'a str,
    /// When it was consented to.
    pub created: Timestamp,
    /// When it last reached the upstream, to the hour.
    pub last_used: Timestamp,
    /// The address it was made from.
    pub address: &'a str,
    /// When it expires unless it is used.
    pub expires: Timestamp,
}

impl ConnectionRow<'_> {
    fn name(&self) -> String {
        text::client_name(self.client_name)
    }
}

/// Wrong PIN tries of one address.
#[derive(Clone, Debug)]
pub struct WrongTries<'a> {
    /// The last of them.
    pub time: Timestamp,
    /// Where they came from.
    pub address: &'a str,
    /// How many.
    pub count: u32,
}

/// The list. `POST /connections` with `csrf` and `action` = `end` (and `connection`), `end-all`, `sign-out`.
///
/// No `Debug`: it holds a secret.
#[derive(Template)]
#[template(path = "connections.html")]
pub struct Connections<'a> {
    /// Newest first, or whatever order the caller likes.
    pub rows: &'a [ConnectionRow<'a>],
    /// Hidden field `csrf` of every form.
    pub csrf: &'a str,
    /// Empty when there were none.
    pub wrong_tries: &'a [WrongTries<'a>],
    /// What was just done: `The connection was ended.`
    pub notice: Option<&'a str>,
}

impl Connections<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}

/// The PIN form before the list. `POST /connections` with `action` = `sign-in` and `pin`.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignIn<'a> {
    /// Why the last try was refused.
    pub notice: Option<Notice>,
    /// Anything else worth saying: `You are signed out.`
    pub message: Option<&'a str>,
}

impl SignIn<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }

    /// Always: there is nothing to read before it.
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
