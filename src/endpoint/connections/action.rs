//! What the forms of the connections page do.

use axum::response::Response;

use super::{back_with, session};
use crate::{
    app::{App, Caller},
    credential::ConnectionId,
    endpoint::{error::PageError, flash::Flash},
    oauth::{error::OAuthError, params::Params},
    page::display,
};

/// Longest name in a message: it must fit into a cookie.
const MAX_NAME_CHARACTERS: usize = 60;

/// A form as it was sent.
pub enum Form {
    /// The PIN, before there is a session.
    SignIn {
        /// The PIN as typed.
        pin: String,
    },
    /// Something that needs a session.
    InSession {
        /// Proves that the form is one of the session's pages.
        csrf: String,
        /// What to do.
        action: Action,
    },
}

/// What the owner wants.
pub enum Action {
    /// To end these connections.
    End(Vec<ConnectionId>),
    /// To end all connections.
    EndAll,
    /// To end the session.
    SignOut,
}

impl Form {
    /// Reads a form. Only `connection` may be repeated.
    pub fn parse(params: &Params) -> Result<Self, OAuthError> {
        params.no_duplicates_except("connection")?;
        if params.required("action")? == "sign-in" {
            return Ok(Self::SignIn {
                pin: params.once("pin")?.unwrap_or_default().to_owned(),
            });
        }
        let action = match params.required("action")? {
            "end" => Action::End(connections(params)?),
            "end-all" => Action::EndAll,
            "sign-out" => Action::SignOut,
            _ => return Err(OAuthError::invalid_request("action is not known")),
        };
        Ok(Self::InSession {
            csrf: params.required("csrf")?.to_owned(),
            action,
        })
    }
}

fn connections(params: &Params) -> Result<Vec<ConnectionId>, OAuthError> {
    let ids: Option<Vec<_>> = params.all("connection").map(ConnectionId::parse).collect();
    ids.filter(|ids| !ids.is_empty())
        .ok_or_else(|| OAuthError::invalid_request("connection is not an id"))
}

/// Does it, and goes back to the list, which says what was done.
pub async fn perform(
    app: &App,
    caller: &Caller,
    session_name: &str,
    action: Action,
) -> Result<Response, PageError> {
    let done = match action {
        Action::SignOut => return session::sign_out(app, caller, session_name).await,
        Action::End(ids) => end(app, caller, &ids).await?,
        Action::EndAll => {
            // Also codes on their way: what was redeemed a moment later would have survived.
            for id in app.store.connection_ids().await? {
                end_one(app, caller, &id).await?;
            }
            Flash::EndedAll
        }
    };
    Ok(back_with(&done, caller))
}

async fn end(app: &App, caller: &Caller, ids: &[ConnectionId]) -> Result<Flash, PageError> {
    let name = match ids {
        [id] => {
            let connection = app.store.connection(id, app.clock.now()).await?;
            connection.and_then(|connection| connection.client_name)
        }
        _ => None,
    };
    for id in ids {
        end_one(app, caller, id).await?;
    }
    Ok(match ids.len() {
        1 => Flash::Ended(display(
            name.as_deref().unwrap_or("The connection"),
            MAX_NAME_CHARACTERS,
        )),
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
