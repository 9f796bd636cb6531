//! What each fuzz target does with its input: it calls a parser of untrusted input and checks what the parser accepted.
//! The fuzzer runs these functions (`main.rs`), and so does `cargo test`, over `seeds/`.

mod event_stream;
mod json;
mod mcp;
mod oauth;
mod page;

pub use event_stream::{endpoint_event, event_filter, keep_alive};
pub use mcp::{function_url_event, limited_request, path, tool_list};
pub use oauth::{authorization, bearer, client_document, registration, token};
pub use page::consent_page;

/// A target's function.
pub type Target = fn(&[u8]);

/// Every target, by its name, which is also that of its folder of seeds.
pub const TARGETS: [(&str, Target); 13] = [
    ("authorization", authorization),
    ("bearer", bearer),
    ("client_document", client_document),
    ("consent_page", consent_page),
    ("endpoint_event", endpoint_event),
    ("event_filter", event_filter),
    ("function_url_event", function_url_event),
    ("keep_alive", keep_alive),
    ("limited_request", limited_request),
    ("path", path),
    ("registration", registration),
    ("token", token),
    ("tool_list", tool_list),
];
