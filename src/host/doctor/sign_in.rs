//! A whole sign-in with the PIN: consent, tokens, the tools, a refresh, and the revocation of all of it. The consent form is
//! that of this program; for other servers a browser is needed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    mcp::{self, Session},
    observe::{Observed, REDIRECT_URI},
    probe::{Answer, Probe, Prober},
    report::Finding,
};
use crate::credential::{Randomness, SecretString};

/// The random values of one sign-in (RFC 7636, RFC 6749 §10.12).
pub struct Pkce {
    /// The state.
    pub state: String,
    /// The challenge.
    pub challenge: String,
    verifier: SecretString,
}

impl Pkce {
    /// New ones.
    pub fn generate(randomness: &Randomness) -> Self {
        let verifier = SecretString::generate("", randomness);
        Self {
            state: randomness.id(),
            challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose())),
            verifier,
        }
    }
}

const CONSENT: &str = "consent";
const TOKENS: &str = "tokens";
const CALLS: &str = "calls";
const REFRESH: &str = "refresh";
const REVOCATION: &str = "revocation";

/// Signs in, looks at the tools, and revokes what it got. Ends at the first step that fails.
pub async fn run(prober: &Prober, observed: &Observed, pkce: &Pkce, pin: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let signed_in = sign_in(prober, observed, pkce, pin, &mut findings).await;
    if let Err(finding) = signed_in {
        findings.push(finding);
    }
    findings
}

async fn sign_in(
    prober: &Prober,
    observed: &Observed,
    pkce: &Pkce,
    pin: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), Finding> {
    let code = consent(prober, observed, pkce, pin).await?;
    findings.push(Finding::pass(
        CONSENT,
        "the PIN is right, and the browser goes back to the client",
    ));
    let (Some(client_id), Some(token_endpoint)) =
        (observed.client_id(), observed.endpoint("token_endpoint"))
    else {
        return Err(Finding::skip(TOKENS, "no token endpoint"));
    };
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("client_id", &client_id),
        ("code_verifier", pkce.verifier.expose()),
        ("redirect_uri", REDIRECT_URI),
        ("resource", observed.url.as_str()),
    ];
    let tokens = tokens(prober.post_form(&token_endpoint, &[], &form).await)?;
    findings.push(tokens.finding());
    findings.extend(calls(prober, observed, &tokens.access).await);

    let mut access = tokens.access;
    if let Some(refresh) = &tokens.refresh {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
            ("client_id", &client_id),
        ];
        match self::tokens(prober.post_form(&token_endpoint, &[], &form).await) {
            Ok(next) => {
                findings.push(Finding::pass(REFRESH, "new tokens without the person"));
                access = next.access;
            }
            Err(finding) => findings.push(Finding {
                check: REFRESH,
                ..finding
            }),
        }
    }
    findings.push(revoke(prober, observed, &client_id, &access).await);
    Ok(())
}

/// Submits the consent form, and returns the code.
async fn consent(
    prober: &Prober,
    observed: &Observed,
    pkce: &Pkce,
    pin: &str,
) -> Result<String, Finding> {
    let Some(Ok(page)) = &observed.consent else {
        return Err(Finding::skip(CONSENT, "there is no sign-in page"));
    };
    if page.url.origin() != observed.url.origin() {
        let what =
            "the sign-in page is on another host than the connector: the PIN is not sent there";
        return Err(Finding::skip(CONSENT, what));
    }
    let html = String::from_utf8_lossy(&page.body);
    let Some(id) = hidden_field(&html, "page") else {
        return Err(Finding::skip(
            CONSENT,
            "the sign-in page is not one of this program: sign in with a client",
        ));
    };
    let mut action = page.url.clone();
    action.set_query(None);
    let cookie = page
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default();
    let form = [("page", id), ("pin", pin), ("decision", "authorize")];
    let answer = prober
        .post_form(&action, &[("cookie", cookie)], &form)
        .await;
    let answer = answer
        .map_err(|failure| Finding::fail(CONSENT, failure.to_string(), "see the server's log"))?;
    let Some(to) = answer.redirected() else {
        let shown = String::from_utf8_lossy(&answer.body);
        let (what, todo) = if shown.contains("name=\"pin\"") {
            (
                format!("status {}: the PIN is wrong", answer.status),
                "type the PIN of this server",
            )
        } else {
            (format!("status {}", answer.status), "see the server's log")
        };
        return Err(Finding::fail(CONSENT, what, todo));
    };
    if answer.status != StatusCode::SEE_OTHER && answer.status != StatusCode::FOUND {
        let what = format!(
            "after the PIN the browser is redirected with {}, and repeats the POST at the client",
            answer.status
        );
        return Err(Finding::fail(
            CONSENT,
            what,
            "something in front changes 303: let it pass",
        ));
    }
    let value = |name: &str| {
        to.query_pairs()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.into_owned())
    };
    if value("state").as_deref() != Some(&pkce.state) {
        let what = "the redirect back has another state: clients refuse it";
        return Err(Finding::fail(
            CONSENT,
            what,
            "return state unchanged (RFC 6749 §4.1.2)",
        ));
    }
    let issuer = observed.issuer.as_str().trim_end_matches('/');
    if value("iss").is_some_and(|iss| iss.trim_end_matches('/') != issuer) {
        let what = "the redirect back has another iss than the document: clients refuse it";
        return Err(Finding::fail(
            CONSENT,
            what,
            "use one issuer everywhere (RFC 9207)",
        ));
    }
    value("code").ok_or_else(|| {
        let error = value("error").unwrap_or_default();
        Finding::fail(
            CONSENT,
            format!("there is no code in the redirect: {error}"),
            "see the server's log",
        )
    })
}

/// The value of a hidden field.
fn hidden_field<'a>(html: &'a str, name: &str) -> Option<&'a str> {
    let field = html
        .split(&format!("name=\"{name}\""))
        .nth(1)?
        .split('>')
        .next()?;
    field.split("value=\"").nth(1)?.split('"').next()
}

struct Tokens {
    access: String,
    refresh: Option<String>,
    expires_in: Option<u64>,
    ms: u128,
}

impl Tokens {
    fn finding(&self) -> Finding {
        let hours = self.expires_in.map_or_else(
            || "an unknown time".to_owned(),
            |seconds| format!("{seconds} seconds"),
        );
        if self.refresh.is_none() {
            let what = format!("an access token for {hours}, and no refresh token");
            return Finding::warn(
                TOKENS,
                what,
                "people must sign in again whenever it expires",
            );
        }
        Finding::pass(
            TOKENS,
            format!(
                "an access token for {hours} and a refresh token, in {} ms",
                self.ms
            ),
        )
    }
}

/// The tokens in a token response (RFC 6749 §5.1).
fn tokens(answer: Probe) -> Result<Tokens, Finding> {
    let answer = answer
        .map_err(|failure| Finding::fail(TOKENS, failure.to_string(), "see the server's log"))?;
    let body = answer.json().unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let Some(access) = text("access_token").filter(|_| answer.status.is_success()) else {
        let reason = text("error_description")
            .or(text("error"))
            .unwrap_or_default();
        let what = format!("status {}: {reason}", answer.status);
        return Err(Finding::fail(TOKENS, what, "see the server's log"));
    };
    Ok(Tokens {
        access,
        refresh: text("refresh_token"),
        expires_in: body["expires_in"].as_u64(),
        ms: answer.ms,
    })
}

/// The first calls with a token.
async fn calls(prober: &Prober, observed: &Observed, token: &str) -> Vec<Finding> {
    let mut session = Session::new(prober, &observed.url, token);
    let begun = session.begin().await;
    if let Some(finding) = refused(&begun, "the first call") {
        return vec![finding];
    }
    let confirmed = session.confirm().await;
    if matches!(&confirmed, Ok(answer) if !answer.ended) {
        let what = "the response to a notification never ends: clients wait until they give up";
        let todo =
            "a Lambda Function URL does this to responses without a body: send at least one byte";
        return vec![Finding::fail(CALLS, what, todo)];
    }
    let listed = session.tools().await;
    session.end().await;
    let finding = refused(&listed, "tools/list").or_else(|| {
        let (begun, listed) = (begun.ok()?, listed.ok()?);
        let tools = mcp::message(&listed)?["result"]["tools"].as_array()?.len();
        let what = format!(
            "{tools} tools; initialize {} ms, tools/list {} ms",
            begun.ms, listed.ms
        );
        Some(Finding::pass(CALLS, what))
    });
    let nothing = || Finding::warn(CALLS, "the server lists no tools", "see the server's log");
    vec![finding.unwrap_or_else(nothing)]
}

/// Why a call has no result.
fn refused(probe: &Probe, call: &str) -> Option<Finding> {
    let answer: &Answer = match probe {
        Ok(answer) => answer,
        Err(failure) => {
            return Some(Finding::fail(
                CALLS,
                format!("{call}: {failure}"),
                "see the server's log",
            ));
        }
    };
    let message = mcp::message(answer);
    let reason = message
        .as_ref()
        .and_then(|message| message["error"]["message"].as_str())
        .unwrap_or_default();
    if answer.status.is_success() && reason.is_empty() && message.is_some() {
        return None;
    }
    let todo = match answer.status {
        StatusCode::FORBIDDEN => "a firewall in front refuses calls with a token: see its log",
        StatusCode::UNAUTHORIZED => {
            "the server does not accept its own token: is Authorization removed in front?"
        }
        StatusCode::BAD_GATEWAY => {
            "the MCP server behind it refused its token, or cannot be reached: replace the token for the upstream"
        }
        _ => "see the server's log",
    };
    let body = answer.json().unwrap_or(Value::Null);
    let reason = if reason.is_empty() {
        body["error_description"].as_str().unwrap_or_default()
    } else {
        reason
    };
    Some(Finding::fail(
        CALLS,
        format!("{call}: status {} {reason}", answer.status),
        todo,
    ))
}

/// Revokes the token, and checks that it is gone.
async fn revoke(prober: &Prober, observed: &Observed, client_id: &str, access: &str) -> Finding {
    let Some(at) = observed.endpoint("revocation_endpoint") else {
        return Finding::warn(
            REVOCATION,
            "the server has no revocation endpoint",
            "end the connection of \"Connector doctor\" yourself",
        );
    };
    let revoked = prober
        .post_form(&at, &[], &[("token", access), ("client_id", client_id)])
        .await;
    let after = Session::new(prober, &observed.url, access).begin().await;
    match (revoked, after) {
        (Ok(revoked), Ok(after))
            if revoked.status.is_success() && after.status == StatusCode::UNAUTHORIZED =>
        {
            Finding::pass(REVOCATION, "the connection of the doctor is ended")
        }
        _ => Finding::warn(
            REVOCATION,
            "the token is still valid",
            "end the connection of \"Connector doctor\" yourself",
        ),
    }
}
