//! The binary: the Lambda function if the Runtime API is available, otherwise the command line.

use std::process::ExitCode;

use lambda_oauth_mcp_proxy::{host, http_client::tls};

#[tokio::main]
async fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the environment"
    )]
    // A value that is not Unicode gets replacement characters, so that it is rejected and does not count as absent.
    let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    if lookup("AWS_LAMBDA_RUNTIME_API").is_some() {
        return Box::pin(host::lambda::run(lookup, tls())).await;
    }
    command_line(lookup).await
}

#[cfg(feature = "local")]
async fn command_line(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    host::command::run(lookup).await
}

#[cfg(not(feature = "local"))]
#[expect(clippy::unused_async, reason = "has the signature of the other one")]
#[expect(clippy::print_stderr, reason = "there is no log yet")]
async fn command_line(_: impl Fn(&str) -> Option<String>) -> ExitCode {
    eprintln!(
        "This build runs on AWS Lambda only: AWS_LAMBDA_RUNTIME_API is not set. \
         Build with the feature `local` for the command line."
    );
    ExitCode::from(2)
}
