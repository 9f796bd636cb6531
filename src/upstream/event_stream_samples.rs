//! For tests: generated event streams, and a plain interpretation of whole streams to compare with.

/// What a client sees of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interpretation {
    pub(super) events: Vec<ClientEvent>,
    pub(super) retry: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientEvent {
    pub(super) kind: String,
    pub(super) data: String,
    pub(super) last_event_id: String,
}

/// The lines of a whole stream; an unfinished one at the end is none (WHATWG HTML §9.2.5).
pub(super) fn lines(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<_> = text.split('\n').map(str::to_owned).collect();
    lines.pop();
    lines
}

/// Field and value of a line (§9.2.6).
pub(super) fn field(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name, value.strip_prefix(' ').unwrap_or(value))
}

/// Interprets a whole stream, step by step as §9.2.6 says.
pub(super) fn interpret(stream: &[u8]) -> Interpretation {
    let mut seen = Interpretation::default();
    let mut event = ClientEvent::default();
    for line in lines(stream) {
        match field(&line) {
            _ if line.is_empty() => {
                let last_event_id = event.last_event_id.clone();
                if event.data.pop().is_some() {
                    seen.events.push(event);
                }
                event = ClientEvent {
                    last_event_id,
                    ..ClientEvent::default()
                };
            }
            ("event", value) => value.clone_into(&mut event.kind),
            ("data", value) => event.data += &format!("{value}\n"),
            ("id", value) if !value.contains('\0') => value.clone_into(&mut event.last_event_id),
            ("retry", value) if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                seen.retry = Some(value.to_owned());
            }
            _ => {}
        }
    }
    seen
}

/// Knuth's linear congruential generator: the same streams in every run.
struct Generator(u64);

impl Generator {
    fn below(&mut self, end: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// One of the choices, which `|` separates.
    fn one_of(&mut self, choices: &'static str) -> &'static str {
        let count = choices.split('|').count();
        choices.split('|').nth(self.below(count)).unwrap()
    }
}

const ENDPOINT: &str =
    "event: endpoint|event:endpoint|event: endpoint|event:  endpoint|event: endpoint \t";
const URL: &str = "data: /messages?sessionId=7f|data:https://up.example/m?x=1|data: m/é?a=b:c|data:  ../up|\
                   data: https://evil.example/|data";
const OTHER: &str = "event: message|event:message|event: endpoints|event: endpoin|event: end|event|event:|\
                     events: endpoint|ClientEvent: endpoint| event: endpoint|data: {\"a\":\"é\u{2028}\"}|data:|\
                     data: event: endpoint|dat: x|datax: y|id: 7|id|retry: 10|: comment|:|e|\u{FEFF}event: endpoint";

/// Streams with every line end, with and without a byte order mark, with fields in any order, some unfinished.
pub(super) fn samples(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut generator = Generator(20_241_105);
    (0..count).map(move |_| sample(&mut generator))
}

fn sample(generator: &mut Generator) -> Vec<u8> {
    let ends = generator.one_of("\n|\r\n|\r|\n|\r\n|\r");
    let mixed = generator.below(4) == 0;
    let mut text = generator.one_of("||\u{FEFF}").to_owned();
    for _ in 0..=generator.below(3) {
        // The usual forms, then the same mixed with other lines, then anything.
        let mut lines = match generator.below(4) {
            0 => vec![generator.one_of(ENDPOINT), generator.one_of(URL)],
            1 => vec![generator.one_of(URL), generator.one_of(ENDPOINT)],
            2 => vec!["event: message", "data: {}"],
            _ => vec![generator.one_of(ENDPOINT), generator.one_of(OTHER)],
        };
        for _ in 0..generator.below(3) {
            let at = generator.below(lines.len() + 1);
            lines.insert(at, generator.one_of(OTHER));
        }
        if generator.below(4) == 0 {
            lines.retain(|line| OTHER.split('|').any(|other| other == *line));
        }
        for line in lines.into_iter().chain([""]) {
            text += line;
            text += if mixed {
                generator.one_of("\n|\r\n|\r")
            } else {
                ends
            };
        }
    }
    let mut stream = text.into_bytes();
    // Some begin with part of a byte order mark, which is none.
    if generator.below(8) == 0 {
        stream.splice(..0, *b"\xEF\xBB");
    }
    // A third are cut off somewhere.
    if generator.below(3) == 0 {
        stream.truncate(generator.below(stream.len() + 1));
    }
    stream
}

#[test]
fn streams_are_interpreted_as_in_the_examples_of_the_standard() {
    // §9.2.6, the examples at its end.
    for (stream, expected) in [
        (
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            vec![("YHOO\n+2\n10", "")],
        ),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
            vec![("first event", "1"), ("second event", "")],
        ),
        ("data\n\ndata\ndata\n\ndata:", vec![("", ""), ("\n", "")]),
        (
            "data:test\n\ndata: test\n\n",
            vec![("test", ""), ("test", "")],
        ),
    ] {
        let events = interpret(stream.as_bytes()).events;
        let events: Vec<_> = events
            .iter()
            .map(|event| (&*event.data, &*event.last_event_id))
            .collect();
        assert_eq!(events, expected);
    }
}
