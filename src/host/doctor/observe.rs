//! The requests of a client that has not signed in, and their responses.

use std::net::IpAddr;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::{
    mcp,
    probe::{Answer, Probe, Prober},
    sign_in::Pkce,
};

/// The redirect URI of the doctor. It listens nowhere: the code is in the redirect itself.
pub const REDIRECT_URI: &str = "http://127.0.0.1:33418/callback";
/// The origin of a client that runs in a browser.
const BROWSER_ORIGIN: &str = "https://client.example";
/// How claude.ai introduces itself at the MCP endpoint.
const CLAUDE: (&str, &str) = ("user-agent", "Claude-User");

/// Every response to a request without a token.
pub struct Observed {
    /// The connector URL.
    pub url: Url,
    /// The addresses of its host.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// The first call.
    pub call: Probe,
    /// The first call as claude.ai sends it.
    pub call_as_claude: Probe,
    /// A call with a token that nobody issued.
    pub call_with_bad_token: Probe,
    /// GET of the event stream.
    pub stream: Probe,
    /// The preflight request of a client in a browser, before a call.
    pub preflight: Probe,
    /// The resource document to which the challenge leads.
    pub challenged_document: Option<Probe>,
    /// The resource document at its standard place.
    pub resource_document: Probe,
    /// The first authorization server of the resource, or the origin of the connector.
    pub issuer: Url,
    /// Its document.
    pub server_document: Probe,
    /// The same for `OpenID`, where many clients look next.
    pub openid_document: Probe,
    /// The registration of a client.
    pub registration: Option<Probe>,
    /// A token request that cannot succeed.
    pub token_error: Option<Probe>,
    /// The preflight request before a token request.
    pub token_preflight: Option<Probe>,
    /// The page that asks the person.
    pub consent: Option<Probe>,
}

impl Observed {
    /// The document of the resource: that of the challenge, else that at the standard place.
    pub fn resource(&self) -> Option<(&Answer, Value)> {
        let mut documents = self
            .challenged_document
            .iter()
            .chain([&self.resource_document]);
        documents.find_map(document)
    }

    /// The document of the authorization server.
    pub fn server(&self) -> Option<(&Answer, Value)> {
        [&self.server_document, &self.openid_document]
            .into_iter()
            .find_map(document)
    }

    /// The URL of an endpoint in the document of the authorization server.
    pub fn endpoint(&self, name: &str) -> Option<Url> {
        let endpoint = Url::parse(self.server()?.1[name].as_str()?).ok()?;
        self.may_lead_to(&endpoint).then_some(endpoint)
    }

    /// Whether a URL that the server names may be requested: a hostile one could name a device in the network of whoever
    /// runs the doctor.
    fn may_lead_to(&self, at: &Url) -> bool {
        may_lead(&self.url, at)
    }

    /// The id of the client that was registered.
    pub fn client_id(&self) -> Option<String> {
        let client = self.registration.as_ref()?.as_ref().ok()?.json()?;
        client["client_id"].as_str().map(str::to_owned)
    }
}

/// A response that is a document.
pub fn document(probe: &Probe) -> Option<(&Answer, Value)> {
    let answer = probe.as_ref().ok()?;
    let document = answer.status.is_success().then(|| answer.json())??;
    Some((answer, document))
}

fn may_lead(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || to.origin() == from.origin() || from.scheme() == "http"
}

/// The preflight request of a client in a browser (Fetch Standard §4.8).
async fn preflight(prober: &Prober, at: &Url) -> Probe {
    let headers = [
        ("origin", BROWSER_ORIGIN),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,mcp-protocol-version",
        ),
    ];
    prober
        .send(Method::OPTIONS, at, &headers, String::new())
        .await
}

/// Sends the requests. It registers a client, as every client does that connects.
pub async fn observe(prober: &Prober, url: &Url, pkce: &Pkce) -> Observed {
    let initialize = mcp::initialize();
    let accept = mcp::ACCEPT;
    let place = well_known(url, "oauth-protected-resource");
    let bad_token = ("authorization", "Bearer not-a-token");
    let (plain, as_claude, with_bad_token) = ([accept], [accept, CLAUDE], [accept, bad_token]);
    let (for_stream, from_browser) = (
        [("accept", "text/event-stream")],
        [("origin", BROWSER_ORIGIN)],
    );
    let (
        addresses,
        call,
        call_as_claude,
        call_with_bad_token,
        stream,
        preflighted,
        resource_document,
    ) = tokio::join!(
        addresses(url),
        prober.post_json(url, &plain, &initialize),
        prober.post_json(url, &as_claude, &initialize),
        prober.post_json(url, &with_bad_token, &initialize),
        prober.get(url, &for_stream),
        preflight(prober, url),
        prober.get(&place, &from_browser),
    );
    let challenged = call
        .as_ref()
        .ok()
        .and_then(Challenge::of)
        .and_then(|challenge| challenge.metadata(url))
        .filter(|at| *at != place && may_lead(url, at));
    let challenged_document = match challenged {
        Some(at) => Some(prober.get(&at, &[]).await),
        None => None,
    };
    let mut observed = Observed {
        url: url.clone(),
        addresses,
        call,
        call_as_claude,
        call_with_bad_token,
        stream,
        preflight: preflighted,
        challenged_document,
        resource_document,
        issuer: origin(url),
        server_document: Err(super::probe::Failure::Silent),
        openid_document: Err(super::probe::Failure::Silent),
        registration: None,
        token_error: None,
        token_preflight: None,
        consent: None,
    };
    observe_server(prober, &mut observed, pkce).await;
    observed
}

/// The requests to the authorization server.
async fn observe_server(prober: &Prober, observed: &mut Observed, pkce: &Pkce) {
    let issuer = observed.resource().and_then(|(_, document)| {
        let issuer = Url::parse(document["authorization_servers"][0].as_str()?).ok()?;
        observed.may_lead_to(&issuer).then_some(issuer)
    });
    if let Some(issuer) = issuer {
        observed.issuer = issuer;
    }
    let server = well_known(&observed.issuer, "oauth-authorization-server");
    let openid = well_known(&observed.issuer, "openid-configuration");
    (observed.server_document, observed.openid_document) =
        tokio::join!(prober.get(&server, &[]), prober.get(&openid, &[]));
    let token = observed.endpoint("token_endpoint");
    if let Some(at) = observed.endpoint("registration_endpoint") {
        observed.registration = Some(prober.post_json(&at, &[], &registration()).await);
    }
    if let Some(at) = token {
        let wrong = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("client_id", "nobody"),
            ("code_verifier", "x"),
        ];
        let (error, preflighted) =
            tokio::join!(prober.post_form(&at, &[], &wrong), preflight(prober, &at));
        (observed.token_error, observed.token_preflight) = (Some(error), Some(preflighted));
    }
    if let (Some(mut at), Some(client_id)) = (
        observed.endpoint("authorization_endpoint"),
        observed.client_id(),
    ) {
        at.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &client_id),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
            ("state", &pkce.state),
            ("resource", observed.url.as_str()),
        ]);
        observed.consent = Some(prober.get(&at, &[("accept", "text/html")]).await);
    }
}

fn registration() -> Value {
    json!({
        "client_name": "Connector doctor",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

async fn addresses(url: &Url) -> Result<Vec<IpAddr>, String> {
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host, port)).await;
    found
        .map(|found| found.map(|address| address.ip()).collect())
        .map_err(|error| error.to_string())
}

/// The origin, as a URL.
pub fn origin(url: &Url) -> Url {
    let mut origin = url.clone();
    origin.set_path("");
    origin.set_query(None);
    origin.set_fragment(None);
    origin
}

/// The well-known URL of a resource or an issuer: the name is inserted in front of its path (RFC 8414 §3.1, RFC 9728 §3.1).
fn well_known(of: &Url, name: &str) -> Url {
    let mut url = origin(of);
    url.set_path(&format!(
        "/.well-known/{name}{}",
        of.path().trim_end_matches('/')
    ));
    url
}

/// A `WWW-Authenticate: Bearer` header (RFC 9728 §5.1).
pub struct Challenge {
    /// Its `resource_metadata`, if it has one.
    pub resource_metadata: Option<String>,
    /// Whether AWS renamed the header.
    pub renamed: bool,
}

impl Challenge {
    /// Finds it in a response, also under the name that AWS gives it.
    pub fn of(answer: &Answer) -> Option<Self> {
        let names = [
            ("www-authenticate", false),
            ("x-amzn-remapped-www-authenticate", true),
        ];
        names.into_iter().find_map(|(name, renamed)| {
            let values = answer
                .headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok());
            let bearer = values.into_iter().find(|value| {
                value
                    .get(..6)
                    .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
            })?;
            Some(Self {
                resource_metadata: parameter(bearer, "resource_metadata"),
                renamed,
            })
        })
    }

    /// Where it leads, as a client would take it.
    pub fn metadata(&self, url: &Url) -> Option<Url> {
        url.join(self.resource_metadata.as_deref()?).ok()
    }
}

fn parameter(challenge: &str, name: &str) -> Option<String> {
    let value = challenge.split(&format!("{name}=")).nth(1)?;
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([',', ' ']).next()?,
    };
    Some(value.to_owned())
}
