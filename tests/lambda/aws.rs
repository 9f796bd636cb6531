//! The two AWS services that the function uses: the table on the embedded engine, and a secret that a test
//! can change.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
};
use dynoxide::Database;
use http::{HeaderMap, StatusCode};
use lambda_oauth_mcp_proxy::{
    host::{aws, engine},
    store::table,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

pub const SECRET_ARN: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:proxy-AAAAAA";
pub const TABLE: &str = "proxy-table";
/// The upstream's token.
pub const PAT: &str = "pat-of-the-lambda-tests-5b1e";
pub const PIN: &str = "lambdaPIN23";

/// The secret as the owner would fill it in.
pub fn good_secret() -> String {
    json!({ "upstream_token": PAT, "auth_pin": PIN }).to_string()
}

/// Both, listening until dropped.
pub struct Aws {
    pub dynamodb: SocketAddr,
    pub secrets_manager: SocketAddr,
    secret: Arc<Kept>,
    tasks: [JoinHandle<()>; 2],
}

/// The secret as it is now.
pub struct Kept {
    /// The value, or the name of the error in the response.
    value: Mutex<Result<String, &'static str>>,
    asked: AtomicUsize,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            value: Mutex::new(Ok(good_secret())),
            asked: AtomicUsize::new(0),
        }
    }
}

/// An empty table.
pub async fn database() -> Database {
    let database = Database::memory().unwrap();
    let client = aws::embedded_dynamodb(engine::http_client(database.clone()));
    table::create(&client, TABLE).await.unwrap();
    database
}

/// Secrets Manager with one secret.
pub fn secrets_manager(kept: Arc<Kept>) -> Router {
    Router::new().fallback(get_secret_value).with_state(kept)
}

impl Aws {
    pub async fn start() -> Self {
        let secret = Arc::<Kept>::default();
        let (dynamodb, table) = serve(engine::router(database().await)).await;
        let (secrets_manager, manager) = serve(secrets_manager(secret.clone())).await;
        Self {
            dynamodb,
            secrets_manager,
            secret,
            tasks: [table, manager],
        }
    }

    pub fn set_secret(&self, value: Result<String, &'static str>) {
        *self.secret.value.lock().unwrap() = value;
    }

    /// How often the secret was asked for.
    pub fn asked(&self) -> usize {
        self.secret.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(router: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, task)
}

fn target(headers: &HeaderMap) -> &str {
    headers["x-amz-target"].to_str().unwrap()
}

async fn get_secret_value(
    State(kept): State<Arc<Kept>>,
    headers: HeaderMap,
    asked: String,
) -> Response {
    assert_eq!(target(&headers), "secretsmanager.GetSecretValue");
    let asked: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(asked, json!({ "SecretId": SECRET_ARN }));
    kept.asked.fetch_add(1, Ordering::SeqCst);
    match &*kept.value.lock().unwrap() {
        Ok(value) => json!({
            "ARN": SECRET_ARN, "Name": "proxy", "VersionId": "1", "SecretString": value,
            "VersionStages": ["AWSCURRENT"],
        })
        .to_string()
        .into_response(),
        Err(error) => {
            let status = match *error {
                "InternalServiceError" => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            };
            let body = json!({ "__type": error, "Message": "no" }).to_string();
            (status, body).into_response()
        }
    }
}
