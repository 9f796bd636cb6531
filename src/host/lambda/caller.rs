//! Who calls, at which base URL, and until when: from what AWS says, and from a distribution that proves itself.

use std::net::IpAddr;

use http::{HeaderMap, StatusCode};
use tokio::time::{Duration, Instant};

use super::{RejectedByHost, event::ReceivedRequest, runtime_api::Invocation};
use crate::{
    app::{App, Caller},
    oauth::resource::BaseUrl,
};

/// What a distribution in front of us sends along to prove itself.
const ORIGIN_SECRET: &str = "x-origin-secret";
/// Where that distribution's function (infra/edge.yaml) writes who called it, over whatever the client sent.
const VIEWER_ADDRESS: &str = "true-client-ip";

/// Who calls. With `origin_secret` in the secret, only requests that came through the distribution pass; while the
/// secret cannot be read nobody is refused here: then nobody can give a PIN or reach the upstream anyway.
pub async fn identify(
    app: &App,
    received: &ReceivedRequest,
    invocation: &Invocation,
) -> Result<Caller, RejectedByHost> {
    let base = match &app.config.base_url {
        Some(base) => base.clone(),
        None => BaseUrl::parse(&format!(
            "https://{}",
            received.domain_name.to_ascii_lowercase()
        ))
        .map_err(|_| RejectedByHost {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: "server_error",
            description: "the event holds no domain name, and BASE_URL is not set",
        })?,
    };
    let secret = app.secrets.optional().await;
    let headers = received.request.headers();
    let address = match secret
        .as_ref()
        .and_then(|secret| secret.origin_secret.as_ref())
    {
        None => received.source,
        Some(origin) => {
            let presented = headers
                .get(ORIGIN_SECRET)
                .and_then(|value| value.to_str().ok());
            if !presented.is_some_and(|presented| origin.is(presented)) {
                return Err(RejectedByHost {
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
    headers.get(VIEWER_ADDRESS)?.to_str().ok()?.parse().ok()
}

/// When the function will be ended, given as unix milliseconds, at a clock that counts seconds. A deadline that has
/// passed is none: emulators say 1970.
fn deadline(unix_ms: u64, now: u64) -> Option<Instant> {
    let now_ms = now * 1000;
    // The current second may be nearly over: rather too early than too late.
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
            headers.insert(VIEWER_ADDRESS, text.parse().unwrap());
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
