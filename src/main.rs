//! The binary: the Lambda function if the Runtime API is available, otherwise the command line.

use std::process::ExitCode;

use lambda_oauth_mcp_proxy::{host, http_client::tls};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the environment"
    )]
    // A value that is not Unicode gets replacement characters, so that it is rejected and does not count as absent.
    let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    if lookup("AWS_LAMBDA_RUNTIME_API").is_none() {
        return command_line(lookup);
    }
    // An instance handles one call at a time, so a second thread would only be woken up for nothing.
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime
        .expect("the operating system provides a runtime")
        .block_on(host::lambda::run(lookup, tls()))
}

#[cfg(feature = "local")]
fn command_line(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime
        .expect("the operating system provides a runtime")
        .block_on(host::command::run(lookup))
}

#[cfg(not(feature = "local"))]
#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn command_line(_: impl Fn(&str) -> Option<String>) -> ExitCode {
    eprintln!(
        "This build runs on AWS Lambda only: AWS_LAMBDA_RUNTIME_API is not set. \
         Build with the feature `local` for the command line."
    );
    ExitCode::from(2)
}
