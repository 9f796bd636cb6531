//! The table in tests/README.md: every test that it names exists, and every row says where it is tested or that it
//! is not.

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands in backticks and names a test: `file::test`.
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
        let path = if file.starts_with("src/") {
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
    for directory in ["attacks", "faults"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/http")
            .join(directory);
        for entry in fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let module = format!("{directory}/{}", name.trim_end_matches(".rs"));
            let source = read(&format!("tests/http/{directory}/{name}"));
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
