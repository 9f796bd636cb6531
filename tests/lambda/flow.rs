//! The whole flow through the Lambda host, with the binary that is deployed.

use crate::lambda::{
    aws::PIN,
    client::{CALLBACK, call, connect, form, location, open, refresh, register, submit_consent},
    function::Function,
};

#[tokio::test]
async fn a_client_connects_refreshes_and_is_revoked() {
    let function = Function::start().await;
    let first = connect(&function).await;
    // Nobody listens at this upstream: the token was valid, and the response says what is not.
    let response = function.response(&call(&first.access)).await;
    assert_eq!(response.prelude.status, 502, "{}", response.text());
    assert!(
        response.text().contains("127.0.0.1 cannot be reached"),
        "{}",
        response.text()
    );
    let line = function.logged("upstream_unreachable").await;
    assert_eq!(line["client_id"], first.client_id);

    let second = refresh(&function, &first).await;
    assert_eq!(
        function
            .response(&call(&second.access))
            .await
            .prelude
            .status,
        502
    );
    let pairs = [
        ("token", second.refresh.as_str()),
        ("client_id", &second.client_id),
    ];
    let revoked = function.response(&form("/revoke", &[], &pairs)).await;
    assert_eq!(revoked.prelude.status, 200);
    let response = function.response(&call(&second.access)).await;
    assert_eq!(response.prelude.status, 401);
    assert!(response.prelude.headers["www-authenticate"].is_string());
    assert_eq!(response.json()["error"], "invalid_token");

    for event in ["registered", "authorized", "issued", "refreshed", "revoked"] {
        let line = function.logged(event).await;
        assert_eq!(line["client_id"], first.client_id, "{line}");
        assert_eq!(line["address"], "203.0.113.80", "{line}");
    }
    let metric = function.counted("ClientAuthorized").await;
    assert_eq!(metric["FunctionName"], "proxy");
    assert_eq!(
        metric["_aws"]["CloudWatchMetrics"][0]["Namespace"],
        "LambdaOAuthMcpProxy"
    );
    function.counted("ServerError").await;
}

#[tokio::test]
async fn one_line_per_request_says_who_what_and_how_long() {
    let function = Function::start().await;
    let tokens = connect(&function).await;
    let asked = function.invoke(&call(&tokens.access));
    let id = asked.id.clone();
    asked.response().await;
    let line = function.request(&id).await;
    for (name, value) in [
        ("route", "/mcp"),
        ("method", "POST"),
        ("refused", "upstream_unreachable"),
        ("mcp_method", "tools/call"),
        ("mcp_name", "echo"),
        ("client_id", &tokens.client_id),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["status"], 502);
    assert!(
        line["connection"].is_string() && line["ms"].is_u64() && line["store_ms"].is_u64(),
        "{line}"
    );
}

#[tokio::test]
async fn a_wrong_pin_is_counted_and_the_correct_one_is_still_accepted() {
    let function = Function::start().await;
    let client_id = register(&function).await;
    let page = open(&function, &client_id).await;
    let wrong = submit_consent(&function, &page, "wrongPIN99").await;
    assert!(location(&wrong).starts_with("/authorize?page="));
    function.counted("WrongPin").await;
    let right = submit_consent(&function, &page, PIN).await;
    assert!(location(&right).starts_with(CALLBACK));
    function.keep_secret("wrongPIN99");
}
