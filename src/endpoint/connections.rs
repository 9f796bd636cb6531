//! `/connections`: who is connected, and how to end it. Opened with the PIN, under the same throttle.

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode};

use super::{
    body, browser,
    error::PageError,
    pin::{self, PinCheck},
    response,
};
use crate::{
    app::{App, Caller},
    credential::{ConnectionId, Fingerprint},
    error::Unavailable,
    oauth::{error::OAuthError, params::Params},
    page::{ConnectionRow, Connections, Notice, SignIn, Timestamp, WrongTries},
    store::record::Session,
};

const SESSION_COOKIE: &str = "session";
const SESSION_LIFETIME_SECONDS: u64 = 900;

const OPEN_AGAIN: &str = "Open the connections page again.";
const NOT_FROM_THIS_PAGE: &str = "That form did not come from this page. Please sign in again.";

/// Shows the connections, or asks for the PIN.
pub async fn get(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<Response, PageError> {
    match session(app, caller, headers).await? {
        Some((_, session)) => list(app, &session, None).await,
        None => Ok(sign_in_page(StatusCode::OK, None, None)),
    }
}

/// Signs in or out, or ends connections.
pub async fn post(
    app: &App,
    caller: &Caller,
    request: Request<Body>,
) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    if !browser::from_our_page(&parts.headers) {
        let message = Some(NOT_FROM_THIS_PAGE);
        return Ok(sign_in_page(StatusCode::FORBIDDEN, None, message));
    }
    let params = body::form(&parts.headers, body)
        .await
        .map_err(|error| PageError::unreadable_form(error, OPEN_AGAIN))?;
    let action = Action::parse(&params)
        .map_err(|error| PageError::unreadable_form(error.into(), OPEN_AGAIN))?;
    match action {
        Action::SignIn { pin } => sign_in(app, caller, &parts.headers, &pin).await,
        Action::Session { csrf, act } => {
            act_in_session(app, caller, &parts.headers, &csrf, act).await
        }
    }
}

async fn sign_in(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    pin: &str,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let browser = match pin::check(app, caller, headers, None, pin).await? {
        PinCheck::Accepted(browser) => browser,
        PinCheck::Refused(refused) => {
            let mut page = sign_in_page(refused.status, Some(refused.notice), None);
            refused.set_retry_after(&mut page);
            return Ok(page);
        }
    };
    // A fresh value at each sign-in: one planted beforehand opens nothing.
    let cookie = app.randomness.id();
    let session = Session {
        csrf: app.randomness.id(),
        expires_at: now + SESSION_LIFETIME_SECONDS,
    };
    app.store
        .put_session(Fingerprint::of(&cookie).as_str(), &session)
        .await?;
    tracing::info!(
        event = "signed_in",
        address = caller.address_text(),
        "the connections page was opened"
    );
    let mut response = back();
    browser::set_cookie(
        &mut response,
        caller,
        SESSION_COOKIE,
        &cookie,
        SESSION_LIFETIME_SECONDS,
    );
    browser.set_cookie(&mut response, caller);
    Ok(response)
}

async fn act_in_session(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    csrf: &str,
    act: Act,
) -> Result<Response, PageError> {
    let Some((cookie, session)) = session(app, caller, headers).await? else {
        return Ok(sign_in_page(
            StatusCode::FORBIDDEN,
            None,
            Some("Your session has ended. Please sign in again."),
        ));
    };
    if Fingerprint::of(&session.csrf) != Fingerprint::of(csrf) {
        let message = Some(NOT_FROM_THIS_PAGE);
        return Ok(sign_in_page(StatusCode::FORBIDDEN, None, message));
    }
    match act {
        Act::SignOut => {
            app.store.delete_session(&cookie).await?;
            let mut response = back();
            browser::set_cookie(&mut response, caller, SESSION_COOKIE, "", 0);
            Ok(response)
        }
        Act::End(id) => {
            app.store.end_connection(&id).await?;
            ended(caller, &id);
            list(app, &session, Some("The connection was ended.")).await
        }
        Act::EndAll => {
            // Also codes on their way: what was redeemed a moment later would have survived.
            for id in app.store.connection_ids().await? {
                app.store.end_connection(&id).await?;
                ended(caller, &id);
            }
            list(app, &session, Some("All connections were ended.")).await
        }
    }
}

fn ended(caller: &Caller, id: &ConnectionId) {
    tracing::info!(
        event = "revoked",
        by = "owner",
        connection = id.as_str(),
        address = caller.address_text(),
        "a connection was ended on the connections page"
    );
}

/// The session and the name it is kept under.
async fn session(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Option<(String, Session)>, Unavailable> {
    let Some(cookie) = browser::cookie(caller, headers, SESSION_COOKIE) else {
        return Ok(None);
    };
    let key = Fingerprint::of(&cookie).as_str().to_owned();
    let session = app.store.session(&key, app.clock.now()).await?;
    Ok(session.map(|session| (key, session)))
}

async fn list(app: &App, session: &Session, notice: Option<&str>) -> Result<Response, PageError> {
    let now = app.clock.now();
    let connections = app.store.connections(now).await?;
    let tries = app.store.wrong_tries(now).await?;
    let rows: Vec<_> = connections
        .iter()
        .filter_map(|connection| Some((connection, connection.grant()?)))
        .map(|(connection, grant)| ConnectionRow {
            id: connection.id.as_str(),
            client_name: grant.client_name.as_deref(),
            verified_host: grant.verified_host.as_deref(),
            redirect_host: grant.redirect_uri.display_host(),
            created: Timestamp::of_unix_seconds(connection.created_at),
            last_used: Timestamp::of_unix_seconds(connection.last_used_at),
            address: &connection.address,
            expires: Timestamp::of_unix_seconds(connection.expires_at),
        })
        .collect();
    let wrong_tries: Vec<_> = tries
        .iter()
        .map(|tried| WrongTries {
            time: Timestamp::of_unix_seconds(tried.at),
            address: &tried.address,
            count: tried.count,
        })
        .collect();
    let page = Connections {
        rows: &rows,
        csrf: &session.csrf,
        wrong_tries: &wrong_tries,
        notice,
    };
    Ok(response::page(StatusCode::OK, page.render()))
}

fn sign_in_page(status: StatusCode, notice: Option<Notice>, message: Option<&str>) -> Response {
    response::page(status, SignIn { notice, message }.render())
}

/// Back to the page by GET, so that reloading does not repeat the form.
fn back() -> Response {
    response::redirect(StatusCode::SEE_OTHER, "/connections")
}

enum Action {
    SignIn { pin: String },
    Session { csrf: String, act: Act },
}

enum Act {
    End(ConnectionId),
    EndAll,
    SignOut,
}

impl Action {
    fn parse(params: &Params) -> Result<Self, OAuthError> {
        params.no_duplicates()?;
        if params.required("action")? == "sign-in" {
            return Ok(Self::SignIn {
                pin: params.once("pin")?.unwrap_or_default().to_owned(),
            });
        }
        let act = match params.required("action")? {
            "end" => Act::End(
                ConnectionId::parse(params.required("connection")?)
                    .ok_or_else(|| OAuthError::invalid_request("connection is not an id"))?,
            ),
            "end-all" => Act::EndAll,
            "sign-out" => Act::SignOut,
            _ => return Err(OAuthError::invalid_request("action is not known")),
        };
        Ok(Self::Session {
            csrf: params.required("csrf")?.to_owned(),
            act,
        })
    }
}
