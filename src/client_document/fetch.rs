//! Fetching a document from wherever a stranger points, safely.
//!
//! Resolve once → judge every address → connect to a judged one → judge the head → read a little → done in time.

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
    answer::{self, Head, LONGEST_BODY, Validators},
    document_url::DocumentUrl,
    error::FetchError,
};

/// Neither cookies nor anything else about us goes out; this lets an origin know who asks.
/// How this program introduces itself to the origins of documents.
pub const USER_AGENT: &str = concat!("lambda-oauth-mcp-proxy/", env!("CARGO_PKG_VERSION"));
/// For a whole fetch, from the lookup to the last byte: a person waits for the page.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Fetches at a time. Each holds a connection and at most some hundred KB, while strangers decide how many come.
const AT_ONCE: usize = 8;

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;
type Permit = dyn Fn(IpAddr) -> bool + Send + Sync;

/// Where a fetch may go and how long it may take. Only tests have one that differs from [`Policy::public`].
#[derive(Clone)]
pub struct Policy {
    lookup: Arc<Lookup>,
    permits: Arc<Permit>,
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
            time_limit: TIME_LIMIT,
            at_once: AT_ONCE,
        }
    }

    /// Another resolver. The ports that it answers with are connected to.
    #[must_use]
    pub fn with_lookup<L, F>(mut self, lookup: L) -> Self
    where
        L: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.lookup = Arc::new(move |host| Box::pin(lookup(host)));
        self
    }

    /// Other addresses. A forbidden address written in the URL itself stays refused: [`DocumentUrl`] does that.
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

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A document, not yet read: what it says is judged elsewhere.
    Fresh {
        /// UTF-8 text, presumably JSON.
        body: String,
        /// For the next fetch.
        validators: Validators,
        /// How long not to ask again.
        fresh_for: Duration,
    },
    /// The copy that the validators came from still holds.
    NotModified {
        /// How long not to ask again.
        fresh_for: Duration,
    },
}

/// Fetches documents. One per process: it counts what is under way. Cheap to clone.
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

    /// A fetcher with another policy: the seam through which tests reach a server of theirs.
    #[must_use]
    pub fn with_policy(mut tls: rustls::ClientConfig, policy: Policy) -> Self {
        // HTTP/1.1 and nothing else, and said in the handshake, so that no other service of that host takes us
        // for a client of its own.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // No session outlives its fetch: strangers' hosts neither recognise us nor fill a shared cache.
        tls.resumption = rustls::client::Resumption::disabled();
        let free = Arc::new(Semaphore::new(policy.at_once));
        Self { tls, policy, free }
    }

    /// Fetches a document (draft §4). With validators, the origin may answer that nothing changed.
    ///
    /// # Errors
    /// Whatever is wrong with the host or its answer. Errors are not to be kept (draft §4.4).
    pub async fn fetch(
        &self,
        url: &DocumentUrl,
        validators: &Validators,
    ) -> Result<Fetched, FetchError> {
        // Refused rather than queued: a queue that strangers fill makes everyone wait.
        let _place = self.free.try_acquire().map_err(|_| FetchError::Busy)?;
        timeout(self.policy.time_limit, self.attempt(url, validators))
            .await
            .unwrap_or(Err(FetchError::TimedOut))
    }

    async fn attempt(
        &self,
        url: &DocumentUrl,
        validators: &Validators,
    ) -> Result<Fetched, FetchError> {
        let addresses = self.judged_addresses(url).await?;
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
            .map_err(|error| sort(&error))?;

        let fresh_for = answer::fresh_for(response.headers());
        match answer::judge(response.status(), response.headers(), conditional)? {
            Head::NotModified => Ok(Fetched::NotModified { fresh_for }),
            Head::Document => Ok(Fetched::Fresh {
                validators: Validators::of(response.headers()),
                body: read_body(response).await?,
                fresh_for,
            }),
        }
    }

    /// The addresses of a host, asked for once, each judged. One forbidden address condemns all: honest hosts have
    /// none, and which one a connection ends at is not ours to choose.
    async fn judged_addresses(&self, url: &DocumentUrl) -> Result<Vec<SocketAddr>, FetchError> {
        let addresses = match url.literal() {
            Some(address) => vec![SocketAddr::new(address, 443)],
            None => (self.policy.lookup)(url.host().to_owned())
                .await
                .map_err(|_| FetchError::Unresolved)?,
        };
        if addresses.is_empty() {
            return Err(FetchError::Unresolved);
        }
        if !addresses.iter().all(|at| (self.policy.permits)(at.ip())) {
            return Err(FetchError::Forbidden);
        }
        Ok(addresses)
    }

    /// A client for one fetch, which knows these addresses and no resolver. Its connection is never used again, so
    /// each fetch is judged anew.
    ///
    /// # Panics
    /// Never: a preconfigured TLS backend always builds.
    fn client(&self, addresses: Vec<SocketAddr>) -> Client {
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Judged(addresses))
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

/// A resolver that knows one answer, whatever it is asked: between check and use there is no second lookup.
struct Judged(Vec<SocketAddr>);

impl Resolve for Judged {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Reads a body, counting: its announced length may be missing or a lie.
async fn read_body(mut response: Response) -> Result<String, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::Broken)? {
        if body.len() + chunk.len() > LONGEST_BODY {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| FetchError::NotUtf8)
}

fn sort(error: &reqwest::Error) -> FetchError {
    if is_distrust(error) {
        FetchError::Untrusted
    } else if error.is_connect() {
        FetchError::Unreachable
    } else {
        FetchError::Broken
    }
}

/// Whether the reason, somewhere below, is a certificate. I/O errors hide what they wrap from `source()`.
fn is_distrust(error: &(dyn Error + 'static)) -> bool {
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
