//! Request bodies on their way to the upstream: kept in memory where possible, so that a request can be sent again, and
//! streamed otherwise.

use std::{io, sync::Arc, time::Duration};

use ::http::HeaderMap;
use ::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::CLIENT_GONE;

/// Longest body that is kept in memory: the longest that a Function URL accepts (AWS Lambda quotas: 6 MB of payload).
pub const KEPT_BODY_BYTES: usize = 6 * 1024 * 1024;
/// Most bytes of all bodies together that are in memory at a time. A Lambda instance, which handles one request at a
/// time, never needs as much.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// The unit in which the budget is counted. Most bodies are small and take one or two units.
const BUDGET_UNIT_BYTES: usize = 1024;
/// A body that takes longer to arrive is streamed: a client that sends slowly must not hold the budget for ever.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);

/// A request body.
pub enum Body {
    /// All of it in memory: may be sent again.
    Kept(Bytes),
    /// Still arriving: can be sent once.
    Streamed {
        /// What has arrived, and the rest as it arrives.
        body: reqwest::Body,
        /// Its length if the client announced it; otherwise it is sent in chunks.
        length: Option<u64>,
        /// Why it is not kept.
        reason: NotKept,
    },
}

/// Why a body is not kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// It is longer than [`KEPT_BODY_BYTES`].
    TooLarge,
    /// The bodies of other requests take up the memory available for all of them.
    BudgetUsedUp,
    /// It did not arrive in time.
    TooSlow,
}

/// The client stopped sending before its request body was complete.
#[derive(Debug)]
pub struct ClientGone;

/// The memory available for the bodies of all requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self::of(BUDGET_BYTES)
    }
}

impl BodyBudget {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / BUDGET_UNIT_BYTES)))
    }

    /// Reads a body, and keeps it if it has at most `bytes_max` bytes, arrives in time, and fits into the budget. The
    /// budget is charged as bytes arrive, never for what a client only announces, until the last copy of the kept bytes
    /// is dropped.
    ///
    /// # Errors
    /// When the client stops sending.
    pub async fn keep<B>(
        &self,
        mut body: B,
        headers: &HeaderMap,
        bytes_max: usize,
    ) -> Result<Body, ClientGone>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let mut kept = Kept::default();
        if length.is_some_and(|length: u64| length > bytes_max as u64) {
            return Ok(kept.into_streamed(Bytes::new(), body, length, NotKept::TooLarge));
        }
        let arrived_by = Instant::now() + ARRIVAL_TIMEOUT;
        loop {
            let Ok(frame) = timeout_at(arrived_by, body.frame()).await else {
                return Ok(kept.into_streamed(Bytes::new(), body, length, NotKept::TooSlow));
            };
            let Some(frame) = frame else {
                return Ok(Body::Kept(kept.freeze()));
            };
            // Trailers are not passed on.
            let Ok(data) = frame.map_err(|_| ClientGone)?.into_data() else {
                continue;
            };
            let reason = if kept.len() + data.len() > bytes_max {
                NotKept::TooLarge
            } else if kept.charge(data.len(), &self.0) {
                kept.push(data);
                continue;
            } else {
                NotKept::BudgetUsedUp
            };
            return Ok(kept.into_streamed(data, body, length, reason));
        }
    }
}

/// What has arrived of a body, with its share of the budget.
#[derive(Default)]
struct Kept {
    /// The only chunk, not copied: on Lambda, and mostly elsewhere, a body arrives in one.
    first: Bytes,
    /// All chunks, from the second on.
    all: BytesMut,
    charged: Option<OwnedSemaphorePermit>,
}

impl Kept {
    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    /// Charges the budget for so many more bytes. Returns whether it has them.
    fn charge(&mut self, more: usize, budget: &Arc<Semaphore>) -> bool {
        let charged = self
            .charged
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = (self.len() + more)
            .div_ceil(BUDGET_UNIT_BYTES)
            .saturating_sub(charged);
        if wanted == 0 {
            return true;
        }
        let Ok(wanted) = u32::try_from(wanted) else {
            return false;
        };
        let Ok(charge) = budget.clone().try_acquire_many_owned(wanted) else {
            return false;
        };
        match &mut self.charged {
            Some(charged) => charged.merge(charge),
            none => *none = Some(charge),
        }
        true
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    /// The bytes, which give their share of the budget back when the last copy of them is dropped.
    fn freeze(self) -> Bytes {
        let bytes = if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        };
        match self.charged {
            Some(charged) => Bytes::from_owner(ChargedBytes {
                bytes,
                _charged: charged,
            }),
            None => bytes,
        }
    }

    /// What was kept, what has just arrived, and the rest as it arrives.
    fn into_streamed<B>(self, next: Bytes, rest: B, length: Option<u64>, reason: NotKept) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        let arrived = [self.freeze(), next]
            .into_iter()
            .filter(|bytes| !bytes.is_empty());
        let arrived = stream::iter(arrived.map(Ok::<Bytes, io::Error>).collect::<Vec<_>>());
        let rest = rest
            .into_data_stream()
            .map(|data| data.map_err(|_| io::Error::other(CLIENT_GONE)));
        Body::Streamed {
            body: reqwest::Body::wrap_stream(arrived.chain(rest)),
            length,
            reason,
        }
    }
}

/// Kept bytes together with their share of the budget.
struct ChargedBytes {
    bytes: Bytes,
    _charged: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for ChargedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
