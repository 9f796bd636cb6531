//! Whether a text or a header from the upstream holds one of our credentials: some servers repeat what they refuse.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderName;
use percent_encoding::percent_decode_str;

use super::headers::REQUEST_HEADERS;
use crate::{config::UpstreamConfig, secrets::Secret};

/// This many characters in a row of a credential count as the credential: texts may be cut off anywhere.
const PART_CHARACTERS: usize = 12;
/// So much of a text is checked: far more than is ever quoted of it.
const CHECKED_CHARACTERS: usize = 4096;
/// A pinned header or query parameter that is shorter is not taken for a key.
const KEY_CHARACTERS_MIN: usize = 8;
/// In a response header, a query parameter counts from this length on, with a digit: `Link` and the like also repeat those
/// that are no keys.
const KEY_IN_LINK_CHARACTERS_MIN: usize = 16;

/// The credentials that requests to the upstream carry in headers, in every form in which a response header may repeat
/// them. A response header passes to the client only if it contains none (see [`for_client`](super::headers::for_client)).
///
/// Unlike [`holds_credential`], a part does not count, nor does the path of the URL: a header that is dropped by mistake
/// may break a session, and two JSON Web Tokens begin alike.
pub struct SentCredentials(Vec<String>);

impl SentCredentials {
    /// The upstream's token, and the pinned headers and query parameters that could be keys.
    #[must_use]
    pub fn new(config: &UpstreamConfig, secret: &Secret) -> Self {
        let credentials = sent_in_headers(config, secret);
        let long = credentials.filter(|credential| credential.len() >= KEY_CHARACTERS_MIN);
        let query = config.url.query_pairs().map(|(_, value)| value);
        let keys = query.filter(|value| {
            value.len() >= KEY_IN_LINK_CHARACTERS_MIN && value.bytes().any(|b| b.is_ascii_digit())
        });
        let all = long.chain(keys.map(Cow::into_owned));
        Self(all.map(|credential| credential.to_lowercase()).collect())
    }

    /// Whether the text contains one of them: in upper or lower case, plain, percent-encoded or escaped as in JSON.
    #[must_use]
    pub fn are_in(&self, text: &str) -> bool {
        let texts = readings(text);
        let mut credentials = self.0.iter();
        credentials.any(|credential| texts.iter().any(|text| text.contains(credential)))
    }
}

/// Whether the text holds the upstream's token, or a pinned header or a query parameter of `UPSTREAM_MCP` that could
/// be a key: all of it or a long enough part, in upper or lower case, plain, percent-encoded or escaped as in JSON.
#[must_use]
pub fn holds_credential(config: &UpstreamConfig, secret: &Secret, text: &str) -> bool {
    let query = config.url.query_pairs().map(|(_, value)| value);
    // Some services put the key into the path.
    let segments = config.url.path().split('/').map(Cow::from);
    let segments = segments.filter(|segment| {
        segment.len() >= PART_CHARACTERS && segment.bytes().any(|b| b.is_ascii_digit())
    });
    let in_url = query
        .chain(segments)
        .filter(|value| value.len() >= KEY_CHARACTERS_MIN)
        .map(Cow::into_owned);
    // Only the beginning of a text is quoted.
    let text: String = text.chars().take(CHECKED_CHARACTERS).collect();
    let texts = readings(&text);
    sent_in_headers(config, secret)
        .chain(in_url)
        .any(|credential| {
            let credential = credential.to_lowercase();
            texts.iter().any(|text| holds_part(text, &credential))
        })
}

/// The upstream's token, also as it was before it was encoded, and the pinned headers that could be keys.
fn sent_in_headers(config: &UpstreamConfig, secret: &Secret) -> impl Iterator<Item = String> {
    let header_value = secret.upstream_token.header_value();
    let sent = header_value.to_str().unwrap_or_default();
    let token = sent.split_once(' ').map_or(sent, |(_scheme, token)| token);
    let mut credentials = vec![token.to_owned(), STANDARD.encode(token)];
    // Basic (RFC 7617 §2): user name and password before they were encoded.
    let decoded = STANDARD.decode(token).ok();
    if let Some(plain) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
        if let Some((_, password)) = plain.split_once(':') {
            credentials.push(password.to_owned());
        }
        credentials.push(plain);
    }
    let pinned = config.headers.iter().chain(&secret.upstream_headers);
    let pinned = pinned
        .filter(|(name, _)| !is_no_key(name))
        .filter_map(|(_, value)| value.to_str().ok())
        .filter(|value| value.len() >= KEY_CHARACTERS_MIN);
    credentials.extend(pinned.map(str::to_owned));
    credentials.into_iter()
}

/// Whether the header is known not to be a key. `X-MCP-Toolsets` and the like choose tools; another `X-MCP-` header may be
/// a key.
fn is_no_key(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "x-mcp-readonly"
            | "x-mcp-lockdown"
            | "x-mcp-toolsets"
            | "x-mcp-tools"
            | "mcp-protocol-version"
    ) || REQUEST_HEADERS.contains(&name.as_str())
}

/// A text as it is, percent-decoded, and without the escapes of JSON; in lower case.
fn readings(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_lowercase()];
    if text.contains('%') {
        let decoded = percent_decode_str(text).decode_utf8_lossy();
        readings.push(decoded.to_lowercase());
    }
    if text.contains('\\') {
        readings.push(unescaped(text).to_lowercase());
    }
    readings
}

fn holds_part(text: &str, credential: &str) -> bool {
    if credential.is_empty() {
        return false;
    }
    if text.contains(credential) {
        return true;
    }
    // The user name in front of a password is not secret.
    let secret = credential
        .split_once(':')
        .map_or(credential, |(_, password)| password);
    secret.is_ascii()
        && secret.len() >= PART_CHARACTERS
        && (0..=secret.len() - PART_CHARACTERS)
            .any(|at| text.contains(&secret[at..at + PART_CHARACTERS]))
}

/// Decodes the escapes of JSON strings (`\/`, `\u002b`), in any text: a message may quote part of a document.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after
            .strip_prefix('u')
            .and_then(|after| u32::from_str_radix(after.get(..4)?, 16).ok())
            .and_then(char::from_u32);
        rest = match code {
            Some(c) => {
                plain.push(c);
                &after[5..]
            }
            None => after,
        };
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, HostKind},
        pin::Pin,
        secrets::TokenForm,
    };

    const TOKEN: &str = "github_pat_11AAAA/BBBB+CCCC~dddd";

    fn holds(token: &str, text: &str) -> bool {
        let (config, secret) = settings(token);
        holds_credential(&config, &secret, text)
    }

    fn settings(token: &str) -> (UpstreamConfig, Secret) {
        let scheme = if token.contains(':') {
            "Basic"
        } else {
            "Bearer"
        };
        let config = Config::read(HostKind::Local, |name| {
            match name {
            "UPSTREAM_AUTH_SCHEME" => Some(scheme.to_owned()),
            "UPSTREAM_MCP" => Some("https://up.example/mcp/s/inThePath4711/sse?k=inTheQuery1&v=2&key=aLongKeyInTheQuery1".to_owned()),
            "UPSTREAM_HEADERS" => Some(
                r#"{"X-Key":"pinnedKey77","X-MCP-Toolsets":"repos,issues","X-MCP-Key":"alsoAKey99","X-Mode":"fast"}"#
                    .to_owned(),
            ),
            _ => None,
        }
        });
        let config = config.unwrap().upstream;
        let secret = Secret {
            upstream_token: TokenForm::from(&config).read(token).unwrap(),
            pin: Pin::parse("abc234").unwrap(),
            upstream_headers: vec![("x-second".parse().unwrap(), "secondKey88".parse().unwrap())],
            clients: Vec::new(),
            origin_secret: None,
        };
        (config, secret)
    }

    #[test]
    fn a_response_header_must_not_contain_a_whole_credential_nor_a_key_of_the_query() {
        let (config, secret) = settings(TOKEN);
        let credentials = SentCredentials::new(&config, &secret);
        for text in [
            "Bearer github_pat_11AAAA/BBBB+CCCC~dddd",
            "<https://up.example/mcp/s/x?key=aLongKeyInTheQuery1&page=2>; rel=next",
            "pinnedKey77",
        ] {
            assert!(credentials.are_in(text), "{text}");
        }
        for text in [
            "github_pat_11AAAA/BBBB",
            "<https://up.example/mcp/s/inThePath4711/sse?k=inTheQuery1&v=2&page=2>",
        ] {
            assert!(!credentials.are_in(text), "{text}");
        }
    }

    #[test]
    fn a_credential_is_found_however_it_is_written() {
        for text in [
            "bad token github_pat_11AAAA/BBBB+CCCC~dddd!",
            "bad token GITHUB_PAT_11aaaa/bbbb+cccc~DDDD",
            "cut: github_pat_11AAAA/BB…",
            "middle: AAAA/BBBB+CC",
            r#"{"token":"github_pat_11AAAA\/BBBB+CCCC~dddd"}"#,
            r#"{"token":"AAAA/BBBB\u002bCCCC\u007Edddd"}"#,
            "?token=AAAA%2FBBBB%2BCCCC%7Edddd",
            "Basic Z2l0aHViX3BhdF8xMUFBQUEvQkJCQitDQ0NDfmRkZGQ=",
            "key pinnedKey77",
            "key secondKey88",
            "key alsoAKey99",
            "?k=inTheQuery1",
            "Cannot POST /mcp/s/inThePath4711/sse",
        ] {
            assert!(holds(TOKEN, text), "{text}");
        }
        assert!(holds(
            "me@example.com:password-of-mine",
            "no: password-of-mine"
        ));
        assert!(holds("short", "it was short"));
    }

    #[test]
    fn other_texts_are_not_taken_for_a_credential() {
        for text in [
            "",
            "unauthorized: not licensed to use Copilot",
            "use a github_pat_ token",
            "unknown toolset repos,issues; mode fast; v=2",
            r"a \ backslash \u12 and \ud800 at the end \",
        ] {
            assert!(!holds(TOKEN, text), "{text}");
        }
        assert!(!holds(
            "me@example.com:password-of-mine",
            "me@example.com has no licence"
        ));
    }
}
