//! The Runtime API, exactly: one invocation at a time, real deadlines, and everything that is sent kept as it came.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
};

/// What separates the prelude from the body.
const SEPARATOR: [u8; 8] = [0; 8];

/// What the function sends for one invocation, in order.
#[derive(Debug)]
enum Sent {
    Head(HeaderMap),
    Data(Bytes, Instant),
    #[expect(dead_code, reason = "shown when a test fails, as the next")]
    Trailers(HeaderMap),
    End,
    /// `/error` instead of `/response`.
    #[expect(dead_code, reason = "shown when a test fails")]
    Error(String),
}

struct Invocation {
    id: String,
    event: String,
    deadline_ms: u64,
    sent: mpsc::UnboundedSender<Sent>,
}

struct Shared {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// Taken by a GET for the next invocation, given back when that is answered.
    current: Mutex<Option<Invocation>>,
    polled: watch::Sender<u64>,
    out_of_turn: AtomicBool,
}

/// The API, listening until it is dropped.
pub struct RuntimeApi {
    pub address: SocketAddr,
    queue: mpsc::UnboundedSender<Invocation>,
    shared: Arc<Shared>,
    numbers: AtomicU64,
    task: JoinHandle<()>,
}

impl RuntimeApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (queue, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            current: Mutex::default(),
            polled: watch::channel(0).0,
            out_of_turn: AtomicBool::new(false),
        });
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            queue,
            shared,
            numbers: AtomicU64::new(1),
            task,
        }
    }

    /// Resolves when the function has asked for an invocation so many times.
    pub async fn polled(&self, times: u64) {
        let mut polled = self.shared.polled.subscribe();
        polled.wait_for(|seen| *seen >= times).await.unwrap();
    }

    /// Queues an event for a function that may run for so long; `None` is a deadline in 1970.
    pub fn invoke(&self, event: &Value, runs: Option<Duration>) -> Call {
        let (sent, arriving) = mpsc::unbounded_channel();
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let id = format!("10000000-0000-4000-8000-{number:012}");
        #[expect(clippy::disallowed_methods, reason = "real deadlines are wanted here")]
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let deadline_ms = runs.map_or(0, |runs| u64::try_from((now + runs).as_millis()).unwrap());
        let invocation = Invocation {
            id: id.clone(),
            event: event.to_string(),
            deadline_ms,
            sent,
        };
        self.queue.send(invocation).ok().unwrap();
        Call {
            id,
            arriving,
            started: Instant::now(),
            // What Lambda would cut.
            killed_at: runs.map(|runs| tokio::time::Instant::now() + runs),
            raw: Vec::new(),
            ended: false,
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
        let out_of_turn = self.shared.out_of_turn.load(Ordering::SeqCst);
        assert!(
            std::thread::panicking() || !out_of_turn,
            "the function broke the order of the Runtime API"
        );
    }
}

/// An invocation under way.
pub struct Call {
    pub id: String,
    arriving: mpsc::UnboundedReceiver<Sent>,
    started: Instant,
    killed_at: Option<tokio::time::Instant>,
    /// What has come and was not read yet.
    raw: Vec<u8>,
    ended: bool,
}

/// What stands before the body.
#[derive(Debug)]
pub struct Prelude {
    pub status: u16,
    pub headers: Value,
    pub cookies: Vec<String>,
}

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    pub prelude: Prelude,
    pub body: Bytes,
    /// From the invocation to the end.
    pub took: Duration,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Call {
    async fn next(&mut self) -> Sent {
        let next = self.arriving.recv();
        let sent = match self.killed_at {
            Some(at) => tokio::time::timeout_at(at, next)
                .await
                .expect("Task timed out"),
            None => next.await,
        };
        sent.expect("the function is gone")
    }

    /// The head, which must be that of a streamed answer, and the prelude.
    pub async fn prelude(&mut self) -> Prelude {
        let headers = match self.next().await {
            Sent::Head(headers) => headers,
            other => panic!("{other:?}"),
        };
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(header("lambda-runtime-function-response-mode"), "streaming");
        assert_eq!(header("transfer-encoding"), "chunked");
        assert_eq!(
            header("content-type"),
            "application/vnd.awslambda.http-integration-response"
        );
        loop {
            let end = self.raw.windows(8).position(|bytes| bytes == SEPARATOR);
            if let Some(end) = end {
                let rest = self.raw.split_off(end + SEPARATOR.len());
                let prelude = std::mem::replace(&mut self.raw, rest);
                let prelude: Value = serde_json::from_slice(&prelude[..end]).unwrap();
                for (name, value) in prelude["headers"].as_object().unwrap() {
                    assert!(value.is_string(), "{name}: {value}");
                }
                return Prelude {
                    status: prelude["statusCode"].as_u64().unwrap().try_into().unwrap(),
                    headers: prelude["headers"].clone(),
                    cookies: serde_json::from_value(prelude["cookies"].clone()).unwrap(),
                };
            }
            match self.next().await {
                Sent::Data(data, _) => self.raw.extend_from_slice(&data),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next piece of the body, with the time since the invocation; `None` at an orderly end. An error in the
    /// trailers is a fault of ours: nothing may reach the runtime as an error.
    pub async fn chunk(&mut self) -> Option<(Bytes, Duration)> {
        if !self.raw.is_empty() {
            return Some((std::mem::take(&mut self.raw).into(), self.started.elapsed()));
        }
        if self.ended {
            return None;
        }
        match self.next().await {
            Sent::Data(data, at) => Some((data, at - self.started)),
            Sent::End => {
                self.ended = true;
                None
            }
            other => panic!("{other:?}"),
        }
    }

    /// The time since the invocation.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Everything.
    pub async fn answer(mut self) -> Answer {
        let prelude = self.prelude().await;
        let mut body = Vec::new();
        while let Some((data, _)) = self.chunk().await {
            body.extend_from_slice(&data);
        }
        Answer {
            prelude,
            body: body.into(),
            took: self.started.elapsed(),
        }
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(path) = path.strip_prefix("/2018-06-01/runtime/invocation/") else {
        shared.out_of_turn.store(true, Ordering::SeqCst);
        return StatusCode::NOT_FOUND.into_response();
    };
    match (request.method(), path.split_once('/')) {
        (&Method::GET, None) if path == "next" => next(&shared).await,
        (&Method::POST, Some((id, what))) => answered(&shared, id, what, request).await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Blocks until there is an event.
async fn next(shared: &Shared) -> Response {
    if shared.current.lock().await.is_some() {
        shared.out_of_turn.store(true, Ordering::SeqCst);
        return StatusCode::FORBIDDEN.into_response();
    }
    shared.polled.send_modify(|times| *times += 1);
    let Some(invocation) = shared.waiting.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let headers = [
        ("lambda-runtime-aws-request-id", invocation.id.clone()),
        (
            "lambda-runtime-deadline-ms",
            invocation.deadline_ms.to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:proxy".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    let event = invocation.event.clone();
    *shared.current.lock().await = Some(invocation);
    (headers, event).into_response()
}

/// Takes an answer as it comes.
async fn answered(shared: &Shared, id: &str, what: &str, request: Request) -> Response {
    let sent = match &*shared.current.lock().await {
        Some(current) if current.id == id => current.sent.clone(),
        _ => {
            shared.out_of_turn.store(true, Ordering::SeqCst);
            return StatusCode::BAD_REQUEST.into_response();
        }
    };
    let (parts, body) = request.into_parts();
    if what == "response" {
        let _ = sent.send(Sent::Head(parts.headers));
        pass(body, &sent).await;
    } else {
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let _ = sent.send(Sent::Error(String::from_utf8_lossy(&body).into_owned()));
    }
    *shared.current.lock().await = None;
    StatusCode::ACCEPTED.into_response()
}

async fn pass(mut body: Body, sent: &mpsc::UnboundedSender<Sent>) {
    while let Some(frame) = body.frame().await {
        // A body that breaks off is a function that died: the end is never sent.
        let Ok(frame) = frame else { return };
        let _ = sent.send(match frame.into_data() {
            Ok(data) => Sent::Data(data, Instant::now()),
            Err(frame) => Sent::Trailers(frame.into_trailers().unwrap_or_default()),
        });
    }
    let _ = sent.send(Sent::End);
}
