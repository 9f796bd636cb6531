//! What several test programs use: servers for the proxy to talk to, and a client that talks to the proxy.

pub mod authority;
pub mod exchange;
pub mod log;
pub mod origin;
pub mod recorder;
pub mod upstream_cases;
pub mod world;
