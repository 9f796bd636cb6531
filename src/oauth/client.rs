//! Client metadata, from a registration request (RFC 7591) or from a client-id document.

use serde_json::{Map, Value, json};

use super::{
    client_auth::AuthMethod,
    error::{ErrorCode, OAuthError},
    json::Entries,
    redirect_uri::RedirectUri,
};

/// Most redirect URIs of one client. Cursor registers five, other clients one or two.
const MAX_REDIRECT_URIS: usize = 32;
/// Most bytes of all of them together, so that a registration is a small write.
const MAX_REDIRECT_URIS_BYTES: usize = 4096;
/// Longest client name; the pages show much less of it.
const MAX_CLIENT_NAME_CHARACTERS: usize = 256;

/// Client metadata that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMetadata {
    /// `client_name`: chosen by whoever registers the client, so it must not be trusted.
    pub client_name: Option<String>,
    /// At least one redirect URI.
    pub redirect_uris: Vec<RedirectUri>,
    /// The authentication method that applies.
    pub auth_method: AuthMethod,
    /// Whether it gets refresh tokens: yes, unless its `grant_types` say otherwise.
    pub refresh: bool,
}

impl ClientMetadata {
    /// Parses a registration request (RFC 7591 §2). Unknown fields are ignored, as the RFC requires.
    ///
    /// # Errors
    /// `invalid_redirect_uri` or `invalid_client_metadata` with the reason.
    pub fn from_registration(body: &[u8]) -> Result<Self, OAuthError> {
        let metadata = object(body)?;
        let auth_method = match text(&metadata, "token_endpoint_auth_method")? {
            // RFC 7591 §2 makes client_secret_basic the default. In practice a client that names no method is a public
            // one; the response tells it the method that applies.
            None => AuthMethod::None,
            Some(name) => AuthMethod::parse(name).ok_or_else(|| {
                invalid("token_endpoint_auth_method must be none, client_secret_basic or client_secret_post")
            })?,
        };
        Self::from_object(&metadata, auth_method)
    }

    /// Parses a client-id metadata document (draft-ietf-oauth-client-id-metadata-document §4).
    ///
    /// # Errors
    /// When it is not the document of that client, or needs something that this server does not support.
    pub fn from_document(client_id: &str, body: &[u8]) -> Result<Self, OAuthError> {
        let metadata = object(body)?;
        if text(&metadata, "client_id")? != Some(client_id) {
            return Err(invalid(
                "the document's client_id is not the URL it was read from",
            ));
        }
        if text(&metadata, "client_name")?.is_none() {
            return Err(invalid("the document has no client_name"));
        }
        // §4.1: a document is public, so it must neither contain nor rely on a shared secret.
        if metadata.contains_key("client_secret")
            || metadata.contains_key("client_secret_expires_at")
        {
            return Err(invalid(
                "a client-id document must not contain a client secret",
            ));
        }
        if has_private_key(&metadata) {
            return Err(invalid(
                "the document publishes a private key: replace that key and remove it from the document",
            ));
        }
        // A document that prefers another method but also offers `none` is taken as `none`
        // (OpenID Connect RP Metadata Choices).
        let offers_none = text(&metadata, "token_endpoint_auth_method")?
            .is_none_or(|method| method == "none")
            || strings(&metadata, "token_endpoint_auth_methods_supported")?
                .is_some_and(|methods| methods.contains(&"none"));
        if !offers_none {
            return Err(invalid(
                "a client with a client-id document must support the authentication method `none`",
            ));
        }
        Self::from_object(&metadata, AuthMethod::None)
    }

    fn from_object(
        metadata: &Map<String, Value>,
        auth_method: AuthMethod,
    ) -> Result<Self, OAuthError> {
        let invalid_uri = |reason| OAuthError::new(ErrorCode::InvalidRedirectUri, reason);
        let uris = strings(metadata, "redirect_uris")
            .map_err(|_| invalid_uri("redirect_uris must be an array of strings"))?
            .ok_or_else(|| invalid_uri("at least one redirect URI is required"))?;
        if uris.len() > MAX_REDIRECT_URIS {
            return Err(invalid_uri("more than 32 redirect URIs"));
        }
        if uris.iter().map(|uri| uri.len()).sum::<usize>() > MAX_REDIRECT_URIS_BYTES {
            return Err(invalid_uri(
                "the redirect URIs together are longer than 4096 bytes",
            ));
        }
        let redirect_uris = uris
            .into_iter()
            .map(RedirectUri::parse)
            .collect::<Result<_, _>>()
            .map_err(invalid_uri)?;

        let client_name = text(metadata, "client_name")?;
        if client_name.is_some_and(|name| {
            name.chars().count() > MAX_CLIENT_NAME_CHARACTERS || name.chars().any(char::is_control)
        }) {
            return Err(invalid(
                "client_name is longer than 256 characters or contains control characters",
            ));
        }
        let grant_types = strings(metadata, "grant_types")?;
        if grant_types
            .as_ref()
            .is_some_and(|types| !types.contains(&"authorization_code"))
        {
            return Err(invalid("grant_types must include authorization_code"));
        }
        if strings(metadata, "response_types")?.is_some_and(|types| !types.contains(&"code")) {
            return Err(invalid("response_types must include code"));
        }
        Ok(Self {
            client_name: client_name.map(str::to_owned),
            redirect_uris,
            auth_method,
            refresh: grant_types.is_none_or(|types| types.contains(&"refresh_token")),
        })
    }

    /// The response to a registration (RFC 7591 §3.2.1): the values that apply, and the secret, which is shown only here.
    #[must_use]
    pub fn to_registration_response(
        &self,
        client_id: &str,
        issued_at: u64,
        client_secret: Option<&str>,
    ) -> Value {
        let mut response = json!({
            "client_id": client_id,
            "client_id_issued_at": issued_at,
            "redirect_uris": self.redirect_uris,
            "token_endpoint_auth_method": self.auth_method.as_str(),
            "grant_types": if self.refresh { vec!["authorization_code", "refresh_token"] } else { vec!["authorization_code"] },
            "response_types": ["code"],
        });
        if let Some(name) = &self.client_name {
            response["client_name"] = json!(name);
        }
        if let Some(secret) = client_secret {
            response["client_secret"] = json!(secret);
            // Zero: it does not expire (RFC 7591 §3.2.1).
            response["client_secret_expires_at"] = json!(0);
        }
        response
    }
}

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, description)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, OAuthError> {
    let Entries::<Value>(entries) =
        serde_json::from_slice(body).map_err(|_| invalid("the metadata is not a JSON object"))?;
    let count = entries.len();
    let map: Map<_, _> = entries.into_iter().collect();
    // Parsers differ on which of two values counts, and an attacker can use that.
    if map.len() < count {
        return Err(invalid("a field is given more than once"));
    }
    Ok(without_empty_members(map))
}

/// The members that have a value. Serialisers write absent values in many ways: `null`, an empty string, an empty list,
/// a list of such elements. All of them count as absent, so the server's defaults apply (RFC 7591 §2).
fn without_empty_members(mut members: Map<String, Value>) -> Map<String, Value> {
    fn is_empty(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            Value::Array(values) => values.iter().all(is_empty),
            _ => false,
        }
    }
    members.retain(|_, value| !is_empty(value));
    for (name, value) in &mut members {
        // An empty redirect URI among others is an error of the client: nothing is guessed about redirect URIs.
        if name != "redirect_uris"
            && let Value::Array(values) = value
        {
            values.retain(|value| !is_empty(value));
        }
    }
    members
}

/// A string field.
fn text<'a>(metadata: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, OAuthError> {
    match metadata.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(OAuthError::new(
            ErrorCode::InvalidClientMetadata,
            format!("{name} must be a string"),
        )),
    }
}

/// A field that is an array of strings.
fn strings<'a>(
    metadata: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<Vec<&'a str>>, OAuthError> {
    let wrong = || {
        OAuthError::new(
            ErrorCode::InvalidClientMetadata,
            format!("{name} must be an array of strings"),
        )
    };
    match metadata.get(name) {
        None => Ok(None),
        Some(Value::Array(values)) => values
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .map(Some)
            .ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}

/// Whether a published key set contains a private or symmetric key (RFC 7517 §9.3): one of the members that RFC 7518 §6,
/// RFC 8037 §2 and the AKP key type define for them, at any depth, so that a malformed key set is recognised too.
fn has_private_key(metadata: &Map<String, Value>) -> bool {
    const PRIVATE_MEMBERS: [&str; 9] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"];
    fn holds(value: &Value) -> bool {
        match value {
            Value::Object(members) => members
                .iter()
                .any(|(name, value)| PRIVATE_MEMBERS.contains(&&**name) || holds(value)),
            Value::Array(values) => values.iter().any(holds),
            _ => false,
        }
    }
    metadata.get("jwks").is_some_and(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(body: &Value) -> Result<ClientMetadata, &'static str> {
        ClientMetadata::from_registration(body.to_string().as_bytes())
            .map_err(|error| error.code.as_str())
    }

    #[test]
    fn a_minimal_registration_is_a_public_client_with_refresh() {
        let client =
            register(&json!({"redirect_uris": ["https://example.com/cb"], "x": {"y": 1}})).unwrap();
        assert_eq!(client.auth_method, AuthMethod::None);
        assert!(client.refresh);
        let response = client.to_registration_response("id", 7, None);
        assert_eq!(
            response["grant_types"],
            json!(["authorization_code", "refresh_token"])
        );
        assert_eq!(response["token_endpoint_auth_method"], "none");
    }

    #[test]
    fn grant_types_without_refresh_token_are_honoured_and_unknown_ones_ignored() {
        let types = json!([
            "authorization_code",
            "urn:ietf:params:oauth:grant-type:jwt-bearer"
        ]);
        let client =
            register(&json!({"redirect_uris": ["https://example.com/cb"], "grant_types": types}))
                .unwrap();
        assert!(!client.refresh);
    }

    #[test]
    fn wrong_fields_are_named() {
        let uris = json!(["https://example.com/cb"]);
        for (body, code) in [
            (json!([]), "invalid_client_metadata"),
            (json!({}), "invalid_redirect_uri"),
            (json!({"redirect_uris": []}), "invalid_redirect_uri"),
            (
                json!({"redirect_uris": "https://example.com"}),
                "invalid_redirect_uri",
            ),
            (json!({"redirect_uris": [1]}), "invalid_redirect_uri"),
            (
                json!({"redirect_uris": ["javascript:alert(1)"]}),
                "invalid_redirect_uri",
            ),
            (
                json!({"redirect_uris": vec!["https://example.com/cb"; 33]}),
                "invalid_redirect_uri",
            ),
            (
                json!({"redirect_uris": uris, "client_name": "a".repeat(257)}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": uris, "client_name": "a\u{0}b"}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": uris, "client_name": 7}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": uris, "grant_types": ["implicit"]}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": uris, "response_types": ["token"]}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": uris, "token_endpoint_auth_method": "private_key_jwt"}),
                "invalid_client_metadata",
            ),
        ] {
            assert_eq!(register(&body).unwrap_err(), code, "{body}");
        }
    }

    #[test]
    fn a_document_must_be_about_itself_and_public() {
        let id = "https://client.example/oauth/client.json";
        let read = |change: Value| {
            let mut document = json!({"client_id": id, "client_name": "C", "redirect_uris": ["https://client.example/cb"]});
            document
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            ClientMetadata::from_document(id, document.to_string().as_bytes())
        };
        assert!(read(json!({})).is_ok());
        assert!(
            read(json!({"token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]}))
            .is_ok()
        );
        for change in [
            json!({"client_id": "https://client.example/oauth/client.json/"}),
            json!({"client_name": null}),
            json!({"client_secret": "x"}),
            json!({"token_endpoint_auth_method": "private_key_jwt"}),
            json!({"token_endpoint_auth_method": "client_secret_post"}),
            json!({"jwks": {"keys": [{"kty": "EC", "d": "x"}]}}),
            json!({"jwks": {"keys": [{"kty": "AKP", "priv": "x"}]}}),
            json!({"jwks": [{"kty": "RSA", "dp": "x"}]}),
            json!({"jwks": {"kty": "oct", "k": "x"}}),
            json!({"redirect_uris": ["javascript:1"]}),
        ] {
            assert!(read(change.clone()).is_err(), "{change}");
        }
    }
}
