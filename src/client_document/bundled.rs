//! Copies of known clients' documents, as their publishers had them between August and October 2026.
//!
//! Some origins respond to cloud addresses with 403; then these copies are used. A valid live document always takes
//! precedence. The copies are checked like any other document whenever they are used.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::Value;

/// An array of documents, each with its `client_id`. To update one, replace it, and change the months above.
const DOCUMENTS: &str = include_str!("bundled.json");

static BY_CLIENT_ID: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let documents: Vec<Value> = serde_json::from_str(DOCUMENTS).unwrap_or_default();
    documents
        .into_iter()
        .filter_map(|document| {
            let client_id = document.get("client_id")?.as_str()?.to_owned();
            Some((client_id, document.to_string()))
        })
        .collect()
});

/// The copy of a client's document that ships with the program, as JSON text.
#[must_use]
pub fn bundled(client_id: &str) -> Option<&'static str> {
    BY_CLIENT_ID.get(client_id).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_document::{DocumentUrl, response::DOCUMENT_BYTES_MAX};

    #[test]
    fn every_bundled_document_is_found_by_its_own_url_and_has_what_is_required() {
        let documents: Vec<Value> = serde_json::from_str(DOCUMENTS).unwrap();
        assert_eq!(documents.len(), 8);
        assert_eq!(BY_CLIENT_ID.len(), documents.len());
        for document in documents {
            let client_id = document["client_id"].as_str().unwrap();
            assert_eq!(DocumentUrl::parse(client_id).unwrap().as_str(), client_id);
            let copy = bundled(client_id).unwrap();
            assert!(copy.len() <= DOCUMENT_BYTES_MAX);
            assert_eq!(serde_json::from_str::<Value>(copy).unwrap(), document);
            assert!(document["client_name"].is_string(), "{client_id}");
            assert!(!document["redirect_uris"].as_array().unwrap().is_empty());
        }
    }

    #[test]
    fn nothing_but_the_exact_url_finds_a_copy() {
        assert!(bundled("https://claude.ai/oauth/mcp-oauth-client-metadata").is_some());
        assert!(bundled("https://claude.ai/oauth/mcp-oauth-client-metadata/").is_none());
        assert!(bundled("https://claude.ai/oauth/mcp-oauth-client-metadata?").is_none());
        assert!(bundled("").is_none());
    }
}
