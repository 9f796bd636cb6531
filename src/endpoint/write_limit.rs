//! Taking from the limit on what a browser can make us write and fetch.

use http::HeaderMap;

use super::pin;
use crate::{
    app::{App, Caller},
    error::Unavailable,
};

/// Takes one from the limit of the address. Others may share the address (an office, a mobile network) and use its limit up;
/// then one is taken from that of known browsers, if the right PIN was entered in this one before.
///
/// # Errors
/// [`Limited::Wait`] when both are used up.
pub async fn take(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<(), Limited> {
    let now = app.clock.now();
    let Err(wait) = app.write_limits.take(caller.address, now) else {
        return Ok(());
    };
    if !pin::is_known_browser(app, caller, headers).await? {
        return Err(Limited::Wait(wait));
    }
    app.write_limits
        .take_for_known_browser(now)
        .map_err(Limited::Wait)
}

/// Why nothing could be taken.
pub enum Limited {
    /// The limit is used up; the seconds until it is not.
    Wait(u64),
    /// The browser could not be looked up.
    Unavailable(Unavailable),
}

impl From<Unavailable> for Limited {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}
