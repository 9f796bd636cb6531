//! Configuration: read once and whole from the environment; every problem is named, not just the first.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::oauth::resource::BaseUrl;

/// The upstream unless `UPSTREAM_MCP` says otherwise: GitHub's MCP server.
pub const DEFAULT_UPSTREAM: &str = "https://api.githubcopilot.com/mcp/";

/// Which host reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// The Lambda function.
    Lambda,
    /// The command line.
    Local,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `BASE_URL`: the origin that clients use; `None` lets the host decide per request.
    pub base_url: Option<BaseUrl>,
    /// `ALSO_BASE_URLS`: further origins whose tokens stay valid.
    pub also_base_urls: Vec<BaseUrl>,
    /// The outgoing side.
    pub upstream: UpstreamConfig,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// `GET_STREAMS`: whether GET on the MCP endpoint reaches the upstream.
    pub get_streams: bool,
    /// `STREAM_MAX_SECONDS`: when a stream is ended between two events.
    pub stream_max: Option<Duration>,
    /// `REGISTRATION`.
    pub registration: Registration,
    /// `LANDING_PAGE`: whether `/` shows browsers how to connect.
    pub landing_page: bool,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `TRUSTED_PROXY_HEADER`: names the client's address, local host only.
    pub trusted_proxy_header: Option<HeaderName>,
    /// `TABLE_NAME`.
    pub table_name: String,
    /// `SECRET_ARN`; empty on the local host.
    pub secret_arn: String,
}

/// The outgoing side.
#[derive(Clone)]
pub struct UpstreamConfig {
    /// `UPSTREAM_MCP`.
    pub url: Url,
    /// `UPSTREAM_TRANSPORT`.
    pub transport: Transport,
    /// `UPSTREAM_AUTH_HEADER`.
    pub auth_header: HeaderName,
    /// `UPSTREAM_AUTH_SCHEME`.
    pub auth_scheme: AuthScheme,
    /// `UPSTREAM_HEADERS`: pinned, they win over what a client sends.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `FORWARD_HEADERS`: further client headers to pass on.
    pub forward_headers: Vec<HeaderName>,
    /// `UPSTREAM_FIRST_BYTE_SECONDS`.
    pub first_byte: Duration,
}

/// Without the query of the URL and the values of the pinned headers: either may be a key.
impl fmt::Debug for UpstreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("UpstreamConfig")
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("transport", &self.transport)
            .field("auth_header", &self.auth_header)
            .field("auth_scheme", &self.auth_scheme)
            .field("pinned_headers", &pinned)
            .field("forward_headers", &self.forward_headers)
            .field("first_byte", &self.first_byte)
            .finish()
    }
}

/// How the upstream speaks MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    StreamableHttp,
    /// HTTP+SSE of the 2024-11-05 revision.
    Sse,
}

/// How the upstream's credential is written into its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Bearer <token>`.
    Bearer,
    /// `Basic <base64>`; a token with a colon is encoded first.
    Basic,
    /// The token alone.
    None,
}

/// How long things live, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// `ACCESS_TOKEN_SECONDS`.
    pub access_token: u64,
    /// `REFRESH_TOKEN_SECONDS`: a connection unused for that long ends.
    pub refresh_token: u64,
    /// `REFRESH_GRACE_SECONDS`.
    pub refresh_grace: u64,
}

/// Which clients may introduce themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// By `/register` and by document.
    Open,
    /// By document only.
    Documents,
    /// Only those in the secret.
    Closed,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person.
    Human,
}

/// The name with every character but letters and digits as `-`. Servers that make variables of header names (RFC 3875
/// §4.1.18) read all of these spellings as one header: two names that are the same here may be the same upstream.
#[must_use]
pub fn folded(name: &HeaderName) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.as_str().chars().map(fold).collect()
}

/// Headers which no configuration may forward or pin: identity, hop-by-hop, and those that carry the client's
/// credential or its way to us. In every spelling that an upstream could take for one of them.
#[must_use]
pub fn is_reserved_header(name: &HeaderName) -> bool {
    let name = folded(name);
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
    /// Reads the configuration through `lookup`; an empty value counts as absent.
    ///
    /// # Errors
    /// One sentence per bad setting, each with how to mend it.
    pub fn read(
        host: HostKind,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let mut reader = Reader {
            lookup,
            problems: Vec::new(),
        };
        let config = Self {
            base_url: reader.parsed(
                "BASE_URL",
                |text| BaseUrl::parse(text).map(Some).map_err(str::to_owned),
                None,
            ),
            also_base_urls: reader.parsed("ALSO_BASE_URLS", base_urls, Vec::new()),
            upstream: UpstreamConfig {
                url: reader.upstream_url(host),
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
            trusted_proxy_header: reader.parsed(
                "TRUSTED_PROXY_HEADER",
                |text| {
                    text.parse()
                        .map(Some)
                        .map_err(|_| "must be the name of a header".to_owned())
                },
                None,
            ),
            table_name: reader
                .text("TABLE_NAME")
                .unwrap_or_else(|| "lambda-oauth-mcp-proxy".to_owned()),
            secret_arn: reader.text("SECRET_ARN").unwrap_or_default(),
        };
        if host == HostKind::Lambda {
            for name in ["TABLE_NAME", "SECRET_ARN"] {
                if reader.text(name).is_none() {
                    reader.problem(name, "is not set; the template sets it to the stack's own");
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

    /// One of several words; the first is the default.
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
        let default = Url::parse(DEFAULT_UPSTREAM).expect("the default is a URL");
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
            "must begin with https://, because the credential travels there \
                    (http only to a loopback address, on one machine)"
                .to_owned(),
        );
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must not hold a user name, a password or a fragment".to_owned());
    }
    Ok(url)
}

fn base_urls(text: &str) -> Result<Vec<BaseUrl>, String> {
    list(text)
        .map(|text| BaseUrl::parse(text).map_err(|what| format!("{what} ({text})")))
        .collect()
}

fn auth_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "must be the name of a header")?;
    if name != http::header::AUTHORIZATION && is_reserved_header(&name) {
        return Err("names a header that cannot carry a credential".to_owned());
    }
    Ok(name)
}

fn forward_headers(text: &str) -> Result<Vec<HeaderName>, String> {
    list(text)
        .map(|text| match text.parse::<HeaderName>() {
            Err(_) => Err(format!(
                "holds something that is not the name of a header ({text})"
            )),
            Ok(name) if is_reserved_header(&name) => {
                Err(format!("must not name {name}: it never goes upstream"))
            }
            Ok(name) => Ok(name),
        })
        .collect()
}

/// Reads pinned headers from a JSON object: from `UPSTREAM_HEADERS`, or from the secret.
///
/// # Errors
/// A sentence that names the header but not its value.
pub fn parse_headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let map: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|_| "must be a JSON object of strings, such as {\"X-MCP-Readonly\":\"true\"}")?;
    map.into_iter()
        .map(|(name, value)| {
            let parsed: HeaderName = name
                .parse()
                .map_err(|_| format!("has an invalid header name ({name})"))?;
            if is_reserved_header(&parsed) {
                return Err(format!("must not set {parsed}"));
            }
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("has an invalid value for {parsed}"))?;
            // It may be a key.
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
mod tests {
    use super::*;

    fn read(host: HostKind, settings: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        Config::read(host, |name| {
            settings
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_is_github_with_the_documented_defaults() {
        let config = read(HostKind::Local, &[("UPSTREAM_MCP", "  ")]).unwrap();
        assert_eq!(config.upstream.url.as_str(), DEFAULT_UPSTREAM);
        assert_eq!(config.lifetimes.access_token, 86_400);
        assert!(!config.get_streams);
        assert_eq!(config.registration, Registration::Open);
    }

    #[test]
    fn every_problem_is_named() {
        let problems = read(
            HostKind::Lambda,
            &[
                ("BASE_URL", "mcp.example.com"),
                ("UPSTREAM_MCP", "http://127.0.0.1:1/mcp"),
                ("UPSTREAM_HEADERS", "{\"Authorization\":\"x\"}"),
                ("FORWARD_HEADERS", "x-ok, cookie"),
                ("ACCESS_TOKEN_SECONDS", "soon"),
                ("GET_STREAMS", "maybe"),
            ],
        )
        .unwrap_err();
        for name in [
            "BASE_URL",
            "UPSTREAM_MCP",
            "UPSTREAM_HEADERS",
            "FORWARD_HEADERS",
            "ACCESS_TOKEN_SECONDS",
            "GET_STREAMS",
            "TABLE_NAME",
            "SECRET_ARN",
        ] {
            assert_eq!(
                problems
                    .iter()
                    .filter(|problem| problem.starts_with(name))
                    .count(),
                1,
                "{name}: {problems:?}"
            );
        }
    }

    #[test]
    fn an_upstream_without_tls_is_only_for_loopback_on_one_machine() {
        assert!(
            read(
                HostKind::Local,
                &[("UPSTREAM_MCP", "http://127.0.0.1:1/mcp")]
            )
            .is_ok()
        );
        for bad in [
            "http://mcp.example.com/",
            "https://user@mcp.example.com/",
            "https://mcp.example.com/#x",
            "mcp",
        ] {
            assert!(
                read(HostKind::Local, &[("UPSTREAM_MCP", bad)]).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn pinned_headers_do_not_leak_their_values_into_messages() {
        let problem = parse_headers("{\"X-Key\":\"se\\ncret\"}").unwrap_err();
        assert!(!problem.contains("cret"), "{problem}");
    }
}
