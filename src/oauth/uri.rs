//! Rules about URIs that several parsers share.

/// Whether every `%` is followed by two hexadecimal digits (RFC 3986 §2.1).
#[must_use]
pub fn has_valid_escapes(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'%').skip(1).all(|after| {
        after
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a host is one of the three plain spellings of this machine, as RFC 8252 §7.3 and §8.3 name them. Other
/// spellings (`127.1`, `localhost.`) are not: parsers differ on them.
#[must_use]
pub fn is_loopback_name(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}
