//! Bearer tokens in requests, and the challenge in responses to requests without a valid one (RFC 6750).

use http::{HeaderMap, header::AUTHORIZATION};

/// The content of the `Authorization` header of a request.
#[derive(PartialEq, Eq)]
pub enum PresentedBearer<'a> {
    /// No header, or one with another scheme: the client did not know that a bearer token is required, so the response
    /// has a challenge without an error code (RFC 6750 §3.1).
    Missing,
    /// A bearer token that has not been checked yet.
    Token(&'a str),
    /// A malformed header, or several headers.
    Malformed,
}

/// The presented token. Only the header counts: tokens in query strings or forms end up in logs (RFC 9700 §4.3.2).
#[must_use]
pub fn presented(headers: &HeaderMap) -> PresentedBearer<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return PresentedBearer::Missing;
    };
    if values.next().is_some() {
        return PresentedBearer::Malformed;
    }
    let Ok(value) = value.to_str() else {
        return PresentedBearer::Malformed;
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return PresentedBearer::Missing;
    }
    let token = token.trim_matches(' ');
    // The alphabet of b68token, RFC 6750 §2.1.
    let well_formed = !token.is_empty()
        && token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
    if well_formed {
        PresentedBearer::Token(token)
    } else {
        PresentedBearer::Malformed
    }
}

/// The value of `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1). `error` only when a token was presented
/// (RFC 6750 §3.1: a request without one gets no error code).
#[must_use]
pub fn challenge(resource_metadata: &str, scope: &str, error: Option<&str>) -> String {
    let error = error
        .map(|error| format!("error=\"{error}\", "))
        .unwrap_or_default();
    format!("Bearer {error}resource_metadata=\"{resource_metadata}\", scope=\"{scope}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        match presented(&headers) {
            PresentedBearer::Missing => "missing".to_owned(),
            PresentedBearer::Malformed => "malformed".to_owned(),
            PresentedBearer::Token(token) => format!("token {token}"),
        }
    }

    #[test]
    fn the_scheme_is_case_insensitive_and_the_token_is_not_touched() {
        assert_eq!(read(&["Bearer aB1"]), "token aB1");
        assert_eq!(read(&["bEARER  aB1"]), "token aB1");
    }

    #[test]
    fn everything_else_is_malformed() {
        for value in ["Bearer", "Bearer ", "Bearer a b", "Bearer a\"b"] {
            assert_eq!(read(&[value]), "malformed", "{value}");
        }
        for value in ["Basic aB1", "token", "BearerX aB1"] {
            assert_eq!(read(&[value]), "missing", "{value}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"]), "malformed");
        assert_eq!(read(&[]), "missing");
    }

    #[test]
    fn a_challenge_without_a_token_names_no_error() {
        assert_eq!(
            challenge(
                "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
                "mcp",
                None
            ),
            "Bearer resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\", scope=\"mcp\""
        );
        assert!(
            challenge("u", "mcp", Some("invalid_token"))
                .starts_with("Bearer error=\"invalid_token\", ")
        );
    }
}
