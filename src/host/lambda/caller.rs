//! Who calls, at which base URL, and until when: from the event, and from the headers of a CloudFront distribution that
//! sends the origin secret.

use std::net::IpAddr;

use http::{HeaderMap, StatusCode};
use tokio::time::{Duration, Instant};

use super::{HostErrorResponse, event::ReceivedRequest, runtime_api::Invocation};
use crate::{
    app::{App, Caller},
    oauth::resource::BaseUrl,
};

/// The header in which a CloudFront distribution sends the secret that proves where the request comes from.
const ORIGIN_SECRET_HEADER: &str = "x-origin-secret";
/// The header in which the CloudFront distribution (infra/edge.yaml) sends the client's address. It replaces any value
/// that the client sent.
const VIEWER_ADDRESS_HEADER: &str = "true-client-ip";

/// Identifies the caller. If the secret contains `origin_secret`, only requests through the CloudFront distribution are
/// accepted. While the secret cannot be read, no request is refused here: without it no PIN can be checked and the
/// upstream cannot be reached.
pub async fn identify(
    app: &App,
    received: &ReceivedRequest,
    invocation: &Invocation,
) -> Result<Caller, HostErrorResponse> {
    let base = match &app.config.base_url {
        Some(base) => base.clone(),
        None => BaseUrl::parse(&format!(
            "https://{}",
            received.domain_name.to_ascii_lowercase()
        ))
        .map_err(|_| HostErrorResponse {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: "server_error",
            description: "the event has no domain name, and BASE_URL is not set",
        })?,
    };
    let secret = app.secrets.optional().await;
    let headers = received.request.headers();
    let address = match secret
        .as_ref()
        .and_then(|secret| secret.origin_secret.as_ref())
    {
        None => received.source,
        Some(origin_secret) => {
            let presented = headers
                .get(ORIGIN_SECRET_HEADER)
                .and_then(|value| value.to_str().ok());
            if !presented.is_some_and(|presented| origin_secret.is(presented)) {
                return Err(HostErrorResponse {
                    status: StatusCode::FORBIDDEN,
                    error: "access_denied",
                    description: "this address is not for clients; use the one that you were given",
                });
            }
            viewer_address(headers).or(received.source)
        }
    };
    Ok(Caller {
        base,
        aliases: Vec::new(),
        address,
        request_id: invocation.request_id.clone(),
        deadline: deadline(invocation.deadline_unix_ms, app.clock.now()),
    })
}

fn viewer_address(headers: &HeaderMap) -> Option<IpAddr> {
    headers
        .get(VIEWER_ADDRESS_HEADER)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Converts the deadline (unix milliseconds) to an `Instant`. `now` is in whole seconds. Returns `None` for a deadline
/// in the past, because emulators send 0.
fn deadline(unix_ms: u64, now: u64) -> Option<Instant> {
    let now_ms = now * 1000;
    // The current second may be almost over. A deadline that is too early is better than one that is too late.
    let left = unix_ms.saturating_sub(now_ms + 999);
    (unix_ms > now_ms).then(|| Instant::now() + Duration::from_millis(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_address_is_one_address() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(VIEWER_ADDRESS_HEADER, text.parse().unwrap());
            viewer_address(&headers).map(|address| address.to_string())
        };
        assert_eq!(read("203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(read("2001:db8::1").as_deref(), Some("2001:db8::1"));
        for other in ["203.0.113.9:443", "203.0.113.9,198.51.100.1", "unknown", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_past_deadline_is_unknown_and_a_future_one_is_never_late() {
        assert_eq!(deadline(0, 1_800_000_000), None);
        assert_eq!(deadline(1_800_000_000_000, 1_800_000_000), None);
        let left = deadline(1_800_000_010_500, 1_800_000_000).unwrap() - Instant::now();
        assert_eq!(left, Duration::from_millis(9501));
        assert_eq!(
            deadline(1_800_000_000_500, 1_800_000_000),
            Some(Instant::now())
        );
    }
}
