//! What can go wrong on our own side. What the client did wrong is `oauth::error`.

use std::{borrow::Cow, fmt};

/// Something that we need cannot be had right now, or is set up wrongly. Clients get a 503 and may come again
/// (never a 401: that would make them drop their session); the detail goes to the log alone.
#[derive(Debug)]
pub struct Unavailable {
    /// What is missing: `store`, `secret`.
    pub what: &'static str,
    /// Whether only the operator can mend it, so that a page should say so.
    pub operator: bool,
    /// For the log. Never holds a secret.
    pub detail: Cow<'static, str>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unavailable: {}", self.what, self.detail)
    }
}

impl std::error::Error for Unavailable {}

/// An error and its causes, outermost first. Only what they display: a `Debug` form may hold a whole answer.
#[must_use]
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
