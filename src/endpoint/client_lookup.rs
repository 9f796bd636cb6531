//! How a client is looked for, and what comes of it: the types that `clients` and `documents` share.

use http::HeaderMap;

use super::write_limit::Limited;
use crate::{
    error::Unavailable,
    store::record::{Client, StoredDocument},
};

/// Why there is no client to go on with.
pub enum NotFound {
    /// Nobody registered this id.
    NotRegistered,
    /// Its document would have to be fetched, which was not wanted.
    NotFetched,
    /// Its document cannot be had or is not acceptable; a sentence for the page.
    Document(String),
    /// This address has made us fetch too many documents; the seconds until the next.
    TooManyFetches(u64),
    /// We, or the operator, must act.
    Unavailable(Unavailable),
}

impl From<Unavailable> for NotFound {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Limited> for NotFound {
    fn from(limited: Limited) -> Self {
        match limited {
            Limited::Wait(seconds) => Self::TooManyFetches(seconds),
            Limited::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

/// What may be done to find a client.
#[derive(Clone, Copy)]
pub enum Lookup<'a> {
    /// Fetch the document when there is no fresh copy, and keep it; these headers tell which browser causes it.
    Fetch(&'a HeaderMap),
    /// Use the copy that there is, whatever its age.
    Keep,
    /// The same for a grant: the first one turns a registered client's day into a year.
    Grant,
}

/// A client, and its document if that was fetched for it and is not kept yet.
pub struct Found {
    /// The client.
    pub client: Client,
    /// To be kept once the redirect URI was proven.
    pub fetched: Option<StoredDocument>,
}

impl From<Client> for Found {
    fn from(client: Client) -> Self {
        Self {
            client,
            fetched: None,
        }
    }
}
