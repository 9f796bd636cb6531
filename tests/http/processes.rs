//! Two processes on one table: the program itself, twice, as two Lambda instances would be.

use std::{net::SocketAddr, process::Stdio};

use bytes::Bytes;
use dynoxide::Database;
use http::{HeaderMap, StatusCode};
use lambda_oauth_mcp_proxy::host::engine;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    races::{MANY, at_once, succeeded, text},
    recorder::Recorder,
    world::{CALLBACK, CHALLENGE, Page, Pairs, Request, VERIFIER},
};

const PIN: &str = "aPINofTheTests";

/// One `serve`, ended when it is dropped.
struct Process {
    base: String,
    address: SocketAddr,
    http: reqwest::Client,
    _child: Child,
}

impl Process {
    async fn start(table: SocketAddr, upstream: SocketAddr, also: Option<&str>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--state",
                &format!("http://{table}"),
            ])
            .env_clear()
            .env("UPSTREAM_MCP", format!("http://{upstream}/mcp"))
            .env("UPSTREAM_TOKEN", "pat")
            .env("AUTH_PIN", PIN)
            .envs(also.map(|base| ("ALSO_BASE_URLS", base)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("it says where it listens");
            if let Some(url) = line.strip_prefix("Connector URL: ") {
                break url.strip_suffix("/mcp").unwrap().to_owned();
            }
        };
        // Whatever else it prints is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            address: base.strip_prefix("http://").unwrap().parse().unwrap(),
            base,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .tls_backend_preconfigured(lambda_oauth_mcp_proxy::upstream::http::tls())
                .no_proxy()
                .build()
                .unwrap(),
            _child: child,
        }
    }

    fn post(&self, path: &str) -> Request {
        Request(self.http.post(format!("{}{path}", self.base)))
    }

    async fn call(&self, access: &str) -> u16 {
        let call = self
            .post("/mcp")
            .header("authorization", &format!("Bearer {access}"));
        call.json(&json!({})).send().await.status
    }

    async fn code(&self, client: &str) -> String {
        let ask = Pairs::of(&[
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", CALLBACK),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let shown = Request(
            self.http
                .get(format!("{}/authorize?{}", self.base, ask.encode())),
        );
        let page = Page::read(shown.send().await);
        let decided = self.post("/authorize").header("cookie", &page.cookie);
        let decided = decided
            .form(&[("page", &page.id), ("pin", PIN)])
            .send()
            .await;
        decided.redirected("code").unwrap()
    }
}

/// The engine behind a socket: a table that two processes can share.
fn engine_endpoint() -> axum::Router {
    let database = Database::memory().unwrap();
    axum::Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
        let database = database.clone();
        async move {
            let operation = headers["x-amz-target"].to_str().unwrap();
            let operation = operation.rsplit('.').next().unwrap().to_owned();
            let answer = move || engine::answer(&database, &operation, &body);
            let (status, body) = match tokio::task::spawn_blocking(answer).await.unwrap() {
                Ok(body) => (200, body),
                Err(error) => (error.status_code(), error.to_json()),
            };
            (StatusCode::from_u16(status).unwrap(), body)
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_table_are_one_server_in_a_race() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = listener.local_addr().unwrap();
    let engine = tokio::spawn(async move { axum::serve(listener, engine_endpoint()).await });
    let upstream = Recorder::start().await;
    let one = Process::start(table, upstream.address, None).await;
    let two = Process::start(table, upstream.address, Some(&one.base)).await;
    let both = [one.address, two.address];

    let registered = two
        .post("/register")
        .json(&json!({ "redirect_uris": [CALLBACK] }));
    let client = registered.send().await.json()["client_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let redeem = |code: &str| {
        Pairs::of(&[
            ("grant_type", "authorization_code"),
            ("client_id", &client),
            ("code", code),
            ("code_verifier", VERIFIER),
        ])
    };
    // One code, fifty times at once, at two processes.
    let answers = at_once(&both, &redeem(&one.code(&client).await)).await;
    assert_eq!(succeeded(&answers).len(), 1);
    let access = text(succeeded(&answers)[0], "access_token").to_owned();
    assert_eq!(
        (one.call(&access).await, two.call(&access).await),
        (401, 401)
    );

    // One refresh token, the same.
    let code = one.code(&client).await;
    let tokens = two
        .post("/token")
        .form_of(&redeem(&code))
        .send()
        .await
        .json();
    let refresh = Pairs::of(&[
        ("grant_type", "refresh_token"),
        ("client_id", &client),
        ("refresh_token", text(&tokens, "refresh_token")),
    ]);
    let answers = at_once(&both, &refresh).await;
    let pairs: std::collections::BTreeSet<_> = succeeded(&answers)
        .into_iter()
        .map(|tokens| {
            (
                text(tokens, "access_token").to_owned(),
                text(tokens, "refresh_token").to_owned(),
            )
        })
        .collect();
    assert_eq!((succeeded(&answers).len(), pairs.len()), (MANY, 1));
    let (access, refresh) = pairs.into_iter().next().unwrap();
    assert_eq!(
        (one.call(&access).await, two.call(&access).await),
        (200, 200)
    );

    // What one ends is ended at the other with the next request.
    let revoked = one
        .post("/revoke")
        .form(&[("token", &refresh), ("client_id", &client)]);
    assert_eq!(revoked.send().await.status, 200);
    assert_eq!(two.call(&access).await, 401);
    engine.abort();
}
