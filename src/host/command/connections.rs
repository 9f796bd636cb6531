//! `connections`: who is connected to a local state, and ending connections without the web page.

use clap::Subcommand;

use super::{StartError, say, settings::Settings, state::State};
use crate::{
    clock::Clock,
    config::{Config, HostKind},
    credential::Randomness,
    http_client::{HttpClient, tls},
    page::{Timestamp, display},
    store::{Store, record::Connection},
};

/// What to do with the connections.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the connections: id, client, last use, since when, from which IP address.
    List,
    /// End connections. It takes effect at their next request, also while the proxy is running.
    End {
        /// Ids, or the beginnings of ids that no other connection has. If one begins with a hyphen, put `--` in front.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// End every connection.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

/// Longest name of a client that is shown, in characters.
const NAME_CHARACTERS_MAX: usize = 40;

/// Lists or ends connections.
///
/// # Errors
/// When the state cannot be used, or an id is not that of one connection.
pub async fn run(
    action: Action,
    state: Option<&str>,
    settings: &Settings,
) -> Result<(), StartError> {
    let config =
        Config::read(HostKind::Local, |name| settings.get(name)).map_err(StartError::Settings)?;
    let state = match state {
        Some(state) => State::parse(state),
        None => State::default_for(settings, &config).ok_or_else(StartError::no_state)?,
    };
    match &state {
        State::Memory => {
            let what =
                "--state memory has no connections: they are in the memory of the running program";
            return Err(StartError::Settings(vec![what.to_owned()]));
        }
        State::File(path) if !path.exists() => {
            let what = format!("there is no state at {state} yet: nobody has connected");
            return Err(StartError::Failure(what));
        }
        State::File(_) | State::Endpoint(_) => {}
    }
    let clock = Clock::system();
    let http = HttpClient::new(tls(), clock.clone());
    let open = state.open(&http, &config.table_name).await?;
    let store = Store::new(open.dynamodb, config.table_name, Randomness::system());
    let connections = store
        .connections(clock.now())
        .await
        .map_err(StartError::unavailable)?;
    match action {
        Action::List => say(&table(&connections, &state)),
        Action::End { all: true, .. } => {
            // Those too that have expired, or that this version cannot read.
            let ids = store
                .connection_ids()
                .await
                .map_err(StartError::unavailable)?;
            for id in &ids {
                store
                    .end_connection(id)
                    .await
                    .map_err(StartError::unavailable)?;
            }
            say(&format!("Ended {} connection(s).\n", ids.len()));
        }
        Action::End { ids, all: false } => {
            let chosen: Result<Vec<_>, _> = ids.iter().map(|id| chosen(&connections, id)).collect();
            for connection in chosen? {
                store
                    .end_connection(&connection.id)
                    .await
                    .map_err(StartError::unavailable)?;
                say(&format!(
                    "Ended {} ({})\n",
                    connection.shown_name(),
                    connection.id.as_str()
                ));
            }
        }
    }
    Ok(())
}

fn chosen<'a>(connections: &'a [Connection], id: &str) -> Result<&'a Connection, StartError> {
    let mut found = connections
        .iter()
        .filter(|connection| connection.id.as_str().starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(StartError::Failure(format!(
            "no connection has the id {id}; nothing was ended"
        ))),
        (Some(_), Some(_)) => Err(StartError::Failure(format!(
            "several connections have an id that begins with {id}; nothing was ended"
        ))),
    }
}

fn table(connections: &[Connection], state: &State) -> String {
    if connections.is_empty() {
        return format!("No connections in {state}.\n");
    }
    let header = ["ID", "CLIENT", "LAST USED", "SINCE", "FROM"].map(str::to_owned);
    let row = |connection: &Connection| {
        let time = |seconds| Timestamp::of_unix_seconds(seconds).text;
        [
            connection.id.as_str().to_owned(),
            connection.shown_name(),
            time(connection.last_used_at),
            time(connection.created_at),
            display(&connection.address, NAME_CHARACTERS_MAX),
        ]
    };
    super::columns(
        std::iter::once(header)
            .chain(connections.iter().map(row))
            .collect(),
    )
}
