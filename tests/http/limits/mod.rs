//! Connections with a limit: what they may do, what they see, what is recorded.

mod activity;
mod lists;
mod messages;
mod records;
mod requests;

use std::sync::{Arc, Mutex};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use lambda_oauth_mcp_proxy::{
    connection_name::ConnectionName,
    credential::{AccessToken, ConnectionId, Randomness, SealingKey},
    limit::{Limit, ToolNames},
    store::{Store, record::Connection},
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::{
    recorder::{Recorded, Recorder},
    world::{BEGIN, World},
};

fn store(w: &World) -> Store {
    let table = "lambda-oauth-mcp-proxy".to_owned();
    Store::new(w.dynamodb(), table, Randomness::system())
}

fn name(text: &str) -> Option<ConnectionName> {
    ConnectionName::parse(text).unwrap()
}

fn tools(names: &[&str]) -> Limit {
    Limit::Tools(ToolNames::new(names.iter().map(|name| (*name).to_owned())).unwrap())
}

/// A token created by hand, valid for a day.
fn manual(w: &World, limit: Limit) -> (AccessToken, Connection) {
    let randomness = Randomness::system();
    let token = AccessToken::generate(&ConnectionId::generate(&randomness), &randomness);
    w.keep_secret(token.expose());
    let connection = Connection::manual(
        &token,
        name("Backup script"),
        limit,
        w.base.clone(),
        SealingKey::generate(&randomness),
        "127.0.0.1".to_owned(),
        (BEGIN, BEGIN + 86_400),
    );
    (token, connection)
}

/// A token with this limit.
async fn limited(w: &World, limit: Limit) -> String {
    let (token, connection) = manual(w, limit);
    store(w)
        .create_manual_connection(&connection)
        .await
        .unwrap();
    token.expose().to_owned()
}

/// A request to the MCP endpoint.
async fn post(
    w: &World,
    token: &str,
    body: impl Into<reqwest::Body>,
) -> crate::support::world::Response {
    w.post("/mcp")
        .header("authorization", &format!("Bearer {token}"))
        .body("application/json", body)
        .send()
        .await
}

fn call(tool: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool } })
        .to_string()
}

/// A tool that only reads, and others.
fn ordinary_tools() -> Vec<Value> {
    vec![
        json!({ "name": "read", "annotations": { "readOnlyHint": true } }),
        json!({ "name": "write", "annotations": { "readOnlyHint": false } }),
        json!({ "name": "unknown" }),
    ]
}

/// What an MCP server responds; `None` to what needs no response.
fn answer(message: &Value, tools: &[Value]) -> Option<Value> {
    let result = match message["method"].as_str()? {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": {} }),
        "tools/list" => json!({ "tools": tools }),
        _ => json!({ "content": [] }),
    };
    let id = message.get("id")?;
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

fn json_response(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

/// Makes the upstream an MCP server over Streamable HTTP.
fn serve_streamable(upstream: &Recorder, tools: Vec<Value>) {
    upstream.responds(move |request| {
        let message = serde_json::from_slice(&request.body).unwrap_or_default();
        match answer(&message, &tools) {
            Some(answer) => json_response(&answer),
            None => StatusCode::ACCEPTED.into_response(),
        }
    });
}

/// Makes the upstream an MCP server over HTTP+SSE.
fn serve_sse(upstream: &Recorder, tools: Vec<Value>) {
    let streams: Arc<Mutex<Vec<UnboundedSender<Value>>>> = Arc::default();
    upstream.responds(move |request| {
        let mut streams = streams.lock().unwrap();
        if request.method == Method::GET {
            let (sender, receiver) = unbounded_channel();
            let opening = format!("event: endpoint\ndata: /messages?n={}\n\n", streams.len());
            streams.push(sender);
            let events = stream::unfold(receiver, |mut receiver| async {
                let message: Value = receiver.recv().await?;
                Some((format!("event: message\ndata: {message}\n\n"), receiver))
            });
            let events = stream::iter([opening]).chain(events);
            let body =
                Body::from_stream(events.map(|event| Ok::<_, std::io::Error>(Bytes::from(event))));
            return ([("content-type", "text/event-stream")], body).into_response();
        }
        let n: usize = request.target.split_once("n=").unwrap().1.parse().unwrap();
        let message = serde_json::from_slice(&request.body).unwrap();
        if let Some(answer) = answer(&message, &tools) {
            let _ = streams[n].send(answer);
        }
        StatusCode::ACCEPTED.into_response()
    });
}

/// The bodies that reached the upstream with the proxy's own list requests left out.
fn forwarded(w: &World) -> Vec<Recorded> {
    let ours = |request: &Recorded| request.header("user-agent").is_none();
    w.upstream
        .requests()
        .into_iter()
        .filter(|request| !ours(request))
        .collect()
}
