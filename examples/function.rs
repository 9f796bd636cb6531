//! The Lambda host on the embedded engine, for an emulator of the Runtime API.
//!
//!     cargo run --example function -- table        a table for several instances; prints its URL
//!     cargo run --example function -- serve URL    one instance on that table; the settings and the two secrets
//!                                                  from the environment, as for `serve` on one machine;
//!                                                  ORIGIN_SECRET too, if there is a distribution in front
//!
//! Not what is deployed: that takes its table and its secret from AWS, and is tested in `tests/lambda`.

#![allow(clippy::print_stdout, reason = "a script reads it")]

use std::{env, error::Error, process::ExitCode};

use dynoxide::Database;
use lambda_oauth_mcp_proxy::{
    app::App,
    client_document::Fetcher,
    clock::Clock,
    config::{Config, HostKind, LogFormat},
    credential::Randomness,
    host::{aws, engine, lambda, log},
    http_client::{HttpClient, tls},
    pin::Pin,
    secrets::{Secret, Secrets, TokenForm},
    store::table,
};
use tokio::net::TcpListener;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["table"] => serve_table().await,
        ["serve", table] => serve_function(table).await,
        _ => Err("usage: function table | function serve URL".into()),
    }
}

async fn serve_table() -> Result<ExitCode, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let router = engine::router(Database::memory()?);
    axum::serve(listener, router).await?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::disallowed_methods, reason = "a main function of its own")]
async fn serve_function(state: &str) -> Result<ExitCode, Failure> {
    let lookup = |name: &str| env::var(name).ok();
    let config = Config::read(HostKind::Local, lookup).map_err(|problems| problems.join("; "))?;
    log::start(LogFormat::Json, None, None, time::UtcOffset::UTC);
    let (clock, randomness) = (Clock::system(), Randomness::system());
    let http = HttpClient::new(tls(), clock.clone());
    let dynamodb = aws::local_dynamodb(http.for_sdk(), state);
    table::create(&dynamodb, &config.table_name).await?;
    let secret = Secret {
        upstream_token: TokenForm::from(&config.upstream)
            .read(&lookup("UPSTREAM_TOKEN").unwrap_or_default())
            .map_err(|what| format!("UPSTREAM_TOKEN {what}"))?,
        pin: Pin::parse(&lookup("AUTH_PIN").ok_or("AUTH_PIN is not set")?)?,
        upstream_headers: Vec::new(),
        clients: Vec::new(),
        origin_secret: lookup("ORIGIN_SECRET")
            .map(lambda_oauth_mcp_proxy::credential::SecretString::new),
    };
    let app = App::new(
        config,
        dynamodb,
        http,
        Fetcher::new(tls()),
        Secrets::fixed(secret),
        clock,
        randomness,
    );
    lambda::warm_up(&app).await;
    let runtime_api =
        lookup("AWS_LAMBDA_RUNTIME_API").ok_or("AWS_LAMBDA_RUNTIME_API is not set")?;
    Ok(lambda::serve(app, &runtime_api).await)
}
