//! Reads the body of a request as the upstream could read it, and refuses it if two readers could disagree.
//!
//! Parsers of JSON differ: of repeated members some take the first and some the last, Go's `encoding/json` ignores the
//! case of names, and some replace invalid UTF-8 where others fail. A limit that is checked on one reading and passed on
//! to another would be none. So a body is read whole, and every such difference in a member that decides what is called
//! is an error.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Most messages of a batch.
const MAX_BATCH_MESSAGES: usize = 1000;

/// Methods of requests that only read, or set up the client's own session: every client method of the four revisions
/// except `tools/call` and `tasks/cancel`, which could end the task of another connection.
const HARMLESS_REQUESTS: [&str; 17] = [
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    TOOLS_LIST,
];

/// Every notification that a client can send in the four revisions: none of them acts.
const HARMLESS_NOTIFICATIONS: [&str; 5] = [
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
];

const TOOLS_CALL: &str = "tools/call";
const TOOLS_LIST: &str = "tools/list";

/// One message of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage<'b> {
    /// A call of a tool, with or without an id.
    ToolCall(Cow<'b, str>),
    /// Another request or notification, by its method.
    Other(Cow<'b, str>),
    /// The response to a request of the server.
    Response,
}

/// What a limit refuses.
#[derive(Debug, PartialEq, Eq)]
pub enum Forbidden<'m> {
    /// The tool.
    Tool(&'m str),
    /// The method: it is unknown, or may act.
    Method(&'m str),
}

impl ClientMessage<'_> {
    /// Whether it is a call of a tool.
    #[must_use]
    pub fn calls_tool(&self) -> bool {
        matches!(self, Self::ToolCall(_))
    }

    /// Whether its response is a list of tools.
    #[must_use]
    pub fn lists_tools(&self) -> bool {
        matches!(self, Self::Other(method) if method == TOOLS_LIST)
    }

    /// What a limited connection may not send of it. What is unknown is refused.
    pub fn forbidden(&self, may_call: impl Fn(&str) -> bool) -> Option<Forbidden<'_>> {
        match self {
            Self::ToolCall(tool) => (!may_call(tool)).then_some(Forbidden::Tool(tool)),
            Self::Other(method) => {
                let harmless = HARMLESS_REQUESTS.contains(&&**method)
                    || HARMLESS_NOTIFICATIONS.contains(&&**method);
                (!harmless).then_some(Forbidden::Method(method))
            }
            Self::Response => None,
        }
    }
}

/// Reads a body: one message or a batch.
///
/// # Errors
/// A reason, without text of the body, if it is not JSON-RPC or could be read in two ways.
pub fn read_strictly(body: &[u8]) -> Result<Vec<ClientMessage<'_>>, String> {
    let text = str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
    let reason = |error: serde_json::Error| {
        let reason = error.to_string();
        // Such an error quotes the value.
        if reason.starts_with("invalid type") {
            return "it is not a JSON-RPC message with named parameters".to_owned();
        }
        reason
    };
    if text.trim_ascii_start().starts_with('[') {
        return serde_json::from_str(text)
            .map(|Batch(all)| all)
            .map_err(reason);
    }
    serde_json::from_str(text)
        .map(|one| vec![one])
        .map_err(reason)
}

impl<'de> Deserialize<'de> for ClientMessage<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = ClientMessage<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = UniqueMembers(&["id", "method", "params", "result", "error"], 0);
        let (mut method, mut name, mut has_outcome) = (None, None, false);
        while let Some(Anything(member)) = map.next_key()? {
            match members.find(&member.unwrap_or_default())? {
                Some("method") => match map.next_value()? {
                    Anything(Some(text)) => method = Some(text),
                    Anything(None) => return Err(A::Error::custom("its method is not a string")),
                },
                Some("params") => Params(name) = map.next_value()?,
                Some("result" | "error") => {
                    has_outcome = true;
                    map.next_value::<Anything<'_>>()?;
                }
                _ => drop(map.next_value::<Anything<'_>>()?),
            }
        }
        match (method, has_outcome) {
            (Some(method), false) if method == TOOLS_CALL => name
                .map(ClientMessage::ToolCall)
                .ok_or_else(|| A::Error::custom("the name of the tool is not a string")),
            (Some(method), false) => Ok(ClientMessage::Other(method)),
            (None, true) => Ok(ClientMessage::Response),
            _ => Err(A::Error::custom("it is neither a request nor a response")),
        }
    }
}

struct Batch<'b>(Vec<ClientMessage<'b>>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a batch")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = seq.next_element()? {
                    messages.push(message);
                    if messages.len() > MAX_BATCH_MESSAGES {
                        return Err(A::Error::custom("it has more than 1000 messages"));
                    }
                }
                if messages.is_empty() {
                    return Err(A::Error::custom("it has no message"));
                }
                Ok(Batch(messages))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

/// The member `name` of `params`, if there is one and it is a string.
struct Params<'b>(Option<Cow<'b, str>>);

impl<'de> Deserialize<'de> for Params<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Params<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("params as an object")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Params(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = UniqueMembers(&["name"], 0);
                let mut name = None;
                while let Some(Anything(member)) = map.next_key()? {
                    let is_name = members.find(&member.unwrap_or_default())?.is_some();
                    let Anything(value) = map.next_value()?;
                    if is_name {
                        name = value;
                    }
                }
                Ok(Params(name))
            }
        }
        deserializer.deserialize_any(Object)
    }
}

/// Finds the members that decide what is called: each at most once, in exactly this spelling.
struct UniqueMembers(&'static [&'static str], u8);

impl UniqueMembers {
    fn find<E: Error>(&mut self, member: &str) -> Result<Option<&'static str>, E> {
        let Some(at) = self
            .0
            .iter()
            .position(|known| is_spelling_of(member, known))
        else {
            return Ok(None);
        };
        if member != self.0[at] {
            return Err(E::custom("a member differs from a known one only in case"));
        }
        if self.1 & 1 << at != 0 {
            return Err(E::custom("a member is repeated"));
        }
        self.1 |= 1 << at;
        Ok(Some(self.0[at]))
    }
}

/// Whether a parser that ignores case could take one for the other. As in Go's, also `ſ` is an `s` and `K` (the Kelvin
/// sign) a `k`.
pub(super) fn is_spelling_of(member: &str, known: &str) -> bool {
    let simple = |c: char| {
        let upper = c.to_uppercase().next().unwrap_or(c);
        upper.to_lowercase().next().unwrap_or(upper)
    };
    member == known || member.chars().map(simple).eq(known.chars().map(simple))
}

/// Any value, read to its end and at most 128 levels deep; its text if it is a string.
struct Anything<'b>(Option<Cow<'b, str>>);

impl<'de> Deserialize<'de> for Anything<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnythingVisitor)
    }
}

struct AnythingVisitor;

impl<'de> Visitor<'de> for AnythingVisitor {
    type Value = Anything<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Anything(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Anything(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Anything(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Anything(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Anything(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Anything(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Anything(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<Anything<'_>>()?.is_some() {}
        Ok(Anything(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<Anything<'_>, Anything<'_>>()?.is_some() {}
        Ok(Anything(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<String>, String> {
        read_strictly(body.as_bytes()).map(|all| all.iter().map(|one| format!("{one:?}")).collect())
    }

    #[test]
    fn every_form_of_a_message_is_read() {
        for (body, is) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"name":"b","Name":1,"name":2}}}"#,
                r#"ToolCall("a")"#,
            ),
            (
                r#" {"params":{"arguments":[],"name":"\u0061\u0000"},"method":"tools\/call"}"#,
                r#"ToolCall("a\0")"#,
            ),
            (
                r#"{"id":1,"method":"tools/list"}"#,
                r#"Other("tools/list")"#,
            ),
            (r#"{"id":1,"method":"x","params":null}"#, r#"Other("x")"#),
            (r#"{"id":1,"result":{"method":"tools/call"}}"#, "Response"),
            (r#"{"id":1,"error":{}}"#, "Response"),
        ] {
            assert_eq!(read(body), Ok(vec![is.to_owned()]), "{body}");
            let batch = format!("[{body},{body}]");
            assert_eq!(
                read(&batch),
                Ok(vec![is.to_owned(), is.to_owned()]),
                "{batch}"
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_without_quoting_it() {
        let deep = format!(
            r#"{{"id":1,"method":"tools/call","params":{{"name":"a","arguments":{}{}}}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        );
        let many = format!("[{}1]", r#"{"id":1,"method":"ping"},"#.repeat(1001));
        for body in [
            r#"{"id":1,"method":"tools/list","method":"tools/call","params":{"name":"secret"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a"},"params":{"name":"secret"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a","name":"secret"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"secret"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a","Name":"secret"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a"},"paramſ":{"name":"secret"}}"#,
            r#"{"id":1,"method":"ping","METHOD":"tools/call","params":{"name":"secret"}}"#,
            r#"{"id":1,"id":2,"method":"ping"}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":["secret"]}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":7}}"#,
            r#"{"id":1,"method":"tools/call","params":{}}"#,
            r#"{"id":1,"method":"tools/call","params":["secret"]}"#,
            r#"{"id":1,"method":"tools/call","params":"secret"}"#,
            r#"{"id":1,"method":"tools/call"}"#,
            r#"{"id":1,"method":["tools/call"],"params":{"name":"secret"}}"#,
            r#"{"id":1,"method":"ping","result":{}}"#,
            r#"{"id":1}"#,
            r#"{"id":1,"method":"ping"}{"id":2,"method":"ping"}"#,
            r#"{"id":1,"method":"ping",}"#,
            r#"{"id":1,"method":"ping"/* secret */}"#,
            r#"{"id":1,"method":"ping","x":"\ud800"}"#,
            "\u{feff}{\"id\":1,\"method\":\"ping\"}",
            r#"[{"id":1,"method":"ping"},"secret"]"#,
            r#"[[{"id":1,"method":"ping"}]]"#,
            "[]",
            "\"secret\"",
            "",
            &deep,
            &many,
        ] {
            let reason = read(body).unwrap_err();
            assert!(!reason.contains("secret"), "{body}: {reason}");
        }
        for body in [
            &b"{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"\xff\"}}"[..],
            b"{\"id\":1,\"method\":\"ping\",\"x\":[\"\xed\xa0\x80\"]}",
            b"\xff\xfe{\0",
        ] {
            assert!(read_strictly(body).is_err());
        }
    }
}
