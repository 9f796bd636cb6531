//! The form of the consent page. What was decided when the page was shown is in the store and not in the form.

use crate::oauth::{error::OAuthError, params::Params};

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
        if !params
            .names()
            .all(|name| matches!(name, "page" | "username" | "pin" | "decision"))
        {
            let description = "the form has a field that the page does not have";
            return Err(OAuthError::invalid_request(description));
        }
        let page_id = params.required("page")?.to_owned();
        let decision = match params.once("decision")? {
            // A password manager may submit the form without its button.
            Some("authorize") | None => Decision::Authorize {
                pin: params.once("pin")?.unwrap_or_default().to_owned(),
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
