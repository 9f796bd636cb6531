//! Log lines: JSON for machines, plain for a person.

mod human;

use std::io::IsTerminal as _;

use time::UtcOffset;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    prelude::*,
};

use super::metrics::Metrics;
use crate::{clock::Clock, config::LogFormat};

/// Starts writing log lines to standard output (JSON) or standard error (plain, with the time of day at this offset).
/// `filter` is what `RUST_LOG` holds; metrics do not depend on it. Libraries stay at `warn`: their debug lines may show
/// headers.
pub fn start(format: LogFormat, filter: Option<&str>, metrics: Option<Metrics>, offset: UtcOffset) {
    let filter: Targets = filter
        .filter(|filter| !filter.trim().is_empty())
        .and_then(|filter| filter.parse().ok())
        .unwrap_or_else(|| {
            Targets::new()
                .with_default(LevelFilter::WARN)
                .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO)
        });
    let metrics = metrics.map(|metrics| metrics.with_filter(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(metrics);
    match format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_filter(filter),
            )
            .init(),
        LogFormat::Human => registry
            .with(
                fmt::layer()
                    .event_format(human::Human::new(Clock::system(), offset))
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr)
                    .with_filter(filter),
            )
            .init(),
    }
    panics();
}

/// Panics become log lines with their place. Their text stays away unless it is our own: one made from values
/// could hold anything.
fn panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic.payload().downcast_ref::<&'static str>();
        tracing::error!(event = "panic", place, detail = text);
    }));
}
