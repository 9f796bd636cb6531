//! What the forms of the connections pages do.

use axum::response::Response;
use http::HeaderMap;

use super::{back_to, back_with, form::Action, session, token};
use crate::{
    app::{App, Caller},
    credential::ConnectionId,
    endpoint::{
        error::PageError,
        flash::Flash,
        pin::{self, KnownBrowser, PinCheck},
    },
    limit::{Limit, ToolNamesError},
    page::display,
    store::record::Stage,
};

/// Longest name in a message: it must fit into a cookie.
const MAX_NAME_CHARACTERS: usize = 60;
/// If another request changed the limit first, the two are compared again; after so many attempts the PIN decides.
const LIMIT_ATTEMPTS: usize = 3;

/// The owner who sent a form.
#[derive(Clone, Copy)]
pub struct Person<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub headers: &'a HeaderMap,
    /// The PIN as typed, if the form has a field for it.
    pub pin: &'a str,
}

impl Person<'_> {
    /// Asks for the PIN again before a client gets more than it has. The cookie of the session is not enough: over plain
    /// HTTP, other servers on the same host get it too, because cookies are not isolated by port (RFC 6265 §8.5).
    pub async fn confirm(self) -> Result<Result<KnownBrowser, Flash>, PageError> {
        let checked = pin::check(self.app, self.caller, self.headers, None, self.pin).await?;
        Ok(match checked {
            PinCheck::Accepted(browser) => Ok(browser),
            PinCheck::Refused(refused) => Err(Flash::PinRefused {
                reason: refused.reason(self.app.clock.now()),
                name: None,
                read_only: false,
            }),
        })
    }
}

/// Does it, and goes back to a page that says what was done.
pub async fn perform(
    person: Person<'_>,
    session_name: &str,
    action: Action,
) -> Result<Response, PageError> {
    let Person { app, caller, .. } = person;
    let now = app.clock.now();
    let done = match action {
        Action::SignOut => return session::sign_out(app, caller, session_name).await,
        Action::CreateToken(request) if app.config.manual_tokens => {
            return token::create(person, request).await;
        }
        Action::CreateToken(_) => return Err(PageError::nothing_here(app.config.landing_page)),
        Action::End(ids) => end(app, caller, &ids).await?,
        Action::EndAll => {
            // Also codes on their way: what was redeemed a moment later would have survived.
            for id in app.store.connection_ids().await? {
                end_one(app, caller, &id).await?;
            }
            Flash::EndedAll
        }
        Action::Rename(id, name) => {
            let renamed = app.store.rename_connection(&id, name.as_ref(), now).await?;
            return Ok(changed(caller, &id, renamed, Flash::Renamed));
        }
        Action::Limit(id, None) => return Ok(changed(caller, &id, true, Flash::Limited)),
        Action::Limit(id, Some(limit)) => return set_limit(person, &id, &limit, "edit").await,
        Action::Tools(id, Ok(names)) => {
            return set_limit(person, &id, &Limit::Tools(names), "tools").await;
        }
        Action::Tools(id, Err(ToolNamesError::TooMany | ToolNamesError::BadName)) => {
            return Ok(back_to("tools", &id, &Flash::TooManyTools, caller));
        }
    };
    Ok(back_with(&done, caller))
}

/// `page` has the form, and asks for the PIN again if it was wrong. Without the PIN the limit is set only if it is still the
/// one that allows as much: otherwise a session alone could undo what the owner sets at the same time.
async fn set_limit(
    person: Person<'_>,
    id: &ConnectionId,
    limit: &Limit,
    page: &str,
) -> Result<Response, PageError> {
    let Person { app, caller, .. } = person;
    let now = app.clock.now();
    let mut limited = false;
    for _ in 0..LIMIT_ATTEMPTS {
        let found = app.store.connection(id, now).await?;
        let Some(seen) = found.filter(|found| found.stage == Stage::Live) else {
            return Ok(changed(caller, id, false, Flash::Limited));
        };
        if limit.allows_more_than(&seen.limit) {
            break;
        }
        limited = app.store.replace_limit(id, &seen.limit, limit, now).await?;
        if limited {
            break;
        }
    }
    if !limited {
        if let Err(refused) = person.confirm().await? {
            return Ok(back_to(page, id, &refused, caller));
        }
        limited = app.store.set_limit(id, limit, now).await?;
    }
    if limited {
        tracing::info!(
            event = "limited",
            connection = id.as_str(),
            limit = limit.as_str(),
            address = caller.address_text(),
            "what a connection may do was changed on the connections page"
        );
    }
    Ok(changed(caller, id, limited, Flash::Limited))
}

/// Back to the page of the connection, or to the list if it has ended.
fn changed(caller: &Caller, id: &ConnectionId, exists: bool, done: Flash) -> Response {
    if exists {
        back_to("edit", id, &done, caller)
    } else {
        back_with(&Flash::NoSuchConnection, caller)
    }
}

async fn end(app: &App, caller: &Caller, ids: &[ConnectionId]) -> Result<Flash, PageError> {
    let mut name = None;
    if let [id] = ids {
        let connection = app.store.connection(id, app.clock.now()).await?;
        name = connection.map(|connection| display(&connection.shown_name(), MAX_NAME_CHARACTERS));
    }
    for id in ids {
        end_one(app, caller, id).await?;
    }
    Ok(match ids.len() {
        1 => Flash::Ended(name.unwrap_or_else(|| "The connection".to_owned())),
        count => Flash::EndedSeveral(count),
    })
}

async fn end_one(app: &App, caller: &Caller, id: &ConnectionId) -> Result<(), PageError> {
    app.store.end_connection(id).await?;
    tracing::info!(
        event = "revoked",
        by = "owner",
        connection = id.as_str(),
        address = caller.address_text(),
        "a connection was ended on the connections page"
    );
    Ok(())
}
