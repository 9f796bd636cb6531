//! Unix seconds as a date and time in UTC, for people and for browsers.

use time::OffsetDateTime;

/// A point in time in both formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// For people: `2026-11-23 12:00 UTC`.
    pub text: String,
    /// For the attribute `datetime` of the element `time`: `2026-11-23T12:00:00Z`.
    pub datetime: String,
}

impl Timestamp {
    /// The time of this many seconds since 1970. A time after the year 9999, which the `time` crate does not support,
    /// becomes the last day of that year.
    #[must_use]
    pub fn of_unix_seconds(seconds: u64) -> Self {
        let time = i64::try_from(seconds)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .unwrap_or(OffsetDateTime::new_utc(
                time::Date::MAX,
                time::Time::MIDNIGHT,
            ));
        let date = format!(
            "{:04}-{:02}-{:02}",
            time.year(),
            u8::from(time.month()),
            time.day()
        );
        let (hour, minute, second) = time.to_hms();
        Self {
            text: format!("{date} {hour:02}:{minute:02} UTC"),
            datetime: format!("{date}T{hour:02}:{minute:02}:{second:02}Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_795_435_200, "2026-11-23 12:00 UTC"),
            (4_102_444_799, "2099-12-31 23:59 UTC"),
            (u64::MAX, "9999-12-31 00:00 UTC"),
        ] {
            assert_eq!(Timestamp::of_unix_seconds(seconds).text, text);
        }
        let datetime = Timestamp::of_unix_seconds(1_795_435_201).datetime;
        assert_eq!(datetime, "2026-11-23T12:00:01Z");
    }
}
