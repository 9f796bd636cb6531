//! The command line: its messages about missing or invalid settings, how it starts, and what it keeps.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use dynoxide::Database;

use crate::support::world::{Options, World};

/// A folder of one test, deleted at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("{test}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running command, ended when it is dropped.
struct Running(Child);

impl Running {
    /// Starts it, and reads what it prints until it serves.
    fn start(arguments: &[&str], settings: &[(&str, &str)]) -> (Self, String) {
        let mut child = command(arguments, settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !greeting.contains("Ctrl-C stops") {
            assert_ne!(lines.read_line(&mut greeting).unwrap(), 0, "{greeting}");
        }
        (Self(child), greeting)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"));
    command
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied());
    command
}

fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(arguments, settings).output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn without_a_subcommand_the_subcommands_are_named() {
    let (code, said) = run(&[], &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("demo") && said.contains("serve"), "{said}");
    assert!(said.lines().count() < 25, "{said}");
}

#[test]
fn all_invalid_settings_are_reported_at_once_with_what_to_do() {
    let (code, said) = run(
        &["serve", "--listen", "0.0.0.0:0"],
        &[
            ("UPSTREAM_MCP", "http://mcp.example.com/"),
            ("AUTH_PIN", "se cret"),
            ("ACCESS_TOKEN_SECONDS", "soon"),
            ("REGISTRATION", "sometimes"),
        ],
    );
    assert_eq!(code, Some(2));
    for (name, way_out) in [
        ("UPSTREAM_MCP", "https://"),
        ("UPSTREAM_TOKEN", "access token"),
        ("AUTH_PIN", "6 to 64"),
        ("ACCESS_TOKEN_SECONDS", "60 to"),
        ("REGISTRATION", "open, documents, closed"),
        ("BASE_URL", "https origin"),
    ] {
        let line = said.lines().find(|line| line.contains(name));
        assert!(
            line.is_some_and(|line| line.contains(way_out)),
            "{name}: {said}"
        );
    }
    assert!(!said.contains("se cret"), "{said}");
}

#[test]
fn the_demo_listens_on_loopback_only() {
    let (code, said) = run(&["demo", "--listen", "0.0.0.0:0"], &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("loopback"), "{said}");
}

#[test]
fn a_state_file_that_cannot_be_opened_is_reported_with_the_reason() {
    let settings = [("UPSTREAM_TOKEN", "t"), ("PATH", "/nowhere")];
    let state = format!("{}/Cargo.toml/below.db", env!("CARGO_MANIFEST_DIR"));
    let (code, said) = run(
        &["serve", "--listen", "127.0.0.1:0", "--state", &state],
        &settings,
    );
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot be opened"), "{said}");
}

#[test]
fn misspelled_settings_are_named_also_those_in_the_file() {
    let folder = Folder::new("env-file");
    let file = folder.path("settings.env");
    fs::write(&file, "export UPSTREAM_TOKEN='a b'\nREGISTRATIN=open\n").unwrap();
    let (code, said) = run(
        &["serve", "--env-file", &file, "--state", "memory"],
        &[("UPSTREAM_MPC", "x")],
    );
    assert_eq!(code, Some(2));
    for line in [
        "UPSTREAM_MPC is not a setting: did you mean UPSTREAM_MCP?",
        "REGISTRATIN is not a setting: did you mean REGISTRATION?",
        // The token of the file was read.
        "UPSTREAM_TOKEN",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("a b"), "{said}");
    let (code, said) = run(&["serve", "--env-file", "/nowhere.env"], &[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--env-file /nowhere.env cannot be read"),
        "{said}"
    );
}

#[test]
fn the_help_lists_the_settings_and_other_commands_print_what_can_be_pasted() {
    let (code, said) = run(&["serve", "--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("UPSTREAM_AUTH_SCHEME") && said.contains("--token-file"),
        "{said}"
    );
    let url = [("BASE_URL", "https://mcp.example.com")];
    for (client, expected) in [
        (
            "claude-code",
            "claude mcp add --transport http github https://mcp.example.com/mcp\n",
        ),
        ("codex", "codex mcp login github\n"),
        ("project", "\"url\": \"https://mcp.example.com/mcp\""),
    ] {
        let (code, said) = run(&["client-config", client], &url);
        assert_eq!(code, Some(0));
        assert!(said.contains(expected), "{said}");
    }
    let (code, said) = run(&["client-config", "netscape"], &url);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("claude.ai") && said.contains("vscode"),
        "{said}"
    );
    let (code, said) = run(&["completions", "bash"], &[]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("complete -F") && said.contains("client-config"),
        "{said}"
    );
}

#[test]
fn a_foreign_or_damaged_state_file_gets_a_sentence_and_is_left_unchanged() {
    let folder = Folder::new("foreign");
    let text = folder.path("notes.txt");
    fs::write(
        &text,
        "not a database, but longer than the header of one would be".repeat(9),
    )
    .unwrap();
    let other = folder.path("other.db");
    let database = rusqlite::Connection::open(&other).unwrap();
    database.execute("CREATE TABLE notes (text)", []).unwrap();
    drop(database);
    let damaged = folder.path("damaged.db");
    drop(Database::new(&damaged).unwrap());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[8192..].fill(0xff);
    fs::write(&damaged, bytes).unwrap();
    for (path, sentence) in [
        (&text, "is not a state file of this program"),
        (&other, "is not a state file of this program"),
        (&damaged, "is damaged"),
    ] {
        let before = fs::read(path).unwrap();
        let (code, said) = run(
            &["serve", "--listen", "0", "--state", path],
            &[("UPSTREAM_TOKEN", "t")],
        );
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("{path} {sentence}")), "{said}");
        assert!(!said.contains("SQL"), "{said}");
        assert_eq!(fs::read(path).unwrap(), before, "{path}");
    }
}

#[test]
fn a_generated_pin_is_kept_with_the_state_and_the_page_is_opened() {
    let folder = Folder::new("pin");
    let state = folder.path("state.db");
    let opened = folder.path("opened");
    let opener = folder.path("xdg-open");
    fs::write(
        &opener,
        format!("#!/bin/sh\necho \"$1\" > {opened}.new && mv {opened}.new {opened}\n"),
    )
    .unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.0.display());
    let settings = [
        ("UPSTREAM_MCP", "http://127.0.0.1:9/mcp"),
        ("UPSTREAM_TOKEN", "t"),
        ("PATH", &*path),
    ];
    let arguments = ["serve", "--listen", "localhost:0", "--state", &state];
    let pin = |greeting: &str| {
        let line = greeting.lines().find_map(|line| line.strip_prefix("PIN: "));
        line.unwrap().split(' ').next().unwrap().to_owned()
    };
    let (first, greeting) = Running::start(&arguments, &settings);
    drop(first);
    let file = format!("{state}.pin");
    assert!(greeting.contains(&file), "{greeting}");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), pin(&greeting));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (second, again) = Running::start(&[&arguments[..], &["--open"]].concat(), &settings);
    assert_eq!(pin(&again), pin(&greeting));
    let url = again
        .lines()
        .next()
        .unwrap()
        .strip_prefix("Connector URL: ")
        .unwrap();
    if cfg!(all(unix, not(target_os = "macos"))) {
        while !Path::new(&opened).exists() {
            std::thread::yield_now();
        }
        assert_eq!(
            format!("{}/mcp", fs::read_to_string(&opened).unwrap().trim()),
            url
        );
    }
    drop(second);

    fs::write(&file, "short\n").unwrap();
    let (code, said) = run(&arguments, &settings);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&file) && said.contains("6 to 64") && !said.contains("short"),
        "{said}"
    );
}

#[tokio::test]
async fn connections_are_listed_and_ended_while_the_proxy_is_running() {
    let folder = Folder::new("connections");
    let state = folder.path("state.db");
    let on = |arguments: &[&str]| {
        run(
            &[&["connections", "--state", &state], arguments].concat(),
            &[],
        )
    };
    let (code, said) = on(&["list"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("nobody has connected"), "{said}");
    assert!(!Path::new(&state).exists());

    let database = Some(Database::new(&state).unwrap());
    let w = World::with_options(Options {
        database,
        ..Options::default()
    })
    .await;
    let (one, two, three) = (w.connect().await, w.connect().await, w.connect().await);
    let (code, said) = on(&["list"]);
    assert_eq!(code, Some(0));
    assert_eq!(said.matches("Test client").count(), 3, "{said}");
    let id = |access: &str| {
        access
            .strip_prefix("mcp_at_")
            .unwrap()
            .split('.')
            .next()
            .unwrap()
            .to_owned()
    };
    let ids = [id(&one.access), id(&two.access), id(&three.access)];
    assert!(ids.iter().all(|id| said.contains(id)), "{said}");

    let (code, said) = on(&["end", "--", &ids[0], "nobody"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("nothing was ended"), "{said}");
    assert_eq!(w.status(&one.access).await, 200);
    let (code, said) = on(&["end", "--", &ids[0][..12]]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(w.status(&one.access).await, 401);
    assert_eq!(w.status(&two.access).await, 200);
    let (code, said) = on(&["end", "--all"]);
    assert_eq!(code, Some(0), "{said}");
    for access in [&two.access, &three.access] {
        assert_eq!(w.status(access).await, 401);
    }
}

#[test]
fn each_upstream_has_a_state_file_of_its_own_with_a_readable_name() {
    // Nobody can listen there, so the program ends before it serves.
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = occupied.local_addr().unwrap().to_string();
    let home = std::env::temp_dir().join(format!("state-files-{}", std::process::id()));
    for upstream in [
        "http://127.0.0.1:81/a",
        "http://127.0.0.1:81/a/",
        "http://127.0.0.1:81/b/c",
        "http://127.0.0.1:81/B/c",
        "http://127.0.0.1:81/b_c",
        "http://127.0.0.1:82/a?key=k-1",
        "http://[::1]/a",
    ] {
        let settings = [
            ("UPSTREAM_MCP", upstream),
            ("UPSTREAM_TOKEN", "t"),
            ("XDG_STATE_HOME", home.to_str().unwrap()),
        ];
        let (code, said) = run(&["serve", "--listen", &listen], &settings);
        assert!(code == Some(1) && said.contains("cannot listen"), "{said}");
    }
    let files = std::fs::read_dir(home.join("lambda-oauth-mcp-proxy")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    std::fs::remove_dir_all(&home).unwrap();
    // Besides them are SQLite's journals.
    let files: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "db"))
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    for readable in [
        "127.0.0.1+81_a.db",
        "127.0.0.1+81_a_.db",
        "127.0.0.1+81_b_c.db",
        "127.0.0.1+82_a.db",
    ] {
        assert!(files.contains(&readable), "{files:?}");
    }
    assert_eq!(files.len(), 7, "{files:?}");
}

#[cfg(unix)]
#[test]
fn the_state_can_be_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = occupied.local_addr().unwrap().to_string();
    let home = std::env::temp_dir().join(format!("private-state-{}", std::process::id()));
    let settings = [
        ("UPSTREAM_MCP", "http://127.0.0.1:81/a"),
        ("UPSTREAM_TOKEN", "t"),
        ("XDG_STATE_HOME", home.to_str().unwrap()),
    ];
    run(&["serve", "--listen", &listen], &settings);
    let directory = home.join("lambda-oauth-mcp-proxy");
    let mut paths = vec![directory.clone()];
    paths.extend(
        std::fs::read_dir(&directory)
            .unwrap()
            .map(|file| file.unwrap().path()),
    );
    let modes = paths
        .iter()
        .map(|path| path.metadata().unwrap().permissions().mode());
    let modes: Vec<_> = modes.collect();
    std::fs::remove_dir_all(&home).unwrap();
    assert!(modes.len() > 1);
    assert!(
        modes.iter().all(|mode| mode & 0o700 == mode & 0o777),
        "{modes:?}"
    );
}
