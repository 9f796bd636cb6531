//! The few messages of MCP that a diagnosis needs, over Streamable HTTP.

use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::probe::{Answer, Probe, Prober};

/// What a client accepts (MCP, Transports, Sending Messages to the Server).
pub const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
/// The revision that the doctor speaks.
const REVISION: &str = "2025-11-25";

/// The first message of a client.
pub fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": { "name": "connector-doctor", "version": "1" },
        },
    })
}

/// A session with a server.
pub struct Session<'a> {
    prober: &'a Prober,
    url: &'a Url,
    authorization: String,
    id: Option<String>,
}

impl<'a> Session<'a> {
    /// A session that has not begun.
    pub fn new(prober: &'a Prober, url: &'a Url, token: &str) -> Self {
        let authorization = format!("Bearer {token}");
        Self {
            prober,
            url,
            authorization,
            id: None,
        }
    }

    /// Sends `initialize`.
    pub async fn begin(&mut self) -> Probe {
        let answer = self
            .prober
            .post_json(self.url, &self.headers(), &initialize())
            .await?;
        let id = answer.header("mcp-session-id");
        self.id = (!id.is_empty()).then(|| id.to_owned());
        Ok(answer)
    }

    /// Sends the notification that the session has begun.
    pub async fn confirm(&self) -> Probe {
        let message = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.prober
            .post_json(self.url, &self.headers(), &message)
            .await
    }

    /// Asks for the tools.
    pub async fn tools(&self) -> Probe {
        let message = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {} });
        self.prober
            .post_json(self.url, &self.headers(), &message)
            .await
    }

    /// Ends the session.
    pub async fn end(&self) {
        if self.id.is_some() {
            let headers = self.headers();
            let ended = self
                .prober
                .send(Method::DELETE, self.url, &headers, String::new());
            let _ = ended.await;
        }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![
            ACCEPT,
            ("authorization", self.authorization.as_str()),
            ("mcp-protocol-version", REVISION),
        ];
        headers.extend(self.id.as_deref().map(|id| ("mcp-session-id", id)));
        headers
    }
}

/// The JSON-RPC response in a response: its body, or the first event with a result or an error.
pub fn message(answer: &Answer) -> Option<Value> {
    let is_response = |message: &Value| !message["result"].is_null() || !message["error"].is_null();
    if let Some(message) = answer.json() {
        return Some(message).filter(is_response);
    }
    let text = String::from_utf8_lossy(&answer.body);
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut messages = data.filter_map(|data| serde_json::from_str(data.trim()).ok());
    messages.find(is_response)
}
