//! The command line: its messages about missing or invalid settings, and how it starts.

use std::process::{Command, Output};

fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_lambda-oauth-mcp-proxy"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn without_a_subcommand_both_are_named() {
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
fn each_upstream_has_a_state_file_of_its_own_with_a_readable_name() {
    // Nobody can listen there, so the program ends before it serves.
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = occupied.local_addr().unwrap().to_string();
    let home = std::env::temp_dir().join(format!("state-files-{}", std::process::id()));
    let files = || {
        let files = std::fs::read_dir(home.join("lambda-oauth-mcp-proxy")).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = files.filter(|name| name.ends_with(".db")).collect();
        files.sort();
        files
    };
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
    let files = files();
    std::fs::remove_dir_all(&home).unwrap();
    for readable in [
        "127.0.0.1+81_a.db",
        "127.0.0.1+81_a_.db",
        "127.0.0.1+81_b_c.db",
        "127.0.0.1+82_a.db",
    ] {
        assert!(files.contains(&readable.to_owned()), "{files:?}");
    }
    assert_eq!(files.len(), 7, "{files:?}");
}
