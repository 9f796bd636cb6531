//! The upstream's own list of tools: for the owner, who chooses from it, and for connections that may only read.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{
    Failure, Upstream,
    session::{Answer, Session},
};
use crate::secrets::Secret;

/// Most tools of an upstream.
const MAX_TOOLS: usize = 10_000;
/// Most pages of a list.
const MAX_PAGES: usize = 1000;
/// How long the whole list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a list is used.
const LIST_LIFETIME_SECONDS: u64 = 300;
/// Most URLs of the upstream whose lists are kept.
const MAX_KEPT_LISTS: usize = 16;

/// A tool, as the upstream describes it: untrusted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name, by which it is called.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Whether the upstream says that it only reads.
    pub read_only: bool,
    /// Whether it may delete or overwrite something: unless the upstream says that it does not (MCP, Tool Annotations).
    pub destructive: bool,
}

/// Why there is no list.
#[derive(Debug)]
pub enum ListError {
    /// The upstream gave no response.
    Failure(Failure),
    /// Its response cannot be used. Without text of the response.
    Invalid(&'static str),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(Failure::Unreachable(_)) => f.write_str("it cannot be reached"),
            Self::Failure(Failure::Silent(_)) => f.write_str("it did not answer in time"),
            Self::Failure(Failure::CredentialRefused) => f.write_str("it refused the access token"),
            Self::Failure(_) => f.write_str("it gave no usable response"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

/// The names of the tools that only read, by the URL at which they were listed.
#[derive(Clone, Debug, Default)]
pub struct ReadingTools(Arc<Mutex<HashMap<Url, Slot>>>);

/// A list and when it was fetched. Locked while it is fetched, so that requests at the same time fetch it once.
type Slot = Arc<tokio::sync::Mutex<Option<(u64, Arc<HashSet<String>>)>>>;

impl ReadingTools {
    fn slot(&self, url: &Url) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_KEPT_LISTS && !slots.contains_key(url) {
            // Clients choose paths below the endpoint; their lists are fetched again.
            slots.clear();
        }
        slots.entry(url.clone()).or_default().clone()
    }
}

impl Upstream {
    /// The tools at the upstream's own URL, now.
    ///
    /// # Errors
    /// When they cannot be listed completely.
    pub async fn list_tools(&self, secret: &Secret) -> Result<Vec<Tool>, ListError> {
        self.list_tools_at(self.config().url.clone(), secret).await
    }

    /// The names of the tools at this URL that only read, as they were at most five minutes ago. `now` is in seconds.
    ///
    /// # Errors
    /// When they cannot be listed completely. Errors are not kept.
    pub async fn reading_tools_at(
        &self,
        url: &Url,
        secret: &Secret,
        now: u64,
    ) -> Result<Arc<HashSet<String>>, ListError> {
        let slot = self.reading_tools.slot(url);
        let mut kept = slot.lock().await;
        if let Some((fetched_at, names)) = &*kept
            && (*fetched_at..*fetched_at + LIST_LIFETIME_SECONDS).contains(&now)
        {
            return Ok(names.clone());
        }
        let names = Arc::new(reading(&self.list_tools_at(url.clone(), secret).await?));
        *kept = Some((now, names.clone()));
        Ok(names)
    }

    async fn list_tools_at(&self, url: Url, secret: &Secret) -> Result<Vec<Tool>, ListError> {
        let list = async {
            let mut session = Session::open(self, url, secret).await?;
            let tools = every_page(&mut session).await;
            session.close().await;
            tools
        };
        let in_time = tokio::time::timeout(LIST_TIMEOUT, list).await;
        in_time.unwrap_or(Err(ListError::Failure(Failure::Silent(LIST_TIMEOUT))))
    }
}

async fn every_page(session: &mut Session<'_>) -> Result<Vec<Tool>, ListError> {
    let (mut tools, mut cursors) = (Vec::new(), HashSet::new());
    let mut params = json!({});
    for _ in 0..MAX_PAGES {
        let Answer::Result(result) = session.call("tools/list", params).await? else {
            return Err(ListError::Invalid("it answered tools/list with an error"));
        };
        let page: Page = serde_json::from_str(&result)
            .map_err(|_| ListError::Invalid("its list of tools is malformed"))?;
        tools.extend(page.tools.into_iter().map(Tool::from));
        if tools.len() > MAX_TOOLS {
            return Err(ListError::Invalid("it has more than 10,000 tools"));
        }
        let Some(cursor) = page.next_cursor else {
            return Ok(tools);
        };
        params = json!({ "cursor": cursor });
        if !cursors.insert(cursor) {
            return Err(ListError::Invalid("its list of tools repeats a cursor"));
        }
    }
    Err(ListError::Invalid(
        "its list of tools has more than 1000 pages",
    ))
}

/// The names of the tools that only read. Of a name that is there twice, each must.
fn reading(tools: &[Tool]) -> HashSet<String> {
    let names = |read_only: bool| {
        let tools = tools.iter().filter(move |tool| tool.read_only == read_only);
        tools.map(|tool| tool.name.as_str()).collect::<HashSet<_>>()
    };
    names(true)
        .difference(&names(false))
        .map(|name| (*name).to_owned())
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<PageEntry>,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct PageEntry {
    name: String,
    #[serde(default)]
    title: Value,
    #[serde(default)]
    description: Value,
    #[serde(default)]
    annotations: Value,
}

impl From<PageEntry> for Tool {
    fn from(entry: PageEntry) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let read_only = entry.annotations["readOnlyHint"] == true;
        Self {
            title: text(&entry.title).or_else(|| text(&entry.annotations["title"])),
            description: text(&entry.description),
            read_only,
            destructive: !read_only && entry.annotations["destructiveHint"] != false,
            name: entry.name,
        }
    }
}
