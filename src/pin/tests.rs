//! The form of a PIN, and the arithmetic of the throttle.

use super::*;

#[test]
fn a_pin_is_6_to_64_letters_and_digits_and_10_if_they_are_all_digits() {
    for invalid in [
        "",
        "abc12",
        "abc 123",
        "abc123\n",
        "p\u{e4}sswort",
        &"a".repeat(65),
        "123456",
        "123456789",
    ] {
        assert!(Pin::parse(invalid).is_err(), "{invalid}");
    }
    for valid in ["abc123", "1234567890", &"a".repeat(64)] {
        assert!(Pin::parse(valid).is_ok(), "{valid}");
    }
    assert_eq!(format!("{:?}", Pin::parse("Abc123").unwrap()), "[pin]");
}

#[test]
fn case_matters_only_where_the_pin_has_an_upper_case_letter() {
    let is = |pin: &str, presented: &str| Pin::parse(pin).unwrap().is(presented);
    for (pin, presented) in [
        ("Abc123", "Abc123"),
        ("Abc123", " Abc123\n"),
        ("abc123", "Abc123"),
        ("abc123", "ABC123\u{a0}"),
    ] {
        assert!(is(pin, presented), "{pin} {presented}");
    }
    for (pin, presented) in [
        ("Abc123", "abc123"),
        ("abc123", "abc1234"),
        ("abc123", "abc 123"),
        ("abc123", ""),
        ("abc123", "abc12"),
    ] {
        assert!(!is(pin, presented), "{pin} {presented}");
    }
}

#[test]
fn a_longer_pin_has_a_higher_daily_allowance() {
    let daily = |pin: &str| Pin::parse(pin).unwrap().daily_tries();
    assert_eq!((daily("abcdefgh9"), daily("abcdefghi9")), (1000, 100_000));
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
        tries = tries.one_more(now).unwrap();
        blocks.push(tries.blocked_until.saturating_sub(now));
        now = now.max(tries.blocked_until);
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
    };
    assert_eq!(tries.one_more(1000 + DAY_SECONDS - 1).unwrap().tries, 10);
    assert_eq!(tries.one_more(1000 + DAY_SECONDS).unwrap().tries, 1);
    assert_eq!(tries.one_more(1000), Err(480));
    assert_eq!(tries.wait(1480), None);
    // Never for longer than an hour, even if the clock was set back.
    assert_eq!(tries.one_more(0), Err(1480));
}

/// Tries from one address each, until the first is refused.
fn tries_until_refused(addresses: impl Iterator<Item = String>) -> (usize, u64) {
    let mut network = NetworkTries::default();
    for (n, address) in addresses.enumerate() {
        let source = Source::of(Some(address.parse().unwrap()));
        match network.one_more(&source, 1_000_000) {
            Ok(next) => network = next,
            Err(wait) => return (n, wait),
        }
    }
    panic!("none was refused");
}

#[test]
fn a_network_has_a_daily_allowance_of_its_own() {
    let day = DAY_SECONDS;
    for (addresses, allowed) in [
        (
            (0..200)
                .map(|n| format!("203.0.113.{n}"))
                .collect::<Vec<_>>(),
            50,
        ),
        (
            (0..200).map(|n| format!("2001:db8:1:{n:x}::1")).collect(),
            25,
        ),
        (
            (0..200).map(|n| format!("2001:db8:1:{n:x}00::1")).collect(),
            100,
        ),
    ] {
        assert_eq!(tries_until_refused(addresses.into_iter()), (allowed, day));
    }
}

#[test]
fn a_networks_day_ends_and_a_day_in_the_future_is_ignored() {
    let source = |n: u64| Source::of(Some(format!("203.0.113.{n}").parse().unwrap()));
    let mut full = NetworkTries::default();
    for n in 0..50 {
        full = full.one_more(&source(n), 1_000_000).unwrap();
    }
    assert_eq!(
        full.one_more(&source(50), 1_000_100),
        Err(DAY_SECONDS - 100)
    );
    assert!(full.one_more(&source(50), 1_000_000 + DAY_SECONDS).is_ok());
    assert!(full.one_more(&source(50), 999_999).is_ok());
}

#[test]
fn the_right_pin_clears_its_own_address_and_no_other() {
    let (own, other) = (
        Source::of(Some("2001:db8:1:2::1".parse().unwrap())),
        Source::of(Some("2001:db8:1:3::1".parse().unwrap())),
    );
    let mut network = NetworkTries::default();
    for source in [&own, &other, &own, &own] {
        network = network.one_more(source, 1000).unwrap();
    }
    let after = network.without(&own);
    assert_eq!(
        (after.of_address(&own).tries, after.of_address(&other).tries),
        (0, 1)
    );
    assert_eq!((after.tries, after.households["2001:db8:1:0::/56"]), (1, 1));
}

#[test]
fn ipv6_counts_by_64_and_mapped_addresses_as_ipv4() {
    let key = |text: &str| address_key(Some(text.parse().unwrap()));
    assert_eq!(key("203.0.113.9"), "203.0.113.9");
    assert_eq!(key("::ffff:203.0.113.9"), "203.0.113.9");
    assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2:ffff::1"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    let mapped = Source::of(Some("::ffff:203.0.113.9".parse().unwrap()));
    assert_eq!(mapped.network(), "203.0.113.0/24");
}

/// The documentation's worst case: a day of tries that block addresses, and another of one try from each address.
#[test]
fn the_counter_of_a_network_stays_under_11_kilobytes() {
    let source = |n: u64| Source::of(Some(format!("2001:db8:f100:{n:x}::1").parse().unwrap()));
    let (limit, tries_each) = (IPV6_48_DAILY_TRIES, TRIES_BEFORE_BLOCK);
    let mut tries = NetworkTries {
        started_at: 1_000_000,
        ..NetworkTries::default()
    };
    for n in 0..limit {
        let source = source(n / tries_each * 256 + 255);
        tries = tries.one_more(&source, 1_086_399).unwrap();
    }
    for n in 0..limit {
        tries = tries.one_more(&source(n * 256 + 254), 1_086_400).unwrap();
    }
    assert_eq!(tries.addresses.len() as u64, limit + limit / tries_each);
    let bytes = serde_json::to_vec(&tries).unwrap().len();
    // As an item it is shorter: DynamoDB counts no quotes and half a byte for a digit.
    assert!((11_000..12_500).contains(&bytes), "{bytes}");
}
