//! Signing in with the PIN, and out.

use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::{back, back_with};
use crate::{
    app::{App, Caller},
    credential::Fingerprint,
    endpoint::{
        browser,
        error::PageError,
        flash::Flash,
        pin::{self, PinCheck, RefusedPin},
        response,
    },
    error::Unavailable,
    page::{Notice, SignIn},
    store::record::Session,
};

const SESSION_COOKIE: &str = "session";
const SESSION_LIFETIME_SECONDS: u64 = 900;

/// The session of this browser, and the name under which it is stored.
pub async fn find(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Option<(String, Session)>, Unavailable> {
    let Some(cookie) = browser::cookie(caller, headers, SESSION_COOKIE) else {
        return Ok(None);
    };
    let key = Fingerprint::of(&cookie).as_str().to_owned();
    let session = app.store.session(&key, app.clock.now()).await?;
    Ok(session.map(|session| (key, session)))
}

/// Whether a form belongs to this session. Fingerprints are compared, so that the time does not tell how much is right.
pub fn owns_form(session: &Session, csrf: &str) -> bool {
    Fingerprint::of(&session.csrf) == Fingerprint::of(csrf)
}

/// Checks the PIN, and opens a session.
pub async fn sign_in(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    pin: &str,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let browser = match pin::check(app, caller, headers, None, pin).await? {
        PinCheck::Accepted(browser) => browser,
        PinCheck::Refused(refused) => {
            let flash = Flash::PinRefused {
                reason: refused.reason(now),
                name: None,
                read_only: false,
            };
            return Ok(back_with(&flash, caller));
        }
    };
    // A fresh value at each sign-in: one planted beforehand opens nothing.
    let cookie = app.randomness.id();
    let session = Session {
        csrf: app.randomness.id(),
        expires_at: now + SESSION_LIFETIME_SECONDS,
    };
    app.store
        .put_session(Fingerprint::of(&cookie).as_str(), &session)
        .await?;
    tracing::info!(
        event = "signed_in",
        address = caller.address_text(),
        "the connections page was opened"
    );
    let mut response = back();
    browser::set_cookie(
        &mut response,
        caller,
        SESSION_COOKIE,
        &cookie,
        SESSION_LIFETIME_SECONDS,
    );
    browser.set_cookie(&mut response, caller);
    Ok(response)
}

/// Ends the session with this name.
pub async fn sign_out(app: &App, caller: &Caller, name: &str) -> Result<Response, PageError> {
    app.store.delete_session(name).await?;
    let mut response = back_with(&Flash::SignedOut, caller);
    browser::set_cookie(&mut response, caller, SESSION_COOKIE, "", 0);
    Ok(response)
}

/// Asks for the PIN, and says what became of the last one.
pub fn sign_in_page(app: &App, flash: Option<&Flash>) -> Response {
    let message = flash.and_then(Flash::sentence);
    let refused = flash.and_then(|flash| RefusedPin::of_flash(flash, app.clock.now()));
    let Some(refused) = refused else {
        return page(app, StatusCode::OK, None, message.as_deref());
    };
    let mut response = page(app, refused.status, Some(refused.notice), None);
    refused.set_retry_after(&mut response);
    response
}

/// Asks for the PIN after a form that another site may have sent.
pub fn not_from_this_page(app: &App) -> Response {
    let message = "That form did not come from this page. Please sign in again.";
    page(app, StatusCode::FORBIDDEN, None, Some(message))
}

fn page(app: &App, status: StatusCode, notice: Option<Notice>, message: Option<&str>) -> Response {
    let page = SignIn {
        upstream_name: &app.config.upstream.name,
        notice,
        message,
        landing_page: app.config.landing_page,
    };
    response::page(status, page.render())
}
