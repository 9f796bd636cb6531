//! Reading request bodies, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;

use super::answer::Refusal;
use crate::oauth::{error::OAuthError, params::Params};

/// Longest body outside the proxied path.
pub const LONGEST: usize = 16 * 1024;
/// What is still read and thrown away of a body that is too long, so that the client can read our answer
/// instead of seeing its connection cut.
const DRAINED: usize = 4 * 1024 * 1024;
/// A body must have arrived by then.
const ARRIVED: Duration = Duration::from_secs(20);

/// The whole body, if it is short enough.
///
/// # Errors
/// 413, 408, or 400 when it breaks off.
pub async fn read(body: Body) -> Result<Bytes, Refusal> {
    let refuse =
        |status, what: &'static str| Refusal::Unreadable(status, OAuthError::invalid_request(what));
    tokio::time::timeout(ARRIVED, collect(body))
        .await
        .map_err(|_| {
            refuse(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            )
        })?
        .map_err(|()| refuse(StatusCode::BAD_REQUEST, "the body broke off"))?
        .ok_or_else(|| {
            refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is longer than 16 KB",
            )
        })
}

async fn collect(mut body: Body) -> Result<Option<Bytes>, ()> {
    let mut bytes = BytesMut::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ())?.into_data() else {
            continue;
        };
        seen += data.len();
        if seen <= LONGEST {
            bytes.extend_from_slice(&data);
        } else if seen > DRAINED {
            break;
        }
    }
    Ok((seen <= LONGEST).then(|| bytes.freeze()))
}

/// The parameters of a form; also of a flat JSON object where `json_too`.
///
/// # Errors
/// 415 for another content type, and as [`read`] and [`Params::parse`].
pub async fn params(headers: &HeaderMap, body: Body, json_too: bool) -> Result<Params, Refusal> {
    let bytes = read(body).await?;
    match media_type(headers).as_deref() {
        Some("application/x-www-form-urlencoded") => Ok(Params::parse(&bytes)?),
        Some("application/json") if json_too => Ok(Params::parse_json(&bytes)?),
        _ => Err(unsupported(
            "the body must be application/x-www-form-urlencoded",
        )),
    }
}

/// A JSON body.
///
/// # Errors
/// 415 for another content type, and as [`read`].
pub async fn json(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let bytes = read(body).await?;
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(bytes),
        _ => Err(unsupported("the body must be application/json")),
    }
}

fn unsupported(what: &'static str) -> Refusal {
    Refusal::Unreadable(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        OAuthError::invalid_request(what),
    )
}

/// The media type without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next()?.to_str().ok()?;
    let only = values.next().is_none();
    only.then(|| {
        value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    })
}
