//! The name that the owner gives a connection.

use serde::{Deserialize, Serialize};

use crate::page;

/// Longest name, in characters.
pub const MAX_CHARACTERS: usize = 100;
/// Longest text from a form that is looked at: more than the longest name with every character in four bytes.
const MAX_FORM_BYTES: usize = 1024;

/// A name without characters that hide or reorder text. Not empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionName(String);

/// The name is longer than [`MAX_CHARACTERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameTooLong;

impl ConnectionName {
    /// Reads a name as it was typed. Control, direction-changing and invisible characters are removed, and white space
    /// becomes single spaces. `None` if nothing is left: then the connection has the name of its client.
    ///
    /// # Errors
    /// When it is too long. A name is never cut off.
    pub fn parse(typed: &str) -> Result<Option<Self>, NameTooLong> {
        if typed.len() > MAX_FORM_BYTES {
            return Err(NameTooLong);
        }
        let name = page::display(typed, usize::MAX);
        if name.chars().count() > MAX_CHARACTERS {
            return Err(NameTooLong);
        }
        Ok((!name.is_empty()).then_some(Self(name)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_name_is_cleaned_and_never_cut_off() {
        let (longest, too_long) = ("é".repeat(MAX_CHARACTERS), "é".repeat(MAX_CHARACTERS + 1));
        for (typed, name) in [
            ("Laptop", Ok(Some("Laptop"))),
            ("  my\u{a0}\t laptop \r\n", Ok(Some("my laptop"))),
            (
                "a\u{202e}b\u{0}c\u{2066}d\u{200b}e\u{1b}[2J",
                Ok(Some("abcde[2J")),
            ),
            ("<b>“Büro” 💻</b>", Ok(Some("<b>“Büro” 💻</b>"))),
            ("", Ok(None)),
            (" \u{202e}\u{200b}\n", Ok(None)),
            (&longest, Ok(Some(&*longest))),
            (&too_long, Err(NameTooLong)),
            (&"x".repeat(10 * 1024), Err(NameTooLong)),
            (&" ".repeat(10 * 1024), Err(NameTooLong)),
        ] {
            let parsed = ConnectionName::parse(typed);
            let parsed = parsed
                .as_ref()
                .map(|name| name.as_ref().map(ConnectionName::as_str));
            assert_eq!(parsed, name.as_ref().map(|name| *name), "{typed:?}");
        }
    }
}
