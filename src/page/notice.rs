//! Why a PIN was not taken.

/// What the page says above the PIN field after a try that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Wrong, and the person may try again at once.
    WrongPin {
        /// Tries before a waiting time begins.
        tries_left: u32,
    },
    /// Too many wrong tries from this address: not compared before this time is over.
    Wait {
        /// What is left of it.
        seconds: u64,
    },
    /// Too many wrong tries overall: no PIN is taken today.
    ClosedForToday,
}

impl Notice {
    /// The few words that stand in the page's title, where a screen reader begins.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::WrongPin { .. } => "Wrong PIN",
            Self::Wait { .. } => "Please wait",
            Self::ClosedForToday => "Closed for today",
        }
    }

    /// One or two sentences: what happened, and what to do.
    pub(super) fn message(self) -> String {
        match self {
            Self::WrongPin { tries_left: 0 } => "That PIN is not right.".to_owned(),
            Self::WrongPin { tries_left: 1 } => {
                "That PIN is not right. One try is left before you have to wait.".to_owned()
            }
            Self::WrongPin { tries_left } => {
                format!(
                    "That PIN is not right. {tries_left} tries are left before you have to wait."
                )
            }
            Self::Wait { seconds } => {
                format!(
                    "Too many wrong PINs. Wait {}, then try again.",
                    duration(seconds)
                )
            }
            Self::ClosedForToday => {
                "There were too many wrong PINs today, so none is taken until tomorrow. \
                 Existing connections keep working."
                    .to_owned()
            }
        }
    }

    /// Whether the PIN field is marked as holding a wrong value.
    pub(super) fn is_wrong_pin(self) -> bool {
        matches!(self, Self::WrongPin { .. })
    }
}

/// Rounded up: whoever waits as long as it says is never told to wait again.
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
