//! The rows of the Lambda host: this program in a second process, the host's own code, with stand-ins that speak TLS.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use lambda_oauth_mcp_proxy::{host::lambda, http_client::tls_with_roots};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    Others, Report,
    authority::trusting,
    local_host::{BASE, Proxy},
    quantile,
    servers::{Servers, delayed, read_message},
};

/// The certificate of the stand-ins' authority, in base64. A process that has it is the function.
pub const AUTHORITY: &str = "BENCH_AUTHORITY";
/// Names the package's binary, for the instructions of a call and the start to the first poll. It does not know the authority,
/// so it has plain HTTP to the table, and an upstream where nobody listens: compare it with another such binary only.
const LAMBDA_BINARY: &str = "LAMBDA_BINARY";
const STARTS: usize = 7;
const CALLS: usize = 300;
/// The memory at which a function has one CPU (AWS Lambda Developer Guide, "Configure Lambda function memory").
const ONE_CPU_MB: u32 = 1769;
const MEMORY_MB: [u32; 5] = [128, 256, 512, 1024, ONE_CPU_MB];
const ROUND_TRIPS_MS: [u64; 3] = [1, 5, 20];
/// What a call may cost: a third more than was counted when these were set, in an optimized and in a development build.
const INSTRUCTIONS_MAX: f64 = if cfg!(debug_assertions) { 7e6 } else { 1.25e6 };
const ALLOCATIONS_MAX: f64 = 1_100.0;

/// The package's binary, if one is named.
fn named() -> Option<PathBuf> {
    std::env::var_os(LAMBDA_BINARY).map(PathBuf::from)
}

/// The function, in this process.
pub fn run(environment: &BTreeMap<String, String>) {
    let certificate = CertificateDer::from(STANDARD.decode(&environment[AUTHORITY]).unwrap());
    let tls = tls_with_roots(trusting(certificate));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let lookup = |name: &str| environment.get(name).cloned();
    let code = runtime.unwrap().block_on(lambda::run(lookup, tls));
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// How the function reaches what it talks to.
struct Places {
    aws: String,
    upstream: String,
    /// The status code of every call then.
    status: u16,
}

impl Places {
    /// With TLS, as on AWS.
    async fn with_tls(servers: &Servers, round_trip: Duration, upstream: u16) -> Self {
        let aws = match round_trip {
            Duration::ZERO => servers.aws_tls,
            round_trip => delayed(servers.aws_tls, round_trip).await,
        };
        Self {
            aws: format!("https://localhost:{}", aws.port()),
            upstream: format!("https://localhost:{upstream}/mcp"),
            status: 200,
        }
    }

    /// For a binary that does not know the authority: the table without TLS, and an upstream where nobody listens.
    fn without_tls(servers: &Servers) -> Self {
        Self {
            aws: format!("http://{}", servers.aws),
            upstream: "https://127.0.0.1:1/mcp".to_owned(),
            status: 502,
        }
    }
}

/// A process of the function, and the Runtime API for it.
struct Function {
    child: Child,
    socket: TcpStream,
    received: BytesMut,
    share: Option<CpuShare>,
    /// The status code of every call, as it is in the response.
    status: String,
    /// From the start of the process to its first poll, in milliseconds.
    first_poll: f64,
}

impl Function {
    async fn start(servers: &Servers, round_trip: Duration, upstream: u16) -> Self {
        let command = Command::new(std::env::current_exe().unwrap());
        let places = Places::with_tls(servers, round_trip, upstream).await;
        Self::start_as(command, servers, places).await
    }

    async fn start_as(mut command: Command, servers: &Servers, places: Places) -> Self {
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let begin = Instant::now();
        let child = command
            .env_clear()
            .env(AUTHORITY, STANDARD.encode(servers.authority.certificate()))
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                api.local_addr().unwrap().to_string(),
            )
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "example")
            .env("AWS_ENDPOINT_URL", places.aws)
            .env("TABLE_NAME", "lambda-oauth-mcp-proxy")
            .env(
                "SECRET_ARN",
                "arn:aws:secretsmanager:us-east-1:000000000000:secret:bench",
            )
            .env("UPSTREAM_MCP", places.upstream)
            .env("BASE_URL", BASE)
            .env("ACTIVITY_DAYS", "0")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut socket, _) = api.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut received = BytesMut::new();
        read_message(&mut socket, &mut received).await.unwrap();
        let first_poll = begin.elapsed().as_secs_f64() * 1000.0;
        Self {
            child,
            socket,
            received,
            share: None,
            status: format!(r#""statusCode":{}"#, places.status),
            first_poll,
        }
    }

    /// One invocation after a poll; its milliseconds until the end of the response, and then the next poll.
    async fn invoke(&mut self, event: &str) -> f64 {
        let deadline = 4_102_444_800_000_u64; // 2100
        let begin = Instant::now();
        let invocation = format!(
            "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 00000000-0000-4000-8000-000000000000\r\n\
             lambda-runtime-deadline-ms: {deadline}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{event}",
            event.len()
        );
        self.socket.write_all(invocation.as_bytes()).await.unwrap();
        while !self.received.ends_with(b"\r\n0\r\n\r\n") {
            assert!(self.socket.read_buf(&mut self.received).await.unwrap() > 0);
        }
        let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
        let response = String::from_utf8_lossy(&self.received);
        assert!(response.contains(&self.status), "{response}");
        self.received.clear();
        let accepted = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
        self.socket.write_all(accepted).await.unwrap();
        read_message(&mut self.socket, &mut self.received)
            .await
            .unwrap();
        milliseconds
    }

    /// From now on it gets the CPU share of a function with this memory, as after INIT on Lambda.
    fn limit(&mut self, memory_mb: u32) -> bool {
        self.share = CpuShare::of(self.child.id(), memory_mb);
        self.share.is_some()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.share.take());
    }
}

/// A control group (version 1 or 2) that limits the CPU time of a process; removed when dropped.
struct CpuShare(PathBuf);

impl CpuShare {
    fn of(process: u32, memory_mb: u32) -> Option<Self> {
        // 20 ms: what Lambda was measured to use.
        let (period, quota) = (20_000, 20_000 * memory_mb / ONE_CPU_MB);
        let name = format!("lambda-bench-{process}");
        for root in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"] {
            let share = Self(PathBuf::from(root).join(&name));
            if fs::create_dir(&share.0).is_err() {
                continue;
            }
            let write = |file: &str, text: String| fs::write(share.0.join(file), text).is_ok();
            let limited = write("cpu.max", format!("{quota} {period}"))
                || write("cpu.cfs_period_us", period.to_string())
                    && write("cpu.cfs_quota_us", quota.to_string());
            if limited && write("cgroup.procs", process.to_string()) {
                return Some(share);
            }
        }
        None
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn event(token: &str, method: &str) -> String {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "name": "echo", "arguments": { "text": "hello" } } });
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/mcp", "rawQueryString": "",
        "headers": {
            "authorization": format!("Bearer {token}"), "content-type": "application/json",
            "accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25",
            "x-forwarded-for": "203.0.113.80", "x-forwarded-proto": "https", "x-forwarded-port": "443",
            "x-amzn-trace-id": "Root=1-00000000-000000000000000000000000", "host": "bench.example", "user-agent": "bench",
        },
        "requestContext": {
            "accountId": "anonymous", "apiId": "abc123", "domainName": "bench.example", "requestId": "1", "stage": "$default",
            "http": { "method": "POST", "path": "/mcp", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.80", "userAgent": "bench" },
        },
        "body": body.to_string(), "isBase64Encoded": false,
    })
    .to_string()
}

/// What one call costs, counted by Valgrind: the difference between a process with more calls and one with fewer. `None`
/// if Valgrind is not installed. `line` and `word` say where in its output the number is.
async fn counted(
    servers: &Servers,
    event: &str,
    tool: &str,
    line: &str,
    word: usize,
) -> Option<f64> {
    const FEW: u32 = 10;
    const MANY: u32 = 60;
    let mut counts = Vec::new();
    for calls in [FEW, MANY] {
        let mut command = Command::new("valgrind");
        let (program, places) = if let Some(named) = named() {
            (named, Places::without_tls(servers))
        } else {
            let upstream = servers.upstream_tls.port();
            let places = Places::with_tls(servers, Duration::ZERO, upstream).await;
            (std::env::current_exe().unwrap(), places)
        };
        command
            .arg(format!("--tool={tool}"))
            .arg(format!("--{tool}-out-file=/dev/null"))
            .arg(program)
            .stderr(Stdio::piped());
        if Command::new("valgrind")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            return None;
        }
        let mut function = Function::start_as(command, servers, places).await;
        for _ in 0..calls {
            function.invoke(event).await;
        }
        // Without its Runtime API the function ends by itself.
        let _ = function.socket.shutdown().await;
        let output = std::io::read_to_string(function.child.stderr.take().unwrap()).unwrap();
        let found = output
            .lines()
            .find_map(|found| found.split_once(line))
            .unwrap()
            .1;
        let number = found.split_whitespace().nth(word).unwrap().replace(',', "");
        counts.push(number.parse::<f64>().unwrap());
    }
    Some((counts[1] - counts[0]) / f64::from(MANY - FEW))
}

/// Counts instructions and allocations of a call. Returns whether they are within the limits.
pub async fn guard(servers: &Servers, report: &mut Report) -> bool {
    let token = token(servers).await;
    let event = event(&token, "tools/call");
    let mut counts = vec![(
        "instructions of a call",
        counted(servers, &event, "callgrind", "Collected :", 0).await,
        INSTRUCTIONS_MAX,
    )];
    // The package has an allocator of its own, which Valgrind does not see.
    if named().is_none() {
        counts.push((
            "allocations of a call",
            counted(servers, &event, "dhat", "Total:", 3).await,
            ALLOCATIONS_MAX,
        ));
    }
    let mut within = true;
    for (name, count, limit) in counts {
        match count {
            Some(count) => {
                report.row(name, Others::default(), count, "");
                within &= count <= limit;
            }
            None => println!("{name}: not counted, because Valgrind is not installed"),
        }
    }
    within
}

async fn token(servers: &Servers) -> String {
    let proxy = Proxy::start(servers.upstream, &format!("http://{}", servers.aws), "0").await;
    proxy.target.token.clone()
}

/// Milliseconds of direct calls to the upstream, over one connection with TLS.
async fn direct(servers: &Servers) -> Vec<f64> {
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls_with_roots(servers.authority.roots()))
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/mcp", servers.upstream_tls.port());
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let begin = Instant::now();
        let response = http.post(&url).body("{}").send().await.unwrap();
        response.bytes().await.unwrap();
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    times
}

pub async fn measure(servers: &Servers, report: &mut Report) {
    let token = token(servers).await;
    let (call, first) = (event(&token, "tools/call"), event(&token, "initialize"));
    let upstream = servers.upstream_tls.port();

    // Nobody listens on port 1, so the warm-up of the upstream ends at once.
    let mut polls = Vec::new();
    for _ in 0..5 * STARTS {
        let function = match named() {
            Some(named) => {
                Function::start_as(Command::new(named), servers, Places::without_tls(servers)).await
            }
            None => Function::start(servers, Duration::ZERO, 1).await,
        };
        polls.push(function.first_poll);
    }
    report.row(
        "start to first poll, p50",
        Others::default(),
        quantile(&mut polls, 0.5),
        "ms",
    );

    let mut function = Function::start(servers, Duration::ZERO, upstream).await;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        one.extend(direct(servers).await);
        for _ in 0..CALLS {
            other.push(function.invoke(&call).await);
        }
    }
    drop(function);
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let row = format!("a call through the Lambda host, {name}");
        report.row(
            row,
            Others {
                direct: Some(quantile(&mut one, share)),
                nginx: None,
            },
            quantile(&mut other, share),
            "ms",
        );
    }

    for memory_mb in MEMORY_MB {
        for round_trip in ROUND_TRIPS_MS {
            let (mut cold, mut warm) = (Vec::new(), Vec::new());
            for _ in 0..STARTS {
                let mut function =
                    Function::start(servers, Duration::from_millis(round_trip), upstream).await;
                if !function.limit(memory_mb) {
                    println!(
                        "The CPU share cannot be limited here, so the rows of each memory size are left out."
                    );
                    return;
                }
                cold.push(function.first_poll + function.invoke(&first).await);
                for _ in 0..20 {
                    warm.push(function.invoke(&call).await);
                }
            }
            let at = format!("{memory_mb} MB, {round_trip} ms to the table");
            report.row(
                format!("cold start and initialize, {at}"),
                Others::default(),
                quantile(&mut cold, 0.5),
                "ms",
            );
            report.row(
                format!("a call, {at}, p50"),
                Others::default(),
                quantile(&mut warm, 0.5),
                "ms",
            );
        }
    }
}
