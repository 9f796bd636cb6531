//! `GET` and `POST /authorize`: the authorization request and the person's decision (RFC 6749 §4.1).

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode, header::RETRY_AFTER};

use super::{
    answer::{self, Refusal},
    body, browser,
    clients::{self, Lookup, Unknown},
    pin::{self, PinCheck},
};
use crate::{
    app::{App, Caller},
    config::UpstreamConfig,
    credential::{Code, ConnectionId, Fingerprint, SealingKey},
    oauth::{
        authorization::{AuthorizationRequest, RedirectTarget},
        error::{ErrorCode, OAuthError},
        params::Params,
    },
    page::{Connected, Consent, Notice},
    store::{
        Issued,
        record::{Connection, Pending, Stage},
    },
};

/// Name of the cookie that binds a page to its browser.
const COOKIE: &str = "consent";
/// Longest query string.
const LONGEST_QUERY: usize = 8 * 1024;
/// Seconds for which a shown page can be answered.
const PAGE_LIVES: u64 = 600;
/// Seconds for which a code can be redeemed.
const CODE_LIVES: u64 = 300;

/// Shows the consent page.
pub async fn get(app: &App, caller: &Caller, query: &str, headers: &HeaderMap) -> Response {
    let cookie = browser::cookie_or_new(app, caller, headers, COOKIE);
    let pending = match asked(app, caller, query, &cookie, Lookup::Fetch).await {
        Ok(pending) => pending,
        Err(answer) => return *answer,
    };
    // Each page is a write that a stranger makes us pay for.
    if let Err(wait) = app.strangers.take(caller.address, app.clock.now()) {
        return too_often(caller, wait);
    }
    let page_id = app.randomness.id();
    if let Err(error) = app.store.put_pending(&page_id, &pending).await {
        return answer::unavailable_page(caller, &error);
    }
    let mut page = consent_page(app, StatusCode::OK, &page_id, &pending, None);
    browser::set_cookie(&mut page, caller, COOKIE, &cookie, PAGE_LIVES);
    page
}

/// The head of the same response (RFC 9110 §9.3.2), for link scanners and previews. It opens no page: nothing is
/// written or fetched, no cookie is set, and it costs nobody's allowance.
pub async fn head(app: &App, caller: &Caller, query: &str) -> Response {
    match asked(app, caller, query, "", Lookup::Keep).await {
        // Rendered with an id that nobody stored, for its length only.
        Ok(pending) => consent_page(app, StatusCode::OK, &app.randomness.id(), &pending, None),
        Err(answer) => *answer,
    }
}

/// The checked request, for the browser with this cookie; or the response to one that cannot be accepted.
async fn asked(
    app: &App,
    caller: &Caller,
    query: &str,
    cookie: &str,
    lookup: Lookup,
) -> Result<Pending, Box<Response>> {
    // Client and redirect URI first: until both are proven there is nowhere to redirect to.
    let (client, target, params) = proven(app, caller, query, lookup).await?;
    let asked = AuthorizationRequest::parse(&params, app.bases(caller).collect::<Vec<_>>())
        .map_err(|error| Box::new(answer::redirect(StatusCode::FOUND, &target.error(&error))))?;
    // A PIN that cannot be checked later is better said now.
    if let Err(error) = app.secrets.get().await {
        return Err(Box::new(answer::unavailable_page(caller, &error)));
    }
    Ok(Pending {
        browser: Fingerprint::of(cookie),
        connection: ConnectionId::draw(&app.randomness),
        client,
        redirect_uri: target.redirect_uri().clone(),
        state: target.state().map(str::to_owned),
        issuer: target.issuer().to_owned(),
        code_challenge: asked.code_challenge,
        scope: asked.scope,
        resource: asked.resource,
        expires_at: app.clock.now() + PAGE_LIVES,
    })
}

type Proven = (crate::store::record::Client, RedirectTarget, Params);

async fn proven(
    app: &App,
    caller: &Caller,
    query: &str,
    lookup: Lookup,
) -> Result<Proven, Box<Response>> {
    let refuse = |what: &str| Box::new(bad_link(caller, what));
    if query.len() > LONGEST_QUERY {
        return Err(refuse("The query is too long."));
    }
    let params = Params::parse(query.as_bytes()).map_err(|error| refuse(&error.description))?;
    let client_id = params
        .required("client_id")
        .map_err(|error| refuse(&error.description))?;
    let client = match clients::find(app, client_id, lookup).await {
        Ok(client) => client,
        Err(Unknown::NotHere) => return Err(Box::new(unknown_client(caller))),
        Err(Unknown::NotFetched) => return Err(Box::new(answer::page_of_unknown_length())),
        Err(Unknown::Document(reason)) => return Err(Box::new(bad_document(caller, &reason))),
        Err(Unknown::Ours(error)) => {
            return Err(Box::new(answer::unavailable_page(caller, &error)));
        }
    };
    let target = RedirectTarget::prove(&client.redirect_uris, &params, &caller.base)
        .map_err(|error| refuse(&error.description))?;
    Ok((client, target, params))
}

/// Takes the person's decision.
pub async fn post(app: &App, caller: &Caller, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if !browser::from_our_page(&parts.headers) {
        return foreign_form(caller);
    }
    let form = match body::params(&parts.headers, body, false)
        .await
        .and_then(|params| Form::read(&params))
    {
        Ok(form) => form,
        Err(refusal) => return unreadable_form(caller, refusal),
    };
    let Some(cookie) = browser::cookie(caller, &parts.headers, COOKIE) else {
        return foreign_form(caller);
    };
    let pending = match app.store.pending(&form.page, app.clock.now()).await {
        Ok(Some(pending)) => pending,
        Ok(None) => return expired(caller),
        Err(error) => return answer::unavailable_page(caller, &error),
    };
    if pending.browser != Fingerprint::of(&cookie) {
        return foreign_form(caller);
    }
    match form.decision {
        Decision::Deny => deny(app, caller, &form.page, &pending).await,
        Decision::Authorize { pin } => {
            authorize(app, caller, &parts.headers, &form.page, &pending, &pin).await
        }
    }
    .unwrap_or_else(|error| answer::unavailable_page(caller, &error))
}

type Outcome = Result<Response, crate::error::Unavailable>;

async fn deny(app: &App, caller: &Caller, page_id: &str, pending: &Pending) -> Outcome {
    app.store.delete_pending(page_id).await?;
    app.store.withdraw_code(&pending.connection).await?;
    tracing::info!(
        event = "denied",
        client_id = pending.client.client_id,
        address = caller.address_text(),
        "the person refused"
    );
    let error = OAuthError::new(ErrorCode::AccessDenied, "the person refused");
    Ok(answer::redirect(
        StatusCode::SEE_OTHER,
        &target(pending).error(&error),
    ))
}

async fn authorize(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    page_id: &str,
    pending: &Pending,
    pin: &str,
) -> Outcome {
    let now = app.clock.now();
    let client_id = Some(pending.client.client_id.as_str());
    let browser = match pin::check(app, caller, headers, client_id, pin).await? {
        PinCheck::Accepted(browser) => browser,
        PinCheck::Refused(refused) => {
            let (status, notice) = (refused.status, Some(refused.notice));
            let mut page = consent_page(app, status, page_id, pending, notice);
            refused.set_retry_after(&mut page);
            return Ok(page);
        }
    };

    let code = Code::draw(&pending.connection, &app.randomness);
    let connection = connection(app, caller, pending, &code, now);
    match app.store.issue_code(&connection).await? {
        Issued::Code => {}
        Issued::AlreadyConnected => {
            let page = Connected {
                client_name: pending.client.client_name.as_deref(),
            }
            .render();
            return Ok(answer::page(StatusCode::OK, page));
        }
    }
    if pending.client.expires_at != u64::MAX {
        // The first grant turns a day into a year. The client may have vanished while the page was open.
        let client = crate::store::record::Client {
            expires_at: now + clients::USED,
            ..pending.client.clone()
        };
        app.store.put_client(&client).await?;
    }
    tracing::info!(
        event = "authorized",
        connection = connection.id.as_str(),
        client_id = connection.client_id,
        client_name = connection.client_name,
        redirect_host = connection.redirect_uri.display_host(),
        address = caller.address_text(),
        "a client was authorized"
    );
    let mut redirect = answer::redirect(
        StatusCode::SEE_OTHER,
        &target(pending).success(code.expose()),
    );
    browser.set_cookie(&mut redirect, caller);
    Ok(redirect)
}

fn connection(app: &App, caller: &Caller, pending: &Pending, code: &Code, now: u64) -> Connection {
    Connection {
        id: pending.connection.clone(),
        stage: Stage::Code,
        client_id: pending.client.client_id.clone(),
        client_name: pending.client.client_name.clone(),
        verified_host: pending.client.verified_host.clone(),
        auth_method: pending.client.auth_method,
        client_secret: pending.client.secret.clone(),
        redirect_uri: pending.redirect_uri.clone(),
        resource: pending.resource.clone(),
        issuer: pending.issuer.clone(),
        scope: pending.scope.clone(),
        code_challenge: pending.code_challenge.clone(),
        code: code.fingerprint(),
        refreshable: pending.client.refresh,
        sealing_key: Some(SealingKey::draw(&app.randomness)),
        access: None,
        access_expires_at: 0,
        access_previous: None,
        access_previous_expires_at: 0,
        family: None,
        refresh: None,
        refresh_previous: None,
        rotated_at: 0,
        nonce: None,
        generation: 0,
        repeats: 0,
        attempt: None,
        created_at: now,
        last_used_at: now,
        address: caller.address_text(),
        client_extended_at: now,
        expires_at: now + CODE_LIVES,
    }
}

fn target(pending: &Pending) -> RedirectTarget {
    RedirectTarget::restored(
        pending.redirect_uri.clone(),
        pending.state.clone(),
        pending.issuer.clone(),
    )
}

/// The form as the page sends it: nothing that was decided when the page was shown comes back.
struct Form {
    page: String,
    decision: Decision,
}

enum Decision {
    Authorize { pin: String },
    Deny,
}

impl Form {
    fn read(params: &Params) -> Result<Self, Refusal> {
        params.no_duplicates()?;
        // A field that the page does not have is somebody's attempt to change what was decided.
        if !params
            .names()
            .all(|name| matches!(name, "page" | "username" | "pin" | "decision"))
        {
            return Err(OAuthError::invalid_request(
                "the form has a field that the page does not have",
            )
            .into());
        }
        let page = params.required("page")?.to_owned();
        let decision = match params.once("decision")? {
            // A password manager may submit the form without its button.
            Some("authorize") | None => Decision::Authorize {
                pin: params.once("pin")?.unwrap_or_default().to_owned(),
            },
            Some("deny") => Decision::Deny,
            Some(_) => {
                return Err(
                    OAuthError::invalid_request("decision must be authorize or deny").into(),
                );
            }
        };
        Ok(Self { page, decision })
    }
}

fn consent_page(
    app: &App,
    status: StatusCode,
    page_id: &str,
    pending: &Pending,
    notice: Option<Notice>,
) -> Response {
    let client = &pending.client;
    let days = app.config.lifetimes.refresh_token / 86_400;
    let lifetime = if client.refresh {
        format!("{days} days after its last use")
    } else {
        format!("{days} days from now")
    };
    let page = Consent {
        page_id,
        client_name: client.client_name.as_deref(),
        verified_host: client.verified_host.as_deref(),
        redirect_host: pending.redirect_uri.display_host(),
        redirect_uri: pending.redirect_uri.as_str(),
        loopback_only: client
            .redirect_uris
            .iter()
            .all(crate::oauth::redirect_uri::RedirectUri::is_loopback),
        upstream_host: app.upstream.host(),
        restrictions: &restrictions(app.upstream.config()),
        lifetime: &lifetime,
        notice,
    };
    answer::page(status, page.render())
}

/// What pinned headers take away, in words where we know them. Only `X-MCP-…` ones are shown: another could
/// hold a key.
fn restrictions(upstream: &UpstreamConfig) -> Vec<String> {
    let shown = upstream
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-mcp-"));
    shown
        .filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some(match name.as_str() {
                "x-mcp-readonly" if value == "true" => "read-only".to_owned(),
                "x-mcp-toolsets" => format!("only these toolsets: {}", spaced(value)),
                "x-mcp-tools" => format!("only these tools: {}", spaced(value)),
                name => format!("{name}: {value}"),
            })
        })
        .collect()
}

/// A list with room to breathe, and to break lines.
fn spaced(list: &str) -> String {
    list.split(',')
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(", ")
}

const AGAIN: &str = "Go back to the app that sent you here and connect again.";

fn bad_link(caller: &Caller, details: &str) -> Response {
    let what = "The app that sent you here made a request that this server cannot accept.";
    let todo = "Remove the connector in the app and add it again.";
    answer::error_page(
        caller,
        StatusCode::BAD_REQUEST,
        "This link does not work",
        what,
        todo,
        Some(details),
    )
}

fn unknown_client(caller: &Caller) -> Response {
    let what = "The app that sent you here is not known to this server, or no longer.";
    let todo = "Remove the connector in the app and add it again.";
    let details = "client_id is not registered here.";
    answer::error_page(
        caller,
        StatusCode::BAD_REQUEST,
        "Unknown app",
        what,
        todo,
        Some(details),
    )
}

fn bad_document(caller: &Caller, reason: &str) -> Response {
    let what = "The app that sent you here describes itself in a document that could not be read.";
    let todo = "Try again in a few minutes; if it stays like this, tell whoever makes the app.";
    answer::error_page(
        caller,
        StatusCode::BAD_REQUEST,
        "The app could not be checked",
        what,
        todo,
        Some(reason),
    )
}

fn too_often(caller: &Caller, wait: u64) -> Response {
    let what = "Too many pages like this were opened from your address.";
    let todo = "Wait a minute, then connect again.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut page = answer::error_page(caller, status, "Too many requests", what, todo, None);
    page.headers_mut().insert(RETRY_AFTER, wait.into());
    page
}

fn foreign_form(caller: &Caller) -> Response {
    let what = "This form was not opened in this browser, or cookies are switched off.";
    answer::error_page(
        caller,
        StatusCode::FORBIDDEN,
        "Not from this browser",
        what,
        AGAIN,
        None,
    )
}

fn expired(caller: &Caller) -> Response {
    let what = "This page was open for too long, or was answered already.";
    answer::error_page(
        caller,
        StatusCode::BAD_REQUEST,
        "This page has expired",
        what,
        AGAIN,
        None,
    )
}

fn unreadable_form(caller: &Caller, refusal: Refusal) -> Response {
    let (status, details) = match refusal {
        Refusal::Client(error) => (StatusCode::BAD_REQUEST, error.description),
        Refusal::Unreadable(status, error) => (status, error.description),
        Refusal::Ours(error) => return answer::unavailable_page(caller, &error),
    };
    let what = "The form arrived in a shape that this server cannot read.";
    answer::error_page(
        caller,
        status,
        "That did not work",
        what,
        AGAIN,
        Some(&details),
    )
}
