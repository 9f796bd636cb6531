//! The table in tests/README.md: every test that it names exists, and every row names a test or says that there is
//! none.

use std::collections::BTreeSet;

use super::files::{read, rust_files};

/// The names of tests in backticks: `file::test`.
fn named(table: &str) -> BTreeSet<(String, String)> {
    let words = table.split('`').skip(1).step_by(2);
    words
        .filter_map(|word| word.split_once("::"))
        .map(|(file, test)| (file.to_owned(), test.to_owned()))
        .collect()
}

#[test]
fn every_test_that_the_table_names_exists() {
    let table = read("tests/README.md");
    let named = named(&table);
    assert!(named.len() > 100, "only {} are named", named.len());
    let mut missing = Vec::new();
    for (file, test) in &named {
        let path = if file.starts_with("src/") || file.starts_with("tests/") {
            file.clone()
        } else {
            format!("tests/http/{file}.rs")
        };
        let source = read(&path);
        // A function of its own, or a row of a table of tests.
        let function = source.contains(&format!("fn {test}("));
        let row = source.contains(&format!("    {test}: "));
        if !function && !row {
            missing.push(format!("{file}::{test}"));
        }
    }
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn every_row_names_a_test_or_says_that_there_is_none() {
    let table = read("tests/README.md");
    let rows = table
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|--"));
    let mut rows = rows.filter(|line| !line.ends_with("| Where |")).peekable();
    assert!(rows.peek().is_some());
    for row in rows {
        let tested = row.contains("::") || row.contains(".mjs`") || row.contains(".py`");
        assert!(tested || row.contains("no test:"), "{row}");
    }
}

#[test]
fn every_attack_and_fault_is_in_the_table() {
    let named = named(&read("tests/README.md"));
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
