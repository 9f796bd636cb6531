//! The endpoints, and the router.
//!
//! Each file is one endpoint, or one thing that several of them share:
//! * [`authorize`], [`token`], [`revoke`], [`register`], [`well_known`] – the authorization server
//! * [`mcp`] – the protected resource
//! * [`connections`], [`landing`], [`favicon`] – pages for the owner
//! * [`route`] – which path is which endpoint
//! * [`clients`], [`documents`], [`client_lookup`] – finding a client and letting it authenticate
//! * [`pin`], [`browser`], [`body`], [`flash`] – what forms and pages need
//! * [`response`], [`error`], [`cors`], [`log`] – what responses need

mod authorize;
mod body;
mod browser;
mod client_lookup;
mod clients;
mod connections;
mod cors;
mod documents;
mod error;
mod favicon;
mod flash;
mod landing;
mod log;
mod mcp;
mod pin;
mod register;
mod response;
mod revoke;
mod route;
mod token;
mod well_known;
mod write_limit;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{Method, StatusCode, header::AUTHORIZATION};
use tracing::Instrument as _;

use crate::{
    app::{App, Caller},
    oauth::{
        error::{ErrorCode, OAuthError},
        resource::McpPath,
    },
};
use error::{ApiError, PageError, method_not_allowed, not_found};
use log::RequestLogEntry;
use response::IsPage;
use route::{ConnectionsPage, Enabled, Route};

/// The router. The host must add a [`Caller`] to every request's extensions.
pub fn router(app: App) -> Router {
    // axum's own router decodes a path before it matches it. Here the path is matched as it was sent.
    Router::new().fallback(handle).with_state(Arc::new(app))
}

/// Handles every request. The steps, outermost first:
/// 1. the log line, which is written for every response, including those of the steps below;
/// 2. CORS, on every API response, including errors. So it is outside everything that creates errors;
/// 3. catching panics: a panic in one request must not end the process;
/// 4. the endpoint.
async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return server_error("the host did not add a caller to the request").into_response();
    };
    let path = request.uri().path().to_owned();
    let route = Route::from_path(&path, Enabled::from_config(&app.config));
    let log_entry = RequestLogEntry::begin(route, &request);
    // Every log line that is written while the request is handled has its id.
    let span = tracing::info_span!("call", request_id = caller.request_id);

    // Boxed, because a future is copied each time that it is wrapped, and this one holds the states of all endpoints.
    let dispatched = Box::pin(dispatch(&app, &caller, route, request));
    let mut response = AssertUnwindSafe(dispatched)
        .catch_unwind()
        .instrument(span)
        .await
        .unwrap_or_else(|_| {
            server_error("internal error; try again. The log has the request id").into_response()
        });
    if route.is_api() && response.extensions().get::<IsPage>().is_none() {
        cors::allow_every_origin(&mut response);
    }
    log_entry.end(&caller, &response);
    response
}

/// Finds the handler by route and method.
async fn dispatch(app: &App, caller: &Caller, route: Route<'_>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let has_authorization = request.headers().contains_key(AUTHORIZATION);
    let with_basic_challenge = |error: ApiError| error.challenging_basic(has_authorization);
    let with_reference = |error: PageError| error.with_reference(&caller.request_id);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);

    match (route, &request.method().clone()) {
        (route, &Method::OPTIONS) if route.is_api() => {
            cors::preflight(request.headers(), &app.config.upstream.forward_headers)
        }

        (Route::WellKnown(Some(document)), &(Method::GET | Method::HEAD)) => {
            well_known::get(app, caller, document)
        }
        (Route::Register, &Method::POST) => {
            register::post(app, caller, request).await.into_response()
        }
        (Route::Authorize, &Method::GET) => authorize::get(app, caller, &query, request.headers())
            .await
            .map_err(with_reference)
            .into_response(),
        (Route::Authorize, &Method::HEAD) => {
            authorize::head(app, caller, &query, request.headers())
                .await
                .map_err(with_reference)
                .into_response()
        }
        (Route::Authorize, &Method::POST) => authorize::post(app, caller, request)
            .await
            .map_err(with_reference)
            .into_response(),
        (Route::Token, &Method::POST) => token::post(app, caller, request)
            .await
            .map_err(with_basic_challenge)
            .into_response(),
        (Route::Revoke, &Method::POST) => revoke::post(app, caller, request)
            .await
            .map_err(with_basic_challenge)
            .into_response(),

        (Route::Mcp(McpPath::Root), _) if reads && landing::is_wanted(app, request.headers()) => {
            response::isolate_window(landing::get(app, caller))
        }
        (Route::Mcp(path), _) => {
            let explained = reads && landing::is_wanted(app, request.headers());
            let response = mcp::handle(app, caller, path, request).await;
            if explained && response.status() == StatusCode::UNAUTHORIZED {
                return landing::explain_address(caller, response);
            }
            response
        }

        (Route::Connections(page), &(Method::GET | Method::HEAD)) => {
            let shown = connections::get(app, caller, page, &query, request.headers()).await;
            response::isolate_window(shown.map_err(with_reference).into_response())
        }
        (Route::Connections(ConnectionsPage::List), &Method::POST) => {
            let done = connections::post(app, caller, request).await;
            response::isolate_window(done.map_err(with_reference).into_response())
        }
        (Route::Favicon, &(Method::GET | Method::HEAD)) => favicon::get(),

        (Route::Unknown, _) if reads && browser::wants_page(request.headers()) => {
            with_reference(PageError::nothing_here(app.config.landing_page)).into_response()
        }
        (route, _) => route
            .allowed_methods()
            .map_or_else(not_found, method_not_allowed),
    }
}

fn server_error(description: &'static str) -> ApiError {
    OAuthError::new(ErrorCode::ServerError, description).into()
}
