//! The person's browser: whether it is one, the cookie that binds a page to it, and whether a form came from our own page.

use axum::response::Response;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, AUTHORIZATION, COOKIE, SET_COOKIE, USER_AGENT},
};

use crate::{
    app::{App, Caller},
    credential::ConnectionId,
};

/// Longest cookie that is read as text.
const MAX_COOKIE_TEXT_BYTES: usize = 2048;

/// The cookie's name: `__Host-` where TLS protects it; over plain http the port tells servers on one machine
/// apart, and browsers would drop the prefix.
fn cookie_name(caller: &Caller, kind: &str) -> String {
    if caller.base.is_https() {
        return format!("__Host-{kind}");
    }
    let port = caller.base.as_str().rsplit(':').next().unwrap_or_default();
    format!("{kind}_{port}")
}

/// The value of our cookie, if it is one that we could have set: 128 bits of base64url.
pub fn cookie(caller: &Caller, headers: &HeaderMap, kind: &str) -> Option<String> {
    cookies(caller, headers, kind)
        .find(|value| ConnectionId::parse(value).is_some())
        .map(str::to_owned)
}

/// The text of our cookie, if it is not longer than we would write it.
pub fn cookie_text<'a>(caller: &Caller, headers: &'a HeaderMap, kind: &str) -> Option<&'a str> {
    cookies(caller, headers, kind).find(|value| value.len() <= MAX_COOKIE_TEXT_BYTES)
}

fn cookies<'a>(
    caller: &Caller,
    headers: &'a HeaderMap,
    kind: &str,
) -> impl Iterator<Item = &'a str> {
    let name = cookie_name(caller, kind);
    headers
        .get_all(COOKIE)
        .iter()
        // As bytes: other cookies of this host are none of our business, whatever is in them.
        .flat_map(|value| value.as_bytes().split(|b| *b == b';'))
        // Only what browsers skip is trimmed (RFC 6265 §4.2.1): with other white space in front of it, a name that
        // begins with `__Host-` is not protected.
        .filter_map(|pair| {
            let pair = str::from_utf8(pair).ok()?.trim_matches([' ', '\t']);
            pair.split_once('=')
        })
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The browser's value, reused while it is well-formed: two open pages share one.
pub fn cookie_or_new(app: &App, caller: &Caller, headers: &HeaderMap, kind: &str) -> String {
    cookie(caller, headers, kind).unwrap_or_else(|| app.randomness.id())
}

/// Sets our cookie for so many seconds; zero removes it. `Lax`, because the page is opened by a link from
/// the client's site.
pub fn set_cookie(response: &mut Response, caller: &Caller, kind: &str, value: &str, seconds: u64) {
    let secure = if caller.base.is_https() {
        "; Secure"
    } else {
        ""
    };
    let name = cookie_name(caller, kind);
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Whether a form was sent by a page of ours, as far as the browser says (Fetch Metadata). `Origin` cannot be
/// asked: under `Referrer-Policy: no-referrer` it is `null`.
pub fn from_our_page(headers: &HeaderMap) -> bool {
    headers
        .get_all("sec-fetch-site")
        .iter()
        .all(|site| site == "same-origin" || site == "none")
}

/// The system that the person uses, as far as the browser tells: User-Agent Client Hints, or else `User-Agent`.
pub fn platform(headers: &HeaderMap) -> Option<&'static str> {
    // Phones before the systems that their browsers pretend to be.
    const PLATFORMS: [(&str, &str); 9] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("iOS", "iOS"),
        ("Android", "Android"),
        ("CrOS", "Chrome OS"),
        ("Chrome OS", "Chrome OS"),
        ("Windows", "Windows"),
        ("mac", "macOS"),
        ("Linux", "Linux"),
    ];
    let said = headers
        .get("sec-ch-ua-platform")
        .or_else(|| headers.get(USER_AGENT))?;
    let said = said.to_str().ok()?.replace("Macintosh", "mac");
    let found = PLATFORMS.iter().find(|(word, _)| said.contains(word));
    found.map(|(_, platform)| *platform)
}

/// Whether a person's browser asks for a page, and not a program: it accepts HTML and has no token.
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accepts_html = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("text/html"))
    };
    !headers.contains_key(AUTHORIZATION) && headers.get_all(ACCEPT).iter().any(accepts_html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_what_the_browser_tells() {
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15";
        for (header, value, platform) in [
            ("sec-ch-ua-platform", "\"macOS\"", Some("macOS")),
            ("sec-ch-ua-platform", "\"Chrome OS\"", Some("Chrome OS")),
            ("sec-ch-ua-platform", "\"Unknown\"", None),
            ("user-agent", iphone, Some("iPhone")),
            (
                "user-agent",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15)",
                Some("macOS"),
            ),
            (
                "user-agent",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
                Some("Windows"),
            ),
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 14; Pixel 8)",
                Some("Android"),
            ),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64)",
                Some("Linux"),
            ),
            ("user-agent", "curl/8.5.0", None),
            ("accept", "iPhone", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header, HeaderValue::from_str(value).unwrap());
            assert_eq!(super::platform(&headers), platform, "{value}");
        }
    }
}
