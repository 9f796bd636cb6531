//! The PIN: its format, and the arithmetic of the throttle.
//!
//! Two promises: nobody guesses the PIN, and nobody can keep the owner out.
//!
//! * An address (IPv6: a /64) is blocked from its fifth wrong try on, for 30 s, then for twice as long each time, an
//!   hour at most.
//! * Networks have daily allowances as well, because one household or hosting provider has thousands of addresses.
//! * All networks together have a daily allowance, which depends on the length of the PIN.
//! * A browser in which the right PIN was entered during the last 90 days is counted separately, so that no number of
//!   tries by others can block it.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::credential::{Randomness, SecretString};

/// Wrong tries from one address before it is blocked for the first time.
const TRIES_BEFORE_BLOCK: u64 = 5;
/// Wrong tries in a day, from all addresses, at which an alarm event is logged.
pub const ALARM_WRONG_TRIES: u64 = 20;
/// Seconds after which wrong tries are forgotten.
pub const DAY_SECONDS: u64 = 86_400;
/// Seconds for which a browser is known after the right PIN was entered in it.
pub const KNOWN_BROWSER_SECONDS: u64 = 90 * DAY_SECONDS;
/// Tries a day in all known browsers together. Their owner needs few.
pub const KNOWN_BROWSERS_DAILY_TRIES: u64 = 200;

const FIRST_BLOCK_SECONDS: u64 = 30;
const LONGEST_BLOCK_SECONDS: u64 = 3600;

/// Tries a day from all addresses of an IPv4 /24.
const IPV4_24_DAILY_TRIES: u64 = 50;
/// Tries a day from all addresses of an IPv6 /56, the usual network of a household.
const IPV6_56_DAILY_TRIES: u64 = 25;
/// Tries a day from all addresses of an IPv6 /48, the usual network of an office or a small hosting provider.
const IPV6_48_DAILY_TRIES: u64 = 100;

/// From this length on, a higher daily allowance is safe: the ten characters of a generated PIN have 49 bits, and 100,000
/// tries a day need ten billion days to find it.
const LONG_PIN_CHARACTERS: usize = 10;
const SHORT_PIN_DAILY_TRIES: u64 = 1000;
const LONG_PIN_DAILY_TRIES: u64 = 100_000;
/// A digit has only 3.3 bits.
const DIGITS_ONLY_MIN_CHARACTERS: usize = 10;

/// A PIN, stored as its digest: comparing two digests in constant time reveals neither length nor content.
#[derive(Clone)]
pub struct Pin {
    digest: [u8; 32],
    /// A PIN without an upper-case letter is compared without regard to case, because phones capitalize the first letter.
    case_matters: bool,
    is_long: bool,
}

impl Pin {
    /// Parses the owner's PIN.
    ///
    /// # Errors
    /// When it is not 6 to 64 letters and digits, or fewer than 10 digits without a letter.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(6..=64).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("must be 6 to 64 letters and digits");
        }
        if text.len() < DIGITS_ONLY_MIN_CHARACTERS && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err("must have 10 digits or more when it has no letter");
        }
        Ok(Self {
            digest: Sha256::digest(text).into(),
            case_matters: text.bytes().any(|b| b.is_ascii_uppercase()),
            is_long: text.len() >= LONG_PIN_CHARACTERS,
        })
    }

    /// A new PIN: ten characters without look-alikes, 49 bits.
    #[must_use]
    pub fn generate(randomness: &Randomness) -> SecretString {
        const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
        let mut pin = String::with_capacity(10);
        while pin.len() < 10 {
            let [byte] = randomness.bytes::<1>();
            // Bytes from the last multiple of 31 on are discarded, so that all characters are equally likely.
            if byte < 248 {
                pin.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
        SecretString::new(pin)
    }

    /// Compares in constant time. White space around the PIN, which pasting may add, is ignored.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        let presented = presented.trim();
        let digest = if self.case_matters {
            Sha256::digest(presented)
        } else {
            Sha256::digest(presented.to_ascii_lowercase())
        };
        self.digest.ct_eq(&digest).into()
    }

    /// Tries a day, from all addresses.
    #[must_use]
    pub fn daily_tries(&self) -> u64 {
        if self.is_long {
            LONG_PIN_DAILY_TRIES
        } else {
            SHORT_PIN_DAILY_TRIES
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pin]")
    }
}

/// Tries from one address, or in one known browser, as stored. All times are in Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// Wrong tries, and tries that are still being compared.
    #[serde(default)]
    pub tries: u64,
    /// The time of the last one.
    #[serde(default)]
    pub last_try_at: u64,
    /// No try is compared before this time.
    #[serde(default)]
    pub blocked_until: u64,
}

impl Tries {
    /// These tries, and one more at `now`.
    ///
    /// # Errors
    /// While blocked: the seconds until the next try is compared.
    pub fn one_more(&self, now: u64) -> Result<Self, u64> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        let tries = self.counted(now) + 1;
        let blocked_until = match tries.checked_sub(TRIES_BEFORE_BLOCK) {
            None => 0,
            Some(beyond) => now + (FIRST_BLOCK_SECONDS << beyond.min(7)).min(LONGEST_BLOCK_SECONDS),
        };
        Ok(Self {
            tries,
            last_try_at: now,
            blocked_until,
        })
    }

    /// Wrong tries that are left before a block.
    #[must_use]
    pub fn left(&self) -> u64 {
        TRIES_BEFORE_BLOCK.saturating_sub(self.tries)
    }

    /// Seconds until the next try is compared; `None` when it may be made now.
    #[must_use]
    pub fn wait(&self, now: u64) -> Option<u64> {
        if self.has_a_wrong_time(now) {
            return None;
        }
        // A clock that was set back must not make a block longer than the longest one.
        let wait = self
            .blocked_until
            .saturating_sub(now)
            .min(LONGEST_BLOCK_SECONDS);
        (wait > 0).then_some(wait)
    }

    fn counted(&self, now: u64) -> u64 {
        if self.is_forgotten(now) {
            0
        } else {
            self.tries
        }
    }

    fn is_forgotten(&self, now: u64) -> bool {
        self.has_a_wrong_time(now) || now.saturating_sub(self.last_try_at) >= DAY_SECONDS
    }

    /// Whether the last try was recorded by a clock that was far ahead. Such a block would last until that time. The clocks
    /// of two instances never differ by so much.
    fn has_a_wrong_time(&self, now: u64) -> bool {
        self.last_try_at > now.saturating_add(LONGEST_BLOCK_SECONDS)
    }
}

/// Where a try comes from, as the throttle counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address; of an IPv6 address its /64, the usual network of one host or a small site.
    address: String,
    /// The /56 around an IPv6 address.
    household: Option<String>,
    /// The network whose tries are stored in one item: IPv4 /24, IPv6 /48.
    network: String,
    network_daily_tries: u64,
}

impl Source {
    /// The source of requests from this address. All unknown addresses are one source.
    #[must_use]
    pub fn of(address: Option<IpAddr>) -> Self {
        let (household, network, network_daily_tries) = match address.map(|a| a.to_canonical()) {
            None => (None, "unknown".to_owned(), IPV4_24_DAILY_TRIES),
            Some(IpAddr::V4(address)) => {
                let [a, b, c, _] = address.octets();
                (None, format!("{a}.{b}.{c}.0/24"), IPV4_24_DAILY_TRIES)
            }
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                (
                    Some(format!("{a:x}:{b:x}:{c:x}:{:x}::/56", d & 0xff00)),
                    format!("{a:x}:{b:x}:{c:x}::/48"),
                    IPV6_48_DAILY_TRIES,
                )
            }
        };
        Self {
            address: address_key(address),
            household,
            network,
            network_daily_tries,
        }
    }

    /// The address as it is shown to the owner.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The network's name, for the store's key.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }
}

/// The tries of a day from one network, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkTries {
    /// The beginning of the day.
    #[serde(default)]
    started_at: u64,
    /// Tries of the day from all addresses of the network.
    #[serde(default)]
    tries: u64,
    /// The same for each household, IPv6 only.
    #[serde(default)]
    households: BTreeMap<String, u64>,
    /// Tries from each address.
    #[serde(default)]
    addresses: BTreeMap<String, Tries>,
}

impl NetworkTries {
    /// These tries, and one more from `source` at `now`.
    ///
    /// # Errors
    /// While the address is blocked or an allowance is used up: the seconds until the next try is compared.
    pub fn one_more(&self, source: &Source, now: u64) -> Result<Self, u64> {
        let mut next = self.clone();
        if now < self.started_at || now - self.started_at >= DAY_SECONDS {
            next.started_at = now;
            next.tries = 0;
            next.households.clear();
            // Otherwise the counter would grow with the addresses of two days.
            let is_blocked = |_: &String, tries: &mut Tries| tries.tries >= TRIES_BEFORE_BLOCK;
            next.addresses.retain(is_blocked);
        }
        next.addresses.retain(|_, tries| !tries.is_forgotten(now));
        let day_ends_in = (next.started_at + DAY_SECONDS).saturating_sub(now);
        next.tries += 1;
        if next.tries > source.network_daily_tries {
            return Err(day_ends_in);
        }
        if let Some(household) = &source.household {
            let tries = next.households.entry(household.clone()).or_default();
            *tries += 1;
            if *tries > IPV6_56_DAILY_TRIES {
                return Err(day_ends_in);
            }
        }
        let address = next.addresses.entry(source.address.clone()).or_default();
        *address = address.one_more(now)?;
        Ok(next)
    }

    /// These tries without those from this address, from which the right PIN came.
    #[must_use]
    pub fn without(&self, source: &Source) -> Self {
        let mut next = self.clone();
        let removed = next.addresses.remove(&source.address).unwrap_or_default();
        next.tries = next.tries.saturating_sub(removed.tries);
        if let Some(household) = &source.household
            && let Some(tries) = next.households.get_mut(household)
        {
            *tries = tries.saturating_sub(removed.tries);
        }
        next
    }

    /// The tries from this address.
    #[must_use]
    pub fn of_address(&self, source: &Source) -> Tries {
        self.addresses
            .get(&source.address)
            .cloned()
            .unwrap_or_default()
    }
}

/// The key under which an address is counted: the address, or the /64 of an IPv6 address.
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
mod tests;
