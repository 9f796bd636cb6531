//! Every block of settings in docs/reference/recipes.md does what the page says.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    recorder::Recorder,
    world::{Options, World},
};

const PAGE: &str = include_str!("../../docs/reference/recipes.md");

/// The blocks, each with the heading it stands under.
fn recipes() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let mut found = Vec::new();
    for section in PAGE.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap();
        for block in section.split("```env\n").skip(1) {
            let lines = block.split_once("```").unwrap().0.lines();
            found.push((
                heading,
                lines.map(|line| line.split_once('=').unwrap()).collect(),
            ));
        }
    }
    found
}

fn setting<'a>(settings: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    settings
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, value)| *value)
}

#[tokio::test]
async fn every_recipe_works_as_written() {
    let recipes = recipes();
    assert_eq!(
        recipes.len(),
        16,
        "a recipe was added: does the test understand it?"
    );
    for (heading, settings) in recipes {
        let upstream = Recorder::start().await;
        // The same path on the recorder's host.
        let documented = url::Url::parse(setting(&settings, "UPSTREAM_MCP").unwrap()).unwrap();
        assert!(documented.scheme() == "https" || documented.host_str() == Some("127.0.0.1"));
        let there = format!("http://{}{}", upstream.address, documented.path());
        let basic = setting(&settings, "UPSTREAM_AUTH_SCHEME") == Some("Basic");
        let token = if basic {
            "you@example.com:t0ken"
        } else {
            "t0ken"
        };
        let w = World::with_options(Options {
            settings: settings
                .iter()
                .filter(|(name, _)| *name != "UPSTREAM_MCP")
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            upstream: Some(there),
            token: Some(token.to_owned()),
            ..Options::default()
        })
        .await;
        let client = w.connect().await;

        if setting(&settings, "UPSTREAM_TRANSPORT") == Some("sse") {
            w.get("/sse")
                .header("authorization", &format!("Bearer {}", client.access))
                .send()
                .await;
            assert_eq!(
                upstream.only_request().target,
                documented.path(),
                "{heading}"
            );
            continue;
        }
        let response = w
            .call(&client.access)
            .header("x-mcp-readonly", "false")
            .header("x-tenant", "t-1")
            .send()
            .await;
        assert_eq!(response.status, 200, "{heading}: {response:?}");
        let seen = upstream.only_request();
        assert_eq!(seen.target, documented.path(), "{heading}");
        let header = setting(&settings, "UPSTREAM_AUTH_HEADER").unwrap_or("authorization");
        let expected = match setting(&settings, "UPSTREAM_AUTH_SCHEME") {
            Some("Basic") => format!("Basic {}", STANDARD.encode(token)),
            Some("none") => token.to_owned(),
            _ => format!("Bearer {token}"),
        };
        assert_eq!(seen.header(header), Some(&*expected), "{heading}");
        if header != "authorization" {
            assert_eq!(seen.header("authorization"), None, "{heading}");
        }
        if let Some(pinned) = setting(&settings, "UPSTREAM_HEADERS") {
            let pinned: std::collections::BTreeMap<String, String> =
                serde_json::from_str(pinned).unwrap();
            for (name, value) in pinned {
                assert_eq!(seen.header(&name), Some(&*value), "{heading}: {name}");
            }
        }
        let forwarded = setting(&settings, "FORWARD_HEADERS").map(|_| "t-1");
        assert_eq!(seen.header("x-tenant"), forwarded, "{heading}");
    }
}
