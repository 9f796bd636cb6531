//! The AWS SDK's configuration: our HTTP stack, and time-outs that leave room for a second try.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// SDK time-outs: an attempt 2 s, all of them 5 s.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(5))
        .build()
}

/// Responses are small and the time-outs above end a slow one, so its throughput need not be watched.
fn without_stream_protection() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::disabled()
}

/// Region, credentials and endpoint of a service from the environment variables of AWS SDKs; `endpoint_variable` is that of this
/// service. The SDK's own loader would also look for profiles, containers and instance metadata, which a function does not
/// have: half a megabyte of code, and a fifth of the instructions of a start.
pub fn from_environment(
    lookup: impl Fn(&str) -> Option<String>,
    http: SharedHttpClient,
    endpoint_variable: &str,
) -> SdkConfig {
    let endpoint = lookup(endpoint_variable);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(lookup("AWS_REGION").map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(
            EnvironmentVariableCredentialsProvider::new(),
        ))
        .http_client(http)
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard())
        .stalled_stream_protection(without_stream_protection());
    let is_on = |name: &str| lookup(name).map(|value| value.eq_ignore_ascii_case("true"));
    config.set_use_fips(is_on("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_endpoint_url(endpoint.or_else(|| lookup("AWS_ENDPOINT_URL")));
    config.build()
}

/// A DynamoDB client for an endpoint such as DynamoDB Local, which does not check credentials.
#[cfg(feature = "local")]
#[must_use]
pub fn local_dynamodb(http: SharedHttpClient, endpoint: &str) -> aws_sdk_dynamodb::Client {
    let credentials =
        aws_sdk_dynamodb::config::Credentials::new("local", "local", None, None, "local");
    let config = local_config(http, endpoint).credentials_provider(credentials);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// A DynamoDB client for the embedded engine. It does not sign its requests, because nobody would check the signatures.
#[cfg(feature = "local")]
#[must_use]
pub fn embedded_dynamodb(engine: SharedHttpClient) -> aws_sdk_dynamodb::Client {
    // The endpoint is never contacted: requests go to the engine in memory.
    let config = local_config(engine, "http://127.0.0.1").allow_no_auth();
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// Emulators of DynamoDB keep tables per region, and some know only the regions of AWS.
#[cfg(feature = "local")]
const LOCAL_REGION: &str = "us-east-1";

#[cfg(feature = "local")]
fn local_config(http: SharedHttpClient, endpoint: &str) -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard())
        .stalled_stream_protection(without_stream_protection())
        .region(aws_sdk_dynamodb::config::Region::new(LOCAL_REGION))
        .endpoint_url(endpoint)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use aws_sdk_dynamodb::config::{Credentials, Region};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::{
        clock::Clock,
        http_client::{HttpClient, tls},
    };

    /// A table on a socket that fails at its first request and tells how many connections it was given.
    async fn fails_once(listener: TcpListener, connections: Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        while let Ok((mut socket, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let requests = requests.clone();
            tokio::spawn(async move {
                let mut received = Vec::new();
                while socket.read_buf(&mut received).await.unwrap_or(0) > 0 {
                    // The body is `{}` in these calls, or a short object: it ends what was sent.
                    if !received.ends_with(b"}") {
                        continue;
                    }
                    received.clear();
                    let status = if requests.fetch_add(1, Ordering::SeqCst) == 0 {
                        "500 Internal Server Error"
                    } else {
                        "200 OK"
                    };
                    let response = format!(
                        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{{}}"
                    );
                    if socket.write_all(response.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[tokio::test]
    async fn a_retry_after_a_server_error_uses_a_fresh_connection_and_later_calls_share_it() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(lines.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let server = tokio::spawn(fails_once(listener, connections.clone()));
        let http = HttpClient::new(tls(), Clock::from_fn(|| 1_800_000_000));
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http.for_sdk())
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
            .region(Region::new("local"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .endpoint_url(endpoint)
            .build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        client.list_tables().send().await.unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), 2);
        for _ in 0..3 {
            client.list_tables().send().await.unwrap();
        }
        assert_eq!(connections.load(Ordering::SeqCst), 2);
        assert_eq!(String::from_utf8_lossy(&lines.0.lock().unwrap()), "");
        server.abort();
    }
}
