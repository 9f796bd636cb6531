//! Explains a refusal by the upstream to a person.
//!
//! Clients do not show the response, only their interpretation of it. For a 403 of the upstream claude.ai shows
//! "Authorization with the MCP server failed", and for a 404 "no MCP server was found at the provided URL". The owner then
//! looks for the fault in this proxy's OAuth, which works. So such a refusal becomes a JSON-RPC error that says who
//! refused the request and what to do.

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::{
    auth::Authorized,
    error::{McpError, SERVER_ERROR},
    media,
    message::{CallIds, Message, ResponseError},
};
use crate::{
    config::Transport,
    page,
    secrets::Secret,
    upstream::{
        disclosure::{SentCredentials, holds_credential},
        headers,
    },
};

/// The status of the response to a JSON-RPC request over Streamable HTTP. Chosen by what clients show
/// (docs/decisions.md).
const CALL_REFUSED_STATUS: StatusCode = StatusCode::OK;
/// The status of the response to anything else, and over HTTP+SSE, whose clients read only the status of a response to
/// POST.
const REFUSED_STATUS: StatusCode = StatusCode::BAD_GATEWAY;

/// The most characters of the upstream's text that the message contains.
const TEXT_CHARACTERS: usize = 200;
/// The most characters of its content type that the message contains.
const KIND_CHARACTERS: usize = 60;

/// Why the upstream's response counts as a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403: it does not carry out this request.
    Forbidden,
    /// At the first request: it does not know this URL, or does not support this method there.
    NotFound,
    /// At the first request: its response is not MCP.
    NotMcp,
}

/// A response of the upstream that counts as a refusal.
pub struct Refused<'a> {
    pub refusal: Refusal,
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    /// The first bytes of its body, as far as they were read; `None` if it has a content coding.
    pub text: Option<&'a [u8]>,
}

/// The response to the client.
pub fn respond(
    authorized: Authorized<'_>,
    secret: &Secret,
    message: &Message<'_>,
    refused: &Refused<'_>,
) -> Response {
    let Authorized {
        app,
        caller,
        connection,
        ..
    } = authorized;
    let host = app.upstream.host();
    tracing::warn!(
        event = "upstream_refused",
        upstream_status = refused.status.as_u16(),
        host,
        connection = connection.id.as_str(),
        client_id = connection.client_id(),
        request_id = caller.request_id,
        "the upstream's refusal became an error of the call"
    );
    let told = refused.text.map(Told::read).unwrap_or_default();
    let config = app.upstream.config();
    let kind = media::essence(refused.headers);
    let hidden = [told.raw.as_str(), told.text.as_str(), kind]
        .iter()
        .any(|text| holds_credential(config, secret, text));
    let (text, kind) = if hidden {
        (String::new(), String::new())
    } else {
        (quoted(&told.text), without_markup(kind))
    };
    let what = format!(
        "the MCP server at {host} {}{text}. {} (reference {})",
        outcome(refused, message, &kind),
        advice(refused.refusal, config.transport),
        caller.request_id
    );
    let no_call = matches!(message.call_ids(), CallIds::None);
    let status = if no_call || config.transport == Transport::Sse {
        REFUSED_STATUS
    } else {
        CALL_REFUSED_STATUS
    };
    let mut error = McpError::new(status, told.code.unwrap_or(SERVER_ERROR), what)
        .logged_as("upstream_refused")
        // A log line must not contain text from a body.
        .logged_with_reason(format!(
            "status {} of the upstream",
            refused.status.as_u16()
        ));
    let credentials = SentCredentials::new(config, secret);
    let is_secret = |text: &str| credentials.are_in(text);
    for (name, value) in headers::for_client(refused.headers, false, is_secret) {
        let Some(name) = name else { continue };
        if is_about_the_call(name.as_str()) {
            error = error.with_header(name, value);
        }
    }
    if no_call {
        error.respond_plainly()
    } else {
        error.respond(message)
    }
}

/// Whether a header describes the request, not the body, which is replaced.
fn is_about_the_call(name: &str) -> bool {
    matches!(
        name,
        "retry-after" | "x-request-id" | "x-github-request-id" | "traceresponse"
    ) || name.starts_with("ratelimit")
        || name.starts_with("x-ratelimit-")
}

/// What the upstream did.
fn outcome(refused: &Refused<'_>, message: &Message<'_>, kind: &str) -> String {
    let status = refused.status.as_u16();
    let subject = match (message, message.call_ids()) {
        // GET and DELETE too.
        (Message::Unreadable, _) => "request",
        // A notification or a response of the client.
        (_, CallIds::None) => "message",
        _ => "call",
    };
    match refused.refusal {
        Refusal::Forbidden => format!("refused this {subject} with status {status}"),
        Refusal::NotFound => format!("responded to the first {subject} with status {status}"),
        Refusal::NotMcp => {
            let and_kind = match page::display(kind, KIND_CHARACTERS) {
                kind if kind.is_empty() => kind,
                kind => format!(" and {kind}"),
            };
            format!(
                "responded to the first {subject} with status {status}{and_kind} instead of an MCP message"
            )
        }
    }
}

/// What the owner can do. After the upstream's own text, and with the sign-in last, because Codex shows about 150
/// characters: a sentence that is cut off after "Your sign-in" sends the person to the wrong place.
fn advice(refusal: Refusal, transport: Transport) -> String {
    let setting = match transport {
        Transport::StreamableHttp => {
            "set UPSTREAM_TRANSPORT=sse if that server speaks HTTP+SSE only"
        }
        Transport::Sse => {
            "set UPSTREAM_TRANSPORT=streamable-http if that server speaks Streamable HTTP"
        }
    };
    match refusal {
        Refusal::Forbidden => "The owner of this proxy should check the permissions of the access token for that \
                               server, and single sign-on: some organizations must authorize a token first. Your \
                               sign-in to this proxy is fine"
            .to_owned(),
        Refusal::NotFound => format!(
            "The owner of this proxy should check UPSTREAM_MCP, {setting}, and check the permissions of the access \
             token for that server: some servers hide what a token may not see"
        ),
        Refusal::NotMcp => format!(
            "The owner of this proxy should check UPSTREAM_MCP, {setting}, and check that the access token for that \
             server is valid, with its permissions and single sign-on"
        ),
    }
}

/// The text as a part of the sentence, which has its own full stop.
fn quoted(text: &str) -> String {
    let text = text.trim_end_matches(['.', ' ']);
    if text.is_empty() {
        return String::new();
    }
    let mut begins: String = text.chars().take(TEXT_CHARACTERS).collect();
    if begins.len() < text.len() {
        begins.push('…');
    }
    format!(": “{begins}”")
}

/// What a body says.
#[derive(Debug, Default)]
struct Told {
    /// All of it, to look for credentials.
    raw: String,
    /// On one line, without markup and without control characters.
    text: String,
    /// The code of a JSON-RPC error, which clients may know better than ours.
    code: Option<i64>,
}

impl Told {
    fn read(body: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(body).into_owned();
        let (text, code) = match ResponseError::parse(body) {
            Some(error) => (without_markup(&error.message), Some(error.code)),
            None => (
                text_of_json(body).unwrap_or_else(|| without_markup(&raw)),
                None,
            ),
        };
        Self { raw, text, code }
    }
}

/// The text of an error that is a JSON object, in the member that says most. GitHub and many others have `message`,
/// OAuth has `error_description` and `error` (RFC 6749 section 5.2).
fn text_of_json(body: &[u8]) -> Option<String> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let object: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let error = object.get("error");
    [
        object.get("message"),
        object.get("error_description"),
        error,
        error.and_then(|error| error.get("message")),
    ]
    .into_iter()
    .flatten()
    .filter_map(Value::as_str)
    .map(without_markup)
    .find(|text| !text.is_empty())
}

/// Elements that can be within a word. All others separate words, as blocks, line breaks, cells and links do.
const ELEMENTS_WITHIN_WORDS: [&str; 13] = [
    "abbr", "b", "code", "em", "font", "i", "mark", "s", "strong", "sub", "sup", "u", "wbr",
];

/// The text of a page, on one line: without tags, comments, scripts and styles, and without whatever else could be
/// read as markup or play tricks on the eye.
fn without_markup(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let opens = tag.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
        if !opens {
            rest = tag;
            continue;
        }
        if !is_within_word(tag) {
            text.push(' ');
        }
        rest = after_tag(tag);
    }
    text.push_str(rest);
    let text: String = with_entities_decoded(&text)
        .chars()
        .filter(|c| !matches!(*c, '<' | '>' | char::REPLACEMENT_CHARACTER))
        .collect();
    page::display(&text, usize::MAX)
}

/// Whether a tag or a comment, given without its `<`, does not separate what is before it from what is after it.
fn is_within_word(tag: &str) -> bool {
    let name = tag.strip_prefix('/').unwrap_or(tag);
    let end = name.find(|c: char| !c.is_ascii_alphanumeric());
    let name = &name[..end.unwrap_or(name.len())];
    tag.starts_with("!--")
        || ELEMENTS_WITHIN_WORDS
            .iter()
            .any(|element| name.eq_ignore_ascii_case(element))
}

/// What follows a tag or a comment, whose beginning is given without its `<`; nothing if it does not end.
fn after_tag(tag: &str) -> &str {
    if let Some(comment) = tag.strip_prefix("!--") {
        return comment.split_once("-->").map_or("", |(_, after)| after);
    }
    let after = tag.split_once('>').map_or("", |(_, after)| after);
    for element in ["script", "style", "template", "svg"] {
        let Some((name, rest)) = tag.split_at_checked(element.len()) else {
            continue;
        };
        let whole = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        if whole && name.eq_ignore_ascii_case(element) {
            let lower = after.to_ascii_lowercase();
            let end = lower.find(&format!("</{element}"));
            return end.map_or("", |end| &after[end..]);
        }
    }
    after
}

/// With the entities that texts have: the named ones of XML, the space that does not break, and numbers.
fn with_entities_decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        let entity = after.split_once(';').filter(|(name, _)| name.len() <= 8);
        let c = entity.and_then(|(name, _)| character(name));
        if let (Some((_, behind)), Some(c)) = (entity, c) {
            decoded.push(c);
            rest = behind;
        } else {
            decoded.push('&');
            rest = after;
        }
    }
    decoded.push_str(rest);
    decoded
}

fn character(entity: &str) -> Option<char> {
    let number = |text: &str, radix| char::from_u32(u32::from_str_radix(text, radix).ok()?);
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => match entity.strip_prefix('#')?.strip_prefix(['x', 'X']) {
            Some(hexadecimal) => number(hexadecimal, 16),
            None => number(&entity[1..], 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_its_text_on_one_line() {
        for (page, text) in [
            ("<p>Not <b>F</b>ound</p>\n<hr>", "Not Found"),
            (
                "<title>Sign in</title><h1>Not</h1><p>here<br/>now</p>",
                "Sign in Not here now",
            ),
            (
                "<td>1<td>2</td></tr><li>3<A href='/'>4</A><span>5</span>",
                "1 2 3 4 5",
            ),
            (
                "<EM class=x>a</EM><strong>b</strong><!-- -->c<base>d<br>e<bold>f",
                "abc d e f",
            ),
            ("a < b and c > d", "a b and c d"),
            ("<!-- <p>no</p> -->yes<!-- never ends", "yes"),
            ("<SCRIPT type='x'>if (a</b) {}</sCrIpT >yes", "yes"),
            ("<script>never ends", ""),
            ("<scripted>yes</scripted>", "yes"),
            (
                "<style\n>p>q{}</style>yes<template><p>no</p></template>",
                "yes",
            ),
            ("<scr<script>ipt>alert(1)</script>", "iptalert(1)"),
            (
                "&lt;script&gt;alert(1)&lt;/script&gt;",
                "scriptalert(1)/script",
            ),
            (
                "Tom &amp; Jerry&nbsp;&#8212; &quot;x&quot; &#x41;&unknown; &",
                "Tom & Jerry — \"x\" A&unknown; &",
            ),
            ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
            (
                "&#0;&#x1b;[1m&#x202e;&#xFFFFFFFF;&#x110000;&#-1;",
                "[1m&#xFFFFFFFF;&#x110000;&#-1;",
            ),
            ("<é>", "é"),
            ("<a", ""),
            ("<scripé", ""),
            ("tabs\tand\r\nlines\u{2028}", "tabs and lines"),
            ("", ""),
        ] {
            assert_eq!(without_markup(page), text, "{page:?}");
        }
    }

    #[test]
    fn no_text_of_an_upstream_becomes_markup_or_ends_in_a_panic() {
        const PIECES: [&str; 16] = [
            "<", ">", "&", ";", "#", "x3c", "script", "/", "!--", "-->", "é", "\u{202e}", "\0",
            "\"", "lt", " ",
        ];
        let mut seed: u32 = 7;
        for _ in 0..20_000 {
            let mut page = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                page.push_str(PIECES[(seed >> 28) as usize]);
            }
            let text = without_markup(&page);
            let hostile = |c: char| matches!(c, '<' | '>' | '\u{202e}') || c.is_control();
            assert!(!text.contains(hostile), "{page:?} became {text:?}");
        }
    }

    #[test]
    fn the_words_of_a_json_rpc_error_are_told_with_its_code() {
        let told = |body: &str| {
            let told = Told::read(body.as_bytes());
            (told.text, told.code)
        };
        let error =
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no\nsuch","data":[]}}"#;
        assert_eq!(told(error), ("no such".to_owned(), Some(-32601)));
        let other = r#"[{"jsonrpc":"2.0","error":{"code":1,"message":"x"}}]"#;
        assert_eq!(told(other), (other.to_owned(), None));
    }

    #[test]
    fn of_a_json_object_the_words_are_quoted_and_of_other_json_all_of_it() {
        let text = |body: &str| Told::read(body.as_bytes()).text;
        for (body, words) in [
            (
                r#"{"error":"insufficient_scope","message":"not for \u00e9 \"you\""}"#,
                "not for é \"you\"",
            ),
            (
                r#"{"error":"invalid_token","error_description":"it expired"}"#,
                "it expired",
            ),
            (r#"{"error":"insufficient_scope"}"#, "insufficient_scope"),
            (r#"{"error":{"code":1,"message":"<b>x</b>"}}"#, "x"),
            (
                r#"{"jsonrpc":"2.0","error":{"code":"1","message":"x"}}"#,
                "x",
            ),
            (r#"{"jsonrpc":"2.0","error":"x"}"#, "x"),
            (
                r#"{"message":7,"error_description":" <p>","error":"x"}"#,
                "x",
            ),
            ("\u{feff}\r\n{\"message\":\"x\"}", "x"),
        ] {
            assert_eq!(text(body), words, "{body}");
        }
        for other in [
            "{}",
            r#"{"message":null,"error":{"message":[]}}"#,
            r#"{"detail":"x"}"#,
            r#"["message"]"#,
            r#""message""#,
            r#"{"message":"cut o"#,
        ] {
            assert_eq!(text(other), other);
        }
        let deep = format!("{{\"a\":{}", "[".repeat(10_000));
        assert_eq!(text(&deep), deep);
    }

    #[test]
    fn two_hundred_characters_are_quoted_and_no_more() {
        assert_eq!(quoted(""), "");
        for text in ["no", "no.", "no...", "no ."] {
            assert_eq!(quoted(text), ": “no”", "the sentence has its own full stop");
        }
        assert_eq!(quoted("."), "");
        assert_eq!(quoted(".env?"), ": “.env?”");
        let long = "é".repeat(200);
        assert_eq!(quoted(&long), format!(": “{long}”"));
        assert_eq!(quoted(&format!("{long}é")), format!(": “{long}…”"));
    }
}
