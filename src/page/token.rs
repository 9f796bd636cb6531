//! Creating a token by hand: the form, and the page that shows the token once.

use askama::Template;

use super::{Notice, Page, Timestamp, client_setup, text};

/// The form. `POST /connections` with `csrf`, `action` = `create-token`, `connection`, `name`, `days` and `limit`.
///
/// No `Debug`: it contains a secret.
#[derive(Template)]
#[template(path = "new_token.html")]
pub struct NewToken<'a> {
    /// The id that the connection will get, so that the same form creates one token only.
    pub id: &'a str,
    /// The name of the server to which it gives access.
    pub upstream_name: &'a str,
    /// The lives that can be chosen, in days.
    pub days: &'a [u64],
    /// Why the last PIN was not accepted.
    pub pin_notice: Option<Notice>,
    /// Hidden field `csrf`.
    pub csrf: &'a str,
}

impl NewToken<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }
}

/// The page that shows the token.
///
/// No `Debug`: it contains the token.
#[derive(Template)]
#[template(path = "token.html")]
pub struct CreatedToken<'a> {
    /// The id of the connection.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The token.
    pub token: &'a str,
    /// When it expires.
    pub expires: Timestamp,
    /// The address that clients use.
    pub connector_url: &'a str,
    /// The name of this server in clients: letters, digits, `-` and `_`; other characters become `-`.
    pub connector_name: &'a str,
}

impl CreatedToken<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }

    fn name(&self) -> String {
        text::connection_name(self.name)
    }

    fn url(&self) -> String {
        text::uri(self.connector_url)
    }

    fn variable(&self) -> String {
        client_setup::token_variable(self.connector_name)
    }

    fn variable_command(&self) -> String {
        let variable = self.variable();
        format!("printf 'Token: '; read -rs {variable}; export {variable}")
    }

    fn curl_command(&self) -> String {
        client_setup::curl_command(&self.variable(), &self.url())
    }

    fn mcp_json(&self) -> String {
        client_setup::mcp_json_with_token(self.connector_name, &self.variable(), &self.url())
    }

    fn codex_toml(&self) -> String {
        client_setup::codex_toml(self.connector_name, &self.variable(), &self.url())
    }

    fn vs_code_json(&self) -> String {
        client_setup::vs_code_json(self.connector_name, &self.url())
    }
}
