//! The hosts: what stands between the router and the world.
//!
//! * [`lambda`] – events of a Function URL, the deadline, streams that must not fail
//! * `local` – a listener on one machine, with the embedded engine
//! * `command` – the command line
//! * `demo` – a small MCP server to try everything with

pub mod aws;
pub mod lambda;
pub mod log;

#[cfg(feature = "local")]
pub mod command;
#[cfg(feature = "local")]
pub mod demo;
#[cfg(feature = "local")]
pub mod engine;
#[cfg(feature = "local")]
pub mod local;
