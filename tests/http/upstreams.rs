//! Upstreams of every kind: what they send passes as it is, and what cannot pass ends in a clear error.

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::world::{Choices, World};

/// An upstream that answers each connection's first request with these bytes and hangs up.
async fn raw(answer: Vec<u8>) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(&answer).await;
            });
        }
    });
    World::choosing(Choices {
        upstream: Some(format!("http://{address}/mcp")),
        ..Choices::default()
    })
    .await
}

#[tokio::test]
async fn answers_that_are_no_http_are_502() {
    for answer in [
        b"".to_vec(),
        b"\r\n\r\n".to_vec(),
        b"SSH-2.0-server\r\n".to_vec(),
        b"HTTP/1.1 banana\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello".to_vec(),
        b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_vec(),
        [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 1 << 20]].concat(),
        [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(1 << 16)].concat(),
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        let w = raw(answer).await;
        let client = w.connect().await;
        let answer = w.call(&client.access).send().await;
        assert_eq!(answer.status, 502, "{shown:?}: {answer:?}");
        assert!(
            answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("cannot be reached")
        );
    }
}

#[tokio::test]
async fn an_interim_answer_is_skipped() {
    let w = raw(
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
    )
    .await;
    let client = w.connect().await;
    let answer = w.call(&client.access).send().await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "ok"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_pass_for_a_whole_one() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":"[..],
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"hal\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
    ] {
        let w = raw(answer.to_vec()).await;
        let client = w.connect().await;
        let answer = w.call(&client.access).0.send().await;
        if let Ok(answer) = answer {
            assert!(answer.bytes().await.is_err());
        }
    }
}

#[tokio::test]
async fn encoded_bodies_pass_untouched_both_ways() {
    // Not gzip at all: whoever decoded it on the way would fail.
    const BODY: &[u8] = b"\x1f\x8b\x08 not gzip at all \x00\xff";
    let w = World::start().await;
    let client = w.connect().await;
    for kind in ["application/json", "text/event-stream"] {
        w.upstream.answers(move |_| {
            ([("content-type", kind), ("content-encoding", "gzip")], BODY).into_response()
        });
        let answer = w
            .call(&client.access)
            .header("accept-encoding", "gzip, br")
            .header("content-encoding", "gzip")
            .0
            .body(BODY)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        assert_eq!(answer.bytes().await.unwrap(), BODY);
        let seen = w.upstream.requests().pop().unwrap();
        assert_eq!(
            (seen.header("content-encoding"), &seen.body[..]),
            (Some("gzip"), BODY)
        );
        assert_eq!(seen.header("accept-encoding"), Some("gzip, br"));
    }
}

#[tokio::test]
async fn bodies_are_not_looked_at() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream
        .answers(|request| request.body.clone().into_response());
    for body in [
        r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"}]"#,
        "{ \"spaces\" :  1 }",
        "not json",
        "",
    ] {
        let answer = w
            .post("/mcp")
            .header("authorization", &format!("Bearer {}", client.access))
            .body("application/json", body)
            .send()
            .await;
        assert_eq!((answer.status, answer.text.as_str()), (200, body));
    }
}

#[tokio::test]
async fn a_length_that_the_client_says_goes_along() {
    let w = World::start().await;
    let client = w.connect().await;
    for size in [10, 300 * 1024] {
        let answer = w
            .post("/mcp")
            .header("authorization", &format!("Bearer {}", client.access))
            .body("application/json", vec![b'x'; size])
            .send()
            .await;
        assert_eq!(answer.status, 200);
        let seen = w.upstream.requests().pop().unwrap();
        assert_eq!(seen.header("content-length"), Some(&*size.to_string()));
        assert_eq!(seen.header("transfer-encoding"), None);
        assert_eq!(seen.body.len(), size);
    }
}

#[tokio::test]
async fn head_and_unusual_methods_pass_and_trace_does_not() {
    let w = World::with(&[("GET_STREAMS", "on")]).await;
    let client = w.connect().await;
    for (method, status) in [
        ("HEAD", 200),
        ("PUT", 200),
        ("PATCH", 200),
        ("PURGE", 200),
        ("TRACE", 405),
    ] {
        let answer = w
            .request(method, "/mcp")
            .header("authorization", &format!("Bearer {}", client.access))
            .send()
            .await;
        assert_eq!(answer.status, status, "{method}");
    }
    let methods: Vec<_> = w
        .upstream
        .requests()
        .into_iter()
        .map(|r| r.method.to_string())
        .collect();
    assert_eq!(methods, ["HEAD", "PUT", "PATCH", "PURGE"]);
}

#[tokio::test]
async fn a_stream_ends_between_events_when_its_time_is_up() {
    let w = World::with(&[("STREAM_MAX_SECONDS", "1")]).await;
    let client = w.connect().await;
    w.upstream.answers(|_| {
        let one = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"data: 1\n\n"))]);
        let open = one.chain(stream::pending());
        (
            [("content-type", "text/event-stream")],
            Body::from_stream(open),
        )
            .into_response()
    });
    let answer = w.call(&client.access).send().await;
    assert_eq!(answer.text, "data: 1\n\n", "ended well, not cut");
}

#[tokio::test]
async fn the_pat_is_in_no_answer_whatever_the_upstream_does_with_it() {
    let w = World::start().await;
    let client = w.connect().await;
    // In headers that do not pass. (What an upstream writes into its body is its own to say.)
    let pat = w.pat.clone();
    w.upstream.answers(move |_| {
        let mut answer = json!({}).to_string().into_response();
        for name in [
            "www-authenticate",
            "set-cookie",
            "location",
            "x-debug",
            "authorization",
        ] {
            answer
                .headers_mut()
                .insert(name, format!("Bearer {pat}").parse().unwrap());
        }
        answer
    });
    let answer = w.call(&client.access).send().await;
    assert_eq!(answer.status, 200);
    assert!(!format!("{answer:?}").contains(&w.pat));
}
