//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document-00): a client whose id is an https
//! URL, at which it describes itself.
//!
//! Whoever opens `/authorize` chooses that URL, so every fetch goes where a stranger points. What keeps that
//! harmless stands in five columns:
//!
//! - [`DocumentUrl`]: which URLs are looked at at all; judged as text, before any resolver
//! - [`is_public`]: which addresses may be connected to
//! - [`Fetcher`]: one lookup, every address judged, the connection made to a judged one; no redirect, no proxy,
//!   little time, few at once
//! - `answer`: which answers are believed, and for how long
//! - [`bundled`]: copies of known clients' documents, for when the origin does not answer to a cloud
//!
//! What the document *says* is not judged here: that is `oauth::client`. Nor is anything kept here: the store does
//! that.

mod address;
mod answer;
mod bundled;
mod document_url;
mod error;
mod fetch;

pub use address::is_public;
pub use answer::Validators;
pub use bundled::bundled;
pub use document_url::{DocumentUrl, is_document_url};
pub use error::FetchError;
pub use fetch::{Fetched, Fetcher, Policy, USER_AGENT};
