//! What the forms of the connections pages do.

use axum::response::Response;

use super::{back_to, back_with, form::Action, session, token};
use crate::{
    app::{App, Caller},
    credential::ConnectionId,
    endpoint::{error::PageError, flash::Flash},
    limit::{Limit, ToolNamesError},
    page::display,
};

/// Longest name in a message: it must fit into a cookie.
const MAX_NAME_CHARACTERS: usize = 60;

/// Does it, and goes back to a page that says what was done.
pub async fn perform(
    app: &App,
    caller: &Caller,
    session_name: &str,
    action: Action,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let done = match action {
        Action::SignOut => return session::sign_out(app, caller, session_name).await,
        Action::CreateToken(request) if app.config.manual_tokens => {
            return token::create(app, caller, request).await;
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
        Action::Limit(id, Some(limit)) => return set_limit(app, caller, &id, &limit).await,
        Action::Tools(id, Ok(names)) => {
            return set_limit(app, caller, &id, &Limit::Tools(names)).await;
        }
        Action::Tools(id, Err(ToolNamesError::TooMany | ToolNamesError::BadName)) => {
            return Ok(back_to("tools", &id, &Flash::TooManyTools, caller));
        }
    };
    Ok(back_with(&done, caller))
}

async fn set_limit(
    app: &App,
    caller: &Caller,
    id: &ConnectionId,
    limit: &Limit,
) -> Result<Response, PageError> {
    let limited = app.store.set_limit(id, limit, app.clock.now()).await?;
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
