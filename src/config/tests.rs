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
            ("ACTIVITY_DAYS", "366"),
            ("MANUAL_TOKENS", "yes"),
            ("UPSTREAM_NAME", "a\u{7}b"),
            ("TRUSTED_PROXY_HEADER", "Forwarded"),
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
        "ACTIVITY_DAYS",
        "MANUAL_TOKENS",
        "UPSTREAM_NAME",
        "TRUSTED_PROXY_HEADER",
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
fn an_upstream_is_named_after_its_product_or_its_host() {
    let named = |url: &str, name: &str| {
        read(
            HostKind::Lambda,
            &[
                ("UPSTREAM_MCP", url),
                ("UPSTREAM_NAME", name),
                ("TABLE_NAME", "t"),
                ("SECRET_ARN", "s"),
            ],
        )
        .map(|config| config.upstream.name)
        .map_err(|problems| problems.join(" "))
    };
    for (url, name) in [
        ("", "GitHub"),
        ("https://mcp.notion.com/mcp", "Notion"),
        ("https://bindings.mcp.cloudflare.com/mcp", "Cloudflare"),
        (
            "https://notmcp.notion.com.example/mcp",
            "notmcp.notion.com.example",
        ),
        ("https://evilhuggingface.co/mcp", "evilhuggingface.co"),
        (
            "https://mcp.example.com:8443/key/mcp?key=1",
            "mcp.example.com",
        ),
        ("https://münchen.example/", "xn--mnchen-3ya.example"),
    ] {
        assert_eq!(named(url, "").as_deref(), Ok(name), "{url}");
    }
    let own = "Our <Wiki> für alle";
    assert_eq!(named("", own).as_deref(), Ok(own));
    for bad in ["a\nb", "a\u{202e}b", "a  b", &"x".repeat(51)] {
        assert!(
            named("", bad)
                .unwrap_err()
                .starts_with("UPSTREAM_NAME must"),
            "{bad:?}"
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
