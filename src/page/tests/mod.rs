//! Every page in its states, with anything in its fields.

mod containment;
mod shown;

use super::{
    Connected, ConnectionRow, Connections, Consent, ErrorPage, Landing, Notice, Page, SignIn,
    Timestamp, WrongTries,
};

fn timestamp() -> Timestamp {
    Timestamp::of_unix_seconds(1_795_424_400)
}

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
    let timestamp = Timestamp {
        text: text.to_owned(),
        datetime: text.to_owned(),
    };
    ConnectionRow {
        id: text,
        client_name: Some(text),
        verified_host: None,
        redirect_host: text,
        created: timestamp.clone(),
        last_used: timestamp.clone(),
        address: text,
        expires: timestamp,
    }
}

fn landing<'a>() -> Landing<'a> {
    Landing {
        connector_url: "https://connector.example/mcp",
        connector_name: "example",
        upstream_host: "mcp.example",
        only_this_machine: false,
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
    let timestamp = Timestamp {
        text: text.to_owned(),
        datetime: id.to_owned(),
    };
    let verified = ConnectionRow {
        id,
        verified_host: Some(text),
        created: timestamp.clone(),
        last_used: timestamp.clone(),
        expires: timestamp.clone(),
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
                    created: timestamp.clone(),
                    last_used: timestamp.clone(),
                    expires: timestamp.clone(),
                    ..row(text)
                },
                verified,
            ],
            csrf: id,
            wrong_tries: &[WrongTries {
                time: timestamp.clone(),
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
        }
        .render(),
    );
    pages
}
