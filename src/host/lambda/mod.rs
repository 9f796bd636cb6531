//! The host on Lambda: Function URL events in, streamed responses out.
//!
//! * [`runtime_api`] – where invocations come from and responses go
//! * [`event`] – converts an event to an HTTP request
//! * [`caller`] – who calls, at which base URL, and until when
//! * [`streamed_response`] – converts a response to the frames that a Function URL needs

mod caller;
pub mod event;
mod runtime_api;
mod streamed_response;

use std::{panic::AssertUnwindSafe, process::ExitCode, time::Duration};

use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{
    Method, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
};
use rustls::ClientConfig;
use serde_json::json;
use tower::ServiceExt as _;

use super::{aws, log, metrics::Metrics, start_check};
use crate::{
    app::App,
    client_document::Fetcher,
    clock::Clock,
    config::{Config, HostKind, LogFormat},
    credential::Randomness,
    endpoint,
    error::causes,
    http_client::HttpClient,
    secrets::{Secrets, TokenForm},
};
use event::ReceivedRequest;
use runtime_api::{Invocation, RuntimeApi, RuntimeApiError};

/// How long the first poll waits for the connections to `DynamoDB` and Secrets Manager. Initialisation is billed, and a
/// connection that is not open by then is opened by the first request.
const AWS_WARM_UP: Duration = Duration::from_millis(1500);
/// The same for the upstream, which may not respond to a request without a credential. Long enough for a TLS handshake.
const UPSTREAM_WARM_UP: Duration = Duration::from_millis(300);
/// How often the upstream is asked whether it works. Each time that the function is frozen meanwhile costs one attempt.
const START_CHECK_ATTEMPTS: u32 = 3;
/// How long the end of a response waits for a refresh of the secret that is still running.
const SECRET_REFRESH_WAIT: Duration = Duration::from_secs(1);
/// How long the next invocation waits for work that no response waits for.
const BACKGROUND_WAIT: Duration = Duration::from_secs(1);

/// Reads the settings from the environment variables and handles invocations until Lambda stops the process. Invalid
/// settings end the process at once, so that the deployment visibly fails. `tls` contains the root certificates for
/// outgoing connections.
pub async fn run(lookup: impl Fn(&str) -> Option<String>, tls: ClientConfig) -> ExitCode {
    let (clock, randomness) = (Clock::system(), Randomness::system());
    let runtime_api = lookup("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    match prepared(lookup, tls, clock, randomness) {
        Ok(app) => {
            warm_up(&app).await;
            // Runs while the first call is handled, and takes no connection from it.
            let (upstream, secrets) = (app.upstream.with_own_connections(), app.secrets.clone());
            tokio::spawn(async move {
                start_check::run(&upstream, &secrets, START_CHECK_ATTEMPTS).await;
            });
            serve(app, &runtime_api).await
        }
        Err(code) => code,
    }
}

/// Reads the settings, starts the log, and builds the [`App`].
///
/// # Errors
/// The exit code, after a log line that names every invalid setting.
pub fn prepared(
    lookup: impl Fn(&str) -> Option<String>,
    tls: ClientConfig,
    clock: Clock,
    randomness: Randomness,
) -> Result<App, ExitCode> {
    let config = Config::read(HostKind::Lambda, &lookup);
    let format = config
        .as_ref()
        .map_or(LogFormat::Json, |config| config.log_format);
    let function = lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let metrics = Metrics::new(function, clock.clone());
    log::start(
        format,
        lookup("RUST_LOG").as_deref(),
        Some(metrics),
        time::UtcOffset::UTC,
    );
    let config = config.map_err(|problems| {
        tracing::error!(
            event = "bad_settings",
            detail = problems.join("; "),
            "these settings are invalid"
        );
        ExitCode::from(2)
    })?;
    let http = HttpClient::new(tls.clone(), clock.clone());
    let sdk = |endpoint_variable| aws::from_environment(&lookup, http.for_sdk(), endpoint_variable);
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk("AWS_ENDPOINT_URL_DYNAMODB"));
    let manager = aws_sdk_secretsmanager::Client::new(&sdk("AWS_ENDPOINT_URL_SECRETS_MANAGER"));
    let token_form = TokenForm::from(&config.upstream);
    let secrets = Secrets::manager(
        manager,
        config.secret_arn.clone(),
        clock.clone(),
        token_form,
    );
    Ok(App::new(
        config,
        dynamodb,
        http,
        Fetcher::new(tls),
        secrets,
        clock,
        randomness,
    ))
}

/// Opens the connections to `DynamoDB`, Secrets Manager and the upstream concurrently. Failures are ignored here. The
/// request that needs the connection reports them.
pub async fn warm_up(app: &App) {
    let aws = async { tokio::join!(app.store.warm_up(), app.secrets.get()) };
    let _ = tokio::join!(
        tokio::time::timeout(AWS_WARM_UP, aws),
        tokio::time::timeout(UPSTREAM_WARM_UP, app.upstream.warm_up()),
    );
}

/// Handles invocations one at a time. `runtime_api` is the value of `AWS_LAMBDA_RUNTIME_API`.
pub async fn serve(app: App, runtime_api: &str) -> ExitCode {
    let Err(error) = serve_invocations(app, runtime_api).await;
    tracing::error!(
        event = "runtime_failed",
        detail = causes(&*error),
        "the Runtime API cannot be used"
    );
    ExitCode::FAILURE
}

async fn serve_invocations(
    app: App,
    runtime_api: &str,
) -> Result<std::convert::Infallible, RuntimeApiError> {
    let api = RuntimeApi::new(runtime_api)?;
    let router = endpoint::router(app.clone());
    loop {
        let invocation = api.next().await?;
        let (response, is_head_request) = respond(&app, router.clone(), &invocation).await;
        let secrets = app.secrets.clone();
        // A refresh starts with the request and has usually finished by now. If not, wait for it: Lambda freezes the
        // function after the response.
        let secret_settled = async move {
            let _ = tokio::time::timeout(SECRET_REFRESH_WAIT, secrets.settled()).await;
        };
        let request_id = invocation.request_id.clone();
        let frames =
            streamed_response::frames(response, is_head_request, request_id, secret_settled).await;
        if let Err(error) = api.respond(&invocation, frames).await {
            // Lambda has ended this invocation. If it has also ended the function, `next` fails.
            tracing::warn!(
                event = "response_not_taken",
                request_id = invocation.request_id,
                detail = causes(&*error),
                "the Runtime API did not accept a response"
            );
        }
        // The client has its response. Lambda freezes the function when it asks for the next invocation.
        let settled = app.background.settled();
        let _ = tokio::time::timeout(BACKGROUND_WAIT, settled).await;
    }
}

/// The response, and whether the request was HEAD. Every invocation gets a response from this program. If it reported
/// an error to Lambda, the client would get a 502 without a body.
async fn respond(app: &App, router: Router, invocation: &Invocation) -> (Response, bool) {
    let received = match event::read(&invocation.event) {
        Ok(received) => received,
        Err(detail) => {
            tracing::warn!(
                event = "bad_event",
                request_id = invocation.request_id,
                detail
            );
            let bad_request = HostErrorResponse {
                status: StatusCode::BAD_REQUEST,
                error: "invalid_request",
                description: "the request cannot be read",
            };
            return (bad_request.into_response(), false);
        }
    };
    let is_head_request = received.request.method() == Method::HEAD;
    let response = AssertUnwindSafe(route(app, router, received, invocation))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            let panicked = HostErrorResponse {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                error: "server_error",
                description: "internal error; try again. The log has the request id",
            };
            panicked.into_response()
        });
    (response, is_head_request)
}

async fn route(
    app: &App,
    router: Router,
    received: ReceivedRequest,
    invocation: &Invocation,
) -> Response {
    match caller::identify(app, &received, invocation).await {
        Ok(caller) => {
            let mut request = received.request.map(axum::body::Body::from);
            // A Function URL may decode a compressed response or drop its content-encoding, so compression is not
            // requested.
            request.headers_mut().remove(ACCEPT_ENCODING);
            request.extensions_mut().insert(caller);
            router
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {})
        }
        Err(rejected) => {
            tracing::warn!(
                event = "refused_by_host",
                request_id = invocation.request_id,
                address = received.source.map(tracing::field::display),
                detail = rejected.description
            );
            rejected.into_response()
        }
    }
}

/// The response to a request that does not reach the router.
pub struct HostErrorResponse {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
}

impl axum::response::IntoResponse for HostErrorResponse {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let headers = [(CONTENT_TYPE, "application/json")];
        (self.status, headers, body.to_string()).into_response()
    }
}
