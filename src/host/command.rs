//! The command line: `demo` and `serve`.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use dynoxide::Database;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use url::Url;

use super::{aws, demo, engine, local, log, server};
use crate::{
    app::App,
    client_document::Fetcher,
    clock::Clock,
    config::{Config, HostKind, LogFormat},
    credential::{Randomness, SecretString},
    http_client::{HttpClient, tls},
    pin::Pin,
    secrets::{Secret, Secrets, TokenForm, UpstreamToken},
    store::table,
};

/// OAuth 2.1 in front of an MCP server that only takes a personal access token.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    arg_required_else_help = true,
    after_help = "\
Try it:          lambda-oauth-mcp-proxy demo
For your server: UPSTREAM_MCP=https://… UPSTREAM_TOKEN=… lambda-oauth-mcp-proxy serve
All settings are in the README."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy in front of a small MCP server of its own: nothing to configure, nothing kept.
    Demo {
        /// Where to listen; a loopback address.
        #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS:PORT")]
        listen: SocketAddr,
    },
    /// Run the proxy in front of your MCP server, configured by environment variables.
    Serve {
        /// Where to listen; anything but a loopback address needs `BASE_URL` with https.
        #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS:PORT")]
        listen: SocketAddr,
        /// Where connections are kept: a file, `memory`, or the URL of a DynamoDB endpoint.
        #[arg(long, value_name = "PATH|memory|URL")]
        state: Option<String>,
        /// A file with the token that your MCP server takes, instead of `UPSTREAM_TOKEN`.
        #[arg(long, value_name = "PATH")]
        token_file: Option<PathBuf>,
        /// How many connections there may be at a time; further ones wait.
        #[arg(long, default_value_t = server::DEFAULT_MAX_CONNECTIONS, value_name = "NUMBER")]
        max_connections: NonZeroU16,
    },
}

/// Why serving did not begin.
enum StartError {
    /// Invalid settings or arguments, all of them: exit code 2.
    Settings(Vec<String>),
    /// Something failed: exit code 1.
    Failure(String),
}

/// Runs the command line. Exit code 0 after an orderly stop, 1 for a failure, 2 for invalid arguments or settings.
pub async fn run(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Demo { listen } => demo(listen, lookup).await,
        Command::Serve {
            listen,
            state,
            token_file,
            max_connections,
        } => serve(listen, state, token_file, max_connections, lookup).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Settings(problems)) => {
            say_error(&format!(
                "These settings are invalid:\n  * {}\n",
                problems.join("\n  * ")
            ));
            ExitCode::from(2)
        }
        Err(StartError::Failure(what)) => {
            say_error(&format!("{what}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(
    listen: SocketAddr,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<(), StartError> {
    if !listen.ip().is_loopback() {
        return Err(StartError::Settings(vec![format!(
            "--listen {listen} is not a loopback address, and the demo is for this machine only"
        )]));
    }
    let upstream = bind(([127, 0, 0, 1], 0).into()).await?;
    let upstream_url = format!("http://{}/mcp", address(&upstream)?);
    let randomness = Randomness::system();
    let token = SecretString::generate("demo_", &randomness);
    let pin = lookup("AUTH_PIN").filter(|pin| !pin.is_empty());
    let config = Config::read(HostKind::Local, |name| match name {
        "UPSTREAM_MCP" => Some(upstream_url.clone()),
        "LOG_FORMAT" | "GET_STREAMS" => lookup(name),
        _ => None,
    })
    .map_err(StartError::Settings)?;
    let upstream_token = TokenForm::from(&config.upstream)
        .read(token.expose())
        .map_err(StartError::Failure)?;
    log::start(config.log_format, lookup("RUST_LOG").as_deref(), None);

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(demo::serve(upstream, token.clone(), async move {
        let _ = stopped.await;
    }));
    let done = Run {
        config,
        listen,
        state: "memory".to_owned(),
        upstream_token,
        pin,
        max_connections: server::DEFAULT_MAX_CONNECTIONS,
        demo: true,
    }
    .start(randomness)
    .await;
    drop(stop);
    // Its streams were cancelled; a client that keeps its connection open is not waited for.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), served).await;
    done
}

async fn serve(
    listen: SocketAddr,
    state: Option<String>,
    token_file: Option<PathBuf>,
    max_connections: NonZeroU16,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<(), StartError> {
    let set = |name| lookup(name).filter(|text: &String| !text.trim().is_empty());
    let mut problems = Vec::new();
    let config = Config::read(HostKind::Local, &lookup)
        .map_err(|found| problems.extend(found))
        .ok();
    let form = config
        .as_ref()
        .map(|config| TokenForm::from(&config.upstream))
        .unwrap_or_default();
    let upstream_token = upstream_token(set("UPSTREAM_TOKEN"), token_file.as_deref(), &form)
        .map_err(|what| problems.push(what))
        .ok();
    if let Some(pin) = set("AUTH_PIN")
        && let Err(what) = Pin::parse(&pin)
    {
        problems.push(format!("AUTH_PIN {what}"));
    }
    if !listen.ip().is_loopback()
        && !config.as_ref().is_some_and(|c| {
            c.base_url
                .as_ref()
                .is_some_and(super::super::oauth::resource::BaseUrl::is_https)
        })
    {
        problems.push(format!(
            "BASE_URL must be set to the https origin that clients use, because {listen} is not a loopback address"
        ));
    }
    let state = match state {
        Some(state) => Some(state),
        None => config
            .as_ref()
            .and_then(|config| default_state(&lookup, config)),
    };
    if state.is_none() && config.is_some() {
        problems.push(
            "--state needs a path, because neither XDG_STATE_HOME nor HOME is set".to_owned(),
        );
    }
    let (Some(config), Some(upstream_token), Some(state), true) =
        (config, upstream_token, state, problems.is_empty())
    else {
        return Err(StartError::Settings(problems));
    };
    log::start(config.log_format, lookup("RUST_LOG").as_deref(), None);
    upstream_token.warn(if token_file.is_some() {
        "--token-file"
    } else {
        "UPSTREAM_TOKEN"
    });
    Run {
        config,
        listen,
        state,
        upstream_token,
        pin: set("AUTH_PIN"),
        max_connections,
        demo: false,
    }
    .start(Randomness::system())
    .await
}

/// The token that the upstream takes, from the setting or from the file.
fn upstream_token(
    setting: Option<String>,
    file: Option<&Path>,
    form: &TokenForm,
) -> Result<UpstreamToken, String> {
    match (setting, file) {
        (Some(_), Some(_)) => {
            Err("UPSTREAM_TOKEN and --token-file are both given; give one of them".to_owned())
        }
        (Some(pasted), None) => form
            .read(&pasted)
            .map_err(|what| format!("UPSTREAM_TOKEN {what}")),
        (None, Some(file)) => {
            let at = file.display();
            let pasted = text_file(file)
                .map_err(|error| format!("--token-file {at} cannot be read: {error}"))?;
            form.read(&pasted)
                .map_err(|what| format!("--token-file {at} {what}"))
        }
        (None, None) => Err(
            "UPSTREAM_TOKEN is not set: the access token that the upstream takes (for GitHub: \
             Settings → Developer settings → Personal access tokens)"
                .to_owned(),
        ),
    }
}

/// No header holds more.
const MAX_TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// The text of a small file: UTF-8, or UTF-16 with its byte order mark, as some shells write what is redirected.
fn text_file(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_TOKEN_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    let units = |read: fn([u8; 2]) -> u16| -> Vec<u16> {
        let pairs = bytes.chunks_exact(2);
        pairs.map(|pair| read([pair[0], pair[1]])).collect()
    };
    let text = match bytes.as_slice() {
        [0xff, 0xfe, ..] => String::from_utf16(&units(u16::from_le_bytes)).ok(),
        [0xfe, 0xff, ..] => String::from_utf16(&units(u16::from_be_bytes)).ok(),
        _ => String::from_utf8(bytes.clone()).ok(),
    };
    text.ok_or_else(|| std::io::Error::other("it is not text"))
}

struct Run {
    config: Config,
    listen: SocketAddr,
    state: String,
    upstream_token: UpstreamToken,
    pin: Option<String>,
    max_connections: NonZeroU16,
    demo: bool,
}

impl Run {
    async fn start(self, randomness: Randomness) -> Result<(), StartError> {
        let clock = Clock::system();
        let http = HttpClient::new(tls(), clock.clone());
        let dynamodb = open_state(&self.state, &http)?;
        table::create(&dynamodb, &self.config.table_name)
            .await
            .map_err(|error| {
                StartError::Failure(format!(
                    "the state at {} cannot be used: {error}",
                    self.state
                ))
            })?;

        let generated = self.pin.is_none().then(|| Pin::generate(&randomness));
        let pin = generated.as_ref().map_or_else(
            || self.pin.clone().unwrap_or_default(),
            |pin| pin.expose().to_owned(),
        );
        let bad_pin = |what| StartError::Settings(vec![format!("AUTH_PIN {what}")]);
        let secret = Secret {
            upstream_token: self.upstream_token.clone(),
            pin: Pin::parse(&pin).map_err(bad_pin)?,
            upstream_headers: Vec::new(),
            clients: Vec::new(),
            origin_secret: None,
        };

        let listener = bind(self.listen).await?;
        let port = address(&listener)?.port();
        let names = match &self.config.base_url {
            Some(base) => local::Names::Configured(base.clone()),
            None => local::Names::of_loopback(port),
        };
        let app = App::new(
            self.config.clone(),
            dynamodb,
            http,
            Fetcher::new(tls()),
            Secrets::fixed(secret),
            clock,
            randomness,
        );
        let signals = local::signals().map_err(|error| StartError::Failure(error.to_string()))?;
        self.print_greeting(
            &names,
            generated.is_some().then_some(pin.as_str()),
            &self.state,
        );
        let router = local::router(app, names);
        server::serve(listener, router, self.max_connections, signals, say).await;
        Ok(())
    }

    /// Prints what the person needs: the connector URL, the PIN, and the next step.
    fn print_greeting(&self, names: &local::Names, pin: Option<&str>, state: &str) {
        let base = match names {
            local::Names::Configured(base) | local::Names::Loopback([base, ..]) => base,
        };
        let url = base.join("/mcp");
        let mut text = format!("Connector URL: {url}\n");
        if let Some(pin) = pin {
            text += &format!("PIN: {pin}\n");
        } else {
            text += "PIN: the one in AUTH_PIN\n";
        }
        if self.demo {
            text += &format!(
                "\nA small MCP server runs behind it and takes only its own token. Connect a client, for example:\n\
                 \n  claude mcp add --transport http demo {url}      then /mcp in Claude Code\
                 \n  npx @modelcontextprotocol/inspector              transport: Streamable HTTP, URL as above\
                 \n\nA page opens in your browser: type the PIN there. {base} in a browser shows more ways.\n\
                 Nothing is kept when you stop it. Ctrl-C stops.\n",
                base = base.as_str(),
            );
        } else {
            text += &format!(
                "Upstream: {}\nState: {state}\nAdd the connector URL to your MCP client; {} in a browser shows how. Ctrl-C stops.\n",
                without_query(&self.config.upstream.url),
                base.as_str(),
            );
        }
        if self.config.log_format == LogFormat::Human {
            text += "\n";
        }
        say(&text);
    }
}

/// The upstream without its query, which may hold a key.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn open_state(state: &str, http: &HttpClient) -> Result<aws_sdk_dynamodb::Client, StartError> {
    if state.starts_with("http://") || state.starts_with("https://") {
        return Ok(aws::local_dynamodb(http.for_sdk(), state));
    }
    let failure = |error: String| {
        StartError::Failure(format!("the state at {state} cannot be opened: {error}"))
    };
    let database = if state == "memory" {
        Database::memory().map_err(|error| failure(error.to_string()))?
    } else {
        let path = Path::new(state);
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            private_directory(directory).map_err(|error| failure(error.to_string()))?;
        }
        private_file(path).map_err(|error| failure(error.to_string()))?;
        Database::new(state).map_err(|error| failure(error.to_string()))?
    };
    // The endpoint is never contacted: requests go to the engine in memory.
    Ok(aws::local_dynamodb(
        engine::http_client(database),
        "http://127.0.0.1",
    ))
}

/// One file per upstream, so that a connection made for one is never good for another.
fn default_state(lookup: impl Fn(&str) -> Option<String>, config: &Config) -> Option<String> {
    let set = |name| {
        lookup(name)
            .filter(|text: &String| !text.is_empty())
            .map(PathBuf::from)
    };
    let base =
        set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(
        base.join("lambda-oauth-mcp-proxy")
            .join(format!("{}.db", state_name(&config.upstream.url)))
            .to_string_lossy()
            .into_owned(),
    )
}

/// The longest state name that is written out.
const STATE_NAME_CHARACTERS_MAX: usize = 100;

/// A name for the state of this upstream, from host, port and path: `mcp.example.com+8443_a_b`. Different upstreams have
/// different names, also where file names ignore case: whatever cannot be written like this is hashed. The query has
/// no part in it, because it may be a key that changes.
fn state_name(upstream: &Url) -> String {
    let host = upstream.host_str().unwrap_or_default();
    let path = upstream.path();
    let port = upstream.port().map(|port| format!("+{port}"));
    let port = port.unwrap_or_default();
    let name = format!("{host}{port}{}", if path == "/" { "" } else { path });
    let is_plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '/');
    if format!("{host}{path}").chars().all(is_plain) && name.len() <= STATE_NAME_CHARACTERS_MAX {
        return name.replace('/', "_");
    }
    let hash = Sha256::digest(format!("{port}{path}"));
    let hash = hash[..8].iter().map(|byte| format!("{byte:02x}"));
    let host = host.replace([':', '[', ']'], "_");
    format!("{host}+{}", hash.collect::<String>())
}

/// The state says who is connected; other users of the machine must not read it.
fn private_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Created before the engine opens it, so that it is never readable by others.
fn private_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(listen).await.map_err(|error| {
        StartError::Failure(format!(
            "cannot listen on {listen}: {error}; choose another address with --listen"
        ))
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener
        .local_addr()
        .map_err(|error| StartError::Failure(error.to_string()))
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // If nobody reads it, serving goes on.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn say_error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
