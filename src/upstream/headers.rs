//! Which headers are passed on, in both directions. Allow-lists: a header that nobody thought of is dropped.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::config::{is_reserved_header, normalized_header_name};

/// The client's headers that are sent to the upstream. [`is_request_header`] names more.
pub const REQUEST_HEADERS: [&str; 10] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-encoding",
    "content-type",
    "last-event-id",
    "traceparent",
    "tracestate",
    "baggage",
    "user-agent",
];

/// The upstream's headers that are sent to the client.
const RESPONSE_HEADERS: [&str; 18] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
    "vary",
    "etag",
    "last-modified",
    "allow",
    "retry-after",
    "x-accel-buffering",
    "link",
    "deprecation",
    "sunset",
    "x-request-id",
    "x-github-request-id",
    "traceresponse",
    "content-length",
];

/// Whether a client's header of this name is sent to the upstream, unless the owner's settings have another value for it.
/// Preflight responses (CORS) allow the same names.
#[must_use]
pub fn is_request_header(name: &HeaderName, forward: &[HeaderName]) -> bool {
    let text = name.as_str();
    let listed = REQUEST_HEADERS.contains(&text)
        || ["mcp-", "x-mcp-"].iter().any(|p| text.starts_with(p))
        || forward.contains(name);
    listed && !is_reserved_header(name)
}

/// The headers of the request to the upstream: those of the client's that may pass, then the pinned ones, which win, then
/// our credential, which nothing can replace.
#[must_use]
pub fn for_upstream(
    client: &HeaderMap,
    forward: &[HeaderName],
    pinned: &[(HeaderName, HeaderValue)],
    credential: (&HeaderName, HeaderValue),
) -> HeaderMap {
    let hop_by_hop = named_by_connection(client);
    let tools_are_pinned = choose_tools(pinned);
    // `_` is allowed in a name, and `mcp-param-user_id` is how a client sends the parameter `user_id`. But some servers
    // read it as `-`: what they would take for one of our own headers is dropped.
    let ours: Vec<_> = pinned
        .iter()
        .map(|(name, _)| name)
        .chain([credential.0])
        .map(normalized_header_name)
        .collect();
    let mut headers = HeaderMap::new();
    for (name, value) in client {
        let only_takes_away = name == "x-mcp-readonly" && value == "true";
        let may_widen_tools = tools_are_pinned
            && name.as_str().starts_with("x-mcp-")
            && !only_takes_away
            && !forward.contains(name);
        if is_request_header(name, forward)
            && !may_widen_tools
            && !ours.contains(&normalized_header_name(name))
            && !hop_by_hop.contains(name)
        {
            headers.append(name.clone(), value.clone());
        }
    }
    for (name, value) in pinned {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(credential.0.clone(), credential.1);
    headers
}

/// Whether pinned headers choose the upstream's tools, as `X-MCP-Toolsets` does. Then the client must not send other
/// `X-MCP-…` headers, which may add tools, nor GitHub's paths (`/x/all`), which override the headers. Restrictions that
/// nothing can override, such as read-only, do not count.
#[must_use]
pub fn choose_tools(pinned: &[(HeaderName, HeaderValue)]) -> bool {
    pinned.iter().any(|(name, _)| {
        let name = name.as_str();
        name.starts_with("x-mcp-") && !matches!(name, "x-mcp-readonly" | "x-mcp-lockdown")
    })
}

/// The headers of our response: those of the upstream's that may pass. Repeated ones are joined, because Lambda turns
/// repeated header lines into a JSON array. `content-length` is passed on only with a body that is not changed, and not
/// beside `transfer-encoding`, which overrides it (RFC 9112 section 6.3). A header whose name or value contains one of our credentials (`is_secret`) is dropped, with a log line.
#[must_use]
pub fn for_client(
    upstream: &HeaderMap,
    body_unchanged: bool,
    is_secret: impl Fn(&str) -> bool,
) -> HeaderMap {
    let hop_by_hop = named_by_connection(upstream);
    let length_holds = body_unchanged && !upstream.contains_key(TRANSFER_ENCODING);
    let mut headers = HeaderMap::new();
    for name in upstream.keys() {
        let text = name.as_str();
        let allowed = RESPONSE_HEADERS.contains(&text)
            || ["mcp-", "ratelimit", "x-ratelimit-"]
                .iter()
                .any(|prefix| text.starts_with(prefix));
        if !allowed || hop_by_hop.contains(name) || (name == CONTENT_LENGTH && !length_holds) {
            continue;
        }
        let mut values = upstream.get_all(name).iter();
        let Some(first) = values.next() else { continue };
        let joined = values.fold(first.as_bytes().to_vec(), |mut joined, value| {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(value.as_bytes());
            joined
        });
        let value = String::from_utf8_lossy(&joined);
        if is_secret(text) || is_secret(&value) {
            tracing::warn!(
                event = "upstream_header_dropped",
                header = Some(text).filter(|name| !is_secret(name)),
                "the upstream repeated a credential in a response header, which the client does not get"
            );
        } else if let Ok(value) = HeaderValue::from_bytes(&joined) {
            headers.insert(name.clone(), value);
        }
    }
    headers
}

/// "Intermediaries MUST parse a received Connection header field before a message is forwarded and, for each
/// connection-option in this field, remove any header field from the message with the same name"
/// (RFC 9110 §7.6.1). There may be several such headers.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<String> {
        let mut names: Vec<_> = headers
            .iter()
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_listed_headers_go_up_and_our_credential_replaces_the_clients() {
        let client = map(&[
            ("authorization", "Bearer client"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-amzn-trace-id", "x"),
            ("forwarded", "for=203.0.113.9"),
            ("origin", "https://client.example"),
            ("host", "mcp.example.com"),
            ("accept", "application/json"),
            ("mcp-session-id", "s"),
            ("mcp-param-owner", "p"),
            ("x-mcp-readonly", "false"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("mcp-hop", "h"),
            ("connection", "keep-alive"),
            ("connection", "Mcp-Hop, upgrade"),
        ]);
        let forward = ["x-mine".parse().unwrap(), "cookie".parse().unwrap()];
        let pinned = [(
            "x-mcp-readonly".parse().unwrap(),
            HeaderValue::from_static("true"),
        )];
        let credential = (
            &http::header::AUTHORIZATION,
            HeaderValue::from_static("Bearer pat"),
        );
        assert_eq!(
            names(&for_upstream(&client, &forward, &pinned, credential)),
            [
                "accept: application/json",
                "authorization: Bearer pat",
                "mcp-param-owner: p",
                "mcp-session-id: s",
                "x-mcp-readonly: true",
                "x-mine: 1"
            ]
        );
    }

    #[test]
    fn a_client_cannot_set_the_credential_header_even_when_it_is_another_one() {
        let client = map(&[("x-mcp-key", "client"), ("authorization", "Bearer client")]);
        let name = "x-mcp-key".parse().unwrap();
        let headers = for_upstream(&client, &[], &[], (&name, HeaderValue::from_static("pat")));
        assert_eq!(names(&headers), ["x-mcp-key: pat"]);
    }

    #[test]
    fn a_header_that_some_servers_take_for_one_of_ours_is_dropped() {
        let client = map(&[
            ("mcp-param-user_id", "1"),
            ("mcp-param-region_id", "2"),
            ("mcp-param-region.id", "3"),
            ("mcp-param-zone-id", "4"),
            ("mcp-api_key", "5"),
            ("x_forwarded_for", "6"),
            ("x_tenant", "7"),
        ]);
        let name = |name: &str| name.parse::<HeaderName>().unwrap();
        let pinned = ["mcp-param-region-id", "mcp-param-zone_id"]
            .map(|pinned| (name(pinned), HeaderValue::from_static("ours")));
        let forward = [name("x_tenant"), name("x_forwarded_for")];
        let credential = (&name("mcp-api-key"), HeaderValue::from_static("pat"));
        assert_eq!(
            names(&for_upstream(&client, &forward, &pinned, credential)),
            [
                "mcp-api-key: pat",
                "mcp-param-region-id: ours",
                "mcp-param-user_id: 1",
                "mcp-param-zone_id: ours",
                "x_tenant: 7"
            ]
        );
    }

    #[test]
    fn only_listed_headers_come_down_each_on_one_line() {
        let upstream = map(&[
            ("content-type", "text/event-stream"),
            ("set-cookie", "a=b"),
            ("www-authenticate", "Bearer"),
            ("location", "https://evil.example"),
            ("server", "x"),
            ("access-control-allow-origin", "*"),
            ("mcp-session-id", "s"),
            ("vary", "a"),
            ("vary", "b"),
            ("x-ratelimit-remaining", "9"),
            ("content-length", "7"),
            ("connection", "etag"),
            ("etag", "e"),
        ]);
        let kept = [
            "content-type: text/event-stream",
            "mcp-session-id: s",
            "vary: a, b",
            "x-ratelimit-remaining: 9",
        ];
        let public = |_: &str| false;
        assert_eq!(names(&for_client(&upstream, false, public)), kept);
        assert_eq!(for_client(&upstream, true, public)["content-length"], "7");
    }
}
