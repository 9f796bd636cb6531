//! Responses of an upstream, and what the client gets: tables for the tests of both hosts.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde_json::Value;

/// Where the text of the upstream is to contain the upstream's token.
pub const TOKEN: &str = "{token}";

pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
pub const DISCOVER: &str =
    r#"{"jsonrpc":"2.0","id":"discover-1","method":"server/discover","params":{}}"#;
pub const TOOL_CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}"#;
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
pub const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}"#;

const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");
const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
const EVENTS: (&str, &str) = ("content-type", "text/event-stream");

/// A message, what the upstream's response to it, and what the client gets.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub method: &'static str,
    pub message: &'static str,
    /// Whether the message carries `Mcp-Session-Id`.
    pub in_session: bool,
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Bytes,
    /// Whether the body comes without a length.
    pub chunked: bool,
    pub gets: Gets,
}

#[derive(Clone)]
pub enum Gets {
    /// An error of the call: these ids, these texts in each message, and none of those.
    Error {
        ids: &'static str,
        says: Vec<&'static str>,
        never: Vec<&'static str>,
    },
    /// 502 and JSON without an id.
    PlainError(Vec<&'static str>),
    /// 202, empty.
    Acknowledgement,
    /// The upstream's response, unchanged.
    TheSame,
}

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub content_type: String,
    pub text: String,
}

impl Case {
    fn to(name: &'static str, message: &'static str, status: u16) -> Self {
        Self {
            name,
            method: "POST",
            message,
            in_session: false,
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            chunked: false,
            gets: Gets::TheSame,
        }
    }

    fn says(mut self, content_type: (&'static str, &'static str), body: impl Into<Bytes>) -> Self {
        self.headers.push(content_type);
        self.body = body.into();
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    fn in_session(mut self) -> Self {
        self.in_session = true;
        self
    }

    fn by(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn becomes_error(mut self, ids: &'static str, says: &[&'static str]) -> Self {
        self.gets = Gets::Error {
            ids,
            says: says.to_vec(),
            never: Vec::new(),
        };
        self
    }

    fn never_says(mut self, what: &[&'static str]) -> Self {
        if let Gets::Error { never, .. } = &mut self.gets {
            never.extend(what);
        }
        self
    }

    fn becomes_plain_error(mut self, says: &[&'static str]) -> Self {
        self.gets = Gets::PlainError(says.to_vec());
        self
    }

    fn becomes_acknowledgement(mut self) -> Self {
        self.gets = Gets::Acknowledgement;
        self
    }

    /// The upstream's response, with this token.
    pub fn response(&self, token: &str) -> Response {
        let body = match std::str::from_utf8(&self.body) {
            Ok(text) if text.contains(TOKEN) => text.replace(TOKEN, token).into(),
            _ => self.body.clone(),
        };
        let body = if self.chunked {
            Body::from_stream(stream::iter([Ok::<_, std::io::Error>(body)]))
        } else {
            Body::from(body)
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in &self.headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    }

    /// Compares. `blank_is_empty` where the host cannot send an empty body.
    pub fn check(&self, got: &Got, host: &str, token: &str, blank_is_empty: bool) {
        let name = self.name;
        let text = if blank_is_empty {
            got.text.trim()
        } else {
            &got.text
        };
        assert!(!got.text.contains(token), "{name}: the token is in {got:?}");
        match &self.gets {
            Gets::TheSame => {
                // 204 needs an empty body.
                let moved = blank_is_empty && self.status == 204 && got.status == 200;
                assert!(moved || got.status == self.status, "{name}: {got:?}");
                let said = String::from_utf8_lossy(&self.body);
                let said = if blank_is_empty { said.trim() } else { &said };
                assert_eq!(text, said, "{name}");
                let kind = self
                    .headers
                    .iter()
                    .find(|(name, _)| *name == "content-type");
                if !blank_is_empty {
                    assert_eq!(
                        got.content_type,
                        kind.map_or("", |(_, kind)| kind),
                        "{name}"
                    );
                }
            }
            Gets::Acknowledgement => {
                assert_eq!((got.status, text), (202, ""), "{name}");
                if !blank_is_empty {
                    assert_eq!(got.content_type, "", "{name}");
                }
            }
            Gets::PlainError(says) => {
                assert_eq!(got.status, 502, "{name}: {got:?}");
                assert_eq!(got.content_type, "application/json", "{name}");
                let json: Value = serde_json::from_str(&got.text).unwrap();
                assert!(
                    json.get("id").is_none() && json.get("jsonrpc").is_none(),
                    "{name}: {json}"
                );
                assert_eq!(json["error"], "upstream_refused", "{name}");
                self.check_message(json["error_description"].as_str().unwrap(), host, says, &[]);
            }
            Gets::Error { ids, says, never } => {
                assert_eq!(got.status, 200, "{name}: {got:?}");
                assert_eq!(got.content_type, "application/json", "{name}");
                // Ids byte by byte, as they were written.
                let errors: Value = serde_json::from_str(&got.text).unwrap();
                let errors = match errors {
                    Value::Array(errors) => errors,
                    error => vec![error],
                };
                let written: Vec<_> = got.text.split("\"id\":").skip(1).collect();
                let written: Vec<_> = written
                    .iter()
                    .map(|rest| rest.split(",\"error\"").next().unwrap())
                    .collect();
                assert_eq!(written.join(" "), *ids, "{name}: {got:?}");
                for error in errors {
                    assert_eq!(error["jsonrpc"], "2.0", "{name}");
                    assert!(error["error"]["code"].is_i64(), "{name}");
                    self.check_message(
                        error["error"]["message"].as_str().unwrap(),
                        host,
                        says,
                        never,
                    );
                }
            }
        }
    }

    fn check_message(&self, message: &str, host: &str, says: &[&str], never: &[&str]) {
        let name = self.name;
        let status = self.status.to_string();
        for part in says.iter().chain(&[host, &status]) {
            assert!(
                message.contains(part),
                "{name}: {part:?} is not in {message:?}"
            );
        }
        for part in never {
            assert!(
                !message.contains(part),
                "{name}: {part:?} is in {message:?}"
            );
        }
        for c in message.chars() {
            let direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            assert!(
                !c.is_control() && !direction,
                "{name}: {c:?} is in {message:?}"
            );
        }
        assert!(
            !message.contains(['<', '>']),
            "{name}: markup is in {message:?}"
        );
        assert!(message.chars().count() < 1000, "{name}: {message:?}");
    }
}

const PERMISSIONS: [&str; 2] = ["permissions", "single sign-on"];
const SETTINGS: [&str; 2] = ["UPSTREAM_MCP", "UPSTREAM_TRANSPORT=sse"];
const SIGN_IN: &str = "<!doctype html><html><head><title>Sign in</title><style>p { color: red }</style></head>\
     <body><script>alert('x')</script><h1>Welcome&nbsp;&amp;&#32;hello</h1></body></html>";

/// Refusals, which must not look like the proxy's own.
pub fn refusals() -> Vec<Case> {
    [forbidden(), told(), first_calls()].concat()
}

/// A text and two more that are in a message.
fn with(first: &'static str, rest: [&'static str; 2]) -> [&'static str; 3] {
    [first, rest[0], rest[1]]
}

/// 403 to every kind of message.
fn forbidden() -> Vec<Case> {
    vec![
        Case::to("GitHub's licence", TOOL_CALL, 403)
            .says(TEXT, "unauthorized: not licensed to use Copilot\n")
            .becomes_error("7", &with("unauthorized: not licensed to use Copilot", PERMISSIONS)),
        Case::to("a step-up that is not ours", TOOL_CALL, 403)
            .says(JSON, r#"{"message":"Resource not accessible by personal access token"}"#)
            .header("www-authenticate", r#"Bearer error="insufficient_scope", scope="repo""#)
            .becomes_error("7", &with(": “Resource not accessible by personal access token”. The owner", PERMISSIONS)),
        Case::to("GitHub's error as JSON", TOOL_CALL, 403)
            .says(JSON, r#"{"documentation_url":"https://docs.example/","error":{"message":"Not licensed."},"status":"403"}"#)
            .becomes_error("7", &with(": “Not licensed”. The owner", PERMISSIONS))
            .never_says(&["documentation_url"]),
        Case::to("403 with the call's own error", r#"{"jsonrpc":"2.0","id":"a-1","method":"tools/call"}"#, 403)
            .says(JSON, r#"{"jsonrpc":"2.0","id":"a-1","error":{"code":-32003,"message":"the organization forbids classic tokens"}}"#)
            .becomes_error("\"a-1\"", &with("the organization forbids classic tokens", PERMISSIONS)),
        Case::to("403 to a fractional id", r#"{"jsonrpc":"2.0","id":1.50,"method":"ping"}"#, 403)
            .becomes_error("1.50", &PERMISSIONS),
        Case::to("403 to a large id", r#"{"method":"ping","params":{"id":1},"id":123456789012345678901234567890}"#, 403)
            .becomes_error("123456789012345678901234567890", &PERMISSIONS),
        Case::to("403 to id null", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 403)
            .becomes_error("null", &PERMISSIONS),
        Case::to("403 to a batch", r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"},{"jsonrpc":"2.0","id":"2","method":"c"}]"#, 403)
            .says(TEXT, "no")
            .becomes_error("1 \"2\"", &PERMISSIONS),
        Case::to("403 in a session", TOOL_CALL, 403).in_session().becomes_error("7", &PERMISSIONS),
        Case::to("403 to a notification", INITIALIZED, 403)
            .says(TEXT, "no licence")
            .becomes_plain_error(&with("refused this message with status 403: “no licence”. The owner", PERMISSIONS)),
        Case::to("403 to a response of the client", RESULT, 403).becomes_plain_error(&PERMISSIONS),
        Case::to("403 to what is no JSON-RPC", "hello", 403).becomes_plain_error(&PERMISSIONS),
        Case::to("403 to DELETE", "", 403).by("DELETE").becomes_plain_error(&PERMISSIONS),
    ]
}

/// Which part of the upstream's text the client gets, and which never.
fn told() -> Vec<Case> {
    let long: Bytes = "y".repeat(5_000_000).into();
    vec![
        Case::to("a firewall's page", TOOL_CALL, 403)
            .says(HTML, "<!DOCTYPE html><!-- <b>hidden</b> --><html><title>Attention Required!</title><SCRIPT\n src='x'>var secret</SCRIPT >Ray ID &lt;b&gt; 7</html>")
            .becomes_error("7", &with("Attention Required! Ray ID b 7", PERMISSIONS))
            .never_says(&["hidden", "var secret"]),
        Case::to("403 that repeats the token", TOOL_CALL, 403)
            .says(TEXT, "bad credential: Bearer {token}")
            .becomes_error("7", &PERMISSIONS)
            .never_says(&["bad credential"]),
        Case::to("403 that repeats the token in JSON", TOOL_CALL, 403)
            .says(JSON, r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"{token} has expired"}}"#)
            .becomes_error("7", &PERMISSIONS)
            .never_says(&["has expired"]),
        Case::to("403 that repeats the token in another member", TOOL_CALL, 403)
            .says(JSON, r#"{"message":"it has expired","token":"{token}"}"#)
            .becomes_error("7", &PERMISSIONS)
            .never_says(&["it has expired"]),
        Case::to("403 that repeats the token within markup", TOOL_CALL, 403)
            .says(HTML, "<p>{token}</p><p>is no good</p>")
            .becomes_error("7", &PERMISSIONS)
            .never_says(&["is no good"]),
        Case::to("403 with control characters", TOOL_CALL, 403)
            .says(TEXT, "a\u{202e}b\u{7}c\u{1b}[31md\r\ne\u{200b}f\u{2066}g\u{0}&#x202e;h&#27;i")
            .becomes_error("7", &with("abc[31md efghi", PERMISSIONS)),
        Case::to("403 with broken UTF-8", TOOL_CALL, 403)
            .says(TEXT, &b"caf\xe9 ferm\xe9"[..])
            .becomes_error("7", &with("caf ferm", PERMISSIONS)),
        Case::to("403 with five million characters", TOOL_CALL, 403)
            .says(TEXT, long)
            .becomes_error("7", &with("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…”", PERMISSIONS)),
        Case::to("403 as an event", TOOL_CALL, 403)
            .says(EVENTS, "event: error\ndata: no licence\n\n")
            .becomes_error("7", &with("no licence", PERMISSIONS)),
        Case::to("403 with gzip", TOOL_CALL, 403)
            .says(TEXT, &b"\x1f\x8b\x08\x00not really"[..])
            .header("content-encoding", "gzip")
            .becomes_error("7", &PERMISSIONS)
            .never_says(&["not really", "“"]),
    ]
}

/// First calls whose response is not MCP.
fn first_calls() -> Vec<Case> {
    vec![
        Case::to("404 with a page at initialize", INITIALIZE, 404)
            .says(HTML, "<html><body><h1>Not Found</h1><p>nginx</p></body></html>")
            .becomes_error("0", &with("Not Found nginx", SETTINGS)),
        Case::to("405 with an empty body at initialize", INITIALIZE, 405)
            .header("allow", "GET")
            .becomes_error("0", &SETTINGS),
        Case::to("a sign-in page at initialize", INITIALIZE, 200)
            .says(HTML, SIGN_IN)
            .becomes_error("0", &with("Sign in Welcome & hello", SETTINGS))
            .never_says(&["alert", "color"]),
        Case::to("410 at initialize", INITIALIZE, 410)
            .says(TEXT, "This API version is gone")
            .becomes_error("0", &with("This API version is gone", SETTINGS)),
        Case::to("404 to discovery", DISCOVER, 404)
            .says(JSON, r#"{"jsonrpc":"2.0","id":"discover-1","error":{"code":-32001,"message":"Invalid session ID"}}"#)
            .becomes_error("\"discover-1\"", &with("Invalid session ID", SETTINGS))
            .never_says(&["jsonrpc"]),
        Case::to("204 at initialize", INITIALIZE, 204).becomes_error("0", &SETTINGS),
        Case::to("202 and nothing at initialize", INITIALIZE, 202).becomes_error("0", &SETTINGS),
        Case::to("JSON of no bytes at initialize", INITIALIZE, 200)
            .says(JSON, "")
            .chunked()
            .becomes_error("0", &SETTINGS),
        Case::to("a page that claims to be JSON", INITIALIZE, 200)
            .says(JSON, "<html><body>Please wait…</body></html>")
            .becomes_error("0", &with(": “Please wait…”. The owner", SETTINGS)),
        Case::to("plain text at discovery", DISCOVER, 200)
            .says(TEXT, "OK")
            .chunked()
            .becomes_error("\"discover-1\"", &with("text/plain", SETTINGS)),
        Case::to("a redirecting page without a type", INITIALIZE, 200)
            .says(("x-none", "1"), "<meta http-equiv=refresh content='0; url=/login'>Redirecting")
            .becomes_error("0", &with("Redirecting", SETTINGS)),
        Case::to("a gzipped page at initialize", INITIALIZE, 200)
            .says(HTML, &b"\x1f\x8b\x08\x00not really"[..])
            .header("content-encoding", "gzip")
            .becomes_error("0", &SETTINGS)
            .never_says(&["not really", "“"]),
    ]
}

/// Responses that pass unchanged.
pub fn untouched() -> Vec<Case> {
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"Session not found"}}"#;
    let result = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#;
    let unknown =
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"Method not found"}}"#;
    vec![
        Case::to("404 of a server without initialize", INITIALIZE, 404).says(JSON, unknown),
        Case::to("404 in a session", TOOL_CALL, 404)
            .says(JSON, error)
            .in_session(),
        Case::to("404 to initialize in a session", INITIALIZE, 404)
            .says(HTML, "<p>gone")
            .in_session(),
        Case::to("404 to a call without a session", TOOL_CALL, 404).says(JSON, error),
        Case::to("405 to a call", TOOL_CALL, 405).says(TEXT, "no"),
        Case::to("410 to a call", TOOL_CALL, 410).says(TEXT, "no"),
        Case::to("404 to a notification", INITIALIZED, 404).says(TEXT, "no"),
        Case::to("400 at initialize", INITIALIZE, 400).says(JSON, error),
        Case::to("406 at initialize", INITIALIZE, 406).says(TEXT, "Not Acceptable"),
        Case::to("409 to a call", TOOL_CALL, 409),
        Case::to("429 at initialize", INITIALIZE, 429).says(TEXT, "slow down"),
        Case::to("500 with a page at initialize", INITIALIZE, 500).says(HTML, SIGN_IN),
        Case::to("JSON at initialize", INITIALIZE, 200).says(JSON, result),
        Case::to("JSON in chunks at initialize", INITIALIZE, 200)
            .says(JSON, format!("\n {result}\n"))
            .chunked(),
        Case::to("events at initialize", INITIALIZE, 200)
            .says(EVENTS, format!("event: message\ndata: {result}\n\n")),
        Case::to("JSON-RPC as plain text at initialize", INITIALIZE, 200).says(TEXT, result),
        Case::to("JSON of a type of its own", DISCOVER, 200)
            .says(("content-type", "application/vnd.mcp+json"), result),
        Case::to("a JSON error that is no JSON-RPC", INITIALIZE, 200)
            .says(JSON, r#"{"error":"maintenance"}"#),
        Case::to("gzipped JSON at initialize", INITIALIZE, 200)
            .says(JSON, "not really gzip")
            .header("content-encoding", "gzip"),
        Case::to("a page to a call", TOOL_CALL, 200).says(HTML, SIGN_IN),
        Case::to("nothing to a call", TOOL_CALL, 200),
        Case::to("202 to a call", TOOL_CALL, 202).says(TEXT, "Accepted"),
    ]
}

/// Acknowledgements in every form, and responses that are none.
pub fn acknowledgements() -> Vec<Case> {
    let batch = r#"[{"jsonrpc":"2.0","method":"notifications/cancelled"},{"jsonrpc":"2.0","id":1,"result":{}}]"#;
    let mixed = r#"[{"jsonrpc":"2.0","method":"notifications/cancelled"},{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    let message = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}"#;
    vec![
        Case::to("200, empty, no type", INITIALIZED, 200).becomes_acknowledgement(),
        Case::to("200, empty JSON", INITIALIZED, 200)
            .says(JSON, "")
            .becomes_acknowledgement(),
        Case::to("204", INITIALIZED, 204).becomes_acknowledgement(),
        Case::to("202 as it should be", INITIALIZED, 202).becomes_acknowledgement(),
        Case::to("200, empty, in chunks", INITIALIZED, 200)
            .says(JSON, "")
            .chunked()
            .becomes_acknowledgement(),
        Case::to("202 with a word", INITIALIZED, 202)
            .says(TEXT, "Accepted")
            .becomes_acknowledgement(),
        Case::to("200 with null", INITIALIZED, 200)
            .says(JSON, "null")
            .becomes_acknowledgement(),
        Case::to("202 with an empty object", INITIALIZED, 202)
            .says(JSON, "{}")
            .chunked()
            .becomes_acknowledgement(),
        Case::to("200 with another object", INITIALIZED, 200)
            .says(JSON, r#"{"status":"ok"}"#)
            .becomes_acknowledgement(),
        Case::to("201 with white space", INITIALIZED, 201)
            .says(JSON, "\r\n")
            .becomes_acknowledgement(),
        Case::to("205", INITIALIZED, 205).becomes_acknowledgement(),
        Case::to("200 with a page", INITIALIZED, 200)
            .says(HTML, SIGN_IN)
            .becomes_acknowledgement(),
        Case::to("an event stream without an event", INITIALIZED, 200)
            .says(EVENTS, "")
            .chunked()
            .becomes_acknowledgement(),
        Case::to("an event stream with a comment only", INITIALIZED, 200)
            .says(EVENTS, ": ok\n\n")
            .chunked()
            .becomes_acknowledgement(),
        Case::to("a gzipped word", INITIALIZED, 200)
            .says(TEXT, "not really gzip")
            .header("content-encoding", "gzip")
            .becomes_acknowledgement(),
        Case::to("200 in a session", INITIALIZED, 200)
            .header("mcp-session-id", "s")
            .in_session()
            .becomes_acknowledgement(),
        Case::to("200 to a response", RESULT, 200).becomes_acknowledgement(),
        Case::to("204 to an error", error, 204).becomes_acknowledgement(),
        Case::to("200 to a batch", batch, 200)
            .says(JSON, "[]")
            .becomes_acknowledgement(),
        Case::to("a message in a JSON body", INITIALIZED, 200).says(JSON, message),
        Case::to("messages in a JSON body", INITIALIZED, 200)
            .says(JSON, format!("[{message}]"))
            .chunked(),
        Case::to("a message in an event stream", INITIALIZED, 200)
            .says(EVENTS, format!(": hello\n\ndata: {message}\n\n")),
        Case::to("a refused notification", INITIALIZED, 400).says(JSON, error),
        Case::to("204 to a call", TOOL_CALL, 204),
        Case::to("200 to a mixed batch", mixed, 200).says(JSON, "[]"),
        Case::to(
            "200 to id null",
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            200,
        ),
        Case::to("200 to what is no message", r#"{"jsonrpc":"2.0"}"#, 200),
    ]
}

/// Messages, and the ids of the errors they get: one, or several in brackets.
pub const MESSAGES: [(&str, &str); 16] = [
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "1"),
    (
        r#"{"jsonrpc":"2.0","id":"a\u0062 \"c\"","method":"ping"}"#,
        r#""a\u0062 \"c\"""#,
    ),
    (
        r#"{"method":"ping","id":123456789012345678901234567890}"#,
        "123456789012345678901234567890",
    ),
    (
        r#"{"jsonrpc":"2.0","id":-1.50E+2,"method":"ping"}"#,
        "-1.50E+2",
    ),
    (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "null"),
    (
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"id":9,"a":[{"id":8}]}}"#,
        "0",
    ),
    ("\u{feff}\r\n{\"id\":2,\"method\":\"ping\"} ", "2"),
    (r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#, "null"),
    (
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        "null",
    ),
    (r#"{"jsonrpc":"2.0","id":3,"result":{}}"#, "null"),
    (
        r#"[{"id":4,"method":"a"},{"method":"b"},{"id":"5","method":"c"},7]"#,
        r#"[4,"5"]"#,
    ),
    (r#"[{"id":6,"method":"a"}]"#, "[6]"),
    (r#"[{"method":"b"}]"#, "null"),
    ("[]", "null"),
    ("not JSON", "null"),
    ("", "null"),
];

/// The ids of an error or of several, as they are written.
pub fn error_ids(text: &str) -> String {
    let ids: Vec<_> = text
        .split("{\"jsonrpc\":\"2.0\",\"id\":")
        .skip(1)
        .map(|rest| rest.split(",\"error\":").next().unwrap())
        .collect();
    let ids = ids.join(",");
    if text.starts_with('[') {
        format!("[{ids}]")
    } else {
        ids
    }
}
