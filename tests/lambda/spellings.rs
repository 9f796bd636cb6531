//! URLs and header names in the spellings in which a Function URL delivers them.

use serde_json::{Value, json};

use crate::lambda::{
    client::{BASE, call, event},
    streams::Proxy,
};

/// The call of a connected client, at another path and with more headers.
fn at(access_token: &str, path: &str, headers: &[&str]) -> Value {
    let mut asked = call(access_token);
    asked["rawPath"] = json!(path);
    asked["requestContext"]["http"]["path"] = json!(path);
    for name in headers {
        asked["headers"][*name] = json!("from-the-client");
    }
    asked
}

#[tokio::test]
async fn every_spelling_of_the_endpoint_reaches_the_upstream() {
    let proxy = Proxy::start().await;
    let mut wrong = Vec::new();
    for (path, target) in [
        ("//mcp", "/mcp"),
        ("///mcp", "/mcp"),
        ("//", "/mcp"),
        ("/mcp//", "/mcp"),
        ("/MCP", "/mcp"),
        ("//Mcp-Home/", "/mcp"),
        ("/MCP/x/All", "/mcp/x/All"),
        ("//mcp/x", "/mcp/x"),
        ("/mcp//x", "/mcp//x"),
        ("/mcp/x//y", "/mcp/x//y"),
    ] {
        let before = proxy.upstream.requests().len();
        let asked = at(&proxy.tokens.access, path, &[]);
        let status = proxy.function.response(&asked).await.prelude.status;
        let seen = proxy.upstream.requests().into_iter().nth(before);
        let seen = seen.map(|seen| seen.target).unwrap_or_default();
        if (status, seen.as_str()) != (200, target) {
            wrong.push(format!("{path}: {status} {seen}"));
        }
        let document = event(
            "GET",
            &format!("/.well-known/oauth-protected-resource{path}"),
            &[],
            "",
        );
        let document = proxy.function.response(&document).await.json();
        if document["resource"] != format!("{BASE}{path}") {
            wrong.push(format!("{path}: {document}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn header_names_with_underscores_reach_the_upstream() {
    let proxy = Proxy::start().await;
    let mut wrong = Vec::new();
    for (sent, expected) in [
        (&["mcp-param-user_id"][..], &["mcp-param-user_id"][..]),
        (&["mcp-param-a_b_c"], &["mcp-param-a_b_c"]),
        (&["Mcp-Param-User_ID"], &["mcp-param-user_id"]),
        (&["x-mcp-tool_filter"], &["x-mcp-tool_filter"]),
        (
            &["mcp-param-x_y", "mcp-param-x-y"],
            &["mcp-param-x-y", "mcp-param-x_y"],
        ),
        (&["mcp_param_user_id", "x_forwarded_for", "x-api_key"], &[]),
    ] {
        let asked = at(&proxy.tokens.access, "/mcp", sent);
        let status = proxy.function.response(&asked).await.prelude.status;
        let seen = proxy.upstream.requests().pop().unwrap();
        let mut arrived: Vec<_> = seen
            .headers
            .iter()
            .filter(|(_, value)| *value == "from-the-client")
            .map(|(name, _)| name.as_str())
            .collect();
        arrived.sort_unstable();
        if status != 200 || arrived != expected {
            wrong.push(format!("{sent:?}: {status} {arrived:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
