//! The landing page at `/`: what this server is, and how to connect to it.

use askama::Template;

use super::{Page, client_setup, text};

/// Everything on this page is public; it does not tell who is connected.
#[derive(Debug, Template)]
#[template(path = "landing.html")]
pub struct Landing<'a> {
    /// The address that people enter in a client: `https://host.example/mcp`.
    pub connector_url: &'a str,
    /// The name of this server in clients: letters, digits, `-` and `_`; other characters become `-`.
    pub connector_name: &'a str,
    /// The name of the server to which it gives access.
    pub upstream_name: &'a str,
    /// The host of that server.
    pub upstream_host: &'a str,
    /// Whether only this computer can reach it, so that clients on other machines cannot.
    pub only_this_machine: bool,
}

impl Landing<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }

    fn url(&self) -> String {
        text::uri(self.connector_url)
    }

    fn claude_code_command(&self) -> String {
        client_setup::claude_code_command(self.connector_name, &self.url())
    }

    fn cursor_link(&self) -> String {
        client_setup::cursor_link(self.connector_name, &self.url())
    }

    fn vs_code_link(&self) -> String {
        client_setup::vs_code_link(self.connector_name, &self.url())
    }

    fn mcp_json(&self) -> String {
        client_setup::mcp_json(self.connector_name, &self.url())
    }
}
