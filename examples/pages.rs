//! Writes every page in every state into a directory, for the browser checks in `tests/e2e/pages`.
//!
//! `cargo run --example pages -- <directory>` writes `<state>.html` with `<state>.csp` beside it.

use std::path::Path;
use std::{env, fs, io};

use lambda_oauth_mcp_proxy::page::{
    ActivityRow, ActivityTotal, Address, Connected, ConnectionOrigin, ConnectionPage,
    ConnectionRow, Connections, Consent, CreatedToken, EndConnections, ErrorPage, ICON, Landing,
    NewToken, Notice, Page, PageLink, ShownActivity, ShownLimit, SignIn, Timestamp, ToolEffect,
    ToolRow, Tools, WrongTries,
};

const READ_ONLY: &str = "read-only";
const TOOLSETS: &str = "only these toolsets: issues, pull_requests";
const HOSTILE: &str = "\u{202e}\"'--></style></title><script>window.__pwned=1</script>\
    <img src=x onerror=\"window.__pwned=1\">\u{2067}\u{200b}\u{0301}\u{0301}\u{0301}\u{0301}\u{0301}\u{0301}";

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: pages <directory>"));
    };
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    for (state, page) in consents()
        .into_iter()
        .chain(refusals())
        .chain(messages())
        .chain(sign_ins())
        .chain(landings())
        .chain(lists())
        .chain(connections())
        .chain(tools())
        .chain(tokens())
    {
        fs::write(directory.join(state).with_extension("html"), page.html)?;
        fs::write(
            directory.join(state).with_extension("csp"),
            page.content_security_policy,
        )?;
    }
    fs::write(directory.join("favicon.svg"), ICON)
}

fn consent<'a>() -> Consent<'a> {
    Consent {
        page_id: "Zm9yIHRoZSBicm93c2VyIGNoZWNrcw",
        client_name: Some("Claude"),
        verified_host: Some("claude.ai"),
        known_redirect: true,
        redirect_host: "claude.ai",
        redirect_uri: "https://claude.ai/api/mcp/auth_callback",
        loopback_only: false,
        upstream_name: "GitHub",
        upstream_host: "api.githubcopilot.com",
        restrictions: &[],
        lifetime: "30 days after its last use",
        connection_name: "Claude",
        read_only: false,
        notice: None,
    }
}

fn consents() -> Vec<(&'static str, Page)> {
    let restrictions = [READ_ONLY.to_owned(), TOOLSETS.to_owned()];
    let hostile = vec![HOSTILE.to_owned()];
    let long_uri = format!(
        "https://client.example/callback?state={}",
        "ab12&".repeat(300)
    );
    let long_host = format!("claude.ai.{}.example", "long-label-that-goes-on.".repeat(9));
    let long_name = format!("Claude {}", "W\u{0301}\u{0489}\u{0489}\u{0489}".repeat(60));
    vec![
        ("consent", consent().render()),
        (
            "consent-restricted",
            Consent {
                restrictions: &restrictions,
                ..consent()
            }
            .render(),
        ),
        (
            "consent-known-redirect",
            Consent {
                verified_host: None,
                ..consent()
            }
            .render(),
        ),
        (
            "consent-verified-loopback",
            Consent {
                client_name: Some("Claude Code"),
                connection_name: "Claude Code on macOS",
                read_only: true,
                known_redirect: false,
                redirect_host: "localhost:54545",
                redirect_uri: "http://localhost:54545/callback",
                loopback_only: true,
                ..consent()
            }
            .render(),
        ),
        (
            "consent-unverified-loopback",
            Consent {
                client_name: Some("MCP Inspector"),
                verified_host: None,
                known_redirect: false,
                redirect_host: "localhost:6274",
                redirect_uri: "http://localhost:6274/oauth/callback",
                loopback_only: true,
                ..consent()
            }
            .render(),
        ),
        (
            "consent-app",
            Consent {
                client_name: Some("Cursor"),
                verified_host: None,
                redirect_host: "cursor:",
                redirect_uri: "cursor://anysphere.cursor-mcp/oauth/callback",
                ..consent()
            }
            .render(),
        ),
        (
            "consent-nameless",
            Consent {
                client_name: None,
                verified_host: None,
                ..consent()
            }
            .render(),
        ),
        (
            "consent-right-to-left",
            Consent {
                client_name: Some("עוזר אישי (Claude)"),
                verified_host: None,
                known_redirect: false,
                redirect_host: "client.example",
                ..consent()
            }
            .render(),
        ),
        (
            "consent-long",
            Consent {
                client_name: Some(&long_name),
                verified_host: None,
                known_redirect: false,
                redirect_host: &long_host,
                redirect_uri: &long_uri,
                restrictions: &restrictions,
                loopback_only: true,
                ..consent()
            }
            .render(),
        ),
        (
            "consent-hostile",
            Consent {
                page_id: HOSTILE,
                client_name: Some(HOSTILE),
                verified_host: Some(HOSTILE),
                known_redirect: true,
                redirect_host: HOSTILE,
                redirect_uri: HOSTILE,
                loopback_only: true,
                upstream_name: HOSTILE,
                upstream_host: HOSTILE,
                restrictions: &hostile,
                lifetime: HOSTILE,
                connection_name: HOSTILE,
                read_only: true,
                notice: Some(Notice::WrongPin { tries_left: 1 }),
            }
            .render(),
        ),
    ]
}

fn refusals() -> Vec<(&'static str, Page)> {
    let notice = |notice| {
        Consent {
            notice: Some(notice),
            ..consent()
        }
        .render()
    };
    vec![
        (
            "consent-wrong-pin",
            notice(Notice::WrongPin { tries_left: 3 }),
        ),
        ("consent-wait", notice(Notice::Wait { seconds: 480 })),
        ("consent-closed", notice(Notice::ClosedForToday)),
    ]
}

fn messages() -> Vec<(&'static str, Page)> {
    vec![
        (
            "error",
            ErrorPage {
                title: "Unknown app",
                what: "The app that sent you here is not known to this server, or no longer.",
                todo: "Remove the connector in the app and add it again.",
                links: &[],
                details: Some("client_id is not registered here."),
                reference: "1-6742c1f0-3a5c9d2e7b",
            }
            .render(),
        ),
        (
            "error-hostile",
            ErrorPage {
                title: HOSTILE,
                what: HOSTILE,
                todo: HOSTILE,
                links: &[],
                details: Some(HOSTILE),
                reference: HOSTILE,
            }
            .render(),
        ),
        (
            "connected",
            Connected {
                client_name: Some("Claude"),
            }
            .render(),
        ),
        (
            "not-found",
            ErrorPage {
                title: "Page not found",
                what: "There is no page at this address.",
                todo: "Check the address for typing errors.",
                links: &[PageLink {
                    path: "/connections",
                    text: "Connected apps",
                }],
                details: None,
                reference: "1-6742c1f0-3a5c9d2e7b",
            }
            .render(),
        ),
        (
            "address",
            Address {
                connector_url: "https://connector.example/mcp",
            }
            .render(),
        ),
    ]
}

fn sign_ins() -> Vec<(&'static str, Page)> {
    let sign_in = |notice, message| {
        let page = SignIn {
            upstream_name: "GitHub",
            notice,
            message,
            landing_page: true,
        };
        page.render()
    };
    vec![
        ("sign-in", sign_in(None, None)),
        (
            "sign-in-session-ended",
            sign_in(None, Some("Your session has ended. Please sign in again.")),
        ),
        (
            "sign-in-wrong-pin",
            sign_in(Some(Notice::WrongPin { tries_left: 1 }), None),
        ),
        (
            "sign-in-wait",
            sign_in(Some(Notice::Wait { seconds: 30 }), None),
        ),
        (
            "sign-in-closed",
            sign_in(Some(Notice::ClosedForToday), None),
        ),
    ]
}

fn landings() -> Vec<(&'static str, Page)> {
    vec![
        (
            "landing",
            Landing {
                connector_url: "https://connector.example/mcp",
                connector_name: "github",
                upstream_name: "GitHub",
                upstream_host: "api.githubcopilot.com",
                only_this_machine: false,
            }
            .render(),
        ),
        (
            "landing-local",
            Landing {
                connector_url: "http://127.0.0.1:8787/mcp",
                connector_name: "demo",
                upstream_name: "the demo",
                upstream_host: "127.0.0.1",
                only_this_machine: true,
            }
            .render(),
        ),
        (
            "landing-hostile",
            Landing {
                connector_url: HOSTILE,
                connector_name: HOSTILE,
                upstream_name: HOSTILE,
                upstream_host: HOSTILE,
                only_this_machine: true,
            }
            .render(),
        ),
    ]
}

fn row<'a>(id: &'a str, name: &str, origin: ConnectionOrigin<'a>) -> ConnectionRow<'a> {
    ConnectionRow {
        id,
        name: name.to_owned(),
        origin,
        limit: ShownLimit::Everything,
        created: Timestamp::of_unix_seconds(1_793_608_267),
        last_used: Timestamp::of_unix_seconds(1_795_435_200),
        address: "203.0.113.24",
        expires: Timestamp::of_unix_seconds(1_798_027_200),
    }
}

fn client<'a>(
    name: &'a str,
    verified_host: Option<&'a str>,
    redirect_host: &'a str,
) -> ConnectionOrigin<'a> {
    ConnectionOrigin::Client {
        name: Some(name),
        verified_host,
        redirect_host,
    }
}

/// Three apps and a token.
fn rows() -> [ConnectionRow<'static>; 4] {
    [
        row(
            "Zmlyc3QtY29ubmVjdGlvbg",
            "Claude",
            client("Claude", Some("claude.ai"), "claude.ai"),
        ),
        ConnectionRow {
            limit: ShownLimit::ReadOnly,
            ..row(
                "c2Vjb25kLWNvbm5lY3Rpb24",
                "Claude Code on the laptop",
                client("Claude Code", Some("claude.ai"), "localhost"),
            )
        },
        ConnectionRow {
            address: "2001:db8:4006:812::200e",
            limit: ShownLimit::Tools(12),
            ..row(
                "c3RhdGUtb2YtdGhlLWE",
                "Cursor",
                client("Cursor", None, "cursor:"),
            )
        },
        row(
            "dG9rZW4tb2YtdGhlLWE",
            "Backup script on the NAS",
            ConnectionOrigin::Token,
        ),
    ]
}

fn hostile_rows() -> [ConnectionRow<'static>; 2] {
    [None, Some(HOSTILE)].map(|verified_host| ConnectionRow {
        address: HOSTILE,
        ..row("aWQ", HOSTILE, client(HOSTILE, verified_host, HOSTILE))
    })
}

const CSRF: &str = "c2Vzc2lvbi1mb3ItdGhlLWJyb3dzZXItY2hlY2tz";

/// The pages of one connection.
fn connections() -> Vec<(&'static str, Page)> {
    let [_, code, cursor, token] = rows();
    let [hostile, _] = hostile_rows();
    let call = |tool, outcome, milliseconds| ActivityRow {
        tool,
        time: Timestamp::of_unix_seconds(1_795_435_200),
        outcome,
        succeeded: outcome == "ok",
        milliseconds,
    };
    let calls = [
        call("list_issues", "ok", 214),
        call("create_issue", "refused: not allowed", 1),
        call("search_code", "error of the tool", 1_832),
    ];
    let hostile_calls = [call(HOSTILE, "ok", 1)];
    let page = |row, chosen_name, notice, calls| {
        let totals = [3, 41, 5_000].map(|calls| ActivityTotal {
            period: match calls {
                3 => "Last 24 hours",
                41 => "Last 7 days",
                _ => "Last 30 days",
            },
            calls,
            or_more: calls == 5_000,
        });
        let page = ConnectionPage {
            pin_notice: None,
            row,
            chosen_name,
            csrf: CSRF,
            notice,
            activity: Some(ShownActivity {
                days: 30,
                totals,
                calls,
            }),
        };
        page.render()
    };
    let named = Some("Claude Code on the laptop");
    vec![
        ("connection", page(code, named, None, &calls)),
        (
            "connection-changed",
            page(
                cursor.clone(),
                None,
                Some("The name was changed."),
                &calls[..1],
            ),
        ),
        ("connection-token", page(token, Some("Backup"), None, &[])),
        (
            "connection-hostile",
            page(hostile, Some(HOSTILE), Some(HOSTILE), &hostile_calls),
        ),
        (
            "connection-not-recorded",
            ConnectionPage {
                pin_notice: None,
                row: cursor,
                chosen_name: None,
                csrf: CSRF,
                notice: None,
                activity: None,
            }
            .render(),
        ),
    ]
}

fn tools() -> Vec<(&'static str, Page)> {
    let tool = |name, title, effect, chosen| ToolRow {
        name,
        title,
        description: Some(
            "Lists what there is, newest first, with everything that a model needs to choose among it.",
        ),
        effect,
        chosen,
        selectable: true,
    };
    let rows = [
        tool(
            "get_me",
            Some("Get my user profile"),
            ToolEffect::Reads,
            true,
        ),
        tool("list_issues", Some("List issues"), ToolEffect::Reads, true),
        tool("search_code", None, ToolEffect::Reads, false),
        tool(
            "create_issue",
            Some("Open an issue"),
            ToolEffect::Writes,
            true,
        ),
        tool("add_comment", None, ToolEffect::Writes, false),
        tool(
            "delete_file",
            Some("Delete a file"),
            ToolEffect::Destroys,
            false,
        ),
        tool("old_tool", None, ToolEffect::Gone, true),
    ];
    let hostile = [ToolRow {
        description: Some(HOSTILE),
        selectable: false,
        ..tool(HOSTILE, Some(HOSTILE), ToolEffect::Reads, false)
    }];
    let page = |name, rows, not_shown, notice| {
        let page = Tools {
            pin_notice: None,
            connection: "c3RhdGUtb2YtdGhlLWE",
            connection_name: name,
            upstream_name: "GitHub",
            rows,
            not_shown,
            csrf: CSRF,
            notice,
        };
        page.render()
    };
    let too_many = Some("Nothing was changed: at most 1,000 tools can be chosen.");
    vec![
        ("tools", page("Cursor", &rows, 0, None)),
        ("tools-too-many", page("Cursor", &rows, 204, too_many)),
        ("tools-none", page("Cursor", &[], 0, None)),
        ("tools-hostile", page(HOSTILE, &hostile, 0, Some(HOSTILE))),
    ]
}

fn tokens() -> Vec<(&'static str, Page)> {
    let created = |name, connector_url, connector_name| {
        let page = CreatedToken {
            id: "dG9rZW4tb2YtdGhlLWE",
            name,
            token: "mcp_at_dG9rZW4tb2YtdGhlLWE.bm90LWEtdG9rZW4tb2YtYW55LXNlcnZlci1idXQtYXMtbG9uZw",
            expires: Timestamp::of_unix_seconds(1_798_027_200),
            connector_url,
            connector_name,
        };
        page.render()
    };
    vec![
        (
            "new-token",
            NewToken {
                pin_notice: None,
                id: "dG9rZW4tb2YtdGhlLWE",
                upstream_name: "GitHub",
                days: &[7, 30, 90, 365],
                csrf: CSRF,
            }
            .render(),
        ),
        (
            "token",
            created(
                "Backup script on the NAS",
                "https://connector.example/mcp",
                "github",
            ),
        ),
        ("token-hostile", created(HOSTILE, HOSTILE, HOSTILE)),
    ]
}

fn lists() -> Vec<(&'static str, Page)> {
    let (rows, hostile, csrf) = (rows(), hostile_rows(), CSRF);
    let tries = [
        WrongTries {
            time: Timestamp::of_unix_seconds(1_795_389_044),
            address: "198.51.100.7",
            count: 4,
        },
        WrongTries {
            time: Timestamp::of_unix_seconds(1_795_154_530),
            address: "2001:db8:17::/64",
            count: 1,
        },
    ];
    let list = |rows, wrong_tries, notice| {
        let page = Connections {
            upstream_name: "GitHub",
            rows,
            csrf,
            wrong_tries,
            notice,
            manual_tokens: true,
            landing_page: true,
        };
        page.render()
    };
    let end = |rows, all| EndConnections { rows, all, csrf }.render();
    vec![
        ("connections", list(&rows, &tries, None)),
        (
            "connections-ended",
            list(&rows[..2], &[], Some("Cursor was ended.")),
        ),
        ("connections-one", list(&rows[..1], &[], None)),
        ("end-one", end(&rows[..1], false)),
        ("end-several", end(&rows[..2], false)),
        ("end-all", end(&rows, true)),
        ("end-hostile", end(&hostile, false)),
        ("connections-empty", list(&[], &[], None)),
        ("connections-hostile", list(&hostile, &tries, Some(HOSTILE))),
    ]
}
