//! Random input for every parser of untrusted text: nothing panics, and accepted input is valid. As a part of
//! `cargo test` it is the same each time. Longer, and different each time:
//!
//!     FUZZ_SECONDS=60 cargo test --test fuzz --release

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use lambda_oauth_mcp_proxy::{
    client_document::DocumentUrl,
    credential::{AccessToken, Code, RefreshToken},
    oauth::{
        bearer::{self, PresentedBearer},
        client::ClientMetadata,
        params::Params,
        redirect_uri::RedirectUri,
        resource::McpPath,
    },
    secrets::TokenForm,
    upstream::target,
};
use sha2::{Digest as _, Sha256};
use url::Url;

/// What the mutations start from: valid values, and pieces that attacks are made of.
const SEEDS: &[&str] = &[
    "https://client.example/callback",
    "http://127.0.0.1:8000/callback?x=1",
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "javascript:alert(1)",
    "/mcp/x/readonly",
    "/mcp-work/a%20b?c=d&e",
    "//MCP//x//",
    "\u{201c}Authorization: Bearer ghp_x\u{201d}",
    "grant_type=refresh_token&client_id=a&refresh_token=b",
    r#"{"redirect_uris":["https://client.example/"],"client_name":"x","grant_types":["authorization_code"]}"#,
    "Bearer mcp_at_AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "mcp_rt_AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "..",
    "%2e%2e",
    "..%2f",
    "%252e",
    "\\",
    "//",
    "@",
    "#",
    "?",
    "%00",
    "\r\n",
    "\0",
    "\t",
    ":",
    ";",
    "=",
    "&",
    "+",
    "[::1]",
    "127.0.0.1",
    "localhost",
    "xn--",
    "\u{202e}",
    "\u{ff0f}",
    "İ",
    "\u{0}",
    "http:",
    "data:",
    "é",
];

/// Random numbers from a seed: blocks of a hash.
struct RandomInput {
    seed: u64,
    used: u64,
}

impl RandomInput {
    fn next(&mut self) -> u64 {
        self.used += 1;
        let digest = Sha256::digest([self.seed.to_be_bytes(), self.used.to_be_bytes()].concat());
        u64::from_be_bytes(digest[..8].try_into().unwrap())
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn input(&mut self) -> Vec<u8> {
        let mut bytes = SEEDS[self.below(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => {
                    let piece = SEEDS[self.below(SEEDS.len())].as_bytes();
                    bytes.splice(at..at, piece.iter().copied());
                }
                1 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                3 if at < bytes.len() => drop(bytes.drain(at..)),
                _ => {
                    let piece = bytes[at..].to_vec();
                    bytes.extend(piece);
                }
            }
        }
        bytes
    }
}

fn text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(uri) = RedirectUri::parse(text) {
        assert_eq!(uri.as_str(), text, "kept as it was registered");
        assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
        // What a browser makes of it.
        let url = Url::parse(text).unwrap();
        assert!(!matches!(
            url.scheme(),
            "javascript" | "data" | "vbscript" | "file" | "blob" | "about"
        ));
        assert!(url.scheme() != "http" || uri.is_loopback(), "{text:?}");
        assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        let response = Url::parse(&uri.with_query_params(&[("code", "a&b=#c")])).unwrap();
        assert_eq!(
            (response.scheme(), response.host_str(), response.port()),
            (url.scheme(), url.host_str(), url.port())
        );
        assert_eq!(response.query_pairs().last().unwrap().1, "a&b=#c");
    }
    if let Some(path) = McpPath::parse(text) {
        let upstream = Url::parse("https://up.example/base/mcp?key=ours").unwrap();
        if let Some(to) = target::resolve(&upstream, path.rest(), Some(text)) {
            assert_eq!(to.origin(), upstream.origin());
            assert!(to.path().starts_with("/base/mcp"), "{to}");
            assert_eq!(
                to.query_pairs().filter(|(name, _)| name == "key").count(),
                1,
                "{to}"
            );
        }
    }
    if let Ok(url) = DocumentUrl::parse(text) {
        assert!(text.starts_with("https://") && url.as_str() == text);
        assert!(Url::parse(text).unwrap().port().is_none());
    }
    if let Ok(token) = TokenForm::default().read(text) {
        let value = token.header_value();
        let token = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
        assert!(text.contains(token), "nothing is added or changed");
    }
    let _ = (
        AccessToken::parse(text),
        RefreshToken::parse(text),
        Code::parse(text),
    );
}

fn bytes(input: &[u8]) {
    for params in [Params::parse(input), Params::parse_json(input)]
        .into_iter()
        .flatten()
    {
        for name in params.names() {
            assert!(!name.chars().any(char::is_control));
            assert!(
                params
                    .all(name)
                    .all(|value| !value.chars().any(char::is_control))
            );
        }
    }
    if let Ok(metadata) = ClientMetadata::from_registration(input) {
        assert!(!metadata.redirect_uris.is_empty());
    }
    let _ = ClientMetadata::from_document("https://client.example/c", input);
    if let Ok(value) = HeaderValue::from_bytes(input) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value);
        if let PresentedBearer::Token(token) = bearer::presented(&headers) {
            assert!(token.bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a longer run is asked for in the environment"
)]
fn no_input_causes_a_panic_and_accepted_input_is_valid() {
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let seed = until.map_or(1, |_| {
        let bytes = lambda_oauth_mcp_proxy::credential::Randomness::system().bytes();
        u64::from_be_bytes(bytes)
    });
    let mut random = RandomInput { seed, used: 0 };
    let mut rounds = 0_u32;
    while until.map_or(rounds < 20_000, |until| Instant::now() < until) {
        let input = random.input();
        let shown = String::from_utf8_lossy(&input).into_owned();
        let held = std::panic::catch_unwind(|| {
            text(&input);
            bytes(&input);
        });
        assert!(held.is_ok(), "seed {seed}, round {rounds}: {shown:?}");
        rounds += 1;
    }
}
