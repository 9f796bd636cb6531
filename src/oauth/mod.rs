//! The rules of OAuth as pure functions: no I/O, no clock, no randomness. Each module turns untrusted parameters into a
//! checked type or an error.
//!
//! * [`params`] – query strings and forms, parsed strictly
//! * [`client`] – client metadata, from a registration or from a document
//! * [`client_auth`] – client authentication
//! * [`redirect_uri`] – redirect URIs: which are allowed, and which match
//! * [`authorization`] – the authorization request and its response by redirect
//! * [`token`] – the token request and the rotation of refresh tokens
//! * [`pkce`] – PKCE with S256
//! * [`resource`] – base URLs and the paths of the protected resource
//! * [`scope`] – scopes
//! * [`bearer`] – bearer tokens in requests, and the challenge
//! * [`metadata`] – both discovery documents
//! * [`error`] – error codes, each with its RFC section
//! * [`uri`] – rules about URIs that several modules share

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
pub mod uri;
