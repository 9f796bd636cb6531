//! A call beside a million other connections and a million registrations, in turns with one beside none.

use std::{fs, path::Path};

use dynoxide::{AttributeValue, Database, ImportOptions};
use serde_json::json;

use crate::{
    Others, Report,
    local_host::{Proxy, calls_in_turns, median},
    servers::Servers,
};

const MILLION: usize = 1_000_000;
const CHUNK: usize = 10_000;
const TABLE: &str = "lambda-oauth-mcp-proxy";

pub async fn measure(servers: &Servers, report: &mut Report) {
    let directory = std::env::temp_dir().join(format!("bench-million-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let [few, many] = ["few.db", "many.db"].map(|name| directory.join(name));
    let state = |path: &Path| path.to_str().unwrap().to_owned();
    let connected = Proxy::start(servers.upstream, &state(&few), "0").await;
    let token = connected.target.token.clone();
    drop(connected);
    Database::new(&state(&few))
        .unwrap()
        .vacuum_into(&state(&many))
        .unwrap();
    fill(&Database::new(&state(&many)).unwrap());

    let few = Proxy::start_with(servers.upstream, &state(&few), "0", Some(token.clone())).await;
    let many = Proxy::start_with(servers.upstream, &state(&many), "0", Some(token)).await;
    let [mut few, mut many] = calls_in_turns([&few.target, &many.target]).await;
    for (name, times) in [
        (
            "a call, 1 connection, p50, nothing else in the table",
            &mut few,
        ),
        (
            "the same beside a million connections and a million registrations",
            &mut many,
        ),
    ] {
        report.row(name, Others::default(), median(times), "ms");
    }
    fs::remove_dir_all(&directory).unwrap();
}

/// Copies the connection and the registration a million times.
fn fill(database: &Database) {
    let scan = serde_json::from_value(json!({ "TableName": TABLE })).unwrap();
    let items = database.scan(scan).unwrap().items.unwrap();
    let text = |text: String| AttributeValue::S(text);
    database.enable_bulk_loading().unwrap();
    for kind in ["connection", "client#"] {
        let is_kind =
            |key: &AttributeValue| matches!(key, AttributeValue::S(key) if key.starts_with(kind));
        let model = items.iter().find(|item| is_kind(&item["pk"])).unwrap();
        for chunk in 0..MILLION / CHUNK {
            let copies = (0..CHUNK).map(|at| {
                let number = chunk * CHUNK + at;
                let mut copy = model.clone();
                if kind == "connection" {
                    copy.insert("sk".to_owned(), text(format!("copy{number:07}")));
                } else {
                    copy.insert("pk".to_owned(), text(format!("client#copy{number:07}")));
                }
                copy
            });
            let options = ImportOptions::default();
            database
                .import_items(TABLE, copies.collect(), options)
                .unwrap();
        }
    }
    database.disable_bulk_loading().unwrap();
}
