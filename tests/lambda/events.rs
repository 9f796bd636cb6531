//! Every event in `events/` gets the response that `expected.json` promises, and what those events do not show.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::lambda::{
    aws::good_secret,
    function::{Function, Options},
};

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("events")
        .join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn every_event_gets_its_expected_response() {
    let expected = read("expected.json");
    let expected = expected.as_object().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let files = fs::read_dir(folder).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".json") && name != "expected.json"
    });
    assert_eq!(files.count(), expected.len());
    let function = Function::start().await;
    for (name, promise) in expected {
        let response = function.response(&read(name)).await;
        let text = String::from_utf8_lossy(&response.body);
        assert_eq!(response.prelude.status, promise["status"], "{name}: {text}");
        let list = |what: &str| promise[what].as_array().cloned().unwrap_or_default();
        for part in list("contains") {
            assert!(
                text.contains(part.as_str().unwrap()),
                "{name} lacks {part}: {text}"
            );
        }
        for part in list("lacks") {
            assert!(
                !text.contains(part.as_str().unwrap()),
                "{name} holds {part}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_response_to_head_has_the_headers_and_a_newline_that_the_function_url_drops() {
    let function = Function::start().await;
    let response = function.response(&read("discovery-head.json")).await;
    assert_eq!(response.prelude.headers["content-type"], "application/json");
    assert_eq!(response.text(), "\n");
}

#[tokio::test]
async fn an_invalid_event_gets_a_response_and_the_function_keeps_running() {
    let function = Function::start().await;
    let mut without_domain = read("minimal.json");
    without_domain["requestContext"]["domainName"] = Value::Null;
    let mut bad_base64 = read("token.json");
    bad_base64["isBase64Encoded"] = json!(true);
    bad_base64["body"] = json!("***");
    for (event, status) in [
        (json!({}), 400),
        (json!([1, 2]), 400),
        (bad_base64, 400),
        (without_domain, 500),
        (read("minimal.json"), 200),
    ] {
        let response = function.response(&event).await;
        assert_eq!(response.prelude.status, status, "{event}");
    }
    function.logged("bad_event").await;
}

#[tokio::test]
async fn the_ip_address_and_request_id_in_the_log_are_those_from_aws() {
    let function = Function::start().await;
    let mut event = read("register.json");
    event["headers"]["x-forwarded-for"] = json!("198.51.100.66");
    event["headers"]["true-client-ip"] = json!("198.51.100.67");
    let call = function.invoke(&event);
    let id = call.id.clone();
    assert_eq!(call.response().await.prelude.status, 201);
    let line = function.logged("request").await;
    assert_eq!(line["address"], event["requestContext"]["http"]["sourceIp"]);
    assert_eq!(line["request_id"], id);
    let registered = function.logged("registered").await;
    assert_eq!(registered["span"]["request_id"], id);
}

#[tokio::test]
async fn a_configured_base_url_is_the_only_one_in_responses() {
    let function = Function::with_options(Options {
        settings: vec![("BASE_URL", "https://mcp.example.com".to_owned())],
        ..Options::default()
    })
    .await;
    let response = function.response(&read("authorization-server.json")).await;
    assert_eq!(response.json()["issuer"], "https://mcp.example.com");
    assert!(!response.text().contains("lambda-url"));
}

#[tokio::test]
async fn with_an_origin_secret_only_requests_from_the_distribution_are_accepted() {
    let mut secret: Value = serde_json::from_str(&good_secret()).unwrap();
    secret["origin_secret"] = json!("proof-of-origin-77");
    let function = Function::with_options(Options {
        secret: Some(Ok(secret.to_string())),
        ..Options::default()
    })
    .await;
    function.keep_secret("proof-of-origin-77");
    let mut event = read("register.json");
    event["headers"]["true-client-ip"] = json!("2001:db8::7");
    for presented in [
        None,
        Some(""),
        Some("proof-of-origin-7"),
        Some("proof-of-origin-777"),
    ] {
        if let Some(presented) = presented {
            event["headers"]["x-origin-secret"] = json!(presented);
        }
        let response = function.response(&event).await;
        assert_eq!(response.prelude.status, 403);
        assert_eq!(response.json()["error"], "access_denied");
    }
    function.logged("refused_by_host").await;
    event["headers"]["x-origin-secret"] = json!("proof-of-origin-77");
    assert_eq!(function.response(&event).await.prelude.status, 201);
    assert_eq!(
        function.logged("registered").await["address"],
        "2001:db8::7"
    );
}

/// The address from which a client registered, according to the log.
async fn registered_from(function: &Function, event: &Value) -> Value {
    let call = function.invoke(event);
    let id = call.id.clone();
    assert_eq!(call.response().await.prelude.status, 201);
    function.request(&id).await["address"].clone()
}

#[tokio::test]
async fn a_viewer_address_counts_once_from_the_distribution_and_never_without_the_secret() {
    let mut secret: Value = serde_json::from_str(&good_secret()).unwrap();
    secret["origin_secret"] = json!("proof-of-origin-77");
    let function = Function::with_options(Options {
        secret: Some(Ok(secret.to_string())),
        ..Options::default()
    })
    .await;
    function.keep_secret("proof-of-origin-77");
    let mut event = read("register.json");
    let source = event["requestContext"]["http"]["sourceIp"].clone();
    event["headers"]["x-origin-secret"] = json!("proof-of-origin-77");
    // Missing, sent twice (Lambda joins repeated headers with a comma), or no address: the distribution's own counts.
    for viewer in [
        None,
        Some("198.51.100.1,203.0.113.9"),
        Some("198.51.100.1, 203.0.113.9"),
        Some("unknown"),
    ] {
        if let Some(viewer) = viewer {
            event["headers"]["true-client-ip"] = json!(viewer);
        }
        assert_eq!(
            registered_from(&function, &event).await,
            source,
            "{viewer:?}"
        );
    }
    // A secret that was sent twice is no proof.
    event["headers"]["x-origin-secret"] = json!("proof-of-origin-77,proof-of-origin-77");
    assert_eq!(function.response(&event).await.prelude.status, 403);

    // While the secret cannot be read, nobody can prove where a request comes from. So no header is believed.
    let function = Function::with_options(Options {
        secret: Some(Err("InternalServiceError")),
        ..Options::default()
    })
    .await;
    event["headers"]["x-origin-secret"] = json!("guessed");
    event["headers"]["true-client-ip"] = json!("198.51.100.1");
    assert_eq!(registered_from(&function, &event).await, source);
}

#[tokio::test]
async fn invalid_settings_end_the_function_before_its_first_poll_and_all_are_named() {
    let mut function = Function::launch(Options {
        settings: vec![
            ("UPSTREAM_MCP", "http://127.0.0.1:1/mcp".to_owned()),
            ("ACCESS_TOKEN_SECONDS", "soon".to_owned()),
            ("TABLE_NAME", String::new()),
        ],
        ..Options::default()
    })
    .await;
    assert_eq!(function.exit().await, 2);
    let line = function.logged("bad_settings").await;
    for name in ["UPSTREAM_MCP", "ACCESS_TOKEN_SECONDS", "TABLE_NAME"] {
        assert!(line["detail"].as_str().unwrap().contains(name), "{line}");
    }
}
