//! OAuth 2.1 in front of an MCP server that only takes a personal access token.
//! (modules being laid)
pub mod credential;
pub mod error;
pub mod oauth;
pub mod pin;
pub mod store;
