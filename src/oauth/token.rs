//! The token request (RFC 6749 §4.1.3, §6), its response (§5.1), and the rotation of refresh tokens.

use serde_json::{Value, json};

use super::{
    error::{ErrorCode, OAuthError},
    params::Params,
    redirect_uri::RedirectUri,
};
use crate::credential::{Code, Fingerprint, RefreshToken};

/// How often a refresh may be repeated within the grace period, not counting the first seconds.
pub const MAX_COUNTED_REPEATS: u64 = 10;
/// Seconds after a rotation during which repeats are not counted: a client may have sent parallel requests before it got
/// the first response.
pub const UNCOUNTED_REPEAT_SECONDS: u64 = 10;

/// A token request, by grant type.
///
/// No `Debug`: it contains a code verifier.
pub enum TokenRequest {
    /// RFC 6749 §4.1.3.
    AuthorizationCode {
        /// The presented code; `None` when it is malformed, so that client authentication is checked first.
        code: Option<Code>,
        /// If present, it must equal that of the authorization request; OAuth 2.1 no longer requires it.
        redirect_uri: Option<String>,
        /// RFC 7636 §4.5; always required, because every authorization has a challenge.
        code_verifier: String,
    },
    /// RFC 6749 §6.
    RefreshToken {
        /// The presented token; `None` when it is malformed.
        refresh_token: Option<RefreshToken>,
    },
}

impl TokenRequest {
    /// Parses a token request.
    ///
    /// # Errors
    /// `invalid_request` or `unsupported_grant_type`.
    pub fn parse(params: &Params) -> Result<Self, OAuthError> {
        params.no_duplicates()?;
        match params.required("grant_type")? {
            "authorization_code" => Ok(Self::AuthorizationCode {
                code: Code::parse(params.required("code")?),
                redirect_uri: params.once("redirect_uri")?.map(str::to_owned),
                code_verifier: params.required("code_verifier")?.to_owned(),
            }),
            "refresh_token" => Ok(Self::RefreshToken {
                refresh_token: RefreshToken::parse(params.required("refresh_token")?),
            }),
            _ => Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "grant_type must be authorization_code or refresh_token",
            )),
        }
    }
}

/// Whether the redirect URI of the token request is the one of the authorization request (RFC 6749 §4.1.3).
#[must_use]
pub fn same_redirect_uri(authorized: &RedirectUri, presented: Option<&str>) -> bool {
    presented.is_none_or(|presented| presented == authorized.as_str())
}

/// The body of a successful token response (RFC 6749 §5.1).
#[must_use]
pub fn response_body(
    access_token: &str,
    expires_in: u64,
    refresh_token: Option<&str>,
    scope: &str,
) -> Value {
    let mut body = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": expires_in,
        "scope": scope,
    });
    if let Some(refresh_token) = refresh_token {
        body["refresh_token"] = json!(refresh_token);
    }
    body
}

/// What the store keeps about the refresh tokens of a connection.
#[derive(Clone, Debug)]
pub struct RefreshState {
    /// Fingerprint of the family, the same for every refresh token of the connection.
    pub family: Fingerprint,
    /// Fingerprint of the current token.
    pub current: Fingerprint,
    /// Fingerprint of the previous token.
    pub previous: Option<Fingerprint>,
    /// When the previous one was exchanged for the current one, in unix seconds.
    pub rotated_at: u64,
    /// How often that exchange has been repeated, not counting the first seconds.
    pub repeats: u64,
}

/// How a presented refresh token relates to the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum RefreshTokenStatus {
    /// The current token: rotate.
    Current,
    /// The previous token within the grace period: the client gets the same pair of tokens again.
    Repeat {
        /// Whether this repeat counts towards [`MAX_COUNTED_REPEATS`].
        counted: bool,
    },
    /// Refused without further effect: a guess, or an old token within the grace period of the last rotation.
    Refused,
    /// An old token of the family after the grace period: a copy may have been stolen, so the connection must be ended
    /// (RFC 9700 §4.14.2).
    Replay,
}

impl RefreshState {
    /// Classifies a presented token. `now` and `grace` are in seconds.
    #[must_use]
    pub fn classify(&self, presented: &RefreshToken, now: u64, grace: u64) -> RefreshTokenStatus {
        let fingerprint = presented.fingerprint();
        if fingerprint == self.current {
            return RefreshTokenStatus::Current;
        }
        if presented.family() != self.family {
            return RefreshTokenStatus::Refused;
        }
        let age = now.saturating_sub(self.rotated_at);
        if age >= grace {
            return RefreshTokenStatus::Replay;
        }
        if self.previous.as_ref() != Some(&fingerprint) {
            return RefreshTokenStatus::Refused;
        }
        match (
            age < UNCOUNTED_REPEAT_SECONDS,
            self.repeats < MAX_COUNTED_REPEATS,
        ) {
            (true, _) => RefreshTokenStatus::Repeat { counted: false },
            (false, true) => RefreshTokenStatus::Repeat { counted: true },
            (false, false) => RefreshTokenStatus::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{ConnectionId, Nonce, Randomness};

    const GRACE: u64 = 120;

    struct Family {
        stranger: RefreshToken,
        oldest: RefreshToken,
        previous: RefreshToken,
        current: RefreshToken,
        state: RefreshState,
    }

    fn family() -> Family {
        let randomness = Randomness::system();
        let id = ConnectionId::generate(&randomness);
        let nonce = Nonce::generate(&randomness);
        let oldest = RefreshToken::generate(&id, &randomness);
        let previous = oldest.successors(&nonce, 1).1;
        let current = previous.successors(&nonce, 2).1;
        let state = RefreshState {
            family: current.family(),
            current: current.fingerprint(),
            previous: Some(previous.fingerprint()),
            rotated_at: 1000,
            repeats: 0,
        };
        Family {
            stranger: RefreshToken::generate(&id, &randomness),
            oldest,
            previous,
            current,
            state,
        }
    }

    #[test]
    fn the_current_token_rotates_at_any_time() {
        let f = family();
        for now in [0, 1000, 1_000_000] {
            assert_eq!(
                f.state.classify(&f.current, now, GRACE),
                RefreshTokenStatus::Current
            );
        }
    }

    #[test]
    fn the_previous_token_repeats_within_the_grace_and_is_a_replay_after_it() {
        let mut f = family();
        assert_eq!(
            f.state.classify(&f.previous, 1009, GRACE),
            RefreshTokenStatus::Repeat { counted: false }
        );
        assert_eq!(
            f.state.classify(&f.previous, 1010, GRACE),
            RefreshTokenStatus::Repeat { counted: true }
        );
        assert_eq!(
            f.state.classify(&f.previous, 1119, GRACE),
            RefreshTokenStatus::Repeat { counted: true }
        );
        assert_eq!(
            f.state.classify(&f.previous, 1120, GRACE),
            RefreshTokenStatus::Replay
        );
        f.state.repeats = MAX_COUNTED_REPEATS;
        assert_eq!(
            f.state.classify(&f.previous, 1119, GRACE),
            RefreshTokenStatus::Refused
        );
    }

    #[test]
    fn an_older_member_is_a_replay_unless_the_last_rotation_is_fresh() {
        let f = family();
        assert_eq!(
            f.state.classify(&f.oldest, 1119, GRACE),
            RefreshTokenStatus::Refused
        );
        assert_eq!(
            f.state.classify(&f.oldest, 1120, GRACE),
            RefreshTokenStatus::Replay
        );
    }

    #[test]
    fn a_guess_changes_nothing() {
        let f = family();
        assert_eq!(
            f.state.classify(&f.stranger, 5000, GRACE),
            RefreshTokenStatus::Refused
        );
    }

    #[test]
    fn grant_types_are_told_apart() {
        let parse = |form: &str| {
            TokenRequest::parse(&Params::parse(form.as_bytes()).ok().unwrap())
                .map_err(|error| error.code.as_str())
        };
        assert!(matches!(
            parse("grant_type=authorization_code&code=x&code_verifier=v"),
            Ok(TokenRequest::AuthorizationCode {
                code: None,
                redirect_uri: None,
                ..
            })
        ));
        assert_eq!(
            parse("grant_type=authorization_code&code=x").err(),
            Some("invalid_request")
        );
        assert_eq!(
            parse("grant_type=refresh_token").err(),
            Some("invalid_request")
        );
        assert_eq!(
            parse("grant_type=password").err(),
            Some("unsupported_grant_type")
        );
        assert_eq!(parse("code=x").err(), Some("invalid_request"));
        assert_eq!(
            parse("grant_type=refresh_token&refresh_token=a&refresh_token=b").err(),
            Some("invalid_request")
        );
    }
}
