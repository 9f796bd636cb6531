//! What the proxy adds, measured side by side with going direct: latency per event, time to the first, memory for
//! large bodies, and how far a slow reader lets the upstream run ahead. Run it on a quiet machine; compare ratios.
//!
//!     cargo bench
//!
//! The proxy is the real program in a process of its own; upstream and client are here.

#![allow(clippy::print_stdout, reason = "a benchmark speaks to whoever runs it")]
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends there"
)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use lambda_oauth_mcp_proxy::http_client::tls;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ROUNDS: usize = 6;
const EVENTS: usize = 500;
const PAUSE: Duration = Duration::from_millis(1);
const LARGE: usize = 10 * 1024 * 1024;
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The proxy, killed when it is dropped.
struct Proxy {
    child: Child,
    url: String,
    pin: String,
}

impl Proxy {
    fn start(upstream: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"))
            .args(["serve", "--listen", "127.0.0.1:0", "--state", "memory"])
            .env("UPSTREAM_MCP", upstream)
            .env("UPSTREAM_TOKEN", "t")
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read = |label: &str| loop {
            let line = lines.next().unwrap().unwrap();
            if let Some(value) = line.strip_prefix(label) {
                return value.to_owned();
            }
        };
        let (url, pin) = (read("Connector URL: "), read("PIN: "));
        Self { child, url, pin }
    }

    /// The most memory it has used, in KiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Registers, consents and redeems.
    async fn token(&self, http: &reqwest::Client) -> String {
        let base = self.url.trim_end_matches("/mcp");
        let callback = "https://client.example/callback";
        let client: Value = serde_json::from_slice(
            &http
                .post(format!("{base}/register"))
                .header("content-type", "application/json")
                .body(json!({ "redirect_uris": [callback] }).to_string())
                .send()
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap(),
        )
        .unwrap();
        let id = client["client_id"].as_str().unwrap();
        let ask = form(&[
            ("response_type", "code"),
            ("client_id", id),
            ("redirect_uri", callback),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let page = http
            .get(format!("{base}/authorize?{ask}"))
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
        let after = html.split_once("name=\"page\" value=\"").unwrap().1;
        let page = after.split_once('"').unwrap().0;
        let decided = post(
            http,
            &format!("{base}/authorize"),
            &[("page", page), ("pin", &self.pin)],
        )
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
        let tokens = post(
            http,
            &format!("{base}/token"),
            &[
                ("grant_type", "authorization_code"),
                ("client_id", id),
                ("code", &code),
                ("code_verifier", VERIFIER),
                ("redirect_uri", callback),
            ],
        );
        let tokens = tokens.send().await.unwrap().bytes().await.unwrap();
        let tokens: Value = serde_json::from_slice(&tokens).unwrap();
        tokens["access_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn post(http: &reqwest::Client, url: &str, pairs: &[(&str, &str)]) -> reqwest::RequestBuilder {
    http.post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(pairs))
}

/// What the upstream is asked for is the last segment of the path.
async fn upstream(begin: Instant, ahead: Arc<AtomicU64>) -> String {
    let response = move |request: Request| async move {
        let wanted = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        match wanted.as_str() {
            "events" => {
                let events = stream::unfold(0, move |n| async move {
                    if n == EVENTS {
                        return None;
                    }
                    tokio::time::sleep(PAUSE).await;
                    let event = format!("data: {}\n\n", begin.elapsed().as_nanos());
                    Some((Ok::<_, std::io::Error>(Bytes::from(event)), n + 1))
                });
                (
                    [("content-type", "text/event-stream")],
                    Body::from_stream(events),
                )
                    .into_response()
            }
            "large" => {
                let chunks = stream::iter(
                    (0..LARGE / 65_536).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 65_536])),
                );
                (
                    [("content-type", "application/json")],
                    Body::from_stream(chunks),
                )
                    .into_response()
            }
            "endless" => {
                let chunks = stream::repeat_with(move || {
                    ahead.fetch_add(65_536, Ordering::Relaxed);
                    Ok::<_, std::io::Error>(vec![b'x'; 65_536])
                });
                (
                    [("content-type", "application/json")],
                    Body::from_stream(chunks),
                )
                    .into_response()
            }
            _ => {
                let mut body = request.into_body().into_data_stream();
                let mut length = 0;
                while let Some(Ok(chunk)) = body.next().await {
                    length += chunk.len();
                }
                length.to_string().into_response()
            }
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(response)).await });
    format!("http://{address}/mcp")
}

struct Side<'a> {
    http: &'a reqwest::Client,
    url: &'a str,
    token: &'a str,
}

impl Side<'_> {
    fn call(&self, wanted: &str) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}/{wanted}", self.url))
            .bearer_auth(self.token)
    }

    /// Latency of every event, and the time from the call to the first, in microseconds.
    async fn events(&self, begin: Instant, latencies: &mut Vec<f64>, firsts: &mut Vec<f64>) {
        let called = Instant::now();
        let mut body = self.call("events").send().await.unwrap().bytes_stream();
        let mut text = String::new();
        let mut first = true;
        while let Some(chunk) = body.next().await {
            let now = begin.elapsed().as_nanos();
            if std::mem::take(&mut first) {
                firsts.push(called.elapsed().as_secs_f64() * 1e6);
            }
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                let sent: u128 = event.trim_start_matches("data: ").parse().unwrap();
                #[expect(clippy::cast_precision_loss, reason = "microseconds of a short run")]
                latencies.push((now - sent) as f64 / 1000.0);
                text = rest.to_owned();
            }
        }
    }
}

fn at(sorted: &mut [f64], percent: usize) -> f64 {
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

#[tokio::main]
async fn main() {
    let begin = Instant::now();
    let ahead = Arc::new(AtomicU64::new(0));
    let direct = upstream(begin, ahead.clone()).await;
    let proxy = Proxy::start(&direct);
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .unwrap();
    let token = proxy.token(&http).await;
    let sides = [
        Side {
            http: &http,
            url: &direct,
            token: "t",
        },
        Side {
            http: &http,
            url: &proxy.url,
            token: &token,
        },
    ];

    let (mut latencies, mut firsts) = ([vec![], vec![]], [vec![], vec![]]);
    // In turns, so that changes in the load of the machine affect both.
    for _ in 0..ROUNDS {
        for (n, side) in sides.iter().enumerate() {
            side.events(begin, &mut latencies[n], &mut firsts[n]).await;
        }
    }
    let [direct_events, proxied_events] = &mut latencies;
    let [direct_first, proxied_first] = &mut firsts;
    println!("{EVENTS} events a call, one each millisecond, {ROUNDS} calls a side, in turns");
    println!(
        "{:<28}{:>12}{:>12}{:>12}{:>8}",
        "microseconds", "direct", "proxied", "added", "ratio"
    );
    let row = |what: &str, a: f64, b: f64| {
        println!("{what:<28}{a:>12.0}{b:>12.0}{:>12.0}{:>8.2}", b - a, b / a);
    };
    row(
        "per event, p50",
        at(direct_events, 50),
        at(proxied_events, 50),
    );
    row(
        "per event, p99",
        at(direct_events, 99),
        at(proxied_events, 99),
    );
    row(
        "call to first event, p50",
        at(direct_first, 50),
        at(proxied_first, 50),
    );

    let before = proxy.peak();
    let down = sides[1]
        .call("large")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .len();
    let after_down = proxy.peak();
    let chunks =
        stream::iter((0..LARGE / 65_536).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 65_536])));
    let up = sides[1]
        .call("count")
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();
    let up: usize = up.text().await.unwrap().parse().unwrap();
    assert_eq!((down, up), (LARGE, LARGE));
    println!(
        "\npeak memory of the proxy, KiB: {before} before; {after_down} after 10 MB down; {} after 10 MB up",
        proxy.peak()
    );

    let mut slow = sides[1]
        .call("endless")
        .send()
        .await
        .unwrap()
        .bytes_stream();
    let _ = slow.next().await;
    let mut seen = 0;
    // Until nothing moves for a second.
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = ahead.load(Ordering::Relaxed);
        if now == seen {
            break;
        }
        seen = now;
    }
    println!(
        "a reader that stops: the upstream has sent {} KiB and waits",
        seen / 1024
    );
}
