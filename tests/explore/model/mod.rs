//! A model check of a connection's life, with the real code.
//!
//! Several actors – clients that refresh, redeem, replay and revoke, the owner, the next version of this program – send
//! requests to the real router, each in an instance of its own, on one table. Every order of their calls of the store is
//! tried, with requests and responses lost on the way and time passing in between, and the invariants are checked in every
//! state.
//!
//! * [`dynamodb`], [`expression`] – the table: DynamoDB in memory, checked against the embedded engine by [`differential`]
//! * [`actor`], [`instance`], [`scripts`] – the actors
//! * [`search`] – the orders
//! * [`invariants`] – what must hold
//!
//! `cargo test` explores small scenarios completely. The others take minutes:
//!
//!     cargo test --profile bench --test explore -- --ignored --nocapture --test-threads 1 --skip another_server model

pub mod actor;
mod differential;
pub mod dynamodb;
mod expression;
pub mod instance;
pub mod invariants;
pub mod scripts;
mod search;

use std::sync::Arc;

use actor::{Actors, Script};
use invariants::Invariants;
use scripts::Beginning;
use search::{Actor, Explored, Scenario, Search};

use crate::support::world::BEGIN;

/// Seconds after which repeats of a refresh are counted.
const COUNTED: u64 = 15;
/// Seconds after which the previous refresh token is a replay.
const PAST_THE_GRACE: u64 = 130;

fn honest(name: &'static str, script: Script) -> Actor {
    Actor {
        name,
        script,
        may_end_connections: false,
    }
}

fn hostile(name: &'static str, script: Script) -> Actor {
    Actor {
        may_end_connections: true,
        ..honest(name, script)
    }
}

/// A search of a scenario that begins after so many exchanges of tokens.
fn search(
    name: &'static str,
    exchanges: usize,
    faults: u8,
    pauses: &[u64],
    actors: impl FnOnce(&Arc<Beginning>) -> Vec<Actor>,
) -> Search {
    let app = scripts::app();
    let (table, beginning) = scripts::beginning(&app, exchanges);
    let scenario = Scenario {
        name,
        table,
        now: BEGIN,
        actors: actors(&beginning),
        pauses: pauses.to_vec(),
        faults,
    };
    Search::new(scenario, Actors::new(app, 0), Invariants::new(beginning))
}

fn refresher(begun: &Beginning, times: usize) -> Script {
    scripts::refresh(begun.client_id.clone(), begun.refresh(), times)
}

/// Presents the refresh token before the newest one.
fn replayer(begun: &Beginning) -> Script {
    let (old, _) = begun.successors.last().unwrap();
    scripts::refresh(begun.client_id.clone(), old.clone(), 1)
}

fn redeemer(begun: &Beginning) -> Script {
    scripts::redeem(begun.client_id.clone(), begun.code.clone())
}

fn revoker(begun: &Beginning, token: String) -> Script {
    scripts::revoke(begun.client_id.clone(), token)
}

/// Several processes of one client refresh with the same token.
fn refreshers(times: usize, faults: u8) -> Search {
    search("refreshers", 2, faults, &[COUNTED], |begun| {
        vec![
            honest("first", refresher(begun, times)),
            honest("second", refresher(begun, times)),
        ]
    })
}

/// The same while the next version is deployed.
fn deployment(times: usize, faults: u8) -> Search {
    search("deployment", 2, faults, &[COUNTED], |begun| {
        vec![
            honest("first", refresher(begun, times)),
            honest("second", refresher(begun, times)),
            honest("next version", scripts::next_version(begun.clone())),
        ]
    })
}

/// A client revokes its refresh token, or its access token, while it refreshes.
fn revocation(access: bool, times: usize, faults: u8) -> Search {
    search("revocation", 2, faults, &[], |begun| {
        let token = if access {
            begun.access()
        } else {
            begun.refresh()
        };
        vec![
            honest("first", refresher(begun, times)),
            honest("second", refresher(begun, times)),
            hostile("revoker", revoker(begun, token)),
            honest("next version", scripts::next_version(begun.clone())),
        ]
    })
}

/// The owner limits the connection while a client refreshes.
fn limitation(times: usize, faults: u8) -> Search {
    search("limitation", 2, faults, &[COUNTED], |begun| {
        vec![
            honest("client", refresher(begun, times)),
            honest("owner", scripts::limit(begun.clone())),
        ]
    })
}

/// The owner limits the connection in two tabs, while somebody who has the owner's session, but not the PIN, tries to
/// remove the limit.
fn widening(faults: u8) -> Search {
    search("widening", 2, faults, &[], |begun| {
        vec![
            honest("owner", scripts::limit(begun.clone())),
            honest("second tab", scripts::limit(begun.clone())),
            honest("thief", scripts::widen(begun.clone())),
        ]
    })
}

/// A page is submitted in two tabs, with different limits.
fn two_consents(faults: u8) -> Search {
    search("two consents", 0, faults, &[], |begun| {
        vec![
            hostile(
                "first tab",
                scripts::consent_again(begun.clone(), "everything"),
            ),
            hostile(
                "second tab",
                scripts::consent_again(begun.clone(), "read_only"),
            ),
        ]
    })
}

/// A copy of an older refresh token is presented, before and after the grace period.
fn replay(times: usize, faults: u8) -> Search {
    search("replay", 3, faults, &[PAST_THE_GRACE], |begun| {
        vec![
            honest("first", refresher(begun, times)),
            honest("second", refresher(begun, times)),
            hostile("replayer", replayer(begun)),
        ]
    })
}

/// A code is redeemed while its page is submitted again.
fn redemption(faults: u8) -> Search {
    search("redemption", 0, faults, &[], |begun| {
        vec![
            honest("first", redeemer(begun)),
            honest("next version", scripts::next_version(begun.clone())),
        ]
    })
}

/// A code is redeemed twice, and its page submitted again and refused.
fn two_redemptions(faults: u8) -> Search {
    search("two redemptions", 0, faults, &[], |begun| {
        vec![
            hostile("first", redeemer(begun)),
            hostile("second", redeemer(begun)),
            hostile(
                "consent",
                scripts::consent_again(begun.clone(), "read_only"),
            ),
            hostile("refusal", scripts::deny(begun.clone())),
        ]
    })
}

/// Everybody at once, also the owner, who ends all connections.
fn everybody(times: usize, faults: u8) -> Search {
    search(
        "everybody",
        2,
        faults,
        &[COUNTED, PAST_THE_GRACE],
        |begun| {
            vec![
                honest("first", refresher(begun, times)),
                honest("second", refresher(begun, times)),
                honest("next version", scripts::next_version(begun.clone())),
                hostile("replayer", replayer(begun)),
                hostile("revoker", revoker(begun, begun.refresh())),
                hostile("owner", scripts::end_all(begun.clone())),
                honest("limits", scripts::limit(begun.clone())),
                honest("thief", scripts::widen(begun.clone())),
                honest(
                    "consent",
                    scripts::consent_again(begun.clone(), "read_only"),
                ),
            ]
        },
    )
}

/// Explores a scenario completely, at random if it is too large, and reports how much that was.
fn explore(mut search: Search) -> Explored {
    let explored = search.exhaustively();
    println!("{}: {explored}", search.name());
    explored
}

#[test]
fn no_order_of_calls_breaks_an_invariant() {
    for search in [
        refreshers(1, 1),
        revocation(true, 1, 0),
        revocation(false, 1, 0),
        limitation(1, 0),
        widening(0),
        two_consents(0),
        replay(1, 0),
        redemption(1),
        two_redemptions(0),
    ] {
        let explored = explore(search);
        assert!(explored.interleavings > 50, "{explored}");
    }
}

#[test]
#[ignore = "takes minutes: the documentation of this module has the command"]
fn more_actors_and_more_faults_break_no_invariant() {
    // All actors at once have too many orders for the memory of a machine: see the random ones.
    for search in [
        redemption(6),
        limitation(2, 2),
        two_consents(2),
        two_redemptions(2),
        widening(3),
        replay(2, 2),
        deployment(2, 2),
        refreshers(2, 3),
        refreshers(3, 2),
        revocation(true, 2, 2),
        revocation(false, 2, 2),
    ] {
        explore(search);
    }
}

#[test]
#[ignore = "takes minutes: the documentation of this module has the command"]
#[expect(
    clippy::disallowed_methods,
    reason = "who asks for more asks in the environment"
)]
fn random_orders_of_everybody_break_no_invariant() {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let walks = number("MODEL_WALKS").unwrap_or(10_000);
    let mut search = everybody(2, 3);
    let explored = search.at_random(number("MODEL_SEED").unwrap_or(1), walks);
    println!("{}, at random: {explored}", search.name());
}
