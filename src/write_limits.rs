//! Token buckets per address, and one of all known browsers, in memory: they limit how many writes and fetches anybody can cause.
//!
//! Each instance counts for itself, so this limits costs and nothing else; limits that must hold everywhere are in the
//! store. Memory is limited too: when there are too many addresses, the fullest bucket is forgotten, because a new one
//! for its address would have hardly more.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::pin::address_key;

/// How many writes an address has at once, how fast it gets more, and how many addresses are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What a full bucket holds.
    pub burst: u64,
    /// Seconds after which one more may be taken.
    pub seconds_each: u64,
    /// How many addresses are remembered.
    pub addresses: usize,
}

/// For registrations and for consent pages, which are stored and may need a client's document. Clients register more than
/// once, and often, but not once a second for long.
pub const PER_ADDRESS: Limit = Limit {
    burst: 200,
    seconds_each: 1,
    addresses: 4096,
};

/// One bucket for each address (IPv6 by its /64) and one for all known browsers. Cheap to clone: clones share the buckets.
#[derive(Clone)]
pub struct WriteLimits {
    limit: Limit,
    buckets: Arc<Mutex<HashMap<String, Bucket>>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: u64,
    /// The time, in Unix seconds, up to which it was filled.
    filled_at: u64,
}

impl WriteLimits {
    /// A full bucket for every address.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            buckets: Arc::default(),
        }
    }

    /// Takes one from the address's bucket at `now` (Unix seconds).
    ///
    /// # Errors
    /// When it is empty: the seconds until it is not.
    pub fn take(&self, address: Option<IpAddr>, now: u64) -> Result<(), u64> {
        self.take_from(address_key(address), now)
    }

    /// The same for a browser in which the right PIN was entered, whatever its address. All of them share one bucket:
    /// somebody who knew an earlier PIN may have made many browsers known.
    ///
    /// # Errors
    /// When it is empty: the seconds until it is not.
    pub fn take_for_known_browser(&self, now: u64) -> Result<(), u64> {
        self.take_from("known browsers".to_owned(), now)
    }

    fn take_from(&self, key: String, now: u64) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bucket = match buckets.get(&key) {
            Some(bucket) => bucket.filled(self.limit, now),
            None => Bucket {
                left: self.limit.burst,
                filled_at: now,
            },
        };
        let taken = bucket.left.checked_sub(1);
        bucket.left = taken.unwrap_or(0);
        if !buckets.contains_key(&key) && buckets.len() >= self.limit.addresses {
            forget_the_fullest(&mut buckets, self.limit, now);
        }
        let wait = (bucket.filled_at + self.limit.seconds_each).saturating_sub(now);
        buckets.insert(key, bucket);
        taken.map(drop).ok_or(wait.max(1))
    }
}

impl Bucket {
    fn filled(self, limit: Limit, now: u64) -> Self {
        // If the clock was set back, it is filled from now on: a time in the future must not keep it empty.
        let Some(passed) = now.checked_sub(self.filled_at) else {
            return Self {
                filled_at: now,
                ..self
            };
        };
        let left = self.left + passed / limit.seconds_each;
        if left >= limit.burst {
            return Self {
                left: limit.burst,
                filled_at: now,
            };
        }
        Self {
            left,
            filled_at: now - passed % limit.seconds_each,
        }
    }
}

/// Of several that are equally full, the one that was used longest ago.
fn forget_the_fullest(buckets: &mut HashMap<String, Bucket>, limit: Limit, now: u64) {
    let fullest = buckets
        .iter()
        .max_by_key(|(_, bucket)| {
            (
                bucket.filled(limit, now).left,
                std::cmp::Reverse(bucket.filled_at),
            )
        })
        .map(|(key, _)| key.clone());
    if let Some(key) = fullest {
        buckets.remove(&key);
    }
}

/// Without the addresses, which are personal data.
impl fmt::Debug for WriteLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteLimits")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const NOW: u64 = 1_793_491_200;

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0b00_0000 + n).into()
    }

    /// How many of a number of tries at one time succeed.
    fn taken(
        limits: &WriteLimits,
        address: impl Into<Option<IpAddr>>,
        now: u64,
        tries: usize,
    ) -> usize {
        let address = address.into();
        (0..tries)
            .filter(|_| limits.take(address, now).is_ok())
            .count()
    }

    #[test]
    fn a_flood_gets_the_burst_and_then_one_a_second() {
        let limits = WriteLimits::new(PER_ADDRESS);
        assert_eq!(taken(&limits, v4(1), NOW, 10_000), 200);
        assert_eq!(limits.take(Some(v4(1)), NOW), Err(1));
        assert_eq!(taken(&limits, v4(1), NOW + 1, 100), 1);
        assert_eq!(taken(&limits, v4(1), NOW + 11, 100), 10);
        assert_eq!(taken(&limits, v4(1), NOW + 100_000, 10_000), 200);
        assert_eq!(
            taken(&limits, v4(2), NOW, 10_000),
            200,
            "another address has its own"
        );
        assert_eq!(
            taken(&limits, None, NOW, 10_000),
            200,
            "unknown addresses share one"
        );
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        let limits = WriteLimits::new(PER_ADDRESS);
        let in_network = |network: u16, host: u16| {
            Some(IpAddr::from(Ipv6Addr::new(
                0x2003, 0, 0, network, host, 0, 0, host,
            )))
        };
        let passed = (0..10_000)
            .filter(|host| limits.take(in_network(1, *host), NOW).is_ok())
            .count();
        assert_eq!(passed, 200);
        assert!(limits.take(in_network(2, 1), NOW).is_ok());
    }

    #[test]
    fn many_addresses_neither_fill_the_memory_nor_empty_a_spent_bucket() {
        let limit = Limit {
            addresses: 64,
            ..PER_ADDRESS
        };
        let limits = WriteLimits::new(limit);
        assert_eq!(taken(&limits, v4(0), NOW, 300), 200);
        for n in 1..10_000 {
            assert!(limits.take(Some(v4(n)), NOW).is_ok());
        }
        assert_eq!(limits.buckets.lock().unwrap().len(), 64);
        assert_eq!(limits.take(Some(v4(0)), NOW), Err(1), "it is not forgotten");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_a_bucket_empty() {
        let limits = WriteLimits::new(PER_ADDRESS);
        assert_eq!(taken(&limits, v4(1), NOW, 300), 200);
        let earlier = NOW - 1_000_000;
        assert_eq!(limits.take(Some(v4(1)), earlier), Err(1));
        assert_eq!(taken(&limits, v4(1), earlier + 5, 100), 5);
    }

    #[test]
    fn a_slower_bucket_says_how_long_to_wait() {
        let limits = WriteLimits::new(Limit {
            burst: 1,
            seconds_each: 30,
            addresses: 1,
        });
        assert_eq!(limits.take(Some(v4(1)), NOW), Ok(()));
        assert_eq!(limits.take(Some(v4(1)), NOW + 10), Err(20));
        assert_eq!(limits.take(Some(v4(1)), NOW + 29), Err(1));
        assert_eq!(limits.take(Some(v4(1)), NOW + 30), Ok(()));
    }
}
