//! The rows of the local host.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lambda_oauth_mcp_proxy::http_client::tls;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::{
    Others, Report,
    client::Target,
    nginx::Nginx,
    quantile,
    servers::{EVENTS, LARGE_BYTES, Servers},
};

/// The base URL in tokens and events.
pub const BASE: &str = "https://bench.example";
const PIN: &str = "benchPIN22";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CALLBACK: &str = "https://client.example/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The program in a process of its own, killed when it is dropped.
pub struct Proxy {
    child: Child,
    pub target: Target,
}

impl Proxy {
    /// A new process with a new connection.
    pub async fn start(upstream: SocketAddr, state: &str, activity_days: &str) -> Self {
        Self::start_with(upstream, state, activity_days, None).await
    }

    /// A new process that knows this access token already, or with a new connection.
    pub async fn start_with(
        upstream: SocketAddr,
        state: &str,
        activity_days: &str,
        token: Option<String>,
    ) -> Self {
        // The program prints only its base URL, so its port is chosen here.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"))
            .args(["serve", "--listen", &address.to_string(), "--state", state])
            .env("UPSTREAM_MCP", format!("http://{upstream}/mcp"))
            .env("UPSTREAM_TOKEN", "upstream-token")
            .env("AUTH_PIN", PIN)
            .env("BASE_URL", BASE)
            .env("ACTIVITY_DAYS", activity_days)
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines
            .find(|line| line.as_ref().is_ok_and(|line| line.contains(BASE)))
            .unwrap()
            .unwrap();
        // It is read on, so that the program can go on writing.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let token = match token {
            Some(token) => token,
            None => connect(address).await,
        };
        let target = Target {
            address,
            host: "bench.example".to_owned(),
            token,
        };
        Self { child, target }
    }

    /// A line of /proc/…/status, in MiB.
    fn memory(&self, line: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|found| found.starts_with(line))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1024.0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Registers, consents and redeems; returns the access token.
async fn connect(address: SocketAddr) -> String {
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let url = |path: &str| format!("http://{address}{path}");
    let post = |path: &str, pairs: &[(&str, &str)]| {
        http.post(url(path))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(pairs))
    };
    let body = json!({ "redirect_uris": [CALLBACK] }).to_string();
    let register = http
        .post(url("/register"))
        .header("content-type", "application/json")
        .body(body);
    let client: Value =
        serde_json::from_slice(&register.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let id = client["client_id"].as_str().unwrap();
    let request = form(&[
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let page = http
        .get(url(&format!("/authorize?{request}")))
        .send()
        .await
        .unwrap();
    let cookie = page.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let html = page.text().await.unwrap();
    let page = html
        .split_once("name=\"page\" value=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let decision = [("page", page), ("pin", PIN), ("decision", "authorize")];
    let decided = post("/authorize", &decision)
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    let location = url::Url::parse(decided.headers()["location"].to_str().unwrap()).unwrap();
    let code = location
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1
        .into_owned();
    let redemption = [
        ("grant_type", "authorization_code"),
        ("client_id", id),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", CALLBACK),
    ];
    let tokens = post("/token", &redemption)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let tokens: Value = serde_json::from_slice(&tokens).unwrap();
    tokens["access_token"].as_str().unwrap().to_owned()
}

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What is measured in turns, so that other load on the machine affects each: the upstream itself, nginx in front of it (if it is
/// installed), and the program in front of it.
struct Sides {
    direct: Target,
    nginx: Option<Nginx>,
    proxy: Proxy,
}

/// What was measured of each.
struct Times {
    direct: Vec<f64>,
    nginx: Option<Vec<f64>>,
    proxied: Vec<f64>,
}

impl Times {
    /// A row of what this makes of the times of each.
    fn row(
        mut self,
        report: &mut Report,
        name: &str,
        unit: &'static str,
        of: impl Fn(&mut [f64]) -> f64,
    ) {
        let others = Others {
            direct: Some(of(&mut self.direct)),
            nginx: self.nginx.as_mut().map(|times| of(times)),
        };
        report.row(name, others, of(&mut self.proxied), unit);
    }
}

impl Sides {
    /// The same number of turns for each.
    async fn in_turns(&self, turns: usize, turn: impl AsyncFn(&Target) -> Vec<f64>) -> Times {
        let mut times = Times {
            direct: Vec::new(),
            nginx: self.nginx.as_ref().map(|_| Vec::new()),
            proxied: Vec::new(),
        };
        for _ in 0..turns {
            times.direct.extend(turn(&self.direct).await);
            if let (Some(times), Some(nginx)) = (&mut times.nginx, &self.nginx) {
                times.extend(turn(&nginx.target).await);
            }
            times.proxied.extend(turn(&self.proxy.target).await);
        }
        times
    }

    /// The milliseconds of calls on this many connections.
    async fn calls(&self, connections: usize) -> Times {
        self.in_turns(1, async |side| side.calls(connections, ROUND / 4).await)
            .await;
        self.in_turns(ROUNDS, async |side| side.calls(connections, ROUND).await)
            .await
    }
}

/// How many calls a second these are.
fn per_second(times: &mut [f64]) -> f64 {
    times.len() as f64 / (ROUND.as_secs_f64() * ROUNDS as f64)
}

pub fn median(times: &mut [f64]) -> f64 {
    quantile(times, 0.5)
}

/// The milliseconds of calls on one connection to each of two, in turns.
pub async fn calls_in_turns(sides: [&Target; 2]) -> [Vec<f64>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (times, side) in times.iter_mut().zip(sides) {
            times.extend(side.calls(1, ROUND).await);
        }
    }
    times
}

pub async fn measure(servers: &Servers, report: &mut Report) {
    let direct = Target {
        address: servers.upstream,
        host: "upstream.example".to_owned(),
        token: "token".to_owned(),
    };
    let mut sides = Sides {
        nginx: Nginx::start(servers.upstream, &direct).await,
        proxy: Proxy::start(servers.upstream, "memory", "0").await,
        direct,
    };
    let idle = sides.proxy.memory("VmRSS");
    let times = sides.calls(16).await;
    times.row(report, "calls a second, 16 connections", "1/s", per_second);
    let times = sides.calls(1).await;
    times.row(report, "a call, 1 connection, p50", "ms", median);
    let times = sides.calls(64).await;
    let p99 = |times: &mut [f64]| quantile(times, 0.99);
    times.row(report, "a call, 64 connections, p99", "ms", p99);

    let first = async |side: &Target| vec![side.events(servers.begin, 1).await.0];
    let times = sides.in_turns(20 * ROUNDS, first).await;
    times.row(report, "call to first event, p50", "ms", median);
    let events = async |side: &Target| side.events(servers.begin, EVENTS).await.1;
    let times = sides.in_turns(ROUNDS, events).await;
    times.row(report, "an event, p50", "ms", median);

    let times = sides
        .in_turns(4 * ROUNDS, async |side| vec![side.large().await])
        .await;
    let speed = |times: &mut [f64]| LARGE_BYTES as f64 / 1_048.576 / median(times);
    times.row(report, "a response of 10 MiB", "MiB/s", speed);
    let memory = [("idle", idle), ("peak", sides.proxy.memory("VmHWM"))];
    for (when, memory) in memory {
        report.row(
            format!("resident memory, {when}"),
            Others::default(),
            memory,
            "MiB",
        );
    }

    let fast_table = format!("http://{}", servers.aws);
    sides.proxy = Proxy::start(servers.upstream, &fast_table, "0").await;
    let times = sides.calls(1).await;
    times.row(
        report,
        "a call, 1 connection, p50, fast table",
        "ms",
        median,
    );
    sides.proxy = Proxy::start(servers.upstream, "memory", "30").await;
    let times = sides.calls(16).await;
    let name = "calls a second, 16 connections, with the activity record";
    times.row(report, name, "1/s", per_second);
}
