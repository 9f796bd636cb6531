//! The HTTP client with real TLS handshakes: table, secret and upstream through the same client, each with a
//! certificate of the tests' own authority.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{Router, serve::Listener};
use http::{HeaderMap, Method};
use lambda_oauth_mcp_proxy::{
    clock::Clock,
    config::{Config, HostKind},
    host::engine,
    http_client::{HttpClient, tls, tls_with_roots},
    pin::Pin,
    secrets::{Secret, Secrets, TokenForm},
    upstream::{Body, Failure, Upstream},
};
use rustls::version::{TLS12, TLS13};

use crate::{
    lambda::{
        aws::{PAT, PIN, SECRET_ARN, TABLE, database, secrets_manager},
        tls_listener::TlsListener,
    },
    support::{authority::Authority, recorder::Recorder},
};

fn trusting(authority: &Authority) -> HttpClient {
    HttpClient::new(tls_with_roots(authority.roots()), Clock::from_fn(|| 0))
}

/// Serves in the background until the test ends, and returns the URL.
fn serve<L: Listener<Addr = std::net::SocketAddr>>(listener: L, router: Router) -> String {
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("https://localhost:{port}")
}

fn dynamodb(http: &HttpClient, endpoint: String) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.for_sdk())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("id", "key", None, None, "tests"))
        .endpoint_url(endpoint)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

fn manager(http: &HttpClient, endpoint: String) -> aws_sdk_secretsmanager::Client {
    use aws_sdk_secretsmanager::config::{BehaviorVersion, Builder, Credentials, Region};
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.for_sdk())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("id", "key", None, None, "tests"))
        .endpoint_url(endpoint)
        .build();
    aws_sdk_secretsmanager::Client::from_conf(config)
}

fn upstream(http: HttpClient, port: u16) -> Upstream {
    let config = Config::read(HostKind::Lambda, |name| match name {
        "UPSTREAM_MCP" => Some(format!("https://localhost:{port}/mcp")),
        "TABLE_NAME" | "SECRET_ARN" => Some("any".to_owned()),
        _ => None,
    });
    Upstream::new(&http, config.unwrap().upstream)
}

fn secret() -> Secret {
    Secret {
        upstream_token: TokenForm::default().read(PAT).unwrap(),
        pin: Pin::parse(PIN).unwrap(),
        upstream_headers: Vec::new(),
        clients: Vec::new(),
        origin_secret: None,
    }
}

async fn posted(upstream: &Upstream) -> Result<reqwest::Response, Failure> {
    let target = upstream.config().url.clone();
    let body = Body::Kept("{}".into());
    upstream
        .send(&Method::POST, target, &HeaderMap::new(), body, &secret())
        .await
}

#[tokio::test]
async fn table_secret_and_upstream_are_reached_by_tls_1_2_and_1_3() {
    for versions in [&[&TLS12][..], &[&TLS13], rustls::ALL_VERSIONS] {
        let authority = Authority::new();
        let http = trusting(&authority);

        let listener = TlsListener::start(&authority, "localhost", versions).await;
        let endpoint = serve(listener, engine::router(database().await));
        let item = dynamodb(&http, endpoint)
            .get_item()
            .table_name(TABLE)
            .key("pk", AttributeValue::S("nothing".to_owned()))
            .key("sk", AttributeValue::S("-".to_owned()))
            .send()
            .await
            .unwrap();
        assert!(item.item.is_none());

        let listener = TlsListener::start(&authority, "localhost", versions).await;
        let endpoint = serve(listener, secrets_manager(Arc::default()));
        let secrets = Secrets::manager(
            manager(&http, endpoint),
            SECRET_ARN.to_owned(),
            Clock::from_fn(|| 0),
            TokenForm::default(),
        );
        assert!(secrets.get().await.unwrap().pin.is(PIN));

        let recorder =
            Recorder::start_on(TlsListener::start(&authority, "localhost", versions).await);
        let upstream = upstream(http, recorder.address.port());
        assert_eq!(posted(&upstream).await.unwrap().status(), 200);
        let bearer = format!("Bearer {PAT}");
        assert_eq!(
            recorder.only_request().header("authorization"),
            Some(bearer.as_str())
        );
    }
}

#[tokio::test]
async fn no_byte_is_sent_to_a_server_without_a_trusted_certificate() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let config = |name: &str| authority.server_config(name, rustls::ALL_VERSIONS);
    for (http, config) in [
        // The roots of the deployed program do not contain the tests' authority.
        (
            HttpClient::new(tls(), Clock::from_fn(|| 0)),
            config("localhost"),
        ),
        (trusting(&stranger), config("localhost")),
        // The right authority, another name.
        (trusting(&authority), config("elsewhere.example")),
        (
            trusting(&authority),
            authority.expired_server_config("localhost"),
        ),
    ] {
        let recorder = Recorder::start_on(TlsListener::with(config).await);
        let upstream = upstream(http, recorder.address.port());
        let failure = posted(&upstream).await.err().unwrap();
        assert!(
            matches!(&failure, Failure::Unreachable(detail) if detail.contains("certificate")),
            "{failure:?}"
        );
        assert!(recorder.requests().is_empty());
    }
}
