//! The embedded DynamoDB-compatible engine, spoken to by the real SDK without a socket.
//!
//! A socket would let every program and every web page on the machine write to the table: the engine does not
//! check signatures. So requests of the SDK are handed to it in memory.

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
use dynoxide::{Database, DynoxideError};
use http::{HeaderMap, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

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
