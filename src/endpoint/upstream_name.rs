//! The name of the upstream, as people read it.

use crate::app::App;

/// The name of the upstream: `GitHub`.
pub fn upstream_name(app: &App) -> String {
    of_host(app.upstream.host())
}

/// `GitHub` for GitHub's server, else the most telling label of the host.
fn of_host(host: &str) -> String {
    if host == "api.githubcopilot.com" {
        return "GitHub".to_owned();
    }
    let telling = host
        .split('.')
        .find(|label| !matches!(*label, "mcp" | "api" | "www"))
        .filter(|label| label.contains(|c: char| c.is_ascii_alphabetic()));
    match telling.map(|label| label.split_at(1)) {
        Some((first, rest)) if host.contains('.') => format!("{}{rest}", first.to_uppercase()),
        _ => "this MCP server".to_owned(),
    }
}
