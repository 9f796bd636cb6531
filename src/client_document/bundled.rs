//! Copies of known clients' documents, as their publishers had them between August and October 2026.
//!
//! Some origins respond to cloud addresses with 403; then these copies are used. A valid live document always takes
//! precedence. The copies are checked like any other document whenever they are used.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use serde_json::{Value, json};

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
pub fn bundled(client_id: &str) -> Option<Cow<'static, str>> {
    match BY_CLIENT_ID.get(client_id) {
        Some(document) => Some(Cow::Borrowed(document)),
        None => of_chatgpt_connector(client_id).map(Cow::Owned),
    }
}

/// The client id of `ChatGPT` itself. Its document is the model for the documents of connectors.
const CHATGPT: &str = "https://chatgpt.com/oauth/client.json";
/// The longest id of a connector that is known has 12 characters.
const CONNECTOR_ID_MAX_CHARACTERS: usize = 64;

/// `ChatGPT` has a document for each connector, `https://chatgpt.com/oauth/ID/client.json`, which differs from
/// [`CHATGPT`] in its client id and in its redirect URI, `https://chatgpt.com/connector/oauth/ID`.
fn of_chatgpt_connector(client_id: &str) -> Option<String> {
    let id = client_id
        .strip_prefix("https://chatgpt.com/oauth/")?
        .strip_suffix("/client.json")?;
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if id.is_empty() || id.len() > CONNECTOR_ID_MAX_CHARACTERS || !id.bytes().all(is_word) {
        return None;
    }
    let mut document: Value = serde_json::from_str(BY_CLIENT_ID.get(CHATGPT)?).ok()?;
    document["client_id"] = client_id.into();
    document["redirect_uris"] = json!([format!("https://chatgpt.com/connector/oauth/{id}")]);
    Some(document.to_string())
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
            assert_eq!(serde_json::from_str::<Value>(&copy).unwrap(), document);
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

    #[test]
    fn each_connector_of_chatgpt_has_a_document_with_a_redirect_uri_of_its_own() {
        let read = |id: &str| -> Option<Value> {
            let client_id = format!("https://chatgpt.com/oauth/{id}/client.json");
            let document: Value = serde_json::from_str(&bundled(&client_id)?).unwrap();
            assert_eq!(document["client_id"], client_id);
            Some(document)
        };
        let document = read("OUbdUMlL15Ct").unwrap();
        let model: Value = serde_json::from_str(&bundled(CHATGPT).unwrap()).unwrap();
        assert_eq!(document["client_name"], "ChatGPT");
        assert_eq!(document["jwks_uri"], model["jwks_uri"]);
        assert_eq!(
            document["redirect_uris"],
            json!(["https://chatgpt.com/connector/oauth/OUbdUMlL15Ct"])
        );
        assert_eq!(read("codex").unwrap()["client_name"], "Codex");
        for other in ["", "a/b", "a%2Fb", "a.b", "a b", "a?", &"a".repeat(65)] {
            assert!(read(other).is_none(), "{other}");
        }
        assert!(bundled("https://chatgpt.com/oauth/client.json/client.json").is_none());
    }
}
