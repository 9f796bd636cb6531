//! The URL of a document, which is the client's id.
//!
//! An id is compared as text (draft §3, RFC 3986 §6.2.1) and never normalized: the parser must not change it. That one
//! rule refuses every other spelling of an address (`127.1`, `0x7f000001`, `%31`), of a host (`EXAMPLE.com`, full-width
//! letters), of a path (`/a/../b`) and of the port (`:443`).

use std::net::IpAddr;

use url::{Host, Url};

use super::address::is_public;

/// Longest URL: it is stored while the consent page is open.
const URL_BYTES_MAX: usize = 500;
/// Longest host name and longest label of one (RFC 1035 §2.3.4).
const HOST_NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Whether a client id is meant as the URL of a document. It may still be an invalid [`DocumentUrl`].
#[must_use]
pub fn is_document_url(client_id: &str) -> bool {
    client_id.starts_with("https://")
}

/// The URL of a document, exactly as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentUrl(Url);

impl DocumentUrl {
    /// Parses a client id that is the URL of a document (draft §3): https, a path, no userinfo, fragment, port or dot
    /// segments, a full host name or a public address.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(client_id: &str) -> Result<Self, &'static str> {
        if client_id.len() > URL_BYTES_MAX {
            return Err("the client id is longer than 500 bytes");
        }
        if !is_document_url(client_id) {
            return Err("the client id does not begin with https://");
        }
        // What a parser or a server might drop or change: spaces, control characters, backslashes, non-ASCII.
        if !client_id
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b))
            || !escapes_are_complete(client_id)
        {
            return Err("the client id contains characters that no URL may contain");
        }
        if client_id.contains('#') {
            return Err("the client id must not have a fragment");
        }
        let url = Url::parse(client_id).map_err(|_| "the client id is not a URL")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the client id must not contain a user name or password");
        }
        if url.port().is_some() {
            return Err("documents are fetched from port 443 only");
        }
        if has_dot_segments(client_id) {
            return Err("the client id must not have dot segments in its path");
        }
        // `/` is a host's home page, not a client's document; revision 02 of the draft advises against it.
        if url.path() == "/" {
            return Err("the client id has no path");
        }
        if url.as_str() != client_id {
            return Err("the client id is not in the normal form of a URL");
        }
        match url.host() {
            Some(Host::Domain(name)) if is_full_name(name) => {}
            Some(Host::Ipv4(address)) if is_public(address.into()) => {}
            Some(Host::Ipv6(address)) if is_public(address.into()) => {}
            Some(Host::Domain(_)) => return Err("the client id's host is not a full host name"),
            _ => return Err("the client id's host is not a public address"),
        }
        Ok(Self(url))
    }

    /// The URL, as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host as shown on a page: international names in their ASCII form, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address, if the host is one. It needs no name resolution.
    pub(super) fn ip_address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

/// A name of more than one label. A single one (`localhost`, or a name in our own network) would be completed from the
/// resolver's search list, and a trailing dot would be a second spelling of the same host.
fn is_full_name(name: &str) -> bool {
    name.len() <= HOST_NAME_BYTES_MAX
        && name.contains('.')
        && name.split('.').all(|label| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// Every `%` is followed by two hexadecimal digits (RFC 3986 §2.1).
fn escapes_are_complete(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        rest.as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Draft §3 forbids `.` and `..` as path segments. Servers may read an escaped slash or backslash as the end of one.
fn has_dot_segments(url: &str) -> bool {
    let path = url.split('?').next().unwrap_or_default();
    path.to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/")
        .split('/')
        .skip(3) // `https:`, nothing, the authority
        .any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_real_clients_documents_are_accepted_unchanged() {
        for url in [
            "https://claude.ai/oauth/mcp-oauth-client-metadata",
            "https://chatgpt.com/oauth/client.json",
            "https://client.example/a?version=1",
            "https://client.example/a/",
            "https://xn--mnchen-3ya.example/client.json",
            "https://client.example/a..b/.well-known/client.json",
            "https://client.example/caf%C3%A9",
            "https://11.0.0.1/client.json",
            "https://[2003::1]/client.json",
        ] {
            assert_eq!(DocumentUrl::parse(url).unwrap().as_str(), url);
        }
        let url = DocumentUrl::parse("https://client.example/a").unwrap();
        assert_eq!(url.host(), "client.example");
    }

    #[test]
    fn each_thing_that_the_draft_forbids_is_refused_with_its_reason() {
        let long = format!("https://client.example/{}", "a".repeat(500));
        for (url, reason) in [
            ("http://client.example/a", "https://"),
            ("HTTPS://client.example/a", "https://"),
            (" https://client.example/a", "https://"),
            ("", "https://"),
            (&long, "500"),
            ("https://", "not a URL"),
            ("https:///", "not a URL"),
            ("https://client.example", "no path"),
            ("https://client.example/", "no path"),
            ("https://client.example/?a=/b", "no path"),
            ("https://client.example/a#", "fragment"),
            ("https://client.example/a#b", "fragment"),
            ("https://user@client.example/a", "user name"),
            ("https://user:word@client.example/a", "user name"),
            ("https://:word@client.example/a", "user name"),
            ("https://claude.ai@client.example/a", "user name"),
            ("https://client.example:8443/a", "port"),
            ("https://client.example:80/a", "port"),
            ("https://client.example:0/a", "port"),
            ("https://client.example/./a", "dot segments"),
            ("https://client.example/a/..", "dot segments"),
            ("https://client.example/a/../b", "dot segments"),
            ("https://client.example/a/%2e%2E/b", "dot segments"),
            ("https://client.example/a/.%2e/b", "dot segments"),
            ("https://client.example/a/%2E/b", "dot segments"),
            ("https://client.example/a/..%2fb", "dot segments"),
            ("https://client.example/a%5C..%5cb", "dot segments"),
        ] {
            let refusal = DocumentUrl::parse(url).unwrap_err();
            assert!(refusal.contains(reason), "{url}: {refusal}");
        }
    }

    #[test]
    fn characters_that_parsers_drop_or_change_are_refused() {
        for url in [
            "https://client.example/a b",
            "https://client.example/a\tb",
            "https://client.example/a\r\nhost: b",
            "https://client.example\\@other.example/a",
            "https://client.example/a\u{0}",
            "https://client.example/a\u{7f}",
            "https://client.example/é",
            "https://client。example/a",
            "https://client.example/a%",
            "https://client.example/a%2",
            "https://client.example/a%zz",
            "https://client.example/a%+1",
            "https://client.example/{a}",
        ] {
            assert!(DocumentUrl::parse(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn any_other_spelling_of_the_same_url_is_refused() {
        for url in [
            "https://CLIENT.example/a",
            "https://client%2eexample/a",
            "https://client.example:443/a",
            "https://client.example:/a",
            "https://@client.example/a",
            "https://:@client.example/a",
            "https:////client.example/a",
            "https://client.example/a?b='",
        ] {
            assert!(DocumentUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn forbidden_addresses_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "127.0.0.1.",
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0x7f.1",
            "0x7f.0x0.0x0.0x1",
            "0177.0.0.01",
            "127.000.000.001",
            "%31%32%37.0.0.1",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "2852039166",
            "172.16.0.1",
            "192.168.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "256.0.0.1",
            "1.2.3.4.5",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::7f00:1]",
            "[::127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:b00:1]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fe80::1%25lo]",
            "[ff02::1]",
            "[2003:0::1]",
            "[2003::A]",
            "::1",
        ] {
            let url = format!("https://{host}/client.json");
            assert!(DocumentUrl::parse(&url).is_err(), "{url}");
        }
    }

    #[test]
    fn names_that_a_search_list_would_complete_are_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = "a.".repeat(130) + "example";
        for host in [
            "localhost",
            "localhost.",
            "metadata",
            "client.example.",
            "client..example",
            ".client.example",
            ".",
            &long,
            &longer,
        ] {
            let url = format!("https://{host}/client.json");
            assert!(DocumentUrl::parse(&url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_an_https_url_is_meant_as_a_document() {
        assert!(is_document_url("https://client.example/a"));
        assert!(!is_document_url("http://client.example/a"));
        assert!(!is_document_url("3f2b8a60-0000-4000-8000-000000000000"));
    }
}
