//! Settings as they are read, and every invalid one named.

use super::*;

fn read(host: HostKind, settings: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    Config::read(host, |name| {
        settings
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn nothing_set_is_github_with_the_documented_defaults() {
    let config = read(HostKind::Local, &[("UPSTREAM_MCP", "  ")]).unwrap();
    assert_eq!(config.upstream.url.as_str(), DEFAULT_UPSTREAM_URL);
    assert_eq!(config.lifetimes.access_token, 86_400);
    assert!(!config.get_streams);
    assert_eq!(config.registration, Registration::Open);
}

#[test]
fn every_problem_is_named() {
    let problems = read(
        HostKind::Lambda,
        &[
            ("BASE_URL", "mcp.example.com"),
            ("UPSTREAM_MCP", "http://127.0.0.1:1/mcp"),
            ("UPSTREAM_HEADERS", "{\"Authorization\":\"x\"}"),
            ("FORWARD_HEADERS", "x-ok, cookie"),
            ("ACCESS_TOKEN_SECONDS", "soon"),
            ("GET_STREAMS", "maybe"),
        ],
    )
    .unwrap_err();
    for name in [
        "BASE_URL",
        "UPSTREAM_MCP",
        "UPSTREAM_HEADERS",
        "FORWARD_HEADERS",
        "ACCESS_TOKEN_SECONDS",
        "GET_STREAMS",
        "TABLE_NAME",
        "SECRET_ARN",
    ] {
        assert_eq!(
            problems
                .iter()
                .filter(|problem| problem.starts_with(name))
                .count(),
            1,
            "{name}: {problems:?}"
        );
    }
}

#[test]
fn an_upstream_without_tls_is_only_for_loopback_on_one_machine() {
    assert!(
        read(
            HostKind::Local,
            &[("UPSTREAM_MCP", "http://127.0.0.1:1/mcp")]
        )
        .is_ok()
    );
    for bad in [
        "http://mcp.example.com/",
        "https://user@mcp.example.com/",
        "https://mcp.example.com/#x",
        "mcp",
    ] {
        assert!(
            read(HostKind::Local, &[("UPSTREAM_MCP", bad)]).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn pinned_headers_do_not_leak_their_values_into_messages() {
    let problem = parse_headers("{\"X-Key\":\"se\\ncret\"}").unwrap_err();
    assert!(!problem.contains("cret"), "{problem}");
}
