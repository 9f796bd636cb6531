//! A Function URL event (payload 2.0) as an HTTP request.
//!
//! Lambda partly decodes the path and the query, so they may contain characters that a URI cannot contain. These are
//! encoded again. Nothing else changes: no dot segment is resolved and no byte dropped, so that the rules of
//! [`McpPath`](crate::oauth::resource::McpPath) check what was sent. The headers `Host` and `X-Forwarded-*` are
//! ignored, because clients choose them.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header::COOKIE};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest as Event;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

/// Characters that must be encoded in a query (RFC 3986 §3.4). `%` is not encoded: it is part of an escape, or
/// `McpPath` rejects it.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');
/// Characters that must be encoded in a path (RFC 3986 §3.3).
const PATH: &AsciiSet = &QUERY
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A request, and what the event says about its origin.
pub struct ReceivedRequest {
    /// The request as sent.
    pub request: Request<Bytes>,
    /// The domain name it was sent to.
    pub domain_name: String,
    /// The address it came from: the client's, or a CloudFront distribution's.
    pub source: Option<IpAddr>,
}

/// Reads an event.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn read(event: &[u8]) -> Result<ReceivedRequest, String> {
    // Without serde's message, which may quote a value.
    let not_an_event =
        |error: serde_json::Error| format!("not a Function URL event ({:?})", error.classify());
    let event: Event = match serde_json::from_slice(event) {
        Ok(event) => event,
        // A header with bytes that are not UTF-8 makes the event invalid JSON (aws/aws-lambda-rust-runtime issue 509).
        Err(_) => without_parameters(event).map_err(not_an_event)?,
    };
    let body = match event.body {
        Some(body) if event.is_base64_encoded => STANDARD
            .decode(body)
            .map_err(|_| "the body is not base64")?
            .into(),
        Some(body) => body.into(),
        None => Bytes::new(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = event.request_context.http.method;
    *request.uri_mut() = uri(
        event.raw_path.as_deref().unwrap_or_default(),
        event.raw_query_string.as_deref().unwrap_or_default(),
    )?;
    *request.headers_mut() = event.headers;
    if let Some(cookies) = event.cookies.filter(|cookies| !cookies.is_empty()) {
        let cookies = HeaderValue::from_str(&cookies.join("; "))
            .map_err(|_| "a cookie contains characters that a header cannot contain")?;
        request.headers_mut().insert(COOKIE, cookies);
    }
    Ok(ReceivedRequest {
        request,
        domain_name: event.request_context.domain_name.unwrap_or_default(),
        source: event
            .request_context
            .http
            .source_ip
            .and_then(|address| address.parse().ok()),
    })
}

/// The event without AWS's parsed parameters, which may be what cannot be read. They are not used: this program parses the
/// raw query itself.
fn without_parameters(event: &[u8]) -> serde_json::Result<Event> {
    let mut payload: Value = serde_json::from_slice(event)?;
    if let Some(fields) = payload.as_object_mut() {
        fields.remove("queryStringParameters");
    }
    serde_json::from_value(payload)
}

fn uri(path: &str, query: &str) -> Result<Uri, String> {
    if !path.is_empty() && !path.starts_with('/') {
        return Err("the path does not begin with a slash".to_owned());
    }
    let mut text = utf8_percent_encode(path, PATH).to_string();
    if text.is_empty() {
        text.push('/');
    }
    if !query.is_empty() {
        text.push('?');
        text.extend(utf8_percent_encode(query, QUERY));
    }
    Uri::builder()
        .path_and_query(text)
        .build()
        .map_err(|error| format!("the path and the query are not a valid URI: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(path: &str, query: &str) -> (String, Option<String>) {
        let uri = uri(path, query).unwrap();
        (uri.path().to_owned(), uri.query().map(str::to_owned))
    }

    #[test]
    fn what_no_uri_can_hold_is_encoded_and_nothing_else_changes() {
        for (path, becomes) in [
            ("", "/"),
            ("/mcp", "/mcp"),
            ("/mcp/a%20b", "/mcp/a%20b"),
            ("/mcp/a b", "/mcp/a%20b"),
            ("/mcp/caf\u{e9}", "/mcp/caf%C3%A9"),
            ("/mcp/../x", "/mcp/../x"),
            ("/mcp/%2e%2E/x", "/mcp/%2e%2E/x"),
            ("/mcp\\x", "/mcp%5Cx"),
            ("/mc\tp", "/mc%09p"),
            ("//mcp", "//mcp"),
            ("/mcp/100%", "/mcp/100%"),
            ("/mcp?a#b", "/mcp%3Fa%23b"),
        ] {
            assert_eq!(sent(path, "").0, becomes, "{path}");
        }
        for (query, becomes) in [
            ("scope=mcp offline_access", "scope=mcp%20offline_access"),
            ("a=+&b=%2B", "a=+&b=%2B"),
            ("x=<\u{e9}\n\"#>", "x=%3C%C3%A9%0A%22%23%3E"),
            ("a=1&a=2&=", "a=1&a=2&="),
        ] {
            assert_eq!(sent("/", query).1.as_deref(), Some(becomes), "{query}");
        }
        assert!(uri("mcp", "").is_err());
    }

    #[test]
    fn what_is_no_event_is_an_error_that_quotes_nothing() {
        for payload in [
            json!(null),
            json!({}),
            json!({ "headers": { "authorization": "sec\nret" } }),
            json!({ "rawPath": "/", "body": "sec*ret", "isBase64Encoded": true,
                    "requestContext": { "http": { "method": "POST" } } }),
        ] {
            let what = read(payload.to_string().as_bytes()).err().unwrap();
            assert!(!what.contains("sec"), "{what} for {payload}");
        }
        for bytes in [
            &b""[..],
            b"{\"headers\":{\"a\":\"sec\xff\"}}",
            &[b'['; 1000],
        ] {
            assert!(!read(bytes).err().unwrap().contains("sec"));
        }
    }
}
