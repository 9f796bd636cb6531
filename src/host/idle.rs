//! The connections of which no request is under way. If there is no place for a new connection, the one that has been idle
//! longest is closed, as nginx does: otherwise idle connections could keep everybody else out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// All idle connections of a listener.
#[derive(Default)]
pub struct IdleConnections {
    queue: Mutex<Queue>,
    /// That another one can be closed.
    more: Notify,
}

#[derive(Default)]
struct Queue {
    next_key: u64,
    /// The longest idle first, with what asks it to close.
    connections: BTreeMap<u64, Arc<Notify>>,
    /// Whether there was none to close.
    wanted: bool,
}

impl IdleConnections {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the connection that has been idle longest to close.
    pub fn close_longest(&self) {
        let mut queue = self.queue();
        if let Some((_, close)) = queue.connections.pop_first() {
            close.notify_one();
        } else {
            queue.wanted = true;
        }
    }

    /// Waits until it makes sense to ask another one.
    pub async fn more(&self) {
        self.more.notified().await;
    }
}

/// One connection among them, which is idle at first.
pub struct IdleConnection {
    all: Arc<IdleConnections>,
    key: AtomicU64,
    close: Arc<Notify>,
}

impl IdleConnection {
    /// A connection that was just accepted.
    pub fn new(all: Arc<IdleConnections>) -> Self {
        let new = Self {
            all,
            key: AtomicU64::default(),
            close: Arc::default(),
        };
        new.becomes_idle();
        new
    }

    /// It has no request under way from now on.
    pub fn becomes_idle(&self) {
        let mut queue = self.all.queue();
        queue.next_key += 1;
        let key = queue.next_key;
        queue.connections.insert(key, self.close.clone());
        self.key.store(key, Ordering::Relaxed);
        if std::mem::take(&mut queue.wanted) {
            self.all.more.notify_one();
        }
    }

    /// A request has begun.
    pub fn becomes_busy(&self) {
        if !self.leave() {
            self.stays_open();
        }
    }

    /// It was asked to close, and will not do so soon.
    pub fn stays_open(&self) {
        self.all.more.notify_one();
    }

    /// Waits until it is asked to close.
    pub async fn asked_to_close(&self) {
        self.close.notified().await;
    }

    fn leave(&self) -> bool {
        let key = self.key.load(Ordering::Relaxed);
        self.all.queue().connections.remove(&key).is_some()
    }
}

impl Drop for IdleConnection {
    fn drop(&mut self) {
        self.leave();
    }
}
