//! Requests to the MCP endpoint, and the upstream's messages.

use http::HeaderName;
use lambda_oauth_mcp_proxy::{
    host::lambda::event, limit, oauth::resource::McpPath, upstream::target,
};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use super::json::{EXACT_READERS, Json, Reader, readers};

/// A path and a query: no request leaves the upstream's origin or path, or overrides a key of its query.
pub fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let Some(path) = McpPath::parse(path) else {
        return;
    };
    for upstream in [
        "https://up.example/base/mcp?key=ours&a_b=ours",
        "https://up.example/",
    ] {
        let upstream = Url::parse(upstream).unwrap();
        let Some(to) = target::resolve(&upstream, path.rest(), query) else {
            continue;
        };
        assert_eq!(to.origin(), upstream.origin());
        assert!(to.username().is_empty() && to.fragment().is_none());
        stays_below(upstream.path().trim_end_matches('/'), &to);
        for (key, value) in upstream.query_pairs() {
            for found in values_of(&key, &to) {
                assert_eq!(found, value, "{to}");
            }
        }
    }
}

/// Whether every server takes the path for one below `base`, also one that decodes it, takes backslashes for slashes, or
/// takes what follows a semicolon for parameters.
fn stays_below(base: &str, to: &Url) {
    let below = to.path().strip_prefix(base).unwrap();
    assert!(below.is_empty() || below.starts_with('/'), "{to}");
    let once = percent_decode_str(below).decode_utf8_lossy();
    let twice = percent_decode_str(&once).decode_utf8_lossy();
    assert!(
        !twice.contains(|c: char| c.is_ascii_control() || c == '\\'),
        "{to}"
    );
    for path in [below, &once, &twice] {
        assert_eq!(
            path.matches('/').count(),
            below.matches('/').count(),
            "{to}"
        );
        let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        assert!(!path.split('/').any(dots), "{to}");
    }
}

/// The values of a key as servers find them: some take `;` for `&`, ignore case, read `key[0]` as `key`, `a.b`, `a b` and
/// `a[b` as `a_b`, and end a name at a NUL (PHP, `main/php_variables.c`).
fn values_of(key: &str, url: &Url) -> Vec<String> {
    let query = url.query().unwrap_or_default();
    let pairs = query.split(['&', ';']).chain(query.split('&'));
    let php = |name: &str| {
        let name = name.trim_start().split('\0').next().unwrap();
        let (start, index) = name.split_once('[').unwrap_or((name, "]"));
        let whole = if index.contains(']') {
            start.to_owned()
        } else {
            format!("{start}_{index}")
        };
        whole.replace([' ', '.'], "_").to_lowercase()
    };
    let pairs = pairs.flat_map(|pair| {
        let pairs: Vec<_> = url::form_urlencoded::parse(pair.as_bytes())
            .into_owned()
            .collect();
        pairs
    });
    pairs
        .filter(|(name, _)| php(name) == key || name == key)
        .map(|(_, value)| value)
        .collect()
}

/// An event of a Function URL: the request says what the event says, and is the one that a local host would have received.
pub fn function_url_event(input: &[u8]) {
    let Ok(received) = event::read(input) else {
        return;
    };
    // Members that are not read may contain anything: bytes that are not UTF-8, half of a surrogate pair.
    let Ok(sent) = serde_json::from_str::<Value>(&String::from_utf8_lossy(input)) else {
        return;
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (request, uri) = (&received.request, received.request.uri());
    assert!(uri.path().starts_with('/') && uri.host().is_none() && uri.scheme().is_none());
    let parts = [
        (uri.path(), text(&sent["rawPath"])),
        (
            uri.query().unwrap_or_default(),
            text(&sent["rawQueryString"]),
        ),
    ];
    for (becomes, raw) in parts {
        if raw.is_empty() {
            continue;
        }
        let bytes = |text: &str| percent_decode_str(text).collect::<Vec<_>>();
        assert_eq!(bytes(becomes), bytes(&raw));
        // RFC 3986 §3.3, §3.4: what may be in both.
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&byte);
        assert!(
            becomes == raw || !raw.bytes().all(plain),
            "{raw} becomes {becomes}"
        );
    }
    let http = &sent["requestContext"]["http"];
    let method = text(&http["method"]);
    assert!(method.is_empty() || request.method().as_str() == method);
    assert_eq!(
        received.domain_name,
        text(&sent["requestContext"]["domainName"])
    );
    assert_eq!(received.source, text(&http["sourceIp"]).parse().ok());
    // With repeated names: of lists that have the same one, AWS's type takes all.
    let [_, last] = EXACT_READERS;
    let tree = Json::read(&String::from_utf8_lossy(input)).expect("what is accepted is JSON");
    for (name, value) in request.headers() {
        let mut sent = header_values(last.member(&tree, "headers"), name);
        let is_sent = sent.any(|sent| sent == value.as_bytes());
        assert!(name == "cookie" || is_sent, "{name}");
    }
    let body = text(&sent["body"]);
    if sent["isBase64Encoded"] == true {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(request.body());
        assert_eq!(encoded.trim_end_matches('='), body.trim_end_matches('='));
    } else {
        assert_eq!(request.body(), body.as_bytes());
    }
}

/// What an event has for a header: a text as Lambda sends it, or a list of texts or of lists of bytes, which AWS's type takes too.
fn header_values(headers: Option<&Json>, name: &HeaderName) -> impl Iterator<Item = Vec<u8>> {
    let members = match headers {
        Some(Json::Object(members)) => members.as_slice(),
        _ => &[],
    };
    let values = members
        .iter()
        .filter(move |(other, _)| name.as_str().eq_ignore_ascii_case(other))
        .flat_map(|(_, value)| match value {
            Json::Array(values) => values,
            one => std::slice::from_ref(one),
        });
    values.filter_map(|value| match value {
        Json::Text(text) => Some(text.clone().into_bytes()),
        Json::Array(bytes) => bytes.iter().map(byte).collect(),
        _ => None,
    })
}

fn byte(value: &Json) -> Option<u8> {
    match value {
        Json::Other(number) => number.parse().ok(),
        _ => None,
    }
}

/// The body of a request of a limited connection. If it is accepted, every parser reads the same calls from it: one that
/// takes the first of repeated members, one that takes the last, one that ignores case, and one that forgives errors.
pub fn limited_request(input: &[u8]) {
    let tree = std::str::from_utf8(input).ok().and_then(Json::read);
    let read = limit::read_strictly(input);
    let Ok(messages) = read else {
        // What has no member twice and no other shape than a message is not refused.
        let is_json = serde_json::from_slice::<Value>(input).is_ok();
        let plain = is_json && tree.is_some_and(|tree| is_plain_call(&tree));
        assert!(!plain, "{read:?}");
        return;
    };
    // Python's parser would take it for UTF-16 or UTF-32.
    assert!(!input.contains(&0) && !input.starts_with(b"\xef\xbb\xbf"));
    let tree = tree.expect("what is accepted is JSON");
    let read: Vec<_> = messages
        .iter()
        .map(|message| match message {
            limit::ClientMessage::ToolCall(tool) => (Some("tools/call"), Some(&**tool)),
            limit::ClientMessage::Other(method) => (Some(&**method), None),
            limit::ClientMessage::Response => (None, None),
        })
        .collect();
    for reader in readers() {
        let calls: Vec<_> = tree
            .messages()
            .iter()
            .map(|message| call(reader, message))
            .collect();
        assert_eq!(calls, read);
    }
}

/// The method of a message, and the tool that it calls.
fn call(reader: Reader, message: &Json) -> (Option<&str>, Option<&str>) {
    let method = reader.member(message, "method").and_then(Json::text);
    let name = || {
        reader
            .member(reader.member(message, "params")?, "name")?
            .text()
    };
    (
        method,
        if method == Some("tools/call") {
            name()
        } else {
            None
        },
    )
}

/// Whether it is one call whose members are all different.
fn is_plain_call(message: &Json) -> bool {
    readers().all(|reader| {
        let member = |name| reader.member(message, name);
        message.has_plain_members()
            && member("params").is_some_and(Json::has_plain_members)
            && member("result").or(member("error")).is_none()
            && member("method").is_some_and(|method| method.text().is_some())
            && member("params")
                .and_then(|params| reader.member(params, "name")?.text())
                .is_some()
    })
}

/// A message of the upstream: only allowed tools are left in its list, for every parser, and nothing else changes.
pub fn tool_list(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(kept) = limit::keep_tools(text, &|tool| tool.name == "keep") else {
        return;
    };
    // Only what is nested too deep is no value for this reader.
    let (Some(sent), Some(passed)) = (
        Json::read(text),
        Json::read(kept.as_deref().unwrap_or(text)),
    ) else {
        return;
    };
    assert!(
        kept.is_none_or(|kept| serde_json::from_str::<&serde_json::value::RawValue>(&kept).is_ok())
    );
    assert_eq!(sent.messages().len(), passed.messages().len());
    for (sent, passed) in sent.messages().iter().zip(passed.messages()) {
        for reader in readers() {
            for tool in tools(reader, passed) {
                for reader in readers() {
                    assert_eq!(
                        reader.member(tool, "name").and_then(Json::text),
                        Some("keep")
                    );
                }
            }
        }
        let mut expected = sent.clone();
        let reader = readers().next().unwrap();
        let left = tools(reader, passed);
        if let Some(tools) = tools_mut(&mut expected) {
            let is_plain = |tool: &Json| {
                tool.has_plain_members()
                    && reader.member(tool, "name").and_then(Json::text) == Some("keep")
            };
            let must_stay = tools.iter().filter(|tool| is_plain(tool));
            assert!(must_stay.clone().count() <= left.len());
            assert!(must_stay.clone().all(|tool| left.contains(tool)));
            assert!(left.iter().all(|tool| tools.contains(tool)));
            *tools = left.to_vec();
        }
        assert_eq!(&expected, passed);
    }
}

/// The list of tools of a result.
fn tools(reader: Reader, message: &Json) -> &[Json] {
    let tools = reader
        .member(message, "result")
        .and_then(|result| reader.member(result, "tools"));
    match tools {
        Some(Json::Array(tools)) => tools,
        _ => &[],
    }
}

fn tools_mut(message: &mut Json) -> Option<&mut Vec<Json>> {
    let mut at = message;
    for name in ["result", "tools"] {
        let Json::Object(members) = at else {
            return None;
        };
        at = &mut members.iter_mut().find(|(other, _)| other == name)?.1;
    }
    match at {
        Json::Array(tools) => Some(tools),
        _ => None,
    }
}
