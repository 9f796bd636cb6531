//! Log lines that a person reads: `03:57:08 Claude Code  tools/call get_issue  200  6 ms`.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Write as _},
};

use time::{OffsetDateTime, UtcOffset};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

use crate::clock::Clock;

/// Longest name of a client, in characters.
const NAME_CHARACTERS_MAX: usize = 30;

/// The format: the time of day, then who did what for a request, and the message with its fields for everything else.
pub struct Human {
    clock: Clock,
    offset: UtcOffset,
}

impl Human {
    /// With the time of this clock at this offset.
    pub fn new(clock: Clock, offset: UtcOffset) -> Self {
        Self { clock, offset }
    }
}

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = i64::try_from(self.clock.now()).unwrap_or_default();
        let now = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second) = now.to_offset(self.offset).to_hms();
        write!(line, "{hour:02}:{minute:02}:{second:02} ")?;
        if fields.text("event") == Some("request") {
            return writeln!(line, "{}", request(&fields));
        }
        let level = *event.metadata().level();
        if level <= Level::WARN {
            let (color, reset) = match level {
                _ if !line.has_ansi_escapes() => ("", ""),
                Level::WARN => ("\x1b[33m", "\x1b[0m"),
                _ => ("\x1b[31m", "\x1b[0m"),
            };
            write!(line, "{color}{level}{reset} ")?;
        }
        write!(line, "{}", other(&fields))?;
        // The reference that an error page shows.
        if let Some(span) = context.lookup_current().filter(|_| level <= Level::WARN) {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<N>>() {
                write!(line, "  {fields}")?;
            }
        }
        writeln!(line)
    }
}

/// The fields of an event as text, in the order of their names.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Texts of clients must neither move the cursor nor write lines of their own.
        self.0.insert(field.name(), printable(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0
            .insert(field.name(), printable(&format!("{value:?}")));
    }
}

/// The text in which every character is visible. Quotation marks stay as they are.
fn printable(text: &str) -> String {
    let mut printable = String::new();
    for character in text.chars() {
        match character {
            '"' | '\'' => printable.push(character),
            _ => printable.extend(character.escape_debug()),
        }
    }
    printable
}

/// The text, in quotation marks if it could be taken for more than one field.
fn one_field(text: &str, is_ambiguous: impl Fn(&str) -> bool) -> String {
    if is_ambiguous(text) || text.starts_with('"') {
        return format!("\"{}\"", text.replace('"', "\\\""));
    }
    text.to_owned()
}

/// Who called what, and how it ended.
fn request(fields: &Fields) -> String {
    let who = fields
        .text("connection_name")
        .filter(|name| !name.is_empty());
    let who = who.or(fields.text("address")).unwrap_or("unknown");
    let who: String = who.chars().take(NAME_CHARACTERS_MAX).collect();
    // Two spaces separate the fields of this line.
    let who = one_field(&who, |who| who.contains("  ") || who.ends_with(' '));
    let what = match (fields.text("mcp_method"), fields.text("mcp_name")) {
        (Some(method), Some(name)) => format!("{method} {name}"),
        (Some(method), None) => method.to_owned(),
        (None, _) => {
            let path = fields.text("path").or(fields.text("route"));
            let method = fields.text("method").unwrap_or_default();
            format!("{method} {}", path.unwrap_or_default())
        }
    };
    let status = fields.text("status").unwrap_or_default();
    let ms = fields.text("ms").unwrap_or_default();
    let mut line = format!("{who}  {what}  {status}  {ms} ms");
    if let Some(refused) = fields.text("refused") {
        let _ = write!(line, "  {refused}");
        if let Some(reason) = fields.text("reason") {
            let _ = write!(line, ": {reason}");
        }
    }
    line
}

fn other(fields: &Fields) -> String {
    let message = fields.text("message").or(fields.text("event"));
    let mut line = message.unwrap_or_default().to_owned();
    let shown = |name: &str| !matches!(name, "message" | "event") && !name.starts_with("log.");
    for (name, value) in fields.0.iter().filter(|(name, _)| shown(name)) {
        let value = one_field(value, |value| value.contains([' ', '=']));
        let _ = write!(line, "  {name}={value}");
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{fmt::MakeWriter, prelude::*};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let lines = Lines::default();
        // 2026-11-23 03:57:08 UTC, seen one hour further east.
        let clock = Clock::from_fn(|| 1_795_406_228);
        let format = Human::new(clock, UtcOffset::from_hms(1, 0, 0).unwrap());
        let layer = tracing_subscriber::fmt::layer()
            .event_format(format)
            .with_ansi(false)
            .with_writer(lines.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_request_is_one_line_about_who_what_and_how_it_ended() {
        let none: Option<&str> = None;
        for (line, expected) in [
            (
                logged(|| {
                    tracing::info!(
                        event = "request",
                        connection_name = "Claude Code",
                        client_id = "c",
                        method = "POST",
                        route = "/mcp",
                        status = 200,
                        ms = 6,
                        mcp_method = "tools/call",
                        mcp_name = "get_issue",
                        refused = none
                    );
                }),
                "04:57:08 Claude Code  tools/call get_issue  200  6 ms\n",
            ),
            (
                logged(|| {
                    tracing::info!(
                        event = "request",
                        address = "192.0.2.1",
                        method = "GET",
                        route = "other",
                        path = "/wp-login.php",
                        status = 404,
                        ms = 0
                    );
                }),
                "04:57:08 192.0.2.1  GET /wp-login.php  404  0 ms\n",
            ),
            (
                logged(|| {
                    tracing::info!(
                        event = "request",
                        address = "192.0.2.1",
                        method = "POST",
                        route = "/token",
                        status = 400,
                        ms = 3,
                        refused = "invalid_grant",
                        reason = "the code is unknown"
                    );
                }),
                "04:57:08 192.0.2.1  POST /token  400  3 ms  invalid_grant: the code is unknown\n",
            ),
        ] {
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn other_events_have_their_message_and_fields_and_a_warning_its_reference() {
        let line = logged(|| {
            tracing::info_span!("call", request_id = "r1").in_scope(|| {
                tracing::info!(
                    event = "registered",
                    client_name = "\x1b[2Ja\nb\u{202e}",
                    "a client registered"
                );
                for client_name in ["client's", "address=1.1.1.1  status=200", "a\" b=\"c"] {
                    tracing::info!(event = "registered", client_name);
                }
                tracing::info!(
                    event = "request",
                    connection_name = "a  tools/call b  200",
                    method = "GET",
                    route = "/",
                    status = 404,
                    ms = 1
                );
                tracing::warn!(
                    event = "upstream_broken",
                    detail = "eof",
                    "a response was cut off"
                );
            });
        });
        assert_eq!(
            line,
            "04:57:08 a client registered  client_name=\\u{1b}[2Ja\\nb\\u{202e}\n\
             04:57:08 registered  client_name=client's\n\
             04:57:08 registered  client_name=\"address=1.1.1.1  status=200\"\n\
             04:57:08 registered  client_name=\"a\\\" b=\\\"c\"\n\
             04:57:08 \"a  tools/call b  200\"  GET /  404  1 ms\n\
             04:57:08 WARN a response was cut off  detail=eof  request_id=\"r1\"\n"
        );
    }
}
