//! The forms of the connections pages, as they were sent.

use super::token;
use crate::{
    connection_name::{ConnectionName, NameTooLong},
    credential::ConnectionId,
    limit::{Limit, ToolNames, ToolNamesError},
    oauth::{error::OAuthError, params::Params},
    store::record::MANUAL_TOKEN_DAYS,
};

/// A form.
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
        /// The PIN as typed, for actions that give a client more.
        pin: String,
    },
}

/// What the owner wants.
pub enum Action {
    /// To end these connections.
    End(Vec<ConnectionId>),
    /// To end all connections.
    EndAll,
    /// To change the name of a connection; `None` for that of its client.
    Rename(ConnectionId, Option<ConnectionName>),
    /// To change what a connection may do; `None` to leave the chosen tools as they are.
    Limit(ConnectionId, Option<Limit>),
    /// To let a connection use these tools.
    Tools(ConnectionId, Result<ToolNames, ToolNamesError>),
    /// To create a token.
    CreateToken(token::Request),
    /// To end the session.
    SignOut,
}

impl Form {
    /// Reads a form. Only the list that its action has may be repeated.
    ///
    /// # Errors
    /// When it is not as a page sends it.
    pub fn parse(params: &Params) -> Result<Self, OAuthError> {
        let action = params.required("action")?;
        params.no_duplicates_except(if action == "tools" {
            "tool"
        } else {
            "connection"
        })?;
        let action = match action {
            "sign-in" => {
                return Ok(Self::SignIn {
                    pin: params.once("pin")?.unwrap_or_default().to_owned(),
                });
            }
            "end" => Action::End(connections(params)?),
            "end-all" => Action::EndAll,
            "rename" => Action::Rename(connection(params)?, name(params)?),
            "limit" => Action::Limit(connection(params)?, limit(params)?),
            "tools" => {
                let names = params.all("tool").map(str::to_owned);
                Action::Tools(connection(params)?, ToolNames::new(names))
            }
            "create-token" => Action::CreateToken(token::Request {
                id: connection(params)?,
                name: name(params)?,
                days: days(params)?,
                limit: limit(params)?.ok_or_else(|| OAuthError::invalid_request(BAD_LIMIT))?,
            }),
            "sign-out" => Action::SignOut,
            _ => return Err(OAuthError::invalid_request("action is not known")),
        };
        Ok(Self::InSession {
            csrf: params.required("csrf")?.to_owned(),
            action,
            pin: params.once("pin")?.unwrap_or_default().to_owned(),
        })
    }
}

const BAD_LIMIT: &str = "limit is not known";

fn connection(params: &Params) -> Result<ConnectionId, OAuthError> {
    ConnectionId::parse(params.required("connection")?)
        .ok_or_else(|| OAuthError::invalid_request("connection is not an id"))
}

fn connections(params: &Params) -> Result<Vec<ConnectionId>, OAuthError> {
    let ids: Option<Vec<_>> = params.all("connection").map(ConnectionId::parse).collect();
    ids.filter(|ids| !ids.is_empty())
        .ok_or_else(|| OAuthError::invalid_request("connection is not an id"))
}

fn name(params: &Params) -> Result<Option<ConnectionName>, OAuthError> {
    ConnectionName::parse(params.once("name")?.unwrap_or_default()).map_err(|NameTooLong| {
        OAuthError::invalid_request("the name is longer than 100 characters")
    })
}

fn limit(params: &Params) -> Result<Option<Limit>, OAuthError> {
    match params.required("limit")? {
        "everything" => Ok(Some(Limit::Everything)),
        "read_only" => Ok(Some(Limit::ReadOnly)),
        "tools" => Ok(None),
        _ => Err(OAuthError::invalid_request(BAD_LIMIT)),
    }
}

fn days(params: &Params) -> Result<u64, OAuthError> {
    let days = params.required("days")?.parse().ok();
    days.filter(|days| MANUAL_TOKEN_DAYS.contains(days))
        .ok_or_else(|| OAuthError::invalid_request("days is not one of the choices"))
}
