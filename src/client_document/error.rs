//! Why a document could not be had.

use std::fmt;

/// Why a document could not be had: one sentence for the log and for an error page. It holds nothing that the
/// origin said but its status, and no address: a stranger must not learn from it what our resolver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Too many fetches are under way.
    Busy,
    /// Its host has no address, as far as the resolver says.
    Unresolved,
    /// At least one address of its host is not of the public internet.
    Forbidden,
    /// No connection.
    Unreachable,
    /// A connection, but its host could not prove itself.
    Untrusted,
    /// Not complete in time.
    TimedOut,
    /// The connection ended early, or what came was not HTTP.
    Broken,
    /// It lies elsewhere. Revision 01 of the draft forbids following (§4), for what was checked is this URL.
    Redirect,
    /// Neither 200 nor an asked-for 304.
    Status(u16),
    /// Compressed, though that was not asked for.
    Encoded,
    /// Not `application/json` nor `application/<something>+json`.
    ContentType,
    /// More than 5 KB.
    TooLarge,
    /// Not UTF-8, as JSON must be (RFC 8259 §8.1).
    NotUtf8,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::Busy => "too many client documents are being fetched at this moment",
            Self::Unresolved => "the host of the client's document was not found",
            Self::Forbidden => {
                "the host of the client's document is not, or not only, on the public internet"
            }
            Self::Unreachable => "the host of the client's document could not be reached",
            Self::Untrusted => "the host of the client's document has no valid certificate",
            Self::TimedOut => "the client's document did not arrive in time",
            Self::Broken => "the client's document arrived incomplete",
            Self::Redirect => "the client's document redirects elsewhere, which is not followed",
            Self::Status(status) => {
                return write!(
                    f,
                    "the host of the client's document answered with status {status}"
                );
            }
            Self::Encoded => "the client's document came compressed",
            Self::ContentType => "the client's document is not of the type application/json",
            Self::TooLarge => "the client's document is larger than 5 KB",
            Self::NotUtf8 => "the client's document is not text in UTF-8",
        };
        f.write_str(reason)
    }
}

impl std::error::Error for FetchError {}
