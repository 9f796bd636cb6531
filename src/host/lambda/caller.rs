//! Who calls, under which name, and until when: from what AWS says, and from a distribution that proves itself.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, StatusCode};
use lambda_runtime::Context;
use tokio::time::{Duration, Instant};

use super::event::Arrived;
use crate::{
    app::{App, Caller},
    oauth::resource::BaseUrl,
};

/// What a distribution in front of us sends along to prove itself.
const ORIGIN_SECRET: &str = "x-origin-secret";
/// Where `CloudFront` then says who called it.
const VIEWER_ADDRESS: &str = "cloudfront-viewer-address";

/// Why a request is answered before any endpoint sees it.
pub struct Refusal {
    pub status: StatusCode,
    pub error: &'static str,
    pub what: &'static str,
}

/// Who calls. With `origin_secret` in the secret, only what came through the distribution is answered; while the
/// secret cannot be read nobody is refused here: then nobody can give a PIN or reach the upstream anyway.
pub async fn identify(app: &App, arrived: &Arrived, context: &Context) -> Result<Caller, Refusal> {
    let base = match &app.config.base_url {
        Some(base) => base.clone(),
        None => BaseUrl::parse(&format!(
            "https://{}",
            arrived.domain_name.to_ascii_lowercase()
        ))
        .map_err(|_| Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: "server_error",
            what: "the event holds no domain name, and BASE_URL is not set",
        })?,
    };
    let secret = app.secrets.optional().await;
    let headers = arrived.request.headers();
    let address = match secret
        .as_ref()
        .and_then(|secret| secret.origin_secret.as_ref())
    {
        None => arrived.source,
        Some(origin) => {
            let presented = headers
                .get(ORIGIN_SECRET)
                .and_then(|value| value.to_str().ok());
            if !presented.is_some_and(|presented| origin.is(presented)) {
                return Err(Refusal {
                    status: StatusCode::FORBIDDEN,
                    error: "access_denied",
                    what: "this address is not for clients; use the one that you were given",
                });
            }
            viewer(headers).or(arrived.source)
        }
    };
    Ok(Caller {
        base,
        aliases: Vec::new(),
        address,
        request_id: context.request_id.clone(),
        deadline: deadline(context.deadline, app.clock.now()),
    })
}

/// `ip:port`, where IPv6 comes without brackets.
fn viewer(headers: &HeaderMap) -> Option<IpAddr> {
    let text = headers.get(VIEWER_ADDRESS)?.to_str().ok()?;
    text.parse::<SocketAddr>()
        .map(|address| address.ip())
        .ok()
        .or_else(|| text.rsplit_once(':')?.0.parse().ok())
}

/// When the function will be ended, given as unix milliseconds, at a clock that counts seconds. An end that has
/// passed is none: emulators say 1970.
fn deadline(unix_ms: u64, now: u64) -> Option<Instant> {
    let now_ms = now * 1000;
    // The second that runs may be nearly over: rather too early than too late.
    let left = unix_ms.saturating_sub(now_ms + 999);
    (unix_ms > now_ms).then(|| Instant::now() + Duration::from_millis(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_is_read_with_its_port() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(VIEWER_ADDRESS, text.parse().unwrap());
            viewer(&headers).map(|address| address.to_string())
        };
        assert_eq!(read("203.0.113.9:4711").as_deref(), Some("203.0.113.9"));
        assert_eq!(read("2001:db8::1:4711").as_deref(), Some("2001:db8::1"));
        assert_eq!(
            read("2001:db8:0:0:0:0:0:1:443").as_deref(),
            Some("2001:db8::1")
        );
        assert_eq!(read("[2001:db8::1]:443").as_deref(), Some("2001:db8::1"));
        assert_eq!(read("unknown"), None);
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
