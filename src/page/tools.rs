//! The page on which the owner chooses the tools that a connection may use.

use askama::Template;

use super::{Notice, Page, text};

/// What a tool does, as the upstream describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolEffect {
    /// It only reads.
    Reads,
    /// It changes something.
    Writes,
    /// It may delete or overwrite something.
    Destroys,
    /// The upstream does not offer it any more.
    Gone,
}

impl ToolEffect {
    const ALL: [Self; 4] = [Self::Reads, Self::Writes, Self::Destroys, Self::Gone];

    fn heading(self) -> &'static str {
        match self {
            Self::Reads => "Tools that only read",
            Self::Writes => "Tools that change something",
            Self::Destroys => "Tools that may delete or overwrite something",
            Self::Gone => "No longer offered by the server",
        }
    }
}

/// A tool of the upstream. Its texts are those of the upstream.
#[derive(Clone, Debug)]
pub struct ToolRow<'a> {
    /// Its name; the value of a field `tool`.
    pub name: &'a str,
    /// Its name for people.
    pub title: Option<&'a str>,
    /// What it is for.
    pub description: Option<&'a str>,
    /// What it does.
    pub effect: ToolEffect,
    /// Whether it is chosen.
    pub chosen: bool,
    /// Whether it can be chosen: a name with control characters cannot be in a form.
    pub selectable: bool,
}

impl ToolRow<'_> {
    fn name(&self) -> String {
        text::display(self.name, text::MAX_TOOL_NAME_CHARACTERS)
    }

    fn reads(&self) -> bool {
        self.effect == ToolEffect::Reads
    }

    /// The name for people, unless it is the name.
    fn title(&self) -> Option<String> {
        let title = text::display(self.title?, text::MAX_TOOL_NAME_CHARACTERS);
        (!title.is_empty() && title != self.name()).then_some(title)
    }

    /// The first sentences, on one line.
    fn description(&self) -> String {
        text::display(
            self.description.unwrap_or_default(),
            text::MAX_TOOL_DESCRIPTION_CHARACTERS,
        )
    }
}

/// `POST /connections` with `csrf`, `connection`, `action` = `tools`, and `tool` for each chosen one.
/// `GET /connections/tools` with `connection` and `select` = `all`, `reading` or `none` selects them without script.
///
/// No `Debug`: it contains a secret.
#[derive(Template)]
#[template(path = "tools.html")]
pub struct Tools<'a> {
    /// The id of the connection.
    pub connection: &'a str,
    /// Its name.
    pub connection_name: &'a str,
    /// The name of the server that offers the tools.
    pub upstream_name: &'a str,
    /// The tools, in the order in which they are shown.
    pub rows: &'a [ToolRow<'a>],
    /// How many more tools the server has than are shown.
    pub not_shown: usize,
    /// Hidden field `csrf`.
    pub csrf: &'a str,
    /// Why the last choice was not saved.
    pub notice: Option<&'a str>,
    /// Why the last PIN was not accepted.
    pub pin_notice: Option<Notice>,
}

impl Tools<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Page {
        super::page(self)
    }

    /// The groups that are not empty, each with its heading.
    fn groups(&self) -> Vec<(&'static str, Vec<&ToolRow<'_>>)> {
        ToolEffect::ALL
            .into_iter()
            .map(|effect| {
                let rows = self.rows.iter().filter(|row| row.effect == effect);
                (effect.heading(), rows.collect::<Vec<_>>())
            })
            .filter(|(_, rows)| !rows.is_empty())
            .collect()
    }

    fn name(&self) -> String {
        text::connection_name(self.connection_name)
    }
}
