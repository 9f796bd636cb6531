//! PIN checks with limits: a try is counted before the PIN is compared, and a right PIN clears the count.

use std::sync::atomic::Ordering::Relaxed;

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

use super::{
    Store, item, parse,
    table::{ExpressionValue, Item, Update, WriteOutcome, condition_failed, unavailable},
};
use crate::{
    credential::{Fingerprint, KnownBrowserKey},
    error::Unavailable,
    pin::{
        DAY_SECONDS, KNOWN_BROWSER_SECONDS, KNOWN_BROWSERS_DAILY_TRIES, NetworkTries, Source, Tries,
    },
};

/// One item for each day (UTC): the sort key is the number of days since 1970.
const DAILY_TRIES_KEY: &str = "pin#overall";
const KNOWN_BROWSER_KEY: &str = "key#browser";
/// Entries in the list of wrong tries on the connections page.
const MAX_SHOWN_WRONG_TRIES: usize = 10;
/// How long those entries are kept.
const WRONG_TRIES_RETENTION_SECONDS: u64 = 30 * DAY_SECONDS;
/// How long a try must wait when another request changed the item at the same time.
const LOST_RACE_WAIT_SECONDS: u64 = 1;
/// How long an instance that found all tries of the day used up refuses further ones without a look at the table, so that a
/// flood does not cause writes.
const CLOSED_SECONDS: u64 = 60;
/// Attempts to clear the tries of an address while other requests change the item of its network.
const MAX_CLEAR_ATTEMPTS: usize = 3;

/// The outcome of [`Store::check_pin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinOutcome {
    /// The PIN was right.
    Right,
    /// The PIN was wrong; the try was counted.
    Wrong {
        /// Tries left before the next waiting time.
        left: u64,
        /// Seconds until the next try is compared.
        wait: Option<u64>,
        /// Wrong tries of the day from all addresses.
        wrong_today: u64,
    },
    /// Not compared: this address, its network or this browser must wait.
    Blocked {
        /// Seconds to wait.
        wait: u64,
    },
    /// Not compared: all tries of the day from all addresses are used up.
    ClosedForToday,
}

/// A try without the PIN itself.
#[derive(Clone, Copy, Debug)]
pub struct PinTry<'a> {
    /// Where it comes from.
    pub source: &'a Source,
    /// Fingerprint of the cookie of a known browser, if it comes from one.
    pub browser: Option<&'a Fingerprint>,
    /// Tries per day from all addresses.
    pub daily_tries: u64,
    /// The current time in unix seconds.
    pub now: u64,
}

impl Store {
    /// Checks one try. It is counted before the PIN is compared, so that parallel requests get no more tries than serial
    /// ones. When two requests count at the same time, one of them is refused.
    ///
    /// # Errors
    /// When the table cannot be read or written. Then the PIN was not compared, or the try stays counted.
    pub async fn check_pin(
        &self,
        attempt: PinTry<'_>,
        is_right: impl Fn() -> bool,
    ) -> Result<PinOutcome, Unavailable> {
        if let Some(browser) = attempt.browser
            && let Some(outcome) = self
                .check_pin_of_known_browser(attempt, browser, &is_right)
                .await?
        {
            return Ok(outcome);
        }
        let closed_at = self.closed_at.load(Relaxed);
        if attempt.now.abs_diff(closed_at) < CLOSED_SECONDS
            && day_key(attempt.now) == day_key(closed_at)
        {
            return Ok(PinOutcome::ClosedForToday);
        }
        let reserved = match self
            .reserve_for_network(attempt.source, attempt.now)
            .await?
        {
            Reservation::Counted(reserved) => reserved,
            Reservation::Refused { wait } => return Ok(PinOutcome::Blocked { wait }),
        };
        let counter = ("tries", attempt.daily_tries);
        let Some(day) = self.reserve_for_day(counter, attempt.now).await? else {
            self.closed_at.store(attempt.now, Relaxed);
            // It is not compared, so it counts for nobody. Another try from this network may have changed the item.
            let ReservedTry {
                before,
                attempt: seen,
                ..
            } = reserved;
            self.put_network(attempt.source, &before, seen.as_deref(), attempt.now)
                .await?;
            return Ok(PinOutcome::ClosedForToday);
        };
        let tries = reserved.tries.of_address(attempt.source);
        if is_right() {
            // This try alone blocks nobody: it is cleared together with the next one.
            if tries.tries > 1 {
                self.clear_address(attempt.source, reserved, attempt.now)
                    .await?;
            }
            return Ok(PinOutcome::Right);
        }
        self.record_wrong_try(day, attempt, &tries).await
    }

    /// `None` when the allowance of all known browsers is used up. Then the browser counts like any other, so that somebody
    /// who used it up, with browsers made known by an earlier PIN, does not keep the owner out.
    async fn check_pin_of_known_browser(
        &self,
        attempt: PinTry<'_>,
        browser: &Fingerprint,
        is_right: &impl Fn() -> bool,
    ) -> Result<Option<PinOutcome>, Unavailable> {
        let key = format!("browser#{}", browser.as_str());
        let seen: Option<Tries> = self.read(&key).await?;
        let tries = match seen.clone().unwrap_or_default().one_more(attempt.now) {
            Ok(tries) => tries,
            Err(wait) => return Ok(Some(PinOutcome::Blocked { wait })),
        };
        let reserved = Update::of(key, "-")
            .set("tries", tries.tries)
            .set("last_try_at", tries.last_try_at)
            .set("blocked_until", tries.blocked_until)
            .set("expires_at", attempt.now + DAY_SECONDS)
            .set("v", super::SCHEMA_VERSION);
        let reserved = match seen {
            None => reserved.when_absent("tries"),
            Some(seen) => {
                reserved
                    .when("tries", "=", seen.tries)
                    .when("last_try_at", "=", seen.last_try_at)
            }
        };
        let reserved = reserved
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        if let WriteOutcome::ConditionFailed(_) = reserved {
            return Ok(Some(PinOutcome::Blocked {
                wait: LOST_RACE_WAIT_SECONDS,
            }));
        }
        // Somebody who knew an earlier PIN may have made many browsers known: they share an allowance.
        let counter = ("known_browser_tries", KNOWN_BROWSERS_DAILY_TRIES);
        let Some(day) = self.reserve_for_day(counter, attempt.now).await? else {
            return Ok(None);
        };
        // The right PIN resets nothing: the browser gets a new cookie, and this one may be somebody else's by now.
        let outcome = if is_right() {
            PinOutcome::Right
        } else {
            self.record_wrong_try(day, attempt, &tries).await?
        };
        Ok(Some(outcome))
    }

    /// A new cookie for a browser in which the right PIN was entered: it is known for 90 days.
    ///
    /// # Errors
    /// When the key cannot be read or written.
    pub async fn known_browser_cookie(&self, now: u64) -> Result<String, Unavailable> {
        let key = self.known_browser_key().await?;
        Ok(key.cookie(now + KNOWN_BROWSER_SECONDS, &self.randomness))
    }

    /// Whether the cookie is that of a browser in which the right PIN was entered during the last 90 days.
    ///
    /// # Errors
    /// When the key cannot be read or written.
    pub async fn is_known_browser(&self, cookie: &str, now: u64) -> Result<bool, Unavailable> {
        Ok(self.known_browser_key().await?.is_valid(cookie, now))
    }

    /// The key of these cookies, which the first instance generates and every other one reads once.
    pub(super) async fn known_browser_key(&self) -> Result<&KnownBrowserKey, Unavailable> {
        let find = async || match self.get(KNOWN_BROWSER_KEY, "-").await? {
            Some(item) => stored_key(Some(&item)),
            None => self.create_known_browser_key().await,
        };
        self.known_browser_key.get_or_try_init(find).await
    }

    async fn create_known_browser_key(&self) -> Result<KnownBrowserKey, Unavailable> {
        let key = KnownBrowserKey::generate(&self.randomness);
        let created = Update::of(KNOWN_BROWSER_KEY, "-")
            .set("key", &*key.to_text())
            .set("v", super::SCHEMA_VERSION)
            .when_absent("key")
            .send(&self.client, &self.table)
            .await?;
        match created {
            WriteOutcome::Applied(_) => Ok(key),
            // Another instance was first, or this write was repeated.
            WriteOutcome::ConditionFailed(item) => stored_key(item.as_ref()),
        }
    }

    /// Counts a try in the item of its network. Of two concurrent tries in one network, the second must wait.
    async fn reserve_for_network(
        &self,
        source: &Source,
        now: u64,
    ) -> Result<Reservation, Unavailable> {
        let seen = self.get(&network_key(source), "-").await?;
        let seen_attempt = attempt_of(seen.as_ref());
        let before: NetworkTries = seen.map(parse).transpose()?.unwrap_or_default();
        let tries = match before.one_more(source, now) {
            Ok(tries) => tries,
            Err(wait) => return Ok(Reservation::Refused { wait }),
        };
        let written = self
            .put_network(source, &tries, seen_attempt.as_deref(), now)
            .await?;
        Ok(match written {
            WriteOutcome::Applied(item) => Reservation::Counted(ReservedTry {
                attempt: attempt_of(Some(&item)),
                tries,
                before,
            }),
            WriteOutcome::ConditionFailed(_) => Reservation::Refused {
                wait: LOST_RACE_WAIT_SECONDS,
            },
        })
    }

    /// Clears the tries of the address from which the right PIN was sent.
    async fn clear_address(
        &self,
        source: &Source,
        reserved: ReservedTry,
        now: u64,
    ) -> Result<(), Unavailable> {
        let ReservedTry {
            mut tries,
            mut attempt,
            ..
        } = reserved;
        for _ in 0..MAX_CLEAR_ATTEMPTS {
            let cleared = tries.without(source);
            match self
                .put_network(source, &cleared, attempt.as_deref(), now)
                .await?
            {
                WriteOutcome::Applied(_) => return Ok(()),
                // Another try from this network changed the item.
                WriteOutcome::ConditionFailed(item) => {
                    attempt = attempt_of(item.as_ref());
                    tries = item.map(parse).transpose()?.unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// Writes the item of a network, on condition that nobody has changed it since `seen_attempt`.
    async fn put_network(
        &self,
        source: &Source,
        tries: &NetworkTries,
        seen_attempt: Option<&str>,
        now: u64,
    ) -> Result<WriteOutcome, Unavailable> {
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
        let Err(error) = put.send().boxed().await else {
            return Ok(WriteOutcome::Applied(item));
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                Ok(condition_failed(failed.item().cloned(), Some(&attempt)))
            }
            _ => Err(unavailable(&error)),
        }
    }

    /// Counts a try of the day; `None` when all tries of the day are used up.
    async fn reserve_for_day(
        &self,
        (counter, limit): (&'static str, u64),
        now: u64,
    ) -> Result<Option<DailyTries>, Unavailable> {
        let counted = Update::of(DAILY_TRIES_KEY, day_key(now))
            .add(counter, 1)
            .set("expires_at", now + WRONG_TRIES_RETENTION_SECONDS)
            .set("v", super::SCHEMA_VERSION)
            .when_absent_or(counter, "<", limit)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        match counted {
            WriteOutcome::Applied(item) => parse(item).map(Some),
            WriteOutcome::ConditionFailed(_) => Ok(None),
        }
    }

    /// Counts a wrong try of the day and lists it for the owner. Of two concurrent wrong tries, one may be missing from the
    /// list; both are counted.
    async fn record_wrong_try(
        &self,
        day: DailyTries,
        attempt: PinTry<'_>,
        tries: &Tries,
    ) -> Result<PinOutcome, Unavailable> {
        let recent = serde_dynamo::to_attribute_value(with_wrong_try(day.recent, attempt))
            .map_err(|error| super::malformed(&error))?;
        let written = Update::of(DAILY_TRIES_KEY, day_key(attempt.now))
            .add("wrong", 1)
            .set("recent", ExpressionValue(recent))
            // The owner may have deleted the item to allow PINs again: then nothing is written in its place.
            .when("expires_at", ">", 0)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        let wrong_today = match written {
            WriteOutcome::Applied(item) => parse::<DailyTries>(item)?.wrong,
            WriteOutcome::ConditionFailed(_) => 0,
        };
        Ok(PinOutcome::Wrong {
            left: tries.left(),
            wait: tries.wait(attempt.now),
            wrong_today,
        })
    }

    /// The latest wrong tries, newest first, for the connections page.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn wrong_tries(&self, now: u64) -> Result<Vec<WrongTry>, Unavailable> {
        let mut tries = Vec::new();
        for day in self.items(DAILY_TRIES_KEY).await? {
            tries.extend(parse::<DailyTries>(day)?.recent);
        }
        tries.retain(|tried| now.saturating_sub(tried.at) < WRONG_TRIES_RETENTION_SECONDS);
        tries.reverse();
        tries.truncate(MAX_SHOWN_WRONG_TRIES);
        Ok(tries)
    }
}

/// Whether a try was counted, so that the PIN may be compared.
enum Reservation {
    Counted(ReservedTry),
    Refused { wait: u64 },
}

/// The item of a network after this try was counted.
struct ReservedTry {
    tries: NetworkTries,
    /// Without this try.
    before: NetworkTries,
    attempt: Option<String>,
}

/// Consecutive wrong tries from one address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WrongTry {
    /// The time of the latest one, in unix seconds.
    pub at: u64,
    /// The IP address; for IPv6 its /64 network.
    pub address: String,
    /// How many.
    pub count: u32,
}

/// The tries of a day from all addresses: `pin#overall`, with the day as the sort key. Its counters are `tries`, whose PIN was
/// compared, wrong or right, and `known_browser_tries`, which `tries` does not include.
#[derive(Deserialize)]
struct DailyTries {
    /// Wrong tries, those of known browsers included.
    #[serde(default)]
    wrong: u64,
    #[serde(default)]
    recent: Vec<WrongTry>,
}

/// A day that ends at a fixed time needs no write to begin it.
fn day_key(now: u64) -> String {
    (now / DAY_SECONDS).to_string()
}

/// The list with one more wrong try.
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
    recent.split_off(recent.len().saturating_sub(MAX_SHOWN_WRONG_TRIES))
}

fn stored_key(item: Option<&Item>) -> Result<KnownBrowserKey, Unavailable> {
    let text = item.and_then(|item| item.get("key")?.as_s().ok());
    text.and_then(|text| KnownBrowserKey::parse(text))
        .ok_or_else(|| Unavailable {
            what: "store",
            operator: true,
            detail: format!("the item {KNOWN_BROWSER_KEY} has no valid key").into(),
        })
}

fn network_key(source: &Source) -> String {
    format!("pin#{}", source.network())
}

fn attempt_of(item: Option<&Item>) -> Option<String> {
    item?.get("attempt")?.as_s().ok().cloned()
}
