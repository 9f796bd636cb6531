//! The settings of the command line: environment variables, and a file with more of them.

use std::{collections::BTreeMap, path::Path};

use super::{StartError, token};

/// A setting, and its meaning in one line.
type Setting = (&'static str, &'static str);

/// Every setting that the command line reads. (The README says more about each.)
const SETTINGS: &[Setting] = &[
    ("UPSTREAM_MCP", "URL of your MCP server (default: GitHub's)"),
    (
        "UPSTREAM_TOKEN",
        "the token that it takes; asked for in a terminal if it is missing",
    ),
    ("UPSTREAM_TRANSPORT", "streamable-http (default) or sse"),
    ("UPSTREAM_NAME", "its name on pages"),
    (
        "UPSTREAM_AUTH_HEADER",
        "the header that carries the token (default: Authorization)",
    ),
    ("UPSTREAM_AUTH_SCHEME", "Bearer (default), Basic or none"),
    ("UPSTREAM_HEADERS", "headers sent with every call, as JSON"),
    (
        "FORWARD_HEADERS",
        "more headers of the client to forward, separated by commas",
    ),
    (
        "UPSTREAM_FIRST_BYTE_SECONDS",
        "how long to wait for a response to begin (default: 330)",
    ),
    (
        "AUTH_PIN",
        "the PIN (default: generated once, and kept with the state)",
    ),
    (
        "BASE_URL",
        "the https origin that clients use, behind a tunnel",
    ),
    (
        "ALSO_BASE_URLS",
        "earlier base URLs whose tokens stay valid, separated by commas",
    ),
    (
        "TRUSTED_PROXY_HEADER",
        "the header in which a tunnel sends the caller's IP address",
    ),
    (
        "ACCESS_TOKEN_SECONDS",
        "lifetime of an access token (default: 86400)",
    ),
    (
        "REFRESH_TOKEN_SECONDS",
        "an unused connection ends after this time (default: 2592000)",
    ),
    (
        "REFRESH_GRACE_SECONDS",
        "how long a refresh can be repeated (default: 120)",
    ),
    ("REGISTRATION", "open (default), documents or closed"),
    ("GET_STREAMS", "off (default) or on"),
    ("STREAM_MAX_SECONDS", "end event streams after this time"),
    ("LANDING_PAGE", "on (default) or off"),
    (
        "MANUAL_TOKENS",
        "on (default) or off: whether tokens can be created by hand",
    ),
    (
        "ACTIVITY_DAYS",
        "how many days tool calls are recorded (default: 30; 0: never)",
    ),
    ("LOG_FORMAT", "human (default) or json"),
    ("RUST_LOG", "which log lines are written"),
    (
        "XDG_STATE_HOME",
        "the folder for the state (default: ~/.local/state)",
    ),
    ("TABLE_NAME", "the name of the table in the state"),
];

/// What the help says about settings.
pub fn help() -> String {
    let width = SETTINGS
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    let mut help =
        "Settings are environment variables, or lines NAME=value of the file in --env-file:\n"
            .to_owned();
    for (name, meaning) in SETTINGS {
        help += &format!("  {name:width$}  {meaning}\n");
    }
    help
}

/// The environment, completed by the lines of a file.
pub struct Settings {
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the file, if there is one. A variable of the environment wins over a line of the file.
    ///
    /// # Errors
    /// When the file cannot be read. No message repeats a value.
    pub fn read(
        environment: BTreeMap<String, String>,
        file: Option<&Path>,
    ) -> Result<Self, StartError> {
        let file = match file {
            Some(path) => {
                let at = path.display();
                let problem = |what| StartError::Settings(vec![format!("--env-file {at} {what}")]);
                let text = token::text_file(path)
                    .map_err(|error| problem(format!("cannot be read: {error}")))?;
                lines(&text).map_err(problem)?
            }
            None => BTreeMap::new(),
        };
        Ok(Self { environment, file })
    }

    /// A setting.
    pub fn get(&self, name: &str) -> Option<String> {
        let given = self.environment.get(name).filter(|text| !text.is_empty());
        given.or_else(|| self.file.get(name)).cloned()
    }

    /// A setting that is more than white space.
    pub fn set(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.trim().is_empty())
    }

    /// Variables that look like settings and are none, each with the setting that was probably meant.
    pub fn unknown(&self) -> Vec<String> {
        let names = self.environment.keys().chain(self.file.keys());
        names.filter_map(|name| unknown(name)).collect()
    }
}

/// Names at least this similar to that of a setting count as misspelled. (Damerau and Levenshtein: the part of the
/// letters that need no change.)
const MISSPELLED_SIMILARITY: f64 = 0.8;

fn unknown(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    // Only on AWS.
    if name == "SECRET_ARN" || SETTINGS.iter().any(|(known, _)| *known == name) {
        return None;
    }
    let similarity = |known: &str| strsim::normalized_damerau_levenshtein(known, &upper);
    let similar = SETTINGS
        .iter()
        .map(|(known, _)| (similarity(known), *known));
    let (similarity, known) = similar.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (similarity >= MISSPELLED_SIMILARITY || upper.starts_with("UPSTREAM_"))
        .then(|| format!("{name} is not a setting: did you mean {known}?"))
}

/// Lines `NAME=value`, as shells and Docker read them: blank lines and comments are skipped, `export` in front and
/// quotation marks around the value are removed.
fn lines(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()));
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let Some((name, value)) = pair.filter(|(name, _)| is_name(name)) else {
            return Err(format!("line {}: write NAME=value", index + 1));
        };
        let unquoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        settings.insert(name.to_owned(), unquoted.unwrap_or(value).to_owned());
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::*;
    use crate::config::{Config, HostKind};

    fn read(file: &str, environment: &[(&str, &str)]) -> Settings {
        let environment = environment
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Settings {
            environment: environment.collect(),
            file: lines(file).unwrap(),
        }
    }

    #[test]
    fn a_file_is_read_as_shells_and_docker_do() {
        let settings = read(
            "\u{feff}# comment\r\n\r\nA=1\r\nexport B = 'two words' \nC=\"a=b#c\"\nD=\nE='\n",
            &[("A", "0"), ("D", "4"), ("B", "")],
        );
        for (name, value) in [
            ("A", "0"),
            ("B", "two words"),
            ("C", "a=b#c"),
            ("D", "4"),
            ("E", "'"),
        ] {
            assert_eq!(settings.get(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(
            lines("A=1\nsecret"),
            Err("line 2: write NAME=value".to_owned())
        );
        assert!(lines("a b=1").is_err());
    }

    #[test]
    fn misspelled_settings_are_named_and_others_are_left_alone() {
        let names = [
            "UPSTREAM_MPC",
            "upstream_mcp",
            "UPSTREAM_URL",
            "BASE_ULR",
            "AUTH_PIN_",
        ];
        let others = [
            "PATH",
            "HOME",
            "BASE",
            "PIN",
            "LOG",
            "TABLE",
            "AWS_REGION",
            "SECRET_ARN",
            "RUST_LOG",
        ];
        let all: Vec<_> = names
            .iter()
            .chain(&others)
            .map(|name| (*name, "x"))
            .collect();
        assert_eq!(
            read("REFRESH_TOKEN_SECS=1", &all).unknown(),
            [
                ("AUTH_PIN_", "AUTH_PIN"),
                ("BASE_ULR", "BASE_URL"),
                ("UPSTREAM_MPC", "UPSTREAM_MCP"),
                ("UPSTREAM_URL", "UPSTREAM_MCP"),
                ("upstream_mcp", "UPSTREAM_MCP"),
                ("REFRESH_TOKEN_SECS", "REFRESH_TOKEN_SECONDS"),
            ]
            .map(|(name, known)| format!("{name} is not a setting: did you mean {known}?"))
        );
    }

    #[test]
    fn the_list_has_every_setting_that_is_read_and_the_readme_has_the_same() {
        let read = RefCell::new(BTreeSet::new());
        let _ = Config::read(HostKind::Local, |name| {
            read.borrow_mut().insert(name.to_owned());
            None
        });
        let mut read = read.into_inner();
        read.remove("SECRET_ARN");
        read.extend(
            ["UPSTREAM_TOKEN", "AUTH_PIN", "RUST_LOG", "XDG_STATE_HOME"].map(str::to_owned),
        );
        let listed: BTreeSet<_> = SETTINGS
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert_eq!(read, listed);
        let readme = include_str!("../../../README.md");
        let section = readme.split("\n## Settings\n").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        for name in listed {
            assert!(
                section.contains(&format!("`{name}`")),
                "{name} is not in the README"
            );
        }
    }
}
