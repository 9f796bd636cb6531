//! Fetching a document from a URL that an attacker may have chosen.
//!
//! Resolve once → check every address → connect to a checked one → check the headers → read at most 5 KB; all of it
//! within the time limit.

use std::{
    error::Error,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{
    HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING},
};
use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect, retry,
};
use tokio::{net::lookup_host, sync::Semaphore, time::timeout};

use super::{
    address::is_public,
    document_url::DocumentUrl,
    error::FetchError,
    response::{self, Accepted, DOCUMENT_BYTES_MAX, Validators},
};

/// Tells the origin who sends the request. Nothing else about us is sent.
pub const USER_AGENT: &str = concat!("lambda-oauth-mcp-proxy/", env!("CARGO_PKG_VERSION"));
/// For a whole fetch, from name resolution to the last byte: a person is waiting for the page.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Fetches at a time. Each needs a connection and up to a few hundred KB, and anybody can cause them.
const FETCHES_MAX: usize = 8;

type LookupFn = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;
type PermitFn = dyn Fn(IpAddr) -> bool + Send + Sync;

/// What a fetch may connect to and how long it may take. Only tests use another than [`Policy::public`].
#[derive(Clone)]
pub struct Policy {
    lookup: Arc<LookupFn>,
    permits: Arc<PermitFn>,
    time_limit: Duration,
    at_once: usize,
}

impl Policy {
    /// The system's resolver, public addresses, port 443, five seconds, eight at once.
    #[must_use]
    pub fn public() -> Self {
        Self {
            lookup: Arc::new(|host| Box::pin(system_lookup(host))),
            permits: Arc::new(is_public),
            time_limit: FETCH_TIMEOUT,
            at_once: FETCHES_MAX,
        }
    }

    /// Another resolver. Fetches connect to the ports that it returns.
    #[must_use]
    pub fn with_lookup<L, F>(mut self, lookup: L) -> Self
    where
        L: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.lookup = Arc::new(move |host| Box::pin(lookup(host)));
        self
    }

    /// Other addresses. A forbidden address in the URL itself is still refused, by [`DocumentUrl`].
    #[must_use]
    pub fn permitting(mut self, permits: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        self.permits = Arc::new(permits);
        self
    }

    /// Another limit for a whole fetch.
    #[must_use]
    pub fn within(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// Another number of fetches at a time.
    #[must_use]
    pub fn at_once(mut self, at_once: usize) -> Self {
        self.at_once = at_once;
        self
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("time_limit", &self.time_limit)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

async fn system_lookup(host: String) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, 443)).await?.collect())
}

/// The result of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A document. Its content has not been checked.
    Fresh {
        /// UTF-8 text, presumably JSON.
        body: String,
        /// For the next fetch.
        validators: Validators,
        /// How long it is fresh.
        fresh_for: Duration,
    },
    /// The copy that the validators belong to is still valid.
    NotModified {
        /// How long it is fresh.
        fresh_for: Duration,
    },
}

/// Fetches documents. One per process, because it limits how many fetches run at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    tls: rustls::ClientConfig,
    policy: Policy,
    free: Arc<Semaphore>,
}

impl Fetcher {
    /// A fetcher for the public internet.
    #[must_use]
    pub fn new(tls: rustls::ClientConfig) -> Self {
        Self::with_policy(tls, Policy::public())
    }

    /// A fetcher with another policy, with which tests reach their own server.
    #[must_use]
    pub fn with_policy(mut tls: rustls::ClientConfig, policy: Policy) -> Self {
        // HTTP/1.1 and nothing else, declared in the handshake, so that no service with another protocol on that host
        // reads our request.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // No TLS session is kept: the hosts cannot recognize us and cannot fill a shared cache.
        tls.resumption = rustls::client::Resumption::disabled();
        let free = Arc::new(Semaphore::new(policy.at_once));
        Self { tls, policy, free }
    }

    /// Fetches a document (draft §4). With validators, the origin may respond that it is not modified.
    ///
    /// # Errors
    /// What is wrong with the host or its response. Errors must not be cached (draft §4.4).
    pub async fn fetch(
        &self,
        url: &DocumentUrl,
        validators: &Validators,
    ) -> Result<Fetched, FetchError> {
        // Refused rather than queued: anybody could fill the queue, and everybody would wait.
        let _permit = self.free.try_acquire().map_err(|_| FetchError::Busy)?;
        timeout(self.policy.time_limit, self.attempt(url, validators))
            .await
            .unwrap_or(Err(FetchError::TimedOut))
    }

    async fn attempt(
        &self,
        url: &DocumentUrl,
        validators: &Validators,
    ) -> Result<Fetched, FetchError> {
        let addresses = self.checked_addresses(url).await?;
        let conditions = validators.conditions();
        let conditional = !conditions.is_empty();
        let response = self
            .client(addresses)
            .get(url.url().clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .headers(conditions)
            .send()
            .await
            .map_err(|error| classify(&error))?;

        let fresh_for = response::fresh_for(response.headers());
        match response::check(response.status(), response.headers(), conditional)? {
            Accepted::NotModified => Ok(Fetched::NotModified { fresh_for }),
            Accepted::Document => Ok(Fetched::Fresh {
                validators: Validators::of(response.headers()),
                body: read_body(response).await?,
                fresh_for,
            }),
        }
    }

    /// The addresses of a host, resolved once and all checked. If one is forbidden, all are: legitimate hosts have none,
    /// and we do not choose which one the connection is made to.
    async fn checked_addresses(&self, url: &DocumentUrl) -> Result<Vec<SocketAddr>, FetchError> {
        let addresses = match url.ip_address() {
            Some(address) => vec![SocketAddr::new(address, 443)],
            None => (self.policy.lookup)(url.host().to_owned())
                .await
                .map_err(|_| FetchError::NoPublicAddress)?,
        };
        if addresses.is_empty() || !addresses.iter().all(|at| (self.policy.permits)(at.ip())) {
            return Err(FetchError::NoPublicAddress);
        }
        Ok(addresses)
    }

    /// A client for one fetch, which connects to these addresses without resolving a name. Its connection is never used
    /// again, so the addresses of each fetch are checked.
    ///
    /// # Panics
    /// Never: a preconfigured TLS backend always builds.
    fn client(&self, addresses: Vec<SocketAddr>) -> Client {
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(FixedResolver(addresses))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .https_only(true)
            .http1_only()
            .referer(false)
            .pool_max_idle_per_host(0)
            .user_agent(USER_AGENT)
            .build()
            .expect("a preconfigured TLS backend always builds")
    }
}

/// A resolver that returns these addresses for every name, so that the name is not resolved again after the check.
struct FixedResolver(Vec<SocketAddr>);

impl Resolve for FixedResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Reads a body and counts its bytes: the announced length may be missing or wrong.
async fn read_body(mut response: Response) -> Result<String, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::Incomplete)? {
        if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| FetchError::NotUtf8)
}

fn classify(error: &reqwest::Error) -> FetchError {
    if is_invalid_certificate(error) {
        FetchError::Untrusted
    } else if error.is_connect() {
        FetchError::Unreachable
    } else {
        FetchError::Incomplete
    }
}

/// Whether one of the causes is a certificate. I/O errors do not return what they wrap from `source()`.
fn is_invalid_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return matches!(
                error,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
            );
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}
