//! The command line.
//!
//! * [`serve`] – runs the proxy, for `serve` and `demo`
//! * [`connections`] – who is connected to a local state
//! * [`client_config`] – how to add the connector to a client
//! * [`doctor`] – looks at a connector as clients do
//! * [`settings`], [`listen`], [`state`], [`pin`], [`token`] – what these are given
//! * [`private_files`] – files that other users must not read
//! * [`browser`] – opens a page

mod browser;
mod client_config;
mod connections;
mod doctor;
mod listen;
mod pin;
mod private_files;
mod serve;
mod settings;
mod state;
mod token;

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use time::UtcOffset;

use crate::error::Unavailable;
use settings::Settings;

/// OAuth 2.1 in front of an MCP server that only takes a personal access token.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    arg_required_else_help = true,
    after_help = "\
Try it:          lambda-oauth-mcp-proxy demo
For your server: lambda-oauth-mcp-proxy serve      (asks for the token; UPSTREAM_MCP is its URL)
`--help` lists the settings.",
    after_long_help = settings::help()
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy in front of a small MCP server of its own: nothing to configure, nothing kept.
    Demo(serve::DemoArguments),
    /// Run the proxy in front of your MCP server.
    #[command(after_long_help = settings::help())]
    Serve(serve::Arguments),
    /// List or end the connections of `serve`.
    Connections {
        #[command(subcommand)]
        action: connections::Action,
        /// Where connections are kept, as for `serve`.
        #[arg(long, value_name = "PATH|URL", global = true)]
        state: Option<String>,
        /// A file with more settings, as for `serve`.
        #[arg(long, value_name = "PATH", global = true)]
        env_file: Option<PathBuf>,
    },
    /// Look at a connector as clients do, and say what they will stumble over. It works with any MCP server.
    Doctor(doctor::Arguments),
    /// Print how to add the connector to a client.
    ClientConfig(client_config::Arguments),
    /// Print a script that completes commands in your shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Why a command did not succeed.
enum StartError {
    /// Invalid settings or arguments, all of them: exit code 2.
    Settings(Vec<String>),
    /// Something failed: exit code 1.
    Failure(String),
    /// The same, and it has been said already.
    Reported,
}

impl StartError {
    fn no_state() -> Self {
        let what = "--state needs a path, because neither XDG_STATE_HOME nor HOME is set";
        Self::Settings(vec![what.to_owned()])
    }

    fn problems(self) -> Vec<String> {
        match self {
            Self::Settings(problems) => problems,
            Self::Failure(what) => vec![what],
            Self::Reported => Vec::new(),
        }
    }

    fn unavailable(error: Unavailable) -> Self {
        Self::Failure(error.to_string())
    }
}

/// Runs the command line. `environment` is that of the process, `offset` that of its local time. Exit code 0 after an
/// orderly stop, 1 for a failure, 2 for invalid arguments or settings.
pub async fn run(environment: BTreeMap<String, String>, offset: UtcOffset) -> ExitCode {
    match execute(Arguments::parse().command, environment, offset).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Settings(problems)) => {
            say_error(&format!(
                "These settings are invalid:\n  * {}\n",
                problems.join("\n  * ")
            ));
            ExitCode::from(2)
        }
        Err(StartError::Failure(what)) => {
            say_error(&format!("{what}\n"));
            ExitCode::FAILURE
        }
        Err(StartError::Reported) => ExitCode::FAILURE,
    }
}

async fn execute(
    command: Command,
    environment: BTreeMap<String, String>,
    offset: UtcOffset,
) -> Result<(), StartError> {
    match command {
        Command::Demo(arguments) => {
            serve::demo(arguments, &read_settings(environment, None)?, offset).await
        }
        Command::Serve(arguments) => {
            let settings = read_settings(environment, arguments.env_file.as_ref())?;
            serve::serve(arguments, &settings, offset).await
        }
        Command::Connections {
            action,
            state,
            env_file,
        } => {
            let settings = read_settings(environment, env_file.as_ref())?;
            connections::run(action, state.as_deref(), &settings).await
        }
        Command::Doctor(arguments) => {
            doctor::run(arguments, &read_settings(environment, None)?).await
        }
        Command::ClientConfig(arguments) => {
            client_config::run(&arguments, &read_settings(environment, None)?)
        }
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let name = command.get_name().to_owned();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, name, &mut script);
            say(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

/// Reads the settings. Names the variables that were probably meant as settings, and a file that others can read.
fn read_settings(
    environment: BTreeMap<String, String>,
    file: Option<&PathBuf>,
) -> Result<Settings, StartError> {
    let settings = Settings::read(environment, file.map(PathBuf::as_path))?;
    let open = file.and_then(|path| private_files::warning("--env-file", path));
    for warning in settings.unknown().into_iter().chain(open) {
        say_error(&format!("{warning}\n"));
    }
    Ok(settings)
}

/// Rows as text, each cell as wide as the widest of its column.
fn columns<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // If nobody reads it, serving goes on.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn say_error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
