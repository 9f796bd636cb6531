//! docs/operate/logs-and-metrics.md is complete: every event with its fields, and every metric with its alarm.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::metrics::metric_of;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The words between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The page's rows: the first cell's word, and the words of the last cell.
fn rows(page: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let row = |line| -> Option<_> {
        let cells: Vec<&str> = str::strip_prefix(line, "| `")?.split(" | ").collect();
        let name = cells[0].strip_suffix('`')?;
        Some((name, quoted(cells.last()?).into_iter().collect()))
    };
    page.lines().filter_map(row).collect()
}

fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if !path.ends_with("documented.rs")
            && path.extension().is_some_and(|kind| kind == "rs")
        {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// The arguments of a call, from behind its opening bracket, split at the commas of the first level.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut depth, mut in_text, mut before) = (vec![String::new()], 0, false, ' ');
    for c in text.chars() {
        match c {
            '"' if before != '\\' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        before = c;
        found.last_mut().unwrap().push(c);
    }
    found
        .iter()
        .map(|argument| argument.trim().to_owned())
        .collect()
}

/// What is literally one of our words.
fn word(text: &str) -> Option<String> {
    let word = text.strip_prefix('"')?.strip_suffix('"')?;
    let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then(|| word.to_owned())
}

/// The names of an event that is chosen at run time: of an audit from its calls, of a failure from its arms.
fn chosen(source: &str, argument: &str) -> Vec<String> {
    if argument == "event" {
        let calls = source.split(" audit(").skip(1);
        return calls
            .filter_map(|call| word(arguments(call).last()?))
            .collect();
    }
    assert_eq!(argument, "event = word");
    let arms = source.split("fn failed(").nth(1).unwrap();
    arms.lines()
        .filter_map(|line| word(line.trim().strip_suffix(',')?))
        .collect()
}

/// Every event with its fields, as the sources write them.
fn written() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut events: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &files {
        for level in ["error", "warn", "info"] {
            for call in source.split(&format!("tracing::{level}!(")).skip(1) {
                let arguments = arguments(call);
                let event = &arguments[0];
                let names = event
                    .strip_prefix("event = ")
                    .and_then(word)
                    .map_or_else(|| chosen(source, event), |name| vec![name]);
                assert!(!names.is_empty(), "{event}");
                let fields = arguments[1..]
                    .iter()
                    .filter(|field| !field.is_empty() && !field.starts_with('"'))
                    .map(|field| field.split(" = ").next().unwrap().to_owned());
                for name in names {
                    events.entry(name).or_default().extend(fields.clone());
                }
            }
        }
    }
    events
}

#[test]
fn every_event_is_on_the_page_with_its_fields_and_no_other_is() {
    let page = fs::read_to_string(root().join("docs/operate/logs-and-metrics.md")).unwrap();
    let (events, _) = page.split_once("## Metrics").unwrap();
    let rows = rows(events);
    let written = written();
    assert!(written.len() > 25, "{written:#?}");
    for (event, fields) in &written {
        let row = rows.get(event.as_str());
        let row = row.unwrap_or_else(|| panic!("{event} is missing"));
        for field in fields {
            assert!(row.contains(field.as_str()), "{event} lacks {field}");
        }
    }
    for event in rows.keys() {
        assert!(written.contains_key(*event), "nothing writes {event}");
    }
}

#[test]
fn every_metric_is_on_the_page_and_has_its_alarm() {
    let page = fs::read_to_string(root().join("docs/operate/logs-and-metrics.md")).unwrap();
    let (_, metrics) = page.split_once("## Metrics").unwrap();
    let counted: BTreeSet<_> = written()
        .keys()
        .filter_map(|event| metric_of(event, "secret", 500))
        .collect();
    assert_eq!(rows(metrics).into_keys().collect::<BTreeSet<_>>(), counted);
    let template = fs::read_to_string(root().join("template.yaml")).unwrap();
    let alarms: BTreeSet<_> = template
        .split("Namespace: LambdaOAuthMcpProxy\n      MetricName: ")
        .skip(1)
        .map(|alarm| alarm.split_whitespace().next().unwrap())
        .collect();
    // Single wrong PINs are for charts; their alarm is the twentieth.
    assert_eq!(&counted - &alarms, BTreeSet::from(["WrongPin"]));
    assert!(alarms.is_subset(&counted), "{alarms:?}");
}
