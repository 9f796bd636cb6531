//! The form of the consent page. What was decided when the page was shown is in the store and not in the form.

use crate::{
    connection_name::{ConnectionName, NameTooLong},
    limit::Limit,
    oauth::{error::OAuthError, params::Params},
};

/// The form as the person sent it.
pub struct Form {
    /// The id of the page.
    pub page_id: String,
    /// What the person decided.
    pub decision: Decision,
}

/// The decision.
pub enum Decision {
    /// To authorize the client, and to prove it.
    Authorize {
        /// The PIN as typed.
        pin: String,
        /// The name for the connection; `None` for that of the client.
        name: Option<ConnectionName>,
        /// What the connection may do.
        limit: Limit,
    },
    /// To refuse.
    Deny,
}

impl Form {
    /// Reads the form.
    ///
    /// # Errors
    /// When it has a field that the page does not have: somebody's attempt to change what was decided.
    pub fn parse(params: &Params) -> Result<Self, OAuthError> {
        params.no_duplicates()?;
        if !params.names().all(|name| {
            matches!(
                name,
                "page" | "username" | "pin" | "name" | "limit" | "decision"
            )
        }) {
            let description = "the form has a field that the page does not have";
            return Err(OAuthError::invalid_request(description));
        }
        let page_id = params.required("page")?.to_owned();
        let decision = match params.once("decision")? {
            // A password manager may submit the form without its button.
            Some("authorize") | None => Decision::Authorize {
                pin: params.once("pin")?.unwrap_or_default().to_owned(),
                name: name(params)?,
                limit: limit(params)?,
            },
            Some("deny") => Decision::Deny,
            Some(_) => {
                let description = "decision must be authorize or deny";
                return Err(OAuthError::invalid_request(description));
            }
        };
        Ok(Self { page_id, decision })
    }
}

fn name(params: &Params) -> Result<Option<ConnectionName>, OAuthError> {
    ConnectionName::parse(params.once("name")?.unwrap_or_default()).map_err(|NameTooLong| {
        OAuthError::invalid_request("the name is longer than 100 characters")
    })
}

/// Single tools are chosen on the connections page: the upstream's list is fetched for the owner only.
fn limit(params: &Params) -> Result<Limit, OAuthError> {
    match params.once("limit")? {
        Some("everything") | None => Ok(Limit::Everything),
        Some("read_only") => Ok(Limit::ReadOnly),
        Some(_) => {
            let description = "limit must be everything or read_only";
            Err(OAuthError::invalid_request(description))
        }
    }
}
