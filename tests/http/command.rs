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
