//! (modules being laid)
pub mod app;
pub mod clock;
pub mod config;
pub mod credential;
pub mod endpoint;
pub mod error;
pub mod oauth;
pub mod page;
pub mod pin;
pub mod secrets;
pub mod store;
pub mod upstream;
