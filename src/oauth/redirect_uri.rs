//! Redirect URIs: which ones may be registered, and whether a requested URI matches a registered one.
//!
//! The text is checked as sent and never normalised: a browser must interpret exactly the text that was checked.

use serde::{Deserialize, Serialize};
use url::Url;

use super::uri::is_loopback_name;

/// Longest redirect URI: the requested one is stored while the consent page is open.
const MAX_REDIRECT_URI_BYTES: usize = 1024;

/// Schemes that do not belong to an application: they run code, open files, or belong to the browser or the
/// operating system. Every other scheme except http and https counts as a private-use scheme (RFC 8252 §7.1), of which
/// there can be no list.
const FORBIDDEN_SCHEMES: [&str; 44] = [
    "facetime",
    "facetime-audio",
    "hcp",
    "itms",
    "itms-apps",
    "itms-services",
    "mhtml",
    "javascript",
    "data",
    "blob",
    "file",
    "vbscript",
    "about",
    "filesystem",
    "view-source",
    "livescript",
    "mocha",
    "jar",
    "ws",
    "wss",
    "ftp",
    "ftps",
    "sftp",
    "ssh",
    "telnet",
    "ldap",
    "ldaps",
    "gopher",
    "mailto",
    "tel",
    "sms",
    "smb",
    "nfs",
    "dav",
    "intent",
    "content",
    "chrome",
    "edge",
    "resource",
    "moz-extension",
    "chrome-extension",
    "shell",
    "search",
    "search-ms",
];

/// A redirect URI that may be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

impl RedirectUri {
    /// Parses a redirect URI: https, http to a loopback name, or a private-use scheme
    /// (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §4.1).
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_REDIRECT_URI_BYTES {
            return Err("a redirect URI is longer than 1024 bytes");
        }
        // Browsers remove or rewrite spaces, control characters and backslashes: `java\tscript:`.
        if !text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b))
        {
            return Err("a redirect URI contains characters that no URI may contain");
        }
        if text.contains('#') {
            return Err("a redirect URI must not have a fragment");
        }
        if text.contains('*') {
            return Err("redirect URIs with wildcards are not supported");
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err("a redirect URI must be absolute");
        };
        let scheme_well_formed = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        let url = Url::parse(text).map_err(|_| "a redirect URI is not a URI")?;
        if !scheme_well_formed || url.scheme() != scheme {
            return Err("a redirect URI must begin with a scheme in lower case");
        }
        if !url.username().is_empty() || url.password().is_some() || authority(rest).contains('@') {
            return Err("a redirect URI must not name a user");
        }
        match scheme {
            "https" => {
                let host = url.host_str().unwrap_or_default();
                // The host must be spelled as the browser will understand it, so that people see where they are sent.
                if host.is_empty() || !host_of(rest).eq_ignore_ascii_case(host) {
                    return Err("the host of a redirect URI must be written in its normal form");
                }
            }
            "http" if (!is_loopback_name(host_of(rest)) || !rest.starts_with("//")) => {
                return Err("a redirect URI over http must go to localhost, 127.0.0.1 or [::1]");
            }
            _ if FORBIDDEN_SCHEMES.contains(&scheme) || scheme.starts_with("ms-") => {
                return Err("a redirect URI has a scheme that is not an application's own");
            }
            // `cursor://…` or `com.example.app:/…`; a URI without a path cannot be returned to.
            _ if !rest.starts_with('/') => {
                return Err("a redirect URI of a private-use scheme needs a path");
            }
            _ => {}
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a requested URI matches this registered one: the same text, except that the client may choose the port
    /// of a loopback address over http at the time of the request (RFC 8252 §7.3).
    #[must_use]
    pub fn matches(&self, requested: &Self) -> bool {
        self == requested
            || matches!(
                (self.without_loopback_port(), requested.without_loopback_port()),
                (Some(registered), Some(requested)) if registered == requested
            )
    }

    /// The host and what follows the port, if this is http to a loopback name.
    fn without_loopback_port(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix("http:")?;
        let authority = authority(rest);
        Some((host_of(rest), &rest[2 + authority.len()..]))
    }

    /// Whether the response goes to the person's own machine, where any program may receive it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.starts_with("http:")
    }

    /// What pages show to people: the host, or for a private-use scheme the scheme with its colon.
    #[must_use]
    pub fn display_host(&self) -> &str {
        match self.0.split_once(':') {
            Some(("http" | "https", rest)) => authority(rest),
            Some((scheme, _)) => &self.0[..=scheme.len()],
            None => &self.0,
        }
    }

    /// The URI as registered or requested.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI with parameters added to its query (RFC 6749 §3.1.2: an existing query is kept).
    #[must_use]
    pub fn with_query_params(&self, params: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(params);
        let separator = match self.0.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some((_, query)) if query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{separator}{}", self.0, query.finish())
    }
}

/// `host:port` of what follows a scheme's colon.
fn authority(rest: &str) -> &str {
    let rest = rest.strip_prefix("//").unwrap_or("");
    &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
}

fn host_of(rest: &str) -> &str {
    let authority = authority(rest);
    let end = if authority.starts_with('[') {
        authority.find(']').map(|at| at + 1)
    } else {
        authority.find(':')
    };
    &authority[..end.unwrap_or(authority.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_redirect_uris_of_known_clients_are_accepted() {
        for good in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://chatgpt.com/connector/oauth/abc123",
            "http://localhost/callback",
            "http://127.0.0.1:33418/",
            "http://127.0.0.1:33418",
            "http://[::1]:8080/oauth/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "claude://claude.ai/mcp-auth-callback/sdk",
            "com.example.app:/oauth2redirect",
            "vscode://vscode.github-authentication/did-authenticate",
            "https://mcp.example.com/callback?tenant=1",
            "https://[2001:db8::1]:8443/callback",
        ] {
            assert!(RedirectUri::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn dangerous_and_disguised_redirect_uris_are_refused() {
        for bad in [
            "",
            "/callback",
            "callback",
            "//example.com/",
            "https:",
            "https://",
            "https:/example.com",
            "https:example.com",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            " javascript:alert(1)",
            "java\tscript:alert(1)",
            "javascript\u{0}:alert(1)",
            "\u{1}javascript:alert(1)",
            "javascript://example.com/%0aalert(1)",
            "javascript:/x",
            "java%73cript:alert(1)",
            "data:text/html,x",
            "data:/x",
            "blob:https://example.com/x",
            "file:///etc/passwd",
            "vbscript:x",
            "view-source:https://example.com",
            "about:/blank",
            "ms-msdt:/id",
            "http://example.com/",
            "http://localhost.example.com/",
            "http://localhost@example.com/",
            "http://127.0.0.1.example.com/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://127.0.0.2/",
            "http://0.0.0.0/",
            "http://LOCALHOST/",
            "http:localhost/",
            "http:/localhost/x",
            "https://user@example.com/",
            "https://user:pw@example.com/",
            "https://@example.com/",
            "https://example.com/#x",
            "https://example.com/#",
            "https://*.example.com/",
            "https://example.com/*",
            "https://example.com\\@evil.example/",
            "https://exa mple.com/",
            "https://example.com/\r\nx: y",
            "https://ex%61mple.com/",
            "https://example.com:99999/",
            "https://münchen.example/",
            "HTTPS://example.com/",
            "1x://a/b",
            "-x://a/b",
            "mailto:a@example.com",
            "app:callback",
            "https://0x7f000001/",
            "https://example.com./\u{202e}",
        ] {
            assert!(RedirectUri::parse(bad).is_err(), "{bad:?}");
        }
        assert!(RedirectUri::parse(&format!("https://example.com/{}", "a".repeat(1024))).is_err());
    }

    fn matches(registered: &str, requested: &str) -> bool {
        RedirectUri::parse(registered)
            .unwrap()
            .matches(&RedirectUri::parse(requested).unwrap())
    }

    #[test]
    fn only_the_port_of_a_loopback_address_may_differ() {
        assert!(matches(
            "http://localhost/callback",
            "http://localhost:3118/callback"
        ));
        assert!(matches("http://127.0.0.1:33418/", "http://127.0.0.1:1/"));
        assert!(matches("http://[::1]/cb?a=b", "http://[::1]:9/cb?a=b"));
        for (registered, requested) in [
            (
                "http://localhost/callback",
                "http://127.0.0.1:3118/callback",
            ),
            (
                "http://localhost/callback",
                "http://localhost:3118/callback/",
            ),
            (
                "http://localhost/callback",
                "http://localhost:3118/Callback",
            ),
            (
                "http://localhost/callback",
                "http://localhost:3118/callback?x=1",
            ),
            ("https://example.com/cb", "https://example.com:8443/cb"),
            ("https://example.com/cb", "https://example.com/cb2"),
            ("https://example.com/cb", "https://EXAMPLE.com/cb"),
            ("https://example.com/cb", "https://sub.example.com/cb"),
            ("https://example.com/cb", "https://example.com/%63b"),
            ("https://example.com/cb", "https://example.com/cb/../cb"),
            ("cursor://a/cb", "cursor://a:1/cb"),
        ] {
            assert!(!matches(registered, requested), "{registered} {requested}");
        }
    }

    #[test]
    fn parameters_are_added_to_what_is_there() {
        let with = |uri: &str| {
            RedirectUri::parse(uri)
                .unwrap()
                .with_query_params(&[("code", "a b"), ("state", "&\u{e9}\r\n")])
        };
        assert_eq!(
            with("https://example.com/cb"),
            "https://example.com/cb?code=a+b&state=%26%C3%A9%0D%0A"
        );
        assert!(with("https://example.com/cb?t=1").starts_with("https://example.com/cb?t=1&code="));
        assert!(with("https://example.com/cb?").starts_with("https://example.com/cb?code="));
    }

    #[test]
    fn the_host_to_look_at_is_the_authority_or_the_scheme() {
        let host = |uri: &str| RedirectUri::parse(uri).unwrap().display_host().to_owned();
        assert_eq!(host("https://claude.ai/api"), "claude.ai");
        assert_eq!(host("http://localhost:8787/callback"), "localhost:8787");
        assert_eq!(host("cursor://anysphere.cursor-mcp/oauth"), "cursor:");
    }
}
