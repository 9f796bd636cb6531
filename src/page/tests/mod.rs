//! Every page in its states, with anything in its fields.

mod containment;
mod shown;

use super::{
    ActivityRow, ActivityTotal, Address, Connected, ConnectionOrigin, ConnectionPage,
    ConnectionRow, Connections, Consent, CreatedToken, EndConnections, ErrorPage, Landing,
    NewToken, Notice, Page, PageLink, ShownActivity, ShownLimit, SignIn, Timestamp, ToolEffect,
    ToolRow, Tools, WrongTries,
};

fn timestamp() -> Timestamp {
    Timestamp::of_unix_seconds(1_795_424_400)
}

fn consent<'a>() -> Consent<'a> {
    Consent {
        page_id: "p-1",
        client_name: Some("Claude"),
        verified_host: Some("claude.ai"),
        known_redirect: true,
        redirect_host: "claude.ai",
        redirect_uri: "https://claude.ai/api/mcp/auth_callback",
        loopback_only: false,
        upstream_name: "Example",
        upstream_host: "mcp.example",
        restrictions: &[],
        lifetime: "30 days after its last use",
        connection_name: "Claude",
        read_only: false,
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
        name: text.to_owned(),
        origin: ConnectionOrigin::Client {
            name: Some(text),
            verified_host: None,
            redirect_host: text,
        },
        limit: ShownLimit::Everything,
        created: timestamp.clone(),
        last_used: timestamp.clone(),
        address: text,
        expires: timestamp,
    }
}

/// The pages of one connection.
fn connection_pages(text: &str, id: &str, row: &ConnectionRow<'_>) -> Vec<Page> {
    let calls = [true, false].map(|succeeded| ActivityRow {
        tool: text,
        time: row.created.clone(),
        outcome: "ok",
        succeeded,
        milliseconds: 120,
    });
    let totals = [1, 2, 3].map(|calls| ActivityTotal {
        period: "Last 24 hours",
        calls,
        or_more: true,
    });
    let activity = ShownActivity {
        days: 30,
        totals,
        calls: &calls,
    };
    let title = format!("The tool {text}");
    let tools = [
        ToolEffect::Reads,
        ToolEffect::Writes,
        ToolEffect::Destroys,
        ToolEffect::Gone,
    ]
    .map(|effect| ToolRow {
        name: id,
        title: Some(&title),
        description: Some(text),
        effect,
        chosen: true,
        selectable: true,
    });
    vec![
        ConnectionPage {
            pin_notice: None,
            row: row.clone(),
            chosen_name: Some(text),
            csrf: id,
            notice: Some(text),
            activity: Some(activity),
        }
        .render(),
        Tools {
            pin_notice: None,
            connection: id,
            connection_name: text,
            upstream_name: text,
            rows: &tools,
            not_shown: 1,
            csrf: id,
            notice: Some(text),
        }
        .render(),
        NewToken {
            pin_notice: None,
            id,
            upstream_name: text,
            days: &[7, 30],
            csrf: id,
        }
        .render(),
        CreatedToken {
            id,
            name: text,
            token: id,
            expires: row.expires.clone(),
            connector_url: text,
            connector_name: text,
        }
        .render(),
    ]
}

fn landing<'a>() -> Landing<'a> {
    Landing {
        connector_url: "https://connector.example/mcp",
        connector_name: "example",
        upstream_name: "Example",
        upstream_host: "mcp.example",
        only_this_machine: false,
    }
}

/// The consent page and the sign-in, with each notice.
fn pages_with_a_pin(text: &str, id: &str, restrictions: &[String]) -> Vec<Page> {
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
                    known_redirect: false,
                    redirect_host: text,
                    redirect_uri: text,
                    loopback_only: true,
                    upstream_name: text,
                    upstream_host: text,
                    restrictions,
                    lifetime: text,
                    connection_name: text,
                    read_only: true,
                    notice,
                }
                .render(),
            );
            pages.push(
                SignIn {
                    upstream_name: text,
                    notice,
                    message: Some(text),
                    landing_page: true,
                }
                .render(),
            );
        }
    }
    pages
}

/// Every page with `text` in every field.
fn every_page(text: &str) -> Vec<Page> {
    let restrictions = vec![text.to_owned(); 3];
    // Ids are generated by this program, so they are escaped but never altered.
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
        origin: ConnectionOrigin::Client {
            name: Some(text),
            verified_host: Some(text),
            redirect_host: text,
        },
        created: timestamp.clone(),
        last_used: timestamp.clone(),
        expires: timestamp.clone(),
        ..row(text)
    };
    let mut pages = pages_with_a_pin(text, id, &restrictions);
    pages.push(
        ErrorPage {
            title: text,
            what: text,
            todo: text,
            links: &[PageLink {
                path: "/",
                text: "Home",
            }],
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
    let rows = [
        ConnectionRow {
            id,
            created: timestamp.clone(),
            last_used: timestamp.clone(),
            expires: timestamp.clone(),
            ..row(text)
        },
        verified,
    ];
    for all in [true, false] {
        let page = EndConnections {
            rows: &rows,
            all,
            csrf: id,
        };
        pages.push(page.render());
    }
    pages.push(
        Address {
            connector_url: text,
        }
        .render(),
    );
    pages.push(
        Connections {
            upstream_name: text,
            rows: &rows,
            csrf: id,
            wrong_tries: &[WrongTries {
                time: timestamp.clone(),
                address: text,
                count: 2,
            }],
            notice: Some(text),
            manual_tokens: true,
            landing_page: true,
        }
        .render(),
    );
    pages.extend(connection_pages(text, id, &rows[0]));
    pages.push(
        Landing {
            connector_url: text,
            connector_name: text,
            upstream_name: text,
            upstream_host: text,
            only_this_machine: false,
        }
        .render(),
    );
    pages
}
