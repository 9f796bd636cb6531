//! The PIN: its form, and the arithmetic of the throttle.
//!
//! Per address the fifth wrong try blocks for 30 s, each further one for twice as long, an hour at most. Over
//! all addresses there is an alarm at 20 wrong tries a day, and at 1,000 consent closes for the day, except for
//! addresses with a success in the last 90 days: a flood cannot lock the owner out.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::credential::{Plain, Randomness};

/// Wrong tries an address has before it is blocked for the first time.
pub const FREE_TRIES: u64 = 5;
/// Wrong tries of a day, over all addresses, at which an alarm event is written.
pub const ALARM_TRIES: u64 = 20;
/// Wrong tries of a day, over all addresses, at which consent closes.
pub const MOST_TRIES: u64 = 1000;
/// Seconds after which wrong tries are forgotten.
pub const DAY: u64 = 86_400;
/// Seconds for which a success lets an address pass a closed budget.
pub const TRUSTED: u64 = 90 * DAY;

const FIRST_BLOCK: u64 = 30;
const LONGEST_BLOCK: u64 = 3600;

/// A PIN, kept as its digest: comparing two digests in constant time says nothing about length or content.
#[derive(Clone)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Reads the owner's PIN.
    ///
    /// # Errors
    /// When it is not 6 to 64 letters and digits.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if (6..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(Sha256::digest(text).into()))
        } else {
            Err("must be 6 to 64 letters and digits")
        }
    }

    /// A fresh PIN: ten characters without look-alikes, 49 bits.
    #[must_use]
    pub fn generate(randomness: &Randomness) -> Plain {
        const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
        let mut pin = String::with_capacity(10);
        while pin.len() < 10 {
            let [byte] = randomness.bytes::<1>();
            // Bytes beyond the last multiple of 31 are thrown away, so that every character is as likely.
            if byte < 248 {
                pin.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
        Plain::new(pin)
    }

    /// Compares exactly, without trimming, in constant time.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.ct_eq(&Sha256::digest(presented)).into()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pin]")
    }
}

/// Wrong tries from one address, as stored. All times in unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// Wrong tries, and tries still being compared.
    #[serde(default)]
    pub tries: u64,
    /// When the last of them was.
    #[serde(default)]
    pub last_try_at: u64,
    /// Until when no try is compared.
    #[serde(default)]
    pub blocked_until: u64,
    /// When the right PIN last came from there.
    #[serde(default)]
    pub last_success_at: u64,
}

impl Tries {
    /// The tries that still count.
    #[must_use]
    pub fn counted(&self, now: u64) -> u64 {
        if self.is_of_a_wrong_clock(now) || now.saturating_sub(self.last_try_at) >= DAY {
            0
        } else {
            self.tries
        }
    }

    /// Seconds until the next try is compared; `None` when it may be made now.
    #[must_use]
    pub fn wait(&self, now: u64) -> Option<u64> {
        if self.is_of_a_wrong_clock(now) {
            return None;
        }
        // A clock that stepped back must not block for longer than the rules say.
        let wait = self.blocked_until.saturating_sub(now).min(LONGEST_BLOCK);
        (wait > 0).then_some(wait)
    }

    /// Whether the last try was noted by a clock that was far ahead. Such a block would last until that time really
    /// comes; two instances never differ by as much.
    fn is_of_a_wrong_clock(&self, now: u64) -> bool {
        self.last_try_at > now.saturating_add(LONGEST_BLOCK)
    }

    /// Until when the address is blocked if its next try is wrong; zero for not at all.
    #[must_use]
    pub fn next_block(&self, now: u64) -> u64 {
        let tries = self.counted(now) + 1;
        match tries.checked_sub(FREE_TRIES) {
            None => 0,
            Some(beyond) => now + (FIRST_BLOCK << beyond.min(7)).min(LONGEST_BLOCK),
        }
    }

    /// Wrong tries that remain before a block, after `tries` wrong ones.
    #[must_use]
    pub fn left_after(tries: u64) -> u64 {
        FREE_TRIES.saturating_sub(tries)
    }

    /// Whether the address may try although the day's budget is spent.
    #[must_use]
    pub fn trusted(&self, now: u64) -> bool {
        self.last_success_at > 0 && now.saturating_sub(self.last_success_at) < TRUSTED
    }
}

/// The name under which an address is counted: IPv6 by its /64, which is what one household or host gets.
#[must_use]
pub fn address_key(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_6_to_64_letters_and_digits() {
        for bad in [
            "",
            "abc12",
            "abc 123",
            "abc123\n",
            "pässwort",
            &"a".repeat(65),
        ] {
            assert!(Pin::parse(bad).is_err(), "{bad}");
        }
        let pin = Pin::parse("Abc123").unwrap();
        assert!(pin.is("Abc123"));
        for wrong in ["abc123", "Abc1234", "Abc123 ", "", "Abc12"] {
            assert!(!pin.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{pin:?}"), "[pin]");
    }

    #[test]
    fn generated_pins_are_valid_and_differ() {
        let randomness = Randomness::system();
        let (a, b) = (Pin::generate(&randomness), Pin::generate(&randomness));
        assert!(Pin::parse(a.expose()).is_ok());
        assert_ne!(a.expose(), b.expose());
    }

    #[test]
    fn blocks_grow_from_the_fifth_wrong_try_to_an_hour() {
        let mut tries = Tries::default();
        let mut blocks = Vec::new();
        let mut now = 1_000_000;
        for _ in 0..14 {
            let until = tries.next_block(now);
            blocks.push(until.saturating_sub(now));
            tries = Tries {
                tries: tries.counted(now) + 1,
                last_try_at: now,
                blocked_until: until,
                ..tries
            };
            now = now.max(until);
        }
        assert_eq!(
            blocks,
            [
                0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600
            ]
        );
    }

    #[test]
    fn tries_are_forgotten_a_day_after_the_last() {
        let tries = Tries {
            tries: 9,
            last_try_at: 1000,
            blocked_until: 1480,
            last_success_at: 0,
        };
        assert_eq!(tries.counted(1000 + DAY - 1), 9);
        assert_eq!(tries.counted(1000 + DAY), 0);
        assert_eq!(tries.wait(1000), Some(480));
        assert_eq!(tries.wait(1480), None);
        assert_eq!(
            tries.wait(0),
            Some(1480),
            "and no longer than an hour, whatever the clock did"
        );
    }

    #[test]
    fn only_addresses_with_a_recent_success_are_trusted() {
        let mut tries = Tries::default();
        assert!(!tries.trusted(100));
        tries.last_success_at = 1000;
        assert!(tries.trusted(1000 + TRUSTED - 1));
        assert!(!tries.trusted(1000 + TRUSTED));
    }

    #[test]
    fn ipv6_counts_by_64_and_mapped_addresses_as_ipv4() {
        let key = |text: &str| address_key(Some(text.parse().unwrap()));
        assert_eq!(key("203.0.113.9"), "203.0.113.9");
        assert_eq!(key("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }
}
