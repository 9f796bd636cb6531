//! `/connections`: who is connected, and how to end it. Opened with the PIN, under the same throttle.

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode};

use super::{
    answer::{self, Refusal},
    body, browser,
    pin::{self, PinCheck},
    time::{self, Moment},
};
use crate::{
    app::{App, Caller},
    credential::{ConnectionId, Fingerprint},
    error::Unavailable,
    oauth::{error::OAuthError, params::Params},
    page::{self, ConnectionRow, Connections, Notice, SignIn},
    store::record::Session,
};

const COOKIE: &str = "session";
/// Seconds that a session lasts.
const SESSION_LIVES: u64 = 900;

type Outcome = Result<Response, Unavailable>;

/// Shows the connections, or asks for the PIN.
pub async fn get(app: &App, caller: &Caller, headers: &HeaderMap) -> Response {
    let shown = async {
        match session(app, caller, headers).await? {
            Some((_, session)) => list(app, &session, None).await,
            None => Ok(sign_in_page(StatusCode::OK, None, None)),
        }
    };
    shown
        .await
        .unwrap_or_else(|error| answer::unavailable_page(caller, &error))
}

/// Signs in or out, or ends connections.
pub async fn post(app: &App, caller: &Caller, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if !browser::from_our_page(&parts.headers) {
        let message = "That form did not come from this page. Please sign in again.";
        return sign_in_page(StatusCode::FORBIDDEN, None, Some(message));
    }
    let action = match body::params(&parts.headers, body, false)
        .await
        .and_then(|params| Action::read(&params))
    {
        Ok(action) => action,
        Err(Refusal::Ours(error)) => return answer::unavailable_page(caller, &error),
        Err(Refusal::Client(error)) => return unreadable(caller, StatusCode::BAD_REQUEST, &error),
        Err(Refusal::Unreadable(status, error)) => return unreadable(caller, status, &error),
    };
    let done = match action {
        Action::SignIn { pin } => sign_in(app, caller, &parts.headers, &pin).await,
        Action::Session { csrf, act } => {
            act_in_session(app, caller, &parts.headers, &csrf, act).await
        }
    };
    done.unwrap_or_else(|error| answer::unavailable_page(caller, &error))
}

async fn sign_in(app: &App, caller: &Caller, headers: &HeaderMap, pin: &str) -> Outcome {
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
        expires_at: now + SESSION_LIVES,
    };
    app.store
        .put_session(Fingerprint::of(&cookie).as_str(), &session)
        .await?;
    tracing::info!(
        event = "signed_in",
        address = caller.address_text(),
        "the connections page was opened"
    );
    let mut answer = back();
    browser::set_cookie(&mut answer, caller, COOKIE, &cookie, SESSION_LIVES);
    browser.set_cookie(&mut answer, caller);
    Ok(answer)
}

async fn act_in_session(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    csrf: &str,
    act: Act,
) -> Outcome {
    let Some((cookie, session)) = session(app, caller, headers).await? else {
        return Ok(sign_in_page(
            StatusCode::FORBIDDEN,
            None,
            Some("Your session has ended. Please sign in again."),
        ));
    };
    if Fingerprint::of(&session.csrf) != Fingerprint::of(csrf) {
        let message = "That form did not come from this page. Please sign in again.";
        return Ok(sign_in_page(StatusCode::FORBIDDEN, None, Some(message)));
    }
    match act {
        Act::SignOut => {
            app.store.delete_session(&cookie).await?;
            let mut answer = back();
            browser::set_cookie(&mut answer, caller, COOKIE, "", 0);
            Ok(answer)
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
    let Some(cookie) = browser::cookie(caller, headers, COOKIE) else {
        return Ok(None);
    };
    let key = Fingerprint::of(&cookie).as_str().to_owned();
    let session = app.store.session(&key, app.clock.now()).await?;
    Ok(session.map(|session| (key, session)))
}

async fn list(app: &App, session: &Session, notice: Option<&str>) -> Outcome {
    let now = app.clock.now();
    let connections = app.store.connections(now).await?;
    let tries = app.store.wrong_tries(now).await?;
    let times: Vec<[Moment; 3]> = connections
        .iter()
        .map(|c| {
            [
                time::moment(c.created_at),
                time::moment(c.last_used_at),
                time::moment(c.expires_at),
            ]
        })
        .collect();
    let rows: Vec<_> = connections
        .iter()
        .zip(&times)
        .map(
            |(connection, [created, last_used, expires])| ConnectionRow {
                id: connection.id.as_str(),
                client_name: connection.client_name.as_deref(),
                verified_host: connection.verified_host.as_deref(),
                redirect_host: connection.redirect_uri.display_host(),
                created: created.shown(),
                last_used: Some(last_used.shown()),
                address: &connection.address,
                expires: expires.shown(),
            },
        )
        .collect();
    let try_times: Vec<_> = tries.iter().map(|tried| time::moment(tried.at)).collect();
    let wrong_tries: Vec<_> = tries
        .iter()
        .zip(&try_times)
        .map(|(tried, at)| page::WrongTries {
            time: at.shown(),
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
    Ok(answer::page(StatusCode::OK, page.render()))
}

fn sign_in_page(status: StatusCode, notice: Option<Notice>, message: Option<&str>) -> Response {
    answer::page(status, SignIn { notice, message }.render())
}

/// Back to the page by GET, so that reloading does not repeat the form.
fn back() -> Response {
    answer::redirect(StatusCode::SEE_OTHER, "/connections")
}

fn unreadable(caller: &Caller, status: StatusCode, error: &OAuthError) -> Response {
    let what = "The form arrived in a shape that this server cannot read.";
    let todo = "Open the connections page again.";
    answer::error_page(
        caller,
        status,
        "That did not work",
        what,
        todo,
        Some(&error.description),
    )
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
    fn read(params: &Params) -> Result<Self, Refusal> {
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
            _ => return Err(OAuthError::invalid_request("action is not known").into()),
        };
        Ok(Self::Session {
            csrf: params.required("csrf")?.to_owned(),
            act,
        })
    }
}
