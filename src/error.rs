//! Errors of the server itself. Errors of clients are in `oauth::error`.

use std::{borrow::Cow, error::Error, fmt, iter};

/// A service that a request needs is unavailable or has invalid settings. Clients get a 503 and can retry. They never get a
/// 401, which would make them discard their tokens. Only the log contains the detail.
#[derive(Debug)]
pub struct Unavailable {
    /// The unavailable service: `store`, `secret`.
    pub what: &'static str,
    /// Whether only the operator can fix it, so that pages say so.
    pub operator: bool,
    /// The detail for the log. It never contains a secret.
    pub detail: Cow<'static, str>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unavailable: {}", self.what, self.detail)
    }
}

impl Error for Unavailable {}

/// The messages of an error and its causes, outermost first. `Display` only: `Debug` output may contain a whole response.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    let texts: Vec<_> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}
