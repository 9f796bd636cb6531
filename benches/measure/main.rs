//! What this program adds to a call, measured beside direct calls in the same run; see docs/reference/performance.md.
//!
//!     cargo bench                 all rows, as Markdown, and as JSON in target/bench.json
//!     cargo bench -- local        only the local host; `lambda`: only the Lambda host
//!     cargo bench -- million      calls beside a million connections and a million registrations; not part of all rows
//!     cargo bench -- guard        instructions and allocations of a call; fails if there are too many
//!
//! The local host is the real program in a process of its own. The Lambda host is this program in a second process, with
//! the same code and one difference: it trusts the certificates of the stand-ins. Upstream, table and Runtime API are here.

#![allow(clippy::print_stdout, reason = "a benchmark speaks to whoever runs it")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on ends there; its figures are small; it runs by the real clock"
)]

#[path = "../../tests/support/authority.rs"]
mod authority;
mod client;
mod lambda_host;
mod local_host;
mod million;
mod nginx;
mod servers;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

/// One row of the result.
pub struct Row {
    name: String,
    others: Others,
    proxied: f64,
    unit: &'static str,
}

/// The same without the program. Not every row has both.
#[derive(Clone, Copy, Default)]
pub struct Others {
    /// Nothing in between.
    pub direct: Option<f64>,
    /// nginx with its usual settings.
    pub nginx: Option<f64>,
}

/// The rows so far.
#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    /// Adds a row and prints it.
    pub fn row(
        &mut self,
        name: impl Into<String>,
        others: Others,
        proxied: f64,
        unit: &'static str,
    ) {
        let name = name.into();
        let text =
            |value: Option<f64>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
        let (direct, nginx) = (text(others.direct), text(others.nginx));
        println!("| {name} | {unit} | {direct} | {nginx} | {proxied:.2} |");
        self.0.push(Row {
            name,
            others,
            proxied,
            unit,
        });
    }

    fn write(&self) {
        let rows = self.0.iter().map(|row| {
            let Others { direct, nginx } = row.others;
            json!({ "name": row.name, "unit": row.unit, "direct": direct, "nginx": nginx, "proxied": row.proxied })
        });
        let _ = std::fs::write(
            "target/bench.json",
            json!(rows.collect::<Vec<_>>()).to_string(),
        );
    }
}

/// The value below which this share of the values are.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    values[((values.len() - 1) as f64 * share) as usize]
}

fn main() {
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    if environment.contains_key(lambda_host::AUTHORITY) {
        return lambda_host::run(&environment);
    }
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let servers = Arc::new(servers::Servers::start().await);
        let mut report = Report::default();
        println!(
            "| | unit | direct | through nginx | through the program |\n|---|---|---|---|---|"
        );
        if wanted("local") {
            local_host::measure(&servers, &mut report).await;
        }
        if wanted("lambda") {
            lambda_host::measure(&servers, &mut report).await;
        }
        if only.as_deref() == Some("million") {
            million::measure(&servers, &mut report).await;
        }
        let within_limits = !wanted("guard") || lambda_host::guard(&servers, &mut report).await;
        report.write();
        assert!(within_limits, "a call costs more than it may");
    });
}
