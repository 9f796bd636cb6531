//! The binary: the Lambda function if the Runtime API is available, otherwise the command line.

use std::process::ExitCode;

use lambda_oauth_mcp_proxy::{host, http_client::tls};

fn main() -> ExitCode {
    // Before any thread is started, because other threads could change the time zone meanwhile.
    #[cfg(feature = "local")]
    let offset = time::UtcOffset::current_local_offset().unwrap_or(time::UtcOffset::UTC);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(
            #[cfg(feature = "local")]
            offset,
        )),
        Err(_) => ExitCode::FAILURE,
    }
}

async fn run(#[cfg(feature = "local")] offset: time::UtcOffset) -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the environment"
    )]
    // A value that is not Unicode gets replacement characters, so that it is rejected and does not count as absent.
    let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    if lookup("AWS_LAMBDA_RUNTIME_API").is_some() {
        return Box::pin(host::lambda::run(lookup, tls())).await;
    }
    #[cfg(feature = "local")]
    return command_line(offset).await;
    #[cfg(not(feature = "local"))]
    return no_command_line();
}

#[cfg(feature = "local")]
async fn command_line(offset: time::UtcOffset) -> ExitCode {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    host::command::run(environment.collect(), offset).await
}

#[cfg(not(feature = "local"))]
#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn no_command_line() -> ExitCode {
    eprintln!(
        "This build runs on AWS Lambda only: AWS_LAMBDA_RUNTIME_API is not set. \
         Build with the feature `local` for the command line."
    );
    ExitCode::from(2)
}
