//! The page that asks the person.

use super::super::{observe::Observed, report::Finding};

/// Whether the browser can show it, and can go back to the client afterwards.
pub fn consent(observed: &Observed) -> Finding {
    const CHECK: &str = "sign-in page";
    let answer = match &observed.consent {
        None => return Finding::skip(CHECK, "there is no client for which it could be opened"),
        Some(Err(failure)) => {
            return Finding::fail(CHECK, failure.to_string(), "see the server's log");
        }
        Some(Ok(answer)) => answer,
    };
    if let Some(to) = answer.redirected() {
        let host = to.host_str().unwrap_or_default().to_owned();
        let error = to
            .query_pairs()
            .find(|(name, _)| name == "error")
            .map(|(_, value)| value.into_owned());
        return match error {
            Some(error) => Finding::fail(
                CHECK,
                format!("an ordinary request is refused: {error}"),
                "see the server's log",
            ),
            None => Finding::pass(CHECK, format!("the person signs in at {host}")),
        };
    }
    if !answer.status.is_success() || !answer.is_html() {
        let what = format!("status {} instead of a page", answer.status);
        return Finding::fail(
            CHECK,
            what,
            "the browser must reach this page: exempt it from rules about addresses and bots",
        );
    }
    let policy = answer.header("content-security-policy");
    if policy.contains("form-action") {
        let what = "its Content-Security-Policy has form-action: Chrome applies it to the redirect back, and blocks claude:// and cursor://";
        return Finding::fail(CHECK, what, "remove form-action");
    }
    if matches!(
        answer.header("cross-origin-opener-policy"),
        "same-origin" | "same-origin-allow-popups"
    ) {
        let what = "its Cross-Origin-Opener-Policy cuts the page off from the client that opened it in a window";
        return Finding::warn(CHECK, what, "leave that header out on this page");
    }
    if !policy.contains("frame-ancestors") && answer.header("x-frame-options").is_empty() {
        let what = "other sites can show it in a frame, and make people click it unseen";
        return Finding::warn(CHECK, what, "send frame-ancestors 'none'");
    }
    if !answer.header("cache-control").contains("no-store") {
        let what = "caches may keep it";
        return Finding::warn(CHECK, what, "send Cache-Control: no-store");
    }
    Finding::pass(CHECK, "shown, cannot be framed, is not cached")
}
