//! The token for the upstream is replaced while calls run.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_config::BehaviorVersion;
use aws_sdk_secretsmanager::config::{Credentials, Region};
use axum::{Router, response::IntoResponse as _};
use futures_util::future::join_all;
use http::StatusCode;
use lambda_oauth_mcp_proxy::{
    http_client::{HttpClient, tls},
    secrets::{Secrets, TokenForm},
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::world::{Options, World};

const CALLS_A_SECOND: usize = 50;
const PIN: &str = "right12345";

/// Secrets Manager on loopback, with one secret.
#[derive(Clone, Default)]
struct Manager {
    token: Arc<Mutex<String>>,
    reads: Arc<AtomicUsize>,
}

impl Manager {
    async fn endpoint(&self) -> String {
        let manager = self.clone();
        let router = Router::new().fallback(async move || {
            manager.reads.fetch_add(1, Ordering::SeqCst);
            let token = manager.token.lock().unwrap().clone();
            let secret = json!({ "upstream_token": token, "auth_pin": PIN });
            json!({ "SecretString": secret.to_string() }).to_string()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_token_that_is_replaced_while_calls_run_fails_no_call() {
    let manager = Manager::default();
    *manager.token.lock().unwrap() = "token-0".to_owned();
    let endpoint = manager.endpoint().await;
    let w = World::with_options(Options {
        secrets: Some(Box::new(move |clock| {
            let config = aws_sdk_secretsmanager::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(HttpClient::new(tls(), clock.clone()).for_sdk())
                .region(Region::new("local"))
                .credentials_provider(Credentials::new("local", "local", None, None, "local"))
                .endpoint_url(endpoint)
                .build();
            let client = aws_sdk_secretsmanager::Client::from_conf(config);
            Secrets::manager(client, "arn".to_owned(), clock, TokenForm::default())
        })),
        ..Options::default()
    })
    .await;
    let valid = Arc::new(Mutex::new("token-0".to_owned()));
    let asked = valid.clone();
    w.upstream.responds(move |recorded| {
        let expected = format!("Bearer {}", asked.lock().unwrap());
        let accepted = recorded.header("authorization") == Some(&*expected);
        let status = if accepted {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        };
        (status, [("content-type", "application/json")], "{}").into_response()
    });
    let client_id = w.client().await;
    let page = w.open(&w.authorization_request(&client_id)).await;
    let decided = w.submit_consent(&page, "authorize", PIN).await;
    let code = decided.redirected("code").unwrap();
    let tokens = w.token(&w.redeem(&client_id, &code)).await.json();
    let access = tokens["access_token"].as_str().unwrap();

    // Replaced several times within the second in which the secret was read for the PIN.
    for round in 1..=3 {
        let replaced_at = CALLS_A_SECOND / 2;
        let calls = (0..CALLS_A_SECOND).map(|number| {
            let (w, valid, manager) = (&w, &valid, &manager);
            async move {
                if number == replaced_at {
                    let new = format!("token-{round}");
                    new.clone_into(&mut manager.token.lock().unwrap());
                    *valid.lock().unwrap() = new;
                }
                w.status(access).await
            }
        });
        let statuses = join_all(calls).await;
        assert_eq!(statuses, [200; CALLS_A_SECOND], "round {round}");
    }

    // Replaced at the upstream only: the calls fail, and do not become as many reads of the secret.
    "token-4".clone_into(&mut valid.lock().unwrap());
    let reads = manager.reads();
    for second in 0..120 {
        assert_eq!(w.status(access).await, 502, "{second}");
        w.advance_clock(1);
    }
    assert!(manager.reads() - reads <= 10, "{}", manager.reads() - reads);
    // As soon as the secret has it, the wait is 30 seconds at most.
    "token-4".clone_into(&mut manager.token.lock().unwrap());
    w.advance_clock(30);
    assert_eq!(w.status(access).await, 200);
}
