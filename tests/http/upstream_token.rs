//! The token for the upstream as people paste it: what is removed, what is refused, and that it is never shown.
//!
//! Each row starts the program with that token, and checks what reaches the upstream.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dynoxide::Database;
use lambda_oauth_mcp_proxy::host::engine;
use tokio::net::TcpListener;

use crate::{http::processes::Process, support::recorder::Recorder};

/// Part of every token here, and of no text of the program.
const MARK: &str = "s3cr3tPart";

/// A pasted token, and what reaches the upstream with what was removed, or why it is refused.
type Row<'a> = (&'a str, Result<(&'a str, &'a str), &'a str>);

/// A table, an upstream, and a client that is connected.
struct Stage {
    table: SocketAddr,
    upstream: Recorder,
    /// Where the client connected: its tokens name this issuer.
    base: String,
    access: String,
}

/// What happened with a token.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It reached the upstream as the value of this header, and this was logged as removed.
    Sent(String, String),
    /// The program did not start, for this reason.
    Refused(String),
}

impl Stage {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let table = listener.local_addr().unwrap();
        let router = engine::router(Database::memory().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let upstream = Recorder::start().await;
        let settings = [("UPSTREAM_TOKEN", "t")];
        let first = Process::launch(table, upstream.address, &settings, &[]).await;
        let first = first
            .map_err(|(code, said)| format!("{code:?} {said}"))
            .unwrap();
        let access = first.connect().await;
        let base = first.base.clone();
        first.end().await;
        Self {
            table,
            upstream,
            base,
            access,
        }
    }

    /// Starts the program with this token, and makes one call.
    async fn outcome(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let settings: Vec<_> = [("ALSO_BASE_URLS", self.base.as_str())]
            .into_iter()
            .chain(settings.iter().copied())
            .collect();
        let header = settings
            .iter()
            .find(|(name, _)| *name == "UPSTREAM_AUTH_HEADER")
            .map_or("authorization", |(_, header)| header);
        let started =
            Process::launch(self.table, self.upstream.address, &settings, arguments).await;
        let process = match started {
            Ok(process) => process,
            Err((code, said)) => {
                assert_eq!(code, Some(2), "{said}");
                assert!(!said.contains(MARK), "the token is shown: {said}");
                return Outcome::Refused(said.trim().to_owned());
            }
        };
        assert_eq!(process.call(&self.access).await, 200);
        let seen = self.upstream.requests().pop().unwrap();
        let values: Vec<_> = seen.headers.get_all(header).iter().collect();
        assert_eq!(values.len(), 1, "{seen:?}");
        let sent = String::from_utf8_lossy(values[0].as_bytes()).into_owned();
        let log = process.end().await;
        assert!(!log.contains(MARK), "the token is logged: {log}");
        let warning = log
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find(|line| line["event"] == "upstream_token_cleaned");
        let taken_off = warning.map_or(String::new(), |line| {
            line["taken_off"].as_str().unwrap().to_owned()
        });
        Outcome::Sent(sent, taken_off)
    }

    /// Compares each token's outcome with the expected one, and lists all that differ.
    async fn compare(&self, settings: &[(&str, &str)], rows: &[Row<'_>]) {
        let mut wrong = Vec::new();
        for (token, expected) in rows {
            let settings: Vec<_> = [("UPSTREAM_TOKEN", *token)]
                .into_iter()
                .chain(settings.iter().copied())
                .collect();
            let outcome = self.outcome(&settings, &[]).await;
            let as_expected = match (&outcome, expected) {
                (Outcome::Sent(sent, taken_off), Ok(expected)) => {
                    (sent.as_str(), taken_off.as_str()) == *expected
                }
                (Outcome::Refused(said), Err(reason)) => {
                    said.contains("UPSTREAM_TOKEN") && said.contains(reason)
                }
                _ => false,
            };
            if !as_expected {
                wrong.push(format!("{token:?}: {outcome:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

const BEARER: &str = "Bearer ghp_s3cr3tPart";

#[tokio::test]
async fn text_around_a_bearer_token_is_removed_with_a_warning() {
    let stage = Stage::set().await;
    stage
        .compare(
            &[],
            &[
                ("ghp_s3cr3tPart", Ok((BEARER, ""))),
                (
                    "a.B-c_d~e+f/s3cr3tPart==",
                    Ok(("Bearer a.B-c_d~e+f/s3cr3tPart==", "")),
                ),
                (" ghp_s3cr3tPart\t", Ok((BEARER, "white space"))),
                ("\r\nghp_s3cr3tPart\r\n", Ok((BEARER, "white space"))),
                ("\u{a0}ghp_s3cr3tPart\u{200b}", Ok((BEARER, "white space"))),
                ("\u{feff}ghp_s3cr3tPart", Ok((BEARER, "a byte order mark"))),
                ("\"ghp_s3cr3tPart\"", Ok((BEARER, "quotation marks"))),
                ("'ghp_s3cr3tPart'", Ok((BEARER, "quotation marks"))),
                ("`ghp_s3cr3tPart`", Ok((BEARER, "quotation marks"))),
                (
                    "\u{201c}ghp_s3cr3tPart\u{201d}",
                    Ok((BEARER, "quotation marks")),
                ),
                (
                    "\u{2018}ghp_s3cr3tPart\u{2019}",
                    Ok((BEARER, "quotation marks")),
                ),
                (
                    "\u{201e}ghp_s3cr3tPart\u{201c}",
                    Ok((BEARER, "quotation marks")),
                ),
                (
                    "\u{ab} ghp_s3cr3tPart \u{bb}",
                    Ok((BEARER, "quotation marks, white space")),
                ),
                (BEARER, Ok((BEARER, "the scheme"))),
                ("bearer   ghp_s3cr3tPart", Ok((BEARER, "the scheme"))),
                ("BEARER\nghp_s3cr3tPart", Ok((BEARER, "the scheme"))),
                ("Bearer Bearer ghp_s3cr3tPart", Ok((BEARER, "the scheme"))),
                ("token ghp_s3cr3tPart", Ok((BEARER, "the scheme"))),
                (
                    "Authorization: Bearer ghp_s3cr3tPart",
                    Ok((BEARER, "the name of a header, the scheme")),
                ),
                (
                    "authorization:ghp_s3cr3tPart",
                    Ok((BEARER, "the name of a header")),
                ),
                (
                    "X-API-Key: ghp_s3cr3tPart",
                    Ok((BEARER, "the name of a header")),
                ),
                (
                    "\"Authorization\": \"Bearer ghp_s3cr3tPart\",",
                    Ok((BEARER, "the name of a header, quotation marks, the scheme")),
                ),
                (
                    "'Authorization: Bearer ghp_s3cr3tPart'\n",
                    Ok((
                        BEARER,
                        "white space, quotation marks, the name of a header, the scheme",
                    )),
                ),
            ],
        )
        .await;
}

#[tokio::test]
async fn an_invalid_bearer_token_is_refused_with_the_reason() {
    let stage = Stage::set().await;
    stage
        .compare(
            &[],
            &[
                ("REPLACE-WITH-YOUR-TOKEN", Err("is not set yet")),
                ("Bearer REPLACE-WITH-YOUR-TOKEN", Err("is not set yet")),
                ("\"\"", Err("is not set yet")),
                ("\u{feff}", Err("is not set yet")),
                ("Authorization:", Err("is not set yet")),
                ("Bearer", Err("the name of a scheme")),
                ("Authorization: Bearer ", Err("the name of a scheme")),
                ("ghp_s3cr3t\nPart", Err("a line break inside")),
                ("ghp_\r\ns3cr3tPart", Err("a line break inside")),
                ("ghp_\u{2028}s3cr3tPart", Err("a line break inside")),
                ("ghp_ s3cr3tPart", Err("white space inside")),
                ("ghp_\ts3cr3tPart", Err("white space inside")),
                ("ghp_\u{a0}s3cr3tPart", Err("white space inside")),
                (
                    "\u{1b}[200~ghp_s3cr3tPart\u{1b}[201~",
                    Err("a control character"),
                ),
                ("ghp_\u{7f}s3cr3tPart", Err("a control character")),
                ("ghp_s3cr3tPart\u{e9}", Err("outside ASCII")),
                ("ghp\u{2013}s3cr3tPart", Err("outside ASCII")),
                ("ghp_s3cr3tPart\u{2026}", Err("outside ASCII")),
                ("ghp_\u{200b}s3cr3tPart", Err("outside ASCII")),
                ("\"ghp_s3cr3tPart", Err("a quotation mark")),
                (
                    "you@example.com:s3cr3tPart",
                    Err("UPSTREAM_AUTH_SCHEME=Basic"),
                ),
                (
                    "Basic eW91OnMzY3IzdFBhcnQ=",
                    Err("UPSTREAM_AUTH_SCHEME=Basic"),
                ),
                ("7|s3cr3tPart", Err("RFC 6750")),
                ("<s3cr3tPart>", Err("RFC 6750")),
                ("GITHUB_TOKEN=s3cr3tPart", Err("RFC 6750")),
                ("===", Err("RFC 6750")),
            ],
        )
        .await;
}

#[tokio::test]
async fn credentials_of_the_scheme_basic_are_a_user_and_a_password() {
    let stage = Stage::set().await;
    let encoded = |pair: &str| STANDARD.encode(pair);
    let basic = |pair: &str| format!("Basic {}", encoded(pair));
    let (plain, spaced, accents) = (
        basic("you@example.com:s3cr3tPart"),
        basic("you:pass word:s3cr3tPart"),
        basic("j\u{f6}rg:s3cr3tPart"),
    );
    let (no_user, no_password) = (basic(":s3cr3tPart"), basic("s3cr3tPart:"));
    let written = encoded("you@example.com:s3cr3tPart");
    let line = format!("Authorization: Basic {written}");
    let wrapped = format!("{}\n{}", &written[..8], &written[8..]);
    let without_colon = encoded("only-s3cr3tPart");
    let with_control = encoded("you:s3cr3t\nPart");
    stage
        .compare(
            &[("UPSTREAM_AUTH_SCHEME", "Basic")],
            &[
                ("you@example.com:s3cr3tPart", Ok((&plain, ""))),
                ("you:pass word:s3cr3tPart", Ok((&spaced, ""))),
                ("j\u{f6}rg:s3cr3tPart", Ok((&accents, ""))),
                (":s3cr3tPart", Ok((&no_user, ""))),
                ("s3cr3tPart:", Ok((&no_password, ""))),
                (&written, Ok((&plain, ""))),
                (
                    " 'you@example.com:s3cr3tPart' ",
                    Ok((&plain, "white space, quotation marks")),
                ),
                (
                    "Basic you@example.com:s3cr3tPart",
                    Ok((&plain, "the scheme")),
                ),
                (&line, Ok((&plain, "the name of a header, the scheme"))),
                (&wrapped, Err("a line break inside")),
                ("you:s3cr3t\u{7}Part", Err("a control character")),
                ("you\ts:s3cr3tPart", Err("a control character")),
                (":", Err("a user and a password")),
                ("only-s3cr3tPart", Err("a user and a password")),
                (&without_colon, Err("a user and a password")),
                (&with_control, Err("a control character")),
                ("Bearer s3cr3tPart", Err("UPSTREAM_AUTH_SCHEME=Bearer")),
                ("Basic", Err("the name of a scheme")),
            ],
        )
        .await;
}

#[tokio::test]
async fn a_key_in_a_custom_header_may_be_any_valid_header_value() {
    let stage = Stage::set().await;
    stage
        .compare(
            &[
                ("UPSTREAM_AUTH_HEADER", "X-API-Key"),
                ("UPSTREAM_AUTH_SCHEME", "none"),
            ],
            &[
                ("s3cr3tPart", Ok(("s3cr3tPart", ""))),
                ("id:s3cr3tPart|%$", Ok(("id:s3cr3tPart|%$", ""))),
                (
                    "X-API-Key: s3cr3tPart",
                    Ok(("s3cr3tPart", "the name of a header")),
                ),
                (
                    "x-api-key:s3cr3tPart",
                    Ok(("s3cr3tPart", "the name of a header")),
                ),
                (
                    "\"X-API-Key\": \"s3cr3tPart\"",
                    Ok(("s3cr3tPart", "the name of a header, quotation marks")),
                ),
                ("Bearer s3cr3tPart", Ok(("s3cr3tPart", "the scheme"))),
                (
                    " \u{201c}s3cr3tPart\u{201d}\n",
                    Ok(("s3cr3tPart", "white space, quotation marks")),
                ),
                ("s3cr3t\nPart", Err("a line break inside")),
                ("s3cr3t Part", Err("white space inside")),
                ("s3cr3tPart\u{e9}", Err("outside ASCII")),
                (
                    "-H 'X-API-Key: s3cr3tPart'",
                    Ok((
                        "s3cr3tPart",
                        "the name of an option, quotation marks, the name of a header",
                    )),
                ),
                ("X-API-Key:", Err("is not set yet")),
            ],
        )
        .await;
    // `Authorization` with an unknown scheme: the scheme is a part of the token.
    stage
        .compare(
            &[("UPSTREAM_AUTH_SCHEME", "none")],
            &[
                ("lin_api_s3cr3tPart", Ok(("lin_api_s3cr3tPart", ""))),
                ("Token s3cr3tPart", Ok(("Token s3cr3tPart", ""))),
                ("Bearer 7|s3cr3tPart", Ok(("Bearer 7|s3cr3tPart", ""))),
                (
                    "Authorization: SSWS s3cr3tPart",
                    Ok(("SSWS s3cr3tPart", "the name of a header")),
                ),
                ("Token s3cr3t\nPart", Err("a line break inside")),
                ("Token\ts3cr3tPart", Err("white space inside")),
                ("Bearer", Err("the name of a scheme")),
            ],
        )
        .await;
}

#[tokio::test]
async fn a_token_in_a_file_is_read_by_the_same_rules() {
    let stage = Stage::set().await;
    let directory = std::env::temp_dir().join(format!(
        "token-file-{}",
        lambda_oauth_mcp_proxy::credential::Randomness::system().id()
    ));
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("token");
    let path = file.to_str().unwrap();
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16();
        [vec![0xff, 0xfe], units.flat_map(u16::to_le_bytes).collect()].concat()
    };
    let mut wrong = Vec::new();
    for (content, expected) in [
        (b"ghp_s3cr3tPart".to_vec(), Ok((BEARER, ""))),
        (b"ghp_s3cr3tPart\n".to_vec(), Ok((BEARER, "white space"))),
        (
            b"\"ghp_s3cr3tPart\"\r\n".to_vec(),
            Ok((BEARER, "white space, quotation marks")),
        ),
        (
            b"\xef\xbb\xbfBearer ghp_s3cr3tPart\n".to_vec(),
            Ok((BEARER, "a byte order mark, the scheme")),
        ),
        (
            utf_16("ghp_s3cr3tPart\r\n"),
            Ok((BEARER, "a byte order mark")),
        ),
        (
            b"Authorization: Bearer ghp_s3cr3tPart\n".to_vec(),
            Ok((BEARER, "white space, the name of a header, the scheme")),
        ),
        (b"ghp_s3cr3t\nPart\n".to_vec(), Err("a line break inside")),
        (b"ghp_s3cr3tPart\xe9".to_vec(), Err("it is not text")),
        (b"\n\n".to_vec(), Err("is not set yet")),
        (b"".to_vec(), Err("is not set yet")),
        (b"ghp_\0s3cr3tPart".to_vec(), Err("a control character")),
    ] {
        std::fs::write(&file, &content).unwrap();
        let outcome = stage.outcome(&[], &["--token-file", path]).await;
        let as_expected = match (&outcome, &expected) {
            (Outcome::Sent(sent, taken_off), Ok(expected)) => {
                (sent.as_str(), taken_off.as_str()) == *expected
            }
            (Outcome::Refused(said), Err(reason)) => {
                said.contains(&format!("--token-file {path}")) && said.contains(reason)
            }
            _ => false,
        };
        if !as_expected {
            wrong.push(format!(
                "{:?}: {outcome:?}",
                String::from_utf8_lossy(&content)
            ));
        }
    }
    let both = [("UPSTREAM_TOKEN", "ghp_s3cr3tPart")];
    let outcome = stage.outcome(&both, &["--token-file", path]).await;
    assert!(
        matches!(&outcome, Outcome::Refused(said) if said.contains("both")),
        "{outcome:?}"
    );
    std::fs::remove_dir_all(&directory).unwrap();
    let outcome = stage.outcome(&[], &["--token-file", path]).await;
    assert!(
        matches!(&outcome, Outcome::Refused(said) if said.contains("cannot be read")),
        "{outcome:?}"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}
