//! Records the calls of tools: name, time, outcome and duration, never arguments or results. The record is written after
//! the response has ended, beside everything else: no client waits for it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    auth::Authorized,
    media::{Media, is_encoded},
    message::Message,
    outcome::{Found, OutcomeScanner},
};
use crate::{
    app::App,
    config::Transport,
    credential::ConnectionId,
    endpoint::response::RequestLogFields,
    page,
    store::record::{Activity, ActivityOutcome},
};

/// Most calls of a batch that are recorded.
const RECORDED_CALLS_MAX: usize = 25;
/// Longest recorded name of a tool. MCP asks for at most 128 characters.
const NAME_CHARACTERS: usize = 128;
const DAY_SECONDS: u64 = 86_400;

/// The calls of tools in one request, until they are recorded. Dropped without an outcome, they count as not answered:
/// the client went away, or the response was cut off.
pub struct Calls {
    app: App,
    connection: ConnectionId,
    tools: Vec<String>,
    at: u64,
    started: Instant,
    outcome: ActivityOutcome,
}

impl Calls {
    /// The calls in a message; `None` if there are none, or they are not recorded.
    pub fn begin(authorized: Authorized<'_>, message: &Message<'_>) -> Option<Self> {
        let Authorized {
            app, connection, ..
        } = authorized;
        if app.config.activity_days == 0 {
            return None;
        }
        let tools: Vec<_> = message
            .called_tools()
            .take(RECORDED_CALLS_MAX)
            .map(|tool| page::display(&tool, NAME_CHARACTERS))
            .collect();
        (!tools.is_empty()).then(|| Self {
            app: app.clone(),
            connection: connection.id.clone(),
            tools,
            at: app.clock.now(),
            started: Instant::now(),
            outcome: ActivityOutcome::UpstreamError,
        })
    }

    /// There is no response of the upstream to pass on.
    pub fn failed(mut self, limit_refused: bool) {
        if limit_refused {
            self.outcome = ActivityOutcome::Refused;
        }
    }

    /// Watches the response, and records the calls when it has ended.
    pub fn watch(mut self, response: Response) -> Response {
        let log = response.extensions().get::<RequestLogFields>();
        if !response.status().is_success() || log.is_some_and(|log| log.refused.is_some()) {
            return response;
        }
        let headers = response.headers();
        // Over HTTP+SSE the result arrives on another stream, and a compressed one cannot be read.
        let is_sse = self.app.config.upstream.transport == Transport::Sse;
        if is_sse || is_encoded(headers) {
            self.outcome = ActivityOutcome::Ok;
            return response;
        }
        let scanner = OutcomeScanner::new(Media::of(headers) == Media::Events);
        response.map(|inner| {
            Body::new(WatchedBody {
                inner,
                scanner,
                calls: self,
            })
        })
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let app = self.app.clone();
        let id = self.connection.clone();
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (at, outcome) = (self.at, self.outcome);
        let expires_at = at + app.config.activity_days * DAY_SECONDS;
        let tools = std::mem::take(&mut self.tools);
        self.app.background.spawn(async move {
            for tool in tools {
                let activity = Activity { tool, at, outcome, ms };
                if let Err(error) = app.store.record_activity(&id, &activity, expires_at).await {
                    tracing::warn!(event = "unavailable", what = error.what, operator = error.operator, detail = %error, "a call could not be recorded");
                    return;
                }
            }
        });
    }
}

/// A body whose outcome is read while it passes.
struct WatchedBody {
    inner: Body,
    scanner: OutcomeScanner,
    calls: Calls,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.scanner.read(data);
            match this.scanner.found() {
                Some(Found::Result) => this.calls.outcome = ActivityOutcome::Ok,
                Some(Found::Error) => this.calls.outcome = ActivityOutcome::ToolError,
                None => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
