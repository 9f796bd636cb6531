//! Connections: issuing and redeeming the code, rotating the refresh token, revoking.

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};

use futures_util::FutureExt as _;
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::{
    Store, item, malformed, parse,
    record::{Connection, Revocation, Stage},
    table::{ExpressionValue, Item, Update, WriteOutcome, condition_failed, unavailable},
};
use crate::{
    connection_name::ConnectionName,
    credential::{ConnectionId, Fingerprint},
    error::Unavailable,
    limit::Limit,
};

const CONNECTION: &str = "connection";

/// The outcome of [`Store::issue_code`].
#[derive(Debug, PartialEq, Eq)]
pub enum IssueOutcome {
    /// The connection is stored in stage `code`.
    Code,
    /// An earlier code of this connection has been redeemed: nothing was changed.
    AlreadyConnected,
}

/// The outcome of [`Store::redeem_code`].
#[derive(Debug)]
pub enum RedeemOutcome {
    /// This request made the change.
    Done,
    /// Another request redeemed the code, or the connection no longer exists. Holds the connection as it is now.
    Lost(Option<Box<Connection>>),
}

/// New tokens of a connection, as the store keeps them.
#[derive(Debug)]
pub struct NewTokens<'a> {
    /// The new access token.
    pub access: &'a Fingerprint,
    /// When it expires.
    pub access_expires_at: u64,
    /// The new refresh token, if there is one.
    pub refresh: Option<&'a Fingerprint>,
    /// The nonce that, with the presented refresh token, gives both new tokens; none for the first tokens.
    pub nonce: Option<&'a str>,
    /// When the connection expires unless it is used.
    pub expires_at: u64,
    /// The current time in unix seconds.
    pub now: u64,
}

/// The outcome of [`Store::rotate_refresh_token`].
#[derive(Debug)]
pub enum RotationOutcome {
    /// This request made the change.
    Done,
    /// The token has been rotated by another request, or the connection no longer exists. Holds the connection as it is
    /// now, so that the caller can classify the token again.
    Lost(Option<Box<Connection>>),
}

impl Store {
    /// Stores a connection in stage `code`. A second consent on the same page replaces the code if it has not been
    /// redeemed; otherwise nothing changes.
    ///
    /// # Errors
    /// When the table cannot be written, as for every method here.
    pub async fn issue_code(&self, connection: &Connection) -> Result<IssueOutcome, Unavailable> {
        Ok(if self.put_unless_live(connection).await? {
            IssueOutcome::Code
        } else {
            IssueOutcome::AlreadyConnected
        })
    }

    /// Stores a connection; `false` if there is a live one with its id, which stays as it is.
    async fn put_unless_live(&self, connection: &Connection) -> Result<bool, Unavailable> {
        let attempt = self.randomness.id();
        let mut item = item(
            CONNECTION,
            connection.id.as_str(),
            connection,
            connection.expires_at,
        )?;
        item.insert("attempt".to_owned(), AttributeValue::S(attempt.clone()));
        let sent = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#pk) OR #stage = :code")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#stage", "stage")
            .expression_attribute_values(":code", AttributeValue::S("code".to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .boxed()
            .await;
        let Err(error) = sent else {
            return Ok(true);
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error()
        else {
            return Err(unavailable(&error));
        };
        let outcome = condition_failed(failed.item().cloned(), Some(&attempt));
        Ok(matches!(outcome, WriteOutcome::Applied(_)))
    }

    /// The connection with this id, unless it has expired.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn connection(
        &self,
        id: &ConnectionId,
        now: u64,
    ) -> Result<Option<Connection>, Unavailable> {
        let connection: Option<Connection> = self
            .get(CONNECTION, id.as_str())
            .await?
            .map(parse)
            .transpose()?;
        Ok(connection.filter(|connection| now < connection.expires_at))
    }

    /// Exchanges the code for the first tokens in one conditional write. Callers make every other check first.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn redeem_code(
        &self,
        id: &ConnectionId,
        code: &Fingerprint,
        family: Option<&Fingerprint>,
        tokens: &NewTokens<'_>,
    ) -> Result<RedeemOutcome, Unavailable> {
        let written = Update::of(CONNECTION, id.as_str())
            .set("stage", "live")
            .set("access", tokens.access)
            .set("access_expires_at", tokens.access_expires_at)
            .set_or_remove("family", family)
            .set_or_remove("refresh", tokens.refresh)
            .set("last_used_at", tokens.now)
            .set("rotated_at", tokens.now)
            .set("expires_at", tokens.expires_at)
            .when("stage", "=", "code")
            .when("code", "=", code)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        Ok(match written {
            WriteOutcome::Applied(_) => RedeemOutcome::Done,
            WriteOutcome::ConditionFailed(old) => {
                let winner: Option<Connection> = old.map(parse).transpose()?;
                match winner {
                    // This very request, whose response was lost, and after which another write left its attempt id.
                    Some(own) if own.access.as_ref() == Some(tokens.access) => RedeemOutcome::Done,
                    winner => RedeemOutcome::Lost(winner.map(Box::new)),
                }
            }
        })
    }

    /// Exchanges the current refresh token for its successors in one conditional write. `seen` is the connection that the
    /// caller checked.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn rotate_refresh_token(
        &self,
        seen: &Connection,
        presented: &Fingerprint,
        next: &NewTokens<'_>,
    ) -> Result<RotationOutcome, Unavailable> {
        let written = Update::of(CONNECTION, seen.id.as_str())
            .set_or_remove("access_previous", seen.access.as_ref())
            .set("access_previous_expires_at", seen.access_expires_at)
            .set("access", next.access)
            .set("access_expires_at", next.access_expires_at)
            .set("refresh_previous", presented)
            .set_or_remove("refresh", next.refresh)
            .set_or_remove("nonce", next.nonce)
            .set("rotated_at", next.now)
            .set("generation", seen.generation + 1)
            .set("repeats", 0)
            .set("last_used_at", next.now)
            .set("client_extended_at", seen.client_extended_at)
            .set("expires_at", next.expires_at)
            .when("stage", "=", "live")
            .when("refresh", "=", presented)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        Ok(match written {
            WriteOutcome::Applied(_) => RotationOutcome::Done,
            WriteOutcome::ConditionFailed(old) => {
                RotationOutcome::Lost(old.map(parse).transpose()?.map(Box::new))
            }
        })
    }

    /// Counts one more repeat of the last rotation; `false` when `max_repeats` is reached or there was a newer rotation.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn count_repeat(
        &self,
        seen: &Connection,
        max_repeats: u64,
    ) -> Result<bool, Unavailable> {
        let written = Update::of(CONNECTION, seen.id.as_str())
            .add("repeats", 1)
            .when("stage", "=", "live")
            .when("generation", "=", seen.generation)
            .when_absent_or("repeats", "<", max_repeats)
            .attempt(self.randomness.id())
            .send(&self.client, &self.table)
            .await?;
        Ok(matches!(written, WriteOutcome::Applied(_)))
    }

    /// Deletes a connection. Every instance refuses its tokens from the next request on.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn end_connection(&self, id: &ConnectionId) -> Result<(), Unavailable> {
        self.delete(CONNECTION, id.as_str()).await
    }

    /// Deletes a connection whose code has not been redeemed; a live connection stays.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn withdraw_code(&self, id: &ConnectionId) -> Result<(), Unavailable> {
        let sent = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(CONNECTION.to_owned()))
            .key("sk", AttributeValue::S(id.as_str().to_owned()))
            .condition_expression("#stage = :code")
            .expression_attribute_names("#stage", "stage")
            .expression_attribute_values(":code", AttributeValue::S("code".to_owned()))
            .send()
            .boxed()
            .await;
        match sent {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(aws_sdk_dynamodb::operation::delete_item::DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Revokes what [`Connection::revocation`] found for a token.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn revoke(
        &self,
        id: &ConnectionId,
        revocation: &Revocation,
    ) -> Result<(), Unavailable> {
        match revocation {
            Revocation::Connection => self.end_connection(id).await,
            Revocation::PreviousAccessToken(token) => Update::of(CONNECTION, id.as_str())
                .remove("access_previous")
                .when("access_previous", "=", token)
                .send(&self.client, &self.table)
                .await
                .map(drop),
        }
    }

    /// Records that a connection was used. It never recreates a connection that has been deleted.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn record_use(&self, id: &ConnectionId, now: u64) -> Result<(), Unavailable> {
        Update::of(CONNECTION, id.as_str())
            .set("last_used_at", now)
            .when("stage", "=", "live")
            .send(&self.client, &self.table)
            .await
            .map(drop)
    }

    /// Stores the connection of a token that was created by hand; `false` if there is one with its id.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn create_manual_connection(
        &self,
        connection: &Connection,
    ) -> Result<bool, Unavailable> {
        self.put_unless_live(connection).await
    }

    /// Sets or removes the name of a live connection; `false` if there is no such connection.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn rename_connection(
        &self,
        id: &ConnectionId,
        name: Option<&ConnectionName>,
        now: u64,
    ) -> Result<bool, Unavailable> {
        let update = Update::of(CONNECTION, id.as_str());
        let update = update.set_or_remove("name", name.map(ConnectionName::as_str));
        self.change_live(update, now).await
    }

    /// Sets what a live connection may do, from its next request on; `false` if there is no such connection.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn set_limit(
        &self,
        id: &ConnectionId,
        limit: &Limit,
        now: u64,
    ) -> Result<bool, Unavailable> {
        let update = Update::of(CONNECTION, id.as_str()).set("limit", value(limit)?);
        self.change_live(update, now).await
    }

    /// The same, if what it may do is still what the caller saw; `false` also if it is not.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn replace_limit(
        &self,
        id: &ConnectionId,
        seen: &Limit,
        limit: &Limit,
        now: u64,
    ) -> Result<bool, Unavailable> {
        let update = Update::of(CONNECTION, id.as_str()).set("limit", value(limit)?);
        let update = match seen {
            // A record of the first version has no limit.
            Limit::Everything => update.when_absent_or("limit", "=", value(seen)?),
            _ => update.when("limit", "=", value(seen)?),
        };
        self.change_live(update, now).await
    }

    /// Such a change may be applied twice: the last one counts.
    async fn change_live(&self, update: Update, now: u64) -> Result<bool, Unavailable> {
        let written = update
            .when("stage", "=", "live")
            .when("expires_at", ">", now)
            .send(&self.client, &self.table)
            .await?;
        Ok(matches!(written, WriteOutcome::Applied(_)))
    }

    /// Every live connection, oldest first. One that this version cannot read is left out, with a log line, so that it
    /// does not hide the others.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn connections(&self, now: u64) -> Result<Vec<Connection>, Unavailable> {
        let mut connections = Vec::new();
        for item in self.items(CONNECTION).await? {
            match parse::<Connection>(item) {
                Ok(connection) => connections.push(connection),
                Err(error) => tracing::error!(event = "record_unreadable", detail = %error),
            }
        }
        connections
            .retain(|connection| connection.stage == Stage::Live && now < connection.expires_at);
        connections.sort_by_key(|connection| connection.created_at);
        Ok(connections)
    }

    /// The id of every connection in any stage, readable or not, so that all of them can be ended.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn connection_ids(&self) -> Result<Vec<ConnectionId>, Unavailable> {
        let items = self.items(CONNECTION).await?;
        let id = |item: &Item| ConnectionId::parse(item.get("sk")?.as_s().ok()?);
        Ok(items.iter().filter_map(id).collect())
    }
}

fn value(limit: &Limit) -> Result<ExpressionValue, Unavailable> {
    let value = to_attribute_value(limit).map_err(|error| malformed(&error))?;
    Ok(ExpressionValue(value))
}
