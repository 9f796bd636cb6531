//! Every page in its states, with anything in its fields.

mod containment;
mod shown;

use super::{
    Connected, ConnectionRow, Connections, Consent, ErrorPage, Landing, Moment, Notice, Page,
    SignIn, WrongTries,
};

const MOMENT: Moment<'static> = Moment {
    text: "3 hours ago",
    datetime: "2026-11-23T09:14:00Z",
};

fn consent<'a>() -> Consent<'a> {
    Consent {
        page_id: "p-1",
        client_name: Some("Claude"),
        verified_host: Some("claude.ai"),
        redirect_host: "claude.ai",
        redirect_uri: "https://claude.ai/api/mcp/auth_callback",
        loopback_only: false,
        upstream_host: "mcp.example",
        restrictions: &[],
        lifetime: "30 days after its last use",
        notice: None,
    }
}

fn row(text: &str) -> ConnectionRow<'_> {
    let moment = Moment {
        text,
        datetime: text,
    };
    ConnectionRow {
        id: text,
        client_name: Some(text),
        verified_host: None,
        redirect_host: text,
        created: moment,
        last_used: Some(moment),
        address: text,
        expires: moment,
    }
}

fn landing<'a>() -> Landing<'a> {
    Landing {
        connector_url: "https://connector.example/mcp",
        connector_name: "example",
        upstream_host: "mcp.example",
        only_this_machine: false,
        show_connections_link: true,
    }
}

/// Every page with `text` in every field.
fn every_page(text: &str) -> Vec<Page> {
    let restrictions = vec![text.to_owned(); 3];
    // Drawn by this program, so only escaped, never altered.
    let id: &str = &text
        .replace('\u{202e}', "")
        .chars()
        .take(43)
        .collect::<String>();
    let moment = Moment { text, datetime: id };
    let verified = ConnectionRow {
        id,
        verified_host: Some(text),
        created: moment,
        last_used: None,
        expires: moment,
        ..row(text)
    };
    let mut pages = Vec::new();
    for verified_host in [None, Some(text)] {
        for notice in [
            None,
            Some(Notice::WrongPin { tries_left: 3 }),
            Some(Notice::Wait { seconds: 30 }),
            Some(Notice::ClosedForToday),
        ] {
            pages.push(
                Consent {
                    page_id: id,
                    client_name: Some(text),
                    verified_host,
                    redirect_host: text,
                    redirect_uri: text,
                    loopback_only: true,
                    upstream_host: text,
                    restrictions: &restrictions,
                    lifetime: text,
                    notice,
                }
                .render(),
            );
            pages.push(
                SignIn {
                    notice,
                    message: Some(text),
                }
                .render(),
            );
        }
    }
    pages.push(
        ErrorPage {
            title: text,
            what: text,
            todo: text,
            details: Some(text),
            reference: text,
        }
        .render(),
    );
    pages.push(
        Connected {
            client_name: Some(text),
        }
        .render(),
    );
    pages.push(
        Connections {
            rows: &[
                ConnectionRow {
                    id,
                    created: moment,
                    last_used: Some(moment),
                    expires: moment,
                    ..row(text)
                },
                verified,
            ],
            csrf: id,
            wrong_tries: &[WrongTries {
                time: moment,
                address: text,
                count: 2,
            }],
            notice: Some(text),
        }
        .render(),
    );
    pages.push(
        Landing {
            connector_url: text,
            connector_name: text,
            upstream_host: text,
            only_this_machine: false,
            show_connections_link: true,
        }
        .render(),
    );
    pages
}
