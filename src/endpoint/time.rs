//! Unix seconds as people and browsers read them, in UTC.

use crate::page;

/// A moment in both spellings.
pub struct Moment {
    text: String,
    datetime: String,
}

impl Moment {
    /// As the pages take it.
    pub fn shown(&self) -> page::Moment<'_> {
        page::Moment {
            text: &self.text,
            datetime: &self.datetime,
        }
    }
}

/// `2026-11-23 12:00 UTC` and `2026-11-23T12:00:00Z`.
pub fn moment(unix_seconds: u64) -> Moment {
    let (year, month, day) = civil(unix_seconds / 86_400);
    let (hour, minute, second) = (
        unix_seconds / 3600 % 24,
        unix_seconds / 60 % 60,
        unix_seconds % 60,
    );
    Moment {
        text: format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC"),
        datetime: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
    }
}

/// The Gregorian date of a day counted from 1970-01-01: years are counted from March, so that the leap day
/// comes last, in eras of 400 years (146,097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_0 = days + 719_468;
    let (era, day_of_era) = (since_march_0 / 146_097, since_march_0 % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_795_435_200, "2026-11-23 12:00 UTC"),
            (4_102_444_799, "2099-12-31 23:59 UTC"),
        ] {
            assert_eq!(moment(seconds).text, text);
        }
        assert_eq!(moment(1_795_435_201).datetime, "2026-11-23T12:00:01Z");
    }
}
