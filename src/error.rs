//! Errors on our side. Errors of the client are in `oauth::error`.

use std::{borrow::Cow, error::Error, fmt, iter};

/// Something that we need is not available, or its configuration is invalid. Clients get a 503 and may try again (never a
/// 401, which would make them drop their session). The detail is only logged.
#[derive(Debug)]
pub struct Unavailable {
    /// What is not available: `store`, `secret`.
    pub what: &'static str,
    /// Whether only the operator can fix it, so that a page should say so.
    pub operator: bool,
    /// For the log. Never holds a secret.
    pub detail: Cow<'static, str>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unavailable: {}", self.what, self.detail)
    }
}

impl Error for Unavailable {}

/// An error and its causes, outermost first. Only their `Display`: a `Debug` form may hold a whole response.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    let texts: Vec<_> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}
