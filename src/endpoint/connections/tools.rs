//! Choosing the tools that a connection may use, from the list that the upstream has at this time.

use std::collections::BTreeMap;

use axum::response::Response;
use http::StatusCode;

use crate::{
    app::App,
    endpoint::{error::PageError, flash::Flash, pin::RefusedPin},
    limit::{Limit, MAX_TOOLS, ToolNames},
    page::{ToolEffect, ToolRow, Tools},
    store::record::{Connection, Session},
    upstream::tool_list::Tool,
};

/// What the page selects when it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// What the connection may use now.
    Current,
    /// All tools.
    All,
    /// Tools that only read.
    Reading,
    /// No tool.
    None,
}

impl Preset {
    /// Reads the parameter `select`.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("all") => Self::All,
            Some("reading") => Self::Reading,
            Some("none") => Self::None,
            _ => Self::Current,
        }
    }

    fn chooses(self, limit: &Limit, name: &str, effect: ToolEffect) -> bool {
        match (self, limit) {
            (Self::None, _) => false,
            (Self::All, _) | (Self::Current, Limit::Everything) => effect != ToolEffect::Gone,
            (Self::Reading, _) | (Self::Current, Limit::ReadOnly) => effect == ToolEffect::Reads,
            (Self::Current, Limit::Tools(names)) => names.contains(name),
        }
    }
}

/// Shows the tools of the upstream. The list is fetched for the owner only: it is a call with the token for the upstream.
pub async fn show(
    app: &App,
    session: &Session,
    connection: &Connection,
    preset: Preset,
    flash: Option<&Flash>,
) -> Result<Response, PageError> {
    let secret = app.secrets.get().await?;
    let listed = app.upstream.list_tools(&secret).await;
    let listed = listed.map_err(|error| {
        tracing::warn!(event = "tools_not_listed", detail = %error, "the upstream did not list its tools");
        not_listed()
    })?;
    let tools = by_name(&listed);
    let shown = tools.len().min(MAX_TOOLS);
    let mut rows: Vec<_> = tools
        .values()
        .take(shown)
        .map(|(tool, effect)| row(tool, *effect, connection, preset))
        .collect();
    if let Limit::Tools(names) = &connection.limit {
        let gone = names.iter().filter(|name| !tools.contains_key(name));
        rows.extend(gone.map(|name| ToolRow {
            name,
            title: None,
            description: None,
            effect: ToolEffect::Gone,
            chosen: preset.chooses(&connection.limit, name, ToolEffect::Gone),
            selectable: true,
        }));
    }
    let notice = flash.and_then(Flash::sentence);
    let refused = flash.and_then(|flash| RefusedPin::of_flash(flash, app.clock.now()));
    let page = Tools {
        connection: connection.id.as_str(),
        connection_name: &connection.shown_name(),
        upstream_name: &app.config.upstream.name,
        rows: &rows,
        not_shown: tools.len() - shown,
        csrf: &session.csrf,
        notice: notice.as_deref(),
        pin_notice: refused.as_ref().map(|refused| refused.notice),
    };
    Ok(RefusedPin::page(refused.as_ref(), page.render()))
}

/// The tools in the order of their names. Of two with one name, the more dangerous description counts.
fn by_name(tools: &[Tool]) -> BTreeMap<&str, (&Tool, ToolEffect)> {
    let mut by_name = BTreeMap::new();
    for tool in tools {
        let effect = match tool {
            Tool {
                read_only: true, ..
            } => ToolEffect::Reads,
            Tool {
                destructive: true, ..
            } => ToolEffect::Destroys,
            _ => ToolEffect::Writes,
        };
        let (_, worst) = by_name.entry(&*tool.name).or_insert((tool, effect));
        if danger(effect) > danger(*worst) {
            *worst = effect;
        }
    }
    by_name
}

fn danger(effect: ToolEffect) -> u8 {
    match effect {
        ToolEffect::Gone | ToolEffect::Reads => 0,
        ToolEffect::Writes => 1,
        ToolEffect::Destroys => 2,
    }
}

fn row<'a>(
    tool: &'a Tool,
    effect: ToolEffect,
    connection: &Connection,
    preset: Preset,
) -> ToolRow<'a> {
    let selectable = ToolNames::new([tool.name.clone()]).is_ok();
    ToolRow {
        name: &tool.name,
        title: tool.title.as_deref(),
        description: tool.description.as_deref(),
        effect,
        chosen: selectable && preset.chooses(&connection.limit, &tool.name, effect),
        selectable,
    }
}

fn not_listed() -> PageError {
    let what = "The server did not tell which tools it has, so none can be chosen.";
    let todo = "Try again in a minute. \"Read only\" can be chosen without the list.";
    PageError::new(
        StatusCode::BAD_GATEWAY,
        "The tools are not known",
        what,
        todo,
    )
}
