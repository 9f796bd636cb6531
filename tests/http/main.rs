//! Black-box tests: the whole program on loopback sockets, the real SDK on the embedded engine, a movable
//! clock, and an upstream that records what reaches it.
//!
//! Every [`world::World`] looks, when it ends, for its own credentials in everything that was logged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod attacks;
mod bad_input;
mod command;
mod connections;
mod consent;
mod discovery;
mod documents;
mod exchange;
mod faults;
mod flow;
mod header_names;
mod keep_right;
mod large_bodies;
mod logs;
#[path = "../../src/client_document/tests/origin.rs"]
mod origin;
mod own_errors;
mod processes;
mod proxy;
mod races;
mod recipes;
mod recorder;
mod registration;
mod replays;
mod requirements;
mod sse;
mod targets;
mod token;
mod tokens;
mod upstream_cases;
mod upstream_refusals;
mod upstreams;
mod urls;
mod world;
