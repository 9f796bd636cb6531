//! The pages that people see: consent, errors, connections and the landing page.
//!
//! The templates are compiled into the program and escape by default. A page is HTML with the Content-Security-Policy that
//! it needs. It loads nothing else, and it works without its script. Untrusted text goes through [`text`] first, then
//! through the escaper, and is displayed in a `<bdi>`.

pub mod client_setup;
mod connections;
mod consent;
mod landing;
mod message;
mod notice;
pub mod text;
mod timestamp;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub use connections::{ConnectionRow, Connections, SignIn, WrongTries};
pub use consent::Consent;
pub use landing::Landing;
pub use message::{Connected, ErrorPage};
pub use notice::Notice;
pub use text::{client_name, display, host};
pub use timestamp::Timestamp;

/// The one style sheet, inlined in every page.
const STYLE: &str = include_str!("assets/style.css");

/// The copy button of the landing page, the only script.
const COPY_SCRIPT: &str = include_str!("assets/copy.js");

/// `sha256-…` of [`STYLE`], as a policy names it (CSP 3 §2.3.1).
static STYLE_HASH: LazyLock<String> = LazyLock::new(|| hash_source(STYLE));

/// `sha256-…` of [`COPY_SCRIPT`].
static COPY_SCRIPT_HASH: LazyLock<String> = LazyLock::new(|| hash_source(COPY_SCRIPT));

/// A rendered page and the policy it must be sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The whole document, UTF-8.
    pub html: String,
    /// The value of its `Content-Security-Policy` header.
    pub content_security_policy: String,
}

/// Renders a page that has no script.
fn page(template: &impl Template) -> Page {
    render_with_policy(template, None)
}

/// Renders a page whose only script is the copy button's.
fn page_with_copy_button(template: &impl Template) -> Page {
    render_with_policy(template, Some(&COPY_SCRIPT_HASH))
}

fn render_with_policy(template: &impl Template, script_hash: Option<&str>) -> Page {
    // Rendering into a `String` does not fail. If it ever did, a minimal page is better than none.
    let html = template
        .render()
        .unwrap_or_else(|_| FALLBACK_HTML.to_owned());
    Page {
        html,
        content_security_policy: content_security_policy(script_hash),
    }
}

const FALLBACK_HTML: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Page not available</title></head>\
    <body><p>This page could not be shown. Please go back and try again.</p></body></html>\n";

/// The policy never contains `form-action`: browsers apply that to every redirect after the consent form, so it would
/// block the redirect to a client with a private-use scheme.
fn content_security_policy(script_hash: Option<&str>) -> String {
    let style = STYLE_HASH.as_str();
    let script = script_hash.map_or_else(String::new, |hash| format!("script-src '{hash}'; "));
    format!(
        "default-src 'none'; style-src '{style}'; {script}base-uri 'none'; frame-ancestors 'none'"
    )
}

fn hash_source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
