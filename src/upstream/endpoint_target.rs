//! Where an HTTP+SSE upstream wants messages sent, as a token in a path of ours: signed, since otherwise a
//! client could reach any path of the upstream's origin with our credential.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use url::Url;

/// Longest path and query, in bytes.
const LONGEST: usize = 4096;
/// Longest token: both parts in base64, and the dot.
const LONGEST_TOKEN: usize = (LONGEST * 4).div_ceil(3) + 1 + 43;
/// What the signature is for, lest one made for another purpose fit.
const CONTEXT: &[u8] = b"mcp http+sse endpoint, version 1";

/// The URL that an endpoint event means: resolved against the URL of its stream, as clients do. `None` unless it
/// lies on the same origin (scheme, host, port), says no other user than the stream's URL does, and is of
/// sensible length. Control characters are refused, for clients differ in what they make of them.
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
    let acceptable = url.origin() == stream_url.origin()
        && (no_user || same_user)
        && path_and_query(&url).len() <= LONGEST;
    acceptable.then_some(url)
}

/// The token for a target: `<base64url(path and query)>.<base64url(signature)>`. The signature also covers the
/// origin, so that no token outlives a change of the upstream.
#[must_use]
pub fn encode_target(key: &[u8; 32], target: &Url) -> String {
    let path_and_query = path_and_query(target);
    let signature = mac(key, target, path_and_query).finalize().into_bytes();
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(path_and_query),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

/// The target of a token: on the origin of `base`, and exactly the path and query that were signed. `None` for
/// a token that was not made with this key for this origin.
#[must_use]
pub fn decode_target(key: &[u8; 32], token: &str, base: &Url) -> Option<Url> {
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    let (presented, signature) = token.split_once('.')?;
    let presented = String::from_utf8(URL_SAFE_NO_PAD.decode(presented).ok()?).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    // Compares in constant time.
    mac(key, base, &presented).verify_slice(&signature).ok()?;
    let signed = presented;
    // Put together, not joined: `//host` would leave the origin.
    let url = Url::parse(&(base.origin().ascii_serialization() + &signed)).ok()?;
    let as_signed = url.origin() == base.origin()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && path_and_query(&url) == signed;
    as_signed.then_some(url)
}

fn mac(key: &[u8; 32], of_origin: &Url, path_and_query: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    // Neither context nor origin holds a zero byte, so the parts cannot run into each other.
    mac.update(CONTEXT);
    mac.update(b"\0");
    mac.update(of_origin.origin().ascii_serialization().as_bytes());
    mac.update(b"\0");
    mac.update(path_and_query.as_bytes());
    mac
}

fn path_and_query(url: &Url) -> &str {
    &url[url::Position::BeforePath..url::Position::AfterQuery]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

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
    fn other_origins_and_odd_spellings_are_refused() {
        let long = format!("/{}", "x".repeat(LONGEST));
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
    fn a_token_leads_to_its_target_and_back() {
        for target in [
            "https://up.example/",
            "https://up.example/messages?sessionId=7f&x=%2F..%2F",
            "https://up.example/m?",
            "https://up.example//evil.example/m",
            "https://up.example/a%2Fb/%2e%2e%2fc?x=é#never",
            "http://127.0.0.1:8080/m?x",
        ] {
            let mut target = url(target);
            let token = encode_target(&KEY, &target);
            target.set_fragment(None);
            assert_eq!(decode_target(&KEY, &token, &target), Some(target.clone()));
            let base = target.join("/other?q").unwrap();
            assert_eq!(decode_target(&KEY, &token, &base), Some(target));
        }
    }

    #[test]
    fn the_longest_target_has_a_token_that_is_read() {
        let base = url("https://up.example/sse");
        for spare in 0..4 {
            let data = format!("/{}", "x".repeat(LONGEST - 1 - spare));
            let target = resolve_endpoint(&base, &data).unwrap();
            let token = encode_target(&KEY, &target);
            assert_eq!(decode_target(&KEY, &token, &base), Some(target));
        }
        let longer = url(&format!("https://up.example/{}", "x".repeat(LONGEST)));
        assert_eq!(
            decode_target(&KEY, &encode_target(&KEY, &longer), &base),
            None
        );
    }

    #[test]
    fn a_token_holds_for_its_key_and_origin_alone() {
        let target = url("https://up.example/m?x=1");
        let token = encode_target(&KEY, &target);
        assert_eq!(decode_target(&[8; 32], &token, &target), None);
        for other in [
            "https://evil.example/m",
            "http://up.example/m",
            "https://up.example:8443/m",
        ] {
            assert_eq!(decode_target(&KEY, &token, &url(other)), None, "{other}");
        }
    }

    #[test]
    fn a_token_changed_anywhere_is_refused() {
        let target = url("https://up.example/m?x=1");
        let token = encode_target(&KEY, &target);
        for at in 0..token.len() {
            for with in ["", ".", "A", "B", "-", "=", "é", "AA"] {
                let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
                let read = decode_target(&KEY, &changed, &target);
                assert_eq!(read.is_some(), changed == token, "{changed}");
            }
        }
        let (path, signature) = token.split_once('.').unwrap();
        for bad in [
            String::new(),
            ".".to_owned(),
            format!("{path}."),
            format!(".{signature}"),
            format!("{token}A"),
            format!("{token}."),
            format!("{path}.{}", &signature[..42]),
            "A".repeat(1 << 20),
        ] {
            assert_eq!(decode_target(&KEY, &bad, &target), None);
        }
    }

    #[test]
    fn even_a_signed_text_that_is_no_plain_path_is_refused() {
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
            let signature = mac(&KEY, &base, text).finalize().into_bytes();
            let token = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(text),
                URL_SAFE_NO_PAD.encode(signature)
            );
            assert_eq!(decode_target(&KEY, &token, &base), None, "{text}");
        }
    }

    /// Fixes the form: tokens are in clients' hands while versions change. The value was computed with another
    /// implementation of HMAC.
    #[test]
    fn the_form_of_a_token_stays() {
        assert_eq!(
            encode_target(&KEY, &url("https://up.example/m?x=1")),
            "L20_eD0x.4483t7znUoZTZwp9fP_jAt-5K3Hf5LR0_q2o3VD4myU"
        );
    }
}
