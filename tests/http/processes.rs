//! Two processes on one table: the program itself, twice, as two Lambda instances would be.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{body::Body, response::IntoResponse as _};
use dynoxide::Database;
use futures_util::{StreamExt as _, stream};
use lambda_oauth_mcp_proxy::host::engine;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    http::{
        races::{MANY, at_once, succeeded, text},
        revocation_races::{Race, race_rounds},
    },
    support::{
        recorder::Recorder,
        world::{CALLBACK, CHALLENGE, Page, Pairs, Request, VERIFIER},
    },
};

const PIN: &str = "aPINofTheTests";

/// A process of `serve`, killed when it is dropped.
pub struct Process {
    pub base: String,
    pub address: SocketAddr,
    http: reqwest::Client,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    async fn start(table: SocketAddr, upstream: SocketAddr, also: Option<&str>) -> Self {
        let also = also.map(|base| ("ALSO_BASE_URLS", base));
        let settings: Vec<_> = [("UPSTREAM_TOKEN", "pat")]
            .into_iter()
            .chain(also)
            .collect();
        match Self::launch(table, upstream, &settings, &[]).await {
            Ok(process) => process,
            Err((code, said)) => panic!("{code:?}: {said}"),
        }
    }

    /// With these settings and arguments; the exit code and what was said, when it does not start.
    pub async fn launch(
        table: SocketAddr,
        upstream: SocketAddr,
        settings: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Self, (Option<i32>, String)> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--state",
                &format!("http://{table}"),
            ])
            .args(arguments)
            .env_clear()
            .env("UPSTREAM_MCP", format!("http://{upstream}/mcp"))
            .env("AUTH_PIN", PIN)
            .env("LOG_FORMAT", "json")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let said = tokio::spawn(collect(child.stderr.take().unwrap(), log.clone()));
        // JSON lines are among what it prints.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                let code = child.wait().await.unwrap().code();
                said.await.unwrap();
                let said = log.lock().unwrap().clone();
                return Err((code, said));
            };
            if let Some(url) = line.strip_prefix("Connector URL: ") {
                break url.strip_suffix("/mcp").unwrap().to_owned();
            }
            *log.lock().unwrap() += &(line + "\n");
        };
        tokio::spawn(collect(lines.into_inner(), log.clone()));
        Ok(Self {
            address: base.strip_prefix("http://").unwrap().parse().unwrap(),
            base,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .tls_backend_preconfigured(lambda_oauth_mcp_proxy::http_client::tls())
                .no_proxy()
                .build()
                .unwrap(),
            child,
            log,
        })
    }

    /// Kills it, and returns what it logged.
    pub async fn end(mut self) -> String {
        self.child.kill().await.unwrap();
        self.printed().await
    }

    /// Everything that it printed before it ended.
    async fn printed(self) -> String {
        // What it wrote is there once its end of the pipe is closed; the reader needs a moment to see that.
        while Arc::strong_count(&self.log) > 1 {
            tokio::task::yield_now().await;
        }
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal to it.
    #[cfg(unix)]
    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.await.unwrap().success());
    }

    /// Waits until it has exited by itself; the exit code, and what it printed.
    #[cfg(unix)]
    async fn exited(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().await.unwrap().code();
        (code, self.printed().await)
    }

    fn post(&self, path: &str) -> Request {
        Request(self.http.post(format!("{}{path}", self.base)))
    }

    pub async fn call(&self, access: &str) -> u16 {
        let call = self
            .post("/mcp")
            .header("authorization", &format!("Bearer {access}"));
        call.json(&json!({})).send().await.status
    }

    /// Everything a client does to get an access token.
    pub async fn connect(&self) -> String {
        let registered = self
            .post("/register")
            .json(&json!({ "redirect_uris": [CALLBACK] }));
        let client = registered.send().await.json();
        let client = client["client_id"].as_str().unwrap();
        let redeem = Pairs::of(&[
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", &self.code(client).await),
            ("code_verifier", VERIFIER),
        ]);
        let tokens = self.post("/token").form_of(&redeem).send().await.json();
        text(&tokens, "access_token").to_owned()
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

/// Reads everything that the program prints, so that it never blocks on a full pipe.
async fn collect(output: impl AsyncRead + Unpin, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        *log.lock().unwrap() += &(line + "\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_table_behave_as_one_server_in_a_race() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = listener.local_addr().unwrap();
    let database = Database::memory().unwrap();
    let router = engine::router(database.clone());
    let engine = tokio::spawn(async move { axum::serve(listener, router).await });
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
    let responses = at_once(&both, &redeem(&one.code(&client).await)).await;
    assert_eq!(succeeded(&responses).len(), 1);
    let access = text(succeeded(&responses)[0], "access_token").to_owned();
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
    let responses = at_once(&both, &refresh).await;
    let pairs: std::collections::BTreeSet<_> = succeeded(&responses)
        .into_iter()
        .map(|tokens| {
            (
                text(tokens, "access_token").to_owned(),
                text(tokens, "refresh_token").to_owned(),
            )
        })
        .collect();
    assert_eq!((succeeded(&responses).len(), pairs.len()), (MANY, 1));
    let (access, refresh) = pairs.into_iter().next().unwrap();
    assert_eq!(
        (one.call(&access).await, two.call(&access).await),
        (200, 200)
    );

    // A connection that one process ends is ended at the other with its next request.
    let revoked = one
        .post("/revoke")
        .form(&[("token", &refresh), ("client_id", &client)]);
    assert_eq!(revoked.send().await.status, 200);
    assert_eq!(two.call(&access).await, 401);
    let race = Race::prepare(one.address, two.address, database, PIN).await;
    race.rounds(race_rounds()).await;
    engine.abort();
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_lets_responses_finish_and_a_second_one_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = listener.local_addr().unwrap();
    let router = engine::router(Database::memory().unwrap());
    let engine = tokio::spawn(async move { axum::serve(listener, router).await });
    let upstream = Recorder::start().await;

    let idle = Process::start(table, upstream.address, None).await;
    idle.connect().await;
    idle.signal("TERM").await;
    let (code, printed) = idle.exited().await;
    assert_eq!(code, Some(0));
    assert!(!printed.contains("Finishing"), "{printed}");

    upstream.responds(|_| {
        let first = stream::once(async { Ok::<_, std::io::Error>("data: 1\n\n") });
        let body = Body::from_stream(first.chain(stream::pending()));
        ([("content-type", "text/event-stream")], body).into_response()
    });
    let busy = Process::start(table, upstream.address, None).await;
    let access = busy.connect().await;
    let call = busy
        .post("/mcp")
        .header("authorization", &format!("Bearer {access}"));
    let mut stream = call.json(&json!({})).stream().await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    busy.signal("TERM").await;
    let said = "Finishing 1 stream; press Ctrl-C again to quit\n";
    while !busy.log.lock().unwrap().contains(said) {
        tokio::task::yield_now().await;
    }
    busy.signal("INT").await;
    assert_eq!(busy.exited().await.0, Some(0));
    assert!(stream.chunk().await.is_err());
    engine.abort();
}
