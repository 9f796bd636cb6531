//! Actors: scripts that send HTTP requests to the real router, on the real store and the real SDK.
//!
//! An actor depends on nothing but what the store answers, and when. So what it does next is a function of the replies so
//! far. It is found out by running the real code from its start, with these replies, up to its next call of the store; and
//! remembered, so that millions of interleavings need only some thousands of runs.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpClient, SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use lambda_oauth_mcp_proxy::{
    app::App,
    clock::Clock,
    credential::Randomness,
    store::{DynamoDb, Store},
    write_limits::{PER_ADDRESS, WriteLimits},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Runtime, sync::oneshot};

use super::{
    dynamodb::{Effect, Response, Table},
    instance::{Event, Instance},
};

/// Runs that are kept in memory, so that they can be continued.
const MAX_SUSPENDED_RUNS: usize = 5_000;

/// What an actor does.
pub type Script = Arc<dyn Fn(Instance) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A request to the store.
#[derive(Debug)]
pub struct Call {
    pub operation: String,
    pub request: Value,
}

impl Call {
    pub fn writes(&self) -> bool {
        !matches!(&*self.operation, "GetItem" | "Query")
    }
}

/// What came of a call, and when.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    pub now: u64,
    /// `None` if the response was lost, or the request itself.
    pub response: Option<Response>,
}

/// Where an actor is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Position(u32);

/// What is known about a position.
pub struct Known {
    /// Everything that has been answered so far.
    pub events: Arc<[Event]>,
    /// The next call; `None` when the script has ended.
    pub next: Option<Arc<Call>>,
    actor: usize,
    began_at: u64,
    replies: Vec<Reply>,
    /// The run that found this out, which the first reply continues. Every other one needs a run from the start.
    suspended: Option<Run>,
}

struct Run {
    script: Pin<Box<dyn Future<Output = ()>>>,
    tape: Arc<Mutex<Tape>>,
    events: Arc<Mutex<Vec<Event>>>,
}

/// All actors of a scenario, with every position that they were seen in.
pub struct Actors {
    app: App,
    /// Where the seeds of their random values begin.
    first_seed: usize,
    runtime: Runtime,
    store: Replayed,
    client: DynamoDb,
    suspended: usize,
    scripts: Vec<Script>,
    known: Vec<Known>,
    /// The outcome of a call, by its address and by what it depends on.
    outcomes: HashMap<(usize, u64), (Response, Effect)>,
    beginnings: HashMap<(usize, u64), Position>,
    successors: HashMap<(Position, Reply), Position>,
}

impl Actors {
    /// No actors yet. `app` gives everything except store, clock and randomness.
    pub fn new(app: App, first_seed: usize) -> Self {
        // The SDK waits between two attempts: with a paused clock that takes no time.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let store = Replayed::default();
        Self {
            app,
            first_seed,
            runtime,
            client: store.client(),
            store,
            suspended: 0,
            scripts: Vec::new(),
            known: Vec::new(),
            outcomes: HashMap::new(),
            beginnings: HashMap::new(),
            successors: HashMap::new(),
        }
    }

    /// Adds an actor. Its number decides its random values.
    pub fn add(&mut self, script: Script) -> usize {
        self.scripts.push(script);
        self.scripts.len() - 1
    }

    /// How many positions are known, which is how often the real code ran.
    pub fn runs(&self) -> usize {
        self.known.len()
    }

    pub fn at(&self, position: Position) -> &Known {
        &self.known[position.0 as usize]
    }

    /// Where an actor is that begins now: at its first call.
    pub fn begin(&mut self, actor: usize, now: u64) -> Position {
        if let Some(position) = self.beginnings.get(&(actor, now)) {
            return *position;
        }
        let run = self.start(actor, now, &[]);
        let position = self.advance(run, actor, now, Vec::new());
        self.beginnings.insert((actor, now), position);
        position
    }

    /// Where an actor is after this reply to its call.
    pub fn resume(&mut self, position: Position, reply: Reply) -> Position {
        let edge = (position, reply);
        if let Some(next) = self.successors.get(&edge) {
            return *next;
        }
        let known = &mut self.known[position.0 as usize];
        let (actor, began_at) = (known.actor, known.began_at);
        let mut replies = known.replies.clone();
        replies.push(edge.1.clone());
        let run = if let Some(run) = known.suspended.take() {
            self.suspended -= 1;
            run.tape.lock().unwrap().answer(edge.1.clone());
            run
        } else {
            self.start(actor, began_at, &replies)
        };
        let next = self.advance(run, actor, began_at, replies);
        self.successors.insert(edge, next);
        next
    }

    /// Carries out a call. Calls are kept as long as the actors, so that their addresses identify them.
    pub fn execute(&mut self, call: &Arc<Call>, table: &mut Table) -> Response {
        let key = (Arc::as_ptr(call) as usize, table.digest_for(&call.request));
        let outcome = self.outcomes.entry(key);
        let (response, effect) =
            outcome.or_insert_with(|| table.outcome(&call.operation, &call.request));
        table.apply(effect.clone());
        response.clone()
    }

    /// Runs a script to its end, with nothing between its calls.
    pub fn finish(&mut self, actor: usize, table: &mut Table, now: u64) -> Position {
        let mut position = self.begin(actor, now);
        while let Some(call) = self.at(position).next.clone() {
            let response = Some(self.execute(&call, table));
            position = self.resume(position, Reply { now, response });
        }
        position
    }

    fn start(&self, actor: usize, now: u64, replies: &[Reply]) -> Run {
        let tape = Arc::new(Mutex::new(Tape {
            replies: replies.iter().cloned().collect(),
            now,
            ..Tape::default()
        }));
        let events = Arc::new(Mutex::new(Vec::new()));
        let app = self.instance_app(actor, tape.clone());
        let instance = Instance::new(app, self.client.clone(), actor, events.clone());
        Run {
            script: self.scripts[actor](instance),
            tape,
            events,
        }
    }

    /// Runs a script up to its next call that has no reply, or to its end.
    fn advance(
        &mut self,
        mut run: Run,
        actor: usize,
        began_at: u64,
        replies: Vec<Reply>,
    ) -> Position {
        *self.store.0.lock().unwrap() = run.tape.clone();
        let next = self.runtime.block_on(poll_fn(|context| {
            if run.script.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            match run.tape.lock().unwrap().call.take() {
                Some(call) => Poll::Ready(Some(Arc::new(call))),
                // The SDK waits before its next attempt.
                None => Poll::Pending,
            }
        }));
        let events = run.events.lock().unwrap().as_slice().into();
        let suspended = (next.is_some() && self.suspended < MAX_SUSPENDED_RUNS).then_some(run);
        self.suspended += usize::from(suspended.is_some());
        self.known.push(Known {
            events,
            next,
            actor,
            began_at,
            replies,
            suspended,
        });
        Position(u32::try_from(self.known.len() - 1).unwrap())
    }

    fn instance_app(&self, actor: usize, tape: Arc<Mutex<Tape>>) -> App {
        let randomness = seeded(self.first_seed + actor);
        let table = self.app.config.table_name.clone();
        App {
            store: Store::new(self.client.clone(), table, randomness.clone()),
            write_limits: WriteLimits::new(PER_ADDRESS),
            clock: Clock::from_fn(move || tape.lock().unwrap().now),
            randomness,
            ..self.app.clone()
        }
    }
}

/// Different values for every actor, the same in every run.
fn seeded(actor: usize) -> Randomness {
    let used = AtomicU64::new(0);
    Randomness::from_fn(move |bytes| {
        for chunk in bytes.chunks_mut(32) {
            let number = used.fetch_add(1, Ordering::SeqCst);
            let seed = [(actor as u64).to_be_bytes(), number.to_be_bytes()].concat();
            chunk.copy_from_slice(&Sha256::digest(seed)[..chunk.len()]);
        }
    })
}

/// The store as the run sees it that is being advanced.
#[derive(Clone, Default)]
struct Replayed(Arc<Mutex<Arc<Mutex<Tape>>>>);

/// The replies to one run. At the first call that has none, the run is suspended.
#[derive(Default)]
struct Tape {
    replies: VecDeque<Reply>,
    now: u64,
    call: Option<Call>,
    waiting: Option<oneshot::Sender<Reply>>,
}

impl Tape {
    fn answer(&mut self, reply: Reply) {
        let waiting = self.waiting.take().expect("the run waits for a reply");
        assert!(waiting.send(reply).is_ok());
    }
}

impl Replayed {
    fn client(&self) -> DynamoDb {
        // Without time-outs, because lost responses stand for them; and without the limit that the SDK puts on the retries
        // of a whole process.
        let retries = RetryPartition::custom("model").token_bucket(TokenBucket::unlimited());
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(SharedHttpClient::new(self.clone()))
            .timeout_config(TimeoutConfig::disabled())
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
            .retry_partition(retries.build())
            .region(Region::new("local"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .endpoint_url("http://127.0.0.1")
            .build();
        DynamoDb::from_conf(config)
    }
}

impl std::fmt::Debug for Replayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Replayed")
    }
}

impl HttpClient for Replayed {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Replayed {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let shared = self.0.lock().unwrap().clone();
        let mut tape = shared.lock().unwrap();
        if let Some(reply) = tape.replies.pop_front() {
            tape.now = reply.now;
            return HttpConnectorFuture::ready(received(reply));
        }
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default();
        let request = serde_json::from_slice(body).unwrap();
        let (waiting, answered) = oneshot::channel();
        let other = tape.waiting.replace(waiting);
        assert!(other.is_none(), "two calls at the same time");
        tape.call = Some(Call { operation, request });
        drop(tape);
        HttpConnectorFuture::new(async move {
            let reply = answered
                .await
                .expect("a suspended run is continued or dropped");
            shared.lock().unwrap().now = reply.now;
            received(reply)
        })
    }
}

fn received(reply: Reply) -> Result<HttpResponse, ConnectorError> {
    let Some(response) = reply.response else {
        return Err(ConnectorError::timeout("the response was lost".into()));
    };
    let status = StatusCode::try_from(response.status).unwrap();
    let body = SdkBody::from(response.body.to_string());
    Ok(HttpResponse::new(status, body))
}
