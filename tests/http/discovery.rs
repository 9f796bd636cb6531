//! The discovery documents (RFC 8414, RFC 9728) at every path where clients look for them, and the challenge that
//! leads there.

use serde_json::json;

use crate::support::world::World;

const SERVER_PATHS: [&str; 6] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/oauth-authorization-server/mcp/",
    "/.well-known/oauth-authorization-server/mcp-2",
    "/.well-known/oauth-authorization-server/mcp/x/all",
];

const OPENID_PATHS: [&str; 7] = [
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
    "/.well-known/openid-configuration/mcp/",
    "/.well-known/openid-configuration/mcp-home",
    "/mcp/.well-known/openid-configuration",
    "/mcp-2/.well-known/openid-configuration",
    "/mcp/x/.well-known/openid-configuration",
];

#[tokio::test]
async fn the_authorization_server_metadata_is_complete_and_the_same_at_every_path() {
    let w = World::start().await;
    let methods = json!(["none", "client_secret_basic", "client_secret_post"]);
    let document = json!({
        "issuer": w.base,
        "authorization_endpoint": w.url("/authorize"),
        "token_endpoint": w.url("/token"),
        "registration_endpoint": w.url("/register"),
        "revocation_endpoint": w.url("/revoke"),
        "scopes_supported": ["mcp", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
    });
    // OpenID Connect Discovery §3 requires three more; clients that read only this document refuse it without them.
    let mut openid = document.clone();
    openid["jwks_uri"] = json!(w.url("/.well-known/jwks.json"));
    openid["subject_types_supported"] = json!(["public"]);
    openid["id_token_signing_alg_values_supported"] = json!(["RS256"]);
    let key_set = json!({ "keys": [] });
    let paths = SERVER_PATHS
        .map(|path| (path, &document))
        .into_iter()
        .chain(OPENID_PATHS.map(|path| (path, &openid)))
        .chain([("/.well-known/jwks.json", &key_set)]);
    for (path, document) in paths {
        let response = w.get(path).send().await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(
            response.header("content-type"),
            "application/json",
            "{path}"
        );
        assert_eq!(
            response.header("access-control-allow-origin"),
            "*",
            "{path}"
        );
        assert_eq!(&response.json(), document, "{path}");
        let head = w.request("HEAD", path).send().await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
}

#[tokio::test]
async fn each_protected_resource_document_names_exactly_the_requested_resource() {
    let w = World::start().await;
    for path in [
        "",
        "/",
        "/mcp",
        "/mcp/",
        "/mcp-2",
        "/mcp/x/all",
        "/mcp-home/",
    ] {
        let at = format!("/.well-known/oauth-protected-resource{path}");
        let response = w.get(&at).send().await;
        assert_eq!(response.status, 200, "{at}");
        let document = response.json();
        let named = if path == "/" { "" } else { path };
        assert_eq!(document["resource"], w.url(named), "{at}");
        assert_eq!(document["authorization_servers"], json!([w.base]), "{at}");
        assert_eq!(
            document["bearer_methods_supported"],
            json!(["header"]),
            "{at}"
        );
        // `offline_access` belongs to the authorization server (MCP 2026-07-28, Refresh Tokens).
        assert_eq!(document["scopes_supported"], json!(["mcp"]), "{at}");
    }
}

#[tokio::test]
async fn the_401_challenge_names_the_metadata_of_the_requested_path() {
    let w = World::start().await;
    for (path, at) in [
        ("/", ""),
        ("/mcp", "/mcp"),
        ("/mcp/", "/mcp/"),
        ("/mcp-2", "/mcp-2"),
        ("/mcp/x/all", "/mcp/x/all"),
    ] {
        let metadata = w.url(&format!("/.well-known/oauth-protected-resource{at}"));
        for (token, error) in [
            (None, ""),
            (Some("Basic eDp5"), ""),
            (Some("Bearer wrong"), "error=\"invalid_token\", "),
        ] {
            let mut call = w.post(path).json(&json!({}));
            if let Some(token) = token {
                call = call.header("authorization", token);
            }
            let response = call.send().await;
            assert_eq!(response.status, 401, "{path}");
            assert_eq!(
                response.header("www-authenticate"),
                format!("Bearer {error}resource_metadata=\"{metadata}\", scope=\"mcp\""),
            );
            // A Function URL renames the header on its way out, so the body says the same.
            assert_eq!(response.json()["resource_metadata"], metadata);
        }
        let document = w.get(metadata.strip_prefix(&w.base).unwrap()).send().await;
        assert_eq!(document.json()["resource"], w.url(at), "{path}");
    }
}

#[tokio::test]
async fn credentials_in_a_query_are_ignored() {
    let w = World::start().await;
    let one = w.connect().await;
    let code = w.code(&one.client_id).await;
    let before = w.dump();
    // RFC 6749 §3.2: parameters of the token endpoint are never in the URI; OAuth 2.1 §5.1.2: nor do tokens.
    let query = w.redeem(&one.client_id, &code).encode();
    for path in ["/token", "/revoke", "/register"] {
        let response = w
            .post(&format!("{path}?{query}&token={}", one.access))
            .form(&[])
            .send()
            .await;
        assert!(matches!(response.status, 400 | 415), "{path}: {response:?}");
    }
    let response = w
        .post(&format!("/mcp?access_token={}", one.access))
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(response.status, 401);
    let form = w
        .post("/mcp")
        .form(&[("access_token", &one.access)])
        .send()
        .await;
    assert_eq!(form.status, 401);
    assert_eq!(w.dump(), before);
    assert!(w.upstream.requests().is_empty());
}
