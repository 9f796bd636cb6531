//! The configuration, read once from the environment. An error names every invalid setting, not just the first.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::{oauth::resource::BaseUrl, page};

/// The default of `UPSTREAM_MCP`: GitHub's MCP server.
const DEFAULT_UPSTREAM_URL: &str = "https://api.githubcopilot.com/mcp/";

/// Longest `UPSTREAM_NAME`: it is in the title of a page.
const UPSTREAM_NAME_MAX_CHARACTERS: usize = 50;

/// Hosts, and domains, of well-known MCP servers with the name of the product.
const UPSTREAM_NAMES: [(&str, &str); 9] = [
    ("api.githubcopilot.com", "GitHub"),
    ("mcp.atlassian.com", "Atlassian"),
    ("mcp.cloudflare.com", "Cloudflare"),
    ("mcp.figma.com", "Figma"),
    ("mcp.linear.app", "Linear"),
    ("mcp.notion.com", "Notion"),
    ("mcp.sentry.dev", "Sentry"),
    ("mcp.stripe.com", "Stripe"),
    ("huggingface.co", "Hugging Face"),
];

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// In AWS Lambda.
    Lambda,
    /// On one machine, from the command line.
    Local,
}

/// Every setting.
#[derive(Clone, Debug)]
pub struct Config {
    /// `BASE_URL`: the origin that clients use. If `None`, the host determines it for each request.
    pub base_url: Option<BaseUrl>,
    /// `ALSO_BASE_URLS`: further origins whose tokens stay valid.
    pub also_base_urls: Vec<BaseUrl>,
    /// The settings of the upstream.
    pub upstream: UpstreamConfig,
    /// The lifetimes of tokens.
    pub lifetimes: Lifetimes,
    /// `GET_STREAMS`: whether GET on the MCP endpoint reaches the upstream.
    pub get_streams: bool,
    /// `STREAM_MAX_SECONDS`: the time after which a stream is ended between two events.
    pub stream_max: Option<Duration>,
    /// `REGISTRATION`: which clients can register.
    pub registration: Registration,
    /// `MANUAL_TOKENS`: whether the owner can create tokens by hand. If not, those that exist are refused.
    pub manual_tokens: bool,
    /// `ACTIVITY_DAYS`: how many days the activity of connections is kept; 0 if it is not recorded.
    pub activity_days: u64,
    /// `LANDING_PAGE`: whether `/` shows browsers how to connect.
    pub landing_page: bool,
    /// `LOG_FORMAT`: the format of log lines.
    pub log_format: LogFormat,
    /// `TRUSTED_PROXY_HEADER`: the header in which a reverse proxy sends the client's IP address; only on one machine.
    pub trusted_proxy_header: Option<HeaderName>,
    /// `TABLE_NAME`: the DynamoDB table.
    pub table_name: String,
    /// `SECRET_ARN`: the secret in AWS Secrets Manager; empty on one machine.
    pub secret_arn: String,
}

/// The settings of the upstream, the MCP server to which requests are forwarded.
#[derive(Clone)]
pub struct UpstreamConfig {
    /// `UPSTREAM_MCP`: its URL.
    pub url: Url,
    /// `UPSTREAM_NAME`: its name on pages.
    pub name: String,
    /// `UPSTREAM_TRANSPORT`: the MCP transport that it uses.
    pub transport: Transport,
    /// `UPSTREAM_AUTH_HEADER`: the header that carries the credential.
    pub auth_header: HeaderName,
    /// `UPSTREAM_AUTH_SCHEME`: how the credential is written into that header.
    pub auth_scheme: AuthScheme,
    /// `UPSTREAM_HEADERS`: pinned headers, which replace those that a client sends.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `FORWARD_HEADERS`: additional client headers to forward.
    pub forward_headers: Vec<HeaderName>,
    /// `UPSTREAM_FIRST_BYTE_SECONDS`: how long to wait for the first byte of a response.
    pub first_byte: Duration,
}

/// Omits the query of the URL and the values of the pinned headers, because they may contain keys.
impl fmt::Debug for UpstreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("UpstreamConfig")
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("name", &self.name)
            .field("transport", &self.transport)
            .field("auth_header", &self.auth_header)
            .field("auth_scheme", &self.auth_scheme)
            .field("pinned_headers", &pinned)
            .field("forward_headers", &self.forward_headers)
            .field("first_byte", &self.first_byte)
            .finish()
    }
}

/// The MCP transport of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    StreamableHttp,
    /// HTTP+SSE of MCP revision 2024-11-05.
    Sse,
}

/// How the credential of the upstream is written into its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Bearer <token>`.
    Bearer,
    /// `Basic <base64>`; a token that contains a colon is base64-encoded first.
    Basic,
    /// The token without a scheme.
    None,
}

/// The lifetimes of tokens, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// `ACCESS_TOKEN_SECONDS`: the lifetime of an access token.
    pub access_token: u64,
    /// `REFRESH_TOKEN_SECONDS`: a connection that is not used for this long expires.
    pub refresh_token: u64,
    /// `REFRESH_GRACE_SECONDS`: how long the previous refresh token may be used again after a rotation.
    pub refresh_grace: u64,
}

/// Which clients can register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Every client, at `/register` or with a client-id document.
    Open,
    /// Only clients with a client-id document.
    Documents,
    /// None: only the clients in the secret are known.
    Closed,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Human,
}

/// The name with every character except letters and digits replaced by `-`. Servers that turn header names into variables
/// (RFC 3875 §4.1.18) treat all these spellings as one header, so two names that are equal here may be one header for the
/// upstream.
#[must_use]
pub fn normalized_header_name(name: &HeaderName) -> String {
    let normalize = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.as_str().chars().map(normalize).collect()
}

/// Whether no setting may forward or pin this header: identity headers, hop-by-hop headers, and headers with the client's
/// credential or the route of the request. This includes every spelling that an upstream could treat as one of them.
#[must_use]
pub fn is_reserved_header(name: &HeaderName) -> bool {
    let name = normalized_header_name(name);
    matches!(
        name.as_str(),
        "authorization"
            | "cookie"
            | "set-cookie"
            | "host"
            | "origin"
            | "forwarded"
            | "via"
            | "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
            | "expect"
    ) || [
        "x-forwarded-",
        "x-amz",
        "cf-",
        "cloudfront-",
        "sec-",
        "proxy-",
    ]
    .iter()
    .any(|p| name.starts_with(p))
}

impl Config {
    /// Reads the settings through `lookup`; an empty value counts as absent.
    ///
    /// # Errors
    /// One sentence for each invalid setting, which says how to fix it.
    pub fn read(
        host: HostKind,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let mut reader = Reader {
            lookup,
            problems: Vec::new(),
        };
        let upstream_url = reader.upstream_url(host);
        let config = Self {
            base_url: reader.parsed(
                "BASE_URL",
                |text| BaseUrl::parse(text).map(Some).map_err(str::to_owned),
                None,
            ),
            also_base_urls: reader.parsed("ALSO_BASE_URLS", base_urls, Vec::new()),
            upstream: UpstreamConfig {
                name: reader.parsed("UPSTREAM_NAME", upstream_name, default_name(&upstream_url)),
                url: upstream_url,
                transport: reader.choice(
                    "UPSTREAM_TRANSPORT",
                    &[
                        ("streamable-http", Transport::StreamableHttp),
                        ("sse", Transport::Sse),
                    ],
                ),
                auth_header: reader.parsed(
                    "UPSTREAM_AUTH_HEADER",
                    auth_header,
                    http::header::AUTHORIZATION,
                ),
                auth_scheme: reader.choice(
                    "UPSTREAM_AUTH_SCHEME",
                    &[
                        ("Bearer", AuthScheme::Bearer),
                        ("Basic", AuthScheme::Basic),
                        ("none", AuthScheme::None),
                    ],
                ),
                headers: reader.parsed("UPSTREAM_HEADERS", parse_headers, Vec::new()),
                forward_headers: reader.parsed("FORWARD_HEADERS", forward_headers, Vec::new()),
                first_byte: Duration::from_secs(reader.number(
                    "UPSTREAM_FIRST_BYTE_SECONDS",
                    1..=900,
                    330,
                )),
            },
            lifetimes: Lifetimes {
                access_token: reader.number("ACCESS_TOKEN_SECONDS", 60..=31_536_000, 86_400),
                refresh_token: reader.number("REFRESH_TOKEN_SECONDS", 3600..=31_536_000, 2_592_000),
                refresh_grace: reader.number("REFRESH_GRACE_SECONDS", 0..=3600, 120),
            },
            get_streams: reader.choice("GET_STREAMS", &[("off", false), ("on", true)]),
            stream_max: reader.parsed(
                "STREAM_MAX_SECONDS",
                |text| number(text, 1..=86_400).map(|seconds| Some(Duration::from_secs(seconds))),
                None,
            ),
            registration: reader.choice(
                "REGISTRATION",
                &[
                    ("open", Registration::Open),
                    ("documents", Registration::Documents),
                    ("closed", Registration::Closed),
                ],
            ),
            manual_tokens: reader.choice("MANUAL_TOKENS", &[("on", true), ("off", false)]),
            activity_days: reader.number("ACTIVITY_DAYS", 0..=365, 30),
            landing_page: reader.choice("LANDING_PAGE", &[("on", true), ("off", false)]),
            log_format: match host {
                HostKind::Lambda => reader.choice(
                    "LOG_FORMAT",
                    &[("json", LogFormat::Json), ("human", LogFormat::Human)],
                ),
                HostKind::Local => reader.choice(
                    "LOG_FORMAT",
                    &[("human", LogFormat::Human), ("json", LogFormat::Json)],
                ),
            },
            trusted_proxy_header: reader.parsed("TRUSTED_PROXY_HEADER", address_header, None),
            table_name: reader
                .text("TABLE_NAME")
                .unwrap_or_else(|| "lambda-oauth-mcp-proxy".to_owned()),
            secret_arn: reader.text("SECRET_ARN").unwrap_or_default(),
        };
        if host == HostKind::Lambda {
            for name in ["TABLE_NAME", "SECRET_ARN"] {
                if reader.text(name).is_none() {
                    reader.problem(name, "is not set; on AWS the template sets it");
                }
            }
        }
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(reader.problems)
        }
    }
}

struct Reader<L> {
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name} {what}"));
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        default: T,
    ) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        parse(&text).unwrap_or_else(|what| {
            self.problem(name, &what);
            default
        })
    }

    /// One of several values; the first is the default.
    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> T {
        let find = |text: &str| {
            choices
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text))
                .map(|(_, value)| *value)
                .ok_or_else(|| {
                    let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                    format!("must be one of: {}", words.join(", "))
                })
        };
        self.parsed(name, find, choices[0].1)
    }

    fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> u64 {
        self.parsed(name, |text| number(text, range), default)
    }

    fn upstream_url(&mut self, host: HostKind) -> Url {
        let default = Url::parse(DEFAULT_UPSTREAM_URL).expect("the default is a URL");
        self.parsed("UPSTREAM_MCP", |text| upstream_url(text, host), default)
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|n| range.contains(n))
        .ok_or_else(|| {
            format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            )
        })
}

fn upstream_url(text: &str, host: HostKind) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|_| "is not a URL; an example: https://api.githubcopilot.com/mcp/")?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let secure =
        url.scheme() == "https" || (url.scheme() == "http" && loopback && host == HostKind::Local);
    if !secure {
        return Err(
            "must begin with https://, because the credential is sent there \
                    (http is allowed only to a loopback address, on one machine)"
                .to_owned(),
        );
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must not contain a user name, a password or a fragment".to_owned());
    }
    Ok(url)
}

fn upstream_name(text: &str) -> Result<String, String> {
    if page::display(text, UPSTREAM_NAME_MAX_CHARACTERS) == text {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must have at most {UPSTREAM_NAME_MAX_CHARACTERS} characters, all of them visible"
        ))
    }
}

/// The name by which people know the server at this URL: the product's, or else its host.
fn default_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    UPSTREAM_NAMES
        .iter()
        .find(|(known, _)| host == *known || host.ends_with(&format!(".{known}")))
        .map_or_else(|| page::host(host), |(_, name)| (*name).to_owned())
}

fn base_urls(text: &str) -> Result<Vec<BaseUrl>, String> {
    list(text)
        .map(|text| BaseUrl::parse(text).map_err(|what| format!("{what} ({text})")))
        .collect()
}

/// A header whose value is an IP address, or a list of them.
fn address_header(text: &str) -> Result<Option<HeaderName>, String> {
    let name: HeaderName = text.parse().map_err(|_| "must be the name of a header")?;
    // They have another syntax (`Forwarded`: RFC 7239 section 4), so that no caller would have an address.
    if matches!(
        name.as_str(),
        "authorization" | "cookie" | "forwarded" | "host" | "origin" | "user-agent" | "via"
    ) {
        return Err(format!(
            "must name a header that contains only IP addresses, such as CF-Connecting-IP or X-Forwarded-For, not {name}"
        ));
    }
    Ok(Some(name))
}

fn auth_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "must be the name of a header")?;
    if name != http::header::AUTHORIZATION && is_reserved_header(&name) {
        return Err("must not name a header that is reserved for other purposes; use Authorization or a header of the MCP server".to_owned());
    }
    Ok(name)
}

fn forward_headers(text: &str) -> Result<Vec<HeaderName>, String> {
    list(text)
        .map(|text| match text.parse::<HeaderName>() {
            Err(_) => Err(format!(
                "must be a list of header names, but contains {text}"
            )),
            Ok(name) if is_reserved_header(&name) => Err(format!(
                "must not name {name}: this header is never forwarded"
            )),
            Ok(name) => Ok(name),
        })
        .collect()
}

/// Parses pinned headers from the JSON object in `UPSTREAM_HEADERS` or in the secret.
///
/// # Errors
/// A sentence that names the header but not its value, which may be a key.
pub fn parse_headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let map: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|_| "must be a JSON object of strings, such as {\"X-MCP-Readonly\":\"true\"}")?;
    map.into_iter()
        .map(|(name, value)| {
            let parsed: HeaderName = name
                .parse()
                .map_err(|_| format!("contains an invalid header name ({name})"))?;
            if is_reserved_header(&parsed) {
                return Err(format!("must not set {parsed}"));
            }
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("contains an invalid value for {parsed}"))?;
            // The value may be a key.
            value.set_sensitive(true);
            Ok((parsed, value))
        })
        .collect()
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
