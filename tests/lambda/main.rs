//! The function as AWS runs it: the binary as a process of its own, against a Runtime API, a Secrets Manager and a
//! DynamoDB on loopback.
//!
//! Which binary: the one that cargo built for these tests, or the one that `LAMBDA_BINARY` names; `.ci/run` names the
//! release build without the local side, the one that is deployed. That binary trusts the web's authorities only and
//! has no setting to trust another, so the tests which need an upstream that answers run the same host in a process
//! made of this very test program (see [`host`]), with the tests' own authority.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod authority;
mod aws;
mod client;
mod events;
mod flow;
mod function;
mod function_url;
mod host;
mod http1;
#[path = "../http/recorder.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod recorder;
mod runtime_api;
mod secret;
mod spellings;
mod streams;
mod tls;
