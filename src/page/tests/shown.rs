//! What each page shows, asks for and sends.

use super::super::{ConnectionRow, Connections, Consent, Landing, Notice, SignIn};
use super::{consent, landing, row, timestamp};

#[test]
fn only_the_landing_page_has_a_script() {
    assert!(landing().render().html.contains("<script>"));
    assert!(!consent().render().html.contains("<script"));
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
        ..consent()
    }
    .render()
    .html;
    assert!(unproven.contains("Name not verified") && !unproven.contains("host verified"));
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
    let sign_in = SignIn {
        notice: None,
        message: None,
    };
    assert!(sign_in.render().html.contains("required autofocus>"));
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
        SignIn {
            notice,
            message: None,
        }
        .render()
        .html,
    ] {
        assert!(html.contains("<title>Wrong PIN – "));
        assert!(
            html.contains("id=\"notice\" role=\"alert\">That PIN is wrong. You have 3 tries left")
        );
        assert!(html.contains("autofocus aria-describedby=\"notice\" aria-invalid=\"true\">"));
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
    assert!(
        !SignIn {
            notice,
            message: None
        }
        .render()
        .html
        .contains("<form")
    );
}

#[test]
fn the_loopback_warning_and_the_apps_hint_appear_only_where_they_belong() {
    let plain = consent().render().html;
    assert!(!plain.contains("own computer") && !plain.contains("app on this device"));
    assert!(
        Consent {
            loopback_only: true,
            ..consent()
        }
        .render()
        .html
        .contains("own computer")
    );
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
            created: timestamp(),
            ..row("y")
        },
    ];
    let html = Connections {
        rows: &rows,
        csrf: "t-1",
        wrong_tries: &[],
        notice: None,
    }
    .render()
    .html;
    assert!(
        html.contains("name=\"connection\" value=\"c-1\"")
            && html.contains("name=\"connection\" value=\"c-2\"")
    );
    assert!(html.contains("datetime=\"2026-11-23T09:00:00Z\">2026-11-23 09:00 UTC</time>"));
    assert_eq!(
        html.matches("name=\"csrf\" value=\"t-1\"").count(),
        html.matches("<form").count()
    );

    let empty = Connections {
        rows: &[],
        csrf: "t-1",
        wrong_tries: &[],
        notice: None,
    }
    .render()
    .html;
    assert!(empty.contains("Nothing is connected") && !empty.contains("end-all"));
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
