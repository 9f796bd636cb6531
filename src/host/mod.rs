//! The hosts: what is between the router and the network.
//!
//! * `lambda` – the Lambda runtime: events in, streamed responses out
//! * `metrics` – what the alarms count
//! * `local` – one machine: who calls, and at which base URL
//! * `server` – its HTTP server, with limits for connections
//! * `open_files` – how many connections the system makes possible
//! * `engine` – its table
//! * `start_check` – asks the upstream once whether it works
//! * `command` – the command line
//! * `doctor` – looks at a connector from outside, as clients do
//! * `demo` – an MCP server to try the proxy with

pub mod aws;
pub mod lambda;
pub mod log;
pub mod metrics;
pub mod start_check;

#[cfg(feature = "local")]
pub mod command;
#[cfg(feature = "local")]
pub mod demo;
#[cfg(feature = "local")]
pub mod doctor;
#[cfg(feature = "local")]
mod drain;
#[cfg(feature = "local")]
pub mod engine;
#[cfg(feature = "local")]
mod idle;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "local")]
mod open_files;
#[cfg(feature = "local")]
pub mod server;
#[cfg(feature = "local")]
mod timed_stream;
