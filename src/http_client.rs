//! The one HTTP client, for the upstream and for the AWS SDK: reqwest on rustls with ring and bundled root certificates.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    http::{
        HttpClient as SdkHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
        SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use http::HeaderMap;

use crate::clock::Clock;

/// A connection that was idle for this long is not used again: a request that crosses the other side's closing of it is
/// lost. While a function is frozen, it does not even notice the closing.
const IDLE_SECONDS_MAX: u64 = 30;
/// The same for an upstream that does not announce when it closes idle connections. Node, uvicorn and Apache do so after
/// 5 seconds.
const UPSTREAM_IDLE_SECONDS: u64 = 4;
/// A request that is sent so long before the announced closing still arrives in time.
const KEEP_ALIVE_MARGIN_SECONDS: u64 = 1;

/// A TLS client configuration: TLS 1.2 and 1.3, ring, Mozilla's root certificates compiled in.
#[must_use]
pub fn tls() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    tls_with_roots(roots)
}

/// The same with other root certificates. Tests use their own certificate authority.
///
/// # Panics
/// Never: ring supports these protocol versions.
#[must_use]
pub fn tls_with_roots(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client with a connection pool, which is replaced after a long time without a request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient(Arc<PooledClient>);

#[derive(Debug)]
struct PooledClient {
    tls: rustls::ClientConfig,
    clock: Clock,
    pool: Mutex<Pool>,
}

#[derive(Debug)]
struct Pool {
    client: reqwest::Client,
    last_used_at: u64,
    /// How long a connection may be idle.
    idle_seconds: u64,
    /// The shortest time that the other side has announced.
    announced_seconds: Option<u64>,
    /// How many pools there were before this one. A request that wants its pool dropped names it by this.
    generation: u64,
}

impl Pool {
    fn replace(&mut self, tls: &rustls::ClientConfig) {
        self.client = client(tls, self.idle_seconds);
        self.generation += 1;
    }
}

impl HttpClient {
    /// A client with its own connection pool.
    #[must_use]
    pub fn new(tls: rustls::ClientConfig, clock: Clock) -> Self {
        Self::with_idle_seconds(tls, clock, IDLE_SECONDS_MAX)
    }

    /// The same client with a connection pool for the upstream.
    #[must_use]
    pub fn for_upstream(&self) -> Self {
        let (tls, clock) = (self.0.tls.clone(), self.0.clock.clone());
        Self::with_idle_seconds(tls, clock, UPSTREAM_IDLE_SECONDS)
    }

    fn with_idle_seconds(tls: rustls::ClientConfig, clock: Clock, idle_seconds: u64) -> Self {
        let pool = Mutex::new(Pool {
            client: client(&tls, idle_seconds),
            last_used_at: clock.now(),
            idle_seconds,
            announced_seconds: None,
            generation: 0,
        });
        Self(Arc::new(PooledClient { tls, clock, pool }))
    }

    /// Reads in a response how long the other side keeps an idle connection, and uses none for longer. Of several
    /// announcements the shortest counts.
    pub fn heed_keep_alive(&self, response: &HeaderMap) {
        let Some(announced) = announced_seconds(response) else {
            return;
        };
        let mut pool = self.pool();
        if pool
            .announced_seconds
            .is_some_and(|known| known <= announced)
        {
            return;
        }
        pool.announced_seconds = Some(announced);
        let idle_seconds = announced.saturating_sub(KEEP_ALIVE_MARGIN_SECONDS);
        let idle_seconds = idle_seconds.min(IDLE_SECONDS_MAX);
        if pool.idle_seconds != idle_seconds {
            pool.idle_seconds = idle_seconds;
            pool.replace(&self.0.tls);
        }
    }

    /// The client to use now.
    #[must_use]
    pub fn client(&self) -> reqwest::Client {
        self.current().0
    }

    /// The client to use now, and its generation.
    fn current(&self) -> (reqwest::Client, u64) {
        let now = self.0.clock.now();
        let mut pool = self.pool();
        // Both are whole seconds: from a difference of `idle_seconds` on, it may have been longer.
        if now.abs_diff(pool.last_used_at) >= pool.idle_seconds.max(1) {
            pool.replace(&self.0.tls);
        }
        pool.last_used_at = now;
        (pool.client.clone(), pool.generation)
    }

    /// Replaces the pool if it is still the one in use. Requests that have begun keep their connections.
    fn drop_pool(&self, generation: u64) {
        let mut pool = self.pool();
        if pool.generation == generation {
            pool.replace(&self.0.tls);
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same client for the AWS SDK.
    #[must_use]
    pub fn for_sdk(&self) -> SharedHttpClient {
        SharedHttpClient::new(SdkClient(self.clone()))
    }
}

/// The time-out in a response's `Keep-Alive`, a header that servers send although RFC 9112 no longer describes it:
/// `timeout=5, max=100` (RFC 2068 §19.7.1.1).
fn announced_seconds(response: &HeaderMap) -> Option<u64> {
    let values = response.get_all("keep-alive").into_iter();
    let mut parameters = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| value.trim().parse().ok()).flatten()
    })
}

/// No redirects, no proxy from the environment, no decompression: bodies are passed on unchanged.
fn client(tls: &rustls::ClientConfig, idle_seconds: u64) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(idle_seconds))
        .pool_max_idle_per_host(if idle_seconds == 0 { 0 } else { usize::MAX })
        .tcp_nodelay(true)
        .build()
        .expect("a preconfigured TLS backend always builds")
}

#[derive(Clone, Debug)]
struct SdkClient(HttpClient);

impl SdkHttpClient for SdkClient {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // The SDK applies its own timeouts (operation, attempt) to each call.
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SdkClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, generation) = self.0.current();
        let http = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            // After a transient error the SDK wants a new connection for the next attempt. reqwest does not tell which
            // connection a response came over, so the whole pool is replaced.
            if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
                let metadata = ConnectionMetadata::builder()
                    .proxied(false)
                    .poison_fn(move || http.drop_pool(generation))
                    .build();
                capture.set_connection_retriever(move || Some(metadata.clone()));
            }
            let (parts, body) = request.into_parts();
            let request = http::Request::from_parts(parts, reqwest::Body::wrap(body));
            let request = reqwest::Request::try_from(request)
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client.execute(request).await.map_err(|error| {
                if error.is_timeout() || error.is_connect() {
                    ConnectorError::timeout(error.into())
                } else {
                    ConnectorError::io(error.into())
                }
            })?;
            let response = http::Response::from(response).map(SdkBody::from_body_1_x);
            HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_pool_that_was_used_is_dropped() {
        let http = HttpClient::new(tls(), Clock::from_fn(|| 1_800_000_000));
        let (_, first) = http.current();
        http.drop_pool(first);
        let (_, second) = http.current();
        assert_ne!(first, second);
        http.drop_pool(first);
        assert_eq!(http.current().1, second);
    }
}
