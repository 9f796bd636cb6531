//! Judging a PIN under the throttle: reserve the try, compare, give back or keep.

use std::net::IpAddr;

use super::{
    Store, parse,
    table::{Update, Value, Written},
};
use crate::{
    error::Unavailable,
    pin::{self, DAY, MOST_TRIES, TRUSTED, Tries},
};

const OVERALL: &str = "pin#overall";

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The right PIN.
    Right,
    /// A wrong one; counted.
    Wrong {
        /// Tries of this address that remain before it is blocked.
        left: u64,
        /// Seconds until the next try is compared.
        wait: Option<u64>,
        /// Wrong tries of the day over all addresses.
        overall: u64,
    },
    /// Refused for so many seconds; not compared, not counted.
    Blocked {
        /// Seconds.
        wait: u64,
    },
    /// The budget of the day is spent; not compared.
    Closed,
}

impl Store {
    /// Judges one try from `address`. Every try is reserved before it is compared, so that parallel requests
    /// have no more tries than serial ones.
    ///
    /// # Errors
    /// When the table cannot be read or written: then nothing was compared, or the try stays counted.
    pub async fn judge_pin(
        &self,
        address: Option<IpAddr>,
        now: u64,
        is_right: impl FnOnce() -> bool,
    ) -> Result<Judged, Unavailable> {
        let key = format!("pin#{}", pin::address_key(address));
        let seen: Option<Tries> = self.read(&key).await?;
        let known = seen.clone().unwrap_or_default();
        if let Some(wait) = known.wait(now) {
            return Ok(Judged::Blocked { wait });
        }
        let block = known.next_block(now);
        if !self.reserve_try(&key, seen.as_ref(), block, now).await? {
            // Another try of this address came in between: one at a time.
            return Ok(Judged::Blocked { wait: 1 });
        }
        let limit = (!known.trusted(now)).then_some(MOST_TRIES);
        let Some((window, overall)) = self.reserve_overall(now, limit).await? else {
            self.give_back_try(&key, now, None).await?;
            return Ok(Judged::Closed);
        };
        if is_right() {
            self.give_back_try(&key, now, Some(now)).await?;
            self.give_back_overall(window).await?;
            return Ok(Judged::Right);
        }
        self.remember(&pin::address_key(address), now).await?;
        let tries = known.counted(now) + 1;
        Ok(Judged::Wrong {
            left: Tries::left_after(tries),
            wait: block.checked_sub(now).filter(|s| *s > 0),
            overall,
        })
    }

    /// Condition: the tries are still as seen.
    async fn reserve_try(
        &self,
        key: &str,
        seen: Option<&Tries>,
        block: u64,
        now: u64,
    ) -> Result<bool, Unavailable> {
        let known = seen.cloned().unwrap_or_default();
        let expires_at = (now + DAY).max(if known.last_success_at > 0 {
            known.last_success_at + TRUSTED
        } else {
            0
        });
        let update = Update::of(key, "-")
            .set("tries", known.counted(now) + 1)
            .set("last_try_at", now)
            .set("blocked_until", block)
            .set("expires_at", expires_at)
            .set("v", super::VERSION)
            .attempt(self.randomness.id());
        let update = match seen {
            None => update.when_absent("tries"),
            Some(seen) => update
                .when("tries", "=", seen.tries)
                .when("last_try_at", "=", seen.last_try_at)
                .when_absent_or("blocked_until", "=", seen.blocked_until),
        };
        Ok(matches!(
            update.send(&self.client, &self.table).await?,
            Written::Done(_)
        ))
    }

    async fn give_back_try(
        &self,
        key: &str,
        now: u64,
        success_at: Option<u64>,
    ) -> Result<(), Unavailable> {
        let mut update = Update::of(key, "-")
            .add("tries", -1)
            .set("blocked_until", 0)
            .when("tries", ">", 0);
        if let Some(at) = success_at {
            update = update
                .set("last_success_at", at)
                .set("expires_at", now + TRUSTED);
        }
        update
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await
            .map(drop)
    }

    /// Counts a try of the day; the day's start and its tries so far, or `None` when the budget is spent.
    async fn reserve_overall(
        &self,
        now: u64,
        limit: Option<u64>,
    ) -> Result<Option<(u64, u64)>, Unavailable> {
        let window: Option<Window> = self.read(OVERALL).await?;
        let mut started_at = window.as_ref().map(|window| window.started_at);
        if started_at.is_none_or(|at| now.saturating_sub(at) >= DAY || at > now) {
            let opened = Update::of(OVERALL, "-")
                .set("started_at", now)
                .set("tries", 1)
                .set("expires_at", now + KEPT_FOR)
                .set("v", super::VERSION)
                .attempt(self.randomness.id());
            let opened = match started_at {
                None => opened.when_absent("started_at"),
                Some(at) => opened.when("started_at", "=", at),
            };
            match opened.send(&self.client, &self.table).await? {
                Written::Done(_) => return Ok(Some((now, 1))),
                // Another try opened the day.
                Written::Refused(item) => {
                    started_at = item
                        .map(parse::<Window>)
                        .transpose()?
                        .map(|window| window.started_at);
                }
            }
        }
        let started_at = started_at.unwrap_or(now);
        let mut counted =
            Update::of(OVERALL, "-")
                .add("tries", 1)
                .when("started_at", "=", started_at);
        if let Some(limit) = limit {
            counted = counted.when("tries", "<", limit);
        }
        match counted
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?
        {
            Written::Done(item) => Ok(Some((started_at, parse::<Window>(item)?.tries))),
            Written::Refused(_) => Ok(None),
        }
    }

    async fn give_back_overall(&self, started_at: u64) -> Result<(), Unavailable> {
        Update::of(OVERALL, "-")
            .add("tries", -1)
            .when("started_at", "=", started_at)
            .when("tries", ">", 0)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await
            .map(drop)
    }

    /// The last wrong tries, newest first, for the connections page.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn wrong_tries(&self, now: u64) -> Result<Vec<WrongTry>, Unavailable> {
        let window: Option<Window> = self.read(OVERALL).await?;
        let mut tries = window.map(|window| window.recent).unwrap_or_default();
        tries.retain(|tried| now.saturating_sub(tried.at) < KEPT_FOR);
        tries.reverse();
        Ok(tries)
    }

    /// Remembers a wrong try among the last ten; tries of one address in a row are one entry. Two at once may
    /// lose one of them: this list is for the eye, the counts are elsewhere.
    async fn remember(&self, address: &str, now: u64) -> Result<(), Unavailable> {
        // The operator may have deleted the item meanwhile, to reopen consent: nothing is written in its place.
        let Some(window) = self.read::<Window>(OVERALL).await? else {
            return Ok(());
        };
        let mut recent = window.recent;
        match recent.last_mut() {
            Some(last) if last.address == address => {
                *last = WrongTry {
                    at: now,
                    count: last.count + 1,
                    ..last.clone()
                }
            }
            _ => recent.push(WrongTry {
                at: now,
                address: address.to_owned(),
                count: 1,
            }),
        }
        let from = recent.len().saturating_sub(REMEMBERED);
        let recent = serde_dynamo::to_attribute_value(&recent[from..])
            .map_err(|error| super::malformed(&error))?;
        Update::of(OVERALL, "-")
            .set("recent", Value(recent))
            .set("expires_at", now + KEPT_FOR)
            .when("started_at", "=", window.started_at)
            .send(&self.client, &self.table)
            .await
            .map(drop)
    }
}

/// Wrong tries that the connections page shows.
const REMEMBERED: usize = 10;
/// And for how long.
const KEPT_FOR: u64 = 30 * DAY;

/// A wrong try, or several in a row from one address.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct WrongTry {
    /// The last of them, in unix seconds.
    pub at: u64,
    /// Where from, IPv6 by its /64.
    pub address: String,
    /// How many.
    pub count: u32,
}

/// The tries of a day over all addresses: `pin#overall`.
#[derive(serde::Deserialize)]
struct Window {
    started_at: u64,
    #[serde(default)]
    tries: u64,
    #[serde(default)]
    recent: Vec<WrongTry>,
}
