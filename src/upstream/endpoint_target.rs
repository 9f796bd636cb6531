//! The URL to which an HTTP+SSE upstream wants messages sent, as a token in a path of ours. The token is encrypted and
//! authenticated: a client that could forge one would reach any path of the upstream's origin with our credential, and
//! one that could read it would see the keys that some upstreams put into their URLs.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use url::Url;

use crate::credential::{Randomness, SealingKey};

/// Longest path and query.
const TARGET_BYTES_MAX: usize = 4096;
/// Longest token: nonce, target and tag in base64.
const TOKEN_BYTES_MAX: usize = ((NONCE_LEN + TARGET_BYTES_MAX + 16) * 4).div_ceil(3);
/// Authenticated with each target, so that nothing that is sealed for another purpose is accepted here.
const CONTEXT: &str = "mcp http+sse endpoint, version 1";

/// The URL that an endpoint event means: resolved against the URL of its stream, as clients do. `None` unless it has the
/// same origin (scheme, host, port) and the same user or none, and is not too long. Control characters are refused,
/// because clients differ in how they read them.
#[must_use]
pub fn resolve_endpoint(stream_url: &Url, data: &str) -> Option<Url> {
    if data.chars().any(char::is_control) {
        return None;
    }
    let mut url = stream_url.join(data).ok()?;
    url.set_fragment(None);
    let no_user = url.username().is_empty() && url.password().is_none();
    let same_user =
        url.username() == stream_url.username() && url.password() == stream_url.password();
    let allowed = url.origin() == stream_url.origin()
        && (no_user || same_user)
        && path_and_query(&url).len() <= TARGET_BYTES_MAX;
    allowed.then_some(url)
}

/// The token for a target: nonce, encrypted path and query, and tag (RFC 8439 §2.8), in base64url. The origin is
/// authenticated with it, so that no token is valid after the upstream was changed.
///
/// # Panics
/// Never: a target is far shorter than the cipher's limit.
#[must_use]
pub fn seal_target(key: &SealingKey, randomness: &Randomness, target: &Url) -> String {
    // Random nonces are safe here: a key encrypts a few targets in its life, not billions.
    let nonce: [u8; NONCE_LEN] = randomness.bytes();
    let mut sealed = path_and_query(target).as_bytes().to_vec();
    cipher(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context(target)),
            &mut sealed,
        )
        .expect("the target is short enough to be sealed");
    URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
}

/// The target of a token: on the origin of `base`, with exactly the path and query that were sealed. `None` for a token
/// that was not made with this key for this origin.
#[must_use]
pub fn open_target(key: &SealingKey, token: &str, base: &Url) -> Option<Url> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let opened = cipher(key)
        .open_in_place(nonce, Aad::from(context(base)), &mut sealed)
        .ok()?;
    let opened = std::str::from_utf8(opened).ok()?;
    // Concatenated, not joined: `//host` would leave the origin.
    let url = Url::parse(&(base.origin().ascii_serialization() + opened)).ok()?;
    let as_sealed = url.origin() == base.origin()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && path_and_query(&url) == opened;
    as_sealed.then_some(url)
}

fn cipher(key: &SealingKey) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.bytes()).expect("the key has 32 bytes");
    LessSafeKey::new(key)
}

/// Neither part holds a zero byte, so the separator is unambiguous.
fn context(of_origin: &Url) -> String {
    format!("{CONTEXT}\0{}", of_origin.origin().ascii_serialization())
}

fn path_and_query(url: &Url) -> &str {
    &url[url::Position::BeforePath..url::Position::AfterQuery]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::generate(&Randomness::from_fn(move |bytes| bytes.fill(byte)))
    }

    fn sealed(target: &Url) -> String {
        seal_target(&key(7), &Randomness::system(), target)
    }

    fn opened(token: &str, base: &Url) -> Option<Url> {
        open_target(&key(7), token, base)
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn resolved(data: &str) -> Option<String> {
        resolve_endpoint(&url("https://up.example/a/sse?k=v"), data).map(Into::into)
    }

    #[test]
    fn endpoints_are_resolved_as_clients_do() {
        for (data, target) in [
            (
                "/messages?sessionId=7f",
                "https://up.example/messages?sessionId=7f",
            ),
            ("messages", "https://up.example/a/messages"),
            ("../m?x", "https://up.example/m?x"),
            ("?sessionId=7f", "https://up.example/a/sse?sessionId=7f"),
            ("", "https://up.example/a/sse?k=v"),
            ("  /m ", "https://up.example/m"),
            ("/m#part", "https://up.example/m"),
            ("/a b/é", "https://up.example/a%20b/%C3%A9"),
            ("//up.example/m", "https://up.example/m"),
            ("https://up.example/m?x=1", "https://up.example/m?x=1"),
            ("HTTPS://UP.example:443/m", "https://up.example/m"),
            ("https:/m", "https://up.example/m"),
        ] {
            assert_eq!(resolved(data).as_deref(), Some(target), "{data}");
        }
    }

    #[test]
    fn other_origins_and_ambiguous_spellings_are_refused() {
        let long = format!("/{}", "x".repeat(TARGET_BYTES_MAX));
        for data in [
            "https://evil.example/m",
            "http://up.example/m",
            "https://up.example:8443/m",
            "https://up.example.evil.example/m",
            "https://up.example@evil.example/m",
            "https://user:word@up.example/m",
            "https://user@up.example/m",
            "//evil.example/m",
            "\\\\evil.example/m",
            "/\\evil.example/m",
            "/\t/evil.example/m",
            "/m\r\nevent: x",
            "/m\n",
            "/m\0",
            "javascript:alert(1)",
            "data:,x",
            "file:///etc/passwd",
            "https://",
            "https://[",
            &long,
        ] {
            assert_eq!(resolved(data), None, "{data}");
        }
    }

    #[test]
    fn a_token_leads_to_its_target() {
        for target in [
            "https://up.example/",
            "https://up.example/messages?sessionId=7f&x=%2F..%2F",
            "https://up.example/m?",
            "https://up.example//evil.example/m",
            "https://up.example/a%2Fb/%2e%2e%2fc?x=é#never",
            "http://127.0.0.1:8080/m?x",
        ] {
            let mut target = url(target);
            let token = sealed(&target);
            target.set_fragment(None);
            assert_eq!(opened(&token, &target), Some(target.clone()));
            let base = target.join("/other?q").unwrap();
            assert_eq!(opened(&token, &base), Some(target));
        }
    }

    #[test]
    fn a_target_of_the_longest_length_fits_into_a_token() {
        let base = url("https://up.example/sse");
        for spare in 0..4 {
            let data = format!("/{}", "x".repeat(TARGET_BYTES_MAX - 1 - spare));
            let target = resolve_endpoint(&base, &data).unwrap();
            let token = sealed(&target);
            assert_eq!(opened(&token, &base), Some(target));
        }
        let longer = url(&format!(
            "https://up.example/{}",
            "x".repeat(TARGET_BYTES_MAX)
        ));
        assert_eq!(opened(&sealed(&longer), &base), None);
    }

    #[test]
    fn a_token_is_valid_for_its_key_and_origin_alone() {
        let target = url("https://up.example/m?x=1");
        let token = sealed(&target);
        assert_eq!(open_target(&key(8), &token, &target), None);
        for other in [
            "https://evil.example/m",
            "http://up.example/m",
            "https://up.example:8443/m",
        ] {
            assert_eq!(opened(&token, &url(other)), None, "{other}");
        }
    }

    #[test]
    fn a_token_changed_anywhere_is_refused() {
        let target = url("https://up.example/m?x=1");
        let token = sealed(&target);
        for at in 0..token.len() {
            for with in ["", ".", "A", "B", "-", "=", "é", "AA"] {
                let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
                let read = opened(&changed, &target);
                assert_eq!(read.is_some(), changed == token, "{changed}");
            }
        }
        for bad in [
            String::new(),
            "A".repeat(15),
            "A".repeat(16),
            "A".repeat(40),
            format!("{token}A"),
            format!("{token}="),
            token[..token.len() - 1].to_owned(),
            "A".repeat(1 << 20),
        ] {
            assert_eq!(opened(&bad, &target), None);
        }
    }

    #[test]
    fn a_token_reveals_nothing_of_its_target_and_is_never_the_same_twice() {
        let target = url("https://up.example/key-in-the-path/m?api_key=secret");
        let (one, two) = (sealed(&target), sealed(&target));
        assert_ne!(one, two);
        let bytes = URL_SAFE_NO_PAD.decode(&one).unwrap();
        for part in ["key-in", "secret", "api_key"] {
            assert!(
                !bytes
                    .windows(part.len())
                    .any(|window| window == part.as_bytes())
            );
        }
    }

    #[test]
    fn even_a_sealed_text_that_is_not_a_plain_path_is_refused() {
        let base = url("https://up.example/");
        for text in [
            "",
            "m",
            "@evil.example/",
            ":8443/m",
            ".evil.example/",
            "/a/../b",
            "/m#x",
            "/a b",
            "?x",
        ] {
            let mut bytes = text.as_bytes().to_vec();
            cipher(&key(7))
                .seal_in_place_append_tag(
                    Nonce::assume_unique_for_key([1; NONCE_LEN]),
                    Aad::from(context(&base)),
                    &mut bytes,
                )
                .unwrap();
            let token = URL_SAFE_NO_PAD.encode([&[1; NONCE_LEN][..], &bytes].concat());
            assert_eq!(opened(&token, &base), None, "{text}");
        }
    }
}
