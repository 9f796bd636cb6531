//! The tables in tests/README.md, in the threat model and in the page on faults: every test that they name exists, and every row names a test or
//! says that there is none.

use std::collections::BTreeSet;

use super::files::{read, rust_files};

const REQUIREMENTS: &str = "tests/README.md";
const THREAT_MODEL: &str = "docs/reference/threat-model.md";
const FAULTS: &str = "docs/reference/faults.md";

/// The names of tests in backticks: `file::test`.
fn named(table: &str) -> BTreeSet<(String, String)> {
    let words = table.split('`').skip(1).step_by(2);
    words
        .filter_map(|word| word.split_once("::"))
        .map(|(file, test)| (file.to_owned(), test.to_owned()))
        .collect()
}

/// Whether there is a test of this name: a function, a row of a table of tests, or the words of a check of a script.
fn exists(file: &str, test: &str) -> bool {
    let is_script = file.contains(".mjs") || file.contains(".py");
    let folders = ["lambda/", "repo/", "explore/"];
    let path = if is_script || folders.iter().any(|folder| file.starts_with(folder)) {
        format!("tests/{file}")
    } else if file.starts_with("src/") {
        file.to_owned()
    } else {
        format!("tests/http/{file}")
    };
    let path = if path.contains('.') {
        path
    } else {
        format!("{path}.rs")
    };
    let source = read(&path);
    let rust = source.contains(&format!("fn {test}(")) || source.contains(&format!("    {test}: "));
    if is_script {
        source.contains(test)
    } else {
        rust
    }
}

#[test]
fn every_test_that_a_table_names_exists() {
    for (page, at_least) in [(REQUIREMENTS, 100), (THREAT_MODEL, 50), (FAULTS, 25)] {
        let table = read(page);
        let named = named(&table);
        assert!(
            named.len() > at_least,
            "{page}: only {} are named",
            named.len()
        );
        let missing: Vec<_> = named
            .iter()
            .filter(|(file, test)| !exists(file, test))
            .collect();
        assert!(missing.is_empty(), "{page}: no such tests: {missing:#?}");
    }
}

#[test]
fn every_row_names_a_test_or_says_that_there_is_none() {
    for page in [REQUIREMENTS, THREAT_MODEL, FAULTS] {
        let table = read(page);
        let rows = table
            .lines()
            .filter(|line| line.starts_with('|') && !line.starts_with("|--"));
        let mut rows = rows.filter(|line| !line.ends_with("| Where |")).peekable();
        assert!(rows.peek().is_some());
        for row in rows {
            let tested = row.contains("::") || row.contains(".mjs`") || row.contains(".py`");
            assert!(tested || row.contains("no test:"), "{page}: {row}");
        }
    }
}

#[test]
fn every_attack_and_fault_is_in_the_table() {
    let named = named(&read(REQUIREMENTS));
    for folder in ["attacks", "faults"] {
        for (path, source) in rust_files(&format!("tests/http/{folder}")) {
            let file = path.with_extension("");
            let module = format!("{folder}/{}", file.display());
            for after in source.split("#[tokio::test").skip(1) {
                let test = after.split_once("async fn ").unwrap().1;
                let test = test.split_once('(').unwrap().0;
                let pair = (module.clone(), test.to_owned());
                assert!(
                    named.contains(&pair),
                    "{module}::{test} is not in the table"
                );
            }
        }
    }
}

#[test]
fn every_log_event_of_a_fault_is_documented() {
    let events = read("docs/operate/logs-and-metrics.md");
    let page = read(FAULTS);
    let rows = page.lines().filter(|line| line.contains("::"));
    for row in rows {
        let cell = row.split('|').nth(4).unwrap();
        for event in cell.split('`').skip(1).step_by(2) {
            assert!(events.contains(&format!("| `{event}` |")), "{event}: {row}");
        }
    }
}
