//! What ends a connection beats what is in flight: a refresh, a redemption and a consent, each against `/revoke`, the
//! owner's page, and a replay, at two instances on one table. Afterwards no token is alive, whichever request was first.
//!
//! Without settings, one request is stopped before each of its steps while the other happens. `RACE_ROUNDS=25 cargo test
//! --test http race` adds 25 rounds of each pairing in whatever order they come, here and at two processes; `.ci/run` does
//! that.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use dynoxide::Database;
use lambda_oauth_mcp_proxy::host::{aws, engine};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    http::races::{Held, hold, release},
    support::world::{CALLBACK, CHALLENGE, Options, Pairs, VERIFIER, World},
};

/// What gives a client tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Grant {
    Refresh,
    Redemption,
    /// The PIN once more on the page of a connection.
    Consent,
}

/// What ends a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Revocation,
    ByOwner,
    All,
    CodeReplay,
    RefreshReplay,
}

const PAIRINGS: [(Grant, End); 12] = [
    (Grant::Refresh, End::Revocation),
    (Grant::Refresh, End::ByOwner),
    (Grant::Refresh, End::All),
    (Grant::Refresh, End::CodeReplay),
    // It ends nothing within the grace period of a refresh, so it must be the first here.
    (Grant::Refresh, End::RefreshReplay),
    // Before the redemption there is no token that could be revoked.
    (Grant::Redemption, End::ByOwner),
    (Grant::Redemption, End::All),
    (Grant::Redemption, End::CodeReplay),
    (Grant::Consent, End::Revocation),
    (Grant::Consent, End::ByOwner),
    (Grant::Consent, End::All),
    (Grant::Consent, End::CodeReplay),
];

type Item = HashMap<String, AttributeValue>;

/// Two instances on one table, a connection, and the states to which it is set back.
pub struct Race {
    one: SocketAddr,
    two: SocketAddr,
    table: Client,
    pin: String,
    client_id: String,
    page: String,
    cookies: String,
    csrf: String,
    connection: String,
    code: String,
    tokens: Vec<Tokens>,
    unredeemed: Item,
    live: Item,
}

#[derive(Clone)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn read(body: &str) -> Option<Self> {
        let tokens: Value = serde_json::from_str(body).ok()?;
        let text = |name: &str| Some(tokens[name].as_str()?.to_owned());
        Some(Self {
            access: text("access_token")?,
            refresh: text("refresh_token")?,
        })
    }
}

fn post(path: &str, headers: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\n{headers}content-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn form(path: &str, cookies: &str, pairs: &[(&str, &str)]) -> String {
    let headers = format!("cookie: {cookies}\r\n");
    let body = Pairs::of(pairs).encode();
    post(path, &headers, "application/x-www-form-urlencoded", &body)
}

async fn send(address: SocketAddr, request: &str) -> (u16, String) {
    release(hold(address, request).await).await
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{before}: {text}"));
    rest.1.split_once(after).unwrap().0
}

fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let field = between(page, &format!("name=\"{name}\""), ">");
    between(field, "value=\"", "\"")
}

/// A cookie under each name that it has at these instances.
fn cookies(kind: &str, response: &str, ports: [u16; 2]) -> String {
    let response = between(response, "set-cookie: ", ";");
    let value = response.split_once('=').unwrap().1;
    let [one, two] = ports;
    format!("{kind}_{one}={value}; {kind}_{two}={value}; __Host-{kind}={value}; ")
}

impl Race {
    pub async fn prepare(one: SocketAddr, two: SocketAddr, database: Database, pin: &str) -> Self {
        let ports = [one.port(), two.port()];
        let metadata = json!({ "redirect_uris": [CALLBACK] }).to_string();
        let registered = send(one, &post("/register", "", "application/json", &metadata))
            .await
            .1;
        let client_id = between(&registered, "\"client_id\":\"", "\"").to_owned();
        let query = Pairs::of(&[
            ("response_type", "code"),
            ("client_id", &client_id),
            ("redirect_uri", CALLBACK),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let page = format!("GET /authorize?{} HTTP/1.1\r\n\r\n", query.encode());
        let page = send(one, &page).await.1;
        let sign_in = [("action", "sign-in"), ("pin", pin)];
        let signed_in = send(one, &form("/connections", "", &sign_in)).await.1;
        let cookies = cookies("consent", &page, ports) + &cookies("session", &signed_in, ports);
        let list = format!("GET /connections HTTP/1.1\r\ncookie: {cookies}\r\n\r\n");
        let mut race = Self {
            one,
            two,
            table: aws::local_dynamodb(engine::http_client(database), "http://127.0.0.1"),
            pin: pin.to_owned(),
            client_id,
            page: hidden(&page, "page").to_owned(),
            cookies,
            csrf: String::new(),
            connection: String::new(),
            code: String::new(),
            tokens: Vec::new(),
            unredeemed: Item::new(),
            live: Item::new(),
        };
        let consent = send(one, &race.request(Grant::Consent)).await.1;
        race.code = between(&consent, "code=", "&").to_owned();
        race.connection = between(&race.code, "mcp_ac_", ".").to_owned();
        race.unredeemed = race.item().await.unwrap();
        let mut next = race.request(Grant::Redemption);
        for _ in 0..3 {
            race.tokens
                .push(Tokens::read(&send(one, &next).await.1).unwrap());
            next = race.request(Grant::Refresh);
        }
        race.live = race.item().await.unwrap();
        // The last rotation was longer ago than the grace period.
        let rotated_at: u64 = race.live["rotated_at"].as_n().unwrap().parse().unwrap();
        let rotated_at = AttributeValue::N((rotated_at - 1000).to_string());
        race.live.insert("rotated_at".to_owned(), rotated_at);
        let list = send(one, &list).await.1;
        hidden(&list, "csrf").clone_into(&mut race.csrf);
        race
    }

    fn token(&self, pairs: &[(&str, &str)]) -> String {
        let client = [("client_id", &*self.client_id)];
        form("/token", "", &[pairs, &client].concat())
    }

    fn request(&self, grant: Grant) -> String {
        match grant {
            Grant::Refresh => self.refresh(&self.tokens.last().unwrap().refresh),
            Grant::Redemption => self.redeem(&self.code),
            Grant::Consent => {
                let pairs = [("page", &*self.page), ("pin", &*self.pin)];
                form("/authorize", &self.cookies, &pairs)
            }
        }
    }

    fn refresh(&self, token: &str) -> String {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    fn redeem(&self, code: &str) -> String {
        let grant_type = ("grant_type", "authorization_code");
        self.token(&[grant_type, ("code", code), ("code_verifier", VERIFIER)])
    }

    fn end(&self, end: End) -> String {
        let act = |pairs: &[(&str, &str)]| {
            let pairs = [pairs, &[("csrf", &*self.csrf)]].concat();
            form("/connections", &self.cookies, &pairs)
        };
        match end {
            End::Revocation => {
                let token = &*self.tokens.last().unwrap().refresh;
                let pairs = [("token", token), ("client_id", &*self.client_id)];
                form("/revoke", "", &pairs)
            }
            End::ByOwner => act(&[("action", "end"), ("connection", &self.connection)]),
            End::All => act(&[("action", "end-all")]),
            End::CodeReplay => self.redeem(&self.code),
            End::RefreshReplay => self.refresh(&self.tokens[0].refresh),
        }
    }

    async fn item(&self) -> Option<Item> {
        let get = self.table.get_item().table_name("lambda-oauth-mcp-proxy");
        let get = get.key("pk", AttributeValue::S("connection".to_owned()));
        let got = get.key("sk", AttributeValue::S(self.connection.clone()));
        got.send().await.unwrap().item
    }

    /// Sets the connection back to the state in which this grant is possible.
    async fn reset(&self, grant: Grant) {
        let item = match grant {
            Grant::Redemption => &self.unredeemed,
            Grant::Refresh | Grant::Consent => &self.live,
        };
        let put = self.table.put_item().table_name("lambda-oauth-mcp-proxy");
        put.set_item(Some(item.clone())).send().await.unwrap();
    }

    /// No token is alive, except those of a consent: that is a grant of its own.
    async fn check(&self, grant: Grant, responses: &[(u16, String)], what: &str) {
        let issued = responses.iter().filter_map(|(_, body)| Tokens::read(body));
        let mut tokens: Vec<_> = issued.collect();
        if grant == Grant::Consent {
            tokens.extend(self.tokens.last().cloned());
        } else {
            assert!(self.item().await.is_none(), "{what}: {responses:?}");
        }
        // A used refresh token would end what is still alive, so the access tokens are the first.
        for tokens in &tokens {
            let headers = format!("authorization: Bearer {}\r\n", tokens.access);
            let call = post("/mcp", &headers, "application/json", "{}");
            assert_eq!(send(self.two, &call).await.0, 401, "{what}: {responses:?}");
        }
        for tokens in &tokens {
            let refreshed = send(self.one, &self.refresh(&tokens.refresh)).await;
            assert_eq!(refreshed.0, 400, "{what}: {responses:?}");
        }
    }

    /// The end lands while the grant is held back by its last byte, then the other way round, then both at once.
    pub async fn rounds(&self, rounds: usize) {
        for ((grant, end), round) in PAIRINGS
            .into_iter()
            .flat_map(|p| (0..rounds).map(move |r| (p, r)))
        {
            let (granting, ending) = (self.request(grant), self.end(end));
            let orders = if end == End::RefreshReplay { 1 } else { 3 };
            for order in 0..orders {
                self.reset(grant).await;
                let granting = hold(self.one, &granting).await;
                let ending = hold(self.two, &ending).await;
                let responses = in_order(order, granting, ending).await;
                let what = format!("{grant:?} × {end:?}, order {order}, round {round}");
                self.check(grant, &responses, &what).await;
            }
        }
    }
}

async fn in_order(order: usize, granting: Held, ending: Held) -> [(u16, String); 2] {
    match order {
        0 => {
            let ended = release(ending).await;
            [release(granting).await, ended]
        }
        1 => [release(granting).await, release(ending).await],
        _ => {
            let (granted, ended) = tokio::join!(release(granting), release(ending));
            [granted, ended]
        }
    }
}

/// How many rounds have no fixed order: none, unless the environment says how many.
#[expect(clippy::disallowed_methods, reason = "tests have no main")]
pub fn race_rounds() -> usize {
    let rounds = std::env::var("RACE_ROUNDS").ok();
    rounds.map_or(0, |rounds| rounds.parse().unwrap())
}

/// Counts the requests to the table that are about connections, and holds one of them back.
#[derive(Clone, Debug, Default)]
struct Gate(Arc<Mutex<Passage>>);

#[derive(Debug, Default)]
struct Passage {
    passed: usize,
    /// Which one is held back, whom to tell, and what to wait for.
    closed: Option<(usize, oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

impl Gate {
    fn close_after(&self, passing: usize) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((reached, is_reached), (opens, open)) = (oneshot::channel(), oneshot::channel());
        *self.0.lock().unwrap() = Passage {
            passed: 0,
            closed: Some((passing, reached, open)),
        };
        (is_reached, opens)
    }

    fn passed(&self) -> usize {
        std::mem::take(&mut *self.0.lock().unwrap()).passed
    }

    /// Tells that a request has come to the closed gate, and returns what opens it.
    fn stop(&self, body: &[u8]) -> Option<oneshot::Receiver<()>> {
        let body: Value = serde_json::from_slice(body).unwrap();
        let about = [
            "/Key/pk/S",
            "/Item/pk/S",
            "/ExpressionAttributeValues/:connection/S",
        ];
        let about = about.iter().find_map(|at| body.pointer(at)?.as_str());
        if about != Some("connection") {
            return None;
        }
        let mut passage = self.0.lock().unwrap();
        passage.passed += 1;
        let passed = passage.passed;
        let (_, reached, open) = passage.closed.take_if(|closed| closed.0 < passed)?;
        reached.send(()).unwrap();
        Some(open)
    }
}

#[derive(Debug)]
struct Gated<T>(Gate, T);

impl HttpClient for Gated<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.1.http_connector(settings, components);
        SharedHttpConnector::new(Gated(self.0.clone(), inner))
    }
}

impl HttpConnector for Gated<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let open = self.0.stop(request.body().bytes().unwrap());
        let inner = self.1.clone();
        HttpConnectorFuture::new(async move {
            if let Some(open) = open {
                open.await.unwrap();
            }
            inner.call(request).await
        })
    }
}

async fn instance(database: &Database, gate: Gate) -> World {
    World::with_options(Options {
        database: Some(database.clone()),
        settings: vec![("BASE_URL", "https://mcp.example.com".into())],
        wire: Some(Box::new(move |inner| {
            SharedHttpClient::new(Gated(gate, inner))
        })),
        // Both have one PIN.
        secret: Some(Box::new(|secret| {
            secret.pin = lambda_oauth_mcp_proxy::pin::Pin::parse(PIN).unwrap();
        })),
        ..Options::default()
    })
    .await
}

const PIN: &str = "aPINofTheTests";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_connection_beats_a_grant_in_flight_in_every_order() {
    let database = Database::memory().unwrap();
    let gate = Gate::default();
    let one = instance(&database, gate.clone()).await;
    let two = instance(&database, Gate::default()).await;
    let race = Race::prepare(one.address, two.address, database, PIN).await;
    race.rounds(race_rounds()).await;

    // One request is stopped before each of its steps at the table, and the other happens as a whole.
    for (grant, end) in PAIRINGS {
        let (granting, ending) = (race.request(grant), race.end(end));
        let orders = [
            ("the grant", &granting, &ending),
            ("the end", &ending, &granting),
        ];
        let orders = &orders[..if end == End::RefreshReplay { 1 } else { 2 }];
        for (name, stopped, whole) in orders {
            race.reset(grant).await;
            gate.passed();
            send(one.address, stopped).await;
            for passing in 0..gate.passed() {
                race.reset(grant).await;
                let (reached, open) = gate.close_after(passing);
                let stopped = tokio::spawn(release(hold(one.address, stopped).await));
                reached.await.unwrap();
                let whole = send(two.address, whole).await;
                open.send(()).unwrap();
                let responses = [stopped.await.unwrap(), whole];
                let what = format!("{grant:?} × {end:?}, {name} stopped after {passing} steps");
                race.check(grant, &responses, &what).await;
            }
        }
    }
}
