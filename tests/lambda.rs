//! The function as AWS runs it: the binary as a process of its own, against a Runtime API, a Secrets Manager and a
//! DynamoDB on loopback.
//!
//! Which binary: the one that cargo built for these tests, or the one that `LAMBDA_BINARY` names; `.ci/run` names the
//! release build without the feature `local`, the one that is deployed. That binary trusts only public certificate
//! authorities and has no setting to trust another. So the tests that need an upstream that responds run the same host
//! in a process made of this very test program (see [`lambda::host`]), which trusts the tests' own authority.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod lambda {
    mod aws;
    mod client;
    mod events;
    mod flow;
    mod function;
    mod function_url;
    pub mod host;
    mod http1;
    mod runtime_api;
    mod secret;
    mod spellings;
    mod stream_ends;
    mod streams;
    mod tls;
    mod tls_listener;
    mod upstream_responses;
}

#[expect(dead_code, reason = "tests/http uses the rest of it")]
mod support;
