//! Checks of the repository: that the modules keep their layers, and that the documentation is complete and true.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod repo {
    mod files;
    mod layers;
    mod log_events;
    mod recipes;
    mod requirements;
}

#[expect(dead_code, reason = "tests/http uses the rest of it")]
mod support;
