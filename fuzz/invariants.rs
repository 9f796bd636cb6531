//! What each fuzz target does with its input: it calls a parser of untrusted input and checks what the parser accepted.
//! cargo-fuzz runs these functions, one program for each (`targets/`), and so does `cargo test`, over `seeds/`.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use lambda_oauth_mcp_proxy::{
    client_document::DocumentUrl,
    credential::{AccessToken, Code, IssuedToken, RefreshToken},
    host::lambda::event,
    limit,
    oauth::{
        authorization::{AuthorizationRequest, RedirectTarget},
        bearer::{self, PresentedBearer},
        client::ClientMetadata,
        client_auth::PresentedClient,
        error::{ErrorCode, OAuthError},
        params::Params,
        redirect_uri::RedirectUri,
        resource::{BaseUrl, McpPath},
        token::TokenRequest,
    },
    secrets::TokenForm,
    upstream::{endpoint_event, endpoint_target, event_filter, keep_alive, target},
};
use serde_json::Value;
use url::Url;

/// A target's function.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program and of its folder of seeds.
pub const TARGETS: [(&str, Target); 12] = [
    ("authorization", authorization),
    ("bearer", bearer),
    ("client_document", client_document),
    ("endpoint_event", endpoint_event),
    ("event_filter", event_filter),
    ("function_url_event", function_url_event),
    ("keep_alive", keep_alive),
    ("limited_request", limited_request),
    ("path", path),
    ("registration", registration),
    ("token", token),
    ("tool_list", tool_list),
];

/// The metadata of a registration (RFC 7591). What is accepted can be registered again from the response.
pub fn registration(input: &[u8]) {
    let Ok(metadata) = ClientMetadata::from_registration(input) else {
        return;
    };
    safe_metadata(&metadata);
    let response = metadata.to_registration_response("the-client", 0, None);
    let text = response.to_string();
    let again = ClientMetadata::from_registration(text.as_bytes());
    assert_eq!(again.ok().as_ref(), Some(&metadata), "{text}");
}

/// A client document, and its URL. The first line is the URL.
pub fn client_document(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (url, body) = input.split_at(end.unwrap_or(input.len()));
    let Ok(url) = std::str::from_utf8(url) else {
        return;
    };
    if let Ok(document_url) = DocumentUrl::parse(url) {
        assert!(url.starts_with("https://") && document_url.as_str() == url);
        let parsed = Url::parse(url).unwrap();
        assert!(parsed.port().is_none() && parsed.username().is_empty());
        assert!(parsed.fragment().is_none() && parsed.as_str() == url);
    }
    if let Ok(metadata) = ClientMetadata::from_document(url, body) {
        safe_metadata(&metadata);
        let document: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(document["client_id"], url);
        assert!(document.get("client_secret").is_none());
    }
}

fn safe_metadata(metadata: &ClientMetadata) {
    assert!(!metadata.redirect_uris.is_empty());
    metadata.redirect_uris.iter().for_each(safe_redirect_uri);
    let name = metadata.client_name.as_deref().unwrap_or_default();
    assert!(!name.chars().any(char::is_control) && name.chars().count() <= 256);
}

/// Whatever a browser makes of it, the code goes to this very place.
fn safe_redirect_uri(uri: &RedirectUri) {
    let text = uri.as_str();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    let url = Url::parse(text).unwrap();
    assert!(!matches!(
        url.scheme(),
        "javascript" | "data" | "vbscript" | "file" | "blob" | "about"
    ));
    assert!(url.scheme() != "http" || uri.is_loopback(), "{text:?}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    assert!(uri.matches(uri));
    let sent = uri.with_query_params(&[("code", "a&b=#c")]);
    let sent = Url::parse(&sent).unwrap();
    assert_eq!(
        (sent.scheme(), sent.host_str(), sent.port(), sent.path()),
        (url.scheme(), url.host_str(), url.port(), url.path())
    );
    assert_eq!(sent.query_pairs().last().unwrap().1, "a&b=#c");
    assert!(sent.fragment().is_none());
}

/// The query of an authorization request. The response goes to a registered redirect URI, with the state as it was sent.
pub fn authorization(input: &[u8]) {
    let Ok(params) = Params::parse(input) else {
        return;
    };
    no_control_characters(&params);
    let uris = [
        "https://client.example/callback?x=1",
        "http://127.0.0.1/callback",
        "com.example.app:/callback",
    ];
    let registered = uris.map(|uri| RedirectUri::parse(uri).unwrap());
    let base = BaseUrl::parse("https://mcp.example.com").unwrap();
    let Ok(target) = RedirectTarget::validate(&registered, &params, &base) else {
        return;
    };
    let redirect_uri = target.redirect_uri();
    assert!(registered.iter().any(|uri| uri.matches(redirect_uri)));
    let error = OAuthError::new(ErrorCode::AccessDenied, "the owner refused the request");
    for response in [target.success_url("the-code"), target.error_url(&error)] {
        let to = Url::parse(&response).unwrap();
        let asked = Url::parse(redirect_uri.as_str()).unwrap();
        assert_eq!(
            (to.scheme(), to.host_str(), to.port(), to.path()),
            (asked.scheme(), asked.host_str(), asked.port(), asked.path())
        );
        let state = to.query_pairs().find(|(name, _)| name == "state");
        assert_eq!(
            state.map(|(_, state)| state.into_owned()).as_deref(),
            target.state()
        );
    }
    if let Ok(request) = AuthorizationRequest::parse(&params, [&base]) {
        assert!(
            request
                .scope
                .split(' ')
                .all(|scope| matches!(scope, "mcp" | "offline_access"))
        );
        assert!(!request.scope.is_empty());
    }
}

fn no_control_characters(params: &Params) {
    for name in params.names() {
        let mut texts = params.all(name).chain([name]);
        assert!(texts.all(|text| !text.chars().any(char::is_control)));
    }
}

/// The body of a token request, as a form or as JSON. The first line is the `Authorization` header.
pub fn token(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (header, body) = input.split_at(end.map_or(0, |end| end + 1));
    let headers = authorization_header(header.strip_suffix(b"\n").unwrap_or_default());
    for params in [Params::parse(body), Params::parse_json(body)]
        .into_iter()
        .flatten()
    {
        no_control_characters(&params);
        if let Ok(client) = PresentedClient::read(&headers, &params) {
            assert!(!client.client_id.is_empty());
        }
        match TokenRequest::parse(&params) {
            Ok(TokenRequest::AuthorizationCode {
                code: Some(code), ..
            }) => {
                assert_eq!(params.once("code").unwrap(), Some(code.expose()));
            }
            Ok(TokenRequest::RefreshToken {
                refresh_token: Some(token),
            }) => {
                assert_eq!(
                    params.once("refresh_token").unwrap(),
                    Some(&*token.expose())
                );
            }
            _ => {}
        }
    }
}

fn authorization_header(value: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(value)
        && !value.is_empty()
    {
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// The `Authorization` header of a call, and every credential that can be in it. A credential has one spelling only.
pub fn bearer(input: &[u8]) {
    let headers = authorization_header(input);
    if let PresentedBearer::Token(token) = bearer::presented(&headers) {
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let kinds = [
        AccessToken::parse(text).map(|token| token.expose().to_owned()),
        RefreshToken::parse(text).map(|token| token.expose()),
        Code::parse(text).map(|code| code.expose().to_owned()),
    ];
    assert!(kinds.iter().flatten().count() <= 1, "two kinds: {text}");
    for exposed in kinds.into_iter().flatten() {
        assert_eq!(exposed, text);
    }
    if let Some(token) = IssuedToken::parse(text) {
        assert_eq!(token.connection_id().as_str().len(), 22);
    }
    if let Ok(token) = TokenForm::default().read(text) {
        let value = token.header_value();
        let token = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(text.contains(token), "nothing is added or changed");
    }
}

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
        "https://up.example/base/mcp?key=ours",
        "https://up.example/",
    ] {
        let upstream = Url::parse(upstream).unwrap();
        let Some(to) = target::resolve(&upstream, path.rest(), query) else {
            continue;
        };
        assert_eq!(to.origin(), upstream.origin());
        assert!(
            to.path().starts_with(upstream.path().trim_end_matches('/')),
            "{to}"
        );
        assert!(
            !to.path()
                .split('/')
                .any(|segment| matches!(segment, "." | ".."))
        );
        let keys = to.query_pairs().filter(|(name, _)| name == "key").count();
        assert!(keys == 1 || upstream.query().is_none(), "{to}");
        assert!(to.fragment().is_none());
    }
}

/// An event of a Function URL: the request says what the event says.
pub fn function_url_event(input: &[u8]) {
    let Ok(received) = event::read(input) else {
        return;
    };
    let sent: Value = serde_json::from_slice(input).unwrap();
    let uri = received.request.uri();
    assert!(uri.path().starts_with('/') && uri.host().is_none() && uri.scheme().is_none());
    let path = sent["rawPath"].as_str().unwrap_or_default();
    let decoded = |text: &str| -> String {
        let form = text.replace('+', "%2B");
        url::form_urlencoded::parse(format!("x={form}").as_bytes())
            .map(|(_, value)| value.into_owned())
            .collect()
    };
    if !path.is_empty() && !path.contains('&') {
        assert_eq!(decoded(uri.path()), decoded(path));
    }
    let text = sent["body"].as_str().unwrap_or_default();
    if sent["isBase64Encoded"] != true {
        assert_eq!(received.request.body(), text.as_bytes());
    }
}

/// An event of an event stream, as a client sees it: type, data, last event id.
type ClientEvent = (String, String, String);

/// Reads an event stream as the standard says (WHATWG HTML §9.2.6).
fn interpret(stream: &[u8]) -> Vec<ClientEvent> {
    let text = String::from_utf8_lossy(stream);
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(&text)
        .replace("\r\n", "\n");
    let mut events = Vec::new();
    let (mut kind, mut data, mut id) = (String::new(), String::new(), String::new());
    let mut lines: Vec<&str> = text.split(['\r', '\n']).collect();
    // What follows the last line end is not a line yet.
    lines.pop();
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                events.push((
                    std::mem::take(&mut kind),
                    std::mem::take(&mut data),
                    id.clone(),
                ));
            }
            (kind, data) = (String::new(), String::new());
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut kind),
            "data" => data += &format!("{value}\n"),
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            _ => {}
        }
    }
    events
}

/// Cuts the input into chunks. Its first bytes say where.
fn chunks(input: &[u8]) -> (Vec<Bytes>, &[u8]) {
    let (cuts, stream) = input.split_at(input.len().min(4));
    let mut chunks = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (chunk, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        chunks.push(Bytes::copy_from_slice(chunk));
        rest = after;
    }
    chunks.push(Bytes::copy_from_slice(rest));
    (chunks, stream)
}

fn collected(stream: impl Stream<Item = io::Result<Bytes>>) -> (Vec<u8>, bool) {
    let all: Vec<_> = stream.collect().now_or_never().unwrap();
    let whole = all.iter().all(Result::is_ok);
    (all.into_iter().flatten().flatten().collect(), whole)
}

/// The endpoint event of HTTP+SSE: every URL is replaced, nothing else changes, however the stream is cut into chunks.
pub fn endpoint_event(input: &[u8]) {
    const OURS: &str = "/mcp/message/replaced";
    let (chunks, sent) = chunks(input);
    let base = Url::parse("https://up.example/a/sse?k=v").unwrap();
    let replace = |data: &str| {
        let target = endpoint_target::resolve_endpoint(&base, data)?;
        assert_eq!(target.origin(), base.origin());
        Some(OURS.to_owned())
    };
    let whole = stream::iter([Ok(Bytes::copy_from_slice(sent))]);
    let cut = stream::iter(chunks.into_iter().map(Ok));
    let (passed, complete) = collected(endpoint_event::replace_endpoints(cut, replace));
    let (passed_whole, complete_whole) =
        collected(endpoint_event::replace_endpoints(whole, replace));
    if sent.len() < 4096 {
        assert_eq!((&passed, complete), (&passed_whole, complete_whole));
    }
    for (kind, data, _) in interpret(&passed) {
        assert!(kind != "endpoint" || data == OURS, "{data}");
    }
    if complete {
        let expected: Vec<_> = interpret(sent)
            .into_iter()
            // Some clients trim the type.
            .map(|(kind, data, id)| match kind.trim_ascii() {
                "endpoint" => (kind, OURS.to_owned(), id),
                _ => (kind, data, id),
            })
            .collect();
        assert_eq!(interpret(&passed), expected);
    }
}

/// A message of the upstream: only allowed tools are left in its list, and nothing else changes.
pub fn tool_list(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(kept) = limit::keep_tools(text, &|tool| tool.name == "keep") else {
        return;
    };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    // What is JSON for the filter may be none for this reader (a number such as 1e999).
    let Some(sent) = parsed(text.trim_start_matches('\u{feff}')) else {
        return;
    };
    let passed = kept.map_or_else(|| sent.clone(), |kept| parsed(&kept).unwrap());
    let messages = |body: Value| match body {
        Value::Array(batch) => batch,
        one => vec![one],
    };
    let (sent, passed) = (messages(sent), messages(passed));
    assert_eq!(sent.len(), passed.len());
    for (mut sent, mut passed) in sent.into_iter().zip(passed) {
        for tool in passed["result"]["tools"].as_array().into_iter().flatten() {
            assert_eq!(tool["name"], "keep");
        }
        if let Some(tools) = sent
            .pointer_mut("/result/tools")
            .filter(|tools| tools.is_array())
        {
            *tools = Value::Null;
            *passed.pointer_mut("/result/tools").unwrap() = Value::Null;
        }
        assert_eq!(sent, passed);
    }
}

/// Events whose data is replaced: those and no others, however the stream is cut into chunks.
pub fn event_filter(input: &[u8]) {
    const NEW: &str = "replaced";
    let (chunks, sent) = chunks(input);
    let replace = |data: &str| Ok(data.contains('x').then(|| NEW.to_owned()));
    let whole = stream::iter([Ok(Bytes::copy_from_slice(sent))]);
    let cut = stream::iter(chunks.into_iter().map(Ok));
    let (passed, complete) = collected(event_filter::replace_data(cut, replace));
    let (passed_whole, complete_whole) = collected(event_filter::replace_data(whole, replace));
    assert_eq!((&passed, complete), (&passed_whole, complete_whole));
    let events = interpret(&passed);
    assert!(!events.iter().any(|(_, data, _)| data.contains('x')));
    if complete {
        let expected = interpret(sent).into_iter().map(|(kind, data, id)| {
            let data = if data.contains('x') {
                NEW.to_owned()
            } else {
                data
            };
            (kind, data, id)
        });
        // An event that the end of the stream cuts off may be completed.
        assert!(
            expected
                .zip(&events)
                .all(|(expected, event)| expected == *event)
        );
    }
}

/// Comments in an idle stream change nothing of what a client sees.
pub fn keep_alive(input: &[u8]) {
    const INTERVAL: Duration = Duration::from_secs(8);
    let (chunks, sent) = chunks(input);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let passed: Vec<u8> = runtime.block_on(async {
        let slow = stream::iter(chunks).then(|chunk| async move {
            tokio::time::sleep(INTERVAL * 2).await;
            Ok::<_, io::Error>(chunk)
        });
        let limits = keep_alive::Limits::default();
        let alive = keep_alive::KeepAlive::new(slow, INTERVAL, limits);
        let all: Vec<_> = alive.map(Result::unwrap).collect().await;
        all.concat()
    });
    assert_eq!(interpret(&passed), interpret(sent));
}

/// The body of a request of a limited connection. If it is accepted, every parser reads the same calls from it: one that
/// takes the first of repeated members, one that takes the last, and one that ignores case.
pub fn limited_request(input: &[u8]) {
    let tree = serde_json::from_slice::<Tree>(input).ok();
    let read = limit::read_strictly(input);
    let Ok(messages) = read else {
        // What has no member twice and no other shape than a message is not refused.
        assert!(
            !tree.is_some_and(|tree| tree.is_plain_message()),
            "{read:?}"
        );
        return;
    };
    let tree = tree.expect("what is accepted is JSON");
    let called = messages.iter().map(|message| match message {
        limit::ClientMessage::ToolCall(tool) => Some(tool.to_string()),
        _ => None,
    });
    let called: Vec<_> = called.collect();
    for same in [|a: &str, b: &str| a == b, go_takes_for] {
        for last in [false, true] {
            assert_eq!(tree.calls(same, last), called);
        }
    }
}

/// Go compares names of members like this (`strings.EqualFold`), as far as letters of ASCII are concerned.
fn go_takes_for(a: &str, b: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// A JSON value with every member, also repeated ones.
#[derive(Debug)]
enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    Text(String),
    Other,
}

impl Tree {
    fn member(&self, name: &str, same: fn(&str, &str) -> bool, last: bool) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let mut found = members
            .iter()
            .filter(|(other, _)| same(other, name))
            .map(|(_, value)| value);
        if last {
            found.next_back()
        } else {
            found.next()
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The tool that each message calls.
    fn calls(&self, same: fn(&str, &str) -> bool, last: bool) -> Vec<Option<String>> {
        let of = |message: &Self| {
            let method = message.member("method", same, last)?.text()?;
            let name = message
                .member("params", same, last)?
                .member("name", same, last)?
                .text()?;
            (method == "tools/call").then(|| name.to_owned())
        };
        match self {
            Self::Array(messages) => messages.iter().map(of).collect(),
            one => vec![of(one)],
        }
    }

    /// Whether it is one request whose members are all different, even without regard to case.
    fn is_plain_message(&self) -> bool {
        let distinct = |tree: Option<&Self>| match tree {
            Some(Self::Object(members)) => {
                let mut names: Vec<_> = members
                    .iter()
                    .map(|(name, _)| name.to_ascii_lowercase())
                    .collect();
                names.sort();
                names.windows(2).all(|pair| pair[0] != pair[1])
                    && members
                        .iter()
                        .all(|(name, _)| name.is_ascii() && *name == name.to_ascii_lowercase())
            }
            _ => false,
        };
        let member = |name| self.member(name, |a, b| a == b, false);
        let named = member("params").and_then(|params| params.member("name", |a, b| a == b, false));
        distinct(Some(self))
            && distinct(member("params"))
            && member("result").or(member("error")).is_none()
            && member("method").is_some_and(|method| method.text().is_some())
            && named.is_some_and(|name| name.text().is_some())
    }
}

impl<'de> serde::Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> serde::de::Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Tree::Array(all))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
