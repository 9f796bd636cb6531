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
    Report,
    client::Target,
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
    pub async fn start(upstream: SocketAddr, state: &str, activity_days: &str) -> Self {
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
        let token = connect(address).await;
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

/// Latencies of calls on this many connections, direct and proxied in turns, so that other load affects both.
async fn in_turns(sides: [&Target; 2], connections: usize) -> [Vec<f64>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for side in sides {
        side.calls(connections, ROUND / 4).await;
    }
    for _ in 0..ROUNDS {
        for (times, side) in times.iter_mut().zip(sides) {
            times.extend(side.calls(connections, ROUND).await);
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
    let proxy = Proxy::start(servers.upstream, "memory", "0").await;
    let idle = proxy.memory("VmRSS");
    let sides = [&direct, &proxy.target];

    let seconds = (ROUND * u32::try_from(ROUNDS).unwrap()).as_secs_f64();
    let [one, other] = in_turns(sides, 16).await;
    let per_second = |times: &[f64]| times.len() as f64 / seconds;
    report.row(
        "calls a second, 16 connections",
        Some(per_second(&one)),
        per_second(&other),
        "1/s",
    );
    let [mut one, mut other] = in_turns(sides, 1).await;
    report.row(
        "a call, 1 connection, p50",
        Some(quantile(&mut one, 0.5)),
        quantile(&mut other, 0.5),
        "ms",
    );
    let [mut one, mut other] = in_turns(sides, 64).await;
    report.row(
        "a call, 64 connections, p99",
        Some(quantile(&mut one, 0.99)),
        quantile(&mut other, 0.99),
        "ms",
    );

    events(sides, servers, report).await;
    let mut large = [Vec::new(), Vec::new()];
    for _ in 0..10 {
        for (times, side) in large.iter_mut().zip(sides) {
            times.push(side.large().await);
        }
    }
    let mib_per_second =
        |times: &mut Vec<f64>| LARGE_BYTES as f64 / 1_048.576 / quantile(times, 0.5);
    let [one, other] = &mut large;
    report.row(
        "a response of 10 MiB",
        Some(mib_per_second(one)),
        mib_per_second(other),
        "MiB/s",
    );
    report.row("resident memory, idle", None, idle, "MiB");
    report.row("resident memory, peak", None, proxy.memory("VmHWM"), "MiB");
    drop(proxy);

    let proxy = Proxy::start(servers.upstream, &format!("http://{}", servers.aws), "0").await;
    let [mut one, mut other] = in_turns([&direct, &proxy.target], 1).await;
    report.row(
        "a call, 1 connection, p50, fast table",
        Some(quantile(&mut one, 0.5)),
        quantile(&mut other, 0.5),
        "ms",
    );
    drop(proxy);
    let proxy = Proxy::start(servers.upstream, "memory", "30").await;
    let [one, other] = in_turns([&direct, &proxy.target], 16).await;
    report.row(
        "calls a second, 16 connections, with the activity record",
        Some(per_second(&one)),
        per_second(&other),
        "1/s",
    );
}

async fn events(sides: [&Target; 2], servers: &Servers, report: &mut Report) {
    let mut firsts = [Vec::new(), Vec::new()];
    let mut each = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (at, side) in sides.iter().enumerate() {
            let (first, times) = side.events(servers.begin).await;
            assert_eq!(times.len(), EVENTS);
            firsts[at].push(first);
            each[at].extend(times);
        }
    }
    let [one, other] = &mut firsts;
    report.row(
        "call to first event, p50",
        Some(quantile(one, 0.5)),
        quantile(other, 0.5),
        "ms",
    );
    let [one, other] = &mut each;
    report.row(
        "an event, p50",
        Some(quantile(one, 0.5)),
        quantile(other, 0.5),
        "ms",
    );
}
