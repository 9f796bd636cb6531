//! Metrics for the alarms, in `CloudWatch`'s embedded metric format: a log line that `CloudWatch` counts by itself.
//!
//! They are read off the log events, so that no other part of the program knows of metrics.

use std::{fmt, io::Write as _};

use serde_json::json;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::clock::Clock;

/// Where the template's alarms look.
const NAMESPACE: &str = "LambdaOAuthMcpProxy";

/// A layer of the log which writes a metric line to standard output beside an event that counts.
#[derive(Debug)]
pub struct Metrics {
    function: String,
    clock: Clock,
}

impl Metrics {
    /// For the function of this name.
    #[must_use]
    pub fn new(function: String, clock: Clock) -> Self {
        Self { function, clock }
    }

    fn line(&self, metric: &str) -> String {
        let definition = json!({
            "Timestamp": self.clock.now() * 1000,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": [{ "Name": metric, "Unit": "Count" }],
            }],
        });
        format!(
            "{}\n",
            json!({ "_aws": definition, "FunctionName": self.function, metric: 1 })
        )
    }
}

impl<S: Subscriber> Layer<S> for Metrics {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event
            .metadata()
            .target()
            .starts_with(env!("CARGO_CRATE_NAME"))
        {
            return;
        }
        let mut seen = Seen::default();
        event.record(&mut seen);
        if let Some(metric) = seen.metric() {
            // Nobody reading is no reason to stop.
            let _ = std::io::stdout()
                .lock()
                .write_all(self.line(metric).as_bytes());
        }
    }
}

/// What of an event decides whether it counts.
#[derive(Debug, Default)]
struct Seen {
    event: String,
    what: String,
    status: u64,
    upstream_answered: bool,
}

impl Seen {
    fn metric(&self) -> Option<&'static str> {
        Some(match self.event.as_str() {
            "wrong_pin" => "WrongPin",
            "wrong_pin_alarm" => "WrongPinAlarm",
            "authorized" | "token_created" => "ClientAuthorized",
            "replay_found" => "ReplayFound",
            "upstream_credential_refused" => "UpstreamCredentialRefused",
            "secret_unavailable" => "SecretUnavailable",
            "unavailable" if self.what == "secret" => "SecretUnavailable",
            // A 5xx that the upstream answered is the upstream's.
            "request" if self.status >= 500 && !self.upstream_answered => "ServerError",
            _ => return None,
        })
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => value.clone_into(&mut self.event),
            "what" => value.clone_into(&mut self.what),
            // Counted by its own name.
            "refused" if value == "upstream_credential_refused" => self.upstream_answered = true,
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = value,
            "upstream_ms" => self.upstream_answered = true,
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_line_is_what_cloudwatch_documents() {
        let metrics = Metrics::new("proxy".to_owned(), Clock::from_fn(|| 1_793_491_200));
        let line = metrics.line("WrongPin");
        assert!(line.ends_with('\n') && line.lines().count() == 1);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            line,
            json!({
                "_aws": {
                    "Timestamp": 1_793_491_200_000_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "LambdaOAuthMcpProxy",
                        "Dimensions": [["FunctionName"]],
                        "Metrics": [{ "Name": "WrongPin", "Unit": "Count" }]
                    }]
                },
                "FunctionName": "proxy",
                "WrongPin": 1
            })
        );
    }

    #[test]
    fn a_server_error_counts_unless_it_is_the_upstreams() {
        let request = |status, upstream_answered| Seen {
            event: "request".to_owned(),
            status,
            upstream_answered,
            ..Seen::default()
        };
        assert_eq!(request(503, false).metric(), Some("ServerError"));
        assert_eq!(request(503, true).metric(), None);
        assert_eq!(request(404, false).metric(), None);
    }
}
