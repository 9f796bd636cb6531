//! The two discovery documents. They list only what this server supports.

use serde_json::{Value, json};

use super::{client_auth::AuthMethod, resource::BaseUrl, scope};

/// The path of the resource document, in front of the path of the resource (RFC 9728 §3).
const PROTECTED_RESOURCE_PATH: &str = "/.well-known/oauth-protected-resource";

/// The path of the key set.
const KEY_SET_PATH: &str = "/.well-known/jwks.json";

/// The features of the authorization server that depend on the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Whether `/register` is open.
    pub registration: bool,
    /// Whether client-id documents are accepted.
    pub client_documents: bool,
}

/// The metadata of the authorization server (RFC 8414 §2).
#[must_use]
pub fn authorization_server(base: &BaseUrl, features: Features) -> Value {
    let methods: Vec<_> = AuthMethod::ALL
        .into_iter()
        .map(AuthMethod::as_str)
        .collect();
    let mut document = json!({
        "issuer": base.as_str(),
        "authorization_endpoint": base.join("/authorize"),
        "token_endpoint": base.join("/token"),
        "revocation_endpoint": base.join("/revoke"),
        "scopes_supported": [scope::MCP, scope::OFFLINE_ACCESS],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    if features.registration {
        document["registration_endpoint"] = json!(base.join("/register"));
    }
    if features.client_documents {
        document["client_id_metadata_document_supported"] = json!(true);
    }
    document
}

/// The same metadata with the three members that `OpenID` Connect Discovery §3 also requires. Some clients read only this
/// document, and refuse it without them. This server issues no ID tokens: the scope `openid` is not among those it
/// supports, and the key set is empty.
#[must_use]
pub fn openid_configuration(base: &BaseUrl, features: Features) -> Value {
    let mut document = authorization_server(base, features);
    document["jwks_uri"] = json!(base.join(KEY_SET_PATH));
    document["subject_types_supported"] = json!(["public"]);
    // Discovery §3: RS256 must be in the list.
    document["id_token_signing_alg_values_supported"] = json!(["RS256"]);
    document
}

/// The key set of a server that signs nothing (RFC 7517 §5).
#[must_use]
pub fn key_set() -> Value {
    json!({ "keys": [] })
}

/// The metadata of the resource at `path` (RFC 9728 §2). It names exactly the requested URL (§3.3).
#[must_use]
pub fn protected_resource(base: &BaseUrl, path: &str, upstream: &str) -> Value {
    json!({
        "resource": base.join(path),
        "authorization_servers": [base.as_str()],
        "scopes_supported": [scope::MCP],
        "bearer_methods_supported": ["header"],
        "resource_name": format!("MCP server at {upstream}"),
    })
}

/// The URL of the resource document for an MCP path; the path follows the well-known prefix (RFC 9728 §3.1).
#[must_use]
pub fn protected_resource_url(base: &BaseUrl, path: &str) -> String {
    let path = if path == "/" { "" } else { path };
    base.join(&format!("{PROTECTED_RESOURCE_PATH}{path}"))
}
