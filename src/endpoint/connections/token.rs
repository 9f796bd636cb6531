//! Creating a token by hand, for a script that cannot open a browser.

use axum::response::Response;
use http::StatusCode;

use super::{action::Person, back_with};
use crate::{
    app::App,
    connection_name::ConnectionName,
    credential::{AccessToken, ConnectionId, SealingKey},
    endpoint::{error::PageError, flash::Flash, pin::RefusedPin, response},
    limit::Limit,
    page::{CreatedToken, NewToken, Timestamp, client_setup::connector_name},
    store::record::{Connection, MANUAL_TOKEN_DAYS, Session},
};

const DAY_SECONDS: u64 = 86_400;

/// A token as the owner wants it.
pub struct Request {
    /// The id of its connection, which the form has from the start.
    pub id: ConnectionId,
    /// The name of its connection.
    pub name: Option<ConnectionName>,
    /// Its life in days, one of [`MANUAL_TOKEN_DAYS`].
    pub days: u64,
    /// What it may do.
    pub limit: Limit,
}

/// Shows the form.
pub fn form(app: &App, session: &Session, flash: Option<&Flash>) -> Response {
    let refused = flash.and_then(|flash| RefusedPin::of_flash(flash, app.clock.now()));
    let id = ConnectionId::generate(&app.randomness);
    let page = NewToken {
        id: id.as_str(),
        upstream_name: &app.config.upstream.name,
        days: &MANUAL_TOKEN_DAYS,
        pin_notice: refused.as_ref().map(|refused| refused.notice),
        csrf: &session.csrf,
    };
    RefusedPin::page(refused.as_ref(), page.render())
}

/// Creates the token, and shows it. This is the only form that is not answered with a redirect, because the token must not be
/// in a URL, in a cookie or in the table. Its id is in the form, so that a form that is sent again creates no second token.
pub async fn create(person: Person<'_>, request: Request) -> Result<Response, PageError> {
    let Person { app, caller, .. } = person;
    let now = app.clock.now();
    if app.store.connection(&request.id, now).await?.is_some() {
        return Ok(back_with(&Flash::TokenExists, caller));
    }
    let browser = match person.confirm().await? {
        Ok(browser) => browser,
        Err(refused) => {
            let mut response = response::redirect(StatusCode::SEE_OTHER, "/connections/token");
            refused.set_on(&mut response, caller);
            return Ok(response);
        }
    };
    let token = AccessToken::generate(&request.id, &app.randomness);
    let expires_at = now + request.days * DAY_SECONDS;
    let connection = Connection::manual(
        &token,
        request.name,
        request.limit,
        caller.base.as_str().to_owned(),
        SealingKey::generate(&app.randomness),
        caller.address_text(),
        (now, expires_at),
    );
    if !app.store.create_manual_connection(&connection).await? {
        // The same form, sent twice at once.
        return Ok(back_with(&Flash::TokenExists, caller));
    }
    let name = connection.shown_name();
    tracing::info!(
        event = "token_created",
        connection = connection.id.as_str(),
        name,
        limit = connection.limit.as_str(),
        expires_at,
        address = caller.address_text(),
        "a token was created on the connections page"
    );
    let page = CreatedToken {
        id: connection.id.as_str(),
        name: &name,
        token: token.expose(),
        expires: Timestamp::of_unix_seconds(expires_at),
        connector_url: &caller.base.join("/mcp"),
        connector_name: &connector_name(app.upstream.host()),
    };
    let mut response = response::page(StatusCode::OK, page.render());
    browser.set_cookie(&mut response, caller);
    Ok(response)
}
