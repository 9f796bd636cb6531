//! The hosts: what stands between the router and the world.
//!
//! * `lambda` – the Lambda runtime: events in, streamed answers out
//! * `metrics` – what the alarms count
//! * `local` – a listener on one machine, with the embedded engine
//! * `command` – the command line
//! * `demo` – an MCP server to try the proxy with

pub mod aws;
pub mod lambda;
pub mod log;
pub mod metrics;

#[cfg(feature = "local")]
pub mod command;
#[cfg(feature = "local")]
pub mod demo;
#[cfg(feature = "local")]
pub mod engine;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "local")]
mod unread;
