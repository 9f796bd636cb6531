//! Which host: Lambda's runtime, or the command line.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let lookup = |name: &str| std::env::var(name).ok();
    if lookup("AWS_LAMBDA_RUNTIME_API").is_some() {
        return lambda_oauth_mcp_proxy::host::lambda::run(lookup).await;
    }
    otherwise(lookup).await
}

#[cfg(feature = "local")]
async fn otherwise(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    lambda_oauth_mcp_proxy::host::command::run(lookup).await
}

#[cfg(not(feature = "local"))]
async fn otherwise(_: impl Fn(&str) -> Option<String>) -> ExitCode {
    use std::io::Write as _;
    let what = b"This build runs only as a Lambda function. Build with the feature `local` for the command line.\n";
    let _ = std::io::stderr().write_all(what);
    ExitCode::from(2)
}
