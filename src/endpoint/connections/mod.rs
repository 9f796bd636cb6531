//! `/connections`: who is connected, what they may do and what they did, and how to end it. Opened with the PIN, under the
//! same throttle.
//!
//! * [`session`] – signing in and out
//! * [`list`], [`edit`], [`tools`], [`token`] – the pages
//! * [`form`] – what a form contains
//! * [`action`] – what it does

mod action;
mod edit;
mod form;
mod list;
mod session;
mod token;
mod tools;

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode};

use super::{body, browser, error::PageError, flash::Flash, response, route::ConnectionsPage};
use crate::{
    app::{App, Caller},
    credential::ConnectionId,
    error::Unavailable,
    oauth::params::Params,
    store::record::{Connection, Session, Stage},
};
use action::Person;
use form::Form;

const OPEN_AGAIN: &str = "Open the connections page again.";

/// Shows a page to the owner, or asks for the PIN.
pub async fn get(
    app: &App,
    caller: &Caller,
    page: ConnectionsPage,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let flash = Flash::of_request(caller, headers);
    let session = session::find(app, caller, headers).await?;
    let mut response = match session {
        Some((_, session)) => {
            owners_page(app, caller, page, query, &session, flash.as_ref()).await?
        }
        None if page == ConnectionsPage::List => session::sign_in_page(app, flash.as_ref()),
        None => return Ok(back()),
    };
    if flash.is_some() && !response.status().is_redirection() {
        Flash::clear(&mut response, caller);
    }
    Ok(response)
}

async fn owners_page(
    app: &App,
    caller: &Caller,
    page: ConnectionsPage,
    query: &str,
    session: &Session,
    flash: Option<&Flash>,
) -> Result<Response, PageError> {
    let query = Params::parse(query.as_bytes())
        .map_err(|error| PageError::unreadable_form(error.into(), OPEN_AGAIN))?;
    match page {
        ConnectionsPage::List => list::show(app, session, flash).await,
        ConnectionsPage::End => list::ask_before_ending(app, caller, session, &query).await,
        ConnectionsPage::NewToken if app.config.manual_tokens => {
            Ok(token::form(app, session, flash))
        }
        ConnectionsPage::NewToken => Err(PageError::nothing_here(app.config.landing_page)),
        ConnectionsPage::Edit => match live_connection(app, &query).await? {
            Some(connection) => edit::show(app, session, &connection, flash).await,
            None => Ok(back_with(&Flash::NoSuchConnection, caller)),
        },
        ConnectionsPage::Tools => match live_connection(app, &query).await? {
            Some(connection) => {
                let preset = tools::Preset::parse(query.all("select").next());
                tools::show(app, session, &connection, preset, flash).await
            }
            None => Ok(back_with(&Flash::NoSuchConnection, caller)),
        },
    }
}

/// The connection in the query, if there is one.
async fn live_connection(app: &App, query: &Params) -> Result<Option<Connection>, Unavailable> {
    let Some(id) = query.all("connection").next().and_then(ConnectionId::parse) else {
        return Ok(None);
    };
    let connection = app.store.connection(&id, app.clock.now()).await?;
    Ok(connection.filter(|connection| connection.stage == Stage::Live))
}

/// Signs in or out, or changes connections.
pub async fn post(
    app: &App,
    caller: &Caller,
    request: Request<Body>,
) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    if !browser::from_our_page(&parts.headers) {
        return Ok(session::not_from_this_page(app));
    }
    let session = session::find(app, caller, &parts.headers).await?;
    // The list of chosen tools may be long. Only the owner sends one.
    let params = match session {
        Some(_) => body::long_form(&parts.headers, body).await,
        None => body::form(&parts.headers, body).await,
    };
    let params = params.map_err(|error| PageError::unreadable_form(error, OPEN_AGAIN))?;
    let form = Form::parse(&params)
        .map_err(|error| PageError::unreadable_form(error.into(), OPEN_AGAIN))?;
    match (form, session) {
        (Form::SignIn { pin }, _) => session::sign_in(app, caller, &parts.headers, &pin).await,
        (Form::InSession { .. }, None) => Ok(back_with(&Flash::SessionEnded, caller)),
        (Form::InSession { csrf, action, pin }, Some((name, session))) => {
            if !session::owns_form(&session, &csrf) {
                return Ok(back_with(&Flash::OutOfDate, caller));
            }
            let person = Person {
                app,
                caller,
                headers: &parts.headers,
                pin: &pin,
            };
            action::perform(person, &name, action).await
        }
    }
}

/// Back to the list by GET, so that reloading does not send the form again.
fn back() -> Response {
    response::redirect(StatusCode::SEE_OTHER, "/connections")
}

/// The same, where the list says what was done.
fn back_with(flash: &Flash, caller: &Caller) -> Response {
    let mut response = back();
    flash.set_on(&mut response, caller);
    response
}

/// To another page of this connection.
fn back_to(page: &str, id: &ConnectionId, flash: &Flash, caller: &Caller) -> Response {
    let to = format!("/connections/{page}?connection={}", id.as_str());
    let mut response = response::redirect(StatusCode::SEE_OTHER, &to);
    flash.set_on(&mut response, caller);
    response
}
