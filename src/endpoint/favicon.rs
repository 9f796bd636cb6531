//! The icon of the pages. Clients and search engines fetch it too, to show it beside the connector.

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use crate::page::ICON;

/// The SVG, which may be cached for a week.
pub fn get() -> Response {
    let headers = [
        (CONTENT_TYPE, "image/svg+xml"),
        (CACHE_CONTROL, "public, max-age=604800"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, ICON).into_response()
}
