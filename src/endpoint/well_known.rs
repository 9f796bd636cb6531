//! The discovery documents, at every path where clients look for them.

use axum::response::{IntoResponse as _, Response};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::Value;

use super::route::Document;
use crate::{
    app::{App, Caller},
    config::Registration,
    oauth::metadata::{self, Features},
};

/// The document as a response.
pub fn get(app: &App, caller: &Caller, document: Document<'_>) -> Response {
    match document {
        Document::ProtectedResource(path) => resource_document(app, caller, path),
        Document::AuthorizationServer(_) => {
            response(&metadata::authorization_server(&caller.base, features(app)))
        }
        Document::OpenIdConfiguration(_) => {
            response(&metadata::openid_configuration(&caller.base, features(app)))
        }
        Document::KeySet => response(&metadata::key_set()),
    }
}

fn resource_document(app: &App, caller: &Caller, path: &str) -> Response {
    // The root is named without its slash (RFC 9728 §3.3: exactly the URL from which this one was made).
    let path = if path == "/" { "" } else { path };
    response(&metadata::protected_resource(
        &caller.base,
        path,
        app.upstream.host(),
    ))
}

fn features(app: &App) -> Features {
    Features {
        registration: app.config.registration == Registration::Open,
        client_documents: app.config.registration != Registration::Closed,
    }
}

fn response(document: &Value) -> Response {
    // Clients cache discovery on their own account; a short life lets a changed setting through.
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    (StatusCode::OK, headers, document.to_string()).into_response()
}
