//! Upstreams of every kind: their responses pass unchanged, and what cannot pass becomes a clear error.

use axum::{body::Body, response::IntoResponse as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::HeaderValue;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::world::{Options, World, logged};

/// An upstream that responds to the first request of each connection with these bytes and closes it.
async fn raw(response: Vec<u8>) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let response = response.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(&response).await;
            });
        }
    });
    World::with_options(Options {
        upstream: Some(format!("http://{address}/mcp")),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn responses_that_are_not_http_are_502() {
    for response in [
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
        let shown = String::from_utf8_lossy(&response[..response.len().min(40)]).into_owned();
        let w = raw(response).await;
        let client = w.connect().await;
        let response = w.call(&client.access).send().await;
        assert_eq!(response.status, 502, "{shown:?}: {response:?}");
        assert!(
            response.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("cannot be reached")
        );
    }
}

#[tokio::test]
async fn an_interim_response_is_skipped() {
    let w = raw(
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
    )
    .await;
    let client = w.connect().await;
    let response = w.call(&client.access).send().await;
    assert_eq!((response.status, response.text.as_str()), (200, "ok"));
}

#[tokio::test]
async fn a_status_code_that_is_not_final_or_not_valid_is_502() {
    for status in ["101 Switching Protocols", "199 x", "600 x", "999 x"] {
        let w = raw(format!(
            "HTTP/1.1 {status}\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 0\r\n\r\n"
        )
        .into())
        .await;
        let client = w.connect().await;
        let response = w.call(&client.access).send().await;
        assert_eq!(response.status, 502, "{status}: {response:?}");
        assert_eq!(response.json()["id"], 1, "{status}: {response:?}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let w = raw(format!("{head}5\r\n{{\"a\":\r\n2\r\n1}}\r\n0\r\n\r\n").into()).await;
    let client = w.connect().await;
    let response = w.call(&client.access).send().await;
    assert_eq!(response.header("content-length"), "");
    assert_eq!(response.text, "{\"a\":1}");
}

#[tokio::test]
async fn a_response_that_is_cut_off_does_not_look_complete() {
    for response in [
        &b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":"[..],
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"hal\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
    ] {
        let w = raw(response.to_vec()).await;
        let client = w.connect().await;
        let response = w.call(&client.access).0.send().await;
        if let Ok(response) = response {
            assert!(response.bytes().await.is_err());
        }
    }
}

#[tokio::test]
async fn encoded_bodies_pass_untouched_both_ways() {
    // Not gzip at all: decoding it on the way would fail.
    const BODY: &[u8] = b"\x1f\x8b\x08 not gzip at all \x00\xff";
    let w = World::start().await;
    let client = w.connect().await;
    for kind in ["application/json", "text/event-stream"] {
        w.upstream.responds(move |_| {
            ([("content-type", kind), ("content-encoding", "gzip")], BODY).into_response()
        });
        let response = w
            .call(&client.access)
            .header("accept-encoding", "gzip, br")
            .header("content-encoding", "gzip")
            .0
            .body(BODY)
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.bytes().await.unwrap(), BODY);
        let seen = w.upstream.requests().pop().unwrap();
        assert_eq!(
            (seen.header("content-encoding"), &seen.body[..]),
            (Some("gzip"), BODY)
        );
        assert_eq!(seen.header("accept-encoding"), Some("gzip, br"));
    }
}

#[tokio::test]
async fn bodies_are_not_inspected() {
    let w = World::start().await;
    let client = w.connect().await;
    w.upstream
        .responds(|request| request.body.clone().into_response());
    for body in [
        r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"}]"#,
        "{ \"spaces\" :  1 }",
        "not json",
        "",
    ] {
        let response = w
            .post("/mcp")
            .header("authorization", &format!("Bearer {}", client.access))
            .body("application/json", body)
            .send()
            .await;
        assert_eq!((response.status, response.text.as_str()), (200, body));
    }
}

#[tokio::test]
async fn the_content_length_of_the_client_is_forwarded() {
    let w = World::start().await;
    let client = w.connect().await;
    for size in [10, 300 * 1024] {
        let response = w
            .post("/mcp")
            .header("authorization", &format!("Bearer {}", client.access))
            .body("application/json", vec![b'x'; size])
            .send()
            .await;
        assert_eq!(response.status, 200);
        let seen = w.upstream.requests().pop().unwrap();
        assert_eq!(seen.header("content-length"), Some(&*size.to_string()));
        assert_eq!(seen.header("transfer-encoding"), None);
        assert_eq!(seen.body.len(), size);
    }
}

#[tokio::test]
async fn only_the_methods_of_mcp_reach_the_upstream() {
    for (setting, get, allow) in [
        ("on", 200, "GET, HEAD, POST, DELETE, OPTIONS"),
        ("off", 405, "POST, DELETE, OPTIONS"),
    ] {
        let w = World::with_settings(&[("GET_STREAMS", setting)]).await;
        let client = w.connect().await;
        for (method, status) in [
            ("GET", get),
            ("HEAD", get),
            ("DELETE", 200),
            ("PUT", 405),
            ("PATCH", 405),
            ("PURGE", 405),
            ("TRACE", 405),
        ] {
            let request = w.request(method, "/mcp");
            let request = request.header("authorization", &format!("Bearer {}", client.access));
            let response = request.send().await;
            assert_eq!(response.status, status, "{method}");
            let expected = if status == 405 { allow } else { "" };
            assert_eq!(response.header("allow"), expected, "{method}");
        }
        let methods: Vec<_> = w.upstream.requests();
        let methods: Vec<_> = methods.iter().map(|r| r.method.as_str()).collect();
        let passed = &["GET", "HEAD", "DELETE"][if get == 200 { 0 } else { 2 }..];
        assert_eq!(methods, passed);
    }
}

#[tokio::test]
async fn a_stream_ends_between_events_when_its_time_is_up() {
    let w = World::with_settings(&[("STREAM_MAX_SECONDS", "1")]).await;
    let client = w.connect().await;
    w.upstream.responds(|_| {
        let one = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"data: 1\n\n"))]);
        let open = one.chain(stream::pending());
        (
            [("content-type", "text/event-stream")],
            Body::from_stream(open),
        )
            .into_response()
    });
    let response = w.call(&client.access).send().await;
    assert_eq!(response.text, "data: 1\n\n", "ended well, not cut");
}

#[tokio::test]
async fn no_response_header_contains_a_credential_that_the_upstream_repeats() {
    let w = World::with_options(Options {
        settings: vec![(
            "UPSTREAM_HEADERS",
            r#"{"X-Key":"pinned/Key+77"}"#.to_owned(),
        )],
        secret: Some(Box::new(|secret| {
            let pinned = (
                "x-second-key".parse().unwrap(),
                "secondKey88".parse().unwrap(),
            );
            secret.upstream_headers.push(pinned);
        })),
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    for key in ["pinned/Key+77", "secondKey88"] {
        w.keep_secret(key);
    }
    // Some of them never pass. The others do, unless they contain a credential.
    let names = [
        "www-authenticate",
        "set-cookie",
        "location",
        "x-debug",
        "authorization",
        "mcp-session-id",
        "mcp-anything",
        "link",
        "etag",
        "vary",
        "retry-after",
        "content-disposition",
        "x-request-id",
        "x-github-request-id",
        "x-ratelimit-used",
    ];
    let encoded = STANDARD.encode(&w.pat);
    for text in [
        w.pat.clone(),
        format!("Bearer {}", w.pat),
        format!("bearer {}", w.pat.to_uppercase()),
        format!("<https://up.example/?token={}>; rel=\"next\"", w.pat),
        format!("https://up.example/{}", w.pat.replace('_', "%5F")),
        format!("Basic {encoded}"),
        "key=pinned/Key+77".to_owned(),
        "pinned%2FKey%2B77".to_owned(),
        "W/\"secondKey88\"".to_owned(),
    ] {
        let (repeated, lines) = (text.clone(), HeaderValue::from_str(&text).unwrap());
        w.upstream.responds(move |request| {
            let mut response = json!({}).to_string().into_response();
            if request.header("mcp-name") == Some("refuse") {
                *response.status_mut() = http::StatusCode::FORBIDDEN;
            }
            let headers = response.headers_mut();
            for name in names {
                headers.append(name, HeaderValue::from_static("harmless"));
                headers.append(name, lines.clone());
            }
            headers.insert("mcp-other", HeaderValue::from_static("passes"));
            response
        });
        let passed = w.call(&client.access).send().await;
        assert_eq!((passed.status, passed.header("mcp-other")), (200, "passes"));
        let refused = w.call(&client.access).header("mcp-name", "refuse").send();
        let acknowledged = w
            .post("/mcp")
            .json(&json!({ "jsonrpc": "2.0", "method": "x" }));
        let acknowledged =
            acknowledged.header("authorization", &format!("Bearer {}", client.access));
        for response in [passed, refused.await, acknowledged.send().await] {
            for name in names {
                // The headers of our own responses are not the upstream's.
                let got = response.header(name);
                assert!(!got.contains("harmless"), "{repeated}: {name}: {got}");
            }
        }
    }
    let log = String::from_utf8(logged().lock().unwrap().clone()).unwrap();
    let mut lines = log
        .lines()
        .filter(|line| line.contains("upstream_header_dropped"));
    assert!(lines.any(|line| line.contains("\"header\":\"mcp-session-id\"")));
}

#[tokio::test]
async fn headers_that_only_resemble_a_credential_and_all_bodies_pass() {
    let w = World::with_options(Options {
        // JSON Web Tokens begin alike, and a session id may be one.
        token: Some("eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl".to_owned()),
        settings: vec![(
            "UPSTREAM_HEADERS",
            r#"{"Accept":"application/json","MCP-Protocol-Version":"2025-06-18","X-MCP-Toolsets":"repos,issues","X-Short":"abc"}"#.to_owned(),
        )],
        ..Options::default()
    })
    .await;
    let client = w.connect().await;
    let headers = [
        ("mcp-session-id", "eyJhbGciOiJIUzI1NiJ9.c2Vzc2lvbg.b3RoZXI"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-toolsets", "repos,issues"),
        ("etag", "\"abc\""),
    ];
    w.upstream.responds(move |request| {
        let repeated = request.header("authorization").unwrap().to_owned();
        (headers, json!({ "you sent": repeated }).to_string()).into_response()
    });
    let response = w.call(&client.access).send().await;
    for (name, value) in headers {
        assert_eq!(response.header(name), value, "{name}");
    }
    assert!(response.text.contains("Bearer eyJ"), "{}", response.text);
}
