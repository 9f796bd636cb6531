//! `GET` and `POST /authorize`: the authorization request and the person's decision (RFC 6749 §4.1).
//!
//! * [`form`] – what the person sent
//! * [`pages`] – what the person sees

mod form;
mod pages;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode, header::USER_AGENT as USER_AGENT_HEADER};

use super::{
    body, browser,
    client_lookup::{Lookup, NotFound},
    clients, documents,
    error::PageError,
    flash::Flash,
    pin::{self, PinCheck, RefusedPin},
    response, write_limit,
};
use crate::{
    app::{App, Caller},
    client_document::USER_AGENT,
    connection_name::ConnectionName,
    credential::{Code, ConnectionId, Fingerprint, SealingKey},
    limit::Limit,
    oauth::{
        authorization::{AuthorizationRequest, RedirectTarget},
        error::{ErrorCode, OAuthError},
        params::Params,
    },
    secrets::Secret,
    store::{
        IssueOutcome,
        record::{Client, Connection, PendingConsent, Stage},
    },
};
use form::{Decision, Form};
use pages::Entered;

/// Name of the cookie that binds a page to its browser.
const CONSENT_COOKIE: &str = "consent";
const MAX_QUERY_BYTES: usize = 8 * 1024;
/// Seconds for which the form of a page can be sent.
const PAGE_LIFETIME_SECONDS: u64 = 600;

/// Shows the consent page.
pub async fn get(
    app: &App,
    caller: &Caller,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    if is_own_fetch(headers) {
        return Err(pages::bad_link("A client's document cannot be here."));
    }
    if let Some(page_id) = opened_page(query) {
        return opened(app, caller, headers, &page_id).await;
    }
    let cookie = browser::cookie_or_new(app, caller, headers, CONSENT_COOKIE);
    let request = match check(app, caller, query, &cookie, Lookup::Fetch(headers)).await? {
        Checked::Valid(request) => request,
        Checked::NotFetched => return Ok(response::page_of_unknown_length()),
        Checked::ErrorRedirect(to) => return Ok(response::redirect(StatusCode::FOUND, &to)),
    };
    // Each page is a write, which anybody can make us pay for.
    write_limit::take(app, caller, headers)
        .await
        .map_err(|limited| pages::not_found(limited.into()))?;
    let page_id = app.randomness.id();
    app.store.put_pending(&page_id, &request.pending).await?;
    let entered = Entered::proposed(&request, headers);
    let mut page = pages::consent(app, StatusCode::OK, &page_id, &request, &entered);
    let lifetime = PAGE_LIFETIME_SECONDS;
    browser::set_cookie(&mut page, caller, CONSENT_COOKIE, &cookie, lifetime);
    Ok(page)
}

/// The head of the same response (RFC 9110 §9.3.2), for link scanners and previews. It opens no page: nothing is
/// written or fetched, no cookie is set, and it costs nobody's allowance.
pub async fn head(
    app: &App,
    caller: &Caller,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    if let Some(page_id) = opened_page(query) {
        return opened(app, caller, headers, &page_id).await;
    }
    Ok(match check(app, caller, query, "", Lookup::Keep).await? {
        // Rendered with an id that nobody stored, for its length only.
        Checked::Valid(request) => {
            let entered = Entered::proposed(&request, headers);
            let page_id = app.randomness.id();
            pages::consent(app, StatusCode::OK, &page_id, &request, &entered)
        }
        Checked::NotFetched => response::page_of_unknown_length(),
        Checked::ErrorRedirect(to) => response::redirect(StatusCode::FOUND, &to),
    })
}

/// The id of a page that was opened before, if the query is that and not an authorization request.
fn opened_page(query: &str) -> Option<String> {
    let (name, id) = query.split_once('=')?;
    (name == "page" && ConnectionId::parse(id).is_some()).then(|| id.to_owned())
}

/// Shows a page again to the browser in which it was opened, after its form was sent. Nothing is written.
async fn opened(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    page_id: &str,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let pending = pending(app, caller, headers, page_id)
        .await?
        .ok_or_else(pages::expired)?;
    let (client, _) = client_again(app, caller, &pending, Lookup::Keep).await?;
    let connection = app.store.connection(&pending.connection, now).await?;
    if connection.is_some_and(|connection| connection.stage == Stage::Live) {
        return Ok(pages::already_connected(&client));
    }
    let flash = Flash::of_request(caller, headers);
    let refused = flash
        .as_ref()
        .and_then(|flash| RefusedPin::of_flash(flash, now));
    let request = ValidRequest {
        client,
        pending,
        secret: app.secrets.get().await?,
    };
    let mut entered = Entered::proposed(&request, headers);
    if let Some(Flash::PinRefused {
        name, read_only, ..
    }) = &flash
    {
        entered.name = name.clone().unwrap_or(entered.name);
        entered.read_only = *read_only;
    }
    let mut status = StatusCode::OK;
    if let Some(refused) = &refused {
        entered.notice = Some(refused.notice);
        status = refused.status;
    }
    let mut page = pages::consent(app, status, page_id, &request, &entered);
    if let Some(refused) = refused {
        refused.set_retry_after(&mut page);
    }
    if flash.is_some() {
        Flash::clear(&mut page, caller);
    }
    Ok(page)
}

/// To a page that was opened before, so that reloading it does not send the form again.
fn to_opened(page_id: &str) -> Response {
    response::redirect(StatusCode::SEE_OTHER, &format!("/authorize?page={page_id}"))
}

/// The request for which the page was opened, if it was opened in this browser; `None` when it has expired.
async fn pending(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    page_id: &str,
) -> Result<Option<PendingConsent>, PageError> {
    let cookie = browser::cookie(caller, headers, CONSENT_COOKIE)
        .ok_or_else(pages::not_from_this_browser)?;
    let pending = app.store.pending(page_id, app.clock.now()).await?;
    if pending
        .as_ref()
        .is_some_and(|pending| pending.browser != Fingerprint::of(&cookie))
    {
        return Err(pages::not_from_this_browser());
    }
    Ok(pending)
}

/// Whether this program asks, here or in another deployment, for a client id that points at an authorization endpoint:
/// two of them would ask each other for ever.
fn is_own_fetch(headers: &HeaderMap) -> bool {
    let product = USER_AGENT.split('/').next().unwrap_or_default();
    headers.get(USER_AGENT_HEADER).is_some_and(|value| {
        let (value, product) = (value.as_bytes(), product.as_bytes());
        value
            .strip_prefix(product)
            .is_some_and(|rest| rest.starts_with(b"/"))
    })
}

/// An authorization request that is valid, with what its consent page shows.
struct ValidRequest {
    client: Client,
    pending: PendingConsent,
    secret: Arc<Secret>,
}

/// What an authorization request leads to.
enum Checked {
    /// It is valid, and the consent page can be shown.
    Valid(Box<ValidRequest>),
    /// The client's document would have to be fetched, which was not allowed.
    NotFetched,
    /// It is invalid, and the client is told so at its redirect URI, which is proven.
    ErrorRedirect(String),
}

async fn check(
    app: &App,
    caller: &Caller,
    query: &str,
    cookie: &str,
    lookup: Lookup<'_>,
) -> Result<Checked, PageError> {
    // Client and redirect URI first: until both are proven there is nowhere to redirect to.
    let params = parse_query(query)?;
    let client_id = params
        .required("client_id")
        .map_err(|error| pages::bad_link(error.description))?;
    let found = match clients::find(app, caller, client_id, lookup).await {
        Ok(found) => found,
        Err(NotFound::NotFetched) => return Ok(Checked::NotFetched),
        Err(reason) => return Err(pages::not_found(reason)),
    };
    let client = found.client;
    let target = RedirectTarget::validate(&client.redirect_uris, &params, &caller.base)
        .map_err(|error| pages::bad_link(error.description))?;
    documents::keep(app, client_id, found.fetched).await?;

    let bases: Vec<_> = app.bases(caller).collect();
    let request = match AuthorizationRequest::parse(&params, bases) {
        Ok(request) => request,
        Err(error) => return Ok(Checked::ErrorRedirect(target.error_url(&error))),
    };
    // If the PIN could not be checked later, the person should know now.
    let secret = app.secrets.get().await?;
    let pending = PendingConsent {
        browser: Fingerprint::of(cookie),
        connection: ConnectionId::generate(&app.randomness),
        client_id: client.client_id.clone(),
        redirect_uri: target.redirect_uri().clone(),
        state: target.state().map(str::to_owned),
        issuer: target.issuer().to_owned(),
        code_challenge: request.code_challenge,
        scope: request.scope,
        expires_at: app.clock.now() + PAGE_LIFETIME_SECONDS,
    };
    Ok(Checked::Valid(Box::new(ValidRequest {
        client,
        pending,
        secret,
    })))
}

fn parse_query(query: &str) -> Result<Params, PageError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(pages::bad_link("The query is too long."));
    }
    Params::parse(query.as_bytes()).map_err(|error| pages::bad_link(error.description))
}

/// Takes the person's decision.
pub async fn post(
    app: &App,
    caller: &Caller,
    request: Request<Body>,
) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    if !browser::from_our_page(&parts.headers) {
        return Err(pages::not_from_this_browser());
    }
    let params = body::form(&parts.headers, body)
        .await
        .map_err(pages::unreadable_form)?;
    let form = Form::parse(&params).map_err(|error| pages::unreadable_form(error.into()))?;
    let Some(pending) = pending(app, caller, &parts.headers, &form.page_id).await? else {
        // By redirect, if the id can be in a URL.
        return match ConnectionId::parse(&form.page_id) {
            Some(_) => Ok(to_opened(&form.page_id)),
            None => Err(pages::expired()),
        };
    };
    match form.decision {
        Decision::Deny => deny(app, caller, &form.page_id, &pending).await,
        Decision::Authorize { pin, name, limit } => {
            let chosen = (name, limit);
            let page_id = &form.page_id;
            authorize(app, caller, &parts.headers, page_id, pending, &pin, chosen).await
        }
    }
}

/// The client of a page as it is now, and where its response goes. It may have disappeared, or lost the redirect URI, since
/// the page was shown: then there is nowhere to redirect to.
async fn client_again(
    app: &App,
    caller: &Caller,
    pending: &PendingConsent,
    lookup: Lookup<'_>,
) -> Result<(Client, RedirectTarget), PageError> {
    let found = clients::find(app, caller, &pending.client_id, lookup).await;
    let client = found.map_err(pages::not_found)?.client;
    let target = RedirectTarget::restore(
        &client.redirect_uris,
        pending.redirect_uri.clone(),
        pending.state.clone(),
        pending.issuer.clone(),
    );
    let gone = "redirect_uri is no longer registered for this client";
    let target = target.ok_or_else(|| pages::bad_link(gone))?;
    Ok((client, target))
}

async fn deny(
    app: &App,
    caller: &Caller,
    page_id: &str,
    pending: &PendingConsent,
) -> Result<Response, PageError> {
    // The page last: if anything before it fails, the form can be sent again.
    app.store.withdraw_code(&pending.connection).await?;
    let (_, target) = client_again(app, caller, pending, Lookup::Keep).await?;
    app.store.delete_pending(page_id).await?;
    tracing::info!(
        event = "denied",
        client_id = pending.client_id,
        address = caller.address_text(),
        "the owner refused the request"
    );
    let error = OAuthError::new(ErrorCode::AccessDenied, "the owner refused the request");
    let to = target.error_url(&error);
    Ok(response::redirect(StatusCode::SEE_OTHER, &to))
}

async fn authorize(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    page_id: &str,
    pending: PendingConsent,
    pin: &str,
    chosen: (Option<ConnectionName>, Limit),
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let client_id = Some(pending.client_id.as_str());
    let browser = match pin::check(app, caller, headers, client_id, pin).await? {
        PinCheck::Accepted(browser) => browser,
        PinCheck::Refused(refused) => {
            let mut redirect = to_opened(page_id);
            let (name, limit) = chosen;
            let flash = Flash::PinRefused {
                reason: refused.reason(now),
                name: Some(name.map_or_else(String::new, |name| name.as_str().to_owned())),
                read_only: limit == Limit::ReadOnly,
            };
            flash.set_on(&mut redirect, caller);
            return Ok(redirect);
        }
    };

    let (client, target) = client_again(app, caller, &pending, Lookup::Grant).await?;
    let code = Code::generate(&pending.connection, &app.randomness);
    let sealing_key = SealingKey::generate(&app.randomness);
    let address = caller.address_text();
    let connection = Connection::begin(&pending, &client, chosen, &code, sealing_key, address, now);
    match app.store.issue_code(&connection).await? {
        IssueOutcome::Code => {}
        IssueOutcome::AlreadyConnected => return Ok(to_opened(page_id)),
    }
    tracing::info!(
        event = "authorized",
        connection = connection.id.as_str(),
        name = connection.shown_name(),
        limit = connection.limit.as_str(),
        client_id = connection.client_id(),
        client_name = connection
            .grant()
            .and_then(|grant| grant.client_name.as_deref()),
        redirect_host = pending.redirect_uri.display_host(),
        address = caller.address_text(),
        "a client was authorized"
    );
    let to = target.success_url(code.expose());
    let mut redirect = response::redirect(StatusCode::SEE_OTHER, &to);
    browser.set_cookie(&mut redirect, caller);
    Ok(redirect)
}
