//! Why a PIN was not accepted.

/// The notice above the PIN field after a PIN was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// No PIN was typed, which is no try.
    NoPin,
    /// The PIN is wrong. The person may try again at once if tries are left.
    WrongPin {
        /// Tries left before a waiting time begins.
        tries_left: u32,
    },
    /// Too many wrong tries from this address: no PIN is compared until this time has passed.
    Wait {
        /// Seconds until the next try.
        seconds: u64,
    },
    /// Too many wrong tries from all addresses: no PIN is accepted for the rest of the day.
    ClosedForToday,
}

impl Notice {
    /// A few words for the title of the page, which a screen reader reads first.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::NoPin => "PIN needed",
            Self::WrongPin { .. } => "Wrong PIN",
            Self::Wait { .. } => "Please wait",
            Self::ClosedForToday => "Closed for today",
        }
    }

    /// One or two sentences: what happened, and what to do.
    pub(super) fn message(self) -> String {
        match self {
            Self::NoPin => "Type the PIN. Nothing was changed yet.".to_owned(),
            Self::WrongPin { tries_left: 0 } => "That PIN is wrong.".to_owned(),
            Self::WrongPin { tries_left: 1 } => {
                "That PIN is wrong. You have one try left before you must wait.".to_owned()
            }
            Self::WrongPin { tries_left } => {
                format!(
                    "That PIN is wrong. You have {tries_left} tries left before you must wait."
                )
            }
            Self::Wait { seconds } => {
                format!(
                    "Too many wrong PINs were entered. Wait {}, then try again.",
                    duration(seconds)
                )
            }
            Self::ClosedForToday => {
                "Too many wrong PINs were entered today, so no PIN is accepted now. Try again tomorrow. \
                 Existing connections keep working."
                    .to_owned()
            }
        }
    }

    /// For the countdown, if there is something to wait for on this page.
    pub(super) fn wait_seconds(self) -> Option<u64> {
        match self {
            Self::Wait { seconds } => Some(seconds),
            Self::NoPin | Self::WrongPin { .. } | Self::ClosedForToday => None,
        }
    }

    /// Whether the PIN field is marked as invalid.
    pub(super) fn is_wrong_pin(self) -> bool {
        matches!(self, Self::NoPin | Self::WrongPin { .. })
    }
}

/// A waiting time for people, rounded up, so that nobody who waits that long must wait again.
fn duration(seconds: u64) -> String {
    match seconds {
        0 | 1 => "one second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        91..=5400 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{} hours", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn waiting_times_are_rounded_up_to_what_a_person_would_say() {
        let said = [0, 1, 30, 90, 91, 120, 121, 3600, 5401].map(duration);
        assert_eq!(
            said,
            [
                "one second",
                "one second",
                "30 seconds",
                "90 seconds",
                "2 minutes",
                "2 minutes",
                "3 minutes",
                "60 minutes",
                "2 hours"
            ]
        );
    }
}
