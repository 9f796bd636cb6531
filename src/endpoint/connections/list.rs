//! The list of connections, and the question before some of them are ended.

use axum::response::Response;
use http::StatusCode;

use super::{back, back_with};
use crate::{
    app::{App, Caller},
    endpoint::{error::PageError, flash::Flash, response},
    limit::Limit,
    oauth::params::Params,
    page::{
        ConnectionOrigin, ConnectionRow, Connections, EndConnections, ShownLimit, Timestamp,
        WrongTries,
    },
    store::record::{Connection, Session},
};

/// Shows every connection, and the latest wrong PINs.
pub async fn show(
    app: &App,
    session: &Session,
    flash: Option<&Flash>,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let connections = app.store.connections(now).await?;
    let tries = app.store.wrong_tries(now).await?;
    let rows: Vec<_> = connections.iter().map(row).collect();
    let wrong_tries: Vec<_> = tries
        .iter()
        .map(|tried| WrongTries {
            time: Timestamp::of_unix_seconds(tried.at),
            address: &tried.address,
            count: tried.count,
        })
        .collect();
    let notice = flash.and_then(Flash::sentence);
    let page = Connections {
        upstream_name: &app.config.upstream.name,
        rows: &rows,
        csrf: &session.csrf,
        wrong_tries: &wrong_tries,
        notice: notice.as_deref(),
        manual_tokens: app.config.manual_tokens,
        landing_page: app.config.landing_page,
    };
    Ok(response::page(StatusCode::OK, page.render()))
}

/// Asks whether to end the connections in the query: `connection` for each, or `all`.
pub async fn ask_before_ending(
    app: &App,
    caller: &Caller,
    session: &Session,
    query: &Params,
) -> Result<Response, PageError> {
    let all = query.all("all").next().is_some();
    let selected: Vec<_> = query.all("connection").collect();
    if !all && selected.is_empty() {
        return Ok(back_with(&Flash::NothingSelected, caller));
    }
    let connections = app.store.connections(app.clock.now()).await?;
    let rows: Vec<_> = connections
        .iter()
        .filter(|connection| all || selected.contains(&connection.id.as_str()))
        .map(row)
        .collect();
    if rows.is_empty() {
        return Ok(back());
    }
    let page = EndConnections {
        rows: &rows,
        all,
        csrf: &session.csrf,
    };
    Ok(response::page(StatusCode::OK, page.render()))
}

/// A connection as pages show it.
pub fn row(connection: &Connection) -> ConnectionRow<'_> {
    ConnectionRow {
        id: connection.id.as_str(),
        name: connection.shown_name(),
        origin: connection.grant().map_or(ConnectionOrigin::Token, |grant| {
            ConnectionOrigin::Client {
                name: grant.client_name.as_deref(),
                verified_host: grant.verified_host.as_deref(),
                redirect_host: grant.redirect_uri.display_host(),
            }
        }),
        limit: match &connection.limit {
            Limit::Everything => ShownLimit::Everything,
            Limit::ReadOnly => ShownLimit::ReadOnly,
            Limit::Tools(names) => ShownLimit::Tools(names.iter().count()),
        },
        created: Timestamp::of_unix_seconds(connection.created_at),
        last_used: Timestamp::of_unix_seconds(connection.last_used_at),
        address: &connection.address,
        expires: Timestamp::of_unix_seconds(connection.expires_at),
    }
}
