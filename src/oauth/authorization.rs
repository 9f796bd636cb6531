//! The authorization request (RFC 6749 §4.1.1 with RFC 7636, 8707, 9207) and its response by redirect.
//!
//! A [`RedirectTarget`] exists only after the client and its redirect URI have been validated, so an error found
//! earlier *cannot* be sent to a redirect URI.

use super::{
    error::{ErrorCode, OAuthError},
    params::Params,
    pkce::CodeChallenge,
    redirect_uri::RedirectUri,
    resource::{self, BaseUrl},
    scope,
};

/// Longest `state`: it is stored while the consent page is open.
const MAX_STATE_BYTES: usize = 2048;
/// Longest `resource`.
const MAX_RESOURCE_BYTES: usize = 1024;

/// Where the response goes: a redirect URI that the requesting client registered, and its state.
#[derive(Clone)]
pub struct RedirectTarget {
    redirect_uri: RedirectUri,
    state: Option<String>,
    issuer: String,
}

impl RedirectTarget {
    /// Checks the requested redirect URI against the registered ones (RFC 9700 §4.1: exact comparison).
    ///
    /// # Errors
    /// A sentence for the error page: nothing may be redirected yet.
    pub fn validate(
        registered: &[RedirectUri],
        params: &Params,
        issuer: &BaseUrl,
    ) -> Result<Self, OAuthError> {
        let redirect_uri = match (params.once("redirect_uri")?, registered) {
            (Some(requested), registered) => RedirectUri::parse(requested)
                .ok()
                .filter(|requested| registered.iter().any(|uri| uri.matches(requested)))
                .ok_or_else(|| {
                    OAuthError::invalid_request("redirect_uri is not registered for this client")
                })?,
            // RFC 6749 §3.1.2.3: it may be omitted only if exactly one is registered.
            (None, [only]) => only.clone(),
            (None, _) => return Err(OAuthError::invalid_request("redirect_uri is missing")),
        };
        // A repeated state cannot be returned unchanged: the request is refused later, without a state.
        let state = params.once("state").ok().flatten().map(str::to_owned);
        Ok(Self {
            redirect_uri,
            state,
            issuer: issuer.as_str().to_owned(),
        })
    }

    /// The target of a request whose consent page was shown earlier; `None` if the client no longer has its redirect URI.
    #[must_use]
    pub fn restore(
        registered: &[RedirectUri],
        redirect_uri: RedirectUri,
        state: Option<String>,
        issuer: String,
    ) -> Option<Self> {
        registered
            .iter()
            .any(|uri| uri.matches(&redirect_uri))
            .then_some(Self {
                redirect_uri,
                state,
                issuer,
            })
    }

    /// The validated redirect URI.
    #[must_use]
    pub fn redirect_uri(&self) -> &RedirectUri {
        &self.redirect_uri
    }

    /// The client's state.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The issuer named in the response.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The URL of a successful response (RFC 6749 §4.1.2, RFC 9207 §2).
    #[must_use]
    pub fn success_url(&self, code: &str) -> String {
        self.response_url(&[("code", code)])
    }

    /// The URL of an error response (RFC 6749 §4.1.2.1, RFC 9207 §2).
    #[must_use]
    pub fn error_url(&self, error: &OAuthError) -> String {
        self.response_url(&[
            ("error", error.code.as_str()),
            ("error_description", &error.description),
        ])
    }

    fn response_url(&self, params: &[(&str, &str)]) -> String {
        let mut all = params.to_vec();
        all.extend(self.state.as_deref().map(|state| ("state", state)));
        all.push(("iss", &self.issuer));
        self.redirect_uri.with_query_params(&all)
    }
}

/// An authorization request that has been checked.
#[derive(Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// The challenge, always S256.
    pub code_challenge: CodeChallenge,
    /// The scope to be granted.
    pub scope: String,
}

impl AuthorizationRequest {
    /// Parses everything except the client and the redirect URI. Unknown parameters are ignored (RFC 6749 §3.1).
    ///
    /// # Errors
    /// An error to be reported by redirect.
    pub fn parse<'b>(
        params: &Params,
        bases: impl IntoIterator<Item = &'b BaseUrl> + Clone,
    ) -> Result<Self, OAuthError> {
        params.no_duplicates()?;
        if params
            .once("state")?
            .is_some_and(|state| state.len() > MAX_STATE_BYTES)
        {
            return Err(OAuthError::invalid_request(
                "state is longer than 2048 bytes",
            ));
        }
        if params.once("request")?.is_some() {
            return Err(OAuthError::new(
                ErrorCode::RequestNotSupported,
                "request objects are not supported",
            ));
        }
        if params.once("request_uri")?.is_some() {
            return Err(OAuthError::new(
                ErrorCode::RequestUriNotSupported,
                "request_uri is not supported",
            ));
        }
        if params.required("response_type")? != "code" {
            return Err(OAuthError::new(
                ErrorCode::UnsupportedResponseType,
                "response_type must be code",
            ));
        }
        if params
            .once("response_mode")?
            .is_some_and(|mode| mode != "query")
        {
            return Err(OAuthError::invalid_request("response_mode must be query"));
        }
        // The owner is asked every time, so authorization without a page is never possible.
        if params
            .once("prompt")?
            .is_some_and(|prompt| prompt.split(' ').any(|value| value == "none"))
        {
            return Err(OAuthError::new(
                ErrorCode::ConsentRequired,
                "the owner must consent each time",
            ));
        }
        if params.once("code_challenge")?.is_none()
            && params.once("code_challenge_method")?.is_none()
        {
            return Err(OAuthError::invalid_request(
                "PKCE is required: code_challenge and code_challenge_method=S256 are missing",
            ));
        }
        // RFC 7636 §4.3: a missing method means plain, which is refused as such.
        if params.once("code_challenge_method")? != Some("S256") {
            return Err(OAuthError::invalid_request(
                "code_challenge_method must be S256",
            ));
        }
        let code_challenge =
            CodeChallenge::parse(params.required("code_challenge")?).ok_or_else(|| {
                OAuthError::invalid_request("code_challenge must be 43 characters of base64url")
            })?;
        check_resources(params, bases)?;
        Ok(Self {
            code_challenge,
            scope: scope::granted(params.once("scope")?),
        })
    }
}

/// Checks `resource`, here or at the token endpoint: each one must be this server (RFC 8707 §2). All its spellings are one
/// resource, so there is nothing to remember.
///
/// # Errors
/// `invalid_target`.
pub fn check_resources<'b>(
    params: &Params,
    bases: impl IntoIterator<Item = &'b BaseUrl> + Clone,
) -> Result<(), OAuthError> {
    let mut requested = params
        .all("resource")
        .filter(|resource| !resource.is_empty());
    if requested.all(|resource| {
        resource.len() <= MAX_RESOURCE_BYTES && resource::is_ours(resource, bases.clone())
    }) {
        Ok(())
    } else {
        Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "resource is not a resource of this server",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "response_type=code&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    fn base() -> [BaseUrl; 1] {
        [BaseUrl::parse("https://mcp.example.com").unwrap()]
    }

    fn parse(query: &str) -> Result<AuthorizationRequest, &'static str> {
        let params = Params::parse(query.as_bytes()).ok().unwrap();
        AuthorizationRequest::parse(&params, &base()).map_err(|error| error.code.as_str())
    }

    #[test]
    fn a_good_request_is_read() {
        let request = parse(&format!(
            "{GOOD}&scope=claudeai&resource=https://mcp.example.com/mcp&nonce=x"
        ))
        .unwrap();
        assert_eq!(request.scope, "mcp");
    }

    #[test]
    fn each_fault_has_its_code() {
        for (change, code) in [
            (GOOD.replace("response_type=code", ""), "invalid_request"),
            (
                GOOD.replace("=code&", "=token&"),
                "unsupported_response_type",
            ),
            (GOOD.replace("=S256", "=plain"), "invalid_request"),
            (
                GOOD.replace("&code_challenge_method=S256", ""),
                "invalid_request",
            ),
            (GOOD.replace("E9M", ""), "invalid_request"),
            (format!("{GOOD}&code_challenge=x"), "invalid_request"),
            (format!("{GOOD}&scope=a&scope=b"), "invalid_request"),
            (
                format!("{GOOD}&resource=https://other.example/mcp"),
                "invalid_target",
            ),
            (
                format!(
                    "{GOOD}&resource=https://mcp.example.com/mcp&resource=https://other.example/"
                ),
                "invalid_target",
            ),
            (
                format!(
                    "{GOOD}&resource=https://mcp.example.com/mcp/{}",
                    "a".repeat(1024)
                ),
                "invalid_target",
            ),
            (
                format!("{GOOD}&state={}", "a".repeat(2049)),
                "invalid_request",
            ),
            (format!("{GOOD}&prompt=none"), "consent_required"),
            (format!("{GOOD}&response_mode=fragment"), "invalid_request"),
            (format!("{GOOD}&request=x"), "request_not_supported"),
            (
                format!("{GOOD}&request_uri=https://a.example/"),
                "request_uri_not_supported",
            ),
        ] {
            assert_eq!(parse(&change), Err(code), "{change}");
        }
    }

    #[test]
    fn only_a_registered_redirect_uri_becomes_a_target() {
        let registered = [RedirectUri::parse("https://client.example/cb").unwrap()];
        let validate = |query: &str| {
            RedirectTarget::validate(
                &registered,
                &Params::parse(query.as_bytes()).ok().unwrap(),
                &base()[0],
            )
            .ok()
        };
        assert!(validate("redirect_uri=https://client.example/cb2").is_none());
        assert!(
            validate(
                "redirect_uri=https://client.example/cb&redirect_uri=https://client.example/cb"
            )
            .is_none()
        );
        let target = validate("redirect_uri=https://client.example/cb&state=a%26b").unwrap();
        assert_eq!(
            target.success_url("c"),
            "https://client.example/cb?code=c&state=a%26b&iss=https%3A%2F%2Fmcp.example.com"
        );
        assert_eq!(
            validate("").unwrap().success_url("c"),
            "https://client.example/cb?code=c&iss=https%3A%2F%2Fmcp.example.com"
        );
    }
}
