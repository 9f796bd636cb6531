//! What the next page says. Every form is answered with a redirect, so that reloading the page does not send the form again;
//! a cookie carries the message over the redirect. It is shown once.
//!
//! The browser can write into this cookie whatever it likes, and so can other servers on the same machine over plain http.
//! So it holds no text but names, and it decides nothing: tries are counted in the store.

use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::browser;
use crate::app::Caller;

const COOKIE: &str = "message";
/// The redirect is followed at once.
const LIFETIME_SECONDS: u64 = 60;

/// A message for the next page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flash {
    /// The PIN was not accepted.
    PinRefused {
        /// Why.
        reason: PinRefusal,
        /// What was typed into the field for the name, if the page has one.
        name: Option<String>,
        /// Whether "Read only" was chosen.
        read_only: bool,
    },
    /// The session has ended, so nothing was done.
    SessionEnded,
    /// The form did not belong to this session, so nothing was done.
    OutOfDate,
    /// The person signed out.
    SignedOut,
    /// No connection was selected.
    NothingSelected,
    /// There is no such connection, any more or yet.
    NoSuchConnection,
    /// The connection has another name.
    Renamed,
    /// The connection has another limit.
    Limited,
    /// More tools were chosen than can be stored.
    TooManyTools,
    /// The form created its token before.
    TokenExists,
    /// The connection with this name was ended.
    Ended(String),
    /// So many connections were ended.
    EndedSeveral(usize),
    /// All connections were ended.
    EndedAll,
}

/// Why a PIN was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinRefusal {
    /// There was none.
    Missing,
    /// It was wrong, and so many tries are left before a waiting time.
    Wrong(u8),
    /// It was not compared, and none will be before this time in unix seconds.
    WaitUntil(u64),
    /// None is accepted for the rest of the day.
    ClosedForToday,
}

impl Flash {
    /// The message that the browser brings from the page before.
    pub fn of_request(caller: &Caller, headers: &HeaderMap) -> Option<Self> {
        let value = browser::cookie_text(caller, headers, COOKIE)?;
        let json = URL_SAFE_NO_PAD.decode(value).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Sends it to the next page.
    pub fn set_on(&self, response: &mut Response, caller: &Caller) {
        if let Ok(json) = serde_json::to_vec(self) {
            let value = URL_SAFE_NO_PAD.encode(json);
            browser::set_cookie(response, caller, COOKIE, &value, LIFETIME_SECONDS);
        }
    }

    /// Removes the message after it was shown.
    pub fn clear(response: &mut Response, caller: &Caller) {
        browser::set_cookie(response, caller, COOKIE, "", 0);
    }

    /// The message as a sentence; `None` for those about a PIN, which the PIN field shows itself.
    pub fn sentence(&self) -> Option<String> {
        Some(match self {
            Self::PinRefused { .. } => return None,
            Self::SessionEnded => "Your session has ended. Please sign in again.".to_owned(),
            Self::OutOfDate => {
                "That page was out of date, so nothing was changed. Please try again.".to_owned()
            }
            Self::SignedOut => "You are signed out.".to_owned(),
            Self::NothingSelected => "Select the connections to end first.".to_owned(),
            Self::NoSuchConnection => "That connection has ended.".to_owned(),
            Self::Renamed => "The name was changed.".to_owned(),
            Self::Limited => "Saved. It applies from the next call on.".to_owned(),
            Self::TooManyTools => {
                "Nothing was changed: at most 1,000 tools can be chosen. Choose fewer, or allow everything.".to_owned()
            }
            Self::TokenExists => {
                "This form has created its token already, which is shown only once. Create another one.".to_owned()
            }
            Self::Ended(name) => format!("{name} was ended."),
            Self::EndedSeveral(count) => format!("{count} connections were ended."),
            Self::EndedAll => "All connections were ended.".to_owned(),
        })
    }
}
