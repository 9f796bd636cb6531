//! Why a document could not be fetched.

use std::fmt;

/// Why a document could not be fetched: one sentence for the log and for an error page. It holds nothing of the response
/// but the status code, and no address: nobody must learn from it what our resolver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Too many fetches at this time.
    Busy,
    /// Its host has no address, or at least one that is not on the public internet. One error for both, because whoever
    /// chooses the URL could otherwise find out which internal names exist.
    NoPublicAddress,
    /// No connection.
    Unreachable,
    /// A connection, but no valid certificate.
    Untrusted,
    /// Not complete in time.
    TimedOut,
    /// The response was cut off, or was not HTTP.
    Incomplete,
    /// A redirect. Revision 01 of the draft forbids following it (§4): only this URL was checked.
    Redirect,
    /// Neither 200 nor a requested 304.
    Status(u16),
    /// Compressed, although only `identity` was accepted.
    Compressed,
    /// Neither `application/json` nor `application/<something>+json`.
    ContentType,
    /// More than 5 KB.
    TooLarge,
    /// Not UTF-8, as JSON must be (RFC 8259 §8.1).
    NotUtf8,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::Busy => "too many client documents are being fetched at the moment",
            Self::NoPublicAddress => {
                "the host of the client's document was not found on the public internet"
            }
            Self::Unreachable => "the host of the client's document could not be reached",
            Self::Untrusted => "the host of the client's document has no valid certificate",
            Self::TimedOut => "the client's document did not arrive in time",
            Self::Incomplete => "the response with the client's document was cut off or invalid",
            Self::Redirect => "the client's document redirects elsewhere, which is not followed",
            Self::Status(status) => {
                return write!(
                    f,
                    "the host of the client's document responded with status {status}"
                );
            }
            Self::Compressed => "the client's document is compressed",
            Self::ContentType => "the client's document is not of the type application/json",
            Self::TooLarge => "the client's document is larger than 5 KB",
            Self::NotUtf8 => "the client's document is not text in UTF-8",
        };
        f.write_str(reason)
    }
}

impl std::error::Error for FetchError {}
