//! The protected resource: the base URLs of this server, and the paths that all lead to its one MCP endpoint.

use url::Url;

use super::uri::{has_valid_escapes, is_loopback_name};

/// An origin under which this server is reached: `https://host`, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Parses a base URL: an https origin, or an http origin on a loopback name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is not a URL")?;
        let origin = url.origin().ascii_serialization();
        if text.trim_end_matches('/') != origin {
            return Err(
                "must be an origin, such as https://mcp.example.com: no path, no query, lower case",
            );
        }
        let loopback = url.host_str().is_some_and(is_loopback_name);
        if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
            Ok(Self(origin))
        } else {
            Err("must begin with https:// (http only on a loopback address)")
        }
    }

    /// The origin.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether browsers reach it by TLS, so that cookies can be `Secure`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// An absolute URL below it.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The host, with the port if it is written.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0
            .split_once("://")
            .map_or("", |(_, authority)| authority)
    }
}

/// A path of the MCP endpoint. All of these paths are one resource: a token for one is valid on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McpPath<'a> {
    /// `/`: some MCP clients fall back to it.
    Root,
    /// `/mcp`, `/mcp/…`, or an alias `/mcp-<label>` of either; holds what follows, including the slash.
    Mcp(&'a str),
    /// `/sse`: where clients look for a server of the HTTP+SSE transport.
    Sse,
}

impl<'a> McpPath<'a> {
    /// Parses the path of a request as sent; `None` when it is not a path of the MCP endpoint, or when two servers could
    /// interpret it differently: dot segments, encoded slashes, backslashes, double encoding.
    ///
    /// People append `/mcp` to a URL that ends in a slash, so repeated slashes in front of the endpoint's segment count
    /// as one, and so do repeated slashes at the end of the path. What follows the segment is the upstream's path, in
    /// which an empty segment may have a meaning (RFC 3986 §3.3): it stays as sent. Some clients change the case of the
    /// segment, so its case is ignored.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let segments = path.trim_start_matches('/');
        if segments.is_empty() {
            return Some(Self::Root);
        }
        // Not a path.
        if segments.len() == path.len() {
            return None;
        }
        let end = segments.find('/').unwrap_or(segments.len());
        let (name, rest) = segments.split_at(end);
        if name.eq_ignore_ascii_case("sse") {
            return rest.is_empty().then_some(Self::Sse);
        }
        let alias = name
            .get(..3)?
            .eq_ignore_ascii_case("mcp")
            .then_some(&name[3..])?;
        if !alias.is_empty() && !alias.strip_prefix('-').is_some_and(is_label) {
            return None;
        }
        let rest = if rest.bytes().all(|b| b == b'/') {
            // The endpoint itself, with or without a slash at the end.
            &rest[..rest.len().min(1)]
        } else {
            rest
        };
        (is_unambiguous(rest) && !rest.split('/').any(|segment| segment == WELL_KNOWN))
            .then_some(Self::Mcp(rest))
    }

    /// What follows `/mcp`, including the slash.
    #[must_use]
    pub fn rest(self) -> &'a str {
        match self {
            Self::Mcp(rest) => rest,
            Self::Root | Self::Sse => "",
        }
    }
}

/// The segment under which a server publishes metadata (RFC 8615 §3). A path with it is never the MCP endpoint.
pub const WELL_KNOWN: &str = ".well-known";

/// Whether the text may follow `mcp-` in an alias.
fn is_label(label: &str) -> bool {
    (1..=64).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Whether every server interprets the path in the same way.
fn is_unambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    // Characters that no URL may contain (RFC 3986 §2), though HTTP libraries accept some of them: a quote would end
    // the quoted URL in the `WWW-Authenticate` header.
    let plain = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\\#?\"<>^`{|}".contains(&b));
    // Encoded dot, slash, percent, backslash, NUL and the other control characters.
    let encoded = ["%2e", "%2f", "%25", "%5c", "%0", "%1", "%7f"]
        .iter()
        .any(|bad| lower.contains(bad));
    let dots = lower.replace("%3b", ";").split('/').any(|segment| {
        // Some servers take what follows `;` as path parameters, so `..;` is `..` to them.
        matches!(segment.split(';').next(), Some("." | ".."))
    });
    plain && !encoded && !dots && has_valid_escapes(path.as_bytes())
}

/// Whether a `resource` parameter (RFC 8707 §2) names this server, under any of its bases.
#[must_use]
pub fn is_ours<'b>(resource: &str, bases: impl IntoIterator<Item = &'b BaseUrl>) -> bool {
    let Ok(url) = Url::parse(resource) else {
        return false;
    };
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    let origin = url.origin().ascii_serialization();
    McpPath::parse(url.path()).is_some() && bases.into_iter().any(|base| base.as_str() == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_an_origin() {
        for good in [
            "https://mcp.example.com",
            "https://mcp.example.com/",
            "http://127.0.0.1:8787",
            "http://[::1]:1",
        ] {
            let base = BaseUrl::parse(good).unwrap();
            assert_eq!(base.as_str(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "mcp.example.com",
            "http://mcp.example.com",
            "https://mcp.example.com/mcp",
            "https://a@example.com",
            "https://example.com?x",
            "HTTPS://example.com",
            "https://example.com:443",
            "ftp://example.com",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_spelling_of_the_endpoint_is_known() {
        for root in ["", "/", "//", "///"] {
            assert_eq!(McpPath::parse(root), Some(McpPath::Root), "{root}");
        }
        for sse in ["/sse", "//sse", "/SSE"] {
            assert_eq!(McpPath::parse(sse), Some(McpPath::Sse), "{sse}");
        }
        for (path, rest) in [
            ("/mcp", ""),
            ("/mcp/", "/"),
            ("/mcp-2", ""),
            ("/mcp-home/", "/"),
            ("/mcp/x/repos", "/x/repos"),
            ("/mcp-a_b/readonly", "/readonly"),
            ("/mcp/caf%C3%A9", "/caf%C3%A9"),
            ("//mcp", ""),
            ("///mcp//", "/"),
            ("/mcp///", "/"),
            ("/MCP", ""),
            ("//Mcp-HOME/", "/"),
            ("/mCp/x/MCP", "/x/MCP"),
            ("/mcp//x", "//x"),
            ("//mcp/x//y/", "/x//y/"),
            ("/mcp/well-known/x", "/well-known/x"),
        ] {
            assert_eq!(McpPath::parse(path), Some(McpPath::Mcp(rest)), "{path}");
        }
    }

    #[test]
    fn ambiguous_and_foreign_paths_are_not() {
        for path in [
            "/mcpx",
            "/mc",
            "/mcp-",
            "/MCP-",
            "/m\u{e9}p",
            "/sse/",
            "/sse/x",
            "/ssee",
            "//x/mcp",
            "/x//mcp",
            "/mcp/.well-known",
            "/mcp/.well-known/x",
            "/mcp/x//.well-known/x",
            "/mcp-a.b",
            "/mcp-%41",
            "/authorize",
            "mcp",
            "/mcp/..",
            "/mcp//..",
            "//mcp/../x",
            "/mcp/../x",
            "/mcp/./x",
            "/mcp/%2e%2e/x",
            "/mcp/%2E./x",
            "/mcp/..%2fx",
            "/mcp/x%2Fy",
            "/mcp/%252e%252e/x",
            "/mcp/..\\x",
            "/mcp/%5c..",
            "/mcp/%00",
            "/mcp/%0d%0a",
            "/mcp/..;/x",
            "/mcp/..%3Bx/y",
            "/mcp/ ",
            "/mcp/%",
            "/mcp/%zz",
            "/mcp/\u{e9}",
            "/mcp/\",scope=\"x",
            "/mcp/<x>",
            "/mcp/{x}",
            "/mcp/x|y",
            "/mcp/x?y",
            "/mcp/x#y",
        ] {
            assert_eq!(McpPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn resources_are_compared_by_origin_and_endpoint() {
        let bases = [BaseUrl::parse("https://mcp.example.com").unwrap()];
        for good in [
            "https://mcp.example.com",
            "https://mcp.example.com/",
            "https://mcp.example.com/mcp",
            "https://mcp.example.com/mcp/",
            "https://MCP.example.com:443/mcp-2",
            "https://mcp.example.com/mcp/x/y",
            "https://mcp.example.com//mcp",
            "https://mcp.example.com/MCP",
            "https://mcp.example.com//",
        ] {
            assert!(is_ours(good, &bases), "{good}");
        }
        for bad in [
            "",
            "mcp",
            "/mcp",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com:8443/mcp",
            "https://mcp.example.com/mcp#x",
            "https://mcp.example.com.evil.example/mcp",
            "https://a@mcp.example.com/mcp",
            "https://mcp.example.com/other",
            "https://mcp.example.com//other.example/mcp",
            "https://mcp.example.com/mcp/.well-known/x",
            "https://other.example/mcp",
        ] {
            assert!(!is_ours(bad, &bases), "{bad}");
        }
    }
}
