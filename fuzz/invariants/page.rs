//! Untrusted text on a page.

use lambda_oauth_mcp_proxy::page::{Consent, text};

/// The consent page with a client's name, a host, a redirect URI and a connection's name, one on each line. None of them
/// becomes markup, or changes the direction of what follows it.
pub fn consent_page(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let hostile = rendered(input);
    let harmless = rendered(&input.replace(['<', '>', '&', '"', '\'', '`', '='], "x"));
    assert_eq!(markup(&hostile), markup(&harmless));
    let changes_direction =
        |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\0');
    assert!(!hostile.contains(changes_direction));
}

/// The body of the page.
fn rendered(input: &str) -> String {
    let mut lines = input
        .splitn(4, '\n')
        .map(|line| (!line.is_empty()).then_some(line));
    let mut line = || lines.next().flatten();
    let (client_name, host, redirect_uri, name) = (line(), line(), line(), line());
    let page = Consent {
        page_id: "the-page",
        client_name,
        verified_host: host,
        known_redirect: false,
        redirect_host: &text::host(host.unwrap_or("client.example")),
        redirect_uri: redirect_uri.unwrap_or_default(),
        loopback_only: false,
        upstream_name: name.unwrap_or_default(),
        upstream_host: "up.example",
        restrictions: &[],
        lifetime: "30 days",
        connection_name: name.unwrap_or_default(),
        read_only: false,
        notice: None,
    };
    let html = page.render().html;
    html[html.find("<main").unwrap()..].to_owned()
}

/// Every tag with its attributes, without their values.
fn markup(html: &str) -> String {
    let (mut markup, mut in_tag, mut quote) = (String::new(), false, None);
    for c in html.chars() {
        match (in_tag, quote) {
            (false, _) => in_tag = c == '<',
            (true, Some(open)) if c == open => quote = None,
            (true, Some(_)) => continue,
            (true, None) if matches!(c, '"' | '\'') => quote = Some(c),
            (true, None) => in_tag = c != '>',
        }
        if in_tag {
            markup.push(c);
        }
    }
    markup
}
