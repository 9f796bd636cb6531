//! The published attacks on OAuth servers and proxies, each over HTTP, each named after its outcome.
//!
//! Some are in the module of what they attack: `token`, `consent`, `races`, `bad_input`, `registration`.
//! tests/README.md has the whole list.

mod addresses;
mod binding;
pub mod documents;
mod limits;
mod names;
mod pages;
mod pins;
mod pkce;
mod redirects;
