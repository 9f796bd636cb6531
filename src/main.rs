//! The binary: the Lambda function if the Runtime API is available, otherwise the command line.

use std::process::ExitCode;

use lambda_oauth_mcp_proxy::{host, http_client::tls};
use tokio::runtime::Builder;

/// A call allocates hundreds of times. The C library's allocator needs three times as many instructions for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the environment"
    )]
    // A value that is not Unicode gets replacement characters, so that it is rejected and does not count as absent.
    let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    if lookup("AWS_LAMBDA_RUNTIME_API").is_none() {
        return command_line();
    }
    // An instance handles one call at a time, so a second thread would only be woken up for nothing.
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(host::lambda::run(lookup, tls())),
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(feature = "local")]
fn command_line() -> ExitCode {
    // Before any thread is started, because other threads could change the time zone meanwhile.
    let offset = time::UtcOffset::current_local_offset().unwrap_or(time::UtcOffset::UTC);
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    let environment = environment.collect();
    match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(host::command::run(environment, offset)),
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(not(feature = "local"))]
#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn command_line() -> ExitCode {
    eprintln!(
        "This build runs on AWS Lambda only: AWS_LAMBDA_RUNTIME_API is not set. \
         Build with the feature `local` for the command line."
    );
    ExitCode::from(2)
}
