//! The binary: the command line on one machine.

use std::process::ExitCode;

#[cfg(feature = "local")]
#[tokio::main]
async fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    let lookup = |name: &str| std::env::var(name).ok();
    lambda_oauth_mcp_proxy::host::command::run(lookup).await
}

#[cfg(not(feature = "local"))]
fn main() -> ExitCode {
    ExitCode::from(2)
}
