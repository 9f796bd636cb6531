//! The page at `/` for people: how to connect.

use axum::response::Response;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};

use super::response;
use crate::{
    app::{App, Caller},
    page::{Landing, client_setup::connector_name},
};

/// Whether a person's browser asks, not an MCP client.
pub fn is_wanted(app: &App, headers: &HeaderMap) -> bool {
    let accepts_html = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("text/html"))
    };
    app.config.landing_page
        && !headers.contains_key(AUTHORIZATION)
        && headers.get_all(ACCEPT).iter().any(accepts_html)
}

/// Shows how to connect.
pub fn get(app: &App, caller: &Caller) -> Response {
    let upstream_host = app.upstream.host();
    let connector_name = connector_name(upstream_host);
    let page = Landing {
        connector_url: &caller.base.join("/mcp"),
        connector_name: &connector_name,
        upstream_host,
        // Without TLS it is a loopback address: nothing else is configured or listened on.
        only_this_machine: !caller.base.is_https(),
    };
    response::page(StatusCode::OK, page.render())
}
