//! Natural batching: requests for one key that arrive while a batch is in the database form the next batch.
//!
//! Each replica has one task per key. The task never waits for more items to arrive, so an idle key adds no latency. The
//! task owns the work, not the HTTP handler: a client that disconnects changes nothing.
//!
//! A batch whose outcome is unknown is sent again unchanged. The database functions must then return the result of the
//! first call. Large batches yield to small ones, so that a key with few requests does not queue for the processor behind
//! a hot key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::background::Tasks;
use crate::database::{Database, is_unavailable};
use crate::ids::TenantId;
use crate::load::AdmissionControl;
use crate::telemetry::Chain;

/// Maximum number of items per database call, unless a single request has more.
const MAX_BATCH: usize = 512;
/// Time that a caller waits for a reply before the outcome counts as unknown.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// [`TIMEOUT`] of a caller with thousands of items.
pub(crate) const BATCH_TIMEOUT: Duration = Duration::from_secs(25);
/// Time after which an idle task ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before a batch is retried.
const BACKOFF: Duration = Duration::from_millis(50);
/// Time that an idle task keeps its connection, so that consecutive callers share it.
const CONNECTION_LINGER: Duration = Duration::from_millis(2);
/// Time that a task keeps its connection before it returns it to the pool for other tasks.
const TIME_SLICE: Duration = Duration::from_millis(50);

/// Minimum number of items of a large batch.
const LARGE_BATCH: usize = 16;
/// Maximum time that a large batch yields.
const MAX_YIELD: Duration = Duration::from_millis(10);

/// The reason that a batch has no replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    /// Nothing was sent.
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

/// Processes the items in the queue of a task.
pub(crate) trait BatchHandler: Send + 'static {
    /// Identifies a task; items of different keys are never batched together.
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    type Item: Send + 'static;
    type Reply: Send + 'static;
    /// State shared by all handlers of a batcher.
    type Shared: Clone + Send + Sync + 'static;

    fn new(key: Self::Key, shared: &Self::Shared) -> Self;

    /// Returns the reply to an item that was not processed, or whose outcome is unknown.
    fn reject(error: BatchError) -> Self::Reply;

    /// Processes the items and returns their replies in the same order.
    fn handle(
        &mut self,
        connection: &mut BatchConnection,
        items: &[Self::Item],
        atomicity: Atomicity,
        deadline: Instant,
    ) -> impl Future<Output = Vec<Self::Reply>> + Send;
}

/// Counter of the small batches in progress.
#[derive(Default)]
struct SmallBatches {
    count: AtomicUsize,
    none_left: Notify,
}

impl SmallBatches {
    fn begin(&self) -> SmallBatchGuard<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        SmallBatchGuard(self)
    }

    async fn wait_until_none(&self) {
        let end = Instant::now() + MAX_YIELD;
        loop {
            // Created before the count is read, so that a notification in between is not missed.
            let none_left = self.none_left.notified();
            if self.count.load(Ordering::SeqCst) == 0 || timeout_at(end, none_left).await.is_err() {
                return;
            }
        }
    }
}

/// Counts one small batch until it is dropped.
struct SmallBatchGuard<'a>(&'a SmallBatches);

impl Drop for SmallBatchGuard<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

/// Items of one caller, whose replies are returned together.
struct QueuedRequest<H: BatchHandler> {
    items: Vec<H::Item>,
    atomicity: Atomicity,
    deadline: Instant,
    reply_to: oneshot::Sender<Vec<H::Reply>>,
    /// Released when the request has its replies.
    permit: OwnedSemaphorePermit,
}

/// The queues are unbounded, because `AdmissionControl` limits their items.
type QueueMap<H> = HashMap<<H as BatchHandler>::Key, mpsc::UnboundedSender<QueuedRequest<H>>>;

/// The tasks of one handler type, and their queues. A clone shares them.
pub(crate) struct Batcher<H: BatchHandler>(Arc<Inner<H>>);

struct Inner<H: BatchHandler> {
    database: Database,
    tasks: Tasks,
    admission: AdmissionControl,
    shared: H::Shared,
    small_batches: Arc<SmallBatches>,
    queues: Arc<Mutex<QueueMap<H>>>,
}

impl<H: BatchHandler> Clone for Batcher<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: BatchHandler> Batcher<H> {
    pub(crate) fn new(
        database: &Database,
        admission: &AdmissionControl,
        shared: H::Shared,
        tasks: &Tasks,
    ) -> Self {
        Self(Arc::new(Inner {
            database: database.clone(),
            tasks: tasks.clone(),
            admission: admission.clone(),
            shared,
            small_batches: Arc::default(),
            queues: Arc::default(),
        }))
    }

    /// Queues items for the task of their key and returns their replies in the order of the items.
    pub(crate) async fn submit(
        &self,
        tenant: TenantId,
        key: H::Key,
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
        self.enqueue(
            key,
            QueuedRequest {
                items,
                atomicity,
                deadline,
                reply_to,
                permit,
            },
        );
        match timeout_at(deadline, replies).await {
            Ok(Ok(replies)) => replies,
            // The deadline has passed, or the task panicked and dropped the sender.
            _ => reject(BatchError::Unknown),
        }
    }

    /// Closes the queues: each task ends after it has processed its remaining items.
    pub(crate) fn close(&self) {
        self.queues().clear();
    }

    fn enqueue(&self, key: H::Key, mut request: QueuedRequest<H>) {
        let mut queues = self.queues();
        if let Some(queue) = queues.get(&key) {
            match queue.send(request) {
                Ok(()) => return,
                // The task panicked.
                Err(mpsc::error::SendError(returned)) => request = returned,
            }
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(request).expect("the receiver is here");
        queues.insert(key, sender);
        let task = Task::<H> {
            key,
            queues: Arc::clone(&self.0.queues),
            receiver,
            next: None,
            handler: H::new(key, &self.0.shared),
            small_batches: Arc::clone(&self.0.small_batches),
            connection: BatchConnection {
                database: self.0.database.clone(),
                connection: None,
            },
        };
        self.0.tasks.spawn(task.run());
    }

    fn queues(&self) -> MutexGuard<'_, QueueMap<H>> {
        self.0.queues.lock().expect("no holder of this lock panics")
    }
}

/// The task of one key.
struct Task<H: BatchHandler> {
    key: H::Key,
    queues: Arc<Mutex<QueueMap<H>>>,
    receiver: mpsc::UnboundedReceiver<QueuedRequest<H>>,
    /// Taken from the queue, but not part of the previous batch.
    next: Option<QueuedRequest<H>>,
    handler: H,
    small_batches: Arc<SmallBatches>,
    connection: BatchConnection,
}

impl<H: BatchHandler> Task<H> {
    async fn run(mut self) {
        let mut begun = Instant::now();
        while let Some(requests) = self.gather().await {
            if !self.connection.is_held() {
                begun = Instant::now();
            }
            self.handle(requests).await;
            if begun.elapsed() > TIME_SLICE {
                self.connection.release();
            }
        }
    }

    /// Takes waiting requests, up to a batch. Returns `None` if the queue was closed, or after `IDLE_TIMEOUT` without a
    /// request, when the task has left the map.
    async fn gather(&mut self) -> Option<Vec<QueuedRequest<H>>> {
        let first = if let Some(next) = self.next.take() {
            next
        } else if let Ok(next) = timeout(CONNECTION_LINGER, self.receiver.recv()).await {
            next?
        } else {
            self.connection.release();
            self.wait().await?
        };
        let mut count = first.items.len();
        let mut requests = vec![first];
        while requests[0].atomicity == Atomicity::PerItem
            && count < MAX_BATCH
            && let Ok(next) = self.receiver.try_recv()
        {
            if next.atomicity == Atomicity::AllOrNothing {
                self.next = Some(next);
                break;
            }
            count += next.items.len();
            requests.push(next);
        }
        Some(requests)
    }

    async fn wait(&mut self) -> Option<QueuedRequest<H>> {
        loop {
            if let Ok(next) = timeout(IDLE_TIMEOUT, self.receiver.recv()).await {
                return next;
            }
            // Senders hold this lock while they send, so no request can arrive between the check and the removal.
            let mut queues = self.queues.lock().expect("no holder of this lock panics");
            if self.receiver.is_empty() {
                queues.remove(&self.key);
                return None;
            }
        }
    }

    async fn handle(&mut self, mut requests: Vec<QueuedRequest<H>>) {
        // Requests whose callers have timed out are skipped: nothing was done, and a retry brings the same keys.
        let now = Instant::now();
        requests.retain(|request| request.deadline > now);
        // The latest deadline applies to the batch; the other callers have left by then.
        let Some(deadline) = requests.iter().map(|request| request.deadline).max() else {
            return;
        };
        let atomicity = requests[0].atomicity;
        let mut items = Vec::new();
        let mut callers = Vec::with_capacity(requests.len());
        for request in requests {
            callers.push((request.reply_to, request.items.len(), request.permit));
            items.extend(request.items);
        }
        let small = if items.len() < LARGE_BATCH {
            Some(self.small_batches.begin())
        } else {
            self.small_batches.wait_until_none().await;
            None
        };
        let replies = self
            .handler
            .handle(&mut self.connection, &items, atomicity, deadline);
        let mut replies = replies.await.into_iter();
        drop(small);
        for (reply_to, count, permit) in callers {
            // A disconnected caller is not a failure: its retry returns the same outcome.
            let _ = reply_to.send(replies.by_ref().take(count).collect());
            drop(permit);
        }
    }
}

/// An idempotent call of a database function.
pub(crate) trait DatabaseCall: Sync {
    /// The name in log messages.
    const NAME: &'static str;
    type Row: Send;

    /// Returns the number of items.
    fn size(&self) -> usize;

    fn call(
        &self,
        connection: &mut PgConnection,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;
}

/// The database connection of a task.
pub(crate) struct BatchConnection {
    database: Database,
    /// Held between batches, so that a batch costs one round trip.
    connection: Option<PoolConnection<Postgres>>,
}

impl BatchConnection {
    fn is_held(&self) -> bool {
        self.connection.is_some()
    }

    fn release(&mut self) {
        self.connection = None;
    }

    /// Makes a call and retries it until its outcome is known or the deadline has passed.
    pub(crate) async fn call<C: DatabaseCall>(
        &mut self,
        call: &C,
        deadline: Instant,
    ) -> Result<Vec<C::Row>, BatchError> {
        let (name, items) = (C::NAME, call.size());
        loop {
            let error = match timeout_at(deadline, self.try_call(call)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            // The connection may still be executing the failed call, so it must not return to the pool.
            if let Some(connection) = self.connection.take() {
                drop(connection.detach());
            }
            match error {
                Some(error) if !is_unavailable(&error) && !is_invariant_violation(&error) => {
                    tracing::error!(error = %Chain(&error), items, "{name} failed");
                    return Err(BatchError::Failed);
                }
                Some(error) if Instant::now() + BACKOFF < deadline => {
                    tracing::warn!(error = %Chain(&error), items, "{name} will be retried");
                    tokio::time::sleep(BACKOFF).await;
                }
                _ => {
                    tracing::warn!(items, "the outcome of {name} is unknown");
                    return Err(BatchError::Unknown);
                }
            }
        }
    }

    async fn try_call<C: DatabaseCall>(&mut self, call: &C) -> sqlx::Result<Vec<C::Row>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.database.tasks().acquire().await?),
        };
        call.call(connection).await
    }
}

/// Returns true for a unique violation, and logs it. The locks of the called functions should make one impossible. Nothing
/// was written, and a retry evaluates the items anew.
fn is_invariant_violation(error: &sqlx::Error) -> bool {
    let violated = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
    if violated {
        tracing::error!(error = %Chain(error), "ALARM: a unique constraint was violated although the lock of the set should prevent it");
    }
    violated
}
