//! The cookie of a browser in which the right PIN was entered: `<random id>.<expiry>.<HMAC of both>`. It proves itself, so
//! that nothing is stored for it until a wrong PIN is entered there.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;

use super::{Randomness, decode};

/// The key of these cookies, one for each table. With it somebody could only make browsers known, which share an allowance of
/// tries.
#[derive(Clone)]
pub struct KnownBrowserKey([u8; 32]);

impl KnownBrowserKey {
    /// A new key.
    #[must_use]
    pub fn generate(randomness: &Randomness) -> Self {
        Self(randomness.bytes())
    }

    /// Parses a stored key.
    #[must_use]
    pub fn parse(stored: &str) -> Option<Self> {
        decode(stored).map(Self)
    }

    /// The key in the form in which it is stored.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// A new cookie, valid until `expires_at` (Unix seconds).
    #[must_use]
    pub fn cookie(&self, expires_at: u64, randomness: &Randomness) -> String {
        let value = format!("{}.{expires_at}", randomness.id());
        let tag = hmac::sign(&self.hmac(), value.as_bytes());
        format!("{value}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether this is a cookie of this key that has not expired at `now`.
    #[must_use]
    pub fn is_valid(&self, cookie: &str, now: u64) -> bool {
        let Some((value, tag)) = cookie.rsplit_once('.') else {
            return false;
        };
        let Some(tag) = decode::<32>(tag) else {
            return false;
        };
        let expires_at = value.rsplit_once('.').map(|(_, time)| time.parse::<u64>());
        hmac::verify(&self.hmac(), value.as_bytes(), &tag).is_ok()
            && matches!(expires_at, Some(Ok(expires_at)) if now < expires_at)
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for KnownBrowserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownBrowserKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unchanged_cookie_of_this_key_is_valid_and_until_it_expires() {
        let randomness = Randomness::system();
        let key = KnownBrowserKey::generate(&randomness);
        let cookie = key.cookie(1000, &randomness);
        assert!(key.is_valid(&cookie, 999) && !key.is_valid(&cookie, 1000));
        let stored = KnownBrowserKey::parse(&key.to_text()).unwrap();
        assert!(stored.is_valid(&cookie, 0));
        assert!(!KnownBrowserKey::generate(&randomness).is_valid(&cookie, 0));
        for at in 0..cookie.len() {
            let mut changed = cookie.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(!key.is_valid(&changed, 0), "{changed}");
        }
        for foreign in [
            "",
            ".",
            "..",
            &cookie[1..],
            &format!("{cookie}A"),
            &format!("{cookie}="),
            &cookie.replace(".1000.", ".2000."),
        ] {
            assert!(!key.is_valid(foreign, 0), "{foreign}");
        }
        assert_eq!(format!("{key:?}"), "KnownBrowserKey");
    }
}
