//! Checking the PIN of a form, and telling the person, the log and the alarms what became of it.

use axum::response::Response;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use super::{
    browser,
    flash::{Flash, PinRefusal},
    response,
};
use crate::{
    app::{App, Caller},
    credential::Fingerprint,
    error::Unavailable,
    page::{Notice, Page},
    pin::{ALARM_WRONG_TRIES, DAY_SECONDS, KNOWN_BROWSER_SECONDS, Source},
    store::{PinOutcome, PinTry},
};

/// Name of the cookie by which a browser is known in which the right PIN was entered.
const KNOWN_BROWSER_COOKIE: &str = "browser";
/// Seconds after which a person is told to come back when the day's allowance is used up.
const CLOSED_RETRY_SECONDS: u64 = 3600;

/// What a PIN leads to.
pub enum PinCheck {
    /// It is right.
    Accepted(KnownBrowser),
    /// It is wrong, or was not compared.
    Refused(RefusedPin),
}

/// The browser in which the right PIN was entered. At each right PIN it gets a fresh value, whatever it sent: one that was
/// planted beforehand must not become a known one, and the 90 days begin again.
pub struct KnownBrowser {
    cookie: Option<String>,
}

impl KnownBrowser {
    /// Sets the cookie by which the browser is known next time.
    pub fn set_cookie(&self, response: &mut Response, caller: &Caller) {
        if let Some(cookie) = &self.cookie {
            let seconds = KNOWN_BROWSER_SECONDS;
            browser::set_cookie(response, caller, KNOWN_BROWSER_COOKIE, cookie, seconds);
        }
    }
}

/// What the page says instead.
pub struct RefusedPin {
    /// 403 for a wrong PIN, 429 for one that was not compared.
    pub status: StatusCode,
    /// What the page says above the field.
    pub notice: Notice,
    /// Seconds until the next try is compared.
    wait: Option<u64>,
}

impl RefusedPin {
    /// The reason, for the page after the redirect.
    pub fn reason(&self, now: u64) -> PinRefusal {
        match self.notice {
            Notice::NoPin => PinRefusal::Missing,
            Notice::WrongPin { tries_left } => {
                PinRefusal::Wrong(u8::try_from(tries_left).unwrap_or(u8::MAX))
            }
            Notice::Wait { seconds } => PinRefusal::WaitUntil(now + seconds),
            Notice::ClosedForToday => PinRefusal::ClosedForToday,
        }
    }

    /// The same on that page; `None` if the message is another one, or the time to wait is over.
    pub fn of_flash(flash: &Flash, now: u64) -> Option<Self> {
        let Flash::PinRefused { reason, .. } = flash else {
            return None;
        };
        match *reason {
            PinRefusal::Missing => Some(missing()),
            PinRefusal::Wrong(tries_left) => Some(wrong(tries_left.into())),
            PinRefusal::WaitUntil(time) => Some(time.saturating_sub(now))
                .filter(|seconds| *seconds > 0)
                .map(|seconds| must_wait(seconds.min(DAY_SECONDS))),
            PinRefusal::ClosedForToday => Some(closed_for_today()),
        }
    }

    /// A page that asks for the PIN, with the status of the refusal, if there was one.
    pub fn page(refused: Option<&Self>, page: Page) -> Response {
        let status = refused.map_or(StatusCode::OK, |refused| refused.status);
        let mut response = response::page(status, page);
        if let Some(refused) = refused {
            refused.set_retry_after(&mut response);
        }
        response
    }

    /// Adds `Retry-After` to the page.
    pub fn set_retry_after(&self, page: &mut Response) {
        if let Some(wait) = self.wait {
            page.headers_mut().insert(RETRY_AFTER, wait.into());
        }
    }
}

/// Checks the PIN under the throttle. `client_id` is for the log, where there is one.
pub async fn check(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    client_id: Option<&str>,
    pin: &str,
) -> Result<PinCheck, Unavailable> {
    if pin.trim().is_empty() {
        return Ok(PinCheck::Refused(missing()));
    }
    let secret = app.secrets.get_for_pin().await?;
    let now = app.clock.now();
    let browser = known_browser(app, caller, headers)
        .await?
        .map(Fingerprint::of);
    let attempt = PinTry {
        source: &Source::of(caller.address),
        browser: browser.as_ref(),
        daily_tries: secret.pin.daily_tries(),
        now,
    };
    let outcome = app.store.check_pin(attempt, || secret.pin.is(pin)).await?;
    log(caller, client_id, outcome);
    Ok(match outcome {
        PinOutcome::Right => PinCheck::Accepted(KnownBrowser {
            cookie: new_cookie(app, now).await,
        }),
        PinOutcome::Wrong { left, wait, .. } => PinCheck::Refused(match wait {
            Some(wait) => must_wait(wait),
            None => wrong(u32::try_from(left).unwrap_or(u32::MAX)),
        }),
        PinOutcome::Blocked { wait } => PinCheck::Refused(must_wait(wait)),
        PinOutcome::ClosedForToday => PinCheck::Refused(closed_for_today()),
    })
}

/// Whether the right PIN was entered in this browser during the last 90 days.
pub async fn is_known_browser(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<bool, Unavailable> {
    Ok(known_browser(app, caller, headers).await?.is_some())
}

/// The cookie of a known browser, if this is one.
async fn known_browser<'a>(
    app: &App,
    caller: &Caller,
    headers: &'a HeaderMap,
) -> Result<Option<&'a str>, Unavailable> {
    let Some(cookie) = browser::cookie_text(caller, headers, KNOWN_BROWSER_COOKIE) else {
        return Ok(None);
    };
    let is_known = app.store.is_known_browser(cookie, app.clock.now()).await?;
    Ok(is_known.then_some(cookie))
}

async fn new_cookie(app: &App, now: u64) -> Option<String> {
    match app.store.known_browser_cookie(now).await {
        Ok(cookie) => Some(cookie),
        Err(error) => {
            tracing::warn!(event = "unavailable", detail = %error, "the browser was not remembered");
            None
        }
    }
}

fn missing() -> RefusedPin {
    RefusedPin {
        status: StatusCode::FORBIDDEN,
        notice: Notice::NoPin,
        wait: None,
    }
}

fn wrong(tries_left: u32) -> RefusedPin {
    RefusedPin {
        status: StatusCode::FORBIDDEN,
        notice: Notice::WrongPin { tries_left },
        wait: None,
    }
}

fn closed_for_today() -> RefusedPin {
    RefusedPin {
        status: StatusCode::TOO_MANY_REQUESTS,
        notice: Notice::ClosedForToday,
        wait: Some(CLOSED_RETRY_SECONDS),
    }
}

fn must_wait(seconds: u64) -> RefusedPin {
    RefusedPin {
        status: StatusCode::TOO_MANY_REQUESTS,
        notice: Notice::Wait { seconds },
        wait: Some(seconds),
    }
}

fn log(caller: &Caller, client_id: Option<&str>, outcome: PinOutcome) {
    let address = caller.address_text();
    match outcome {
        PinOutcome::Right => {}
        PinOutcome::Wrong { wrong_today, .. } => {
            tracing::warn!(
                event = "wrong_pin",
                client_id,
                address,
                wrong_today,
                "a wrong PIN was given"
            );
            if wrong_today == ALARM_WRONG_TRIES {
                tracing::error!(
                    event = "wrong_pin_alarm",
                    wrong_today,
                    "many wrong PINs today"
                );
            }
        }
        PinOutcome::Blocked { wait } => {
            tracing::warn!(
                event = "pin_blocked",
                client_id,
                address,
                wait,
                "a PIN was not compared"
            );
        }
        PinOutcome::ClosedForToday => {
            tracing::error!(
                event = "pin_closed",
                client_id,
                address,
                "the day's allowance of wrong PINs is used up"
            );
        }
    }
}
