//! Parameters as sent: a query string or a form, read strictly.
//!
//! Every parameter may occur once (RFC 6749 §3.1, §3.2), except `resource` (RFC 8707 §2); one without a value
//! counts as absent (RFC 6749 §3.1). Encoding errors refuse the whole request: a value that two parsers read
//! differently is where attacks begin.

use super::error::OAuthError;
use super::json::Entries;

/// The parameters of one request, in the order in which they came.
///
/// No `Debug`: it holds codes, tokens and PINs.
#[derive(Clone, Default)]
pub struct Params(Vec<(String, String)>);

/// More than any client sends; each costs an allocation.
const MOST: usize = 64;

impl Params {
    /// Reads `application/x-www-form-urlencoded` text.
    ///
    /// # Errors
    /// `invalid_request` for broken percent-encoding, text that is not UTF-8, control characters, or more
    /// than 64 parameters.
    pub fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        let mut params = Vec::new();
        for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            if params.len() == MOST {
                return Err(OAuthError::invalid_request("too many parameters"));
            }
            let (name, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &pair[..0]),
            };
            let (name, value) = (decode(name)?, decode(value)?);
            // A PIN is pasted from anywhere: white space at its ends is trimmed when it is compared.
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

    /// Reads a flat JSON object of strings, as clients of an earlier worker send to the token endpoint.
    ///
    /// # Errors
    /// `invalid_request` for anything else. A repeated key shows up as a repeated parameter.
    pub fn parse_json(text: &[u8]) -> Result<Self, OAuthError> {
        let malformed = || OAuthError::invalid_request("the body is not a JSON object of strings");
        let Entries::<Option<String>>(entries) =
            serde_json::from_slice(text).map_err(|_| malformed())?;
        // `null` is how some serialisers write an absent value.
        let params: Vec<_> = entries
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        if params.len() > MOST
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

    /// As [`Self::once`], and it must be there.
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

    /// Refuses repeated parameters, known or not.
    ///
    /// # Errors
    /// `invalid_request` when any but `resource` occurs twice.
    pub fn no_duplicates(&self) -> Result<(), OAuthError> {
        let repeated = self.0.iter().enumerate().any(|(at, (name, _))| {
            name != "resource" && self.0[..at].iter().any(|(earlier, _)| earlier == name)
        });
        if repeated {
            return Err(OAuthError::invalid_request(
                "a parameter is given more than once",
            ));
        }
        Ok(())
    }

    /// The names that occur.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn decode(text: &[u8]) -> Result<String, OAuthError> {
    let broken = |what: &'static str| OAuthError::invalid_request(what);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(*b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(broken("broken percent-encoding"));
                };
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| broken("a parameter is not UTF-8"))
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
