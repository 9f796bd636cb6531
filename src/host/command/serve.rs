//! `serve` and `demo`: the proxy on one machine.

use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf};

use clap::Args;
use time::UtcOffset;
use tokio::net::TcpListener;

use super::{
    StartError, browser, listen,
    pin::{self, StartPin},
    private_files, say, say_error,
    settings::Settings,
    state::State,
    token,
};
use crate::{
    app::App,
    client_document::Fetcher,
    clock::Clock,
    config::{Config, HostKind, LogFormat},
    credential::{Randomness, SecretString},
    host::{demo as demo_server, local, log, open_files, server, start_check},
    http_client::{HttpClient, tls},
    oauth::resource::BaseUrl,
    pin::Pin,
    secrets::{Secret, Secrets, TokenForm, UpstreamToken},
};

/// How long the end of the program waits for work that no response waits for.
const BACKGROUND_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Where to listen: a port, or a loopback address with a port.
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "[ADDRESS:]PORT", value_parser = listen::parse)]
    listen: SocketAddr,
    /// Open the page that shows how to connect, in your browser.
    #[arg(long)]
    open: bool,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to listen: a port, or an address with a port. Any but a loopback address needs `BASE_URL` with https.
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "[ADDRESS:]PORT", value_parser = listen::parse)]
    listen: SocketAddr,
    /// Where connections are kept: a file, `memory`, or the URL of a DynamoDB endpoint.
    #[arg(long, value_name = "PATH|memory|URL")]
    state: Option<String>,
    /// A file with the token that your MCP server takes, instead of `UPSTREAM_TOKEN`.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// How many connections there may be at a time, if the system allows enough open files; further ones wait.
    #[arg(long, default_value_t = server::DEFAULT_MAX_CONNECTIONS, value_name = "NUMBER")]
    max_connections: NonZeroU16,
    /// A file with settings, one NAME=value on each line. Environment variables win over it.
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// Open the page that shows how to connect, in your browser.
    #[arg(long)]
    open: bool,
}

/// Runs the demo: the proxy, and an MCP server behind it.
///
/// # Errors
/// When it cannot start, or its listener fails.
pub async fn demo(
    arguments: DemoArguments,
    settings: &Settings,
    offset: UtcOffset,
) -> Result<(), StartError> {
    let listen = arguments.listen;
    if !listen.ip().is_loopback() {
        return Err(StartError::Settings(vec![format!(
            "--listen {listen} is not a loopback address, and the demo is for this machine only"
        )]));
    }
    let upstream = bind(([127, 0, 0, 1], 0).into()).await?;
    let upstream_url = format!("http://{}/mcp", address(&upstream)?);
    let randomness = Randomness::system();
    let token = SecretString::generate("demo_", &randomness);
    let config = Config::read(HostKind::Local, |name| match name {
        "UPSTREAM_MCP" => Some(upstream_url.clone()),
        "UPSTREAM_NAME" => Some("the demo".to_owned()),
        "LOG_FORMAT" | "GET_STREAMS" => settings.get(name),
        _ => None,
    })
    .map_err(StartError::Settings)?;
    let upstream_token = TokenForm::from(&config.upstream)
        .read(token.expose())
        .map_err(StartError::Failure)?;
    log::start(
        config.log_format,
        settings.get("RUST_LOG").as_deref(),
        None,
        offset,
    );

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(demo_server::serve(upstream, token.clone(), async move {
        let _ = stopped.await;
    }));
    let done = Run {
        config,
        listen,
        state: State::Memory,
        upstream_token,
        pin: settings.set("AUTH_PIN"),
        max_connections: server::DEFAULT_MAX_CONNECTIONS,
        demo: true,
        open: arguments.open,
    }
    .start(randomness)
    .await;
    drop(stop);
    // Its streams were cancelled; a client that keeps its connection open is not waited for.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), served).await;
    done
}

/// Runs the proxy.
///
/// # Errors
/// When a setting is invalid (all of them are named), it cannot start, or its listener fails.
pub async fn serve(
    arguments: Arguments,
    settings: &Settings,
    offset: UtcOffset,
) -> Result<(), StartError> {
    let listen = arguments.listen;
    let mut problems = Vec::new();
    let config = Config::read(HostKind::Local, |name| settings.get(name))
        .map_err(|found| problems.extend(found))
        .ok();
    if let Some(pin) = settings.set("AUTH_PIN")
        && let Err(what) = Pin::parse(pin.trim())
    {
        problems.push(format!("AUTH_PIN {what}"));
    }
    let is_https = |config: &Config| config.base_url.as_ref().is_some_and(BaseUrl::is_https);
    if !listen.ip().is_loopback() && !config.as_ref().is_some_and(is_https) {
        problems.push(format!(
            "BASE_URL must be set to the https origin that clients use, because {listen} is not a loopback address"
        ));
    }
    let state = arguments.state.as_deref().map(State::parse);
    let state = state.or_else(|| State::default_for(settings, config.as_ref()?));
    if state.is_none() && config.is_some() {
        problems.extend(StartError::no_state().problems());
    }
    let form = config
        .as_ref()
        .map(|config| TokenForm::from(&config.upstream));
    let host = config
        .as_ref()
        .and_then(|config| config.upstream.url.host_str());
    let token_file = arguments.token_file.as_deref();
    if let Some(warning) = token_file.and_then(|path| private_files::warning("--token-file", path))
    {
        say_error(&format!("{warning}\n"));
    }
    // Nobody is asked for a token as long as something else is wrong.
    let (setting, file) = (settings.set("UPSTREAM_TOKEN"), token_file);
    let upstream_token = if problems.is_empty() {
        token::read(
            setting,
            file,
            &form.unwrap_or_default(),
            host.unwrap_or_default(),
        )
    } else {
        token::read_given(setting, file, &form.unwrap_or_default())
    };
    let upstream_token = upstream_token.map_err(|what| problems.push(what)).ok();
    let (Some(config), Some((upstream_token, source)), Some(state), true) =
        (config, upstream_token, state, problems.is_empty())
    else {
        return Err(StartError::Settings(problems));
    };
    log::start(
        config.log_format,
        settings.get("RUST_LOG").as_deref(),
        None,
        offset,
    );
    upstream_token.warn(source);
    Run {
        config,
        listen,
        state,
        upstream_token,
        pin: settings.set("AUTH_PIN"),
        max_connections: arguments.max_connections,
        demo: false,
        open: arguments.open,
    }
    .start(Randomness::system())
    .await
}

struct Run {
    config: Config,
    listen: SocketAddr,
    state: State,
    upstream_token: UpstreamToken,
    pin: Option<String>,
    max_connections: NonZeroU16,
    demo: bool,
    open: bool,
}

impl Run {
    async fn start(self, randomness: Randomness) -> Result<(), StartError> {
        let clock = Clock::system();
        let http = HttpClient::new(tls(), clock.clone());
        let state = self.state.open(&http, &self.config.table_name).await?;
        let StartPin { pin, shown } = pin::read(self.pin.clone(), &self.state, &randomness)?;
        let secret = Secret {
            upstream_token: self.upstream_token.clone(),
            pin,
            upstream_headers: Vec::new(),
            clients: Vec::new(),
            origin_secret: None,
        };

        let listener = bind(self.listen).await?;
        let names = match &self.config.base_url {
            Some(base) => local::Names::Configured(base.clone()),
            None => local::Names::of_loopback(address(&listener)?),
        };
        let mut app = App::new(
            self.config.clone(),
            state.dynamodb,
            http,
            Fetcher::new(tls()),
            Secrets::fixed(secret),
            clock,
            randomness,
        );
        app.store = app.store.with_reader(state.reader);
        let signals = local::signals().map_err(|error| StartError::Failure(error.to_string()))?;
        let base = match &names {
            local::Names::Configured(base) | local::Names::Loopback([base, ..]) => base.clone(),
        };
        self.print_greeting(&base, &shown);
        if self.open
            && let Err(error) = browser::open(base.as_str())
        {
            let base = base.as_str();
            say_error(&format!(
                "No browser could be started ({error}): open {base} yourself.\n"
            ));
        }
        if !self.demo {
            let (upstream, secrets) = (app.upstream.clone(), app.secrets.clone());
            tokio::spawn(async move { start_check::run(&upstream, &secrets, 1).await });
        }
        let background = app.background.clone();
        let router = local::router(app, names);
        let max_connections = open_files::connections(self.max_connections);
        server::serve(listener, router, max_connections, signals, say).await;
        let _ = tokio::time::timeout(BACKGROUND_WAIT, background.settled()).await;
        Ok(())
    }

    /// Prints what the person needs: the connector URL, the PIN, and the next step.
    fn print_greeting(&self, base: &BaseUrl, pin: &str) {
        let url = base.join("/mcp");
        let base = base.as_str();
        let mut text = format!("Connector URL: {url}\nPIN: {pin}\n");
        if self.demo {
            text += &format!(
                "\nA small MCP server runs behind it and takes only its own token. Connect a client, for example:\n\
                 \n  claude mcp add --transport http demo {url}      then /mcp in Claude Code\
                 \n  npx @modelcontextprotocol/inspector              transport: Streamable HTTP, URL as above\
                 \n\nA page opens in your browser: type the PIN there. {base} in a browser shows more ways.\n\
                 Nothing is kept when you stop it. Ctrl-C stops.\n",
            );
        } else {
            text += &format!(
                "Upstream: {}\nState: {}\nAdd the connector URL to your MCP client; {base} in a browser shows how. Ctrl-C stops.\n",
                without_query(&self.config.upstream.url),
                self.state,
            );
        }
        if self.config.log_format == LogFormat::Human {
            text += "\n";
        }
        say(&text);
    }
}

/// The upstream without its query, which may hold a key.
fn without_query(url: &url::Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
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
