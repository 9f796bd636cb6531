//! JSON as the most forgiving parsers read it: comments, trailing commas, any escape, half of a surrogate pair, and text after
//! the value are no errors. Every member is kept, also repeated ones, so that [`Reader`] can choose as other parsers do.

/// A value. Numbers and literals stay as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Other(String),
}

/// How a parser finds a member.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Whether the last of repeated members counts, as in most parsers; otherwise the first.
    last: bool,
    /// Whether it takes one name for the other.
    same: fn(&str, &str) -> bool,
}

/// Parsers that compare names exactly.
pub const EXACT_READERS: [Reader; 2] = [
    Reader {
        last: false,
        same: exactly,
    },
    Reader {
        last: true,
        same: exactly,
    },
];
/// Those that ignore case.
const GO_READERS: [Reader; 2] = [
    Reader {
        last: false,
        same: go_takes_for,
    },
    Reader {
        last: true,
        same: go_takes_for,
    },
];

/// Every kind of parser.
pub fn readers() -> impl Iterator<Item = Reader> {
    EXACT_READERS.into_iter().chain(GO_READERS)
}

fn exactly(a: &str, b: &str) -> bool {
    a == b
}

/// Go compares names of members like this (`strings.EqualFold`), as far as letters of ASCII are concerned.
fn go_takes_for(a: &str, b: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    a.chars().map(fold).eq(b.chars().map(fold))
}

impl Reader {
    pub fn member<'j>(&self, of: &'j Json, name: &str) -> Option<&'j Json> {
        let Json::Object(members) = of else {
            return None;
        };
        let mut found = members.iter().filter(|(other, _)| (self.same)(other, name));
        let found = if self.last {
            found.next_back()
        } else {
            found.next()
        };
        found.map(|(_, value)| value)
    }
}

impl Json {
    /// The first value of a text. `None` if there is none, or it is nested more than 500 levels deep.
    pub fn read(text: &str) -> Option<Self> {
        Parser(text.trim_start_matches('\u{feff}')).value(500)
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The messages of a batch, or the only one.
    pub fn messages(&self) -> &[Self] {
        match self {
            Self::Array(batch) => batch,
            one => std::slice::from_ref(one),
        }
    }

    /// Whether it is an object whose members all have different names, even without regard to case.
    pub fn has_plain_members(&self) -> bool {
        let Self::Object(members) = self else {
            return false;
        };
        let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
        names.sort();
        names.windows(2).all(|pair| pair[0] != pair[1])
            && names
                .iter()
                .all(|name| name.is_ascii() && **name == name.to_ascii_lowercase())
    }
}

/// What is left of the text.
struct Parser<'t>(&'t str);

impl Parser<'_> {
    fn value(&mut self, levels: usize) -> Option<Json> {
        self.skip_blank();
        let levels = levels.checked_sub(1)?;
        if self.takes("{") {
            let mut members = Vec::new();
            while !self.closes("}")? {
                let name = self.string()?;
                self.skip_blank();
                self.takes(":").then_some(())?;
                members.push((name, self.value(levels)?));
            }
            return Some(Json::Object(members));
        }
        if self.takes("[") {
            let mut elements = Vec::new();
            while !self.closes("]")? {
                elements.push(self.value(levels)?);
            }
            return Some(Json::Array(elements));
        }
        if self.0.starts_with(['"', '\'']) {
            return self.string().map(Json::Text);
        }
        let ends = |c: char| c.is_whitespace() || ",]}:/\"'{[".contains(c);
        let end = self.0.find(ends).unwrap_or(self.0.len());
        let (literal, rest) = self.0.split_at(end);
        self.0 = rest;
        (!literal.is_empty()).then(|| Json::Other(literal.to_owned()))
    }

    /// Whether a list ends here. Otherwise another element follows; commas are skipped.
    fn closes(&mut self, end: &str) -> Option<bool> {
        loop {
            self.skip_blank();
            if self.takes(end) {
                return Some(true);
            }
            if !self.takes(",") {
                return (!self.0.is_empty()).then_some(false);
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut chars = self.0.chars();
        let quote = chars.next().filter(|c| matches!(c, '"' | '\''))?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = match chars.next()? {
                c if c == quote => break,
                '\\' => match chars.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        units.push(u16::from_str_radix(chars.as_str().get(..4)?, 16).ok()?);
                        chars = chars.as_str()[4..].chars();
                        continue;
                    }
                    c => c,
                },
                c => c,
            };
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
        self.0 = chars.as_str();
        Some(String::from_utf16_lossy(&units))
    }

    fn takes(&mut self, token: &str) -> bool {
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_blank(&mut self) {
        loop {
            self.0 = self.0.trim_start();
            let end = if self.0.starts_with("//") {
                self.0.find('\n').map(|at| at + 1)
            } else if self.0.starts_with("/*") {
                self.0.find("*/").map(|at| at + 2)
            } else {
                return;
            };
            self.0 = &self.0[end.unwrap_or(self.0.len())..];
        }
    }
}
