//! The doctor: it finds nothing wrong with this program, and names what breaks connectors most often. The faults are those
//! of docs/operate/doctor.md.

mod faults;

use std::time::Duration;

use axum::{body::Body, response::IntoResponse as _};
use futures_util::stream;
use http::{Method, StatusCode};
use lambda_oauth_mcp_proxy::{
    clock::Clock,
    credential::Randomness,
    host::doctor::{Doctor, Finding, Report, Verdict},
    http_client::tls,
};
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

use crate::support::{
    origin::{Origin, Script},
    world::{BEGIN, World},
};
use faults::{FAULTS, Fault, Front};

fn doctor(pin: Option<String>, timeout: u64) -> Doctor {
    Doctor {
        tls: tls(),
        timeout: Duration::from_millis(timeout),
        pin,
        clock: Clock::from_fn(|| BEGIN),
        randomness: Randomness::system(),
    }
}

fn found<'a>(report: &'a Report, check: &str) -> &'a Finding {
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.check == check);
    finding.unwrap_or_else(|| panic!("{}", report.to_text()))
}

fn assert_found(report: &Report, (check, verdict, words): (&str, Verdict, &str)) {
    let finding = found(report, check);
    let text = report.to_text();
    assert_eq!(finding.verdict, verdict, "{check}: {text}");
    assert!(
        finding.what.contains(words) && !finding.todo.is_empty(),
        "{words}: {text}"
    );
    assert_eq!(report.has_failed(), text.contains("Clients cannot connect"));
}

#[tokio::test]
async fn each_of_the_most_frequent_faults_in_front_of_a_connector_is_named() {
    let front = Front::start().await;
    for (fault, check, verdict, words) in FAULTS {
        let report = front.examine(fault, false, 10_000).await;
        assert_found(&report, (check, verdict, words));
    }
}

#[tokio::test]
async fn faults_after_the_pin_are_named() {
    let front = Front::start().await;
    let changed_redirect: Fault = |_, mut response| {
        if response.status() == StatusCode::SEE_OTHER {
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        }
        response
    };
    let report = front.examine(changed_redirect, true, 10_000).await;
    assert_found(&report, ("consent", Verdict::Fail, "repeats the POST"));
    let bot_rule: Fault = |asked, response| {
        if asked.has_token {
            StatusCode::FORBIDDEN.into_response()
        } else {
            response
        }
    };
    let report = front.examine(bot_rule, true, 10_000).await;
    assert_found(&report, ("calls", Verdict::Fail, "status 403"));
    front.w.upstream.responds_with(401, &[], "no");
    let report = front.examine(|_, response| response, true, 10_000).await;
    assert_found(
        &report,
        ("calls", Verdict::Fail, "refused the access token"),
    );
    assert!(
        found(&report, "calls")
            .todo
            .contains("replace the token for the upstream")
    );
    assert_eq!(found(&report, "revocation").verdict, Verdict::Pass);
}

#[tokio::test]
async fn responses_that_never_begin_or_never_end_are_named() {
    let front = Front::start().await;
    let hangs: Fault = |asked, response| {
        if asked.method != Method::OPTIONS {
            return response;
        }
        let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
        (StatusCode::OK, Body::from_stream(never)).into_response()
    };
    let report = front.examine(hangs, false, 500).await;
    assert_found(&report, ("empty bodies", Verdict::Fail, "never ends"));

    // A certificate of an authority that nobody knows, and a port at which nobody listens.
    let origin = Origin::named("localhost", Script::Respond(Vec::new())).await;
    let url = format!("https://localhost:{}/mcp", origin.address.port());
    let report = doctor(None, 10_000)
        .examine(&Url::parse(&url).unwrap())
        .await;
    assert_found(&report, ("connection", Verdict::Fail, "certificate"));
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}/mcp");
    let report = doctor(None, 10_000)
        .examine(&Url::parse(&url).unwrap())
        .await;
    assert_found(
        &report,
        ("connection", Verdict::Fail, "there is no connection"),
    );
}

#[tokio::test]
async fn this_program_is_healthy_from_the_first_call_to_the_revocation() {
    let w = World::start().await;
    w.upstream.responds(|recorded| {
        let message: Value = serde_json::from_slice(&recorded.body).unwrap_or_default();
        let result = match message["method"].as_str() {
            Some("initialize") => r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"u","version":"1"}}"#,
            Some("tools/list") => r#"{"tools":[{"name":"a","inputSchema":{}},{"name":"b","inputSchema":{}}]}"#,
            _ => return StatusCode::ACCEPTED.into_response(),
        };
        let body = format!(r#"event: message{}data: {{"jsonrpc":"2.0","id":{},"result":{result}}}{}"#, "\n", message["id"], "\n\n");
        ([("content-type", "text/event-stream"), ("mcp-session-id", "s1")], body).into_response()
    });
    let url = w.url("/mcp");
    let report = doctor(Some(w.pin.clone()), 10_000)
        .examine(&Url::parse(&url).unwrap())
        .await;
    for finding in &report.findings {
        let expected = match finding.check {
            "address" | "clock" => continue,
            _ => Verdict::Pass,
        };
        assert_eq!(finding.verdict, expected, "{}", report.to_text());
    }
    assert_eq!(report.findings.len(), 21, "{}", report.to_text());
    assert!(found(&report, "calls").what.starts_with("2 tools"));
    assert!(
        !w.dump()
            .iter()
            .any(|item| item.contains(r#""pk":{"S":"connection"}"#)),
        "the connection is gone"
    );

    // The command: exit code and JSON; a wrong PIN is a failure.
    for (pin, ok) in [(w.pin.as_str(), true), ("wrongPIN77", false)] {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"))
            .args(["doctor", &url, "--json", "--sign-in"])
            .env_clear()
            .env("AUTH_PIN", pin)
            .output()
            .await
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], ok, "{report:#}");
        assert_eq!(output.status.code(), Some(i32::from(!ok)));
        assert!(!report.to_string().contains(pin));
    }
}
