//! Removes from the upstream's lists the tools that a connection may not call.

use std::borrow::Cow;

use memchr::{memchr, memchr2_iter};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::value::{RawValue, to_raw_value};

use super::request::is_spelling_of;

/// A message is no JSON, or its list of tools could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFiltered;

/// What the upstream's list says about a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTool<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Whether `annotations.readOnlyHint` is `true`. Every other value, and none, means that it may write.
    pub read_only: bool,
}

/// A message of the upstream, or a batch of them, with only the tools that `keep` returns `true` for; `None` if there is
/// no list of tools in it, or nothing is removed. Everything else stays as it was written.
///
/// # Errors
/// See [`NotFiltered`].
pub fn keep_tools(
    message: &str,
    keep: &dyn Fn(&ListedTool<'_>) -> bool,
) -> Result<Option<String>, NotFiltered> {
    if !may_name_tools(message.as_bytes()) {
        return Ok(None);
    }
    let message = message.trim_start_matches('\u{feff}');
    if !message.trim_ascii_start().starts_with('[') {
        return keep_in_message(message, keep);
    }
    let batch: Vec<&RawValue> = serde_json::from_str(message).map_err(|_| NotFiltered)?;
    let kept: Vec<_> = batch
        .iter()
        .map(|one| keep_in_message(one.get(), keep))
        .collect::<Result<_, _>>()?;
    if kept.iter().all(Option::is_none) {
        return Ok(None);
    }
    let all = batch
        .iter()
        .zip(kept)
        .map(|(one, kept)| kept.unwrap_or_else(|| one.get().to_owned()));
    Ok(Some(format!("[{}]", all.collect::<Vec<_>>().join(","))))
}

/// Whether there may be a member `tools`, in any case of its letters: written out, with an escape (of a code point, or one that
/// JSON does not have and some parsers forgive), or in UTF-16, which some parsers recognize by its zeros.
fn may_name_tools(message: &[u8]) -> bool {
    let is_tool = |at: usize| {
        let four = message.get(at..at + 4);
        four.is_some_and(|four| four.eq_ignore_ascii_case(b"tool"))
    };
    let is_encoded = message.contains(&0) || has_unusual_escape(message);
    is_encoded || memchr2_iter(b't', b'T', message).any(is_tool)
}

/// Whether there is another escape than those of a single character (RFC 8259 §7).
fn has_unusual_escape(message: &[u8]) -> bool {
    let mut rest = message;
    while let Some(at) = memchr(b'\\', rest) {
        match rest.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => rest = &rest[at + 2..],
            _ => return true,
        }
    }
    false
}

fn keep_in_message(
    message: &str,
    keep: &dyn Fn(&ListedTool<'_>) -> bool,
) -> Result<Option<String>, NotFiltered> {
    let mut message: Members<'_> = serde_json::from_str(message).map_err(|_| NotFiltered)?;
    let Some(result) = message.find("result")? else {
        return Ok(None);
    };
    let result_value = message.0[result].1.get();
    if !result_value.starts_with('{') {
        return Ok(None);
    }
    let mut members: Members<'_> = serde_json::from_str(result_value).map_err(|_| NotFiltered)?;
    let Some(tools) = members.find("tools")? else {
        return Ok(None);
    };
    let Ok(listed) = serde_json::from_str::<Vec<&RawValue>>(members.0[tools].1.get()) else {
        return Ok(None);
    };
    let count = listed.len();
    let kept: Vec<_> = listed
        .into_iter()
        .filter(|tool| ListedTool::read(tool.get()).is_some_and(|tool| keep(&tool)))
        .collect();
    if kept.len() == count {
        return Ok(None);
    }
    let kept = to_raw_value(&kept).map_err(|_| NotFiltered)?;
    members.0[tools].1 = &kept;
    let members = to_raw_value(&members).map_err(|_| NotFiltered)?;
    message.0[result].1 = &members;
    serde_json::to_string(&message)
        .map(Some)
        .map_err(|_| NotFiltered)
}

impl<'a> ListedTool<'a> {
    /// Reads an element of a list of tools; `None` if it is no tool, or could be read in two ways.
    #[must_use]
    pub fn read(tool: &'a str) -> Option<Self> {
        let members: Members<'_> = serde_json::from_str(tool).ok()?;
        let value = |members: &Members<'a>, name| {
            let at = members.find(name).ok()?;
            Some(at.map(|at| members.0[at].1.get()))
        };
        let name = serde_json::from_str::<Text<'_>>(value(&members, "name")??).ok()?;
        let read_only = match value(&members, "annotations")? {
            Some(annotations) => serde_json::from_str::<Members<'_>>(annotations)
                .ok()
                .and_then(|annotations| value(&annotations, "readOnlyHint"))
                .flatten()
                .is_some_and(|hint| hint == "true"),
            None => false,
        };
        Some(Self {
            name: name.0,
            read_only,
        })
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object, in order, with their values as they were written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Members<'_> {
    /// Where a member is. It must not be there twice, not even in another case.
    fn find(&self, name: &str) -> Result<Option<usize>, NotFiltered> {
        let mut spellings = (0..self.0.len()).filter(|at| is_spelling_of(&self.0[*at].0, name));
        let first = spellings.next();
        match (first, spellings.next()) {
            (Some(at), None) if self.0[at].0 != name => Err(NotFiltered),
            (first, None) => Ok(first),
            (_, Some(_)) => Err(NotFiltered),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(message: &str) -> Result<Option<String>, NotFiltered> {
        keep_tools(message, &|tool| tool.read_only)
    }

    #[test]
    fn only_the_list_of_tools_changes() {
        let list = |tools: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1.0,"result":{{"tools":[{tools}],"nextCursor":"c\u0041", "x":1e2}}}}"#
            )
        };
        let read = r#"{"name":"r","annotations":{"readOnlyHint":true}}"#;
        for writes in [
            r#"{"name":"w"}"#,
            r#"{"name":"w","annotations":null}"#,
            r#"{"name":"w","annotations":{}}"#,
            r#"{"name":"w","annotations":{"readOnlyHint":"true"}}"#,
            r#"{"name":"w","annotations":{"readOnlyHint":1}}"#,
            r#"{"name":"w","annotations":{"readOnlyHint":true,"readOnlyHint":false}}"#,
            r#"{"name":"w","annotations":{"readOnlyHint":true},"annotations":{}}"#,
            r#"{"name":"w","annotations":{"readonlyhint":true}}"#,
            r#"{"name":"r","Name":"w","annotations":{"readOnlyHint":true}}"#,
            r#"{"annotations":{"readOnlyHint":true}}"#,
            r#"{"name":7,"annotations":{"readOnlyHint":true}}"#,
            "\"w\"",
            "null",
        ] {
            let kept = reading(&list(&format!("{read},{writes},{read}")))
                .unwrap()
                .unwrap();
            let expected = list(&format!("{read},{read}")).replace(", \"x\"", ",\"x\"");
            assert_eq!(kept, expected, "{writes}");
        }
        for unchanged in [
            &list(read),
            &list(""),
            r#"{"id":1,"result":{"content":[{"tools":[{"name":"w"}]}]}}"#,
            r#"{"method":"notifications/message","params":{"tools":[{"name":"w"}]}}"#,
            r#"{"id":1,"result":"tools"}"#,
            r#"{"id":1,"result":{"tools":{}}}"#,
        ] {
            assert_eq!(reading(unchanged), Ok(None), "{unchanged}");
        }
        let batch = format!("[{},{{\"id\":2,\"result\":{{}}}}]", list(r#"{"name":"w"}"#));
        assert_eq!(
            reading(&batch).unwrap().unwrap(),
            batch
                .replace(r#"{"name":"w"}"#, "")
                .replace(", \"x\"", ",\"x\"")
        );
    }

    #[test]
    fn a_list_that_could_be_read_in_two_ways_is_refused() {
        for message in [
            r#"{"id":1,"result":{"tools":[]},"result":{"tools":[{"name":"w"}]}}"#,
            r#"{"id":1,"result":{"tools":[],"tools":[{"name":"w"}]}}"#,
            r#"{"id":1,"result":{"tools":[],"Tools":[{"name":"w"}]}}"#,
            r#"{"id":1,"Result":{"tools":[{"name":"w"}]}}"#,
            r#"{"id":1,"result":{"Tools":[{"name":"w"}]}}"#,
            "{\"id\":1,\"result\":{\"tool\u{17f}\":[{\"name\":\"w\"}]}}",
            r#"{"id":1,"result":{"\ud800":0,"tools":[{"name":"w"}]}}"#,
            r#"{"id":1,"result":{"t\ools":[{"name":"w"}]}}"#,
            "{\0\"\0i\0d\0\"\0:\x001\0}\0",
            r#"{"id":1,"result":{"tools":[{"name":"w"}]}"#,
            r#"[{"id":1,"result":{"tools":[{"name":"w"}]}}"#,
            "tools",
        ] {
            assert_eq!(reading(message), Err(NotFiltered), "{message}");
        }
    }
}
