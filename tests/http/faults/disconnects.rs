//! A client that disconnects, at every stage of a call: the call of the upstream ends at once.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::world::{Options, World};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: endpoint\ndata: /messages\n\n";
const LARGE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n";
/// Longer than what is kept before it is sent on.
const STREAMED_BYTES: usize = 7 * 1024 * 1024;

/// When the client disconnects.
enum When {
    /// Before the upstream was asked.
    NotAsked,
    /// When the upstream has received the request, or a part of it, and sent this.
    Sent(&'static [u8]),
    /// When it has sent this and the client has received the end of it.
    Received(&'static [u8]),
    /// When it has sent this, and then as much as it could without a client that reads.
    Unread(&'static [u8]),
}

/// Everything that the client sends, up to the stage.
fn request(w: &World, access: &str, method: &str, length: usize, body: &str) -> String {
    format!(
        "{method} /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {access}\r\n\
         accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}",
        w.address
    )
}

/// A proxy and its upstream, which does what the test says.
struct Stage {
    w: World,
    listener: TcpListener,
    access: String,
    transport: &'static str,
}

impl Stage {
    async fn start(transport: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let w = World::with_options(Options {
            upstream: Some(format!("http://{}/mcp", listener.local_addr().unwrap())),
            settings: vec![
                ("UPSTREAM_TRANSPORT", transport.to_owned()),
                ("GET_STREAMS", "on".to_owned()),
            ],
            ..Options::default()
        })
        .await;
        let access = w.connect().await.access;
        Self {
            w,
            listener,
            access,
            transport,
        }
    }

    async fn is_not_asked(&self) -> bool {
        let asked = self.listener.accept();
        timeout(Duration::from_millis(20), asked).await.is_err()
    }
}

async fn disconnects(at: &Stage, method: &str, stage: &str, sent: [usize; 2], when: When) {
    let Stage {
        w,
        listener,
        access,
        transport,
    } = at;
    let what = format!("{transport}, {method}: {stage}");
    let [length, body] = sent;
    let body = CALL.repeat(body.div_ceil(CALL.len()))[..body].to_owned();
    let mut text = request(w, access, method, length, &body);
    if stage == "within the head" {
        text.truncate(text.len() - 2);
    }
    // A small buffer, so that what is not read fills everything on the way.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(w.address).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();

    let (to_send, read_by_client, floods) = match when {
        When::NotAsked => {
            assert!(at.is_not_asked().await, "{what}");
            drop(client);
            assert!(at.is_not_asked().await, "{what}");
            return;
        }
        When::Sent(bytes) => (bytes, false, false),
        When::Received(bytes) => (bytes, true, false),
        When::Unread(bytes) => (bytes, false, true),
    };
    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut buffer = vec![0; 64 * 1024];
    assert!(upstream.read(&mut buffer).await.unwrap() > 0);
    upstream.write_all(to_send).await.unwrap();
    if read_by_client {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\n\n") && !seen.ends_with(b"\n\n\r\n") {
            let length = client.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..length]);
        }
    }
    if floods {
        // Until nothing more is taken.
        let block = vec![b' '; 64 * 1024];
        let flood = async { while upstream.write(&block).await.is_ok() {} };
        assert!(timeout(Duration::from_millis(100), flood).await.is_err());
    }
    assert!(is_open(&mut upstream), "{what}: it ended too early");
    drop(client);
    // What the client had sent may still be on its way to the upstream.
    let ended = async { while let Ok(1..) = upstream.read(&mut buffer).await {} };
    let ended = timeout(Duration::from_secs(5), ended).await;
    assert!(ended.is_ok(), "{what}: the call of the upstream goes on");
}

/// Whether the other side has not closed it.
fn is_open(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0; 1024]).now_or_never() {
        None => true,
        Some(read) => read.is_ok_and(|length| length > 0),
    }
}

#[tokio::test]
async fn a_client_that_disconnects_at_any_stage_ends_the_call_of_the_upstream() {
    let (call, large) = (CALL.len(), STREAMED_BYTES);
    let at = Stage::start("streamable-http").await;
    for (method, stage, sent, when) in [
        ("POST", "within the head", [0, 0], When::NotAsked),
        (
            "POST",
            "within a body that is kept",
            [call, call / 2],
            When::NotAsked,
        ),
        (
            "POST",
            "within a body that is streamed",
            [large, 100_000],
            When::Sent(b""),
        ),
        ("POST", "before the response", [call, call], When::Sent(b"")),
        (
            "POST",
            "within its headers",
            [call, call],
            When::Sent(b"HTTP/1.1 200 OK\r\nconte"),
        ),
        (
            "POST",
            "within a stream",
            [call, call],
            When::Received(STREAM),
        ),
        (
            "POST",
            "within an unread stream",
            [call, call],
            When::Unread(STREAM),
        ),
        (
            "POST",
            "within a large body that is not read",
            [call, call],
            When::Unread(LARGE),
        ),
        ("GET", "before the response", [0, 0], When::Sent(b"")),
        ("GET", "within a stream", [0, 0], When::Received(STREAM)),
    ] {
        disconnects(&at, method, stage, sent, when).await;
    }
    let at = Stage::start("sse").await;
    for (stage, when) in [
        ("before the response", When::Sent(b"")),
        (
            "within its headers",
            When::Sent(b"HTTP/1.1 200 OK\r\nconte"),
        ),
        ("within a stream", When::Received(STREAM)),
        ("within an unread stream", When::Unread(STREAM)),
    ] {
        disconnects(&at, "GET", stage, [0, 0], when).await;
    }
}
