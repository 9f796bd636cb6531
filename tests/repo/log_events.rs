//! docs/operate/logs-and-metrics.md is complete: every event with its fields, and every metric with its alarm.

use std::collections::{BTreeMap, BTreeSet};

use super::files::{read, rust_files};

const PAGE: &str = "docs/operate/logs-and-metrics.md";

/// The words between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of the page's tables: the word in the first cell, and the words in the last cell.
fn rows(page: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let row = |line| -> Option<_> {
        let cells: Vec<&str> = str::strip_prefix(line, "| `")?.split(" | ").collect();
        let name = cells[0].strip_suffix('`')?;
        Some((name, quoted(cells.last()?).into_iter().collect()))
    };
    page.lines().filter_map(row).collect()
}

/// The arguments of a call, after its opening bracket, split at the commas of the first level.
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

/// The text of a string literal that is the name of an event.
fn event_name(text: &str) -> Option<String> {
    let name = text.strip_prefix('"')?.strip_suffix('"')?;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then(|| name.to_owned())
}

/// The names of an event that is chosen at run time: those of `log_tokens` from its calls, those of `failed` from its arms.
fn chosen(source: &str, argument: &str) -> Vec<String> {
    if argument == "event" {
        let calls = source.split(" log_tokens(").skip(1);
        return calls
            .filter_map(|call| event_name(arguments(call).last()?))
            .collect();
    }
    assert_eq!(argument, "event = word");
    let arms = source.split("fn failed(").nth(1).unwrap();
    arms.lines()
        .filter_map(|line| event_name(line.trim().strip_suffix(',')?))
        .collect()
}

/// Every event with its fields, as the program logs them.
fn written() -> BTreeMap<String, BTreeSet<String>> {
    let mut events: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, source) in &rust_files("src") {
        for level in ["error", "warn", "info"] {
            for call in source.split(&format!("tracing::{level}!(")).skip(1) {
                let arguments = arguments(call);
                let event = &arguments[0];
                let names = event
                    .strip_prefix("event = ")
                    .and_then(event_name)
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
    let page = read(PAGE);
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
        assert!(written.contains_key(*event), "nothing logs {event}");
    }
}

/// The events that count, each with its metric: the arms of `"event" => "Metric",`.
fn counted() -> BTreeMap<String, String> {
    let source = read("src/host/metrics.rs");
    let (_, function) = source.split_once("fn metric(").unwrap();
    let (arms, _) = function.split_once("_ => return None").unwrap();
    let arm = |line: &str| {
        let (event, metric) = line.trim().strip_suffix(',')?.split_once(" => ")?;
        // Without the condition of the arm.
        let metric = metric.trim_matches('"').to_owned();
        let events = event.split(" if ").next()?.split(" | ");
        let counted = events.filter_map(|event| Some((event_name(event)?, metric.clone())));
        Some(counted.collect::<Vec<_>>())
    };
    let found: BTreeMap<_, _> = arms.lines().filter_map(arm).flatten().collect();
    assert!(found.len() > 5, "{found:?}");
    found
}

#[test]
fn every_metric_is_on_the_page_and_has_its_alarm() {
    let page = read(PAGE);
    let (_, metrics) = page.split_once("## Metrics").unwrap();
    let counted = counted();
    let events = written();
    for event in counted.keys() {
        assert!(events.contains_key(event), "nothing logs {event}");
    }
    let counted: BTreeSet<_> = counted.values().map(String::as_str).collect();
    assert_eq!(rows(metrics).into_keys().collect::<BTreeSet<_>>(), counted);
    let template = read("template.yaml");
    let alarms: BTreeSet<_> = template
        .split("Namespace: LambdaOAuthMcpProxy\n      MetricName: ")
        .skip(1)
        .map(|alarm| alarm.split_whitespace().next().unwrap())
        .collect();
    // Single wrong PINs are for charts; their alarm is the twentieth.
    assert_eq!(&counted - &alarms, BTreeSet::from(["WrongPin"]));
    assert!(alarms.is_subset(&counted), "{alarms:?}");
}
