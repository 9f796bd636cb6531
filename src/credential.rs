//! Codes, access tokens and refresh tokens: how they are generated, derived, parsed and fingerprinted.
//!
//! A credential is sent as `mcp_ac_<id>.<secret>` (code), `mcp_at_<id>.<secret>` (access token) or
//! `mcp_rt_<id>.<family>.<secret>` (refresh token). With the id the connection is found in one read, the secret proves
//! possession, and secret scanners recognise a leaked credential by its prefix. Only [`Fingerprint`]s are stored.

mod known_browser;

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use known_browser::KnownBrowserKey;

/// The source of every random value. It is passed as an argument, so that tests can replace it.
#[derive(Clone)]
pub struct Randomness(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Randomness {
    /// The operating system's generator.
    ///
    /// # Panics
    /// When a value is generated and the operating system returns no random bytes: nothing is safe without them.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that calls the operating system's generator"
    )]
    pub fn system() -> Self {
        Self::from_fn(|bytes| {
            getrandom::fill(bytes).expect("the operating system returns random bytes");
        })
    }

    /// A source that calls `fill`.
    #[must_use]
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// 128 random bits as 22 characters of base64url, for ids.
    #[must_use]
    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<16>())
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Randomness")
    }
}

/// The id of a connection: 128 random bits. It is not a secret, but nobody can guess it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// A new id.
    #[must_use]
    pub fn generate(randomness: &Randomness) -> Self {
        Self(randomness.id())
    }

    /// Parses an id; `None` unless it is exactly 16 bytes of canonical base64url.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode::<16>(text).map(|_| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 hash of a secret value, in base64url. The store keeps only this.
///
/// A fast hash is sufficient, because the values have at least 128 random bits and cannot be guessed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a secret text.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(secret)))
    }

    /// The fingerprint as text, for the store's conditions.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Compares in constant time, although a fingerprint gives no access.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Fingerprint {}

/// A secret text. It has no `Display`, and its `Debug` output does not contain it.
#[derive(Clone)]
pub struct SecretString(String);

impl SecretString {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// A new secret: the prefix and 256 random bits.
    #[must_use]
    pub fn generate(prefix: &str, randomness: &Randomness) -> Self {
        Self(format!(
            "{prefix}{}",
            URL_SAFE_NO_PAD.encode(randomness.bytes::<32>())
        ))
    }

    /// The secret itself. Use it only in the response that issues it, in the header that carries it, or in a comparison.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its fingerprint, which may be stored.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// Whether the presented text is this secret. Compares the hashes in constant time, so that not even the length leaks.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        Sha256::digest(&self.0)
            .ct_eq(&Sha256::digest(presented))
            .into()
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A credential of the form `<prefix><id>.<secret>`.
macro_rules! credential {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            id: ConnectionId,
            plain: SecretString,
        }

        impl $name {
            const PREFIX: &str = $prefix;

            fn from_secret(id: &ConnectionId, secret: [u8; 32]) -> Self {
                let plain = SecretString(format!("{}{id}.{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(secret)));
                Self { id: id.clone(), plain }
            }

            /// A new credential of the connection.
            #[must_use]
            pub fn generate(id: &ConnectionId, randomness: &Randomness) -> Self {
                Self::from_secret(id, randomness.bytes())
            }

            /// Parses a presented credential; `None` unless it has exactly the form in which they are issued.
            #[must_use]
            pub fn parse(presented: &str) -> Option<Self> {
                let (id, secret) = presented.strip_prefix(Self::PREFIX)?.split_once('.')?;
                let id = ConnectionId::parse(id)?;
                decode::<32>(secret)?;
                Some(Self { id, plain: SecretString(presented.to_owned()) })
            }

            /// The id of its connection.
            #[must_use]
            pub fn id(&self) -> &ConnectionId {
                &self.id
            }

            /// The credential itself. Use it only in the response that issues it.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.plain.expose()
            }

            /// Its fingerprint, which may be stored.
            #[must_use]
            pub fn fingerprint(&self) -> Fingerprint {
                self.plain.fingerprint()
            }
        }
    };
}

credential!(
    /// An authorization code (RFC 6749 §4.1.2).
    Code,
    "mcp_ac_"
);
credential!(
    /// An access token (RFC 6749 §1.4). It is opaque to clients.
    AccessToken,
    "mcp_at_"
);

/// A refresh token (RFC 6749 §1.5). Its family stays the same for the lifetime of a connection, so that an old refresh
/// token can be distinguished from a guess.
#[derive(Clone)]
pub struct RefreshToken {
    id: ConnectionId,
    family: [u8; 16],
    secret: [u8; 32],
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl RefreshToken {
    const PREFIX: &str = "mcp_rt_";

    /// The first refresh token of a new family.
    #[must_use]
    pub fn generate(id: &ConnectionId, randomness: &Randomness) -> Self {
        Self {
            id: id.clone(),
            family: randomness.bytes(),
            secret: randomness.bytes(),
        }
    }

    /// Parses a presented credential; `None` unless it has exactly the form in which they are issued.
    #[must_use]
    pub fn parse(presented: &str) -> Option<Self> {
        let (id, rest) = presented.strip_prefix(Self::PREFIX)?.split_once('.')?;
        let (family, secret) = rest.split_once('.')?;
        Some(Self {
            id: ConnectionId::parse(id)?,
            family: decode(family)?,
            secret: decode(secret)?,
        })
    }

    /// The pair of tokens that follows this token, derived with HKDF (RFC 5869). It is always the same for the same nonce
    /// and generation: a client that repeats a refresh gets the response that was lost, and the store keeps no token.
    ///
    /// # Panics
    /// Never: HKDF-SHA256 can always output 32 bytes.
    #[must_use]
    pub fn successors(&self, nonce: &Nonce, generation: u64) -> (AccessToken, Self) {
        let hkdf = Hkdf::<Sha256>::new(Some(&nonce.0), &self.secret);
        let derive = |kind: &str| {
            let mut secret = [0; 32];
            hkdf.expand(
                format!("{kind}|{}|{generation}", self.id).as_bytes(),
                &mut secret,
            )
            .expect("HKDF-SHA256 can output 32 bytes");
            secret
        };
        let access = AccessToken::from_secret(&self.id, derive("access"));
        let refresh = Self {
            id: self.id.clone(),
            family: self.family,
            secret: derive("refresh"),
        };
        (access, refresh)
    }

    /// The id of its connection.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// The token itself. Use it only in the response that issues it.
    #[must_use]
    pub fn expose(&self) -> String {
        let (family, secret) = (
            URL_SAFE_NO_PAD.encode(self.family),
            URL_SAFE_NO_PAD.encode(self.secret),
        );
        format!("{}{}.{family}.{secret}", Self::PREFIX, self.id)
    }

    /// Its fingerprint, which may be stored.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.expose())
    }

    /// The fingerprint of its family, which may be stored.
    #[must_use]
    pub fn family(&self) -> Fingerprint {
        Fingerprint::of(&URL_SAFE_NO_PAD.encode(self.family))
    }
}

/// A token of either kind, presented for revocation.
#[derive(Clone, Debug)]
pub enum IssuedToken {
    /// An access token.
    Access(AccessToken),
    /// A refresh token.
    Refresh(RefreshToken),
}

impl IssuedToken {
    /// Parses a presented credential; `None` unless it has exactly the form in which they are issued.
    #[must_use]
    pub fn parse(presented: &str) -> Option<Self> {
        AccessToken::parse(presented)
            .map(Self::Access)
            .or_else(|| RefreshToken::parse(presented).map(Self::Refresh))
    }

    /// The id of its connection.
    #[must_use]
    pub fn connection_id(&self) -> &ConnectionId {
        match self {
            Self::Access(token) => token.id(),
            Self::Refresh(token) => token.id(),
        }
    }
}

/// The random salt of one rotation. It is stored, and useless without the refresh token.
#[derive(Clone)]
pub struct Nonce([u8; 32]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce")
    }
}

impl Nonce {
    /// A new nonce.
    #[must_use]
    pub fn generate(randomness: &Randomness) -> Self {
        Self(randomness.bytes())
    }

    /// Parses a stored nonce.
    #[must_use]
    pub fn parse(stored: &str) -> Option<Self> {
        decode(stored).map(Self)
    }

    /// The nonce in the form in which it is stored.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// The key with which the message URLs of a connection are sealed, for HTTP+SSE upstreams. Clients never get it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// A new key.
    #[must_use]
    pub fn generate(randomness: &Randomness) -> Self {
        Self(randomness.bytes())
    }

    /// The key itself, for the cipher.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

impl From<SealingKey> for String {
    fn from(key: SealingKey) -> Self {
        URL_SAFE_NO_PAD.encode(key.0)
    }
}

impl TryFrom<String> for SealingKey {
    type Error = &'static str;

    fn try_from(stored: String) -> Result<Self, Self::Error> {
        decode(&stored).map(Self).ok_or("not a sealing key")
    }
}

/// Exactly `N` bytes of canonical base64url without padding.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Checks the length first, so that very long input is not decoded.
    (text.len() == (N * 4).div_ceil(3)).then_some(())?;
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
