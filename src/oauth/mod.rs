//! The protocol, pure: no I/O, no clock, no randomness. Values move one way, from parameters as sent to
//! requests as meant.
//!
//! * [`params`] – query strings and forms, read strictly
//! * [`client`] – client metadata, from registration or from a document
//! * [`client_auth`] – how clients prove themselves
//! * [`redirect_uri`] – where answers may go
//! * [`authorization`] – the authorization request and the answers by redirect
//! * [`token`] – the token request and the rules of refreshing
//! * [`pkce`] – S256
//! * [`resource`] – base URLs and the paths which are this one protected resource
//! * [`bearer`] – presented tokens and the challenge
//! * [`metadata`] – both discovery documents
//! * [`error`] – the codes, each with its section

pub mod authorization;
pub mod bearer;
pub mod client;
pub mod client_auth;
pub mod error;
mod json;
pub mod metadata;
pub mod params;
pub mod pkce;
pub mod redirect_uri;
pub mod resource;
pub mod scope;
pub mod token;
