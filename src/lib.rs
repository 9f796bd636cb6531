//! OAuth 2.1 in front of an MCP server that only takes a personal access token.
//!
//! Not an identity provider and not a general proxy: one owner, one upstream, one credential, and a PIN.
//!
//! * [`host`] – what stands between the router and the world
//! * [`endpoint`] – one file per endpoint, and the router
//! * [`page`] – what people see
//! * [`app`] – what every endpoint is given
//! * [`store`] – DynamoDB, behind verbs of the protocol
//! * [`upstream`] – the outgoing side
//! * [`client_document`] – fetching client-id metadata documents
//! * [`secrets`], [`pin`], [`write_limits`] – the secret, the throttle of the PIN, and how often an address may make us write
//! * [`oauth`] – the protocol, pure
//! * [`credential`], [`clock`], [`config`], [`error`] – the ground

pub mod app;
pub mod client_document;
pub mod clock;
pub mod config;
pub mod credential;
pub mod endpoint;
pub mod error;
pub mod host;
pub mod http_client;
pub mod oauth;
pub mod page;
pub mod pin;
pub mod secrets;
pub mod store;
pub mod upstream;
pub mod write_limits;
