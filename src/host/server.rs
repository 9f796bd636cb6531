//! The HTTP server of the local host. Connections are limited in number and in time, which `axum::serve` does not do.
//! When the program is asked to stop, what is under way may finish.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    num::NonZeroU16,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use futures_util::{Stream, StreamExt as _};
use http::{
    HeaderValue, Request,
    header::{CONNECTION, CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tower::ServiceExt as _;

use super::{
    idle::{IdleConnection, IdleConnections},
    timed_stream::{Requests, TimedStream},
};

/// How many connections there may be at a time, unless the command line says otherwise.
pub const DEFAULT_MAX_CONNECTIONS: NonZeroU16 = NonZeroU16::new(1024).unwrap();

/// How long responses under way may take to finish once the program was asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection stays open then on which the next request may be on its way.
const LAST_REQUEST_GRACE: Duration = Duration::from_millis(250);
/// How long a connection without a complete request may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long nothing is accepted after a failure, such as too many open files.
const ACCEPT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How many idle connections are closed then: calls need files too.
const CLOSED_AFTER_FAILURE: usize = 32;

/// Serves until `signals` has an item or ends. Then new connections are refused, idle ones closed unless a request arrives at
/// once, and `say` gets a sentence about what is still under way. That may take 30 seconds, unless `signals` has a second item.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: NonZeroU16,
    signals: impl Stream<Item = ()>,
    say: impl Fn(&str),
) {
    let mut signals = pin!(signals);
    let (stop, stopping) = watch::channel(false);
    let under_way = Arc::<UnderWay>::default();
    let mut connections = JoinSet::new();
    let mut places = Places::new(max_connections);
    let idle = places.idle.clone();
    let mut serve = |(stream, peer), place| {
        let server = Connection {
            router: router.clone(),
            peer,
            requests: Arc::default(),
            idle: Arc::new(IdleConnection::new(idle.clone())),
            under_way: under_way.clone(),
            stopping: stopping.clone(),
            _place: place,
        };
        connections.spawn(server.serve(stream));
        // The set keeps those that have ended until they are asked for.
        while connections.try_join_next().is_some() {}
    };
    let accepting = async {
        loop {
            let accepted = accept(&listener, &idle).await;
            serve(accepted, places.take().await);
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = signals.next() => {}
    }
    // Those in the system's queue are connected as far as their clients know. tokio would learn of the last ones later.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept()
            && let Some(place) = places.try_take()
            && stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            serve((stream, peer), place);
        }
    }
    let _ = stop.send(true);
    if let Some(what) = under_way.describe() {
        say(&format!("Finishing {what}; press Ctrl-C again to quit\n"));
    }
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = tokio::time::sleep(DRAIN_TIMEOUT) => {}
        Some(()) = signals.next() => {}
    }
}

/// The next connection. If the system refuses, idle ones are closed, and it is asked again.
async fn accept(listener: &TcpListener, idle: &IdleConnections) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // An event should not wait for the acknowledgement of the one before (Nagle's algorithm).
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            // It concerns one client, which is gone.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(
                    event = "accept_failed",
                    detail = %error,
                    "no connection can be accepted; idle ones are closed, and then it is tried again"
                );
                for _ in 0..CLOSED_AFTER_FAILURE {
                    idle.close_longest();
                }
                tokio::time::sleep(ACCEPT_RETRY_AFTER).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// The places for connections.
struct Places {
    free: Arc<Semaphore>,
    idle: Arc<IdleConnections>,
    max: NonZeroU16,
    /// Whether the log says already that all are taken.
    logged: bool,
}

impl Places {
    fn new(max: NonZeroU16) -> Self {
        Self {
            free: Arc::new(Semaphore::new(max.get().into())),
            idle: Arc::default(),
            max,
            logged: false,
        }
    }

    fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Waits for a free place. If there is none, the connection that has been idle longest is closed.
    async fn take(&mut self) -> OwnedSemaphorePermit {
        if let Some(place) = self.try_take() {
            self.logged = false;
            return place;
        }
        if !self.logged {
            tracing::warn!(
                event = "connections_full",
                max_connections = self.max,
                "there are as many connections as --max-connections allows; idle ones are closed, or new ones wait"
            );
        }
        self.logged = true;
        let mut place = pin!(self.free.clone().acquire_owned());
        loop {
            self.idle.close_longest();
            tokio::select! {
                place = place.as_mut() => return place.expect("the semaphore is never closed"),
                () = self.idle.more() => {}
            }
        }
    }
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    requests: Arc<Requests>,
    idle: Arc<IdleConnection>,
    under_way: Arc<UnderWay>,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let mut stopping = self.stopping.clone();
        let stream = TokioIo::new(TimedStream::new(stream, self.requests.clone()));
        let service = service_fn(|request| self.respond(request));
        let mut serving = pin!(
            http1::Builder::new()
                // See `TimedStream`: hyper's time-out would also close idle connections.
                .header_read_timeout(None)
                .serve_connection(stream, service)
        );
        loop {
            tokio::select! {
                // First, so that a request that has arrived counts.
                biased;
                _ = serving.as_mut() => return,
                () = self.idle.asked_to_close() => {
                    if !self.requests.unread() {
                        break;
                    }
                    self.idle.stays_open();
                }
                () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {
                    if timeout(LAST_REQUEST_GRACE, serving.as_mut()).await.is_ok() {
                        return;
                    }
                    break;
                }
            }
        }
        // The errors of a connection concern nobody but its client.
        serving.as_mut().graceful_shutdown();
        let is_busy = || self.requests.under_way() || self.requests.unread();
        // One that was asked to close is closed at once, because its place is wanted. hyper would wait for the rest of a first head.
        let patience = if *self.stopping.borrow() {
            CLOSE_TIMEOUT
        } else {
            Duration::ZERO
        };
        if !is_busy() && timeout(patience, serving.as_mut()).await.is_ok() {
            return;
        }
        // Also if a request has begun meanwhile.
        if is_busy() {
            let _ = serving.await;
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let mut counted = Counted::new(self);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let mut response = self.router.clone().oneshot(request).await?;
        if *self.stopping.borrow() {
            // No further request is sent on this connection then (RFC 9112 §9.6).
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        if content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")) {
            counted.becomes_stream();
        }
        Ok(response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                // Until the body is dropped.
                let _ = &counted;
                frame
            }))
        }))
    }
}

/// How many requests of all connections have no complete response yet.
#[derive(Default)]
struct UnderWay {
    requests: AtomicUsize,
    streams: AtomicUsize,
}

impl UnderWay {
    /// In words; `None` if there are none.
    fn describe(&self) -> Option<String> {
        let counted = |count: &AtomicUsize, what| match count.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(format!("1 {what}")),
            many => Some(format!("{many} {what}s")),
        };
        let counts = [
            counted(&self.requests, "request"),
            counted(&self.streams, "stream"),
        ];
        let counts: Vec<_> = counts.into_iter().flatten().collect();
        (!counts.is_empty()).then(|| counts.join(" and "))
    }
}

/// One request among those under way, until it is dropped with the body of its response.
struct Counted {
    under_way: Arc<UnderWay>,
    requests: Arc<Requests>,
    idle: Arc<IdleConnection>,
    is_stream: bool,
}

impl Counted {
    fn new(connection: &Connection) -> Self {
        connection.requests.begin();
        connection.idle.becomes_busy();
        connection
            .under_way
            .requests
            .fetch_add(1, Ordering::Relaxed);
        Self {
            under_way: connection.under_way.clone(),
            requests: connection.requests.clone(),
            idle: connection.idle.clone(),
            is_stream: false,
        }
    }

    fn count(&self) -> &AtomicUsize {
        if self.is_stream {
            &self.under_way.streams
        } else {
            &self.under_way.requests
        }
    }

    /// Its response is an event stream.
    fn becomes_stream(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
        self.is_stream = true;
        self.count().fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
        self.requests.end();
        self.idle.becomes_idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_said_in_the_right_number() {
        for (requests, streams, said) in [
            (0, 0, None),
            (0, 1, Some("1 stream")),
            (2, 0, Some("2 requests")),
            (1, 3, Some("1 request and 3 streams")),
        ] {
            let under_way = UnderWay {
                requests: requests.into(),
                streams: streams.into(),
            };
            assert_eq!(under_way.describe().as_deref(), said);
        }
    }
}
