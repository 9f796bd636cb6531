//! Whether clients find out where to sign in: the challenge and the documents.

use serde_json::Value;
use url::Url;

use super::super::{
    observe::{Challenge, Observed, document, origin},
    probe::Probe,
    report::Finding,
};

/// The `WWW-Authenticate` header of the 401 (RFC 9728 §5.1).
pub fn challenge(observed: &Observed) -> Finding {
    const CHECK: &str = "challenge";
    let Ok(answer) = observed.call.as_ref() else {
        return Finding::skip(CHECK, "no response");
    };
    let Some(challenge) = Challenge::of(answer) else {
        if answer.status.is_success() {
            return Finding::skip(CHECK, "no sign-in is asked for");
        }
        let what = "the response has no WWW-Authenticate header: ChatGPT shows \"does not implement OAuth\"";
        return Finding::warn(
            CHECK,
            what,
            "send WWW-Authenticate: Bearer resource_metadata=\"…\" with the 401",
        );
    };
    if challenge.renamed {
        let what = "WWW-Authenticate is renamed to x-amzn-remapped-www-authenticate, as a Function URL does: \
                    clients do not look for that name. Most find the documents anyway; ChatGPT may not";
        return Finding::warn(
            CHECK,
            what,
            "put CloudFront in front of the function if a client stops here",
        );
    }
    let Some(metadata) = challenge.resource_metadata.as_deref() else {
        let what = "WWW-Authenticate has no resource_metadata";
        return Finding::warn(
            CHECK,
            what,
            "name the resource document in it (RFC 9728 §5.1)",
        );
    };
    let Ok(at) = Url::parse(metadata) else {
        let what = format!(
            "resource_metadata is not an absolute URL ({metadata}): claude.ai ignores it silently"
        );
        return Finding::fail(
            CHECK,
            what,
            "send the whole URL, with https:// and the host",
        );
    };
    if at.origin() != observed.url.origin() {
        let what = format!(
            "resource_metadata leads to another origin ({})",
            origin(&at)
        );
        return Finding::fail(
            CHECK,
            what,
            "the server does not know its public address: set BASE_URL, or forward the host name",
        );
    }
    Finding::pass(CHECK, "401 with the URL of the resource document")
}

/// Says what is wrong with the place where a document should be.
fn missing(probe: &Probe) -> String {
    match probe {
        Err(failure) => failure.to_string(),
        Ok(answer) if answer.is_html() => {
            format!("status {} with a web page instead of JSON", answer.status)
        }
        Ok(answer) if answer.status.is_success() => "what is there is not JSON".to_owned(),
        Ok(answer) => match answer.redirected() {
            Some(to) => format!("status {}, redirected to {to}", answer.status),
            None => format!("status {}", answer.status),
        },
    }
}

/// The document of the resource (RFC 9728).
pub fn resource_document(observed: &Observed) -> Finding {
    const CHECK: &str = "resource document";
    let Some((answer, document)) = observed.resource() else {
        let what = format!(
            "{} at /.well-known/oauth-protected-resource{}",
            missing(&observed.resource_document),
            observed.url.path()
        );
        return Finding::fail(
            CHECK,
            what,
            "serve the document there; something in front must let /.well-known/ pass",
        );
    };
    let resource = document["resource"].as_str().unwrap_or_default();
    if !is_same(resource, &observed.url) {
        let what = format!(
            "it is about {resource}, not about {}: clients stop, or get a token for another resource",
            observed.url
        );
        return Finding::fail(
            CHECK,
            what,
            "set BASE_URL to the address that you type into the client",
        );
    }
    let servers = document["authorization_servers"].as_array();
    if !servers.is_some_and(|servers| {
        servers
            .iter()
            .any(|server| server.as_str().is_some_and(|text| Url::parse(text).is_ok()))
    }) {
        let what = "it names no authorization server";
        return Finding::fail(
            CHECK,
            what,
            "list one in authorization_servers (RFC 9728 §2)",
        );
    }
    if observed
        .challenged_document
        .as_ref()
        .is_some_and(|probe| document_of(probe).is_none())
    {
        let what = format!(
            "the challenge leads nowhere: {}",
            observed
                .challenged_document
                .as_ref()
                .map(missing)
                .unwrap_or_default()
        );
        return Finding::fail(CHECK, what, "name the URL of the document in the challenge");
    }
    Finding::pass(CHECK, format!("found at {}", answer.url.path()))
}

fn document_of(probe: &Probe) -> Option<Value> {
    document(probe).map(|(_, document)| document)
}

/// Whether the text is this URL, with or without a slash at its end.
fn is_same(text: &str, url: &Url) -> bool {
    text.trim_end_matches('/') == url.as_str().trim_end_matches('/')
}

/// The document of the authorization server (RFC 8414).
pub fn server_document(observed: &Observed) -> Finding {
    const CHECK: &str = "server document";
    let Some((answer, document)) = observed.server() else {
        let what = format!(
            "{} at /.well-known/oauth-authorization-server",
            missing(&observed.server_document)
        );
        return Finding::fail(CHECK, what, "serve the document there (RFC 8414 §3)");
    };
    let issuer = document["issuer"].as_str().unwrap_or_default();
    if !is_same(issuer, &observed.issuer) {
        let what = format!(
            "its issuer is {issuer}, not {}: Claude Code and the SDKs stop at any difference",
            observed.issuer
        );
        return Finding::fail(
            CHECK,
            what,
            "set BASE_URL to the address that you type into the client",
        );
    }
    for name in ["authorization_endpoint", "token_endpoint"] {
        let endpoint = document[name]
            .as_str()
            .and_then(|text| Url::parse(text).ok());
        let Some(endpoint) = endpoint else {
            let what = format!("it has no {name}");
            return Finding::fail(CHECK, what, "complete the document (RFC 8414 §2)");
        };
        if answer.url.scheme() == "https" && endpoint.scheme() != "https" {
            let what = format!("{name} begins with http");
            return Finding::fail(
                CHECK,
                what,
                "the server does not know that it is reached by https: set BASE_URL",
            );
        }
    }
    let lists = |name: &str, word: &str| {
        document[name]
            .as_array()
            .is_some_and(|words| words.iter().any(|w| w == word))
    };
    if !lists("code_challenge_methods_supported", "S256") {
        let what =
            "code_challenge_methods_supported has no S256: clients that check refuse to continue";
        return Finding::fail(
            CHECK,
            what,
            "support PKCE with S256 and list it (OAuth 2.1)",
        );
    }
    let methods = &document["token_endpoint_auth_methods_supported"];
    if methods.is_array() && !lists("token_endpoint_auth_methods_supported", "none") {
        let what = "token_endpoint_auth_methods_supported has no \"none\": claude.ai then does not use its client document, \
                    and clients without a secret stop";
        return Finding::warn(CHECK, what, "allow public clients");
    }
    if !lists("grant_types_supported", "refresh_token") {
        let what = "grant_types_supported has no refresh_token: people must sign in again whenever a token expires";
        return Finding::warn(CHECK, what, "issue refresh tokens");
    }
    Finding::pass(
        CHECK,
        "complete; its issuer is the one that the resource names",
    )
}

/// Whether the document for `OpenID` says the same.
pub fn openid_document(observed: &Observed) -> Finding {
    const CHECK: &str = "documents agree";
    let (Some(server), Some(openid)) = (
        document_of(&observed.server_document),
        document_of(&observed.openid_document),
    ) else {
        return Finding::skip(
            CHECK,
            "there is only one document of the authorization server",
        );
    };
    let differs = [
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
    ]
    .into_iter()
    .find(|name| server[*name] != openid[*name]);
    match differs {
        Some(name) => {
            let what = format!(
                "{name} differs between oauth-authorization-server and openid-configuration"
            );
            Finding::warn(
                CHECK,
                what,
                "clients read one or the other: make them the same",
            )
        }
        None => Finding::pass(
            CHECK,
            "oauth-authorization-server and openid-configuration say the same",
        ),
    }
}
