//! The host on Lambda: Function URL events in, streamed answers out.
//!
//! * [`event`] – an event as an HTTP request
//! * [`caller`] – who calls, under which name, and until when
//! * [`stream`] – an answer as the Runtime API takes it

mod caller;
mod event;
mod stream;

use std::{
    convert::Infallible, panic::AssertUnwindSafe, process::ExitCode, sync::Arc, time::Duration,
};

use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{StatusCode, header::CONTENT_TYPE};
use lambda_runtime::{LambdaEvent, Runtime, StreamResponse, service_fn};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{aws, log, metrics::Metrics};
use crate::{
    app::App,
    bucket::{self, Buckets},
    client_document::Fetcher,
    clock::Clock,
    config::{Config, Host, LogFormat},
    credential::Randomness,
    endpoint,
    secrets::{Secrets, TokenForm},
    store::Store,
    upstream::{Upstream, http::Http},
};
use stream::Whole;

/// How long the first poll waits for connections to open. Initialisation is billed, and what is not open by then
/// opens with the first request.
const WARM_UP: Duration = Duration::from_millis(1500);

/// How long an answer waits for a refresh of the secret that runs beside it.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs the function as the environment says, until the environment ends it. Bad settings end it at once, so
/// that the initialisation fails where everybody sees it. `tls` says whom the outgoing side trusts.
pub async fn run(lookup: impl Fn(&str) -> Option<String>, tls: ClientConfig) -> ExitCode {
    let (clock, randomness) = (Clock::system(), Randomness::system());
    match prepared(lookup, tls, clock, randomness).await {
        Ok(app) => {
            warm_up(&app).await;
            serve(app).await
        }
        Err(code) => code,
    }
}

/// Reads the settings, starts the log, and joins everything together.
///
/// # Errors
/// The exit code, after a log line that names every bad setting.
pub async fn prepared(
    lookup: impl Fn(&str) -> Option<String>,
    tls: ClientConfig,
    clock: Clock,
    randomness: Randomness,
) -> Result<App, ExitCode> {
    let config = Config::read(Host::Lambda, &lookup);
    let format = config
        .as_ref()
        .map_or(LogFormat::Json, |config| config.log_format);
    let function = lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let metrics = Metrics::new(function, clock.clone());
    log::start(format, lookup("RUST_LOG").as_deref(), Some(metrics));
    let config = config.map_err(|problems| {
        tracing::error!(
            event = "bad_settings",
            detail = problems.join("; "),
            "these settings need mending"
        );
        ExitCode::from(2)
    })?;
    let http = Http::new(tls.clone(), clock.clone());
    let sdk = aws::from_environment(http.for_sdk()).await;
    let (dynamodb, manager) = (
        aws_sdk_dynamodb::Client::new(&sdk),
        aws_sdk_secretsmanager::Client::new(&sdk),
    );
    Ok(App {
        store: Store::new(dynamodb, config.table_name.clone(), randomness.clone()),
        upstream: Upstream::new(http, config.upstream.clone()),
        documents: Fetcher::new(tls),
        strangers: Buckets::new(bucket::STRANGERS),
        secrets: Secrets::manager(
            manager,
            config.secret_arn.clone(),
            clock.clone(),
            TokenForm::from(&config.upstream),
        ),
        clock,
        randomness,
        config: Arc::new(config),
    })
}

/// Opens the connections to table, secret and upstream side by side. Whether one fails matters to the request
/// that needs it, not here.
pub async fn warm_up(app: &App) {
    let all = async {
        tokio::join!(
            app.store.warm_up(),
            app.secrets.get(),
            app.upstream.warm_up()
        )
    };
    let _ = tokio::time::timeout(WARM_UP, all).await;
}

/// Answers one invocation after the other.
pub async fn serve(app: App) -> ExitCode {
    let router = endpoint::router(app.clone());
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let (app, router) = (app.clone(), router.clone());
        async move { Ok::<_, Infallible>(answered(&app, router, event).await) }
    });
    match Runtime::new(handler).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(event = "runtime_failed", detail = %error, "the Runtime API cannot be used");
            ExitCode::FAILURE
        }
    }
}

/// Every invocation gets an answer of ours: what the runtime would make of an error is a 502 without a word.
async fn answered(app: &App, router: Router, event: LambdaEvent<Value>) -> StreamResponse<Whole> {
    let request_id = event.context.request_id.clone();
    let bare = event.payload["requestContext"]["http"]["method"] == "HEAD";
    let answer = AssertUnwindSafe(answer(app, router, event))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "something went wrong here",
            )
        });
    // Begun with the request, so mostly over by now; what is not would freeze with the function.
    let _ = tokio::time::timeout(SETTLE, app.secrets.settled()).await;
    stream::streamed(answer, bare, request_id)
}

async fn answer(app: &App, router: Router, event: LambdaEvent<Value>) -> Response {
    let arrived = match event::read(event.payload) {
        Ok(arrived) => arrived,
        Err(what) => {
            tracing::warn!(
                event = "bad_event",
                request_id = event.context.request_id,
                detail = what
            );
            return refused(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the request cannot be read",
            );
        }
    };
    match caller::identify(app, &arrived, &event.context).await {
        Ok(caller) => {
            let mut request = arrived.request.map(axum::body::Body::from);
            request.extensions_mut().insert(caller);
            router
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {})
        }
        Err(refusal) => {
            tracing::warn!(
                event = "refused_by_host",
                request_id = event.context.request_id,
                address = arrived.source.map(tracing::field::display),
                detail = refusal.what
            );
            refused(refusal.status, refusal.error, refusal.what)
        }
    }
}

fn refused(status: StatusCode, error: &str, what: &str) -> Response {
    let body = json!({ "error": error, "error_description": what }).to_string();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
