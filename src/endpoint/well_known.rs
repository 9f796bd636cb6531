//! The discovery documents, at every path where clients look for them.

use axum::response::{IntoResponse as _, Response};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::Value;

use crate::{
    app::{App, Caller},
    config::Registration,
    oauth::metadata::{self, Features, OPENID_CONFIGURATION, PROTECTED_RESOURCE},
};

/// The document at a well-known path, or below an MCP path; `None` when there is none.
pub fn document(app: &App, caller: &Caller, path: &str) -> Option<Response> {
    if let Some(resource) = path.strip_prefix(PROTECTED_RESOURCE) {
        return app
            .mcp_path(resource)
            .map(|_| resource_document(app, caller, resource));
    }
    let below = [metadata::AUTHORIZATION_SERVER, OPENID_CONFIGURATION]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix));
    // OpenID Connect Discovery puts the path in front instead.
    let issuer = below.or_else(|| {
        path.strip_suffix(OPENID_CONFIGURATION)
            .filter(|issuer| !issuer.is_empty())
    });
    app.mcp_path(issuer?).map(|_| server_document(app, caller))
}

fn resource_document(app: &App, caller: &Caller, resource: &str) -> Response {
    // The root is named without its slash (RFC 9728 §3.3: exactly the URL from which this one was made).
    let resource = if resource == "/" { "" } else { resource };
    answer(&metadata::protected_resource(
        &caller.base,
        resource,
        app.upstream.host(),
    ))
}

fn server_document(app: &App, caller: &Caller) -> Response {
    let features = Features {
        registration: app.config.registration == Registration::Open,
        client_documents: app.config.registration != Registration::Closed,
    };
    answer(&metadata::authorization_server(&caller.base, features))
}

fn answer(document: &Value) -> Response {
    // Clients cache discovery on their own account; a short life lets a changed setting through.
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    (StatusCode::OK, headers, document.to_string()).into_response()
}
