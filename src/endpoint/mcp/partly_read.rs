//! A response of the upstream whose beginning is read before it is passed on.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use crate::error::causes;

/// The most bytes of a body that are read to decide what the client gets.
pub const PEEK_MAX_BYTES: usize = 16 * 1024;

/// A response whose first bytes may have been read already.
pub struct PartlyReadResponse {
    pub upstream: reqwest::Response,
    /// What was read of its body.
    pub bytes: BytesMut,
    end: Option<reqwest::Result<()>>,
}

impl PartlyReadResponse {
    /// Nothing was read yet.
    pub fn new(upstream: reqwest::Response) -> Self {
        Self {
            upstream,
            bytes: BytesMut::new(),
            end: None,
        }
    }

    /// Whether the status and the headers show that there is no body.
    pub fn is_empty_by_head(&self) -> bool {
        matches!(
            self.upstream.status(),
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT
        ) || self.upstream.content_length() == Some(0)
    }

    /// Whether the whole body has been read.
    pub fn is_whole(&self) -> bool {
        matches!(self.end, Some(Ok(())))
    }

    /// Reads until `enough` returns true, `PEEK_MAX_BYTES` have arrived, or `by` has passed.
    pub async fn read_until(&mut self, by: Instant, enough: impl Fn(&[u8]) -> bool) {
        self.read(PEEK_MAX_BYTES, by, enough).await;
    }

    /// Reads until `enough` returns true, `bytes_max` bytes have arrived, or `by` has passed.
    pub async fn read(&mut self, bytes_max: usize, by: Instant, enough: impl Fn(&[u8]) -> bool) {
        while self.end.is_none() && self.bytes.len() < bytes_max && !enough(&self.bytes) {
            let Ok(chunk) = timeout_at(by, self.upstream.chunk()).await else {
                return;
            };
            match chunk {
                Ok(Some(chunk)) => self.bytes.extend_from_slice(&chunk),
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// The whole body, including the bytes that have been read already.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let begun = (!self.bytes.is_empty()).then(|| Ok(self.bytes.freeze()));
        let (end, rest) = match self.end {
            None => (None, Some(self.upstream.bytes_stream())),
            Some(Ok(())) => (None, None),
            Some(Err(error)) => (Some(Err(error)), None),
        };
        stream::iter(begun.into_iter().chain(end))
            .chain(stream::iter(rest).flatten())
            // Without the URL, because its query may contain a key.
            .map(|chunk| chunk.map_err(|error| io::Error::other(error.without_url())))
            .inspect_err(|error| {
                let detail = causes(error);
                tracing::warn!(event = "upstream_broken", detail, "a response was cut off");
            })
    }
}
