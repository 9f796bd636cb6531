//! The Runtime API, exactly: one invocation at a time, real deadlines, and everything that is sent is kept unchanged.
//!
//! In front of it is a Function URL that does what AWS is reported to do (tests/e2e/lib/functionurl.mjs has the
//! reports). So every response that a test reads is checked against these rules, because the client of one that breaks them would wait
//! forever or get a 502: its body is not empty, its prelude is one small JSON object of strings without
//! `content-length`, in the first chunk as a whole, and the error trailers are declared.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};

use crate::lambda::http1::{Connection, Part, RequestHead};

/// What separates the prelude from the body.
const SEPARATOR: [u8; 8] = [0; 8];
/// Prelude and separator must end within this. (API Gateway documents it for response streaming.)
const PRELUDE_LIMIT_BYTES: usize = 16 * 1024;
/// The trailers that report a stream which was cut off (AWS, "Building a custom runtime", response streaming).
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// What the function sends for one invocation, in order.
#[derive(Debug)]
enum Sent {
    Head(HeaderMap),
    /// One chunk, when it came, and whether it came in one read.
    Chunk(Bytes, Instant, bool),
    /// The end, with its trailers.
    End(HeaderMap),
    /// `/error` instead of `/response`.
    #[expect(dead_code, reason = "shown when a test fails")]
    Error(String),
}

struct Invocation {
    id: String,
    event: Vec<u8>,
    deadline_ms: u64,
    sent: mpsc::UnboundedSender<Sent>,
}

struct Shared {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// The current invocation: its id, and where to put its response.
    current: Mutex<Option<(String, mpsc::UnboundedSender<Sent>)>>,
    polled: watch::Sender<u64>,
    out_of_turn: AtomicBool,
}

/// The API, listening until it is dropped.
pub struct RuntimeApi {
    pub address: SocketAddr,
    queue: mpsc::UnboundedSender<Invocation>,
    shared: Arc<Shared>,
    numbers: AtomicU64,
    _accepting: JoinSet<()>,
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
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, shared.clone()));
        Self {
            address,
            queue,
            shared,
            numbers: AtomicU64::new(1),
            _accepting: accepting,
        }
    }

    /// Resolves when the function has asked for an invocation this many times.
    pub async fn polled(&self, times: u64) {
        let mut polled = self.shared.polled.subscribe();
        polled.wait_for(|seen| *seen >= times).await.unwrap();
    }

    /// Queues an event with this time until the deadline; `None` is a deadline in 1970.
    pub fn invoke(&self, event: &Value, runs: Option<Duration>) -> Call {
        self.invoke_with(event.to_string().into_bytes(), runs)
    }

    /// The same with an event that need not be JSON.
    pub fn invoke_with(&self, event: Vec<u8>, runs: Option<Duration>) -> Call {
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
            event,
            deadline_ms,
            sent,
        };
        self.queue.send(invocation).ok().unwrap();
        Call {
            id,
            arriving,
            started: Instant::now(),
            // Lambda would end the invocation then.
            killed_at: runs.map(|runs| tokio::time::Instant::now() + runs),
            rest: Bytes::new(),
            body_bytes: 0,
            ended: None,
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        let out_of_turn = self.shared.out_of_turn.load(Ordering::SeqCst);
        assert!(
            std::thread::panicking() || !out_of_turn,
            "the function broke the order of the Runtime API"
        );
    }
}

/// An invocation that is running.
pub struct Call {
    pub id: String,
    arriving: mpsc::UnboundedReceiver<Sent>,
    started: Instant,
    killed_at: Option<tokio::time::Instant>,
    /// The body's bytes in the first chunk, until they are read.
    rest: Bytes,
    /// How much of the body was read.
    body_bytes: usize,
    /// The trailers, once it has ended.
    ended: Option<HeaderMap>,
}

/// What comes before the body.
#[derive(Debug)]
pub struct Prelude {
    pub status: u16,
    pub headers: Value,
    pub cookies: Vec<String>,
    /// Whether the first bytes of the body were in the same chunk.
    pub with_body: bool,
}

/// How the trailers report a stream that was cut off.
#[derive(Debug)]
pub struct CutOff {
    pub error_type: String,
    pub body: Value,
}

/// A response read to its end.
#[derive(Debug)]
pub struct Response {
    pub prelude: Prelude,
    pub body: Bytes,
    /// From the invocation to the end.
    pub took: Duration,
}

impl Response {
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

    /// The head, which must be that of a streamed response, and the prelude.
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
        let declared: Vec<_> = headers
            .get_all("trailer")
            .iter()
            .flat_map(|value| value.to_str().unwrap().split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        for name in [ERROR_TYPE, ERROR_BODY] {
            assert!(declared.iter().any(|one| one == name), "{headers:?}");
        }
        let (mut first, in_one_read) = match self.next().await {
            Sent::Chunk(data, _, in_one_read) => (data, in_one_read),
            other => panic!("{other:?}"),
        };
        let end = first.windows(8).position(|bytes| bytes == SEPARATOR);
        let end = end.expect("the first chunk holds prelude and separator");
        assert!(in_one_read, "the first chunk came in several packets");
        assert!(end + SEPARATOR.len() <= PRELUDE_LIMIT_BYTES, "{end} bytes");
        self.rest = first.split_off(end + SEPARATOR.len());
        let prelude: Value = serde_json::from_slice(&first[..end]).unwrap();
        for (name, value) in prelude["headers"].as_object().unwrap() {
            assert!(value.is_string(), "{name}: {value}");
            assert!(!name.eq_ignore_ascii_case("content-length"), "{value}");
        }
        Prelude {
            status: prelude["statusCode"].as_u64().unwrap().try_into().unwrap(),
            headers: prelude["headers"].clone(),
            cookies: serde_json::from_value(prelude["cookies"].clone()).unwrap(),
            with_body: !self.rest.is_empty(),
        }
    }

    /// The next chunk of the body, with the time since the invocation; `None` at an orderly end.
    pub async fn chunk(&mut self) -> Option<(Bytes, Duration)> {
        let chunk = self.chunk_or_end().await;
        if chunk.is_none() {
            assert_eq!(self.ended, Some(HeaderMap::new()), "the stream was cut off");
        }
        chunk
    }

    /// Reads a stream to its end, which must be one that the trailers report as cut off.
    pub async fn cut_off(&mut self) -> (String, CutOff) {
        let mut text = String::new();
        while let Some((data, _)) = self.chunk_or_end().await {
            text += std::str::from_utf8(&data).unwrap();
        }
        let trailers = self.ended.as_ref().unwrap();
        let trailer = |name| {
            trailers
                .get(name)
                .expect("error trailers")
                .to_str()
                .unwrap()
        };
        let body = STANDARD.decode(trailer(ERROR_BODY)).unwrap();
        let report = CutOff {
            error_type: trailer(ERROR_TYPE).to_owned(),
            body: serde_json::from_slice(&body).unwrap(),
        };
        (text, report)
    }

    async fn chunk_or_end(&mut self) -> Option<(Bytes, Duration)> {
        let (data, at) = if !self.rest.is_empty() {
            (std::mem::take(&mut self.rest), Instant::now())
        } else if self.ended.is_some() {
            return None;
        } else {
            match self.next().await {
                Sent::Chunk(data, at, _) => (data, at),
                Sent::End(trailers) => {
                    assert!(self.body_bytes > 0, "the body is empty");
                    self.ended = Some(trailers);
                    return None;
                }
                other => panic!("{other:?}"),
            }
        };
        self.body_bytes += data.len();
        Some((data, at - self.started))
    }

    /// The time since the invocation.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Everything.
    pub async fn response(mut self) -> Response {
        let prelude = self.prelude().await;
        let mut body = Vec::new();
        while let Some((data, _)) = self.chunk().await {
            body.extend_from_slice(&data);
        }
        Response {
            prelude,
            body: body.into(),
            took: self.started.elapsed(),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and they with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            // A broken connection means that the function exited: whoever waits for its response sees that.
            let _ = serve(Connection::new(stream), &shared).await;
        });
    }
}

async fn serve(mut connection: Connection, shared: &Shared) -> io::Result<()> {
    while let Some(request) = connection.request().await? {
        let path = request
            .path
            .strip_prefix("/2018-06-01/runtime/invocation/")
            .unwrap_or_default();
        let in_turn = match (&request.method, path.split_once('/')) {
            (&Method::GET, None) if path == "next" => next(shared, &mut connection).await?,
            (&Method::POST, Some((id, what))) => {
                take(shared, id, what, &request, &mut connection).await?
            }
            _ => false,
        };
        if !in_turn {
            shared.out_of_turn.store(true, Ordering::SeqCst);
            return connection.respond(403, &[], b"").await;
        }
    }
    Ok(())
}

/// Blocks until there is an event. `false` when the function has one already.
async fn next(shared: &Shared, connection: &mut Connection) -> io::Result<bool> {
    if shared.current.lock().await.is_some() {
        return Ok(false);
    }
    shared.polled.send_modify(|times| *times += 1);
    let mut waiting = shared.waiting.lock().await;
    let invocation = tokio::select! {
        invocation = waiting.recv() => invocation,
        closed = connection.closed() => return closed.map(|()| true),
    };
    let Some(invocation) = invocation else {
        return Ok(true);
    };
    *shared.current.lock().await = Some((invocation.id.clone(), invocation.sent));
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", &invocation.id),
        (
            "lambda-runtime-deadline-ms",
            &invocation.deadline_ms.to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:proxy",
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000",
        ),
    ];
    connection.respond(200, &headers, &invocation.event).await?;
    Ok(true)
}

/// Takes a response as it comes. `false` when nobody waits for it.
async fn take(
    shared: &Shared,
    id: &str,
    what: &str,
    request: &RequestHead,
    connection: &mut Connection,
) -> io::Result<bool> {
    let sent = match &*shared.current.lock().await {
        Some((current, sent)) if current == id => sent.clone(),
        _ => return Ok(false),
    };
    if what == "response" {
        let _ = sent.send(Sent::Head(request.headers.clone()));
        loop {
            match connection.part().await? {
                Part::Chunk { data, in_one_read } => {
                    let _ = sent.send(Sent::Chunk(data, Instant::now(), in_one_read));
                }
                Part::End(trailers) => {
                    let _ = sent.send(Sent::End(trailers));
                    break;
                }
            }
        }
    } else {
        let length = request.headers.get("content-length");
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let body = connection.exactly(length.unwrap_or(0)).await?;
        let _ = sent.send(Sent::Error(String::from_utf8_lossy(&body).into_owned()));
    }
    *shared.current.lock().await = None;
    connection.respond(202, &[], b"").await?;
    Ok(true)
}
