//! Reading request bodies, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;

use super::error::ApiError;
use crate::oauth::{error::OAuthError, params::Params};

/// Longest body outside the proxied path.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest form of the owner: 64 KiB of tool names, each byte of which may be three in the form.
const MAX_LONG_FORM_BYTES: usize = 256 * 1024;
/// What is still read and discarded of a body that is too long, so that the client can read our response
/// instead of seeing its connection cut.
const MAX_DRAINED_BYTES: usize = 4 * 1024 * 1024;
/// A body must have arrived by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// The whole body, if it is short enough.
///
/// # Errors
/// 413, 408, or 400 when it is cut off.
pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    read_up_to(MAX_BODY_BYTES, "the body is longer than 16 KB", body).await
}

async fn read_up_to(most: usize, too_long: &'static str, body: Body) -> Result<Bytes, ApiError> {
    let refuse =
        |status, what: &'static str| ApiError::new(status, OAuthError::invalid_request(what));
    tokio::time::timeout(BODY_TIMEOUT, collect(most, body))
        .await
        .map_err(|_| {
            refuse(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            )
        })?
        .map_err(|()| refuse(StatusCode::BAD_REQUEST, "the body was cut off"))?
        .ok_or_else(|| refuse(StatusCode::PAYLOAD_TOO_LARGE, too_long))
}

async fn collect(most: usize, mut body: Body) -> Result<Option<Bytes>, ()> {
    let mut bytes = BytesMut::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ())?.into_data() else {
            continue;
        };
        seen += data.len();
        if seen <= most {
            bytes.extend_from_slice(&data);
        } else if seen > MAX_DRAINED_BYTES {
            break;
        }
    }
    Ok((seen <= most).then(|| bytes.freeze()))
}

/// The parameters of a page's form.
///
/// # Errors
/// 415 for another content type, and as [`read`] and [`Params::parse`].
pub async fn form(headers: &HeaderMap, body: Body) -> Result<Params, ApiError> {
    let bytes = read(body).await?;
    match media_type(headers).as_deref() {
        Some("application/x-www-form-urlencoded") => Ok(Params::parse(&bytes)?),
        _ => Err(not_a_form()),
    }
}

/// The parameters of a form with a long list, from somebody who is signed in.
///
/// # Errors
/// As [`form`].
pub async fn long_form(headers: &HeaderMap, body: Body) -> Result<Params, ApiError> {
    let too_long = "the body is longer than 256 KB";
    let bytes = read_up_to(MAX_LONG_FORM_BYTES, too_long, body).await?;
    match media_type(headers).as_deref() {
        Some("application/x-www-form-urlencoded") => Ok(Params::parse_long(&bytes)?),
        _ => Err(not_a_form()),
    }
}

/// The parameters of a request to `/token` or `/revoke`: a form (RFC 6749 §3.2), or a flat JSON object, which clients of
/// an earlier worker send.
///
/// # Errors
/// As [`form`].
pub async fn form_or_json(headers: &HeaderMap, body: Body) -> Result<Params, ApiError> {
    let bytes = read(body).await?;
    match media_type(headers).as_deref() {
        Some("application/x-www-form-urlencoded") => Ok(Params::parse(&bytes)?),
        Some("application/json") => Ok(Params::parse_json(&bytes)?),
        _ => Err(not_a_form()),
    }
}

fn not_a_form() -> ApiError {
    unsupported("the body must be application/x-www-form-urlencoded")
}

/// A JSON body.
///
/// # Errors
/// 415 for another content type, and as [`read`].
pub async fn json(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let bytes = read(body).await?;
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(bytes),
        _ => Err(unsupported("the body must be application/json")),
    }
}

fn unsupported(what: &'static str) -> ApiError {
    ApiError::new(
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
