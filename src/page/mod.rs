//! The pages that people see: consent, errors, connections and the landing page.
//!
//! The templates are compiled into the program and escape by default. A page is HTML with the Content-Security-Policy that
//! it needs. It loads nothing but the icon, and it works without its script. Untrusted text goes through [`text`] first, then
//! through the escaper, and is displayed in a `<bdi>`.

pub mod client_setup;
mod connection;
mod connections;
mod consent;
mod landing;
mod message;
mod notice;
pub mod text;
mod timestamp;
mod token;
mod tools;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub use connection::{
    ActivityRow, ActivityTotal, ConnectionOrigin, ConnectionPage, ConnectionRow, ShownActivity,
    ShownLimit,
};
pub use connections::{Connections, EndConnections, SignIn, WrongTries};
pub use consent::Consent;
pub use landing::Landing;
pub use message::{Address, Connected, ErrorPage, PageLink};
pub use notice::Notice;
pub use text::{client_name, display, host};
pub use timestamp::Timestamp;
pub use token::{CreatedToken, NewToken};
pub use tools::{ToolEffect, ToolRow, Tools};

/// The one style sheet, inlined in every page.
const STYLE: &str = include_str!("assets/style.css");

/// The one script, inlined in every page.
const SCRIPT: &str = include_str!("assets/page.js");

/// The icon of every page, as SVG.
pub const ICON: &str = include_str!("assets/favicon.svg");

/// `style-src` and `script-src` name the hashes of [`STYLE`] and [`SCRIPT`] (CSP 3 §2.3.1).
///
/// There is no `form-action`: browsers apply that to every redirect after the consent form, so it would block the redirect
/// to a client with a private-use scheme.
static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash_source(STYLE),
        hash_source(SCRIPT)
    )
});

/// A rendered page and the policy it must be sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The whole document, UTF-8.
    pub html: String,
    /// The value of its `Content-Security-Policy` header.
    pub content_security_policy: String,
}

fn page(template: &impl Template) -> Page {
    // Rendering into a `String` does not fail. If it ever did, a minimal page is better than none.
    let html = template
        .render()
        .unwrap_or_else(|_| FALLBACK_HTML.to_owned());
    Page {
        html,
        content_security_policy: CONTENT_SECURITY_POLICY.clone(),
    }
}

const FALLBACK_HTML: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Page not available</title></head>\
    <body><p>This page could not be shown. Please go back and try again.</p></body></html>\n";

fn hash_source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
