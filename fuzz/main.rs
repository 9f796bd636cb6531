//! libFuzzer over one of the targets. The environment variable `FUZZ_TARGET` says which: one program for all of them is
//! built in a fraction of the time.

#![no_main]

mod invariants;

use std::{env, sync::OnceLock};

use invariants::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(other, _)| *other == name);
    found.expect("FUZZ_TARGET is the name of a target").1
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.get_or_init(chosen)(input));
