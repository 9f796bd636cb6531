//! OAuth 2.1 in front of an MCP server that accepts only a personal access token.
//!
//! It is not an identity provider and not a general proxy: it has one owner with a PIN, and one upstream with one
//! credential.
//!
//! * [`host`] – runs the router in AWS Lambda or on one machine
//! * [`endpoint`] – the router, and one module per endpoint
//! * [`page`] – the HTML pages
//! * [`app`] – the state that every endpoint gets
//! * [`store`] – DynamoDB, with one method for each operation of the protocol
//! * [`upstream`] – forwards requests to the MCP server
//! * [`client_document`] – fetches client-id metadata documents
//! * [`secrets`], [`pin`], [`write_limits`] – the secret, PIN tries, and limits on writes by unauthenticated clients
//! * [`http_client`] – the HTTP client of all outgoing requests
//! * [`oauth`] – the rules of the protocol, without I/O
//! * [`limit`], [`connection_name`] – what the owner chooses for a connection
//! * [`background`] – work that no response waits for
//! * [`credential`], [`clock`], [`config`], [`error`] – types that all other modules use

pub mod app;
pub mod background;
pub mod client_document;
pub mod clock;
pub mod config;
pub mod connection_name;
pub mod credential;
pub mod endpoint;
pub mod error;
pub mod host;
pub mod http_client;
pub mod limit;
pub mod oauth;
pub mod page;
pub mod pin;
pub mod secrets;
pub mod store;
pub mod upstream;
pub mod write_limits;
