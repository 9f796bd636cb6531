//! What people see at `/` and at the MCP endpoint: how to connect.

use axum::response::Response;
use http::{HeaderMap, StatusCode, header::WWW_AUTHENTICATE};

use super::{
    browser,
    response::{self, RequestLogFields},
};
use crate::{
    app::{App, Caller},
    page::{Address, Landing, client_setup::connector_name},
};

/// Whether a person's browser asks, not an MCP client.
pub fn is_wanted(app: &App, headers: &HeaderMap) -> bool {
    app.config.landing_page && browser::wants_page(headers)
}

/// Shows how to connect.
pub fn get(app: &App, caller: &Caller) -> Response {
    let upstream_host = app.upstream.host();
    let connector_name = connector_name(upstream_host);
    let page = Landing {
        connector_url: &caller.base.join("/mcp"),
        connector_name: &connector_name,
        upstream_name: &app.config.upstream.name,
        upstream_host,
        // Without TLS it is a loopback address: nothing else is configured or listened on.
        only_this_machine: !caller.base.is_https(),
    };
    response::page(StatusCode::OK, page.render())
}

/// Replaces the body of the MCP endpoint's 401 by a page. Its status and its challenge stay, because a client may send a
/// browser's `Accept` header.
pub fn explain_address(caller: &Caller, mut unauthorized: Response) -> Response {
    let page = Address {
        connector_url: &caller.base.join("/mcp"),
    };
    let mut response = response::page(unauthorized.status(), page.render());
    if let Some(challenge) = unauthorized.headers_mut().remove(WWW_AUTHENTICATE) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(fields) = unauthorized.extensions_mut().remove::<RequestLogFields>() {
        response.extensions_mut().insert(fields);
    }
    response
}
