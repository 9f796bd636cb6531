//! Black-box tests: the whole program on loopback sockets, the real SDK on the embedded engine, a movable
//! clock, and an upstream that records what reaches it.
//!
//! When a [`support::world::World`] is dropped, it searches everything that was logged for its own credentials.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod http {
    mod attacks;
    mod bad_input;
    mod client_document;
    mod command;
    mod connection_pages;
    mod connections;
    mod consent;
    mod costs;
    mod discovery;
    mod doctor;
    mod documents;
    mod faults;
    mod flow;
    mod header_names;
    mod large_bodies;
    mod limits;
    mod listener;
    mod logs;
    mod manual_tokens;
    mod own_errors;
    mod owner;
    mod processes;
    mod proxy;
    mod races;
    mod registration;
    mod replays;
    mod reported_bugs;
    mod revocation_races;
    mod sse;
    mod sse_refusals;
    mod start_check;
    mod stream_ends;
    mod targets;
    mod token;
    mod upstream_refusals;
    mod upstream_token;
    mod upstreams;
    mod urls;
}

mod support;
