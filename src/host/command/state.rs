//! Where connections are kept: a file, memory, or a DynamoDB endpoint.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dynoxide::Database;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{StartError, private_files, settings::Settings};
use crate::{
    config::Config,
    host::{aws, engine},
    http_client::HttpClient,
    store::{DynamoDb, ReadItem, table},
};

/// The table of a state.
pub struct OpenState {
    /// Reads and writes it.
    pub dynamodb: DynamoDb,
    /// Reads single items of the embedded engine.
    pub reader: Option<Arc<dyn ReadItem>>,
}

/// A place for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A file of the embedded engine.
    File(PathBuf),
    /// Gone when the program stops.
    Memory,
    /// The URL of a DynamoDB endpoint.
    Endpoint(String),
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Memory => f.write_str("memory"),
            Self::Endpoint(url) => f.write_str(url),
        }
    }
}

impl State {
    /// Parses `--state`.
    pub fn parse(text: &str) -> Self {
        match text {
            "memory" => Self::Memory,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Self::Endpoint(url.to_owned())
            }
            path => Self::File(path.into()),
        }
    }

    /// The state for an upstream, unless `--state` says otherwise: one file for each upstream, so that a connection made
    /// for one is never good for another. `None` without a home directory.
    pub fn default_for(settings: &Settings, config: &Config) -> Option<Self> {
        let set = |name| settings.set(name).map(PathBuf::from);
        let base =
            set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
        let folder = base.join("lambda-oauth-mcp-proxy");
        Some(Self::File(
            folder.join(format!("{}.db", state_name(&config.upstream.url))),
        ))
    }

    /// Opens it, and creates what does not exist yet.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub async fn open(&self, http: &HttpClient, table_name: &str) -> Result<OpenState, StartError> {
        let failure = |error: String| StartError::Failure(format!("the state at {self} {error}"));
        let opened = match self {
            Self::Endpoint(url) => {
                let dynamodb = created(aws::local_dynamodb(http.for_sdk(), url), table_name);
                return Ok(OpenState {
                    dynamodb: dynamodb.await.map_err(failure)?,
                    reader: None,
                });
            }
            Self::Memory => Database::memory(),
            Self::File(path) => {
                open_file(path).map_err(failure)?;
                Database::new(&path.to_string_lossy())
            }
        };
        let database = opened.map_err(|error| failure(format!("cannot be opened: {error}")))?;
        let dynamodb = aws::embedded_dynamodb(engine::http_client(database.clone()));
        Ok(OpenState {
            dynamodb: created(dynamodb, table_name).await.map_err(failure)?,
            reader: Some(engine::reader(database)),
        })
    }
}

/// The longest state name that is written out.
const STATE_NAME_CHARACTERS_MAX: usize = 100;

/// A name for the state of this upstream, from host, port and path: `mcp.example.com+8443_a_b`. Different upstreams have
/// different names, also where file names ignore case: whatever cannot be written like this is hashed. The query has
/// no part in it, because it may be a key that changes.
fn state_name(upstream: &Url) -> String {
    let host = upstream.host_str().unwrap_or_default();
    let path = upstream.path();
    let port = upstream.port().map(|port| format!("+{port}"));
    let port = port.unwrap_or_default();
    let name = format!("{host}{port}{}", if path == "/" { "" } else { path });
    let is_plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '/');
    if format!("{host}{path}").chars().all(is_plain) && name.len() <= STATE_NAME_CHARACTERS_MAX {
        return name.replace('/', "_");
    }
    let hash = Sha256::digest(format!("{port}{path}"));
    let hash = hash[..8].iter().map(|byte| format!("{byte:02x}"));
    let host = host.replace([':', '[', ']'], "_");
    format!("{host}+{}", hash.collect::<String>())
}

async fn created(dynamodb: DynamoDb, table_name: &str) -> Result<DynamoDb, String> {
    match table::create(&dynamodb, table_name).await {
        Ok(()) => Ok(dynamodb),
        Err(error) => Err(format!("cannot be used: {}", error.detail)),
    }
}

/// Creates the file if there is none, and otherwise makes sure that it is one of this program.
fn open_file(path: &Path) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot be opened: {error}");
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        private_files::create_directory(directory).map_err(cannot)?;
    }
    private_files::create(path).map_err(cannot)?;
    check_file(path)?;
    private_files::make_private(path)
}

/// The table in which the engine lists its tables.
const ENGINE_TABLE: &str = "_tables";

/// Whether the file is a complete `SQLite` database with the tables of the engine, or empty. The engine itself would add its
/// tables to any database, and says what is wrong with others in the words of its libraries.
fn check_file(path: &Path) -> Result<(), String> {
    const FOREIGN: &str =
        "is not a state file of this program. Nothing was changed; give another path with --state";
    const DAMAGED: &str = "is damaged. Restore it from a backup, or move it away: \
                           the program then creates a new one, and your clients connect again";
    let check = || -> rusqlite::Result<(u64, u64, String)> {
        let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let count = |condition| {
            let query = format!("SELECT count(*) FROM sqlite_master WHERE {condition}");
            file.query_row(&query, [], |row| row.get(0))
        };
        let (all, engine) = (count("1")?, count(&format!("name = '{ENGINE_TABLE}'"))?);
        let health = file.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((all, engine, health))
    };
    match check() {
        Ok((1.., 0, _)) => Err(FOREIGN.to_owned()),
        Ok((_, _, health)) if health != "ok" => Err(DAMAGED.to_owned()),
        Ok(_) => Ok(()),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Err(FOREIGN.to_owned()),
            Some(ErrorCode::DatabaseCorrupt) => Err(DAMAGED.to_owned()),
            // In use, not readable: opening it says so.
            _ => Ok(()),
        },
    }
}
