//! The media type of a body, from its headers.

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

/// The kinds of bodies that MCP knows, and everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// JSON, also under a type of its own.
    Json,
    /// An event stream.
    Events,
    /// Something else, or not said.
    Other,
}

impl Media {
    /// As `Content-Type` says.
    pub fn of(headers: &HeaderMap) -> Self {
        let essence = essence(headers).to_ascii_lowercase();
        match essence.as_str() {
            "text/event-stream" => Self::Events,
            "application/json"
            | "text/json"
            | "application/json-rpc"
            | "application/jsonrequest" => Self::Json,
            // RFC 6839 section 3.1
            suffixed if suffixed.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// The content type without its parameters; empty when it is not said.
pub fn essence(headers: &HeaderMap) -> &str {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .unwrap_or_default()
        .trim()
}

/// Whether a body is compressed or coded otherwise.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
