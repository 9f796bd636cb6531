//! `doctor`: looks at a connector as clients do.

use std::{io::IsTerminal as _, pin::pin, time::Duration};

use clap::Args;
use futures_util::StreamExt as _;
use url::Url;

use super::{StartError, say, settings::Settings, token};
use crate::{
    clock::Clock,
    credential::Randomness,
    host::{doctor::Doctor, local},
    http_client::tls,
};

/// What to look at.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The connector URL, as you type it into a client.
    url: Url,
    /// Sign in as well: asks for the PIN (or reads `AUTH_PIN`), lists the tools, and ends the connection again.
    #[arg(long)]
    sign_in: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// How many seconds to wait for each response; claude.ai waits 10.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

/// Examines the connector and prints what was found.
///
/// # Errors
/// When clients cannot connect, or no PIN can be asked for.
pub async fn run(arguments: Arguments, settings: &Settings) -> Result<(), StartError> {
    let invalid = |what: &str| StartError::Settings(vec![what.to_owned()]);
    if !matches!(arguments.url.scheme(), "https" | "http") || !arguments.url.has_host() {
        return Err(invalid(
            "URL must begin with https://; an example: https://mcp.example.com/mcp",
        ));
    }
    let pin = match settings.set("AUTH_PIN") {
        _ if !arguments.sign_in => None,
        Some(pin) => Some(pin),
        None if std::io::stdin().is_terminal() => {
            Some(token::hidden("PIN (it is not shown): ").map_err(StartError::Failure)?)
        }
        None => {
            return Err(invalid(
                "--sign-in needs a terminal to ask for the PIN, or AUTH_PIN",
            ));
        }
    };
    let doctor = Doctor {
        tls: tls(),
        timeout: Duration::from_secs(arguments.timeout),
        pin,
        clock: Clock::system(),
        randomness: Randomness::system(),
    };
    let mut signals =
        pin!(local::signals().map_err(|error| StartError::Failure(error.to_string()))?);
    let report = tokio::select! {
        report = doctor.examine(&arguments.url) => report,
        // After the question they end nothing by themselves.
        _ = signals.next() => return Err(StartError::Reported),
    };
    if arguments.json {
        say(&format!("{:#}\n", report.to_json()));
    } else {
        say(&report.to_text());
    }
    if report.has_failed() {
        return Err(StartError::Reported);
    }
    Ok(())
}
