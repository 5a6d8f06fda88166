//! Natural batching: requests that arrive while the batches before them are in the database form the next one.
//!
//! A replica has a fixed number of lanes, each with a connection of its own. A lane takes what waits, for any key, and an
//! idle replica never waits for more, so it adds no latency; beside a batch in progress, fewer than 24 keys wait up to a
//! millisecond. Small plain requests of many keys share a batch; the rest are served key by key, by other lanes, so that
//! neither a key that somebody holds locked nor a request of thousands of items delays the others. `fair_queue` decides whose
//! turn it is.
//!
//! The lanes own the work, not the HTTP handlers: a client that disconnects changes nothing. A batch whose outcome is unknown
//! is sent again unchanged. The database functions must then return the result of the first call.

mod call;
mod fair_queue;
mod lane;
#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::Span;

pub(crate) use call::{BatchConnection, DatabaseCall, sql_integer};

use crate::background::Tasks;
use crate::database::Database;
use crate::ids::TenantId;
use crate::load::AdmissionControl;
use crate::traces;
use fair_queue::{FairQueue, Queued};
use lane::Lane;

/// Number of lanes for batches of many keys. On two processors, three and four made batches smaller and served fewer
/// requests (`cargo bench --bench assign`, 1,000 sets, 64 clients).
const SHARED_LANES: usize = 2;
/// Number of lanes for batches of one key. Each can wait for the lock of its key.
const SINGLE_LANES: usize = 6;
/// Maximum number of items of a request that is in a batch of many keys. A larger one gains nothing from sharing a call, and
/// the others in its batch would wait for all of its items: 32 clients that assigned 1,000 codes with each request made the
/// requests of another tenant wait for seconds (`cargo bench --bench flood`).
const MAX_SHARED_ITEMS: usize = 128;
/// Time that a caller waits for a reply before the outcome counts as unknown.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// [`TIMEOUT`] of a caller with thousands of items.
pub(crate) const BATCH_TIMEOUT: Duration = Duration::from_secs(25);

/// The reason that a batch has no replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    /// Nothing was sent: too many items wait, or the service stops.
    #[error("too many items of the tenant wait already")]
    Overloaded,
    /// The database did not respond in time. The items may have been processed; a retry returns their outcome.
    #[error("the outcome is unknown")]
    Unknown,
    /// An internal failure, already logged.
    #[error("internal error")]
    Failed,
}

/// The unit of success of a request: each item, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomicity {
    /// Each item succeeds or fails by itself.
    PerItem,
    /// No item is processed unless every item can be. Such a request is a batch of its own.
    AllOrNothing,
}

/// Serves batches.
pub(crate) trait BatchHandler: Send + Sync + 'static {
    /// Names the resource that a batch of one key locks.
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    /// Only items of one group are served together in a batch of one key.
    type Group: Copy + Eq + Send + Sync + 'static;
    type Item: Send + Sync + 'static;
    type Reply: Send + 'static;

    /// Returns the reply to an item that was not processed, or whose outcome is unknown.
    fn reject(error: BatchError) -> Self::Reply;

    /// Returns true if the items may be in a batch of many keys.
    fn is_plain(&self, key: Self::Key, group: Self::Group, items: &[Self::Item]) -> bool;

    /// Serves requests of many keys and returns for each key the replies to its items in the same order. An item without a
    /// reply must be served in a batch of its own key, and so must all if the whole is `None`.
    fn serve_many(
        &self,
        connection: &mut BatchConnection,
        batch: &[KeyRequests<'_, Self::Key, Self::Item>],
        deadline: Instant,
    ) -> impl Future<Output = Option<Vec<Vec<Option<Self::Reply>>>>> + Send;

    /// Serves items of one key and returns their replies in the same order.
    fn serve(
        &self,
        connection: &mut BatchConnection,
        key: Self::Key,
        group: Self::Group,
        items: &[&Self::Item],
        atomicity: Atomicity,
        deadline: Instant,
    ) -> impl Future<Output = Vec<Self::Reply>> + Send;
}

/// The requests of one key in a batch of many keys, each with its items.
pub(crate) struct KeyRequests<'a, K, I> {
    pub(crate) key: K,
    pub(crate) requests: Vec<&'a [I]>,
}

/// Items of one caller, whose replies are returned together.
struct QueuedRequest<H: BatchHandler> {
    group: H::Group,
    items: Vec<H::Item>,
    /// The replies of a batch of many keys, if it left some items to a batch of one key.
    replies: Vec<Option<H::Reply>>,
    is_plain: bool,
    atomicity: Atomicity,
    deadline: Instant,
    reply_to: oneshot::Sender<Vec<H::Reply>>,
    /// Released when the request has its replies.
    permit: OwnedSemaphorePermit,
    /// The span of the caller, if spans are exported.
    span: Span,
}

impl<H: BatchHandler> QueuedRequest<H> {
    /// A disconnected caller is not a failure: its retry returns the same outcome.
    fn reply(self, replies: Vec<H::Reply>) {
        let _ = self.reply_to.send(replies);
        drop(self.permit);
    }
}

impl<H: BatchHandler> Queued for QueuedRequest<H> {
    fn size(&self) -> usize {
        self.items.len()
    }

    fn is_shared(&self) -> bool {
        self.is_plain
    }

    fn joins(&self, first: &Self) -> bool {
        self.group == first.group
            && self.atomicity == Atomicity::PerItem
            && first.atomicity == Atomicity::PerItem
    }
}

/// The lanes of one handler, and the queue that they take from. A clone shares them.
pub(crate) struct Batcher<H: BatchHandler>(Arc<Inner<H>>);

struct Inner<H: BatchHandler> {
    handler: H,
    admission: AdmissionControl,
    queue: Mutex<FairQueue<H::Key, QueuedRequest<H>>>,
    /// Wakes a lane for batches of many keys, or of one key.
    shared_waits: Notify,
    single_waits: Notify,
    is_closed: AtomicBool,
}

impl<H: BatchHandler> Clone for Batcher<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: BatchHandler> Batcher<H> {
    /// Creates a batcher and starts its lanes.
    pub(crate) fn start(
        handler: H,
        database: &Database,
        admission: &AdmissionControl,
        tasks: &Tasks,
    ) -> Self {
        let inner = Arc::new(Inner {
            handler,
            admission: admission.clone(),
            queue: Mutex::new(FairQueue::new()),
            shared_waits: Notify::new(),
            single_waits: Notify::new(),
            is_closed: AtomicBool::new(false),
        });
        for _ in 0..SHARED_LANES {
            tasks.spawn(Lane::new(&inner, database).run_shared());
        }
        for _ in 0..SINGLE_LANES {
            tasks.spawn(Lane::new(&inner, database).run_single());
        }
        Self(inner)
    }

    /// Queues items of a key and returns their replies in the order of the items.
    pub(crate) async fn submit(
        &self,
        tenant: TenantId,
        key: H::Key,
        group: H::Group,
        items: Vec<H::Item>,
        atomicity: Atomicity,
        timeout: Duration,
    ) -> Vec<H::Reply> {
        let count = items.len();
        let reject = |error| (0..count).map(|_| H::reject(error)).collect();
        let Some(permit) = self.0.admission.admit(tenant, count) else {
            return reject(BatchError::Overloaded);
        };
        let deadline = Instant::now() + timeout;
        let (reply_to, replies) = oneshot::channel();
        let is_plain = atomicity == Atomicity::PerItem
            && count <= MAX_SHARED_ITEMS
            && self.0.handler.is_plain(key, group, &items);
        let request = QueuedRequest {
            group,
            items,
            replies: Vec::new(),
            is_plain,
            atomicity,
            deadline,
            reply_to,
            permit,
            span: if traces::is_exported() {
                Span::current()
            } else {
                Span::none()
            },
        };
        {
            let mut queue = self.0.queue();
            // Under the lock of the queue, so that no request comes after the last lane has ended.
            if self.0.is_closed.load(Ordering::SeqCst) {
                return reject(BatchError::Overloaded);
            }
            let next = queue.push(tenant, key, request);
            self.0.wake(next);
        }
        match timeout_at(deadline, replies).await {
            Ok(Ok(replies)) => replies,
            // The deadline has passed, or serving the batch panicked and dropped the sender.
            _ => reject(BatchError::Unknown),
        }
    }

    /// Closes the queue: the lanes end after they have served what waits, and later requests are rejected.
    pub(crate) fn close(&self) {
        let queue = self.0.queue();
        self.0.is_closed.store(true, Ordering::SeqCst);
        drop(queue);
        self.0.shared_waits.notify_waiters();
        self.0.single_waits.notify_waiters();
    }
}

impl<H: BatchHandler> Inner<H> {
    fn queue(&self) -> MutexGuard<'_, FairQueue<H::Key, QueuedRequest<H>>> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    /// Wakes a lane for a key whose next batch is a shared one, or one of its own.
    fn wake(&self, is_shared: Option<bool>) {
        match is_shared {
            Some(true) => self.shared_waits.notify_one(),
            Some(false) => self.single_waits.notify_one(),
            None => {}
        }
    }
}
