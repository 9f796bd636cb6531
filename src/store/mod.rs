//! The store: DynamoDB, with one method for each operation of the protocol.
//!
//! Reads are strongly consistent, expiry is checked in code, and only fingerprints of secrets are kept, except the key of known browsers' cookies. Every update of a
//! connection requires that it still exists, so that an update cannot recreate a revoked connection. See [`record`] for
//! the schema.
//!
//! The SDK's futures are boxed, because they are large: a future is copied whole each time that another one takes it over, and
//! would otherwise contain them.

mod activity;
mod connection;
mod pin;
pub mod record;
pub mod table;

use std::sync::{Arc, atomic::AtomicU64};

pub use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::FutureExt as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

pub use activity::{ActivityCount, ActivityCounts};
pub use connection::{IssueOutcome, NewTokens, RedeemOutcome, RotationOutcome};
pub use pin::{PinOutcome, PinTry, WrongTry};
pub use table::{Item, ReadItem};

use crate::{
    credential::{KnownBrowserKey, Randomness},
    error::Unavailable,
};
use record::{Client, PendingConsent, SCHEMA_VERSION, Session, StoredDocument};
use table::{WriteOutcome, unavailable};
use tokio::sync::OnceCell;

/// Longest partition key (Amazon DynamoDB Developer Guide, "Quotas").
const MAX_PARTITION_KEY_BYTES: usize = 2048;

/// The table, and the source of random attempt ids. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    client: DynamoDb,
    reader: Option<Arc<dyn ReadItem>>,
    table: String,
    randomness: Randomness,
    known_browser_key: Arc<OnceCell<KnownBrowserKey>>,
    /// When this instance last found all tries of the day used up, in Unix seconds.
    closed_at: Arc<AtomicU64>,
}

impl Store {
    /// A store on an existing table.
    #[must_use]
    pub fn new(client: DynamoDb, table: String, randomness: Randomness) -> Self {
        Self {
            client,
            reader: None,
            table,
            randomness,
            known_browser_key: Arc::default(),
            closed_at: Arc::default(),
        }
    }

    /// The same store, which reads single items with `reader`.
    #[must_use]
    pub fn with_reader(self, reader: Option<Arc<dyn ReadItem>>) -> Self {
        Self { reader, ..self }
    }

    /// Opens the network connection to DynamoDB before the first request needs it, and reads what every instance needs.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn warm_up(&self) -> Result<(), Unavailable> {
        self.known_browser_key().await.map(drop)
    }

    /// Stores a client.
    ///
    /// # Errors
    /// When the table cannot be written, as for every method here.
    pub async fn put_client(&self, client: &Client) -> Result<(), Unavailable> {
        self.put(
            &format!("client#{}", client.client_id),
            client,
            client.expires_at,
        )
        .await
    }

    /// The client with this id, unless it has expired.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn client(&self, client_id: &str, now: u64) -> Result<Option<Client>, Unavailable> {
        let client: Option<Client> = self.read(&format!("client#{client_id}")).await?;
        Ok(client.filter(|client| now < client.expires_at))
    }

    /// Extends the lifetime of a client to `expires_at`, and returns it, unless it has expired.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn extend_client(
        &self,
        client_id: &str,
        expires_at: u64,
        now: u64,
    ) -> Result<Option<Client>, Unavailable> {
        let extended = table::Update::of(format!("client#{client_id}"), "-")
            .set("expires_at", expires_at)
            .when("expires_at", ">", now)
            .send(&self.client, &self.table)
            .await?;
        match extended {
            WriteOutcome::Applied(item) => parse(item).map(Some),
            WriteOutcome::ConditionFailed(_) => Ok(None),
        }
    }

    /// Stores a copy of a client's document.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn put_document(
        &self,
        url: &str,
        document: &StoredDocument,
    ) -> Result<(), Unavailable> {
        self.put(&format!("document#{url}"), document, document.expires_at)
            .await
    }

    /// The stored copy of a client's document, unless it has expired.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn document(
        &self,
        url: &str,
        now: u64,
    ) -> Result<Option<StoredDocument>, Unavailable> {
        let document: Option<StoredDocument> = self.read(&format!("document#{url}")).await?;
        Ok(document.filter(|document| now < document.expires_at))
    }

    /// Stores the request for which a consent page is shown.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn put_pending(
        &self,
        page: &str,
        pending: &PendingConsent,
    ) -> Result<(), Unavailable> {
        self.put(&format!("pending#{page}"), pending, pending.expires_at)
            .await
    }

    /// The request for which a consent page was shown, unless it has expired.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn pending(
        &self,
        page: &str,
        now: u64,
    ) -> Result<Option<PendingConsent>, Unavailable> {
        let pending: Option<PendingConsent> = self.read(&format!("pending#{page}")).await?;
        Ok(pending.filter(|pending| now < pending.expires_at))
    }

    /// Deletes the request of a consent page.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn delete_pending(&self, page: &str) -> Result<(), Unavailable> {
        self.delete(&format!("pending#{page}"), "-").await
    }

    /// Stores a session of the connections page.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn put_session(&self, cookie: &str, session: &Session) -> Result<(), Unavailable> {
        self.put(&format!("session#{cookie}"), session, session.expires_at)
            .await
    }

    /// The session with this cookie's fingerprint, unless it has expired.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn session(&self, cookie: &str, now: u64) -> Result<Option<Session>, Unavailable> {
        let session: Option<Session> = self.read(&format!("session#{cookie}")).await?;
        Ok(session.filter(|session| now < session.expires_at))
    }

    /// Deletes a session.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn delete_session(&self, cookie: &str) -> Result<(), Unavailable> {
        self.delete(&format!("session#{cookie}"), "-").await
    }

    async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, Unavailable> {
        // DynamoDB rejects such a key, and no item was stored under one.
        if pk.len() > MAX_PARTITION_KEY_BYTES {
            return Ok(None);
        }
        if let Some(reader) = &self.reader {
            return reader.read_item(&self.table, pk, sk);
        }
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(pk.to_owned()))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .consistent_read(true)
            .send()
            .boxed()
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(output.item)
    }

    /// All items of a partition, in the order of their sort keys.
    async fn items(&self, pk: &str) -> Result<Vec<Item>, Unavailable> {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#pk = :pk")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .map_err(|error| unavailable(&error))
    }

    async fn read<T: DeserializeOwned>(&self, pk: &str) -> Result<Option<T>, Unavailable> {
        self.get(pk, "-").await?.map(parse).transpose()
    }

    async fn put<T: Serialize>(
        &self,
        pk: &str,
        record: &T,
        expires_at: u64,
    ) -> Result<(), Unavailable> {
        self.put_item(item(pk, "-", record, expires_at)?).await
    }

    async fn put_item(&self, item: Item) -> Result<(), Unavailable> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .boxed()
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(())
    }

    async fn delete(&self, pk: &str, sk: &str) -> Result<(), Unavailable> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(pk.to_owned()))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .send()
            .boxed()
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(())
    }
}

fn item<T: Serialize>(
    pk: &str,
    sk: &str,
    record: &T,
    expires_at: u64,
) -> Result<Item, Unavailable> {
    let mut item: Item = to_item(record).map_err(|error| malformed(&error))?;
    item.insert("pk".to_owned(), AttributeValue::S(pk.to_owned()));
    item.insert("sk".to_owned(), AttributeValue::S(sk.to_owned()));
    item.insert(
        "v".to_owned(),
        AttributeValue::N(SCHEMA_VERSION.to_string()),
    );
    item.insert(
        "expires_at".to_owned(),
        AttributeValue::N(expires_at.to_string()),
    );
    Ok(item)
}

fn parse<T: DeserializeOwned>(item: Item) -> Result<T, Unavailable> {
    from_item(item).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_dynamo::Error) -> Unavailable {
    Unavailable {
        what: "store",
        operator: true,
        detail: format!("an item does not fit the schema: {error}").into(),
    }
}
