//! Header names with `_`: they are names of their own, except where a server that takes `_` for `-` would find a second
//! value for a header that is not the client's to set.

use lambda_oauth_mcp_proxy::config::{Config, HostKind};

use crate::support::world::World;

/// What a client sends, and what of it reaches the upstream.
type Row = (&'static [&'static str], &'static [&'static str]);

/// Sends each row's headers, and lists the rows of which something else arrived.
async fn compare(settings: &[(&'static str, &str)], rows: &[Row]) {
    let w = World::with_settings(settings).await;
    let client = w.connect().await;
    let mut wrong = Vec::new();
    for (sent, expected) in rows {
        let mut call = w.call(&client.access);
        for name in *sent {
            call = call.header(name, "from-the-client");
        }
        assert_eq!(call.send().await.status, 200, "{sent:?}");
        let seen = w.upstream.requests().pop().unwrap();
        let mut arrived: Vec<_> = seen
            .headers
            .iter()
            .filter(|(_, value)| *value == "from-the-client")
            .map(|(name, _)| name.as_str().to_owned())
            .collect();
        arrived.sort();
        let mut expected: Vec<_> = expected.iter().map(|name| name.to_lowercase()).collect();
        expected.sort();
        if arrived != expected {
            wrong.push(format!("{sent:?}: {arrived:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn header_names_with_underscores_are_forwarded_unless_they_are_reserved() {
    compare(
        &[],
        &[
            (&["mcp-param-user_id"], &["mcp-param-user_id"]),
            (&["Mcp-Param-User_ID"], &["mcp-param-user_id"]),
            (&["mcp-param-_"], &["mcp-param-_"]),
            (&["mcp-param-a_b-c_d"], &["mcp-param-a_b-c_d"]),
            (
                &["mcp-param-user_id", "mcp-param-user-id"],
                &["mcp-param-user_id", "mcp-param-user-id"],
            ),
            (&["mcp-session_hint"], &["mcp-session_hint"]),
            (&["x-mcp-tool_filter"], &["x-mcp-tool_filter"]),
            // Not an allowed name, whatever a server reads it as.
            (&["mcp_param_user_id"], &[]),
            (&["user_agent_x", "last_event_id"], &[]),
            (&["x_mcp_tools", "x_forwarded_for", "x-api_key"], &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_pinned_header_cannot_be_overridden_by_its_underscore_spelling() {
    compare(
        &[(
            "UPSTREAM_HEADERS",
            r#"{"X-MCP-Readonly":"true","Mcp-Param-Tenant_Id":"ours","Mcp-Param-Region":"eu"}"#,
        )],
        &[
            (&["x-mcp_readonly", "x-mcp-readonly"], &[]),
            (&["mcp-param-tenant_id", "mcp-param-tenant-id"], &[]),
            (&["mcp-param-region"], &[]),
            (&["mcp-param-region_"], &["mcp-param-region_"]),
            (&["mcp-param-user_id"], &["mcp-param-user_id"]),
        ],
    )
    .await;
    // Pinned tools reserve all headers of the family, in every spelling.
    compare(
        &[
            ("UPSTREAM_HEADERS", r#"{"X-MCP-Toolsets":"issues"}"#),
            ("FORWARD_HEADERS", "x_mcp_toolsets"),
        ],
        &[
            (
                &["x-mcp-tool_sets", "x-mcp_toolsets", "x_mcp_toolsets"],
                &[],
            ),
            (&["x-mcp-lock_down"], &[]),
            (&["mcp-param-user_id"], &["mcp-param-user_id"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_credential_header_cannot_be_overridden_by_its_underscore_spelling() {
    compare(
        &[
            ("UPSTREAM_AUTH_HEADER", "Mcp-Api-Key"),
            ("UPSTREAM_AUTH_SCHEME", "none"),
            ("FORWARD_HEADERS", "mcp_api_key, x_tenant"),
        ],
        &[
            (&["mcp-api-key", "mcp-api_key", "mcp_api_key"], &[]),
            (&["mcp-api_keys"], &["mcp-api_keys"]),
            (&["x_tenant"], &["x_tenant"]),
            (&["x-tenant"], &[]),
        ],
    )
    .await;
    compare(
        &[
            ("UPSTREAM_AUTH_HEADER", "mcp-api_key"),
            ("UPSTREAM_AUTH_SCHEME", "none"),
        ],
        &[(&["mcp-api-key", "mcp-api_key"], &[])],
    )
    .await;
}

#[tokio::test]
async fn reserved_names_are_reserved_in_both_spellings() {
    for (setting, value) in [
        ("FORWARD_HEADERS", "x_forwarded_for"),
        ("FORWARD_HEADERS", "proxy_authorization"),
        ("FORWARD_HEADERS", "x-ok, content_length"),
        ("FORWARD_HEADERS", "cf_connecting_ip"),
        ("UPSTREAM_HEADERS", r#"{"Transfer_Encoding":"x"}"#),
        ("UPSTREAM_HEADERS", r#"{"X_Amzn_Trace-Id":"x"}"#),
        ("UPSTREAM_AUTH_HEADER", "Set_Cookie"),
    ] {
        let problems = Config::read(HostKind::Local, |name| {
            (name == setting).then(|| value.into())
        });
        let problems = problems.err().unwrap_or_default();
        assert!(
            problems.len() == 1 && problems[0].starts_with(setting),
            "{setting}={value}: {problems:?}"
        );
    }
}

#[tokio::test]
async fn a_preflight_allows_exactly_the_header_names_that_are_forwarded() {
    let w = World::with_settings(&[("FORWARD_HEADERS", "x-tenant, x_region")]).await;
    let client = w.connect().await;
    let allowed = [
        "accept",
        "accept-encoding",
        "accept-language",
        "baggage",
        "content-encoding",
        "content-type",
        "last-event-id",
        "mcp-custom_name",
        "mcp-method",
        "mcp-name",
        "mcp-param-~!#$%&'*+^`|",
        "Mcp-Param-User_ID",
        "mcp-param-user.id",
        "mcp-protocol-version",
        "mcp-session-id",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-mcp-tool_filter",
        "x-mcp-toolsets",
        "X-Tenant",
        "x_region",
    ];
    let refused = [
        "mcp_param_user_id",
        "x_forwarded_for",
        "x-forwarded-for",
        "x-amz-date",
        "cookie",
        "origin",
        "x-region",
        "x-other",
        "*",
    ];
    // No names at all (RFC 9110 §5.6.2).
    let invalid = ["mcp-param-a b", "mcp-param-a:b", "mcp-param-\"x\"", ""];
    let asked = [&["Authorization"], &allowed[..], &refused, &invalid].concat();
    for path in ["/mcp", "//mcp", "/MCP", "/mcp/x", "/token"] {
        let response = w
            .request("OPTIONS", path)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", &asked.join(","))
            .send()
            .await;
        let names = response.header("access-control-allow-headers");
        let expected = [&["Authorization"], &allowed[..]].concat().join(", ");
        assert_eq!(names, expected.to_lowercase(), "{path}");
        assert_eq!(response.header("vary"), "Access-Control-Request-Headers");
    }
    // And what the preflight says is what the proxy does.
    let mut call = w.call(&client.access);
    for name in allowed.iter().chain(&refused[..7]) {
        call = call.header(name, "1");
    }
    call.send().await;
    let seen = w.upstream.only_request();
    for name in allowed {
        assert!(seen.header(&name.to_lowercase()).is_some(), "{name}");
    }
    for name in &refused[..7] {
        let from_the_client = seen.headers.get_all(*name).iter().any(|value| value == "1");
        assert!(!from_the_client, "{name}");
    }

    let plain = w.request("OPTIONS", "/mcp").send().await;
    let names = plain.header("access-control-allow-headers");
    for name in [
        "authorization",
        "content-type",
        "mcp-session-id",
        "traceparent",
        "x-tenant",
    ] {
        assert!(names.split(", ").any(|allowed| allowed == name), "{names}");
    }
}
