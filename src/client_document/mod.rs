//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document-00): a client's id is an https URL, and
//! the document at that URL describes the client.
//!
//! Whoever opens `/authorize` chooses the URL, so every fetch is a request that an attacker can direct. Five parts keep
//! it harmless:
//!
//! - [`DocumentUrl`]: which URLs are accepted; checked as text, before any name resolution
//! - [`is_public`]: which addresses may be connected to
//! - [`Fetcher`]: one name resolution, every address checked, the connection made to a checked one; no redirect, no
//!   proxy, a short time limit, few fetches at a time
//! - `response`: which responses are accepted, and how long they are fresh
//! - [`mod@bundled`]: copies of known clients' documents, for origins that refuse cloud addresses
//!
//! The content of a document is checked in `oauth::client`. The store keeps copies.

mod address;
mod bundled;
mod document_url;
mod error;
mod fetch;
mod response;

pub use address::is_public;
pub use bundled::bundled;
pub use document_url::{DocumentUrl, is_document_url};
pub use error::FetchError;
pub use fetch::{Fetched, Fetcher, Policy, USER_AGENT};
pub use response::Validators;
