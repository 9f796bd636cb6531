//! The secret: empty, invalid, unavailable, changed.

use serde_json::json;

use crate::lambda::{
    aws::{PAT, good_secret},
    client::{
        CALLBACK, authorization_request, call, connect, event, location, open, register,
        submit_consent,
    },
    function::{Function, Options},
    streams::Proxy,
};

const OPERATOR: &str = "This server is not set up completely yet.";
const WAIT: &str = "This server cannot respond right now.";

#[tokio::test]
async fn each_fault_of_the_secret_gives_an_error_page_a_503_and_a_clear_log_line() {
    let document =
        |token: &str, pin: &str| json!({ "upstream_token": token, "auth_pin": pin }).to_string();
    let cases = [
        (
            Ok(document("REPLACE-WITH-YOUR-TOKEN", "abc234")),
            OPERATOR,
            "upstream_token is not set yet",
        ),
        (
            Ok(r#"{"auth_pin":"abc234"}"#.to_owned()),
            OPERATOR,
            "upstream_token is not set yet",
        ),
        (
            Ok("ghp_only_the_token".to_owned()),
            OPERATOR,
            "not a JSON object",
        ),
        (Ok(document(PAT, "no")), OPERATOR, "auth_pin must be"),
        (
            Ok(json!({ "upstream_token": PAT }).to_string()),
            OPERATOR,
            "auth_pin must be",
        ),
        (Err("AccessDeniedException"), OPERATOR, "AccessDenied"),
        (
            Err("ResourceNotFoundException"),
            OPERATOR,
            "ResourceNotFound",
        ),
        (Err("InternalServiceError"), WAIT, "InternalServiceError"),
    ];
    for (secret, page, detail) in cases {
        let told = format!("{secret:?}");
        let function = Function::with_options(Options {
            secret: Some(secret),
            ..Options::default()
        })
        .await;
        // Discovery and registration need no secret.
        let asked = event("GET", "/.well-known/oauth-authorization-server", &[], "");
        assert_eq!(function.response(&asked).await.prelude.status, 200);
        let client_id = register(&function).await;
        let response = function.response(&authorization_request(&client_id)).await;
        assert_eq!(response.prelude.status, 503, "{told}");
        assert!(
            response.text().contains(page),
            "{told}: {}",
            response.text()
        );
        let line = function.logged("unavailable").await;
        assert_eq!(line["what"], "secret");
        assert_eq!(line["operator"], page == OPERATOR, "{line}");
        assert!(line["detail"].as_str().unwrap().contains(detail), "{line}");
        assert!(
            response
                .text()
                .contains(line["span"]["request_id"].as_str().unwrap()),
            "{line}"
        );
        function.counted("SecretUnavailable").await;
        // Once the secret is correct, the function works without a restart.
        function.aws.set_secret(Ok(good_secret()));
        connect(&function).await;
    }
}

#[tokio::test]
async fn the_secret_is_read_once_before_the_first_request() {
    let function = Function::start().await;
    assert_eq!(function.aws.asked(), 1);
    connect(&function).await;
    assert_eq!(function.aws.asked(), 1);
}

#[tokio::test]
async fn a_new_token_is_used_when_the_upstream_refuses_the_old_one() {
    let proxy = Proxy::start().await;
    let asked = proxy.function.aws.asked();
    proxy.upstream.responds(|recorded| {
        use axum::response::IntoResponse as _;
        let new = recorded.header("authorization") == Some("Bearer new-token-of-the-owner");
        let status = if new {
            http::StatusCode::OK
        } else {
            http::StatusCode::UNAUTHORIZED
        };
        (status, "{}").into_response()
    });
    proxy.function.keep_secret("new-token-of-the-owner");
    // The secret did not change: the owner must act.
    let response = proxy.function.response(&call(&proxy.tokens.access)).await;
    assert_eq!(response.prelude.status, 502);
    proxy.function.counted("UpstreamCredentialRefused").await;
    assert_eq!(proxy.function.aws.asked(), asked + 1);

    let new = good_secret().replace(PAT, "new-token-of-the-owner");
    proxy.function.aws.set_secret(Ok(new));
    proxy.hand.says("1");
    let response = proxy.function.response(&call(&proxy.tokens.access)).await;
    assert_eq!(response.prelude.status, 200, "{}", response.text());
    assert_eq!(proxy.function.aws.asked(), asked + 2);
}

#[tokio::test]
async fn a_replaced_pin_is_refused_from_the_first_try_after_a_minute() {
    let proxy = Proxy::start().await;
    let (function, asked) = (&proxy.function, proxy.function.aws.asked());
    let client_id = register(function).await;
    let page = open(function, &client_id).await;
    function.aws.set_secret(Ok(
        json!({ "upstream_token": PAT, "auth_pin": "newPIN4567" }).to_string(),
    ));
    function.keep_secret("newPIN4567");
    let is_right = async |pin| {
        let response = submit_consent(function, &page, pin).await;
        location(&response).starts_with(CALLBACK)
    };
    proxy.hand.says("30");
    assert!(!is_right("newPIN4567").await);
    assert_eq!(function.aws.asked(), asked);
    // As after a freeze: nothing was read in the meantime.
    proxy.hand.says("61");
    assert!(!is_right(crate::lambda::aws::PIN).await);
    assert!(is_right("newPIN4567").await);
    assert_eq!(function.aws.asked(), asked + 1);
    // Not compared with a value that may have been replaced.
    function.aws.set_secret(Err("InternalServiceError"));
    proxy.hand.says("125");
    let response = submit_consent(function, &page, "newPIN4567").await;
    assert_eq!(response.prelude.status, 503);
    assert!(response.text().contains(WAIT), "{}", response.text());
    assert_eq!(
        function
            .response(&call(&proxy.tokens.access))
            .await
            .prelude
            .status,
        200
    );
}

#[tokio::test]
async fn the_last_valid_secret_is_used_for_a_day() {
    let proxy = Proxy::start().await;
    let function = &proxy.function;
    function.aws.set_secret(Err("InternalServiceError"));
    proxy.hand.says("400");
    assert_eq!(
        function
            .response(&call(&proxy.tokens.access))
            .await
            .prelude
            .status,
        200
    );
    function.logged("secret_unavailable").await;
    function.counted("SecretUnavailable").await;
    proxy.hand.says("86000");
    assert_eq!(
        function
            .response(&call(&proxy.tokens.access))
            .await
            .prelude
            .status,
        200
    );
    proxy.hand.says("86500");
    let response = function.response(&call(&proxy.tokens.access)).await;
    assert_eq!(response.prelude.status, 503, "{}", response.text());
    // Never a 401, which would make clients drop their tokens.
    assert_eq!(response.prelude.headers["retry-after"], "5");
    function.aws.set_secret(Ok(good_secret()));
    assert_eq!(
        function
            .response(&call(&proxy.tokens.access))
            .await
            .prelude
            .status,
        200
    );
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_503_with_the_reason_and_is_not_shown() {
    const MARK: &str = "s3cr3tPart";
    for (pasted, reason) in [
        ("ghp_s3cr3tPart\nghp_s3cr3tPart", "a line break inside"),
        ("ghp_ s3cr3tPart", "white space inside"),
        ("ghp_s3cr3tPart\u{e9}", "outside ASCII"),
        ("ghp_\u{0}s3cr3tPart", "a control character"),
        ("\"ghp_s3cr3tPart", "a quotation mark"),
        ("you@example.com:s3cr3tPart", "UPSTREAM_AUTH_SCHEME=Basic"),
        ("Bearer REPLACE-WITH-YOUR-TOKEN", "is not set yet"),
        ("\u{feff}\"\"", "is not set yet"),
        ("Bearer ", "only the name of a scheme"),
    ] {
        let document = json!({ "upstream_token": pasted, "auth_pin": "abc234" });
        let function = Function::with_options(Options {
            secret: Some(Ok(document.to_string())),
            ..Options::default()
        })
        .await;
        function.keep_secret(MARK);
        let client_id = register(&function).await;
        let response = function.response(&authorization_request(&client_id)).await;
        assert_eq!(response.prelude.status, 503, "{pasted:?}");
        assert!(response.text().contains(OPERATOR), "{}", response.text());
        assert!(!response.text().contains(MARK));
        let line = function.logged("unavailable").await;
        let detail = line["detail"].as_str().unwrap();
        assert!(
            detail.contains("the secret's upstream_token") && detail.contains(reason),
            "{pasted:?}: {line}"
        );
    }
}

#[tokio::test]
async fn the_upstream_token_is_cleaned_and_validated_at_every_read() {
    let proxy = Proxy::start().await;
    let function = &proxy.function;
    let mut now = 0;
    let mut wrong = Vec::new();
    let mut last = format!("Bearer {PAT}");
    for (pasted, expected) in [
        ("Bearer one-s3cr3tPart", Some("Bearer one-s3cr3tPart")),
        (
            " \u{201c}two-s3cr3tPart\u{201d}\r\n",
            Some("Bearer two-s3cr3tPart"),
        ),
        (
            "Authorization: Bearer three-s3cr3tPart",
            Some("Bearer three-s3cr3tPart"),
        ),
        // The last valid one is still used.
        ("four\ns3cr3tPart", None),
        ("", None),
        ("\u{feff}five-s3cr3tPart", Some("Bearer five-s3cr3tPart")),
        ("token six-s3cr3tPart", Some("Bearer six-s3cr3tPart")),
    ] {
        let document = json!({ "upstream_token": pasted, "auth_pin": crate::lambda::aws::PIN });
        function.aws.set_secret(Ok(document.to_string()));
        now += 400;
        proxy.hand.says(&now.to_string());
        // The first request after five minutes causes a new read in the background.
        for _ in 0..2 {
            let response = function.response(&call(&proxy.tokens.access)).await;
            assert_eq!(response.prelude.status, 200, "{pasted:?}");
        }
        let seen = proxy.upstream.requests().pop().unwrap();
        let sent = seen.header("authorization").unwrap().to_owned();
        let expected = expected.map_or(last.clone(), str::to_owned);
        if sent != expected {
            wrong.push(format!("{pasted:?}: {sent}, not {expected}"));
        }
        last = sent;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    function.keep_secret("s3cr3tPart");
    let line = function.logged("upstream_token_cleaned").await;
    assert_eq!(
        (&line["source"], &line["taken_off"]),
        (&json!("the secret"), &json!("the scheme"))
    );
    let line = function.logged("secret_unavailable").await;
    assert!(
        line["detail"]
            .as_str()
            .unwrap()
            .contains("a line break inside"),
        "{line}"
    );
}
