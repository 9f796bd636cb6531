//! A short MCP session of our own with the upstream, over any transport and revision.

use bytes::{Buf as _, BytesMut};
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use url::Url;

use super::{
    Body, Upstream, endpoint_target::resolve_endpoint, event_scanner::split_line,
    tool_list::ListError,
};
use crate::{config::Transport, secrets::Secret};

/// The revision that is offered to a server with `initialize`.
const OFFERED_REVISION: &str = "2025-11-25";
/// The revision without `initialize` and sessions (MCP 2026-07-28, Versioning).
const STATELESS_REVISION: &str = "2026-07-28";
const CLIENT_NAME: &str = env!("CARGO_PKG_NAME");
const CLIENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Most bytes of one response.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// An open session.
pub(super) struct Session<'a> {
    upstream: &'a Upstream,
    secret: &'a Secret,
    /// Where messages are sent.
    target: Url,
    headers: HeaderMap,
    /// The event stream of an HTTP+SSE upstream, on which its responses arrive.
    stream: Option<Events>,
    stateless: bool,
    last_id: u64,
}

/// What the upstream responds to a request.
pub(super) enum Answer {
    /// A result.
    Result(String),
    /// A JSON-RPC error.
    Error,
}

impl<'a> Session<'a> {
    /// Opens a session at this URL. A server that answers `initialize` with an error is taken for one without sessions.
    pub(super) async fn open(
        upstream: &'a Upstream,
        target: Url,
        secret: &'a Secret,
    ) -> Result<Self, ListError> {
        let mut session = Self {
            upstream,
            secret,
            target,
            headers: HeaderMap::new(),
            stream: None,
            stateless: false,
            last_id: 0,
        };
        let headers = &mut session.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if upstream.config().transport == Transport::Sse {
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
            session.open_stream().await?;
        }
        let both = "application/json, text/event-stream";
        session
            .headers
            .insert(ACCEPT, HeaderValue::from_static(both));
        let offered = json!({
            "protocolVersion": OFFERED_REVISION,
            "capabilities": {},
            "clientInfo": { "name": CLIENT_NAME, "version": CLIENT_VERSION },
        });
        match session.call("initialize", offered).await? {
            Answer::Result(result) => {
                session.set_revision(&result);
                let initialized =
                    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
                session.post(&initialized).await?;
            }
            Answer::Error => {
                session.stateless = true;
                let revision = HeaderValue::from_static(STATELESS_REVISION);
                session.headers.insert(PROTOCOL_VERSION, revision);
            }
        }
        Ok(session)
    }

    async fn open_stream(&mut self) -> Result<(), ListError> {
        let (headers, secret) = (&self.headers, self.secret);
        let body = Body::Kept(bytes::Bytes::new());
        let sent = self
            .upstream
            .send(&Method::GET, self.target.clone(), headers, body, secret);
        let response = sent.await.map_err(ListError::Failure)?;
        if !response.status().is_success() {
            return Err(ListError::Invalid("its event stream was refused"));
        }
        let stream_url = response.url().clone();
        let mut events = Events::of(response);
        let endpoint = events.next().await?;
        self.target = endpoint
            .filter(|event| event.kind == "endpoint")
            .and_then(|event| resolve_endpoint(&stream_url, &event.data))
            .ok_or(ListError::Invalid(
                "its event stream names no valid endpoint",
            ))?;
        self.stream = Some(events);
        Ok(())
    }

    /// The revision that the server chose is sent with every further request.
    fn set_revision(&mut self, result: &str) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Initialized {
            protocol_version: String,
        }
        if let Ok(initialized) = serde_json::from_str::<Initialized>(result)
            && let Ok(revision) = HeaderValue::from_str(&initialized.protocol_version)
        {
            self.headers.insert(PROTOCOL_VERSION, revision);
        }
    }

    /// Sends a request and waits for its response.
    pub(super) async fn call(
        &mut self,
        method: &str,
        mut params: Value,
    ) -> Result<Answer, ListError> {
        self.last_id += 1;
        let id = self.last_id;
        if self.stateless {
            // MCP 2026-07-28, Streamable HTTP, Request Metadata
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": STATELESS_REVISION,
                "io.modelcontextprotocol/clientInfo": { "name": CLIENT_NAME, "version": CLIENT_VERSION },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            if let Ok(method) = HeaderValue::from_str(method) {
                self.headers.insert(MCP_METHOD, method);
            }
        }
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let response = self.post(&request).await?;
        let succeeded = response.status().is_success();
        if let Some(stream) = &mut self.stream {
            if !succeeded {
                return Err(ListError::Invalid("it refused a request"));
            }
            return stream.answer(id).await;
        }
        if let Some(session) = response.headers().get(SESSION_ID) {
            self.headers.insert(SESSION_ID, session.clone());
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let is_stream = content_type
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream"));
        let mut body = Events::of(response);
        if is_stream {
            return body.answer(id).await;
        }
        while body.read().await? {}
        // The status does not matter if there is a JSON-RPC error: an unknown method is 404 (MCP 2026-07-28).
        match str::from_utf8(&body.held)
            .ok()
            .and_then(|text| answer(text, id))
        {
            Some(Answer::Result(_)) | None if !succeeded => {
                Err(ListError::Invalid("it refused a request"))
            }
            Some(answer) => Ok(answer),
            None => Err(ListError::Invalid("its response is not JSON-RPC")),
        }
    }

    async fn post(&self, message: &Value) -> Result<reqwest::Response, ListError> {
        let body = Body::Kept(message.to_string().into());
        let (target, headers) = (self.target.clone(), &self.headers);
        let sent = self
            .upstream
            .send(&Method::POST, target, headers, body, self.secret);
        sent.await.map_err(ListError::Failure)
    }

    /// Ends the session, if there is one. A failure does not matter: servers end idle sessions.
    pub(super) async fn close(self) {
        if self.headers.contains_key(SESSION_ID) {
            let (target, body) = (self.target.clone(), Body::Kept(bytes::Bytes::new()));
            let sent =
                self.upstream
                    .send(&Method::DELETE, target, &self.headers, body, self.secret);
            sent.map(drop).await;
        }
    }
}

/// The response to the request with this id, if the message is that.
fn answer(message: &str, id: u64) -> Option<Answer> {
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(default)]
        id: Value,
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let message = message.trim_start_matches('\u{feff}');
    let response: Response<'_> = serde_json::from_str(message).ok()?;
    match (response.result, response.error) {
        (Some(result), None) => {
            (response.id == id).then(|| Answer::Result(result.get().to_owned()))
        }
        // An error may have no id (JSON-RPC 2.0 section 5).
        (None, Some(_)) => (response.id == id || response.id.is_null()).then_some(Answer::Error),
        _ => None,
    }
}

/// A body that is read as events, or whole.
struct Events {
    response: reqwest::Response,
    /// What was read and is not part of an event yet.
    held: BytesMut,
    read_bytes: usize,
}

struct Event {
    kind: String,
    data: String,
}

impl Events {
    fn of(response: reqwest::Response) -> Self {
        Self {
            response,
            held: BytesMut::new(),
            read_bytes: 0,
        }
    }

    /// Reads more; `false` at the end.
    async fn read(&mut self) -> Result<bool, ListError> {
        let chunk = self.response.chunk().await;
        let chunk = chunk.map_err(|_| ListError::Invalid("its response was cut off"))?;
        let Some(chunk) = chunk else {
            return Ok(false);
        };
        self.read_bytes += chunk.len();
        if self.read_bytes > MAX_RESPONSE_BYTES {
            return Err(ListError::Invalid("its response is longer than 8 MB"));
        }
        self.held.extend_from_slice(&chunk);
        Ok(true)
    }

    /// The next event with data; `None` at the end.
    async fn next(&mut self) -> Result<Option<Event>, ListError> {
        let (mut kind, mut data) = (String::new(), Vec::<String>::new());
        loop {
            while let Some((line, rest)) = split_line(&self.held) {
                if rest.is_empty() && self.held.ends_with(b"\r") {
                    // A line feed may follow.
                    break;
                }
                let line = String::from_utf8_lossy(line).into_owned();
                self.held.advance(self.held.len() - rest.len());
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match name.trim_start_matches('\u{feff}') {
                    "event" => value.clone_into(&mut kind),
                    "data" => data.push(value.to_owned()),
                    "" if line.is_empty() && !data.is_empty() => {
                        return Ok(Some(Event {
                            kind,
                            data: data.join("\n"),
                        }));
                    }
                    _ => {}
                }
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    async fn answer(&mut self, id: u64) -> Result<Answer, ListError> {
        self.read_bytes = 0;
        while let Some(event) = self.next().await? {
            if let Some(answer) = answer(&event.data, id) {
                return Ok(answer);
            }
        }
        Err(ListError::Invalid(
            "its event stream ended without a response",
        ))
    }
}
