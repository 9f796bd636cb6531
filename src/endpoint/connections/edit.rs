//! The page of one connection: its name, what it may do, and what it did.

use axum::response::Response;

use super::list;
use crate::{
    app::App,
    connection_name::ConnectionName,
    endpoint::{error::PageError, flash::Flash, pin::RefusedPin},
    error::Unavailable,
    page::{ActivityRow, ActivityTotal, ConnectionPage, ShownActivity, Timestamp},
    store::{
        ActivityCounts,
        record::{Activity, ActivityOutcome, Connection, Session},
    },
};

/// Shows a connection.
pub async fn show(
    app: &App,
    session: &Session,
    connection: &Connection,
    flash: Option<&Flash>,
) -> Result<Response, PageError> {
    let calls = calls(app, connection).await?;
    let rows = calls.as_ref().map(|(calls, _)| rows(calls));
    let activity = calls
        .as_ref()
        .zip(rows.as_deref())
        .map(|((_, counts), calls)| ShownActivity {
            days: app.config.activity_days,
            totals: totals(*counts),
            calls,
        });
    let notice = flash.and_then(Flash::sentence);
    let refused = flash.and_then(|flash| RefusedPin::of_flash(flash, app.clock.now()));
    let page = ConnectionPage {
        row: list::row(connection),
        chosen_name: connection.name.as_ref().map(ConnectionName::as_str),
        csrf: &session.csrf,
        notice: notice.as_deref(),
        pin_notice: refused.as_ref().map(|refused| refused.notice),
        activity,
    };
    Ok(RefusedPin::page(refused.as_ref(), page.render()))
}

/// The latest calls and how many there were; `None` if they are not recorded.
async fn calls(
    app: &App,
    connection: &Connection,
) -> Result<Option<(Vec<Activity>, ActivityCounts)>, Unavailable> {
    if app.config.activity_days == 0 {
        return Ok(None);
    }
    let now = app.clock.now();
    let calls = app.store.activity(&connection.id, now).await?;
    let counts = app.store.activity_counts(&connection.id, now).await?;
    Ok(Some((calls, counts)))
}

fn rows(calls: &[Activity]) -> Vec<ActivityRow<'_>> {
    calls
        .iter()
        .map(|call| ActivityRow {
            tool: &call.tool,
            time: Timestamp::of_unix_seconds(call.at),
            outcome: match call.outcome {
                ActivityOutcome::Ok => "ok",
                ActivityOutcome::ToolError => "error of the tool",
                ActivityOutcome::Refused => "refused: not allowed",
                ActivityOutcome::UpstreamError => "error of the server",
            },
            succeeded: call.outcome == ActivityOutcome::Ok,
            milliseconds: call.ms,
        })
        .collect()
}

fn totals(counts: ActivityCounts) -> [ActivityTotal; 3] {
    [
        ("Last 24 hours", counts.day),
        ("Last 7 days", counts.week),
        ("Last 30 days", counts.month),
    ]
    .map(|(period, count)| ActivityTotal {
        period,
        calls: count.calls,
        or_more: count.or_more,
    })
}
