//! Every message that a client can send × limit × transport × revision.
//!
//! The messages are those of `ClientRequest`, `ClientNotification` and `ClientResult` in the schemas of the four revisions
//! (`schema/<revision>/schema.ts` of github.com/modelcontextprotocol/modelcontextprotocol, commit b0f60ba, 22 August
//! 2026).

use lambda_oauth_mcp_proxy::limit::Limit;
use serde_json::{Value, json};

use super::{limited, ordinary_tools, serve_sse, serve_streamable, tools};
use crate::support::world::World;

const REVISIONS: [&str; 4] = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];

const DOCUMENTED: &str = include_str!("../../../docs/reference/limits.md");

/// What a client can send in each revision, whether it is a request, and whether a limited connection can send it.
/// `tools/call` has rows of its own.
const MESSAGES: [(&str, [bool; 4], Kind, bool); 26] = {
    use Kind::{Notification, Request};
    const ALL: [bool; 4] = [true; 4];
    const OLD: [bool; 4] = [true, true, true, false];
    const TASKS: [bool; 4] = [false, false, true, false];
    const NEW: [bool; 4] = [false, false, false, true];
    [
        ("completion/complete", ALL, Request, true),
        ("initialize", OLD, Request, true),
        ("logging/setLevel", OLD, Request, true),
        ("notifications/cancelled", ALL, Notification, true),
        ("notifications/initialized", OLD, Notification, true),
        ("notifications/progress", OLD, Notification, true),
        ("notifications/roots/list_changed", OLD, Notification, true),
        ("notifications/tasks/status", TASKS, Notification, true),
        ("ping", OLD, Request, true),
        ("prompts/get", ALL, Request, true),
        ("prompts/list", ALL, Request, true),
        ("resources/list", ALL, Request, true),
        ("resources/read", ALL, Request, true),
        ("resources/subscribe", OLD, Request, true),
        ("resources/templates/list", ALL, Request, true),
        ("resources/unsubscribe", OLD, Request, true),
        ("server/discover", NEW, Request, true),
        ("subscriptions/listen", NEW, Request, true),
        ("tasks/cancel", TASKS, Request, false),
        ("tasks/get", TASKS, Request, true),
        ("tasks/list", TASKS, Request, true),
        ("tasks/result", TASKS, Request, true),
        ("tools/list", ALL, Request, true),
        // In no schema.
        ("notifications/of/an/extension", ALL, Notification, false),
        ("tasks/update", ALL, Request, false),
        ("tools/CALL", ALL, Request, false),
    ]
};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Request,
    Notification,
}

/// How many members `ClientRequest` and `ClientNotification` have in each schema.
const IN_SCHEMA: [(usize, usize); 4] = [(13, 4), (13, 4), (17, 5), (10, 1)];

#[test]
fn no_message_of_a_schema_is_forgotten() {
    let in_schemas = &MESSAGES[..MESSAGES.len() - 3];
    for (at, revision) in REVISIONS.iter().enumerate() {
        let count = |kind| {
            let has = in_schemas
                .iter()
                .filter(|(_, revisions, k, _)| revisions[at] && *k == kind);
            has.count()
        };
        // `tools/call` is the request that is not in the list.
        let counted = (count(Kind::Request) + 1, count(Kind::Notification));
        assert_eq!(counted, IN_SCHEMA[at], "{revision}");
    }
}

/// The messages of a revision, and whether each passes. A batch passes if all of it does.
fn messages(at: usize, limit: &Limit) -> Vec<(Value, bool)> {
    let mut all = Vec::new();
    for (method, revisions, kind, passes) in MESSAGES {
        if revisions[at] {
            let mut message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": { "name": "write" } });
            if kind == Kind::Notification {
                message.as_object_mut().unwrap().remove("id");
            }
            all.push((message, passes));
        }
    }
    for tool in ["read", "write", "unknown", "Read", "read\0", ""] {
        let passes = tool == "read" || (tool == "write" && *limit != Limit::ReadOnly);
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool } });
        let mut without_id = call.clone();
        without_id.as_object_mut().unwrap().remove("id");
        all.extend([(call, passes), (without_id, passes)]);
    }
    // In the last revision a client sends no response; the upstream refuses one.
    all.push((
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "action": "accept" } }),
        true,
    ));
    all.push((
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "no" } }),
        true,
    ));
    if at == 0 {
        let both = all.iter().filter(|(_, passes)| *passes).count();
        let passing: Vec<_> = all
            .iter()
            .filter(|(_, passes)| *passes)
            .map(|(m, _)| m.clone())
            .collect();
        let whole: Vec<_> = all.iter().map(|(message, _)| message.clone()).collect();
        assert!(both < whole.len());
        all.extend([(json!(passing), true), (json!(whole), false)]);
    }
    all
}

#[tokio::test]
async fn every_message_passes_or_is_refused_as_documented() {
    let streamable = World::start().await;
    serve_streamable(&streamable.upstream, ordinary_tools());
    let sse = World::with_settings(&[("UPSTREAM_TRANSPORT", "sse")]).await;
    serve_sse(&sse.upstream, ordinary_tools());
    for (w, is_sse) in [(&streamable, false), (&sse, true)] {
        for limit in [Limit::ReadOnly, tools(&["read", "write"])] {
            let token = limited(w, limit.clone()).await;
            let bearer = format!("Bearer {token}");
            let mut path = "/mcp".to_owned();
            let mut stream = None;
            if is_sse {
                let mut opened = w
                    .get("/mcp")
                    .header("authorization", &bearer)
                    .stream()
                    .await;
                let event = opened.chunk().await.unwrap().unwrap();
                let event = String::from_utf8(event.to_vec()).unwrap();
                path = event.split_once("data: ").unwrap().1.trim().to_owned();
                stream = Some(opened);
            }
            for (at, revision) in REVISIONS.iter().enumerate() {
                for (message, passes) in messages(at, &limit) {
                    let response = w
                        .post(&path)
                        .header("authorization", &bearer)
                        .header("mcp-protocol-version", revision)
                        // The headers never count.
                        .header("mcp-method", "tools/list")
                        .json(&message)
                        .send()
                        .await;
                    let last = w.upstream.last();
                    let reached = last.is_some_and(|last| last.body == message.to_string());
                    assert_eq!(
                        reached, passes,
                        "{revision} {limit:?} {message} {response:?}"
                    );
                    if !passes {
                        is_explained(&response.text, &message, response.status, is_sse);
                    }
                }
            }
            drop(stream);
        }
    }
}

fn is_explained(text: &str, message: &Value, status: u16, is_sse: bool) {
    let body: Value = serde_json::from_str(text).unwrap();
    let errors = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    let messages = message
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![message.clone()]);
    let ids: Vec<_> = messages
        .iter()
        .filter(|m| m.get("method").is_some())
        .filter_map(|m| m.get("id").cloned())
        .collect();
    let told: Vec<_> = errors.iter().map(|error| error["id"].clone()).collect();
    assert_eq!(
        told,
        if ids.is_empty() {
            vec![Value::Null]
        } else {
            ids.clone()
        }
    );
    assert_eq!(
        status,
        if ids.is_empty() || is_sse { 400 } else { 200 },
        "{text}"
    );
    for error in &errors {
        let said = error["error"]["message"].as_str().unwrap();
        assert!(
            said.contains("Your connection “Backup script” may") && said.ends_with("/connections"),
            "{said}"
        );
        if messages.len() == 1 {
            let is_call = message["method"] == "tools/call";
            assert_eq!(
                error["error"]["code"],
                if is_call { -32602 } else { -32601 }
            );
        }
    }
}

#[test]
fn the_documentation_has_the_table_of_messages() {
    let revisions = |has: [bool; 4]| match has {
        [true, true, true, true] => "all",
        [true, true, true, false] => "to 2025-11-25",
        [false, false, true, false] => "2025-11-25",
        _ => "2026-07-28",
    };
    for (method, has, _, passes) in &MESSAGES[..MESSAGES.len() - 3] {
        let row = format!(
            "| `{method}` | {} | {} |",
            revisions(*has),
            if *passes { "passes" } else { "refused" }
        );
        assert!(DOCUMENTED.contains(&row), "{row}");
    }
}
