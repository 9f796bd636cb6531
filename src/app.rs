//! The state that every endpoint gets.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    background::Background,
    client_document::Fetcher,
    clock::Clock,
    config::Config,
    credential::Randomness,
    http_client::HttpClient,
    oauth::resource::BaseUrl,
    secrets::Secrets,
    store::{DynamoDb, Store},
    upstream::Upstream,
    write_limits::{self, WriteLimits},
};

/// The application: its configuration and the services that it uses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    /// The configuration, read once.
    pub config: Arc<Config>,
    /// The store, in DynamoDB.
    pub store: Store,
    /// The MCP server to which requests are forwarded.
    pub upstream: Upstream,
    /// Fetches client-id documents.
    pub documents: Fetcher,
    /// Limits on how often an IP address can cause writes.
    pub write_limits: WriteLimits,
    /// Work that no response waits for.
    pub background: Background,
    /// The credential of the upstream, and the PIN.
    pub secrets: Secrets,
    /// The clock.
    pub clock: Clock,
    /// The source of every random value.
    pub randomness: Randomness,
}

impl App {
    /// Assembles the application. `http_client` is for the upstream. `documents` has an HTTP client of its own, because it
    /// fetches URLs that strangers choose.
    #[must_use]
    pub fn new(
        config: Config,
        dynamodb: DynamoDb,
        http_client: HttpClient,
        documents: Fetcher,
        secrets: Secrets,
        clock: Clock,
        randomness: Randomness,
    ) -> Self {
        Self {
            store: Store::new(dynamodb, config.table_name.clone(), randomness.clone()),
            upstream: Upstream::new(&http_client, config.upstream.clone()),
            documents,
            background: Background::default(),
            write_limits: WriteLimits::new(write_limits::PER_ADDRESS),
            secrets,
            clock,
            randomness,
            config: Arc::new(config),
        }
    }

    /// Every base URL of this server that is valid for this request.
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

/// What the host knows about the sender and the origin of a request. Clients cannot choose any of it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The origin of this server for this request.
    pub base: BaseUrl,
    /// Other names of the same origin: the three spellings of a loopback address.
    pub aliases: Vec<BaseUrl>,
    /// The caller's IP address, if known.
    pub address: Option<IpAddr>,
    /// The request id, in log lines and on error pages.
    pub request_id: String,
    /// When the host ends this request, if it has a limit.
    pub deadline: Option<Instant>,
}

impl Caller {
    /// The IP address as text, for logs and records.
    #[must_use]
    pub fn address_text(&self) -> String {
        self.address.map_or_else(
            || "unknown".to_owned(),
            |address| address.to_canonical().to_string(),
        )
    }

    /// When a stream must end: `margin` before the deadline.
    #[must_use]
    pub fn ends_at(&self, margin: Duration) -> Option<Instant> {
        self.deadline
            .and_then(|deadline| deadline.checked_sub(margin))
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::http::SharedHttpClient;

    use super::*;
    use crate::{
        config::HostKind,
        credential::SecretString,
        http_client::tls,
        pin::Pin,
        secrets::{PreRegistered, Secret, TokenForm},
    };

    /// Part of every secret in this test.
    const SECRET: &str = "hunter2hunter2";

    #[test]
    fn nothing_that_endpoints_are_given_prints_a_secret() {
        let config = Config::read(HostKind::Local, |name| match name {
            "UPSTREAM_MCP" => Some(format!("https://mcp.example.com/mcp?key={SECRET}")),
            "UPSTREAM_HEADERS" => Some(format!(r#"{{"X-Key":"{SECRET}"}}"#)),
            _ => None,
        })
        .unwrap();
        let pinned = crate::config::parse_headers(&format!(r#"{{"X-Second":"{SECRET}"}}"#));
        let secret = Secret {
            upstream_token: TokenForm::default().read(SECRET).unwrap(),
            pin: Pin::parse(SECRET).unwrap(),
            upstream_headers: pinned.unwrap(),
            clients: vec![PreRegistered {
                client_id: "a".to_owned(),
                client_secret: Some(SecretString::new(SECRET.to_owned())),
                client_name: None,
                redirect_uris: Vec::new(),
            }],
            origin_secret: Some(SecretString::new(SECRET.to_owned())),
        };
        let mut printed = vec![
            format!("{:#?}", secret.upstream_headers),
            format!("{:#?}", secret.clients),
            format!("{:#?}", secret.upstream_token),
            format!("{:#?}", secret.pin),
            format!("{secret:#?}"),
            format!("{config:#?}"),
        ];
        let http_client = HttpClient::new(tls(), Clock::from_fn(|| 0));
        let dynamodb = unused_dynamodb(http_client.for_sdk());
        let app = App::new(
            config,
            dynamodb,
            http_client,
            Fetcher::new(tls()),
            Secrets::fixed(secret),
            Clock::from_fn(|| 0),
            Randomness::system(),
        );
        printed.push(format!("{:#?}", app.upstream));
        printed.push(format!("{:#?}", app.secrets));
        printed.push(format!("{app:#?}"));
        for text in printed {
            assert!(!text.contains(SECRET), "{text}");
        }
    }

    fn unused_dynamodb(http: SharedHttpClient) -> DynamoDb {
        use aws_config::{BehaviorVersion, Region, SdkConfig};
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("local"))
            .http_client(http)
            .build();
        DynamoDb::new(&config)
    }
}
