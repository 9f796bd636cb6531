//! What each page shows, asks for and sends.

use super::super::{
    ConnectionOrigin, ConnectionPage, ConnectionRow, Connections, Consent, CreatedToken,
    EndConnections, Landing, Notice, ShownLimit, SignIn, ToolEffect, ToolRow, Tools,
};
use super::{consent, landing, row, timestamp};

#[test]
fn what_needs_the_script_is_hidden_without_it() {
    let html = consent().render().html;
    assert!(html.contains("id=\"show-pin\" hidden>"));
    let html = landing().render().html;
    assert_eq!(html.matches("data-copy=").count(), 3);
    assert_eq!(html.matches("\" hidden>Copy<").count(), 3);
    let notice = Some(Notice::Wait { seconds: 480 });
    let html = Consent {
        notice,
        ..consent()
    }
    .render()
    .html;
    assert!(html.contains("data-seconds=\"480\" hidden>") && html.contains("Wait 8 minutes"));
}

fn sign_in(notice: Option<Notice>) -> String {
    let page = SignIn {
        upstream_name: "Example",
        notice,
        message: None,
        landing_page: true,
    };
    page.render().html
}

#[test]
fn authorize_is_the_first_button_and_deny_needs_no_pin() {
    let html = consent().render().html;
    let authorize = html
        .find("value=\"authorize\"")
        .expect("an authorize button");
    let deny = html
        .find("value=\"deny\" formnovalidate")
        .expect("a deny button without validation");
    assert!(authorize < deny);
    assert!(html.contains("<form method=\"post\" action=\"/authorize\">"));
    assert!(html.contains("name=\"page\" value=\"p-1\""));
}

#[test]
fn a_name_is_marked_as_unverified_unless_its_host_is_proven() {
    let proven = consent().render().html;
    assert!(
        proven.contains("<bdi>claude.ai</bdi></strong> (host verified)")
            && !proven.contains("Name not verified")
    );
    let unproven = Consent {
        verified_host: None,
        known_redirect: false,
        ..consent()
    }
    .render()
    .html;
    assert!(unproven.contains("Name not verified") && !unproven.contains("host verified"));
    let known = Consent {
        verified_host: None,
        ..consent()
    }
    .render()
    .html;
    assert!(known.contains("Connects through") && !known.contains(" warn\""));
}

#[test]
fn a_client_without_a_visible_name_is_called_so() {
    for client_name in [None, Some(""), Some(" \u{200b}\u{202e}\u{2800}")] {
        let html = Consent {
            client_name,
            verified_host: None,
            ..consent()
        }
        .render()
        .html;
        assert!(html.contains("<bdi>Unnamed client</bdi>"));
        assert!(html.contains("gave no name"));
    }
}

#[test]
fn the_consent_page_is_read_before_the_pin_field_takes_the_focus() {
    assert!(!consent().render().html.contains("autofocus"));
    assert!(sign_in(None).contains("required autofocus aria-describedby"));
}

#[test]
fn a_wrong_pin_is_said_where_the_field_points_to() {
    let notice = Some(Notice::WrongPin { tries_left: 3 });
    for html in [
        Consent {
            notice,
            ..consent()
        }
        .render()
        .html,
        sign_in(notice),
    ] {
        assert!(html.contains("<title>Wrong PIN – "));
        assert!(
            html.contains("id=\"notice\" role=\"alert\">That PIN is wrong. You have 3 tries left")
        );
        let field = "autofocus aria-describedby=\"which-pin notice\" aria-invalid=\"true\">";
        assert!(html.contains(field));
    }
}

#[test]
fn no_pin_is_asked_for_while_none_is_taken() {
    let notice = Some(Notice::ClosedForToday);
    let html = Consent {
        notice,
        ..consent()
    }
    .render()
    .html;
    assert!(!html.contains("name=\"pin\"") && html.contains("value=\"deny\""));
    assert!(!sign_in(notice).contains("<form"));
}

#[test]
fn the_loopback_warning_and_the_apps_hint_appear_only_where_they_belong() {
    let plain = consent().render().html;
    assert!(!plain.contains("own computer") && !plain.contains("app on this device"));
    for (verified_host, class) in [(Some("claude.ai"), "quiet"), (None, "note warn")] {
        let html = Consent {
            loopback_only: true,
            verified_host,
            ..consent()
        }
        .render()
        .html;
        assert!(html.contains(&format!("<p class=\"{class}\">This is your own computer.")));
    }
    let app = Consent {
        redirect_host: "cursor:",
        ..consent()
    }
    .render()
    .html;
    assert!(app.contains(">cursor:</bdi>") && app.contains("app on this device"));
}

#[test]
fn each_connection_can_be_ended_and_an_empty_list_says_so() {
    let rows = [
        ConnectionRow {
            id: "c-1",
            ..row("x")
        },
        ConnectionRow {
            id: "c-2",
            last_used: timestamp(),
            ..row("y")
        },
    ];
    let list = |rows| {
        let page = Connections {
            upstream_name: "Example",
            rows,
            csrf: "t-1",
            wrong_tries: &[],
            notice: None,
            manual_tokens: false,
            landing_page: true,
        };
        page.render().html
    };
    let html = list(&rows);
    for id in ["c-1", "c-2"] {
        assert!(html.contains(&format!("name=\"connection\" value=\"{id}\"")));
        assert!(html.contains(&format!("href=\"/connections/end?connection={id}\"")));
    }
    let one = list(&rows[..1]);
    assert!(!one.contains("type=\"checkbox\"") && !one.contains("End all"));
    assert!(html.contains("datetime=\"2026-11-23T09:00:00Z\">2026-11-23 09:00 UTC</time>"));
    assert_eq!(
        html.matches("name=\"csrf\" value=\"t-1\"").count(),
        html.matches("method=\"post\"").count()
    );
    assert!(!one.contains("/connections/token"), "switched off");
    let empty = list(&[]);
    assert!(empty.contains("Nothing is connected") && !empty.contains("/connections/end"));
}

#[test]
fn ending_is_asked_once_more_with_the_names() {
    let rows = [row("x"), row("y")];
    let ask = |rows, all| {
        let csrf = "t-1";
        EndConnections { rows, all, csrf }.render().html
    };
    let one = ask(&rows[..1], false);
    assert!(one.contains("<h1>End this connection?</h1>") && one.contains("value=\"end\""));
    let two = ask(&rows, false);
    assert!(two.contains("<h1>End 2 connections?</h1>"));
    assert_eq!(two.matches("name=\"connection\"").count(), 2);
    let all = ask(&rows, true);
    assert!(all.contains("End all 2 connections?") && all.contains("value=\"end-all\""));
    assert!(!all.contains("name=\"connection\""));
}

#[test]
fn a_connection_says_where_it_comes_from_and_what_it_may_do() {
    let client = |name, verified_host| ConnectionRow {
        name: "Laptop".to_owned(),
        origin: ConnectionOrigin::Client {
            name,
            verified_host,
            redirect_host: "localhost:1",
        },
        ..row("x")
    };
    for (row, said) in [
        (
            client(Some("Claude"), Some("claude.ai")),
            "Claude, from claude.ai (host verified)",
        ),
        (
            client(Some("Laptop"), None),
            "Name not verified, through localhost:1",
        ),
        (
            client(None, None),
            "Unnamed client, name not verified, through localhost:1",
        ),
        (
            ConnectionRow {
                origin: ConnectionOrigin::Token,
                ..row("x")
            },
            "A token that you created",
        ),
    ] {
        let page = ConnectionPage {
            pin_notice: None,
            row,
            chosen_name: None,
            csrf: "t-1",
            notice: None,
            activity: None,
        };
        let html = page.render().html;
        assert!(html.contains(&format!("<bdi>{said}</bdi>")), "{said}");
        assert!(html.contains("Calls are not recorded"));
    }
    for (limit, said, checked) in [
        (
            ShownLimit::Everything,
            "Everything the token allows",
            "everything",
        ),
        (ShownLimit::ReadOnly, "Read only", "read_only"),
        (ShownLimit::Tools(0), "No tools", "tools"),
        (ShownLimit::Tools(1), "One chosen tool", "tools"),
        (ShownLimit::Tools(12), "12 chosen tools", "tools"),
    ] {
        let page = ConnectionPage {
            pin_notice: None,
            row: ConnectionRow { limit, ..row("x") },
            chosen_name: None,
            csrf: "t-1",
            notice: None,
            activity: None,
        };
        let html = page.render().html;
        assert!(html.contains(said), "{said}");
        assert_eq!(html.matches(" checked").count(), 1);
        assert!(html.contains(&format!("value=\"{checked}\" checked")));
    }
}

#[test]
fn tools_are_grouped_and_a_name_that_no_form_can_carry_is_disabled() {
    let tool = |name, effect, selectable| ToolRow {
        name,
        title: Some("The title"),
        description: None,
        effect,
        chosen: selectable,
        selectable,
    };
    let page = Tools {
        pin_notice: None,
        connection: "c-1",
        connection_name: "Laptop",
        upstream_name: "Example",
        rows: &[
            tool("wipe", ToolEffect::Destroys, true),
            tool("a\u{1}b", ToolEffect::Reads, false),
            tool("read", ToolEffect::Reads, true),
        ],
        not_shown: 7,
        csrf: "t-1",
        notice: None,
    };
    let html = page.render().html;
    assert_eq!(html.matches("<legend>").count(), 2);
    let at = |text: &str| html.find(text).expect(text);
    assert!(at("Tools that only read") < at("value=\"read\" checked data-reads"));
    assert!(at("value=\"read\" checked") < at("may delete or overwrite"));
    assert!(at("may delete or overwrite") < at("value=\"wipe\" checked>"));
    assert!(html.contains(" disabled data-reads> ") && html.contains("7 more tools"));
}

#[test]
fn a_token_is_shown_once_on_its_page_and_in_no_snippet() {
    let page = CreatedToken {
        id: "c-1",
        name: "Backup",
        token: "mcp_at_the-token",
        expires: timestamp(),
        connector_url: "https://connector.example/mcp",
        connector_name: "example",
    };
    let html = page.render().html;
    assert_eq!(html.matches("mcp_at_the-token").count(), 1);
    assert_eq!(html.matches("data-copy=").count(), 6);
    for snippet in [
        "$EXAMPLE_MCP_TOKEN",
        "bearer_token_env_var",
        "${EXAMPLE_MCP_TOKEN}",
        "${input:token}",
    ] {
        assert!(html.contains(snippet), "{snippet}");
    }
}

#[test]
fn an_address_of_this_computer_alone_says_so() {
    assert!(!landing().render().html.contains("this computer only"));
    let html = Landing {
        only_this_machine: true,
        ..landing()
    }
    .render()
    .html;
    assert!(html.contains("this computer only"));
}

#[test]
fn the_landing_page_links_to_the_connections() {
    assert!(landing().render().html.contains("href=\"/connections\""));
}
