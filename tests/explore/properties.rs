//! Random values against rules that hold for all of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use lambda_oauth_mcp_proxy::{
    oauth::{bearer, pkce::CodeChallenge, redirect_uri::RedirectUri, resource::McpPath, scope},
    pin::{NetworkTries, Source, Tries},
    upstream::{headers, target},
    write_limits::{Limit, WriteLimits},
};
use proptest::{collection::vec, prelude::*, sample::select};
use url::Url;

use crate::support::world::challenge;

/// The parts of a redirect URI, so that the test knows what two of them have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    scheme: &'static str,
    host: &'static str,
    port: Option<u16>,
    rest: &'static str,
}

impl Parts {
    fn uri(&self) -> RedirectUri {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = format!("{}://{}{port}{}", self.scheme, self.host, self.rest);
        RedirectUri::parse(&text).unwrap()
    }

    fn is_loopback(&self) -> bool {
        self.scheme == "http"
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let places = select(vec![
        ("http", "127.0.0.1"),
        ("http", "localhost"),
        ("http", "[::1]"),
        ("https", "client.example"),
        ("https", "127.0.0.1"),
        ("cursor", "client.example"),
    ]);
    let ports = select(vec![None, Some(1), Some(8000), Some(65_535)]);
    let rests = select(vec![
        "/",
        "/callback",
        "/callback?x=1",
        "/callback/",
        "/Callback",
    ]);
    (places, ports, rests).prop_map(|((scheme, host), port, rest)| Parts {
        scheme,
        host,
        port,
        rest,
    })
}

/// A name and a value of a header.
fn header() -> impl Strategy<Value = (String, String)> {
    let names = prop_oneof![
        select(vec![
            "authorization",
            "cookie",
            "set-cookie",
            "location",
            "host",
            "connection",
            "te",
            "accept",
            "content-type",
            "content-length",
            "mcp-session-id",
            "mcp_session_id",
            "x-mcp-toolsets",
            "x-api-key",
            "x_api_key",
            "x-forwarded-for",
            "www-authenticate",
            "transfer-encoding",
        ])
        .prop_map(str::to_owned),
        "[a-z][a-z0-9_-]{0,12}",
    ];
    (names, "[ -~]{0,12}")
}

fn header_map(pairs: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(name).unwrap();
        map.append(name, HeaderValue::try_from(value).unwrap());
    }
    map
}

/// A header name as servers read it that take `_` for `-`.
fn as_cgi_reads_it(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        // Few networks, so that addresses share them.
        (0_u8..3, 0_u8..4).prop_map(|(net, host)| Ipv4Addr::new(198, 18, net, host).into()),
        (0_u16..2, 0_u16..3, 0_u16..3, 0_u16..2).prop_map(|(site, house, net, host)| {
            Ipv6Addr::new(0x2001, 0xdb8, site, house << 8 | net, 0, 0, 0, host).into()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        // Nothing is written beside the sources; a failure prints its input.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_redirect_uri_matches_itself_and_over_loopback_any_port(a in parts(), b in parts()) {
        let same = a == b;
        let differs_in_port = Parts { port: b.port, ..a.clone() } == b;
        let expected = same || (differs_in_port && a.is_loopback());
        prop_assert_eq!(a.uri().matches(&b.uri()), expected);
        prop_assert_eq!(b.uri().matches(&a.uri()), expected);
    }

    #[test]
    fn parameters_are_added_to_a_redirect_uri_and_change_nothing_else(
        uri in parts(),
        name in "[a-z_]{1,8}",
        value in any::<String>(),
    ) {
        let sent = uri.uri().with_query_params(&[(&name, &value)]);
        let (before, after) = (Url::parse(uri.uri().as_str()).unwrap(), Url::parse(&sent).unwrap());
        prop_assert!(sent.starts_with(uri.uri().as_str()));
        prop_assert_eq!(before.host_str(), after.host_str());
        prop_assert_eq!(before.path(), after.path());
        let last = after.query_pairs().last().unwrap();
        prop_assert_eq!(&*last.0, name);
        prop_assert_eq!(&*last.1, value);
        prop_assert_eq!(after.query_pairs().count(), before.query_pairs().count() + 1);
    }

    #[test]
    fn a_scope_is_granted_from_what_was_asked_and_asking_for_it_again_changes_nothing(
        asked in vec(prop_oneof![
            select(vec!["mcp", "offline_access", "MCP", "", "admin"]).prop_map(str::to_owned),
            "[!-~]{0,6}",
        ], 0..6),
    ) {
        let granted = scope::granted(Some(&asked.join(" ")));
        prop_assert_eq!(scope::granted(Some(&granted)), granted.clone());
        let expected = if asked.iter().any(|scope| scope == "offline_access") { 2 } else { 1 };
        prop_assert_eq!(granted.split(' ').count(), expected);
        prop_assert!(granted.split(' ').any(|scope| scope == scope::MCP));
    }

    #[test]
    fn a_challenge_fits_its_verifier_and_no_other(verifier in "[A-Za-z0-9._~-]{40,131}", at in any::<prop::sample::Index>()) {
        let well_formed = (43..=128).contains(&verifier.len());
        let parsed = CodeChallenge::parse(&challenge(&verifier)).unwrap();
        prop_assert_eq!(parsed.verify(&verifier), well_formed);
        let mut other = verifier.clone();
        let at = at.index(other.len());
        let replaced = if &other[at..=at] == "a" { "b" } else { "a" };
        other.replace_range(at..=at, replaced);
        prop_assert!(!parsed.verify(&other));
    }

    #[test]
    fn a_bearer_challenge_has_one_metadata_url_whatever_the_path(path in "/[!#-\\[\\]-~]{0,40}") {
        let url = format!("https://mcp.example.com{path}");
        let text = bearer::challenge(&url, scope::MCP, Some("invalid_token"));
        prop_assert!(HeaderValue::try_from(&text).is_ok());
        let quoted: Vec<_> = text.split('"').skip(1).step_by(2).collect();
        prop_assert_eq!(quoted, vec!["invalid_token", &*url, "mcp"]);
    }

    #[test]
    fn the_upstream_gets_our_credential_and_listed_headers_only(
        client in vec(header(), 0..12),
        own_header in select(vec!["authorization", "x-api-key"]),
    ) {
        let own = HeaderName::from_static(own_header);
        let value = HeaderValue::from_static("ours");
        let pinned = [(HeaderName::from_static("x-mcp-toolsets"), HeaderValue::from_static("issues"))];
        let sent = headers::for_upstream(&header_map(&client), &[], &pinned, (&own, value));
        let like_own: Vec<_> = sent.keys().filter(|name| as_cgi_reads_it(name) == own_header).collect();
        prop_assert_eq!(like_own, vec![&own]);
        prop_assert_eq!(sent.get_all(&own).iter().collect::<Vec<_>>(), vec!["ours"]);
        prop_assert_eq!(sent.get_all("x-mcp-toolsets").iter().collect::<Vec<_>>(), vec!["issues"]);
        for name in sent.keys().filter(|name| *name != own) {
            prop_assert!(
                *name == "x-mcp-toolsets" || headers::is_request_header(name, &[]),
                "{}", name
            );
            prop_assert!(!["cookie", "host", "connection", "te", "transfer-encoding"].contains(&name.as_str()));
        }
        prop_assert!(own == AUTHORIZATION || !sent.contains_key(AUTHORIZATION));
    }

    #[test]
    fn the_client_gets_each_listed_header_once_and_no_secret(
        upstream in vec(header(), 0..12),
        body_unchanged in any::<bool>(),
        secret in "[a-z]{2}",
    ) {
        let sent = headers::for_client(&header_map(&upstream), body_unchanged, |text| text.contains(&secret));
        for (name, value) in &sent {
            prop_assert!(!["set-cookie", "location", "connection", "www-authenticate"].contains(&name.as_str()));
            prop_assert_eq!(sent.get_all(name).iter().count(), 1);
            prop_assert!(body_unchanged || name != "content-length");
            prop_assert!(!value.to_str().unwrap().contains(&secret));
        }
    }

    #[test]
    fn a_url_stays_below_the_upstream_and_keeps_its_keys(
        segments in vec(prop_oneof!["[a-z%.]{0,4}", select(vec!["..", ".", "%2e", "%2F", "a b", "é"]).prop_map(str::to_owned)], 0..4),
        query in prop::option::of("[a-z=&;%\\[\\]#?+ ]{0,16}"),
    ) {
        let path = format!("/mcp/{}", segments.join("/"));
        let Some(path) = McpPath::parse(&path) else { return Ok(()) };
        let upstream = Url::parse("https://up.example/base?a=ours").unwrap();
        let Some(to) = target::resolve(&upstream, path.rest(), query.as_deref()) else { return Ok(()) };
        prop_assert_eq!(to.origin(), upstream.origin());
        prop_assert!(to.path() == "/base" || to.path().starts_with("/base/"));
        prop_assert!(to.path().ends_with(path.rest()) || path.rest() == "/");
        let ours: Vec<_> = to.query_pairs().filter(|(key, _)| key == "a").map(|(_, value)| value).collect();
        prop_assert_eq!(ours, vec!["ours"]);
    }

    #[test]
    fn an_address_gets_few_tries_however_they_are_timed(waits in vec(0_u64..4000, 1..60)) {
        let mut tries = Tries::default();
        let (mut now, mut compared) = (1_800_000_000, Vec::new());
        for wait in waits {
            now += wait;
            match tries.one_more(now) {
                Ok(next) => {
                    compared.push(now);
                    prop_assert!(next.tries > tries.tries || next.tries == 1);
                    tries = next;
                }
                Err(wait) => {
                    prop_assert!((1..=3600).contains(&wait));
                    prop_assert!(tries.one_more(now + wait).is_ok(), "the wait is what was announced");
                    prop_assert!(tries.one_more(now + wait - 1).is_err());
                }
            }
        }
        // Five at once, then one after 30 seconds, a minute, two …: eleven in the first hour at most.
        for (number, start) in compared.iter().enumerate() {
            let in_an_hour = compared[number..].iter().filter(|at| *at - start < 3600).count();
            prop_assert!(in_an_hour <= 11, "{}", in_an_hour);
        }
    }

    #[test]
    fn no_network_gets_more_tries_than_its_allowance(tried in vec((addresses(), 0_u64..600), 1..300)) {
        let mut networks = std::collections::BTreeMap::<String, (NetworkTries, u64)>::new();
        let mut now = 1_800_000_000;
        let begin = now;
        for (address, wait) in tried {
            now += wait;
            if now - begin >= 86_400 {
                break;
            }
            let source = Source::of(Some(address));
            let (tries, compared) = networks.entry(source.network().to_owned()).or_default();
            if let Ok(next) = tries.one_more(&source, now) {
                *tries = next;
                *compared += 1;
            }
            let allowance = if address.is_ipv4() { 50 } else { 100 };
            prop_assert!(*compared <= allowance, "{} in {}", compared, source.network());
        }
    }

    #[test]
    fn a_right_pin_takes_back_only_the_tries_of_its_own_address(others in vec(addresses(), 0..10), own in addresses()) {
        let now = 1_800_000_000;
        let source = Source::of(Some(own));
        let mut tries = NetworkTries::default();
        for other in others.iter().map(|other| Source::of(Some(*other))) {
            if other.network() == source.network() && other != source {
                tries = tries.one_more(&other, now).unwrap_or(tries);
            }
        }
        let with_own = tries.one_more(&source, now);
        if let Ok(with_own) = with_own {
            let without = with_own.without(&source);
            prop_assert_eq!(without.of_address(&source), Tries::default());
            for other in others.iter().map(|other| Source::of(Some(*other))).filter(|other| *other != source) {
                prop_assert_eq!(without.of_address(&other), tries.of_address(&other));
            }
        }
    }

    #[test]
    fn a_bucket_gives_no_more_than_burst_and_rate_in_any_interval(
        burst in 1_u64..6,
        seconds_each in 1_u64..5,
        waits in vec(0_u64..7, 1..80),
    ) {
        let limits = WriteLimits::new(Limit { burst, seconds_each, addresses: 8 });
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let (mut now, mut taken) = (1_800_000_000, Vec::new());
        for wait in waits {
            now += wait;
            match limits.take(address, now) {
                Ok(()) => taken.push(now),
                Err(wait) => prop_assert!((1..=seconds_each).contains(&wait)),
            }
        }
        for (from, start) in taken.iter().enumerate() {
            for (number, end) in taken[from..].iter().enumerate() {
                let allowed = burst + (end - start) / seconds_each + 1;
                prop_assert!(number as u64 + 1 <= allowed, "{} in {} s", number + 1, end - start);
            }
        }
    }
}
