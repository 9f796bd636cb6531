//! The embedded DynamoDB-compatible engine, spoken to by the real SDK without a socket. Single items are read from it without
//! the SDK.
//!
//! A socket would let every program and every web page on the machine write to the table: the engine does not
//! check signatures. So requests of the SDK are handed to it in memory.

use std::sync::Arc;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use axum::{Router, extract::State, response::IntoResponse as _};
use bytes::Bytes;
use dynoxide::{Database, DynoxideError, actions::get_item::GetItemRequest};
use http::{HeaderMap, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::Unavailable,
    store::{Item, ReadItem},
};

/// The engine as the SDK's HTTP client.
#[must_use]
pub fn http_client(database: Database) -> SharedHttpClient {
    SharedHttpClient::new(Engine(database))
}

#[derive(Clone)]
struct Engine(Database);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl HttpClient for Engine {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let database = self.0.clone();
        HttpConnectorFuture::new(async move {
            let operation = request
                .headers()
                .get("x-amz-target")
                .and_then(|target| target.strip_prefix("DynamoDB_20120810."))
                .unwrap_or_default()
                .to_owned();
            let body = request
                .body()
                .bytes()
                .map(<[u8]>::to_vec)
                .unwrap_or_default();
            // A read finds its pages in memory, and takes less time than moving it to another thread. A write waits for
            // the disk.
            let executed = if matches!(operation.as_str(), "GetItem" | "Query") {
                execute(&database, &operation, &body)
            } else {
                tokio::task::spawn_blocking(move || execute(&database, &operation, &body))
                    .await
                    .map_err(|error| ConnectorError::other(error.into(), None))?
            };
            let (status, body) = match executed {
                Ok(body) => (200, body),
                Err(error) => (error.status_code(), error.to_json()),
            };
            let response = http::Response::builder()
                .status(status)
                .header("content-type", "application/x-amz-json-1.0")
                .body(SdkBody::from(body))
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Reads single items.
#[must_use]
pub fn reader(database: Database) -> Arc<dyn ReadItem> {
    Arc::new(Engine(database))
}

impl ReadItem for Engine {
    fn read_item(&self, table: &str, pk: &str, sk: &str) -> Result<Option<Item>, Unavailable> {
        let attribute = |name: &str, value: &str| {
            let value = dynoxide::AttributeValue::S(value.to_owned());
            (name.to_owned(), value)
        };
        let read = self.0.get_item(GetItemRequest {
            table_name: table.to_owned(),
            key: [attribute("pk", pk), attribute("sk", sk)].into(),
            consistent_read: Some(true),
            ..GetItemRequest::default()
        });
        match read {
            Ok(response) => Ok(response.item.map(sdk_item)),
            Err(error) => Err(Unavailable {
                what: "store",
                operator: false,
                detail: error.to_string().into(),
            }),
        }
    }
}

fn sdk_item(item: dynoxide::Item) -> Item {
    let values = item.into_iter();
    values
        .map(|(name, value)| (name, sdk_value(value)))
        .collect()
}

/// The engine's value as the SDK's.
fn sdk_value(value: dynoxide::AttributeValue) -> AttributeValue {
    use dynoxide::AttributeValue as Value;
    match value {
        Value::S(text) => AttributeValue::S(text),
        Value::N(number) => AttributeValue::N(number),
        Value::B(bytes) => AttributeValue::B(Blob::new(bytes)),
        Value::BOOL(value) => AttributeValue::Bool(value),
        Value::NULL(value) => AttributeValue::Null(value),
        Value::SS(texts) => AttributeValue::Ss(texts),
        Value::NS(numbers) => AttributeValue::Ns(numbers),
        Value::BS(all) => AttributeValue::Bs(all.into_iter().map(Blob::new).collect()),
        Value::L(values) => AttributeValue::L(values.into_iter().map(sdk_value).collect()),
        Value::M(item) => AttributeValue::M(sdk_item(item)),
    }
}

/// The engine over HTTP, for several processes on one table: in tests, on loopback. It checks no signature, so
/// whoever reaches it may do anything.
pub fn router(database: Database) -> Router {
    let respond = |State(database): State<Database>, headers: HeaderMap, body: Bytes| async move {
        let target = headers
            .get("x-amz-target")
            .and_then(|target| target.to_str().ok());
        let operation = target
            .and_then(|target| target.rsplit('.').next())
            .unwrap_or_default()
            .to_owned();
        let executed =
            tokio::task::spawn_blocking(move || execute(&database, &operation, &body)).await;
        let kind = [("content-type", "application/x-amz-json-1.0")];
        match executed {
            Ok(Ok(output)) => (kind, output).into_response(),
            Ok(Err(error)) => {
                let status = StatusCode::from_u16(error.status_code()).unwrap_or_default();
                (status, kind, error.to_json()).into_response()
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    Router::new().fallback(respond).with_state(database)
}

/// Answers one operation, of those that the store uses.
fn execute(database: &Database, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
    match operation {
        "GetItem" => run(body, |request| database.get_item(request)),
        "PutItem" => run(body, |request| database.put_item(request)),
        "UpdateItem" => run(body, |request| database.update_item(request)),
        "DeleteItem" => run(body, |request| database.delete_item(request)),
        "Query" => run(body, |request| database.query(request)),
        "DescribeTable" => run(body, |request| database.describe_table(request)),
        "CreateTable" => run(body, |request| database.create_table(request)),
        "UpdateTimeToLive" => run(body, |request| database.update_time_to_live(request)),
        _ => Err(DynoxideError::ValidationException(format!(
            "{operation} is not served here"
        ))),
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    let unreadable =
        |error: serde_json::Error| DynoxideError::SerializationException(error.to_string());
    let output = operation(serde_json::from_slice(body).map_err(unreadable)?)?;
    serde_json::to_string(&output).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::aws, store::table};

    #[tokio::test]
    async fn an_item_read_without_the_sdk_is_the_one_that_the_sdk_reads() {
        let database = Database::memory().unwrap();
        let sdk = aws::embedded_dynamodb(http_client(database.clone()));
        table::create(&sdk, "table").await.unwrap();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let item: Item = [
            ("pk", text("connection")),
            ("sk", text("1")),
            ("number", AttributeValue::N("1793491200".to_owned())),
            ("bytes", AttributeValue::B(Blob::new(b"\0\xFF"))),
            ("bool", AttributeValue::Bool(true)),
            ("null", AttributeValue::Null(true)),
            (
                "texts",
                AttributeValue::Ss(vec!["a".to_owned(), "é".to_owned()]),
            ),
            ("numbers", AttributeValue::Ns(vec!["1".to_owned()])),
            ("all", AttributeValue::Bs(vec![Blob::new(b"x")])),
            (
                "list",
                AttributeValue::L(vec![text("\"\n"), AttributeValue::M(Item::new())]),
            ),
            (
                "map",
                AttributeValue::M([("a".to_owned(), text("b"))].into()),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let put = sdk
            .put_item()
            .table_name("table")
            .set_item(Some(item.clone()));
        put.send().await.unwrap();

        let reader = reader(database);
        let get = sdk
            .get_item()
            .table_name("table")
            .key("pk", text("connection"));
        let by_sdk = get.key("sk", text("1")).send().await.unwrap().item;
        let read = reader.read_item("table", "connection", "1").unwrap();
        assert_eq!(read, by_sdk);
        assert_eq!(read, Some(item));
        assert_eq!(reader.read_item("table", "connection", "2").unwrap(), None);
        assert!(reader.read_item("elsewhere", "connection", "1").is_err());
    }
}
