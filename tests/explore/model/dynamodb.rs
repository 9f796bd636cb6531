//! DynamoDB in memory, as far as the store uses it: one table that can be copied and compared, so that a search can go back
//! to an earlier state. It refuses what DynamoDB refuses, and every read that is not strongly consistent. A query returns
//! one item per page.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::expression::Expressions;

/// An item by attribute name, in the JSON of DynamoDB's API.
pub type Item = BTreeMap<String, Value>;

/// The partition key and the sort key.
pub type Key = (String, String);

/// Longest partition and sort key (Amazon DynamoDB Developer Guide, "Quotas").
const MAX_KEY_BYTES: (usize, usize) = (2048, 1024);

/// A response of DynamoDB.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Arc<str>,
    digest: u64,
}

impl PartialEq for Response {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.body == other.body
    }
}

impl Eq for Response {}

impl Hash for Response {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.digest.hash(hasher);
    }
}

impl Response {
    pub fn new(status: u16, body: &Value) -> Self {
        Self::of_text(status, &body.to_string())
    }

    /// A response that may not be JSON.
    pub fn of_text(status: u16, body: &str) -> Self {
        Self {
            status,
            digest: digest(&(status, body)),
            body: body.into(),
        }
    }
}

/// A table.
#[derive(Clone, Default)]
pub struct Table {
    items: BTreeMap<Key, Arc<Stored>>,
    digest: u64,
}

/// What an operation does to the table.
#[derive(Clone)]
pub enum Effect {
    Nothing,
    Stored(Key, Arc<Stored>),
    Deleted(Key),
}

/// An item, and the digest of its contents.
pub struct Stored {
    item: Item,
    digest: u64,
}

/// An error of DynamoDB.
struct Refused {
    kind: &'static str,
    message: String,
    item: Option<Value>,
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self {
            kind: "ValidationException",
            message,
            item: None,
        }
    }
}

type Done = Result<(Value, Effect), Refused>;

impl Table {
    /// Equal for equal contents.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The digest of all that the outcome of a request depends on.
    pub fn digest_for(&self, request: &Value) -> u64 {
        let of = request.get("Key").or_else(|| request.get("Item"));
        match of.map(key) {
            Some(Ok(key)) => self.items.get(&key).map_or(0, |stored| stored.digest),
            _ => self.digest,
        }
    }

    pub fn items(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items.iter().map(|(key, stored)| (key, &stored.item))
    }

    /// Carries out one operation.
    pub fn execute(&mut self, operation: &str, request: &Value) -> Response {
        let (response, effect) = self.outcome(operation, request);
        self.apply(effect);
        response
    }

    /// What an operation would do.
    pub fn outcome(&self, operation: &str, request: &Value) -> (Response, Effect) {
        let done = match operation {
            "GetItem" => self.get(request),
            "PutItem" => self.put(request),
            "UpdateItem" => self.update(request),
            "DeleteItem" => self.delete(request),
            "Query" => self.query(request),
            _ => Err(format!("{operation} is not served").into()),
        };
        match done {
            Ok((output, effect)) => (Response::new(200, &output), effect),
            Err(Refused {
                kind,
                message,
                item,
            }) => {
                let kind = format!("com.amazonaws.dynamodb.v20120810#{kind}");
                let mut body = json!({ "__type": kind, "message": message });
                if let Some(item) = item {
                    body["Item"] = item;
                }
                (Response::new(400, &body), Effect::Nothing)
            }
        }
    }

    pub fn apply(&mut self, effect: Effect) {
        let old = match effect {
            Effect::Nothing => return,
            Effect::Stored(key, stored) => {
                self.digest ^= stored.digest;
                self.items.insert(key, stored)
            }
            Effect::Deleted(key) => self.items.remove(&key),
        };
        self.digest ^= old.map_or(0, |old| old.digest);
    }

    fn get(&self, request: &Value) -> Done {
        consistent(request)?;
        let key = key(&request["Key"])?;
        let output = self.items.get(&key).map_or_else(
            || json!({}),
            |stored| json!({ "Item": as_value(&stored.item) }),
        );
        Ok((output, Effect::Nothing))
    }

    fn put(&self, request: &Value) -> Done {
        let item: Item = attributes(&request["Item"])?;
        let key = key(&request["Item"])?;
        let mut expressions = Expressions::of(request)?;
        self.check(request, &mut expressions, &key)?;
        Ok((json!({}), stored(key, item)))
    }

    fn update(&self, request: &Value) -> Done {
        let key_of_request = key(&request["Key"])?;
        let mut expressions = Expressions::of(request)?;
        let old = self.items.get(&key_of_request);
        let mut item = match old {
            Some(stored) => stored.item.clone(),
            None => attributes(&request["Key"])?,
        };
        let expression = request["UpdateExpression"].as_str().unwrap_or_default();
        let condition = self.condition(request, &mut expressions, &key_of_request);
        let updated = expressions.update(expression, &mut item);
        let met = condition?;
        expressions.all_used()?;
        // An update that does not fit the item is found only when it is carried out.
        self.refuse_unless(met, request, &key_of_request)?;
        updated?;
        let output = match request["ReturnValues"].as_str() {
            Some("ALL_NEW") => json!({ "Attributes": as_value(&item) }),
            _ => json!({}),
        };
        Ok((output, stored(key_of_request, item)))
    }

    fn delete(&self, request: &Value) -> Done {
        let key = key(&request["Key"])?;
        let mut expressions = Expressions::of(request)?;
        self.check(request, &mut expressions, &key)?;
        Ok((json!({}), Effect::Deleted(key)))
    }

    /// Every item of one partition key, page by page.
    fn query(&self, request: &Value) -> Done {
        consistent(request)?;
        let names = &request["ExpressionAttributeNames"];
        let condition = request["KeyConditionExpression"].as_str();
        let (name, value) = condition
            .and_then(|condition| condition.split_once(" = "))
            .ok_or_else(|| "not served: this key condition".to_owned())?;
        if names[name] != "pk" {
            return Err("the key condition names no key".to_owned().into());
        }
        let wanted = request["ExpressionAttributeValues"][value]["S"].as_str();
        let wanted = wanted.ok_or_else(|| "no such value".to_owned())?;
        let start = match request.get("ExclusiveStartKey") {
            Some(start) => Some(key(start)?),
            None => None,
        };
        let limit = request["Limit"]
            .as_u64()
            .map_or(1, |limit| usize::try_from(limit).unwrap());
        let mut found = self
            .items
            .iter()
            .filter(|(key, _)| key.0 == wanted && start.as_ref().is_none_or(|start| *key > start));
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let items: Vec<_> = page
            .iter()
            .map(|(_, stored)| as_value(&stored.item))
            .collect();
        let mut output = json!({ "Items": items, "Count": items.len() });
        // As DynamoDB: a page that is full has a next one, which may be empty.
        if page.len() == limit
            && let Some(((pk, sk), _)) = page.last()
        {
            output["LastEvaluatedKey"] = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        }
        Ok((output, Effect::Nothing))
    }

    fn condition(
        &self,
        request: &Value,
        expressions: &mut Expressions<'_>,
        key: &Key,
    ) -> Result<bool, Refused> {
        let old = self.items.get(key).map(|stored| &stored.item);
        Ok(match request["ConditionExpression"].as_str() {
            Some(condition) => expressions.condition(condition, old)?,
            None => true,
        })
    }

    fn check(
        &self,
        request: &Value,
        expressions: &mut Expressions<'_>,
        key: &Key,
    ) -> Result<(), Refused> {
        let met = self.condition(request, expressions, key)?;
        expressions.all_used()?;
        self.refuse_unless(met, request, key)
    }

    fn refuse_unless(&self, met: bool, request: &Value, key: &Key) -> Result<(), Refused> {
        if met {
            return Ok(());
        }
        let wanted = request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
        let old = self.items.get(key).filter(|_| wanted);
        Err(Refused {
            kind: "ConditionalCheckFailedException",
            message: "The conditional request failed".to_owned(),
            item: old.map(|stored| as_value(&stored.item)),
        })
    }
}

fn stored(key: Key, item: Item) -> Effect {
    let digest = digest(&(&key, as_value(&item).to_string()));
    Effect::Stored(key, Arc::new(Stored { item, digest }))
}

fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn consistent(request: &Value) -> Result<(), Refused> {
    match request["ConsistentRead"].as_bool() {
        Some(true) => Ok(()),
        _ => Err("a read that is not strongly consistent".to_owned().into()),
    }
}

fn key(of: &Value) -> Result<Key, Refused> {
    let part = |name: &str, max: usize| match of[name]["S"].as_str() {
        Some(text) if !text.is_empty() && text.len() <= max => Ok(text.to_owned()),
        _ => Err(Refused::from(format!("not a valid key: {name}"))),
    };
    Ok((part("pk", MAX_KEY_BYTES.0)?, part("sk", MAX_KEY_BYTES.1)?))
}

fn attributes(of: &Value) -> Result<Item, Refused> {
    let map = of.as_object().ok_or_else(|| "no attributes".to_owned())?;
    Ok(map.clone().into_iter().collect())
}

fn as_value(item: &Item) -> Value {
    Value::Object(item.clone().into_iter().collect::<Map<_, _>>())
}
