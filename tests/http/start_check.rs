//! What the log says about the upstream at the start.

use axum::response::IntoResponse as _;
use http::StatusCode;
use lambda_oauth_mcp_proxy::{
    clock::Clock,
    config::{Config, HostKind},
    host::start_check,
    http_client::{HttpClient, tls},
    pin::Pin,
    secrets::{Secret, Secrets, TokenForm},
    upstream::Upstream,
};
use serde_json::Value;

use crate::support::{
    recorder::{Recorded, Recorder},
    world::logged,
};

/// The line about an upstream of this name.
async fn line_about(name: &str, url: &str) -> Value {
    logged();
    let config = Config::read(HostKind::Local, |setting| match setting {
        "UPSTREAM_MCP" => Some(url.to_owned()),
        "UPSTREAM_NAME" => Some(name.to_owned()),
        _ => None,
    });
    let http = HttpClient::new(tls(), Clock::from_fn(|| 0));
    let secrets = Secrets::fixed(Secret {
        upstream_token: TokenForm::default().read("pat_of_the_start").unwrap(),
        pin: Pin::parse("aPINofTheTests").unwrap(),
        upstream_headers: Vec::new(),
        clients: Vec::new(),
        origin_secret: None,
    });
    let upstream = Upstream::new(&http, config.unwrap().upstream);
    start_check::run(&upstream, &secrets, 2).await;
    let log = String::from_utf8_lossy(&logged().lock().unwrap()).into_owned();
    assert!(!log.contains("pat_of_the_start"));
    let line = log
        .lines()
        .find(|line| line.contains(name) && line.contains("upstream_check"));
    let line: Value = serde_json::from_str(line.unwrap()).unwrap();
    line["fields"].clone()
}

fn mcp(recorded: &Recorded) -> axum::response::Response {
    let message: Value = serde_json::from_slice(&recorded.body).unwrap_or_default();
    let result = match message["method"].as_str() {
        Some("initialize") => {
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"u","version":"1"}}"#
        }
        Some("tools/list") => {
            r#"{"tools":[{"name":"a","inputSchema":{}},{"name":"b","inputSchema":{}}]}"#
        }
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
        message["id"]
    );
    ([("content-type", "application/json")], body).into_response()
}

#[tokio::test]
async fn the_log_says_at_the_start_whether_the_upstream_works() {
    let upstream = Recorder::start().await;
    let url = format!("http://{}/mcp", upstream.address);
    upstream.responds(mcp);
    let line = line_about("Works", &url).await;
    assert_eq!(line["tools"], 2);
    assert_eq!(line["message"], "Works answered: 2 tools");
    upstream.responds_with(401, &[], "no");
    let line = line_about("Refuses", &url).await;
    assert_eq!(
        line["message"],
        "Refuses refused the token (401): replace it"
    );
    let asked = upstream.requests().len();
    upstream.responds_with(200, &[("content-type", "text/html")], "<h1>Welcome</h1>");
    let line = line_about("Website", &url).await;
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .contains("did not answer as an MCP server")
    );
    assert_eq!(upstream.requests().len(), asked + 2, "two attempts");
    upstream.responds_with(302, &[("location", "https://login.example/")], "");
    let line = line_about("Elsewhere", &url).await;
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .contains("redirects elsewhere (302)")
    );
    let line = line_about("Nowhere", "http://127.0.0.1:9/mcp").await;
    assert_eq!(line["message"], "Nowhere did not answer");
    assert_eq!(line["detail"], "it cannot be reached");
}
