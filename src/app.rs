//! What every endpoint is given.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
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
    /// How often an address may make us write.
    pub write_limits: WriteLimits,
    /// The upstream's credential and the PIN.
    pub secrets: Secrets,
    /// The time.
    pub clock: Clock,
    /// Where every random value comes from.
    pub randomness: Randomness,
}

impl App {
    /// Joins everything together. `http_client` is for the upstream, `documents` fetches what strangers name and so has
    /// a client of its own.
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
            upstream: Upstream::new(http_client, config.upstream.clone()),
            documents,
            write_limits: WriteLimits::new(write_limits::PER_ADDRESS),
            secrets,
            clock,
            randomness,
            config: Arc::new(config),
        }
    }

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

    /// Whatever the program is given to keep has this word in it.
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
