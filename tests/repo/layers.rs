//! A module uses only modules of lower layers, and some crates are used by a few modules only.

use super::files::rust_files;

/// The lowest layer first. Modules of one layer do not use each other.
const LAYERS: [&[&str]; 7] = [
    &[
        "background",
        "clock",
        "credential",
        "error",
        "client_document",
        "page",
    ],
    &["oauth", "pin", "limit", "connection_name"],
    &["config", "http_client", "write_limits"],
    &["secrets", "store"],
    &["upstream"],
    &["app"],
    &["endpoint"],
];

/// Crates, and the modules that may use them.
const CRATES: [(&str, &[&str]); 8] = [
    ("axum", &["endpoint", "host"]),
    ("lambda_http", &["host"]),
    ("lambda_runtime", &["host"]),
    ("clap", &["host"]),
    ("dynoxide", &["host"]),
    ("rmcp", &["host"]),
    ("askama", &["page"]),
    ("aws_sdk_dynamodb", &["store", "host"]),
];

/// The modules that a file uses: what follows each `crate::`, and what is in the braces after it.
fn used_modules(source: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect()
    };
    let mut modules = Vec::new();
    for after in source.split("crate::").skip(1) {
        let Some(list) = after.strip_prefix('{') else {
            modules.push(word(after));
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
                    modules.push(word(&list[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    modules.retain(|module| !module.is_empty());
    modules
}

#[test]
fn modules_are_found_in_every_form_of_use() {
    let source = "use crate::{app::{App, Caller}, store};\nfn f() { crate::page::x() }";
    assert_eq!(used_modules(source), ["app", "store", "page"]);
}

#[test]
fn a_module_uses_only_lower_layers_and_crates_stay_in_their_modules() {
    let files = rust_files("src");
    assert!(files.len() > 50, "{}", files.len());
    let layer = |module: &str| LAYERS.iter().position(|modules| modules.contains(&module));
    for (path, source) in files {
        let module = path.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        for used in used_modules(&source).iter().filter(|used| *used != module) {
            let below = match (layer(module), layer(used)) {
                (Some(own), Some(other)) => other < own,
                // The hosts may use everything.
                (None, Some(_)) => module == "host",
                _ => false,
            };
            assert!(below, "{} uses {used}", path.display());
        }
        for (name, modules) in CRATES {
            let used = source.contains(&format!("{name}::"));
            assert!(
                !used || modules.contains(&module),
                "{} uses {name}",
                path.display()
            );
        }
    }
}
