//! Checking a PIN under the throttle: reserve the try, compare, then keep it or clear it.

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use serde::{Deserialize, Serialize};

use super::{
    Store, item, parse,
    table::{Item, Update, Value, Written, settle, unavailable},
};
use crate::{
    credential::Fingerprint,
    error::Unavailable,
    pin::{DAY_SECONDS, KNOWN_BROWSER_SECONDS, NetworkTries, Source, Tries},
};

const OVERALL: &str = "pin#overall";
/// Wrong tries that the connections page shows.
const SHOWN_WRONG_TRIES: usize = 10;
/// Seconds for which they are kept.
const WRONG_TRIES_KEPT_SECONDS: u64 = 30 * DAY_SECONDS;
/// A try that lost a race may be made again after so many seconds.
const RACE_WAIT_SECONDS: u64 = 1;
/// How often clearing an address is tried while others write to its network's item.
const CLEAR_ATTEMPTS: usize = 3;

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinOutcome {
    /// The right PIN.
    Right {
        /// Whether it was entered in a browser that was known already.
        known_browser: bool,
    },
    /// A wrong one; counted.
    Wrong {
        /// Tries that remain before the next block.
        left: u64,
        /// Seconds until the next try is compared.
        wait: Option<u64>,
        /// Wrong tries of the day over all addresses.
        wrong_today: u64,
    },
    /// Not compared: this address, its network, or this browser must wait so many seconds.
    Blocked {
        /// Seconds.
        wait: u64,
    },
    /// Not compared: the day's allowance over all addresses is used up.
    ClosedForToday,
}

/// A try, but for the PIN itself.
#[derive(Clone, Copy, Debug)]
pub struct PinTry<'a> {
    /// Where it comes from.
    pub source: &'a Source,
    /// Fingerprint of the cookie that a known browser has.
    pub browser: Option<&'a Fingerprint>,
    /// Tries a day over all addresses.
    pub daily_tries: u64,
    /// Unix seconds.
    pub now: u64,
}

impl Store {
    /// Checks one try. Each is reserved before it is compared, so that parallel requests have no more tries than
    /// serial ones; a loser of the race is refused.
    ///
    /// # Errors
    /// When the table cannot be read or written: then nothing was compared, or the try stays counted.
    pub async fn check_pin(
        &self,
        attempt: PinTry<'_>,
        is_right: impl FnOnce() -> bool,
    ) -> Result<PinOutcome, Unavailable> {
        if let Some(browser) = attempt.browser
            && let Some(known) = self.known_browser(browser, attempt.now).await?
        {
            return self
                .check_pin_of_known_browser(attempt, browser, known, is_right)
                .await;
        }
        let day: Option<Day> = self.read(OVERALL).await?;
        if let Some(day) = &day
            && day.is_running(attempt.now)
            && day.tries >= attempt.daily_tries
        {
            return Ok(PinOutcome::ClosedForToday);
        }
        let reserved = match self
            .reserve_for_network(attempt.source, attempt.now)
            .await?
        {
            Reservation::Made(reserved) => reserved,
            Reservation::Refused { wait } => return Ok(PinOutcome::Blocked { wait }),
        };
        let Some(day) = self.reserve_for_day(day, attempt).await? else {
            return Ok(PinOutcome::ClosedForToday);
        };
        if is_right() {
            self.clear_address(attempt.source, reserved, attempt.now)
                .await?;
            return Ok(PinOutcome::Right {
                known_browser: false,
            });
        }
        let tries = reserved.tries.of_address(attempt.source);
        self.record_wrong_try(Some(day), attempt, &tries).await
    }

    async fn check_pin_of_known_browser(
        &self,
        attempt: PinTry<'_>,
        browser: &Fingerprint,
        known: KnownBrowser,
        is_right: impl FnOnce() -> bool,
    ) -> Result<PinOutcome, Unavailable> {
        let tries = match known.tries.one_more(attempt.now) {
            Ok(tries) => tries,
            Err(wait) => return Ok(PinOutcome::Blocked { wait }),
        };
        let reserved = Update::of(browser_key(browser), "-")
            .set("tries", tries.tries)
            .set("last_try_at", tries.last_try_at)
            .set("blocked_until", tries.blocked_until)
            .when("tries", "=", known.tries.tries)
            .when("last_try_at", "=", known.tries.last_try_at)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        if let Written::Refused(_) = reserved {
            return Ok(PinOutcome::Blocked {
                wait: RACE_WAIT_SECONDS,
            });
        }
        if is_right() {
            self.remember_browser(browser, attempt.now).await?;
            return Ok(PinOutcome::Right {
                known_browser: true,
            });
        }
        let day = self.read(OVERALL).await?;
        self.record_wrong_try(day, attempt, &tries).await
    }

    /// Makes a browser known, or known for longer, with no tries counted.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn remember_browser(
        &self,
        browser: &Fingerprint,
        now: u64,
    ) -> Result<(), Unavailable> {
        let known = KnownBrowser {
            tries: Tries::default(),
            expires_at: now + KNOWN_BROWSER_SECONDS,
        };
        self.put(&browser_key(browser), &known, known.expires_at)
            .await
    }

    async fn known_browser(
        &self,
        browser: &Fingerprint,
        now: u64,
    ) -> Result<Option<KnownBrowser>, Unavailable> {
        let known: Option<KnownBrowser> = self.read(&browser_key(browser)).await?;
        Ok(known.filter(|known| now < known.expires_at))
    }

    /// Counts one more try in the network's item. Two at once in one network: the second waits.
    async fn reserve_for_network(
        &self,
        source: &Source,
        now: u64,
    ) -> Result<Reservation, Unavailable> {
        let seen = self.get(&network_key(source), "-").await?;
        let seen_attempt = attempt_of(seen.as_ref());
        let tries: NetworkTries = seen.map(parse).transpose()?.unwrap_or_default();
        let tries = match tries.one_more(source, now) {
            Ok(tries) => tries,
            Err(wait) => return Ok(Reservation::Refused { wait }),
        };
        let written = self
            .put_network(source, &tries, seen_attempt.as_deref(), now)
            .await?;
        Ok(match written {
            Written::Done(item) => Reservation::Made(ReservedTry {
                attempt: attempt_of(Some(&item)),
                tries,
            }),
            Written::Refused(_) => Reservation::Refused {
                wait: RACE_WAIT_SECONDS,
            },
        })
    }

    /// Forgets the tries of the address from which the right PIN came.
    async fn clear_address(
        &self,
        source: &Source,
        reserved: ReservedTry,
        now: u64,
    ) -> Result<(), Unavailable> {
        let ReservedTry {
            mut tries,
            mut attempt,
        } = reserved;
        for _ in 0..CLEAR_ATTEMPTS {
            let cleared = tries.without(source);
            match self
                .put_network(source, &cleared, attempt.as_deref(), now)
                .await?
            {
                Written::Done(_) => return Ok(()),
                // Another try came in between, from this network.
                Written::Refused(item) => {
                    attempt = attempt_of(item.as_ref());
                    tries = item.map(parse).transpose()?.unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// Condition: the item is as it was after the attempt that was seen.
    async fn put_network(
        &self,
        source: &Source,
        tries: &NetworkTries,
        seen_attempt: Option<&str>,
        now: u64,
    ) -> Result<Written, Unavailable> {
        let attempt = self.randomness.id();
        let mut item = item(&network_key(source), "-", tries, now + DAY_SECONDS)?;
        item.insert("attempt".to_owned(), AttributeValue::S(attempt.clone()));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .expression_attribute_names("#attempt", "attempt")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match seen_attempt {
            None => put.condition_expression("attribute_not_exists(#attempt)"),
            Some(seen) => put
                .condition_expression("#attempt = :seen")
                .expression_attribute_values(":seen", AttributeValue::S(seen.to_owned())),
        };
        let Err(error) = put.send().await else {
            return Ok(Written::Done(item));
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                Ok(settle(failed.item().cloned(), Some(&attempt)))
            }
            _ => Err(unavailable(&error)),
        }
    }

    /// Counts a try of the day; `None` when the allowance is used up.
    async fn reserve_for_day(
        &self,
        seen: Option<Day>,
        attempt: PinTry<'_>,
    ) -> Result<Option<Day>, Unavailable> {
        let now = attempt.now;
        let mut started_at = seen.as_ref().map(|day| day.started_at);
        if seen.is_none_or(|day| !day.is_running(now)) {
            let opened = Update::of(OVERALL, "-")
                .set("started_at", now)
                .set("tries", 1)
                .set("wrong", 0)
                .set("expires_at", now + WRONG_TRIES_KEPT_SECONDS)
                .set("v", super::SCHEMA_VERSION)
                .attempt(self.randomness.id());
            let opened = match started_at {
                None => opened.when_absent("started_at"),
                Some(at) => opened.when("started_at", "=", at),
            };
            match opened.send(&self.client, &self.table).await? {
                Written::Done(item) => return parse(item).map(Some),
                // Another try opened the day.
                Written::Refused(item) => {
                    started_at = item
                        .map(parse::<Day>)
                        .transpose()?
                        .map(|day| day.started_at);
                }
            }
        }
        let counted = Update::of(OVERALL, "-")
            .add("tries", 1)
            .when("started_at", "=", started_at.unwrap_or(now))
            .when("tries", "<", attempt.daily_tries)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        match counted {
            Written::Done(item) => parse(item).map(Some),
            Written::Refused(_) => Ok(None),
        }
    }

    /// Counts a wrong try of the day, and shows it to the owner. Two at once may lose one of the ten that are shown.
    async fn record_wrong_try(
        &self,
        day: Option<Day>,
        attempt: PinTry<'_>,
        tries: &Tries,
    ) -> Result<PinOutcome, Unavailable> {
        let mut wrong_today = 0;
        // The owner may have deleted the item meanwhile, to reopen consent: nothing is written in its place.
        if let Some(day) = day {
            let recent = serde_dynamo::to_attribute_value(with_wrong_try(day.recent, attempt))
                .map_err(|error| super::malformed(&error))?;
            let written = Update::of(OVERALL, "-")
                .add("wrong", 1)
                .set("recent", Value(recent))
                .set("expires_at", attempt.now + WRONG_TRIES_KEPT_SECONDS)
                .when("started_at", "=", day.started_at)
                .attempt(self.randomness.id())
                .send(&self.client, &self.table)
                .await?;
            if let Written::Done(item) = written {
                wrong_today = parse::<Day>(item)?.wrong;
            }
        }
        Ok(PinOutcome::Wrong {
            left: tries.left(),
            wait: tries.wait(attempt.now),
            wrong_today,
        })
    }

    /// The last wrong tries, newest first, for the connections page.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn wrong_tries(&self, now: u64) -> Result<Vec<WrongTry>, Unavailable> {
        let day: Option<Day> = self.read(OVERALL).await?;
        let mut tries = day.map(|day| day.recent).unwrap_or_default();
        tries.retain(|tried| now.saturating_sub(tried.at) < WRONG_TRIES_KEPT_SECONDS);
        tries.reverse();
        Ok(tries)
    }
}

/// Whether a try was counted and may be compared.
enum Reservation {
    Made(ReservedTry),
    Refused { wait: u64 },
}

/// The network's item as this try left it.
struct ReservedTry {
    tries: NetworkTries,
    attempt: Option<String>,
}

/// A browser in which the right PIN was entered: `browser#<fingerprint of its cookie>`.
#[derive(Serialize, Deserialize)]
struct KnownBrowser {
    #[serde(flatten)]
    tries: Tries,
    /// 90 days after the right PIN was entered there last.
    expires_at: u64,
}

/// A wrong try, or several in a row from one address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WrongTry {
    /// The last of them, in unix seconds.
    pub at: u64,
    /// Where from, IPv6 by its /64.
    pub address: String,
    /// How many.
    pub count: u32,
}

/// The tries of a day over all addresses: `pin#overall`.
#[derive(Deserialize)]
struct Day {
    started_at: u64,
    /// Tries that were compared, wrong and right; not those of known browsers.
    #[serde(default)]
    tries: u64,
    /// Wrong tries.
    #[serde(default)]
    wrong: u64,
    #[serde(default)]
    recent: Vec<WrongTry>,
}

impl Day {
    /// A day that began in the future was recorded by a wrong clock.
    fn is_running(&self, now: u64) -> bool {
        self.started_at <= now && now - self.started_at < DAY_SECONDS
    }
}

fn with_wrong_try(mut recent: Vec<WrongTry>, attempt: PinTry<'_>) -> Vec<WrongTry> {
    let address = attempt.source.address();
    match recent.last_mut() {
        Some(last) if last.address == address => {
            last.at = attempt.now;
            last.count = last.count.saturating_add(1);
        }
        _ => recent.push(WrongTry {
            at: attempt.now,
            address: address.to_owned(),
            count: 1,
        }),
    }
    recent.split_off(recent.len().saturating_sub(SHOWN_WRONG_TRIES))
}

fn browser_key(browser: &Fingerprint) -> String {
    format!("browser#{}", browser.as_str())
}

fn network_key(source: &Source) -> String {
    format!("pin#{}", source.network())
}

fn attempt_of(item: Option<&Item>) -> Option<String> {
    item?.get("attempt")?.as_s().ok().cloned()
}
