//! What examples cannot cover, explored by machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
#![allow(clippy::print_stdout, reason = "a search reports how much it explored")]

mod explore {
    mod faults;
    #[path = "../../fuzz/invariants/mod.rs"]
    mod fuzz_targets;
    mod limits;
    mod model;
    mod properties;
    mod seeds;
    mod server;
}

#[allow(dead_code, reason = "only some of it is used here")]
mod support;
