//! Faults of the upstream at every stage of a call: each has its response and its log event, and the connection stays.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::support::world::{Connected, Options, World, logged, time_passes};

/// What an upstream sends in response to a request, before it closes the connection.
#[derive(Clone, Default)]
struct Sent {
    bytes: Vec<u8>,
    /// Closes with a reset instead of an end.
    reset: bool,
}

/// An upstream that does what the test says.
struct Scripted {
    address: SocketAddr,
    sent: Arc<Mutex<Sent>>,
}

impl Scripted {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(Mutex::new(Sent::default()));
        let script = sent.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let sent = script.lock().unwrap().clone();
                tokio::spawn(respond(socket, sent));
            }
        });
        Self { address, sent }
    }

    fn sends(&self, text: &[u8], reset: bool) {
        let bytes = text.to_vec();
        *self.sent.lock().unwrap() = Sent { bytes, reset };
    }
}

async fn respond(mut socket: TcpStream, sent: Sent) {
    let mut request = vec![0; 65_536];
    let _ = socket.read(&mut request).await;
    let _ = socket.write_all(&sent.bytes).await;
    if sent.reset {
        // With a linger time of zero, closing sends a reset.
        let _ = socket.set_zero_linger();
    }
}

/// The name of the log line about a call of this connection that got no response to pass on.
fn logged_event(client: &Connected) -> Option<String> {
    let id = client.access.trim_start_matches("mcp_at_");
    let id = id.split('.').next().unwrap();
    let log = logged().lock().unwrap().clone();
    let log = String::from_utf8_lossy(&log).into_owned();
    let mut lines = log.lines().filter(|line| line.contains(id));
    lines
        .rfind(|line| line.contains("\"event\":\"upstream_"))
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["fields"]["event"].as_str().unwrap().to_owned()
        })
}

/// What is sent, whether the connection is reset then, the client's status and Retry-After, the log event.
type Row<'a> = (&'a str, &'a [u8], bool, u16, &'a str, &'a str);

#[tokio::test]
async fn every_fault_of_the_upstream_has_its_response_and_its_log_event() {
    let upstream = Scripted::start().await;
    let w = World::with_options(Options {
        upstream: Some(format!("http://{}/mcp", upstream.address)),
        ..Options::default()
    })
    .await;
    let long = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'x'; 1 << 20]].concat();
    let rows: [Row<'_>; 12] = [
        ("closed before a response", b"", false, 502, "", "upstream_unreachable"),
        ("reset before a response", b"", true, 502, "", "upstream_unreachable"),
        ("reset in the headers", b"HTTP/1.1 200 OK\r\ncontent-ty", true, 502, "", "upstream_unreachable"),
        ("closed in the headers", b"HTTP/1.1 200 OK\r\ncontent-ty", false, 502, "", "upstream_unreachable"),
        ("not HTTP", b"220 mail.example ESMTP\r\n", false, 502, "", "upstream_unreachable"),
        ("headers of a megabyte", &long, false, 502, "", "upstream_unreachable"),
        (
            "refused credential",
            b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n",
            false, 502, "", "upstream_credential_refused",
        ),
        (
            "refused call",
            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            false, 200, "", "upstream_refused",
        ),
        (
            "too many requests",
            b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
            false, 429, "7", "",
        ),
        (
            "unavailable",
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n",
            false, 503, "9", "",
        ),
        (
            "redirect to another origin",
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: https://other.example/\r\ncontent-length: 0\r\n\r\n",
            false, 502, "", "upstream_redirect",
        ),
        (
            "redirect that changes the method",
            b"HTTP/1.1 302 Found\r\nlocation: /mcp/x\r\ncontent-length: 0\r\n\r\n",
            false, 502, "", "upstream_redirect",
        ),
    ];
    for (what, text, reset, status, retry_after, event) in rows {
        upstream.sends(text, reset);
        let client = w.connect().await;
        let response = w.call(&client.access).send().await;
        assert_eq!(response.status, status, "{what}: {response:?}");
        assert_eq!(response.header("retry-after"), retry_after, "{what}");
        assert_eq!(response.header("www-authenticate"), "", "{what}");
        assert_eq!(logged_event(&client).unwrap_or_default(), event, "{what}");
        if !event.is_empty() {
            assert!(!response.json()["error"]["message"].is_null(), "{what}");
        }
        // The connection is as good as before.
        upstream.sends(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            false,
        );
        assert_eq!(w.status(&client.access).await, 200, "{what}");
        assert_eq!(
            w.refresh(&client.client_id, &client.refresh).await.status,
            200,
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_be_connected_to_is_502() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = closed.local_addr().unwrap();
    drop(closed);
    // It speaks no TLS.
    let plain = Scripted::start().await;
    plain.sends(b"HTTP/1.1 200 OK\r\n\r\n", false);
    for (what, url) in [
        ("refused", format!("http://{refused}/mcp")),
        ("no such name", "https://upstream.invalid/mcp".to_owned()),
        ("no TLS", format!("https://{}/mcp", plain.address)),
    ] {
        let w = World::with_options(Options {
            upstream: Some(url),
            ..Options::default()
        })
        .await;
        let client = w.connect().await;
        let response = tokio::time::timeout(Duration::from_secs(20), w.call(&client.access).send());
        let response = response.await.expect(what);
        assert_eq!(response.status, 502, "{what}: {response:?}");
        assert_eq!(
            logged_event(&client).as_deref(),
            Some("upstream_unreachable"),
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_accepts_no_connection_in_ten_seconds_is_502() {
    // With a full queue the system leaves further attempts without an answer, as a firewall does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(socket)) =
        tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await
    {
        waiting.push(socket);
    }
    let w = World::with_options(Options {
        upstream: Some(format!("http://{address}/mcp")),
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    let mut call = std::pin::pin!(w.call(&client.access).send());
    let early = tokio::select! {
        response = &mut call => Some(response.status),
        () = time_passes(8) => None,
    };
    assert_eq!(early, None);
    let response = tokio::select! {
        response = call => response,
        () = time_passes(30) => panic!("it still waits"),
    };
    assert_eq!(response.status, 502, "{response:?}");
    let event = logged_event(&client);
    assert_eq!(event.as_deref(), Some("upstream_unreachable"));
}

#[tokio::test]
async fn a_response_that_ends_after_its_headers_never_looks_complete() {
    let upstream = Scripted::start().await;
    let w = World::with_options(Options {
        upstream: Some(format!("http://{}/mcp", upstream.address)),
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    for reset in [false, true] {
        for part in ["", "{\"jsonrpc\":"] {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
            upstream.sends(format!("{head}{part}").as_bytes(), reset);
            // A reset may overtake what was sent before it, and then it is one before the response.
            if let Ok(response) = w.call(&client.access).0.send().await {
                let status = response.status();
                let whole = response.bytes().await.is_ok();
                assert_eq!(
                    (status.as_u16(), whole),
                    if whole { (502, true) } else { (200, false) }
                );
                assert!(reset || !whole, "{part:?}");
            }
        }
    }
}
