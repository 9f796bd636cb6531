//! What a request's body says as JSON-RPC 2.0: ids and methods, which our own errors and acknowledgements need.
//!
//! Bodies pass as they are, whatever this module reads in them. It reads no more than the members at the top, keeps
//! ids as they were written (`1.0` stays `1.0`), and needs no stack for deeply nested parameters.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::HeaderMap;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::media::is_encoded;
use crate::upstream::Body;

/// Most messages of a batch that are told apart. A batch of more is answered as one message: many tiny messages
/// must not become as many long errors.
const BATCH_MESSAGES: usize = 1000;

/// A request's body, as far as it is in memory. It is read as JSON-RPC only when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct RequestBody(Option<Bytes>);

impl RequestBody {
    /// What there is of this body. One with a content coding is not decoded.
    pub fn of(headers: &HeaderMap, body: &Body) -> Self {
        match body {
            Body::Kept(bytes) if !is_encoded(headers) => Self(Some(bytes.clone())),
            Body::Kept(_) | Body::Streamed { .. } => Self(None),
        }
    }

    /// As JSON-RPC.
    pub fn message(&self) -> Message<'_> {
        self.0
            .as_deref()
            .map_or(Message::Unreadable, Message::parse)
    }
}

/// A body as JSON-RPC.
#[derive(Debug)]
pub enum Message<'b> {
    /// Not JSON-RPC, or not in memory.
    Unreadable,
    /// One message.
    One(Members<'b>),
    /// Several (MCP 2025-03-26 has batches).
    Batch(Vec<Members<'b>>),
}

/// The members of a message that matter here, as they were written.
#[derive(Debug, Default)]
pub struct Members<'b> {
    id: Option<&'b RawValue>,
    method: Option<&'b RawValue>,
    params: Option<&'b RawValue>,
    has_outcome: bool,
    has_version: bool,
}

/// The id of a call, as it was written; `null` also stands for what cannot be an id.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Id<'b>(Option<&'b RawValue>);

impl Id<'_> {
    /// The id of nobody knows which call.
    pub const NULL: Self = Self(None);
}

/// The ids of the calls in a request: of what gets a response.
#[derive(Debug)]
pub enum CallIds<'b> {
    /// No call, or none that can be read.
    None,
    /// One call.
    One(Id<'b>),
    /// The calls of a batch.
    Each(Vec<Id<'b>>),
}

impl<'b> Message<'b> {
    /// Reads a body. A byte order mark before it is let pass.
    pub fn parse(body: &'b [u8]) -> Self {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => serde_json::from_slice(body).map_or(Self::Unreadable, Self::One),
            Some(b'[') => match serde_json::from_slice(body) {
                Ok(Batch(messages)) if (1..=BATCH_MESSAGES).contains(&messages.len()) => {
                    Self::Batch(messages)
                }
                _ => Self::Unreadable,
            },
            _ => Self::Unreadable,
        }
    }

    fn all(&self) -> &[Members<'b>] {
        match self {
            Self::Unreadable => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Batch(all) => all,
        }
    }

    /// Whether it holds notifications and responses only, which get no response but an acknowledgement (MCP,
    /// Transports, Sending Messages to the Server).
    pub fn needs_acknowledgement_only(&self) -> bool {
        let all = self.all();
        !all.is_empty()
            && all
                .iter()
                .all(|one| one.is_notification() || one.is_response())
    }

    /// Whether it is the first call of a session, or the one that asks what a server is.
    pub fn opens_session(&self) -> bool {
        self.all().iter().any(|one| {
            matches!(
                one.method().as_deref(),
                Some("initialize" | "server/discover")
            )
        })
    }

    /// The method of the message, and what its `params` name; of the first message of a batch. For the log.
    pub fn method_and_name(&self) -> (Option<Cow<'b, str>>, Option<Cow<'b, str>>) {
        let first = self.all().first();
        (
            first.and_then(Members::method),
            first.and_then(Members::name),
        )
    }

    /// The names of the tools that it calls.
    pub fn called_tools(&self) -> impl Iterator<Item = Cow<'b, str>> {
        self.all()
            .iter()
            .filter(|one| one.method().as_deref() == Some("tools/call"))
            .filter_map(Members::name)
    }

    /// Whether it is JSON-RPC in every part.
    pub fn is_json_rpc(&self) -> bool {
        let all = self.all();
        !all.is_empty()
            && all
                .iter()
                .all(|one| one.has_version && (one.has_outcome || one.method.is_some()))
    }

    /// The ids of its calls.
    pub fn call_ids(&self) -> CallIds<'b> {
        match self {
            Self::Unreadable => CallIds::None,
            Self::One(one) => one.call_id().map_or(CallIds::None, CallIds::One),
            Self::Batch(all) => {
                let ids: Vec<_> = all.iter().filter_map(Members::call_id).collect();
                if ids.is_empty() {
                    CallIds::None
                } else {
                    CallIds::Each(ids)
                }
            }
        }
    }
}

impl<'b> Members<'b> {
    fn method(&self) -> Option<Cow<'b, str>> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        serde_json::from_str(self.method?.get())
            .ok()
            .map(|Text(text)| text)
    }

    /// `params.name`: of a tool or a prompt.
    fn name(&self) -> Option<Cow<'b, str>> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let params: Params<'b> = serde_json::from_str(self.params?.get()).ok()?;
        Some(params.name)
    }

    fn is_notification(&self) -> bool {
        self.id.is_none() && self.method.is_some_and(|raw| raw.get().starts_with('"'))
    }

    /// The client's response to a request of the server. Its id is the server's: in an error of ours, the client
    /// would take it for one of its own.
    fn is_response(&self) -> bool {
        self.method.is_none() && self.has_outcome
    }

    /// Its id, if it gets a response.
    fn call_id(&self) -> Option<Id<'b>> {
        if self.is_response() {
            return None;
        }
        let id = self.id?;
        let fits = id
            .get()
            .starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        Some(Id(fits.then_some(id)))
    }
}

/// An error response of the upstream.
#[derive(Debug, Deserialize)]
pub struct ResponseError {
    /// What kind of error it is.
    pub code: i64,
    /// The same in words.
    pub message: String,
}

impl ResponseError {
    /// Reads a body; `None` if it is anything else.
    pub fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Response {
            error: ResponseError,
        }
        let response: Response = serde_json::from_slice(body).ok()?;
        Message::parse(body).is_json_rpc().then_some(response.error)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            // Of repeated members the last counts, as in most parsers.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some(member) = map.next_key()? {
                    match member {
                        Member::Id => members.id = Some(map.next_value()?),
                        Member::Method => members.method = Some(map.next_value()?),
                        Member::Params => members.params = Some(map.next_value()?),
                        Member::Outcome => {
                            members.has_outcome = true;
                            map.next_value::<IgnoredAny>()?;
                        }
                        Member::Version => {
                            members.has_version = true;
                            map.next_value::<IgnoredAny>()?;
                        }
                        Member::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[derive(Deserialize)]
enum Member {
    #[serde(rename = "id")]
    Id,
    #[serde(rename = "method")]
    Method,
    #[serde(rename = "params")]
    Params,
    #[serde(rename = "result", alias = "error")]
    Outcome,
    #[serde(rename = "jsonrpc")]
    Version,
    #[serde(other)]
    Other,
}

/// Messages, at most one more than [`BATCH_MESSAGES`].
struct Batch<'b>(Vec<Members<'b>>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut messages = Vec::new();
                // What is no object has no members.
                while let Some(element) = seq.next_element::<&RawValue>()? {
                    if messages.len() <= BATCH_MESSAGES {
                        messages.push(serde_json::from_str(element.get()).unwrap_or_default());
                    }
                }
                Ok(Batch(messages))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids as an error would hold them.
    fn ids(body: &str) -> String {
        let text = |id: &Id<'_>| serde_json::to_string(id).unwrap();
        match Message::parse(body.as_bytes()).call_ids() {
            CallIds::None => "none".to_owned(),
            CallIds::One(id) => text(&id),
            CallIds::Each(ids) => {
                let ids: Vec<_> = ids.iter().map(text).collect();
                format!("[{}]", ids.join(","))
            }
        }
    }

    #[test]
    fn ids_stay_as_they_were_written() {
        for (body, id) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#, "1"),
            (
                r#"{"method":"a","params":{"id":2},"id": "x\u0041\"" }"#,
                r#""x\u0041\"""#,
            ),
            (
                r#"{"id":123456789012345678901234567890,"method":"a"}"#,
                "123456789012345678901234567890",
            ),
            (r#"{"id":-1.50e+400,"method":"a"}"#, "-1.50e+400"),
            (r#"{"id":null,"method":"a"}"#, "null"),
            (r#"{"id":{"a":1},"method":"a"}"#, "null"),
            (r#"{"id":true,"method":"a"}"#, "null"),
            (r#"{"\u0069d":7,"method":"a"}"#, "7"),
            (r#"{"id":1,"id":2,"method":"a"}"#, "2"),
            ("\u{feff} {\"id\":3,\"method\":\"a\"}\n", "3"),
            (r#"{"id":4}"#, "4"),
            (r#"{"id":"","method":"a"}"#, "\"\""),
            (r#"{"method":"a"}"#, "none"),
            (r#"{"id":5,"result":{}}"#, "none"),
            (r#"{"id":5,"error":{}}"#, "none"),
            ("", "none"),
            ("7", "none"),
            ("{", "none"),
            (r#"{"id":1,"method":"a"} x"#, "none"),
            (
                r#"[{"id":1,"method":"a"},{"method":"b"},{"id":"2","method":"c"},{"id":9,"result":1}]"#,
                "[1,\"2\"]",
            ),
            (r#"[{"method":"b"}]"#, "none"),
            (r#"[1,null,"x",[{"id":1}],{"id":1,"method":"a"}]"#, "[1]"),
            ("[]", "none"),
        ] {
            assert_eq!(ids(body), id, "{body}");
        }
    }

    #[test]
    fn what_gets_no_response_is_known() {
        for (body, only) in [
            (
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                true,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, true),
            (
                r#"{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"no"}}"#,
                true,
            ),
            (r#"[{"method":"a"},{"id":1,"result":{}}]"#, true),
            (r#"[{"method":"a"},{"id":1,"method":"b"}]"#, false),
            (r#"{"id":1,"method":"a"}"#, false),
            (r#"{"id":null,"method":"a"}"#, false),
            (r#"{"id":1,"method":"a","result":{}}"#, false),
            (r#"{"method":7}"#, false),
            ("{}", false),
            ("[]", false),
            ("[1]", false),
            ("not JSON", false),
        ] {
            let message = Message::parse(body.as_bytes());
            assert_eq!(message.needs_acknowledgement_only(), only, "{body}");
        }
    }

    #[test]
    fn the_first_call_is_known_in_every_spelling() {
        for (body, opens) in [
            (r#"{"id":1,"method":"initialize"}"#, true),
            (r#"{"id":1,"method":"\u0069nitialize"}"#, true),
            (r#"{"id":1,"method":"server/discover"}"#, true),
            (r#"{"id":1,"method":"server\/discover"}"#, true),
            (r#"[{"id":1,"method":"initialize"}]"#, true),
            (r#"{"id":1,"method":"initialized"}"#, false),
            (r#"{"id":1,"method":["initialize"]}"#, false),
            (r#"{"id":1,"params":{"method":"initialize"}}"#, false),
        ] {
            let message = Message::parse(body.as_bytes());
            assert_eq!(message.opens_session(), opens, "{body}");
        }
    }

    #[test]
    fn hostile_bodies_cost_neither_the_stack_nor_the_memory() {
        let deep = format!("{{\"id\":1,\"params\":{}", "[".repeat(3_000_000));
        assert_eq!(ids(&deep), "none");
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert_eq!(ids(&format!("{{\"id\":1,\"params\":{deep}}}")), "1");
        assert_eq!(ids(&deep), "none");
        assert_eq!(ids(&format!("{{\"id\":{deep},\"method\":\"a\"}}")), "null");
        let call = r#"{"id":1,"method":"a"}"#;
        let batch = |messages: usize| ids(&format!("[{}]", vec![call; messages].join(",")));
        assert_eq!(batch(BATCH_MESSAGES).len(), 2 * BATCH_MESSAGES + 1);
        assert_eq!(batch(BATCH_MESSAGES + 1), "none");
        let invalid = b"{\"id\":\"\xff\",\"method\":\"a\"}";
        assert!(matches!(Message::parse(invalid), Message::Unreadable));
    }
}
