//! What every endpoint is given.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    bucket::Buckets, client_document::Fetcher, clock::Clock, config::Config,
    credential::Randomness, oauth::resource::BaseUrl, secrets::Secrets, store::Store,
    upstream::Upstream,
};

/// The application: configuration and everything that acts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    /// The configuration, read once.
    pub config: Arc<Config>,
    /// DynamoDB.
    pub store: Store,
    /// The MCP server behind us.
    pub upstream: Upstream,
    /// Fetches client-id documents.
    pub documents: Fetcher,
    /// How often who makes us write.
    pub strangers: Buckets,
    /// The upstream's credential and the PIN.
    pub secrets: Secrets,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub randomness: Randomness,
}

impl App {
    /// Every base URL that is ours at this request.
    pub fn bases<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a BaseUrl> + Clone {
        let configured = self
            .config
            .base_url
            .iter()
            .chain(&self.config.also_base_urls);
        std::iter::once(&caller.base)
            .chain(&caller.aliases)
            .chain(configured)
    }
}

/// Who calls, and under which name: what the host knows of a request and no client can choose.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Our origin for this request.
    pub base: BaseUrl,
    /// Further names of the same origin: the three spellings of a loopback listener.
    pub aliases: Vec<BaseUrl>,
    /// The caller's address, if it is known.
    pub address: Option<IpAddr>,
    /// The id that log lines and error pages share.
    pub request_id: String,
    /// When the host will end this request, if it will.
    pub deadline: Option<Instant>,
}

impl Caller {
    /// The address as text for logs and records.
    #[must_use]
    pub fn address_text(&self) -> String {
        self.address.map_or_else(
            || "unknown".to_owned(),
            |address| address.to_canonical().to_string(),
        )
    }

    /// How long a stream may last here: until `margin` before the deadline.
    #[must_use]
    pub fn ends_at(&self, margin: Duration) -> Option<Instant> {
        self.deadline
            .and_then(|deadline| deadline.checked_sub(margin))
    }
}
