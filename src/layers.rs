//! The layers check: a room may name only rooms below its own, and some crates have only one home.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the ground up. Rooms of one line know nothing of each other.
const LAYERS: [&[&str]; 7] = [
    &["clock", "credential", "error", "client_document", "page"],
    &["oauth", "pin"],
    &["config", "http_client", "write_limits"],
    &["secrets", "store"],
    &["upstream"],
    &["app"],
    &["endpoint"],
];

/// Crates, and the rooms that may name them.
const HOMES: [(&str, &[&str]); 8] = [
    ("axum", &["endpoint", "host"]),
    ("lambda_http", &["host"]),
    ("lambda_runtime", &["host"]),
    ("clap", &["host"]),
    ("dynoxide", &["host"]),
    ("rmcp", &["host"]),
    ("askama", &["page"]),
    ("aws_sdk_dynamodb", &["store", "host"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that a source names: what follows each `crate::`, also within braces at the first level.
fn named_rooms(source: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect()
    };
    let mut rooms = Vec::new();
    for after in source.split("crate::").skip(1) {
        let Some(list) = after.strip_prefix('{') else {
            rooms.push(word(after));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    rooms.push(word(&list[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn rooms_are_found_however_they_are_named() {
    let source = "use crate::{app::{App, Caller}, store};\nfn f() { crate::page::x() }";
    assert_eq!(named_rooms(source), ["app", "store", "page"]);
}

#[test]
fn no_room_names_one_above_it_and_crates_stay_at_home() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50, "{}", files.len());
    let layer = |room: &str| LAYERS.iter().position(|rooms| rooms.contains(&room));
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        if matches!(room, "lib" | "main" | "layers") {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        for named in named_rooms(&source).iter().filter(|named| *named != room) {
            let below = match (layer(room), layer(named)) {
                (Some(own), Some(other)) => other < own,
                // The hosts stand on everything.
                (None, Some(_)) => room == "host",
                _ => false,
            };
            assert!(below, "{} names {named}", inside.display());
        }
        for (name, homes) in HOMES {
            let used = source.contains(&format!("{name}::"));
            assert!(
                !used || homes.contains(&room),
                "{} names {name}",
                inside.display()
            );
        }
    }
}
