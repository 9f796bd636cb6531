//! What clients send to the authorization server.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use lambda_oauth_mcp_proxy::{
    client_document::DocumentUrl,
    config::AuthScheme,
    credential::{AccessToken, Code, IssuedToken, RefreshToken},
    oauth::{
        authorization::{AuthorizationRequest, RedirectTarget},
        bearer::{self, PresentedBearer},
        client::ClientMetadata,
        client_auth::{AuthMethod, PresentedClient},
        error::{ErrorCode, OAuthError},
        params::Params,
        redirect_uri::RedirectUri,
        resource::BaseUrl,
        token::TokenRequest,
    },
    secrets::TokenForm,
};
use url::{Host, Url, form_urlencoded};

use super::json::{EXACT_READERS, Json};

/// The metadata of a registration (RFC 7591). What is accepted can be registered again from the response.
pub fn registration(input: &[u8]) {
    let Ok(metadata) = ClientMetadata::from_registration(input) else {
        return;
    };
    safe_metadata(&metadata, input);
    let response = metadata.to_registration_response("the-client", 0, None);
    let text = response.to_string();
    let again = ClientMetadata::from_registration(text.as_bytes());
    assert_eq!(again.ok().as_ref(), Some(&metadata), "{text}");
}

/// A client document, and its URL. The first line is the URL.
pub fn client_document(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (url, body) = input.split_at(end.unwrap_or(input.len()));
    let Ok(url) = std::str::from_utf8(url) else {
        return;
    };
    if let Ok(document_url) = DocumentUrl::parse(url) {
        assert!(url.starts_with("https://") && document_url.as_str() == url);
        safe_document_url(&Url::parse(url).unwrap());
    }
    if let Ok(metadata) = ClientMetadata::from_document(url, body) {
        safe_metadata(&metadata, body);
        assert_eq!(metadata.auth_method, AuthMethod::None);
        let document = Json::read(std::str::from_utf8(body).unwrap()).unwrap();
        for reader in EXACT_READERS {
            let id = reader.member(&document, "client_id");
            assert_eq!(id.and_then(Json::text), Some(url));
            assert_eq!(
                reader
                    .member(&document, "client_secret")
                    .filter(|secret| secret
                        .text()
                        .is_some_and(|secret| !secret.trim().is_empty())),
                None
            );
        }
    }
}

/// Nothing in the URL of a document leads to another place than its text says, or into a network that is not public.
fn safe_document_url(url: &Url) {
    assert!(url.port().is_none() && url.username().is_empty() && url.password().is_none());
    assert!(url.fragment().is_none() && url.path().len() > 1);
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
    assert!(
        !path
            .split(['/', '\\'])
            .any(|segment| matches!(segment, "." | ".."))
    );
    match url.host().unwrap() {
        Host::Ipv4(address) => {
            let [first, second, ..] = address.octets();
            assert!(!address.is_private() && !address.is_loopback() && !address.is_link_local());
            assert!(!address.is_documentation() && first != 0 && first < 224);
            assert!((first, second & 0xc0) != (100, 64));
        }
        Host::Ipv6(address) => assert!(address.segments()[0] & 0xe000 == 0x2000, "{address}"),
        Host::Domain(name) => {
            let last = name.rsplit('.').next().unwrap();
            assert!(name.contains('.') && !last.is_empty(), "{name}");
            assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{name}");
        }
    }
}

/// The metadata of a client, and the text from which it was read.
fn safe_metadata(metadata: &ClientMetadata, text: &[u8]) {
    assert!(!metadata.redirect_uris.is_empty());
    metadata.redirect_uris.iter().for_each(safe_redirect_uri);
    let name = metadata.client_name.as_deref().unwrap_or_default();
    assert!(!name.chars().any(char::is_control) && name.chars().count() <= 256);
    let sent = Json::read(std::str::from_utf8(text).unwrap()).unwrap();
    for reader in EXACT_READERS {
        let Some(Json::Array(uris)) = reader.member(&sent, "redirect_uris") else {
            panic!("no redirect URIs in {sent:?}");
        };
        let uris = uris.iter().map(Json::text);
        assert!(uris.eq(metadata.redirect_uris.iter().map(|uri| Some(uri.as_str()))));
    }
}

/// Whatever a browser makes of it, the code goes to this very place, and that is what people are shown.
fn safe_redirect_uri(uri: &RedirectUri) {
    let text = uri.as_str();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    let url = Url::parse(text).unwrap();
    let (scheme, rest) = text.split_once(':').unwrap();
    assert_eq!(url.scheme(), scheme);
    assert!(
        rest.starts_with('/') && !text.contains(['#', '\\']),
        "{text}"
    );
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    match scheme {
        "https" | "http" => {
            let host = url.host_str().unwrap();
            assert!(scheme == "https" || matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
            // RFC 3986 §3.2: the authority ends at the first of these.
            let authority = rest.strip_prefix("//").unwrap();
            let authority = authority.split(['/', '?']).next().unwrap();
            assert_eq!(uri.display_host(), authority);
            let (name, port) = match authority.rsplit_once(':') {
                Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
                _ => (authority, None),
            };
            assert!(name.eq_ignore_ascii_case(host), "{text}");
            assert_eq!(
                port.or(url.port_or_known_default()),
                url.port_or_known_default()
            );
        }
        "javascript" | "data" | "vbscript" | "file" | "blob" | "about" | "ws" | "ftp" => {
            panic!("{text}")
        }
        _ => assert_eq!(uri.display_host(), format!("{scheme}:")),
    }
    assert!(uri.matches(uri));
    let added = [("code", "a&b=#c"), ("state", "\u{e9}\r\n")];
    goes_there(&uri.with_query_params(&added), uri, &added);
}

/// Whether a response goes to a redirect URI, with these parameters after those that are in it.
fn goes_there(response: &str, redirect_uri: &RedirectUri, added: &[(&str, &str)]) {
    let to = Url::parse(response).unwrap();
    let asked = Url::parse(redirect_uri.as_str()).unwrap();
    assert_eq!(
        (to.scheme(), to.host_str(), to.port(), to.path()),
        (asked.scheme(), asked.host_str(), asked.port(), asked.path())
    );
    assert!(to.fragment().is_none());
    let added = added
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    assert!(
        to.query_pairs().eq(asked.query_pairs().chain(added)),
        "{response}"
    );
}

/// The query of an authorization request. The response goes to a registered redirect URI, with the state as it was sent.
pub fn authorization(input: &[u8]) {
    let Ok(params) = Params::parse(input) else {
        return;
    };
    read_as_browsers_do(&params, input);
    let uris = [
        "https://client.example/callback?x=1",
        "http://127.0.0.1/callback",
        "com.example.app:/callback",
    ];
    let registered = uris.map(|uri| RedirectUri::parse(uri).unwrap());
    let base = BaseUrl::parse("https://mcp.example.com").unwrap();
    let target = RedirectTarget::validate(&registered, &params, &base);
    let request = AuthorizationRequest::parse(&params, [&base]);
    for error in [target.as_ref().err(), request.as_ref().err()]
        .into_iter()
        .flatten()
    {
        // RFC 6749 §4.1.2.1, and nothing of the query.
        let allowed = |c: char| matches!(c, ' '..='~') && !"\"\\<>&".contains(c);
        assert!(
            error.description.chars().all(allowed),
            "{}",
            error.description
        );
    }
    if let Ok(request) = &request {
        only_what_is_supported(&params, request, &base);
    }
    let Ok(target) = target else {
        return;
    };
    let redirect_uri = target.redirect_uri();
    let to = redirect_uri.as_str();
    let port = to
        .strip_prefix("http://127.0.0.1:")
        .and_then(|rest| rest.strip_suffix("/callback"));
    let is_port = |text: &str| text.is_empty() || text.parse::<u16>().is_ok();
    assert!(uris.contains(&to) || port.is_some_and(is_port), "{to}");
    let state = target.state();
    assert!(
        request.is_err() || state == params.all("state").next().filter(|state| !state.is_empty())
    );
    let last = state
        .map(|state| ("state", state))
        .into_iter()
        .chain([("iss", base.as_str())]);
    let success: Vec<_> = [("code", "the-code")]
        .into_iter()
        .chain(last.clone())
        .collect();
    goes_there(&target.success_url("the-code"), redirect_uri, &success);
    let error = OAuthError::new(ErrorCode::AccessDenied, "the owner refused the request");
    let failure = [
        ("error", "access_denied"),
        ("error_description", &*error.description),
    ];
    let failure: Vec<_> = failure.into_iter().chain(last).collect();
    goes_there(&target.error_url(&error), redirect_uri, &failure);
}

/// An authorization request that was accepted: each parameter once, PKCE with S256, this server as the resource.
fn only_what_is_supported(params: &Params, request: &AuthorizationRequest, base: &BaseUrl) {
    let mut names = HashSet::new();
    assert!(
        params
            .names()
            .all(|name| name == "resource" || names.insert(name))
    );
    for (name, value) in [("response_type", "code"), ("code_challenge_method", "S256")] {
        assert!(params.all(name).eq([value]), "{name}");
    }
    assert!(
        params
            .all("code_challenge")
            .all(|challenge| challenge.len() == 43)
    );
    assert!(
        params
            .all("request")
            .chain(params.all("request_uri"))
            .all(str::is_empty)
    );
    assert!(params.all("state").all(|state| state.len() <= 2048));
    assert!(matches!(&*request.scope, "mcp" | "mcp offline_access"));
    for resource in params
        .all("resource")
        .filter(|resource| !resource.is_empty())
    {
        let resource = Url::parse(resource).unwrap();
        assert_eq!(resource.origin().ascii_serialization(), base.as_str());
        assert!(resource.username().is_empty() && resource.fragment().is_none());
    }
}

/// The same names and values as a browser's parser finds (WHATWG URL §5.1), and no control characters.
fn read_as_browsers_do(params: &Params, form: &[u8]) {
    no_control_characters(params);
    let pairs: Vec<_> = form_urlencoded::parse(form).collect();
    assert!(params.names().eq(pairs.iter().map(|(name, _)| &**name)));
    for name in params.names() {
        let values = pairs.iter().filter(|(other, _)| other == name);
        assert!(params.all(name).eq(values.map(|(_, value)| &**value)));
    }
}

fn no_control_characters(params: &Params) {
    for name in params.names() {
        let mut texts = params.all(name).chain([name]);
        assert!(texts.all(|text| name == "pin" || !text.chars().any(char::is_control)));
    }
}

/// The body of a token request, as a form or as JSON. The first line is the `Authorization` header. The order of the
/// parameters changes nothing, nor whether they come as JSON.
pub fn token(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (header, body) = input.split_at(end.map_or(0, |end| end + 1));
    let headers = authorization_header(header.strip_suffix(b"\n").unwrap_or_default());
    let form = Params::parse(body).ok();
    let reversed: Vec<_> = body.split(|byte| *byte == b'&').rev().collect();
    let reversed = Params::parse(&reversed.join(&b'&')).ok();
    assert_eq!(form.is_some(), reversed.is_some());
    if let (Some(form), Some(reversed)) = (form, reversed) {
        read_as_browsers_do(&form, body);
        assert_eq!(understood(&headers, &form), understood(&headers, &reversed));
    }
    if let Ok(params) = Params::parse_json(body) {
        no_control_characters(&params);
        let Some(Json::Object(members)) = Json::read(std::str::from_utf8(body).unwrap()) else {
            panic!("not an object");
        };
        let members = members
            .iter()
            .filter_map(|(name, value)| Some((name, value.text()?)));
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(members)
            .finish();
        let form = Params::parse(form.as_bytes()).unwrap();
        assert_eq!(understood(&headers, &params), understood(&headers, &form));
    }
}

/// Client, and credentials of the request, or the error codes.
type Understood = (
    Result<(String, Option<String>), &'static str>,
    Result<(String, Option<String>), &'static str>,
);

/// What a token request is taken for. Everything in it is as it was sent.
fn understood(headers: &HeaderMap, params: &Params) -> Understood {
    let client = PresentedClient::read(headers, params).map(|client| {
        assert!(!client.client_id.is_empty());
        assert!(
            params
                .all("client_id")
                .all(|id| id.is_empty() || id == client.client_id)
        );
        let in_form = params
            .all("client_secret")
            .find(|secret| !secret.is_empty());
        let header = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        match (client.method, header) {
            (AuthMethod::ClientSecretBasic, Some(header)) => {
                assert!(in_form.is_none() && header[..6].eq_ignore_ascii_case(b"basic "));
                let pair = STANDARD.decode(header[6..].trim_ascii()).unwrap();
                let colon = pair.iter().position(|byte| *byte == b':').unwrap();
                let secret = client.client_secret.as_deref();
                assert_eq!(form_decoded(&pair[..colon]), client.client_id);
                assert_eq!(secret, Some(&*form_decoded(&pair[colon + 1..])));
            }
            (AuthMethod::ClientSecretPost, None) => {
                assert_eq!(client.client_secret.as_deref(), in_form);
            }
            (AuthMethod::None, _) => assert!(client.client_secret.is_none() && in_form.is_none()),
            _ => panic!("a method that the request does not use"),
        }
        (client.client_id, client.client_secret)
    });
    let request = TokenRequest::parse(params).map(|request| {
        let mut names = HashSet::new();
        assert!(
            params
                .names()
                .all(|name| name == "resource" || names.insert(name))
        );
        let sent = |name: &str, used: Option<&str>| {
            let sent = params.all(name).find(|value| !value.is_empty());
            assert!(used.is_none() || sent == used, "{name}");
        };
        match request {
            TokenRequest::AuthorizationCode {
                code,
                redirect_uri,
                code_verifier,
            } => {
                sent("code", code.as_ref().map(Code::expose));
                sent("redirect_uri", redirect_uri.as_deref());
                sent("code_verifier", Some(&code_verifier));
                (code_verifier, code.map(|code| code.expose().to_owned()))
            }
            TokenRequest::RefreshToken { refresh_token } => {
                let token = refresh_token.map(|token| token.expose());
                sent("refresh_token", token.as_deref());
                (String::new(), token)
            }
        }
    });
    (
        client.map_err(|error| error.code.as_str()),
        request.map_err(|error| error.code.as_str()),
    )
}

/// One value of a form, in which nothing separates.
fn form_decoded(value: &[u8]) -> String {
    let spaced: Vec<_> = value
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_encoding::percent_decode(&spaced)
        .decode_utf8()
        .unwrap()
        .into_owned()
}

fn authorization_header(value: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(value)
        && !value.is_empty()
    {
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// The `Authorization` header of a call, and every credential that can be in it. A credential has one spelling only.
pub fn bearer(input: &[u8]) {
    let headers = authorization_header(input);
    if let PresentedBearer::Token(token) = bearer::presented(&headers) {
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
        let (scheme, sent) = input.split_at(7);
        assert!(scheme.eq_ignore_ascii_case(b"bearer ") && sent.trim_ascii() == token.as_bytes());
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let kinds = [
        AccessToken::parse(text).map(|token| token.expose().to_owned()),
        RefreshToken::parse(text).map(|token| token.expose()),
        Code::parse(text).map(|code| code.expose().to_owned()),
    ];
    assert!(kinds.iter().flatten().count() <= 1, "two kinds: {text}");
    for exposed in kinds.into_iter().flatten() {
        assert_eq!(exposed, text);
    }
    if let Some(token) = IssuedToken::parse(text) {
        assert_eq!(token.connection_id().as_str().len(), 22);
    }
    for scheme in [AuthScheme::Bearer, AuthScheme::Basic, AuthScheme::None] {
        pasted(text, scheme);
    }
}

/// A token for the upstream as it was pasted: what is sent is a part of it. Pasted again, it is the same.
fn pasted(text: &str, scheme: AuthScheme) {
    let header = match scheme {
        AuthScheme::None => "x-api-key".parse().unwrap(),
        _ => AUTHORIZATION,
    };
    let form = TokenForm { header, scheme };
    let Ok(token) = form.read(text) else {
        return;
    };
    let value = token.header_value();
    let value = value.to_str().unwrap();
    let sent = match scheme {
        AuthScheme::Bearer => value.strip_prefix("Bearer ").unwrap(),
        AuthScheme::Basic => value.strip_prefix("Basic ").unwrap(),
        AuthScheme::None => value,
    };
    assert!(!sent.is_empty() && sent.bytes().all(|byte| byte.is_ascii_graphic()));
    let decoded = STANDARD
        .decode(sent)
        .ok()
        .and_then(|pair| String::from_utf8(pair).ok());
    let is_part = text.contains(sent)
        || scheme == AuthScheme::Basic && decoded.is_some_and(|pair| text.contains(&pair));
    assert!(is_part, "nothing is added or changed");
    assert!(
        form.read(value).is_ok_and(|again| again.is(&token)),
        "{text:?} is sent as {value:?}"
    );
}
