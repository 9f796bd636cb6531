//! Proof Key for Code Exchange (RFC 7636), method S256 only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A `code_challenge` of the method S256 (RFC 7636 §4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Parses a challenge; `None` unless it is the base64url form of 32 bytes, the output of S256.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok()).then(|| Self(text.to_owned()))
    }

    /// Whether the verifier is well-formed (RFC 7636 §4.1) and matches this challenge (§4.6).
    #[must_use]
    pub fn verify(&self, code_verifier: &str) -> bool {
        let well_formed = (43..=128).contains(&code_verifier.len())
            && code_verifier
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier));
        well_formed && bool::from(challenge.as_bytes().ct_eq(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_pair_of_the_rfc_fits() {
        assert!(CodeChallenge::parse(CHALLENGE).unwrap().verify(VERIFIER));
    }

    #[test]
    fn other_verifiers_are_refused() {
        let challenge = CodeChallenge::parse(CHALLENGE).unwrap();
        let long = "a".repeat(129);
        for verifier in [
            "",
            "short",
            CHALLENGE,
            &VERIFIER[..42],
            &format!("{VERIFIER}="),
            &long,
        ] {
            assert!(!challenge.verify(verifier), "{verifier}");
        }
    }

    #[test]
    fn a_verifier_of_the_wrong_alphabet_is_refused_even_when_its_hash_fits() {
        let verifier = "with spaces in it, yet long enough to be one of them";
        let challenge = CodeChallenge(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
        assert!(!challenge.verify(verifier));
    }

    #[test]
    fn malformed_challenges_are_not_read() {
        for bad in [
            "",
            "abc",
            &format!("{CHALLENGE}="),
            &CHALLENGE[1..],
            &CHALLENGE.replace('-', "+"),
        ] {
            assert!(CodeChallenge::parse(bad).is_none(), "{bad}");
        }
    }
}
