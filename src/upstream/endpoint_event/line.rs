//! What a line of an event stream turns out to be, byte by byte.

/// What is known of the line at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Empty,
    /// So many bytes of `event`.
    EventName(usize),
    /// `event:`, then so many bytes of `endpoint`. Spaces and tabs around are passed over, since there are
    /// clients which trim.
    EventValue(usize),
    /// A type that is not `endpoint`.
    OtherType,
    /// So many bytes of `data`.
    DataName(usize),
    Data,
    /// A comment or another field.
    Other,
}

impl Line {
    /// Reads on.
    pub(super) fn read(&mut self, text: &[u8]) {
        for byte in text {
            *self = self.then(*byte);
            if matches!(self, Self::OtherType | Self::Data | Self::Other) {
                return;
            }
        }
    }

    fn then(self, byte: u8) -> Self {
        const EVENT: &[u8] = b"event";
        const DATA: &[u8] = b"data";
        const ENDPOINT: &[u8] = b"endpoint";
        let blank = matches!(byte, b' ' | b'\t');
        match self {
            Self::Empty if byte == b'e' => Self::EventName(1),
            Self::Empty if byte == b'd' => Self::DataName(1),
            Self::EventName(n) if EVENT.get(n) == Some(&byte) => Self::EventName(n + 1),
            Self::EventName(5) if byte == b':' => Self::EventValue(0),
            Self::EventValue(n @ (0 | 8)) if blank => Self::EventValue(n),
            Self::EventValue(n) if ENDPOINT.get(n) == Some(&byte) => Self::EventValue(n + 1),
            Self::EventValue(_) | Self::OtherType => Self::OtherType,
            Self::DataName(n) if DATA.get(n) == Some(&byte) => Self::DataName(n + 1),
            Self::DataName(4) if byte == b':' => Self::Data,
            Self::Data => Self::Data,
            _ => Self::Other,
        }
    }

    /// What it is when it ends here.
    pub(super) fn ended(self) -> Self {
        match self {
            Self::EventValue(8) => self,
            Self::EventName(5) | Self::EventValue(_) => Self::OtherType,
            Self::DataName(4) => Self::Data,
            Self::EventName(_) | Self::DataName(_) => Self::Other,
            line => line,
        }
    }
}
