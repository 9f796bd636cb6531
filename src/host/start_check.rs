//! Asks the upstream for its tools once, so that the log says at the start whether it works. The program serves in any case.

use crate::{
    secrets::Secrets,
    upstream::{Failure, Upstream, tool_list::ListError},
};

/// Asks, at most this many times, and writes one log line. A function on Lambda may be frozen meanwhile, which breaks the
/// connection: hence more than one attempt there.
pub async fn run(upstream: &Upstream, secrets: &Secrets, attempts: u32) {
    // If there is no secret, the first request reports it.
    let Ok(secret) = secrets.get().await else {
        return;
    };
    let (name, host) = (&upstream.config().name, upstream.host());
    let mut listed = upstream.list_tools(&secret).await;
    for _ in 1..attempts {
        if !matches!(&listed, Err(error) if !is_refused(error)) {
            break;
        }
        listed = upstream.list_tools(&secret).await;
    }
    match listed {
        Ok(tools) => {
            let count = tools.len();
            tracing::info!(
                event = "upstream_checked",
                host,
                tools = count,
                "{name} answered: {count} tools"
            );
        }
        Err(error) => {
            let what = explanation(name, &error);
            tracing::warn!(event = "upstream_check_failed", host, detail = %error, "{what}");
        }
    }
}

fn is_refused(error: &ListError) -> bool {
    matches!(error, ListError::Failure(Failure::CredentialRefused))
}

fn explanation(name: &str, error: &ListError) -> String {
    match error {
        ListError::Failure(Failure::CredentialRefused) => {
            format!("{name} refused the token (401): replace it")
        }
        ListError::Failure(Failure::Redirect(status)) => format!(
            "{name} redirects elsewhere ({}): is UPSTREAM_MCP its exact URL?",
            status.as_u16()
        ),
        ListError::Failure(_) => format!("{name} did not answer"),
        ListError::Invalid(_) => format!(
            "{name} did not answer as an MCP server: is UPSTREAM_MCP the URL of one, and UPSTREAM_TRANSPORT right?"
        ),
    }
}
