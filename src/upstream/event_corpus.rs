//! For tests: generated event streams, and a plain reading of whole streams to compare with.

/// What a client makes of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) events: Vec<Event>,
    pub(super) retry: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) data: String,
    pub(super) last_event_id: String,
}

/// The lines of a whole stream; an unfinished last one is none (WHATWG HTML §9.2.5).
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
pub(super) fn interpret(stream: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let (mut kind, mut data, mut id) = (String::new(), String::new(), String::new());
    for line in lines(stream) {
        if line.is_empty() {
            let kind = std::mem::take(&mut kind);
            let mut data = std::mem::take(&mut data);
            if data.pop().is_some() {
                seen.events.push(Event {
                    kind: if kind.is_empty() {
                        "message".to_owned()
                    } else {
                        kind
                    },
                    data,
                    last_event_id: id.clone(),
                });
            }
            continue;
        }
        match field(&line) {
            ("event", value) => value.clone_into(&mut kind),
            ("data", value) => {
                data += value;
                data += "\n";
            }
            ("id", value) if !value.contains('\0') => value.clone_into(&mut id),
            ("retry", value) if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                seen.retry = Some(value.to_owned());
            }
            _ => {}
        }
    }
    seen
}

/// Knuth's linear congruential generator: the same streams at every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const ENDPOINT: [&str; 5] = [
    "event: endpoint",
    "event:endpoint",
    "event: endpoint",
    "event:  endpoint",
    "event: endpoint \t",
];
const TARGET: [&str; 6] = [
    "data: /messages?sessionId=7f",
    "data:https://up.example/m?x=1",
    "data: m/é?a=b:c",
    "data:  ../up",
    "data: https://evil.example/",
    "data",
];
const OTHER: [&str; 22] = [
    "event: message",
    "event:message",
    "event: endpoints",
    "event: endpoin",
    "event: end",
    "event",
    "event:",
    "events: endpoint",
    "Event: endpoint",
    " event: endpoint",
    "data: {\"a\":\"é\u{2028}\"}",
    "data:",
    "data: event: endpoint",
    "dat: x",
    "datax: y",
    "id: 7",
    "id",
    "retry: 10",
    ": comment",
    ":",
    "e",
    "\u{FEFF}event: endpoint",
];

/// Streams with every line end, with and without a mark, with fields in any order, some unfinished.
pub(super) fn corpus(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut chance = Chance(20_241_105);
    (0..count).map(move |_| stream(&mut chance))
}

fn stream(chance: &mut Chance) -> Vec<u8> {
    let ends = ["\n", "\r\n", "\r", "mixed"];
    let style = chance.of(&ends);
    let end = |chance: &mut Chance| match style {
        "mixed" => chance.of(&ends[..3]),
        style => style,
    };
    let mut text = chance.of(&["", "", "\u{FEFF}"]).to_owned();
    for _ in 0..=chance.below(3) {
        let mut lines = Vec::new();
        match chance.below(4) {
            // The usual forms, then the same shuffled with other lines, then anything.
            0 => lines.extend([chance.of(&ENDPOINT), chance.of(&TARGET)]),
            1 => lines.extend([chance.of(&TARGET), chance.of(&ENDPOINT)]),
            2 => lines.extend(["event: message", "data: {}"]),
            _ => lines.extend([chance.of(&ENDPOINT), chance.of(&OTHER)]),
        }
        for _ in 0..chance.below(3) {
            let at = chance.below(lines.len() + 1);
            lines.insert(at, chance.of(&OTHER));
        }
        if chance.below(4) == 0 {
            lines.retain(|line| OTHER.contains(line));
        }
        for line in lines {
            text += line;
            text += end(chance);
        }
        text += end(chance);
    }
    let mut stream = text.into_bytes();
    // Some begin with half a mark, which is none.
    if chance.below(8) == 0 {
        stream.splice(..0, *b"\xEF\xBB");
    }
    // A third break off somewhere.
    if chance.below(3) == 0 {
        stream.truncate(chance.below(stream.len() + 1));
    }
    stream
}

#[test]
fn the_plain_reading_follows_the_examples_of_the_standard() {
    let read = |text: &str| -> Vec<(String, String, String)> {
        interpret(text.as_bytes())
            .events
            .into_iter()
            .map(|event| (event.kind, event.data, event.last_event_id))
            .collect()
    };
    let event = |kind: &str, data: &str, id: &str| (kind.into(), data.into(), id.into());
    // §9.2.6, the examples at its end.
    assert_eq!(
        read("data: YHOO\ndata: +2\ndata: 10\n\n"),
        [event("message", "YHOO\n+2\n10", "")]
    );
    assert_eq!(
        read(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event"
        ),
        [
            event("message", "first event", "1"),
            event("message", "second event", "")
        ]
    );
    assert_eq!(
        read("data\n\ndata\ndata\n\ndata:"),
        [event("message", "", ""), event("message", "\n", "")]
    );
    assert_eq!(
        read("data:test\n\ndata: test\n\n"),
        [event("message", "test", ""), event("message", "test", "")]
    );
}
