//! An upstream that records every request and responds as the test says.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    serve::Listener,
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::{net::TcpListener, task::JoinHandle};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = dyn Fn(&Recorded) -> Response + Send + Sync;

/// The upstream, listening until it is dropped.
pub struct Recorder {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    requests: Mutex<Vec<Recorded>>,
    script: Mutex<Arc<Script>>,
    silent: AtomicBool,
}

impl Recorder {
    /// Responds to every request with 200 and a small JSON-RPC result, unless the test sets something else.
    pub async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The same on a listener of the caller's choice.
    pub fn start_on(listener: impl Listener<Addr = SocketAddr>) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            script: Mutex::new(Arc::new(|_: &Recorded| {
                let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
                ([("content-type", "application/json")], body).into_response()
            })),
            silent: AtomicBool::new(false),
        });
        let router = Router::new().fallback(respond).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            shared,
            task,
        }
    }

    pub fn responds(&self, script: impl Fn(&Recorded) -> Response + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// From now on, receives requests and responds to none.
    #[allow(dead_code, reason = "only the tests of Lambda need it")]
    pub fn falls_silent(&self) {
        self.shared.silent.store(true, Ordering::SeqCst);
    }

    /// Responds to every request with this.
    pub fn responds_with(
        &self,
        status: u16,
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
    ) {
        self.responds(move |_| {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().append(*name, value.parse().unwrap());
            }
            response
        });
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The last request so far.
    #[allow(dead_code, reason = "only the tests over HTTP need it")]
    pub fn last(&self) -> Option<Recorded> {
        self.shared.requests.lock().unwrap().last().cloned()
    }

    /// The only request so far.
    pub fn only_request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.into_iter().next().unwrap()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let recorded = Recorded {
        method: parts.method,
        target: parts.uri.path_and_query().unwrap().to_string(),
        headers: parts.headers,
        body: to_bytes(body, usize::MAX).await.unwrap_or_default(),
    };
    shared.requests.lock().unwrap().push(recorded.clone());
    if shared.silent.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let script = shared.script.lock().unwrap().clone();
    script(&recorded)
}
