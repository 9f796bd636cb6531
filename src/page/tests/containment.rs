//! Hostile text stays text, pages stay small, and the policy fits.

use super::super::{
    CONTENT_SECURITY_POLICY, ConnectionRow, Connections, Consent, ICON, SCRIPT, STYLE, hash_source,
};
use super::{consent, every_page, row, timestamp};

/// Style and script are half of it.
const MAX_BYTES: usize = 21_000;

/// Tries to break out of text, a quoted attribute, a comment and a style sheet, and to reverse the line.
const HOSTILE: &str = "\u{202e}\"'--></style></title></details><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}&amp;";

/// The content of the only element `tag`.
fn element<'a>(html: &'a str, tag: &str) -> &'a str {
    let (_, rest) = html
        .split_once(&format!("<{tag}>"))
        .expect("the element opens");
    let (text, after) = rest
        .split_once(&format!("</{tag}>"))
        .expect("the element closes");
    assert!(!after.contains(&format!("</{tag}>")), "only one <{tag}>");
    text
}

/// Every tag in order. Text in the fields of a page must not change them.
fn tags(html: &str) -> Vec<&str> {
    html.split('<')
        .skip(1)
        .map(|rest| rest.split([' ', '>', '\n']).next().unwrap_or_default())
        .collect()
}

#[test]
fn hostile_text_stays_text_in_every_field() {
    for (hostile, harmless) in every_page(HOSTILE).iter().zip(every_page("harmless")) {
        assert_eq!(tags(&hostile.html), tags(&harmless.html));
        for forbidden in [
            "<script>alert",
            "<img",
            "onerror=alert(1)>",
            "\"'--",
            "\u{202e}",
            ">49",
        ] {
            assert!(
                !hostile.html.contains(forbidden),
                "{forbidden} in {}",
                hostile.html
            );
        }
        assert_eq!(
            hostile.content_security_policy,
            harmless.content_security_policy
        );
    }
}

#[test]
fn every_page_is_small_even_with_long_text_in_every_field() {
    for text in ["&".repeat(40), "👩".repeat(60)] {
        for page in every_page(&text) {
            assert!(page.html.len() < MAX_BYTES, "{} bytes", page.html.len());
        }
    }
}

#[test]
fn a_stranger_cannot_make_the_consent_page_large() {
    let text = "&".repeat(5000);
    let page = Consent {
        client_name: Some(&text),
        verified_host: Some(&text),
        redirect_host: &text,
        redirect_uri: &text,
        loopback_only: true,
        ..consent()
    }
    .render();
    assert!(page.html.len() < MAX_BYTES, "{} bytes", page.html.len());
}

#[test]
fn eight_connections_fit_into_a_small_page() {
    let one = ConnectionRow {
        id: "MTI4IGJpdHMgb2YgaWQgIQ",
        created: timestamp(),
        last_used: timestamp(),
        expires: timestamp(),
        ..row("client.example")
    };
    let page = Connections {
        upstream_name: "Example",
        rows: &std::array::from_fn::<_, 8, _>(|_| one.clone()),
        csrf: "MjU2IGJpdHMgb2YgcmFuZG9tbmVzcyBmb3IgYSBmb3Jt",
        wrong_tries: &[],
        notice: None,
        manual_tokens: true,
        landing_page: true,
    }
    .render();
    assert!(page.html.len() < MAX_BYTES, "{} bytes", page.html.len());
}

#[test]
fn the_policy_names_the_exact_style_and_script_of_the_page() {
    for page in every_page("text") {
        let style = hash_source(element(&page.html, "style"));
        assert!(
            page.content_security_policy
                .contains(&format!("style-src '{style}'"))
        );
        let script = hash_source(element(&page.html, "script"));
        assert!(
            page.content_security_policy
                .contains(&format!("script-src '{script}'"))
        );
    }
    // The parser turns CR LF into LF before the browser hashes: a checkout with CR would match nothing.
    for text in [STYLE, SCRIPT] {
        assert!(!text.contains('\r') && !text.contains("</") && !text.contains("<!--"));
    }
    assert!(!ICON.contains("script") && !ICON.contains("href"));
}

#[test]
fn a_hash_is_written_as_the_policy_wants_it() {
    assert_eq!(
        hash_source("abc"),
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    );
}

#[test]
fn the_policy_allows_nothing_else_and_never_restricts_form_action() {
    let policy = CONTENT_SECURITY_POLICY.as_str();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(policy.ends_with("; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"));
    assert_eq!(policy.matches("sha256-").count(), 2);
    for page in every_page("text") {
        assert!(!page.content_security_policy.contains("form-action"));
        assert!(!page.content_security_policy.contains("unsafe"));
        assert!(!page.html.contains(" style="), "no inline style");
        assert!(
            !page
                .html
                .split_whitespace()
                .any(|word| word.starts_with("on") && word.contains('=')),
            "no inline handler"
        );
        assert!(!page.html.contains("src="), "nothing loaded");
    }
}
