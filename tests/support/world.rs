//! A whole proxy on a loopback port, and an OAuth client for it.

use std::{
    net::SocketAddr,
    num::NonZeroU16,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dynoxide::{Database, actions::scan::ScanRequest};
use futures_util::stream;
use http::Method;
use lambda_oauth_mcp_proxy::{
    app::App,
    client_document::Fetcher,
    clock::Clock,
    config::{Config, HostKind},
    credential::{Randomness, SecretString},
    host::{aws, engine, local, server},
    http_client::{HttpClient, tls},
    pin::Pin,
    secrets::{Secret, Secrets, TokenForm},
    store::table,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::support::recorder::Recorder;
pub use crate::support::{
    exchange::{Connected, Page, Pairs, Request, Response},
    log::logged,
};

/// The redirect URI of the tests' client.
pub const CALLBACK: &str = "https://client.example/callback";
/// A verifier, and its challenge.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// The time at which every world starts: 2026-11-01 00:00:00 UTC.
pub const BEGIN: u64 = 1_793_491_200;

pub struct World {
    pub base: String,
    pub address: SocketAddr,
    pub upstream: Recorder,
    /// The upstream's token.
    pub pat: String,
    pub pin: String,
    app: App,
    http: reqwest::Client,
    clock: Arc<AtomicU64>,
    database: Database,
    /// Everything that must never be logged.
    secrets: Mutex<Vec<String>>,
    /// The length of the log when this world started.
    log_begins: usize,
    task: JoinHandle<()>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

type Change = Box<dyn FnOnce(&mut Secret) + Send>;
/// What is between the SDK and the engine.
type Wire = Box<dyn FnOnce(SharedHttpClient) -> SharedHttpClient + Send>;

/// What a test may change.
#[derive(Default)]
pub struct Options {
    pub settings: Vec<(&'static str, String)>,
    pub database: Option<Database>,
    pub secret: Option<Change>,
    /// The upstream's token; one is generated otherwise.
    pub token: Option<String>,
    pub documents: Option<Fetcher>,
    pub upstream: Option<String>,
    /// Where the secret comes from, if not from the test itself.
    pub secrets: Option<Box<dyn FnOnce(Clock) -> Secrets + Send>>,
    pub wire: Option<Wire>,
    pub max_connections: Option<NonZeroU16>,
}

impl World {
    pub async fn start() -> Self {
        Self::with_settings(&[]).await
    }

    /// With these settings in the environment.
    pub async fn with_settings(settings: &[(&'static str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(n, v)| (*n, (*v).to_owned()))
            .collect();
        Self::with_options(Options {
            settings,
            ..Options::default()
        })
        .await
    }

    pub async fn with_options(options: Options) -> Self {
        let log_begins = logged().lock().unwrap().len();
        let upstream = Recorder::start().await;
        let randomness = Randomness::system();
        let pat = SecretString::generate("pat_", &randomness);
        let pin = Pin::generate(&randomness);
        let upstream_url = options
            .upstream
            .unwrap_or_else(|| format!("http://{}/mcp", upstream.address));
        let config = Config::read(HostKind::Local, |name| {
            if let Some((_, value)) = options.settings.iter().find(|(n, _)| *n == name) {
                return Some(value.clone());
            }
            (name == "UPSTREAM_MCP").then(|| upstream_url.clone())
        })
        .unwrap();
        let now = Arc::new(AtomicU64::new(BEGIN));
        let clock = Clock::from_fn({
            let now = now.clone();
            move || now.load(Ordering::SeqCst)
        });
        let database = options
            .database
            .unwrap_or_else(|| Database::memory().unwrap());
        let wire = engine::http_client(database.clone());
        let mut dynamodb = aws::embedded_dynamodb(wire.clone());
        table::create(&dynamodb, &config.table_name).await.unwrap();
        if let Some(faulty) = options.wire {
            // Do not wait between two attempts of the SDK.
            let retry = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
            let config = dynamodb.config().to_builder().http_client(faulty(wire));
            dynamodb = Client::from_conf(config.retry_config(retry).build());
        }
        let form = TokenForm::from(&config.upstream);
        let mut secret = Secret {
            upstream_token: form
                .read(options.token.as_deref().unwrap_or(pat.expose()))
                .unwrap(),
            pin: Pin::parse(pin.expose()).unwrap(),
            upstream_headers: Vec::new(),
            clients: Vec::new(),
            origin_secret: None,
        };
        if let Some(change) = options.secret {
            change(&mut secret);
        }
        let http = HttpClient::new(tls(), clock.clone());
        let documents = options.documents.unwrap_or_else(|| Fetcher::new(tls()));
        let secrets = match options.secrets {
            Some(secrets) => secrets(clock.clone()),
            None => Secrets::fixed(secret),
        };
        let app = App::new(
            config, dynamodb, http, documents, secrets, clock, randomness,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let names = match &app.config.base_url {
            Some(base) => local::Names::Configured(base.clone()),
            None => local::Names::of_loopback(address),
        };
        let router = local::router(app.clone(), names);
        let (stop, stopped) = oneshot::channel::<()>();
        let signals = stream::once(async move {
            let _ = stopped.await;
        });
        let max = options
            .max_connections
            .unwrap_or(server::DEFAULT_MAX_CONNECTIONS);
        let task = tokio::spawn(server::serve(listener, router, max, signals, |_| {}));
        Self {
            log_begins,
            base: format!("http://{address}"),
            address,
            upstream,
            secrets: Mutex::new(vec![pat.expose().to_owned(), pin.expose().to_owned()]),
            pat: pat.expose().to_owned(),
            pin: pin.expose().to_owned(),
            app,
            http: reqwest::Client::builder()
                .tls_backend_preconfigured(tls())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()
                .unwrap(),
            clock: now,
            database,
            task,
            stop: Mutex::new(Some(stop)),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The application, for a second host.
    #[allow(dead_code, reason = "tests/lambda has one")]
    pub fn app(&self) -> App {
        self.app.clone()
    }

    pub fn advance_clock(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Asks the program to stop, as a signal does.
    pub fn stop(&self) {
        drop(self.stop.lock().unwrap().take());
    }

    /// Waits until it has stopped.
    pub async fn stopped(&mut self) {
        (&mut self.task).await.unwrap();
    }

    pub fn set_clock_back(&self, seconds: u64) {
        self.clock.fetch_sub(seconds, Ordering::SeqCst);
    }

    /// The table, without the program in between.
    pub fn dynamodb(&self) -> Client {
        aws::embedded_dynamodb(engine::http_client(self.database.clone()))
    }

    /// From now on, this must not be in any log line.
    pub fn keep_secret(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Every item of the table, as text, in order: to see that nothing changed. (The program itself has no way
    /// to scan.)
    pub fn dump(&self) -> Vec<String> {
        let scanned = self.database.scan(ScanRequest {
            table_name: "lambda-oauth-mcp-proxy".to_owned(),
            ..ScanRequest::default()
        });
        let text = serde_json::to_value(scanned.unwrap()).unwrap();
        let items = text["Items"].as_array().unwrap();
        let mut items: Vec<String> = items.iter().map(Value::to_string).collect();
        items.sort();
        items
    }

    /// Deletes the record of a client, as its TTL does.
    pub async fn delete_client(&self, client_id: &str) {
        self.delete(&format!("client#{client_id}"), "-").await;
    }

    /// Deletes the day's count of wrong tries from all addresses, as docs/operate/operations.md tells the owner to.
    pub async fn reopen_consent(&self) {
        self.delete("pin#overall", &self.day()).await;
    }

    /// The day (UTC) as the table counts it.
    pub fn day(&self) -> String {
        (self.clock.load(Ordering::SeqCst) / 86_400).to_string()
    }

    async fn delete(&self, pk: &str, sk: &str) {
        let key = |text: &str| AttributeValue::S(text.to_owned());
        self.dynamodb()
            .delete_item()
            .table_name("lambda-oauth-mcp-proxy")
            .key("pk", key(pk))
            .key("sk", key(sk))
            .send()
            .await
            .unwrap();
    }

    /// Sets the day's count of tries from all addresses, instead of sending so many requests.
    pub async fn set_tries_of_the_day(&self, tries: u32) {
        self.set_counter_of_the_day("tries", tries).await;
    }

    pub async fn set_counter_of_the_day(&self, counter: &str, tries: u32) {
        let key = |text: &str| AttributeValue::S(text.to_owned());
        let update = self.dynamodb().update_item();
        update
            .table_name("lambda-oauth-mcp-proxy")
            .key("pk", key("pin#overall"))
            .key("sk", key(&self.day()))
            .update_expression("SET #counter = :tries")
            .expression_attribute_names("#counter", counter)
            .expression_attribute_values(":tries", AttributeValue::N(tries.to_string()))
            .send()
            .await
            .unwrap();
    }

    // --- requests ---

    pub fn request(&self, method: &str, path: &str) -> Request {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Request(self.http.request(method, self.url(path)))
    }

    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    // --- the protocol ---

    pub async fn register(&self, metadata: Value) -> Value {
        let response = self.post("/register").json(&metadata).send().await;
        assert_eq!(response.status, 201, "{}", response.text);
        let client = response.json();
        if let Some(secret) = client["client_secret"].as_str() {
            self.keep_secret(secret);
        }
        client
    }

    /// A public client with one redirect URI.
    pub async fn client(&self) -> String {
        let client = self
            .register(json!({ "redirect_uris": [CALLBACK], "client_name": "Test client" }))
            .await;
        client["client_id"].as_str().unwrap().to_owned()
    }

    /// The parameters of a valid authorization request.
    pub fn authorization_request(&self, client_id: &str) -> Pairs {
        Pairs(vec![
            ("response_type".into(), "code".into()),
            ("client_id".into(), client_id.into()),
            ("redirect_uri".into(), CALLBACK.into()),
            ("code_challenge".into(), CHALLENGE.into()),
            ("code_challenge_method".into(), "S256".into()),
            ("state".into(), "the-state".into()),
            ("resource".into(), self.url("/mcp")),
        ])
    }

    /// Opens the consent page.
    pub async fn open(&self, ask: &Pairs) -> Page {
        let response = self
            .get(&format!("/authorize?{}", ask.encode()))
            .send()
            .await;
        assert_eq!(response.status, 200, "{}", response.text);
        Page::read(response)
    }

    /// Submits its form, and follows the redirect unless it goes to the client.
    pub async fn submit_consent(&self, page: &Page, decision: &str, pin: &str) -> Response {
        let form = [("page", &*page.id), ("pin", pin), ("decision", decision)];
        let request = self.post("/authorize").form(&form);
        self.send_as_browser(&page.cookie, request).await
    }

    /// Sends a form with these cookies, and follows a redirect to a page of this server with the cookies that it sets.
    pub async fn send_as_browser(&self, cookies: &str, form: Request) -> Response {
        let response = form.header("cookie", cookies).send().await;
        let to = response.header("location");
        if !to.starts_with('/') {
            return response;
        }
        let mut cookies = vec![cookies];
        for set in response.headers.get_all("set-cookie") {
            cookies.extend(set.to_str().unwrap().split(';').next());
        }
        let page = self.get(to).header("cookie", &cookies.join("; "));
        page.send().await
    }

    /// The code for a valid request of this client.
    pub async fn code(&self, client_id: &str) -> String {
        let page = self.open(&self.authorization_request(client_id)).await;
        let response = self.submit_consent(&page, "authorize", &self.pin).await;
        assert_eq!(response.status, 303, "{}", response.text);
        let code = response.redirected("code").unwrap();
        self.keep_secret(&code);
        code
    }

    #[expect(clippy::unused_self, reason = "reads as the others do")]
    pub fn redeem(&self, client_id: &str, code: &str) -> Pairs {
        Pairs(vec![
            ("grant_type".into(), "authorization_code".into()),
            ("client_id".into(), client_id.into()),
            ("code".into(), code.into()),
            ("code_verifier".into(), VERIFIER.into()),
            ("redirect_uri".into(), CALLBACK.into()),
        ])
    }

    pub async fn token(&self, form: &Pairs) -> Response {
        let response = self.post("/token").form_of(form).send().await;
        if response.status == 200 {
            for name in ["access_token", "refresh_token"] {
                if let Some(token) = response.json()[name].as_str() {
                    self.keep_secret(token);
                }
            }
        }
        response
    }

    /// Everything a client does to get its tokens.
    pub async fn connect(&self) -> Connected {
        let client_id = self.client().await;
        self.connect_as(&client_id).await
    }

    pub async fn connect_as(&self, client_id: &str) -> Connected {
        let code = self.code(client_id).await;
        let response = self.token(&self.redeem(client_id, &code)).await;
        assert_eq!(response.status, 200, "{}", response.text);
        Connected::read(client_id, &code, &response.json())
    }

    pub async fn refresh(&self, client_id: &str, refresh_token: &str) -> Response {
        self.token(&Pairs::of(&[
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", refresh_token),
        ]))
        .await
    }

    /// A call of the MCP endpoint.
    pub fn call(&self, access_token: &str) -> Request {
        self.post("/mcp")
            .header("authorization", &format!("Bearer {access_token}"))
            .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))
    }

    /// The status of a call with this token.
    pub async fn status(&self, access_token: &str) -> u16 {
        self.call(access_token).send().await.status
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
        if std::thread::panicking() {
            return;
        }
        let log = logged().lock().unwrap()[self.log_begins..].to_vec();
        let log = String::from_utf8_lossy(&log);
        for secret in self.secrets.lock().unwrap().iter() {
            if log.contains(secret) {
                let line = log.lines().find(|line| line.contains(secret));
                panic!("a secret was logged: {line:?}");
            }
        }
    }
}

/// Lets this many seconds pass for every timer of this test, without waiting: whenever nothing else is left to do, the
/// runtime moves its paused clock on to the next timer.
pub async fn time_passes(seconds: u64) {
    tokio::time::pause();
    // The runtime looks at its sockets each time it moves the clock. So what was sent before arrives before, and what
    // the time has caused arrives too.
    for milliseconds in [[1; 10], [seconds * 100; 10], [1; 10]].as_flattened() {
        tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
    }
    tokio::time::resume();
}

/// The challenge of a verifier.
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}
