//! The parameters of a query string or a form, parsed strictly.
//!
//! Every parameter may occur once (RFC 6749 §3.1, §3.2), except `resource` (RFC 8707 §2). A parameter without a value
//! counts as absent (RFC 6749 §3.1). One invalid encoding makes the whole request invalid: attackers use values that
//! two parsers read differently.

use percent_encoding::percent_decode;

use super::{error::OAuthError, json::Entries, uri::has_valid_escapes};

/// Most parameters in one request. No client sends that many, and each costs an allocation.
const MAX_PARAMETERS: usize = 64;
/// Most parameters in a form of the owner, which may contain a long list.
const MAX_LONG_FORM_PARAMETERS: usize = 2048;

/// The parameters of one request, in the order in which they were sent.
///
/// No `Debug`: it holds codes, tokens and PINs.
#[derive(Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Parses `application/x-www-form-urlencoded` text.
    ///
    /// # Errors
    /// `invalid_request` for invalid percent-encoding, text that is not UTF-8, control characters, or more
    /// than 64 parameters.
    pub fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        Self::parse_up_to(MAX_PARAMETERS, text)
    }

    /// The same for a form with a long list: up to 2048 parameters.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_long(text: &[u8]) -> Result<Self, OAuthError> {
        Self::parse_up_to(MAX_LONG_FORM_PARAMETERS, text)
    }

    fn parse_up_to(most: usize, text: &[u8]) -> Result<Self, OAuthError> {
        let mut params = Vec::new();
        for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            if params.len() == most {
                return Err(OAuthError::invalid_request("too many parameters"));
            }
            let (name, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &pair[..0]),
            };
            let (name, value) = (decode(name)?, decode(value)?);
            // People paste PINs with white space around them; it is trimmed before the PIN is compared.
            let checked = if name == "pin" { value.trim() } else { &value };
            if has_control(&name) || has_control(checked) {
                return Err(OAuthError::invalid_request(
                    "a parameter contains control characters",
                ));
            }
            params.push((name, value));
        }
        Ok(Self(params))
    }

    /// Parses a flat JSON object of strings. Some clients send one to the token endpoint in place of a form.
    ///
    /// # Errors
    /// `invalid_request` for anything else. A repeated key becomes a repeated parameter.
    pub fn parse_json(text: &[u8]) -> Result<Self, OAuthError> {
        let malformed = || OAuthError::invalid_request("the body is not a JSON object of strings");
        let Entries::<Option<String>>(entries) =
            serde_json::from_slice(text).map_err(|_| malformed())?;
        // Some serialisers write `null` for an absent value.
        let params: Vec<_> = entries
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        if params.len() > MAX_PARAMETERS
            || params
                .iter()
                .any(|(name, value)| has_control(name) || has_control(value))
        {
            return Err(malformed());
        }
        Ok(Self(params))
    }

    /// The parameter's value; `None` when absent or empty.
    ///
    /// # Errors
    /// `invalid_request` when it occurs more than once.
    pub fn once(&self, name: &'static str) -> Result<Option<&str>, OAuthError> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(OAuthError::invalid_request(format!(
                "{name} is given more than once"
            )));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// As [`Self::once`], but the parameter must be present.
    ///
    /// # Errors
    /// `invalid_request` when it is absent, empty or repeated.
    pub fn required(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.once(name)?
            .ok_or_else(|| OAuthError::invalid_request(format!("{name} is missing")))
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Checks that no parameter is repeated, known or not.
    ///
    /// # Errors
    /// `invalid_request` when any but `resource` occurs twice.
    pub fn no_duplicates(&self) -> Result<(), OAuthError> {
        self.no_duplicates_except("resource")
    }

    /// The same for a form in which one field is a list.
    ///
    /// # Errors
    /// `invalid_request` when any but `list` occurs twice.
    pub fn no_duplicates_except(&self, list: &str) -> Result<(), OAuthError> {
        let repeated = self.0.iter().enumerate().any(|(at, (name, _))| {
            name != list && self.0[..at].iter().any(|(earlier, _)| earlier == name)
        });
        if repeated {
            return Err(OAuthError::invalid_request(
                "a parameter is given more than once",
            ));
        }
        Ok(())
    }

    /// The name of every parameter, repeated ones included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Decodes a name or a value of `application/x-www-form-urlencoded`.
fn decode(text: &[u8]) -> Result<String, OAuthError> {
    if !has_valid_escapes(text) {
        return Err(OAuthError::invalid_request("invalid percent-encoding"));
    }
    let plus_to_space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    let spaced: Vec<u8> = text.iter().map(plus_to_space).collect();
    String::from_utf8(percent_decode(&spaced).collect())
        .map_err(|_| OAuthError::invalid_request("a parameter is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_and_percent_are_decoded() {
        let params = Params::parse(b"scope=mcp+offline_access&state=a%26b%3D%C3%A9&&x")
            .ok()
            .unwrap();
        assert_eq!(params.once("scope").unwrap(), Some("mcp offline_access"));
        assert_eq!(params.once("state").unwrap(), Some("a&b=é"));
        assert_eq!(
            params.once("x").unwrap(),
            None,
            "a parameter without a value counts as absent"
        );
    }

    #[test]
    fn broken_text_is_refused() {
        let bad: [&[u8]; 6] = [b"a=%", b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff", b"a=%0d%0a"];
        for text in bad {
            assert!(Params::parse(text).is_err(), "{text:?}");
        }
        assert!(Params::parse(b"pin=%09abc%0a").is_ok());
        assert!(Params::parse(b"pin=ab%09c").is_err());
        assert!(Params::parse("a=1&".repeat(65).as_bytes()).is_err());
    }

    #[test]
    fn repeated_parameters_are_refused_but_resource_may_repeat() {
        let params = Params::parse(b"code=1&code=2&resource=a&resource=b")
            .ok()
            .unwrap();
        assert!(params.once("code").is_err());
        assert!(params.no_duplicates().is_err());
        assert_eq!(params.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn json_objects_of_strings_are_read_and_nothing_else() {
        let params = Params::parse_json(br#"{"code":"x","state":null}"#)
            .ok()
            .unwrap();
        assert_eq!(params.once("code").unwrap(), Some("x"));
        assert!(
            Params::parse_json(br#"{"code":"x","code":"y"}"#)
                .ok()
                .unwrap()
                .once("code")
                .is_err()
        );
        let bad: [&[u8]; 5] = [
            b"",
            b"[]",
            br#"{"a":1}"#,
            br#"{"a":{"b":"c"}}"#,
            br#"{"a":"\u0000"}"#,
        ];
        for text in bad {
            assert!(Params::parse_json(text).is_err(), "{text:?}");
        }
    }
}
