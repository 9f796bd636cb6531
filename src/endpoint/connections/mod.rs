//! `/connections`: who is connected, and how to end it. Opened with the PIN, under the same throttle.
//!
//! * [`session`] – signing in and out
//! * [`list`] – the pages that show connections
//! * [`action`] – the forms that change something

mod action;
mod list;
mod session;

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode};

use super::{body, browser, error::PageError, flash::Flash, response, route::ConnectionsPage};
use crate::app::{App, Caller};
use action::Form;

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
    let mut response = match (session, page) {
        (None, ConnectionsPage::List) => session::sign_in_page(app, flash.as_ref()),
        (None, ConnectionsPage::End) => return Ok(back()),
        (Some((_, session)), ConnectionsPage::List) => {
            list::show(app, &session, flash.as_ref()).await?
        }
        (Some((_, session)), ConnectionsPage::End) => {
            return list::ask_before_ending(app, caller, &session, query).await;
        }
    };
    if flash.is_some() {
        Flash::clear(&mut response, caller);
    }
    Ok(response)
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
    let params = body::form(&parts.headers, body)
        .await
        .map_err(|error| PageError::unreadable_form(error, OPEN_AGAIN))?;
    let form = Form::parse(&params)
        .map_err(|error| PageError::unreadable_form(error.into(), OPEN_AGAIN))?;
    match form {
        Form::SignIn { pin } => session::sign_in(app, caller, &parts.headers, &pin).await,
        Form::InSession { csrf, action } => {
            let Some((cookie, session)) = session::find(app, caller, &parts.headers).await? else {
                return Ok(back_with(&Flash::SessionEnded, caller));
            };
            if !session::owns_form(&session, &csrf) {
                return Ok(back_with(&Flash::OutOfDate, caller));
            }
            action::perform(app, caller, &cookie, action).await
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
