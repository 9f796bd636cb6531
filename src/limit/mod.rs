//! What a connection may do with the upstream's tools, and the pure part of its enforcement.
//!
//! * [`request`] – reads what a client sends, strictly, and says which of it a limit refuses
//! * [`tool_list`] – removes from the upstream's lists the tools that a connection may not call

mod request;
mod tool_list;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use request::{ClientMessage, Forbidden, read_strictly};
pub use tool_list::{ListedTool, NotFiltered, keep_tools};

/// Most tools that can be chosen for one connection.
pub const MAX_TOOLS: usize = 1000;
/// Longest name of a tool, in bytes. MCP asks for at most 128 characters (Tools, Tool Names).
pub const MAX_TOOL_NAME_BYTES: usize = 256;
/// Most bytes of all chosen names together. They are read with every request of the connection, and an item of DynamoDB
/// has at most 400 KB.
pub const MAX_NAMES_BYTES: usize = 64 * 1024;

/// What a connection may do. The owner chooses it; what the settings pin stays the outer limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Everything that the token for the upstream allows.
    #[default]
    Everything,
    /// Only the tools that the upstream's own list marks as reading.
    ReadOnly,
    /// Only these tools.
    Tools(ToolNames),
}

impl Limit {
    /// Whether anything is forbidden.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        *self != Self::Everything
    }

    /// Whether it may allow a call that the other one forbids.
    #[must_use]
    pub fn allows_more_than(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Everything) => false,
            (Self::Tools(names), Self::Tools(others)) => !names.0.is_subset(&others.0),
            // Which tools only read is known to the upstream alone.
            (limit, other) => limit != other,
        }
    }

    /// The kind of limit, for logs: `everything`, `read_only` or `tools`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::ReadOnly => "read_only",
            Self::Tools(_) => "tools",
        }
    }
}

/// Names of tools, at most [`MAX_TOOLS`], each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ToolNames(BTreeSet<String>);

/// Why names cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolNamesError {
    /// More than [`MAX_TOOLS`], or more than [`MAX_NAMES_BYTES`] together.
    TooMany,
    /// One is empty, longer than [`MAX_TOOL_NAME_BYTES`], or has a control character.
    BadName,
}

impl ToolNames {
    /// Collects names. None at all is valid: such a connection can call nothing.
    ///
    /// # Errors
    /// See [`ToolNamesError`].
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self, ToolNamesError> {
        let (mut all, mut bytes) = (BTreeSet::new(), 0);
        for name in names {
            if name.is_empty()
                || name.len() > MAX_TOOL_NAME_BYTES
                || name.contains(char::is_control)
            {
                return Err(ToolNamesError::BadName);
            }
            let length = name.len();
            if all.insert(name) {
                bytes += length;
            }
            if all.len() > MAX_TOOLS || bytes > MAX_NAMES_BYTES {
                return Err(ToolNamesError::TooMany);
            }
        }
        Ok(Self(all))
    }

    /// Whether this tool is one of them. Names are compared exactly.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_allows_no_more_is_the_same_or_fewer_tools() {
        let tools = |names: &[&str]| {
            Limit::Tools(ToolNames::new(names.iter().map(|name| (*name).to_owned())).unwrap())
        };
        let all = [
            Limit::Everything,
            Limit::ReadOnly,
            tools(&["a", "b"]),
            tools(&["a"]),
        ];
        let expected = [
            [false, true, true, true],
            [false, false, true, true],
            [false, true, false, true],
            [false, true, false, false],
        ];
        for (limit, row) in all.iter().zip(expected) {
            let more = all.each_ref().map(|other| limit.allows_more_than(other));
            assert_eq!(more, row, "{limit:?}");
        }
    }

    #[test]
    fn names_are_bounded_in_number_length_and_size() {
        let numbered = |count: usize, length: usize| {
            ToolNames::new((0..count).map(|n| format!("{n:0length$}")))
        };
        assert_eq!(numbered(MAX_TOOLS, 60).unwrap().iter().count(), MAX_TOOLS);
        assert_eq!(numbered(MAX_TOOLS + 1, 4), Err(ToolNamesError::TooMany));
        assert_eq!(numbered(MAX_TOOLS, 66), Err(ToolNamesError::TooMany));
        assert!(numbered(1, MAX_TOOL_NAME_BYTES).is_ok() && numbered(0, 0).is_ok());
        for bad in [
            String::new(),
            "a\nb".to_owned(),
            "x".repeat(MAX_TOOL_NAME_BYTES + 1),
        ] {
            assert_eq!(ToolNames::new([bad]), Err(ToolNamesError::BadName));
        }
        let twice = ToolNames::new(["a".to_owned(), "a".to_owned()]).unwrap();
        assert!(twice.contains("a") && !twice.contains("A") && twice.iter().count() == 1);
    }
}
