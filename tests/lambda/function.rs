//! The function as a process, with everything it needs around it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

use crate::lambda::{
    aws::{Aws, PAT, PIN, SECRET_ARN, TABLE},
    host,
    runtime_api::{Call, Response, RuntimeApi},
};

/// Longer than any test.
pub const LONG: Duration = Duration::from_mins(1);

pub struct Function {
    pub api: RuntimeApi,
    pub aws: Aws,
    log: Arc<watch::Sender<Vec<String>>>,
    secrets: Mutex<Vec<String>>,
    child: Child,
}

/// What a test may change.
#[derive(Default)]
pub struct Options {
    /// Added to the environment; an empty value removes a setting.
    pub settings: Vec<(&'static str, String)>,
    pub secret: Option<Result<String, &'static str>>,
    /// Run the host in a process of this test program, see [`host`].
    pub own_host: bool,
}

impl Function {
    pub async fn start() -> Self {
        Self::with_options(Options::default()).await
    }

    /// Started, and waiting for its first invocation.
    pub async fn with_options(options: Options) -> Self {
        let mut function = Self::launch(options).await;
        tokio::select! {
            () = function.api.polled(1) => {}
            ended = function.child.wait() => panic!("{ended:?}: {:#?}", function.log()),
        }
        function
    }

    /// Just started.
    pub async fn launch(options: Options) -> Self {
        let (api, aws) = (RuntimeApi::start().await, Aws::start().await);
        if let Some(secret) = options.secret {
            aws.set_secret(secret);
        }
        let mut environment = BTreeMap::from([
            ("AWS_LAMBDA_RUNTIME_API", api.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "proxy".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "example".to_owned()),
            (
                "AWS_ENDPOINT_URL_DYNAMODB",
                format!("http://{}", aws.dynamodb),
            ),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                format!("http://{}", aws.secrets_manager),
            ),
            ("TABLE_NAME", TABLE.to_owned()),
            ("SECRET_ARN", SECRET_ARN.to_owned()),
            // Nobody listens there.
            ("UPSTREAM_MCP", "https://127.0.0.1:1/mcp".to_owned()),
        ]);
        environment.extend(options.settings);
        let mut command = if options.own_host {
            host::command()
        } else {
            #[expect(clippy::disallowed_methods, reason = "a choice of who runs the tests")]
            let named = std::env::var("LAMBDA_BINARY");
            Command::new(
                named
                    .as_deref()
                    .unwrap_or(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy")),
            )
        };
        let mut child = command
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::new(watch::channel(Vec::new()).0);
        tokio::spawn(collect(child.stdout.take().unwrap(), log.clone()));
        tokio::spawn(collect(child.stderr.take().unwrap(), log.clone()));
        Self {
            api,
            aws,
            log,
            secrets: Mutex::new(vec![PAT.to_owned(), PIN.to_owned()]),
            child,
        }
    }

    /// The exit code of a function that exits by itself.
    pub async fn exit(&mut self) -> i32 {
        self.child.wait().await.unwrap().code().unwrap()
    }

    pub fn invoke(&self, event: &Value) -> Call {
        self.api.invoke(event, Some(LONG))
    }

    pub async fn response(&self, event: &Value) -> Response {
        self.invoke(event).response().await
    }

    /// From now on, this must not be in any log line.
    pub fn keep_secret(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Waits for a line of this event, and returns it.
    pub async fn logged(&self, event: &str) -> Value {
        self.line(|line| line["event"] == event).await
    }

    /// Waits for a line of this event that belongs to this request.
    pub async fn logged_for(&self, event: &str, request_id: &str) -> Value {
        self.line(|line| line["event"] == event && line["request_id"] == request_id)
            .await
    }

    /// Waits for a metric of this name.
    pub async fn counted(&self, metric: &str) -> Value {
        self.line(|line| line[metric] == 1).await
    }

    /// Waits for the line of this request.
    pub async fn request(&self, id: &str) -> Value {
        self.logged_for("request", id).await
    }

    async fn line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = |lines: &Vec<String>| {
            let mut lines = lines
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.find(|line| wanted(line))
        };
        let mut log = self.log.subscribe();
        let seen = tokio::time::timeout(LONG, log.wait_for(|lines| find(lines).is_some())).await;
        let Ok(Ok(lines)) = seen else {
            panic!("not logged: {:#?}", self.log());
        };
        find(&lines).unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Only the child of this test, by its handle.
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{:#?}", self.log());
            return;
        }
        for secret in self.secrets.lock().unwrap().iter() {
            let log = self.log();
            let told = log.iter().find(|line| line.contains(secret));
            assert!(told.is_none(), "a secret was logged: {told:?}");
        }
    }
}

async fn collect(output: impl AsyncRead + Unpin, log: Arc<watch::Sender<Vec<String>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| log.push(line));
    }
}
