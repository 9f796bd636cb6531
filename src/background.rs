//! Work that no response waits for.

use std::{future::Future, sync::Arc};

use tokio::{runtime::Handle, sync::watch};
use tracing::Instrument as _;

/// The tasks under way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Background(Arc<watch::Sender<usize>>);

impl Default for Background {
    fn default() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }
}

impl Background {
    /// Starts a task, unless the runtime is gone.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let under_way = UnderWay::begin(self.clone());
        runtime.spawn(
            async move {
                task.await;
                drop(under_way);
            }
            .in_current_span(),
        );
    }

    /// Waits until no task is under way. A host that is frozen or ends after a response waits for this first.
    pub async fn settled(&self) {
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Counts a task until it has ended, also by a panic.
struct UnderWay(Background);

impl UnderWay {
    fn begin(background: Background) -> Self {
        background.0.send_modify(|count| *count += 1);
        Self(background)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
