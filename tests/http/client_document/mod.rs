//! Fetching client documents over real TLS on loopback: this file has the origins that behave well.

mod hostile;

use std::{io, net::SocketAddr, time::Duration};

use lambda_oauth_mcp_proxy::client_document::{
    DocumentUrl, FetchError, Fetched, Fetcher, Policy, Validators,
};

use crate::support::origin::{Origin, Script};

const URL: &str = "https://client.example/oauth/client.json";
const DOCUMENT: &str = r#"{"client_id":"https://client.example/oauth/client.json"}"#;

fn url() -> DocumentUrl {
    DocumentUrl::parse(URL).unwrap()
}

/// A 200 with these header lines and this body.
fn ok(lines: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{lines}\r\n{body}").into_bytes()
}

fn json(body: &str) -> Script {
    Script::Respond(ok("content-type: application/json\r\n", body))
}

/// A policy by which every name resolves to the origin, and which permits loopback.
fn policy(origin: &Origin) -> Policy {
    let address = origin.address;
    Policy::public()
        .with_lookup(move |_| async move { Ok(vec![address]) })
        .permitting(|address| address.is_loopback())
}

async fn fetch(origin: &Origin) -> Result<Fetched, FetchError> {
    Fetcher::with_policy(origin.tls.clone(), policy(origin))
        .fetch(&url(), &Validators::default())
        .await
}

#[tokio::test]
async fn a_document_is_fetched_with_its_validators_and_freshness() {
    let origin = Origin::start(Script::Respond(ok(
        "content-type: application/json\r\ncache-control: max-age=600\r\netag: \"a\"\r\n\
         last-modified: Mon, 02 Nov 2026 10:00:00 GMT\r\nset-cookie: a=b\r\n",
        DOCUMENT,
    )))
    .await;
    assert_eq!(
        fetch(&origin).await,
        Ok(Fetched::Fresh {
            body: DOCUMENT.to_owned(),
            validators: Validators {
                etag: Some("\"a\"".to_owned()),
                last_modified: Some("Mon, 02 Nov 2026 10:00:00 GMT".to_owned()),
            },
            fresh_for: Duration::from_mins(10),
        })
    );
}

#[tokio::test]
async fn the_request_has_only_the_necessary_headers() {
    let origin = Origin::start(json(DOCUMENT)).await;
    fetch(&origin).await.unwrap();
    let requests = origin.requests.lock().unwrap();
    let mut lines: Vec<_> = requests[0].trim_end().lines().collect();
    let request_line = lines.remove(0);
    lines.sort_unstable();
    assert_eq!(request_line, "GET /oauth/client.json HTTP/1.1");
    assert_eq!(
        lines,
        [
            "accept-encoding: identity",
            "accept: application/json",
            "host: client.example",
            concat!(
                "user-agent: lambda-oauth-mcp-proxy/",
                env!("CARGO_PKG_VERSION")
            ),
        ]
    );
}

#[tokio::test]
async fn an_unchanged_document_is_not_sent_again() {
    let origin = Origin::start(Script::Respond(
        b"HTTP/1.1 304 Not Modified\r\ncache-control: max-age=900\r\n\r\n".to_vec(),
    ))
    .await;
    let kept = Validators {
        etag: Some("\"a\"".to_owned()),
        last_modified: None,
    };
    let outcome = Fetcher::with_policy(origin.tls.clone(), policy(&origin))
        .fetch(&url(), &kept)
        .await;
    let fresh_for = Duration::from_mins(15);
    assert_eq!(outcome, Ok(Fetched::NotModified { fresh_for }));
    assert!(origin.requests.lock().unwrap()[0].contains("if-none-match: \"a\"\r\n"));
    // A 304 to a request without validators is an error.
    assert_eq!(fetch(&origin).await, Err(FetchError::Status(304)));
}

#[tokio::test]
async fn a_document_of_exactly_5_kb_in_many_chunks_is_accepted() {
    let mut response =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..512 {
        response.extend_from_slice(b"a\r\n0123456789\r\n");
    }
    response.extend_from_slice(b"0\r\n\r\n");
    let origin = Origin::start(Script::Respond(response)).await;
    let Ok(Fetched::Fresh {
        body, fresh_for, ..
    }) = fetch(&origin).await
    else {
        panic!("not taken");
    };
    assert_eq!(body.len(), 5 * 1024);
    assert_eq!(fresh_for, Duration::from_hours(1));
}

#[tokio::test]
async fn each_fetch_has_a_connection_and_a_lookup_of_its_own() {
    let origin = Origin::start(json(DOCUMENT)).await;
    let fetcher = Fetcher::with_policy(origin.tls.clone(), policy(&origin));
    for _ in 0..3 {
        fetcher.fetch(&url(), &Validators::default()).await.unwrap();
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn an_unresolvable_or_unreachable_host_is_a_transient_failure() {
    let origin = Origin::start(json(DOCUMENT)).await;
    let with = |policy: Policy| Fetcher::with_policy(origin.tls.clone(), policy);
    let policy = policy(&origin);

    let none = with(policy.clone().with_lookup(|_| async { Ok(vec![]) }));
    let failing = with(
        policy
            .clone()
            .with_lookup(|_| async { Err(io::Error::other("no")) }),
    );
    // Nobody listens on port 1 of loopback.
    let refused =
        with(policy.with_lookup(|_| async { Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))]) }));
    for (fetcher, expected) in [
        (none, FetchError::NoPublicAddress),
        (failing, FetchError::NoPublicAddress),
        (refused, FetchError::Unreachable),
    ] {
        let error = fetcher
            .fetch(&url(), &Validators::default())
            .await
            .unwrap_err();
        assert_eq!(error, expected);
    }
}
