//! The upstream's credential: as people paste it, and as it is sent.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use subtle::ConstantTimeEq as _;

use crate::config::{AuthScheme, UpstreamConfig};

/// What the template puts in place of the token.
const PLACEHOLDER: &str = "REPLACE-WITH-YOUR-TOKEN";

/// How the credential is sent: in which header, with which scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenForm {
    /// The header.
    pub header: HeaderName,
    /// The scheme.
    pub scheme: AuthScheme,
}

/// The upstream's credential as the value of a header. Only [`TokenForm::read`] makes one, from a valid token, so it is
/// never empty.
#[derive(Clone)]
pub struct UpstreamToken {
    header_value: HeaderValue,
    taken_off: Vec<&'static str>,
}

impl Default for TokenForm {
    fn default() -> Self {
        Self {
            header: AUTHORIZATION,
            scheme: AuthScheme::Bearer,
        }
    }
}

impl From<&UpstreamConfig> for TokenForm {
    fn from(upstream: &UpstreamConfig) -> Self {
        Self {
            header: upstream.auth_header.clone(),
            scheme: upstream.auth_scheme,
        }
    }
}

/// Without the token.
impl fmt::Debug for UpstreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamToken")
    }
}

impl UpstreamToken {
    /// The value of the header that carries it.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.header_value.clone()
    }

    /// Whether both are sent as the same value.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let (this, other) = (self.header_value.as_bytes(), other.header_value.as_bytes());
        this.ct_eq(other).into()
    }

    /// Warns if anything was taken off; `source` names the place that the token was read from. The token is not shown.
    pub fn warn(&self, source: &str) {
        if !self.taken_off.is_empty() {
            tracing::warn!(
                event = "upstream_token_cleaned",
                source,
                taken_off = self.taken_off.join(", "),
                "something was pasted with the token; it is used without that"
            );
        }
    }
}

impl TokenForm {
    /// Reads a token as people paste it. What surrounds it is taken off: white space, a byte order mark, quotation marks,
    /// the name of a header, the scheme.
    ///
    /// # Errors
    /// What is wrong with the rest, as the end of a sentence that begins with the setting's name. No part of the token is
    /// in it.
    pub fn read(&self, pasted: &str) -> Result<UpstreamToken, String> {
        let mut taken_off = Vec::new();
        let mut text = pasted;
        while let Some((what, rest)) = self.without_surroundings(text) {
            if !taken_off.contains(&what) {
                taken_off.push(what);
            }
            text = rest;
        }
        if text.is_empty() || text == PLACEHOLDER {
            return Err("is not set yet".to_owned());
        }
        if is_word(text, &["bearer", "basic"]) || is_word(text, self.own_schemes()) {
            return Err("is only the name of a scheme; the token itself is missing".to_owned());
        }
        let value = match self.scheme {
            AuthScheme::Bearer => bearer(text),
            AuthScheme::Basic => basic(text),
            AuthScheme::None => self.bare(text),
        }?;
        // Every character that a header cannot carry was refused above.
        let mut header_value = HeaderValue::from_str(&value)
            .map_err(|_| "holds a character that no header can carry".to_owned())?;
        header_value.set_sensitive(true);
        Ok(UpstreamToken {
            header_value,
            taken_off,
        })
    }

    /// The outermost thing that is not part of a token, and the text without it. `None` if there is none.
    fn without_surroundings<'a>(&self, text: &'a str) -> Option<(&'static str, &'a str)> {
        let after = |rest: &'a str| rest.trim_start_matches(is_white_space);
        let trimmed = text.trim_matches(is_white_space);
        if trimmed.len() < text.len() {
            let marks = text.starts_with(BYTE_ORDER_MARK) || text.ends_with(BYTE_ORDER_MARK);
            let what = if marks {
                "a byte order mark"
            } else {
                "white space"
            };
            return Some((what, trimmed));
        }
        if let Some(line) = curl_option(text) {
            return Some(("the name of an option", after(line)));
        }
        if let Some(value) = self.header_line(text) {
            return Some(("the name of a header", after(value)));
        }
        if let Some(inside) = quoted(text) {
            return Some(("quotation marks", inside));
        }
        let (scheme, token) = text.split_once(is_white_space)?;
        is_word(scheme, self.own_schemes()).then(|| ("the scheme", after(token)))
    }

    /// The value of a pasted header line, or of a member of a JSON object of headers.
    fn header_line<'a>(&self, text: &'a str) -> Option<&'a str> {
        let (name, value) = text.split_once(':')?;
        let name = name.trim_matches(is_white_space);
        // `"Name": "value"`. If only the first quotation mark is here, the pair surrounds the whole line.
        let name = match name.strip_prefix(is_quotation_mark) {
            Some(inside) => inside.strip_suffix(is_quotation_mark)?,
            None => name,
        };
        let known = name.eq_ignore_ascii_case(self.header.as_str())
            || name.eq_ignore_ascii_case(AUTHORIZATION.as_str());
        // Any other name if white space follows the colon, as in a header line. Not for Basic, where a password may begin
        // with a space.
        let unknown = self.scheme != AuthScheme::Basic
            && value.starts_with(is_white_space)
            && name.parse::<HeaderName>().is_ok();
        (known || unknown).then_some(value)
    }

    /// The schemes, in lower case, that are taken off because the proxy adds the scheme itself, or none belongs there. With
    /// `none` in `Authorization`, the token contains its scheme.
    fn own_schemes(&self) -> &'static [&'static str] {
        match self.scheme {
            // GitHub's REST API was long documented with `token`.
            AuthScheme::Bearer => &["bearer", "token"],
            AuthScheme::Basic => &["basic"],
            AuthScheme::None if self.header == AUTHORIZATION => &[],
            AuthScheme::None => &["bearer", "token", "basic"],
        }
    }

    /// A header value as it is (RFC 9110 §5.5): visible ASCII, and in `Authorization` also the space after a scheme (RFC
    /// 9110 §11.4).
    fn bare(&self, text: &str) -> Result<String, String> {
        let spaces = self.header == AUTHORIZATION;
        let fits = |c: char| c.is_ascii_graphic() || (spaces && c == ' ');
        match text.chars().find(|c| !fits(*c)) {
            Some(c) => Err(format!(
                "holds {}",
                name_of(c).unwrap_or("a character that no header can carry")
            )),
            None => Ok(text.to_owned()),
        }
    }
}

/// `Bearer` and a token (RFC 6750 §2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`).
fn bearer(text: &str) -> Result<String, String> {
    let body = text.trim_end_matches('=');
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    if !body.is_empty() && body.chars().all(fits) {
        return Ok(format!("Bearer {text}"));
    }
    let first_word = text.split(is_white_space).next().unwrap_or_default();
    if is_word(first_word, &["basic"]) {
        return Err(
            "holds credentials of the scheme Basic: set UPSTREAM_AUTH_SCHEME=Basic".to_owned(),
        );
    }
    let named = body.chars().filter(|c| !fits(*c)).find_map(name_of);
    Err(match named {
        Some(what) => format!("holds {what}"),
        None => "holds a character that no bearer token has (RFC 6750 §2.1). If it is a user and a password with a \
                 colon between them, set UPSTREAM_AUTH_SCHEME=Basic; if the upstream takes it as it is, set \
                 UPSTREAM_AUTH_SCHEME=none and write the scheme in front of the token"
            .to_owned(),
    })
}

/// `Basic` and `user:password` in base64 (RFC 7617 §2). The pair may be pasted plain or encoded.
fn basic(text: &str) -> Result<String, String> {
    let missing =
        || "must be a user and a password with a colon between them, or that in base64".to_owned();
    if is_word(
        text.split(is_white_space).next().unwrap_or_default(),
        &["bearer"],
    ) {
        return Err(
            "holds a token of the scheme Bearer: set UPSTREAM_AUTH_SCHEME=Bearer".to_owned(),
        );
    }
    let control = |text: &str| text.chars().find(|c| c.is_control());
    if let Some(c) = control(text) {
        let what = name_of(c).filter(|what| *what == LINE_BREAK);
        return Err(format!("holds {}", what.unwrap_or(CONTROL)));
    }
    let (pair, encoded) = if text.contains(':') {
        (text.to_owned(), STANDARD.encode(text))
    } else {
        let decoded = STANDARD.decode(text).map_err(|_| missing())?;
        // Passwords need not be UTF-8 (RFC 7617 §2.1). Only ASCII is checked here.
        (
            String::from_utf8_lossy(&decoded).into_owned(),
            text.to_owned(),
        )
    };
    if pair.chars().any(char::is_control) {
        return Err(format!("holds {CONTROL} inside the base64"));
    }
    if !pair.contains(':') || pair == ":" {
        return Err(missing());
    }
    Ok(format!("Basic {encoded}"))
}

const BYTE_ORDER_MARK: char = '\u{feff}';
const LINE_BREAK: &str = "a line break inside; copy it again, in one line";
const CONTROL: &str = "a control character";

/// White space and other invisible characters: text that is copied from web pages and editors may contain zero-width
/// characters and byte order marks.
fn is_white_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | BYTE_ORDER_MARK)
}

/// The kind of a character, if naming it helps to find it.
fn name_of(c: char) -> Option<&'static str> {
    match c {
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(LINE_BREAK),
        c if c.is_whitespace() => Some("white space inside"),
        c if c.is_control() => Some(CONTROL),
        c if is_quotation_mark(c) => Some("a quotation mark"),
        c if !c.is_ascii() => Some("a character outside ASCII"),
        _ => None,
    }
}

fn is_quotation_mark(c: char) -> bool {
    matches!(
        c,
        '"' | '\''
            | '`'
            | '\u{b4}'
            | '\u{ab}'
            | '\u{bb}'
            | '\u{2018}'..='\u{201f}'
            | '\u{2039}'
            | '\u{203a}'
            | '\u{300c}'..='\u{300f}'
            | '\u{ff02}'
            | '\u{ff07}'
    )
}

/// What is in quotation marks, straight or typographic, perhaps followed by the comma of a JSON object.
fn quoted(text: &str) -> Option<&str> {
    let quoted = text.strip_suffix([',', ';']).unwrap_or(text);
    let (first, last) = (quoted.chars().next()?, quoted.chars().next_back()?);
    let pair = is_quotation_mark(first)
        && is_quotation_mark(last)
        && (first == last || !(first.is_ascii() && last.is_ascii()));
    let inside = pair.then(|| quoted.get(first.len_utf8()..quoted.len() - last.len_utf8()))?;
    // A single quotation mark is not a pair.
    inside.filter(|_| quoted.len() > first.len_utf8())
}

/// What follows curl's option for a header, which the documentation of many servers shows.
fn curl_option(text: &str) -> Option<&str> {
    let line = text
        .strip_prefix("-H")
        .or_else(|| text.strip_prefix("--header"))?;
    line.starts_with(|c| is_white_space(c) || is_quotation_mark(c))
        .then_some(line)
}

fn is_word(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(scheme: AuthScheme, header: &str, pasted: &str) -> Result<String, String> {
        let header = header.parse().unwrap();
        let token = TokenForm { header, scheme }.read(pasted)?;
        Ok(token.header_value().to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_that_is_only_a_token_is_sent_as_it_is() {
        for token in ["a", "github_pat_11A_b", "eyJh.eyJz.sIg-_", "abc+/=="] {
            let form = TokenForm::default();
            let read = form.read(token).unwrap();
            assert_eq!(read.header_value(), format!("Bearer {token}"));
            assert!(read.taken_off.is_empty() && read.header_value().is_sensitive());
            assert!(read.is(&form.read(&format!(" {token}")).unwrap()));
            assert!(!read.is(&form.read(&format!("x{token}")).unwrap()));
        }
    }

    #[test]
    fn whatever_is_pasted_nothing_empty_or_unfit_comes_out() {
        let pieces = [
            "\"",
            "'",
            "\u{201c}",
            "\u{201d}",
            "`",
            " ",
            "\t",
            "\n",
            "\u{feff}",
            "\u{200b}",
            "Bearer",
            "bearer ",
            "Basic ",
            "token ",
            "Authorization:",
            "X-API-Key: ",
            ":",
            "a",
            "tok",
            "=",
            "\u{e9}",
            "\0",
            ",",
        ];
        let mut seed = 1_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from(seed >> 16).unwrap()
        };
        for _ in 0..20_000 {
            let pasted: String = (0..next() % 7)
                .map(|_| pieces[next() % pieces.len()])
                .collect();
            for (scheme, prefix) in [
                (AuthScheme::Bearer, "Bearer "),
                (AuthScheme::Basic, "Basic "),
                (AuthScheme::None, ""),
            ] {
                for header in ["authorization", "x-api-key"] {
                    let Ok(value) = read(scheme, header, &pasted) else {
                        continue;
                    };
                    let token = value.strip_prefix(prefix).unwrap();
                    assert!(!token.trim().is_empty(), "{pasted:?}");
                    assert!(
                        value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
                        "{pasted:?}"
                    );
                    assert!(!is_word(token, &["bearer", "basic"]), "{pasted:?}");
                    // Reading it again takes nothing more off.
                    if scheme != AuthScheme::Basic {
                        assert_eq!(read(scheme, header, token), Ok(value.clone()), "{pasted:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_reason_shows_any_part_of_the_token() {
        for pasted in [
            "secr\net",
            "secr et",
            "secr\u{e9}t",
            "secr\"et",
            "secr:et",
            "s\u{1b}ecret",
            "secr|et",
        ] {
            for scheme in [AuthScheme::Bearer, AuthScheme::Basic, AuthScheme::None] {
                if let Err(reason) = read(scheme, "x-api-key", pasted) {
                    assert!(!reason.contains("secr"), "{reason}");
                }
            }
        }
    }
}
