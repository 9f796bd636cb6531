//! Client authentication at the token and revocation endpoints (RFC 6749 §2.3).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use serde::{Deserialize, Serialize};

use super::{
    error::{ErrorCode, OAuthError},
    params::Params,
};

/// How a client authenticates at the token and revocation endpoints (RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A public client: it sends only its id and relies on PKCE.
    None,
    /// Id and secret in an `Authorization: Basic` header.
    ClientSecretBasic,
    /// Id and secret in the form.
    ClientSecretPost,
    /// Either of the two: for clients in the secret, where no method is given, and at the revocation endpoint. No
    /// client can register it.
    ClientSecret,
}

impl AuthMethod {
    /// Every method that a client may register, in the order of the metadata document.
    pub const ALL: [Self; 3] = [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost];

    /// The method's registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost | Self::ClientSecret => "client_secret_post",
        }
    }

    /// Whether a client registered with this method may use the presented one.
    #[must_use]
    pub fn allows(self, presented: Self) -> bool {
        let both_have_a_secret = self != Self::None && presented != Self::None;
        let either = self == Self::ClientSecret || presented == Self::ClientSecret;
        self == presented || (both_have_a_secret && either)
    }

    /// The method of that name, if it may be registered.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

/// The credentials that a client sent to the token or revocation endpoint.
///
/// No `Debug`: it may hold a secret.
#[derive(PartialEq, Eq)]
pub struct PresentedClient {
    /// The client id.
    pub client_id: String,
    /// The method it used.
    pub method: AuthMethod,
    /// The secret, if the method has one.
    pub client_secret: Option<String>,
}

impl PresentedClient {
    /// Reads the client id and secret (RFC 6749 §2.3.1).
    ///
    /// # Errors
    /// `invalid_request` when the id is missing or two methods are used at once, `invalid_client` when the
    /// `Authorization` header is invalid.
    pub fn read(headers: &HeaderMap, params: &Params) -> Result<Self, OAuthError> {
        let in_form = params.once("client_id")?;
        let secret_in_form = params.once("client_secret")?;
        if params.once("client_assertion")?.is_some() {
            return Err(OAuthError::new(
                ErrorCode::InvalidClient,
                "client assertions (private_key_jwt) are not supported",
            ));
        }
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        let Some(header) = authorizations.next() else {
            let Some(client_id) = in_form else {
                return Err(OAuthError::invalid_request("client_id is missing"));
            };
            let method = if secret_in_form.is_some() {
                AuthMethod::ClientSecretPost
            } else {
                AuthMethod::None
            };
            return Ok(Self {
                client_id: client_id.to_owned(),
                method,
                client_secret: secret_in_form.map(str::to_owned),
            });
        };
        let invalid_header = || {
            OAuthError::new(
                ErrorCode::InvalidClient,
                "the Authorization header is invalid",
            )
        };
        if authorizations.next().is_some() {
            return Err(invalid_header());
        }
        if secret_in_form.is_some() {
            // RFC 6749 §2.3: a request must not use more than one method.
            return Err(OAuthError::invalid_request(
                "the client uses two authentication methods",
            ));
        }
        let (client_id, secret) = header
            .to_str()
            .ok()
            .and_then(basic)
            .ok_or_else(invalid_header)?;
        if in_form.is_some_and(|id| id != client_id) {
            return Err(OAuthError::invalid_request(
                "client_id differs from the one in the Authorization header",
            ));
        }
        // Some libraries send `id:` with an empty secret for a public client.
        if secret.is_empty() {
            return Ok(Self {
                client_id,
                method: AuthMethod::None,
                client_secret: None,
            });
        }
        Ok(Self {
            client_id,
            method: AuthMethod::ClientSecretBasic,
            client_secret: Some(secret),
        })
    }

    /// Accepts either way of sending the secret. Registration says only how a client authenticates at the token endpoint
    /// (RFC 7591 §2), and some libraries always use Basic at the revocation endpoint.
    #[must_use]
    pub fn by_either_method(mut self) -> Self {
        if self.client_secret.is_some() {
            self.method = AuthMethod::ClientSecret;
        }
        self
    }
}

/// The pair in a Basic header: base64 of both parts form-encoded (RFC 6749 §2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Basic").then_some(())?;
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let decode = |text: &str| {
        // Decoded by the strict form parser; `&` and `=` do not separate values here.
        let escaped = text.replace('&', "%26").replace('=', "%3D");
        Params::parse(format!("v={escaped}").as_bytes())
            .ok()?
            .all("v")
            .next()
            .map(str::to_owned)
    };
    let (id, secret) = (decode(id)?, decode(secret)?);
    (!id.is_empty()).then_some((id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(
        authorization: Option<&str>,
        form: &str,
    ) -> Result<(String, AuthMethod, Option<String>), &'static str> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let params = Params::parse(form.as_bytes()).ok().unwrap();
        PresentedClient::read(&headers, &params)
            .map(|client| (client.client_id, client.method, client.client_secret))
            .map_err(|error| error.code.as_str())
    }

    #[test]
    fn each_method_is_read_from_its_place() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(
            present(None, "client_id=a"),
            Ok(("a".into(), AuthMethod::None, None))
        );
        assert_eq!(
            present(None, "client_id=a&client_secret=s"),
            Ok(("a".into(), AuthMethod::ClientSecretPost, Some("s".into())))
        );
        assert_eq!(
            present(Some(&basic("a%3Ab:s%2B=&x")), ""),
            Ok((
                "a:b".into(),
                AuthMethod::ClientSecretBasic,
                Some("s+=&x".into())
            ))
        );
        assert_eq!(
            present(Some(&basic("a:")), "client_id=a"),
            Ok(("a".into(), AuthMethod::None, None))
        );
    }

    #[test]
    fn mixed_and_broken_presentations_are_refused() {
        let basic = format!("Basic {}", STANDARD.encode("a:s"));
        assert_eq!(present(None, ""), Err("invalid_request"));
        assert_eq!(
            present(Some(&basic), "client_secret=s"),
            Err("invalid_request")
        );
        assert_eq!(present(Some(&basic), "client_id=b"), Err("invalid_request"));
        assert_eq!(present(Some("Basic !!!"), ""), Err("invalid_client"));
        assert_eq!(
            present(Some("Bearer x"), "client_id=a"),
            Err("invalid_client")
        );
        assert_eq!(
            present(None, "client_id=a&client_assertion=x"),
            Err("invalid_client")
        );
    }
}
