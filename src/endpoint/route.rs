//! Which endpoint a path belongs to.
//!
//! Paths are matched as they were sent. In the routes of this program repeated slashes count as one, because people
//! append a path to a base URL that ends in a slash; a slash at the end is another path, except for the MCP endpoint.

use crate::{
    config::{Config, Registration, Transport},
    oauth::resource::{McpPath, WELL_KNOWN},
};

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/register`
    Register,
    /// `/token`
    Token,
    /// `/revoke`
    Revoke,
    /// `/authorize`
    Authorize,
    /// `/connections` and below.
    Connections(ConnectionsPage),
    /// `/favicon.svg`, and `/favicon.ico`, which browsers and clients ask for without being told.
    Favicon,
    /// Below `/.well-known/`, at the root or below the MCP endpoint; `None` when there is no document of that name.
    WellKnown(Option<Document<'a>>),
    /// The MCP endpoint; its root is also the landing page.
    Mcp(McpPath<'a>),
    /// No endpoint has this path.
    Unknown,
}

/// A page for the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionsPage {
    /// `/connections`: all connections. Every form is sent to this one.
    List,
    /// `/connections/end`: the question before connections are ended.
    End,
    /// `/connections/edit`: one connection, its name, limit and activity.
    Edit,
    /// `/connections/tools`: the tools that a connection may use.
    Tools,
    /// `/connections/token`: the form that creates a token.
    NewToken,
}

/// A discovery document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document<'a> {
    /// The document of the resource at this path, in the spelling that was asked for (RFC 9728 §3).
    ProtectedResource(&'a str),
    /// The authorization server's document (RFC 8414 §3), asked for as that of an issuer with this path.
    AuthorizationServer(&'a str),
    /// The same in the form of `OpenID` Connect Discovery §3.
    OpenIdConfiguration(&'a str),
    /// The key set to which the latter refers.
    KeySet,
}

/// Routes that not every deployment has.
#[derive(Clone, Copy, Debug)]
pub struct Enabled {
    /// `/register`
    pub registration: bool,
    /// `/sse`: only where the upstream speaks HTTP+SSE.
    pub sse: bool,
}

impl Enabled {
    /// Reads the settings.
    pub fn from_config(config: &Config) -> Self {
        Self {
            registration: config.registration == Registration::Open,
            sse: config.upstream.transport == Transport::Sse,
        }
    }
}

impl<'a> Route<'a> {
    /// The route of a request's path.
    pub fn from_path(path: &'a str, enabled: Enabled) -> Self {
        let is_endpoint =
            |path| McpPath::parse(path).is_some_and(|mcp| mcp != McpPath::Sse || enabled.sse);
        if let Some((prefix, name)) = split_well_known(path) {
            let document = Document::named(prefix, name);
            return Self::WellKnown(document.filter(|document| is_endpoint(document.path())));
        }
        if let Some(mcp) = McpPath::parse(path) {
            return if is_endpoint(path) {
                Self::Mcp(mcp)
            } else {
                Self::Unknown
            };
        }
        let name = path.trim_start_matches('/');
        match name {
            _ if name.len() == path.len() => Self::Unknown,
            "register" if enabled.registration => Self::Register,
            "token" => Self::Token,
            "revoke" => Self::Revoke,
            "authorize" => Self::Authorize,
            "connections" => Self::Connections(ConnectionsPage::List),
            "connections/end" => Self::Connections(ConnectionsPage::End),
            "connections/edit" => Self::Connections(ConnectionsPage::Edit),
            "connections/tools" => Self::Connections(ConnectionsPage::Tools),
            "connections/token" => Self::Connections(ConnectionsPage::NewToken),
            "favicon.svg" | "favicon.ico" => Self::Favicon,
            _ => Self::Unknown,
        }
    }

    /// Whether programs call this route. The other routes are pages for people.
    pub fn is_api(self) -> bool {
        matches!(
            self,
            Self::Register | Self::Token | Self::Revoke | Self::WellKnown(_) | Self::Mcp(_)
        )
    }

    /// A label by which log lines can be grouped. It contains nothing that a client chose.
    pub fn label(self) -> &'static str {
        match self {
            Self::Register => "/register",
            Self::Token => "/token",
            Self::Revoke => "/revoke",
            Self::Authorize => "/authorize",
            Self::Connections(_) => "/connections",
            Self::Favicon => "/favicon",
            Self::WellKnown(_) => "/.well-known",
            Self::Mcp(McpPath::Root) => "/",
            Self::Mcp(_) => "/mcp",
            Self::Unknown => "other",
        }
    }

    /// The allowed methods, as the value of the `Allow` header; `None` if the path does not exist, or if the methods
    /// depend on the upstream. HEAD is allowed wherever GET is (RFC 9110 §9.1).
    pub fn allowed_methods(self) -> Option<&'static str> {
        match self {
            Self::Register | Self::Token | Self::Revoke => Some("POST, OPTIONS"),
            Self::Authorize | Self::Connections(ConnectionsPage::List) => Some("GET, HEAD, POST"),
            Self::Connections(_) | Self::Favicon => Some("GET, HEAD"),
            Self::WellKnown(Some(_)) => Some("GET, HEAD, OPTIONS"),
            Self::WellKnown(None) | Self::Mcp(_) | Self::Unknown => None,
        }
    }
}

impl<'a> Document<'a> {
    /// The document with this name. `prefix` is the path before `/.well-known/`; `name` is everything after it.
    ///
    /// In the RFCs the path of the resource follows the document's name: `/.well-known/NAME/mcp` (RFC 9728 §3.1, RFC
    /// 8414 §3.1). Some clients put it first, as `OpenID` Connect Discovery §4 does: `/mcp/.well-known/NAME`. Both
    /// work.
    fn named(prefix: &'a str, name: &'a str) -> Option<Self> {
        let name = name.trim_start_matches('/');
        let (name, suffix) = name.split_at(name.find('/').unwrap_or(name.len()));
        let path = match (McpPath::parse(prefix)?, McpPath::parse(suffix)?) {
            (McpPath::Root, _) => suffix,
            (_, McpPath::Root) => prefix,
            // `/mcp/.well-known/NAME/mcp`: the client treated the first `/mcp` as part of the server's address, so the
            // second counts.
            _ => suffix,
        };
        match name {
            "oauth-protected-resource" => Some(Self::ProtectedResource(path)),
            "oauth-authorization-server" => Some(Self::AuthorizationServer(path)),
            "openid-configuration" => Some(Self::OpenIdConfiguration(path)),
            "jwks.json" if path.is_empty() => Some(Self::KeySet),
            _ => None,
        }
    }

    /// The path of the resource or of the issuer that is meant.
    pub fn path(self) -> &'a str {
        match self {
            Self::ProtectedResource(path)
            | Self::AuthorizationServer(path)
            | Self::OpenIdConfiguration(path) => path,
            Self::KeySet => "",
        }
    }
}

/// Splits a path below the root or the MCP endpoint at its first segment `.well-known`.
fn split_well_known(path: &str) -> Option<(&str, &str)> {
    let (prefix, name) = path.match_indices(WELL_KNOWN).find_map(|(at, found)| {
        let (prefix, name) = (path[..at].strip_suffix('/')?, &path[at + found.len()..]);
        (name.is_empty() || name.starts_with('/')).then_some((prefix, name))
    })?;
    McpPath::parse(prefix).map(|_| (prefix, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Enabled = Enabled {
        registration: true,
        sse: true,
    };

    #[test]
    fn our_own_routes_are_found_behind_any_number_of_slashes() {
        for (name, route) in [
            ("register", Route::Register),
            ("token", Route::Token),
            ("revoke", Route::Revoke),
            ("authorize", Route::Authorize),
            ("connections", Route::Connections(ConnectionsPage::List)),
            ("connections/end", Route::Connections(ConnectionsPage::End)),
            ("favicon.ico", Route::Favicon),
        ] {
            for slashes in ["/", "//", "////"] {
                assert_eq!(Route::from_path(&format!("{slashes}{name}"), ALL), route);
            }
            for other in [name.to_owned(), format!("/{name}/"), format!("/x/{name}")] {
                assert_eq!(Route::from_path(&other, ALL), Route::Unknown, "{other}");
            }
        }
    }

    #[test]
    fn documents_are_found_in_front_of_a_path_and_behind_one() {
        use Document::{AuthorizationServer, KeySet, OpenIdConfiguration, ProtectedResource};
        for (path, document) in [
            (
                "/.well-known/oauth-protected-resource",
                ProtectedResource(""),
            ),
            (
                "//.well-known//oauth-protected-resource/",
                ProtectedResource("/"),
            ),
            (
                "/.well-known/oauth-protected-resource//MCP/x",
                ProtectedResource("//MCP/x"),
            ),
            (
                "/mcp/.well-known/oauth-protected-resource",
                ProtectedResource("/mcp"),
            ),
            (
                "/mcp//.well-known/oauth-protected-resource//",
                ProtectedResource("/mcp/"),
            ),
            (
                "/mcp/.well-known/oauth-protected-resource/mcp",
                ProtectedResource("/mcp"),
            ),
            (
                "/mcp/x.well-known/.well-known/openid-configuration",
                OpenIdConfiguration("/mcp/x.well-known"),
            ),
            ("/.well-known/jwks.json", KeySet),
            (
                "/sse/.well-known/oauth-authorization-server",
                AuthorizationServer("/sse"),
            ),
        ] {
            assert_eq!(
                Route::from_path(path, ALL),
                Route::WellKnown(Some(document)),
                "{path}"
            );
        }
        for path in [
            "/.well-known",
            "/.well-known/x",
            "/.well-known/jwks.json/mcp",
            "/mcp/.well-known/oauth-protected-resourceX",
            "/.well-known/oauth-protected-resource/nowhere",
            "/.well-known/oauth-protected-resource/mcp/.well-known/x",
        ] {
            assert_eq!(
                Route::from_path(path, ALL),
                Route::WellKnown(None),
                "{path}"
            );
        }
        for path in [
            ".well-known/oauth-protected-resource",
            "/nowhere/.well-known/oauth-protected-resource",
            "/mcp/../.well-known/oauth-protected-resource",
            "/.well-known-x",
        ] {
            assert_eq!(Route::from_path(path, ALL), Route::Unknown, "{path}");
        }
    }

    #[test]
    fn what_is_not_enabled_does_not_exist() {
        let none = Enabled {
            registration: false,
            sse: false,
        };
        for path in ["/register", "/sse"] {
            assert_ne!(Route::from_path(path, ALL), Route::Unknown, "{path}");
            assert_eq!(Route::from_path(path, none), Route::Unknown, "{path}");
        }
        let document = "/.well-known/oauth-protected-resource/sse";
        assert_eq!(Route::from_path(document, none), Route::WellKnown(None));
    }
}
