//! The binary: the Lambda function where a Runtime API is, else the command line on one machine.

use std::process::ExitCode;

use lambda_oauth_mcp_proxy::{host, http_client::tls};

#[tokio::main]
async fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    // A value that is no Unicode becomes one with replacement characters, so that it is refused and not taken for absent.
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
#[expect(clippy::unused_async, reason = "reads as the other does")]
#[expect(clippy::print_stderr, reason = "nothing else would hear it")]
async fn command_line(_: impl Fn(&str) -> Option<String>) -> ExitCode {
    eprintln!(
        "This build runs on AWS Lambda only: AWS_LAMBDA_RUNTIME_API is not set. \
         Build with the feature `local` for the command line."
    );
    ExitCode::from(2)
}
