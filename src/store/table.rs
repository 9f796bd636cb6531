//! The table: creating it on one machine, and conditional writes.

use std::{collections::HashMap, fmt};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValue,
        ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TimeToLiveSpecification,
    },
};

use futures_util::FutureExt as _;

use crate::error::{Unavailable, causes};

/// An item as DynamoDB returns it.
pub type Item = HashMap<String, AttributeValue>;

/// Reads an item in this process, as the embedded engine can. The SDK's steps around such a read, which AWS needs, are more
/// work than the read.
pub trait ReadItem: fmt::Debug + Send + Sync {
    /// The item with this key as it is now, if there is one.
    ///
    /// # Errors
    /// When the table cannot be read.
    fn read_item(&self, table: &str, pk: &str, sk: &str) -> Result<Option<Item>, Unavailable>;
}

/// Creates the table with its TTL setting if it does not exist. On AWS the template does this.
///
/// # Errors
/// When the table cannot be created.
///
/// # Panics
/// Never: the schema is complete.
pub async fn create(client: &Client, table: &str) -> Result<(), Unavailable> {
    match client.describe_table().table_name(table).send().await {
        Ok(_) => return Ok(()),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(aws_sdk_dynamodb::operation::describe_table::DescribeTableError::is_resource_not_found_exception) => {}
        Err(error) => return Err(unavailable(&error)),
    }
    let key = |name: &str, key_type: KeyType| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(key_type)
            .build()
            .expect("both fields are set")
    };
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("both fields are set")
    };
    let created = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .attribute_definitions(attribute("pk"))
        .attribute_definitions(attribute("sk"))
        .send()
        .await;
    match created {
        Ok(_) => {}
        // Another process has created it.
        Err(error)
            if error
                .as_service_error()
                .is_some_and(aws_sdk_dynamodb::operation::create_table::CreateTableError::is_resource_in_use_exception) =>
        {
            return Ok(());
        }
        Err(error) => return Err(unavailable(&error)),
    }
    let ttl = TimeToLiveSpecification::builder()
        .attribute_name("expires_at")
        .enabled(true)
        .build()
        .expect("both fields are set");
    client
        .update_time_to_live()
        .table_name(table)
        .time_to_live_specification(ttl)
        .send()
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(())
}

/// The outcome of a conditional write.
pub(super) enum WriteOutcome {
    /// Applied, now or by an earlier attempt whose response was lost; the item as it is now.
    Applied(Item),
    /// The condition was not met; the item as it is now, if there is one.
    ConditionFailed(Option<Item>),
}

/// One conditional update, built clause by clause. Every name and value goes through a placeholder, so that reserved
/// words of DynamoDB can be used as attribute names.
pub(super) struct Update {
    key: (String, String),
    attempt: Option<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    sets: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
    conditions: Vec<String>,
}

impl Update {
    pub(super) fn of(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            key: (pk.into(), sk.into()),
            attempt: None,
            names: HashMap::new(),
            values: HashMap::new(),
            sets: Vec::new(),
            removes: Vec::new(),
            adds: Vec::new(),
            conditions: Vec::new(),
        }
    }

    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    pub(super) fn set(mut self, name: &str, value: impl Into<ExpressionValue>) -> Self {
        let clause = format!("{} = {}", self.name(name), self.value(value.into().0));
        self.sets.push(clause);
        self
    }

    /// Sets the attribute, or removes it when there is no value.
    pub(super) fn set_or_remove(
        self,
        name: &str,
        value: Option<impl Into<ExpressionValue>>,
    ) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    pub(super) fn remove(mut self, name: &str) -> Self {
        let name = self.name(name);
        self.removes.push(name);
        self
    }

    /// Adds to a number; an absent one counts as zero.
    pub(super) fn add(mut self, name: &str, delta: i64) -> Self {
        let clause = format!(
            "{} {}",
            self.name(name),
            self.value(AttributeValue::N(delta.to_string()))
        );
        self.adds.push(clause);
        self
    }

    /// Adds the condition that the attribute compares with the value in this way.
    pub(super) fn when(
        mut self,
        name: &str,
        operator: &str,
        value: impl Into<ExpressionValue>,
    ) -> Self {
        let clause = format!(
            "{} {operator} {}",
            self.name(name),
            self.value(value.into().0)
        );
        self.conditions.push(clause);
        self
    }

    /// Adds the condition that the attribute is absent or compares with the value in this way.
    pub(super) fn when_absent_or(
        mut self,
        name: &str,
        operator: &str,
        value: impl Into<ExpressionValue>,
    ) -> Self {
        let name = self.name(name);
        let clause = format!(
            "(attribute_not_exists({name}) OR {name} {operator} {})",
            self.value(value.into().0)
        );
        self.conditions.push(clause);
        self
    }

    /// Adds the condition that the attribute is absent.
    pub(super) fn when_absent(mut self, name: &str) -> Self {
        let clause = format!("attribute_not_exists({})", self.name(name));
        self.conditions.push(clause);
        self
    }

    /// Marks the write with an id, so that it is applied only once: the SDK repeats a write whose response was lost, and
    /// the repeat then finds its own id, which counts as success.
    pub(super) fn attempt(mut self, attempt: String) -> Self {
        self = self
            .set("attempt", &*attempt)
            .when_absent_or("attempt", "<>", &*attempt);
        self.attempt = Some(attempt);
        self
    }

    pub(super) async fn send(
        self,
        client: &Client,
        table: &str,
    ) -> Result<WriteOutcome, Unavailable> {
        let mut expression = String::new();
        for (keyword, clauses) in [
            ("SET", &self.sets),
            ("REMOVE", &self.removes),
            ("ADD", &self.adds),
        ] {
            if !clauses.is_empty() {
                expression += &format!("{keyword} {} ", clauses.join(", "));
            }
        }
        let condition =
            Some(self.conditions.join(" AND ")).filter(|condition| !condition.is_empty());
        let sent = client
            .update_item()
            .table_name(table)
            .key("pk", AttributeValue::S(self.key.0))
            .key("sk", AttributeValue::S(self.key.1))
            .update_expression(expression.trim_end())
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values(Some(self.values).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .boxed()
            .await;
        match sent {
            Ok(output) => Ok(WriteOutcome::Applied(output.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let item = failed.item().cloned();
                    Ok(condition_failed(item, self.attempt.as_deref()))
                }
                _ => Err(unavailable(&error)),
            },
        }
    }
}

/// The outcome of a write whose condition failed. If the item has the attempt id of this very write, an earlier attempt
/// succeeded and its response was lost.
pub(super) fn condition_failed(item: Option<Item>, attempt: Option<&str>) -> WriteOutcome {
    match item {
        Some(item)
            if attempt.is_some()
                && item
                    .get("attempt")
                    .and_then(|a| a.as_s().ok())
                    .map(String::as_str)
                    == attempt =>
        {
            WriteOutcome::Applied(item)
        }
        item => WriteOutcome::ConditionFailed(item),
    }
}

/// The value of a placeholder in an expression.
pub(super) struct ExpressionValue(pub(super) AttributeValue);

impl From<&str> for ExpressionValue {
    fn from(text: &str) -> Self {
        Self(AttributeValue::S(text.to_owned()))
    }
}

impl From<u64> for ExpressionValue {
    fn from(number: u64) -> Self {
        Self(AttributeValue::N(number.to_string()))
    }
}

impl From<&crate::credential::Fingerprint> for ExpressionValue {
    fn from(fingerprint: &crate::credential::Fingerprint) -> Self {
        fingerprint.as_str().into()
    }
}

/// Turns an SDK error into one with a text for the log. The text contains no item.
pub(super) fn unavailable<E, R>(error: &SdkError<E, R>) -> Unavailable
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    // Only the operator can fix missing permissions or a missing table.
    let detail = causes(error);
    let operator = ["AccessDenied", "ResourceNotFound", "UnrecognizedClient"]
        .iter()
        .any(|e| detail.contains(e));
    Unavailable {
        what: "store",
        operator,
        detail: detail.into(),
    }
}
