//! One connection: as the lists show it, and on its own page.

use askama::Template;

use super::{Notice, Page, Timestamp, text};

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownLimit {
    /// Everything that the token for the upstream allows.
    Everything,
    /// Tools that only read.
    ReadOnly,
    /// So many chosen tools.
    Tools(usize),
}

impl ShownLimit {
    pub(super) fn text(self) -> String {
        match self {
            Self::Everything => "Everything the token allows".to_owned(),
            Self::ReadOnly => "Read only".to_owned(),
            Self::Tools(0) => "No tools".to_owned(),
            Self::Tools(1) => "One chosen tool".to_owned(),
            Self::Tools(count) => format!("{count} chosen tools"),
        }
    }

    fn is_read_only(self) -> bool {
        self == Self::ReadOnly
    }

    /// For the choice that keeps the chosen tools.
    fn tools_text(self) -> Option<String> {
        matches!(self, Self::Tools(_)).then(|| self.text())
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub enum ConnectionOrigin<'a> {
    /// A client that the owner authorized.
    Client {
        /// The name that the client gave itself.
        name: Option<&'a str>,
        /// The verified host of the client-id metadata document. Without it the name is marked as not verified.
        verified_host: Option<&'a str>,
        /// Where the code was sent: a host, or a private-use scheme with its colon.
        redirect_host: &'a str,
    },
    /// A token that the owner created by hand.
    Token,
}

/// One connection, as the lists show it.
#[derive(Clone, Debug)]
pub struct ConnectionRow<'a> {
    /// The value of the field `connection` in forms and links.
    pub id: &'a str,
    /// The name that the owner gave it, or that of its client.
    pub name: String,
    /// Where it comes from.
    pub origin: ConnectionOrigin<'a>,
    /// What it may do.
    pub limit: ShownLimit,
    /// When the owner consented, or created the token.
    pub created: Timestamp,
    /// When it was last used, to the hour.
    pub last_used: Timestamp,
    /// The IP address from which the owner did so.
    pub address: &'a str,
    /// When it expires; unless it is used, if it is not a token.
    pub expires: Timestamp,
}

impl ConnectionRow<'_> {
    pub(super) fn name(&self) -> String {
        text::connection_name(&self.name)
    }

    /// `Claude Code, from claude.ai (host verified)`.
    pub(super) fn origin(&self) -> String {
        let ConnectionOrigin::Client {
            name,
            verified_host,
            redirect_host,
        } = self.origin
        else {
            return "A token that you created".to_owned();
        };
        let client_name = text::client_name(name);
        let (prefix, from, name_not) = if client_name == self.name() {
            (String::new(), "From", "Name not")
        } else {
            (format!("{client_name}, "), "from", "name not")
        };
        match verified_host {
            Some(host) => format!("{prefix}{from} {} (host verified)", text::host(host)),
            None => format!(
                "{prefix}{name_not} verified, through {}",
                text::host(redirect_host)
            ),
        }
    }

    fn is_token(&self) -> bool {
        matches!(self.origin, ConnectionOrigin::Token)
    }
}

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct ActivityRow<'a> {
    /// The name of the tool, as the client sent it.
    pub tool: &'a str,
    /// When the call began.
    pub time: Timestamp,
    /// What became of it: `ok`, `refused`.
    pub outcome: &'static str,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// How long it took.
    pub milliseconds: u64,
}

/// How many calls there were in a period.
#[derive(Clone, Copy, Debug)]
pub struct ActivityTotal {
    /// `Last 24 hours`.
    pub period: &'static str,
    /// The number of calls.
    pub calls: u64,
    /// Whether there were more, which were not counted.
    pub or_more: bool,
}

/// What a connection did.
#[derive(Clone, Debug)]
pub struct ShownActivity<'a> {
    /// For how many days it is kept.
    pub days: u64,
    /// How many calls there were.
    pub totals: [ActivityTotal; 3],
    /// The latest calls, latest first.
    pub calls: &'a [ActivityRow<'a>],
}

/// The page of one connection. `POST /connections` with `csrf`, `connection` and `action` = `rename` (and `name`), or
/// `limit` (and `limit` = `everything`, `read_only` or `tools`).
///
/// No `Debug`: it contains a secret.
#[derive(Template)]
#[template(path = "connection.html")]
pub struct ConnectionPage<'a> {
    /// The connection.
    pub row: ConnectionRow<'a>,
    /// The name that the owner gave it.
    pub chosen_name: Option<&'a str>,
    /// Hidden field `csrf` of every form.
    pub csrf: &'a str,
    /// What has just been done: `The name was changed.`
    pub notice: Option<&'a str>,
    /// Why the last PIN was not accepted.
    pub pin_notice: Option<Notice>,
    /// What it did; `None` if that is not recorded.
    pub activity: Option<ShownActivity<'a>>,
}

impl ConnectionPage<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}
