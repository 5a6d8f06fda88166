//! Natural batching: requests for one key that arrive while a batch is at the database go out together as the next one.
//!
//! Each replica has one task per key. The task never waits for more items than are there, so an idle key adds no latency.
//! The work belongs to the task, not to the handler: a client that disconnects changes nothing. A batch whose outcome is
//! unknown is sent again as it is; the database functions must return what they had done before. Large batches yield to
//! small ones, so that a key with few requests does not queue for the processor behind a hot one.

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

/// Items that go to the database in one call, unless a single request has more.
const MAX_BATCH: usize = 512;
/// Time that a caller waits for an answer before the outcome counts as unknown.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a caller with thousands of items.
pub(crate) const BATCH_TIMEOUT: Duration = Duration::from_secs(25);
/// Time after which a task without work ends.
const IDLE: Duration = Duration::from_secs(30);
/// Pause before a batch is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Time that a task without work keeps its connection: callers that follow one another share it.
const CONNECTION_LINGER: Duration = Duration::from_millis(2);
/// Time that a task keeps its connection before it gives others a chance.
const TIME_SLICE: Duration = Duration::from_millis(50);

/// A batch with fewer items is small.
const LARGE: usize = 16;
/// Time that a large batch yields at most.
const MAX_YIELD: Duration = Duration::from_millis(10);

/// The reason that a batch has no answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    /// Nothing was sent.
    #[error("too many items of the tenant wait already")]
    Overloaded,
    /// The database did not answer in time. Whether something was done is unknown until the items are sent again.
    #[error("the outcome is unknown")]
    Unknown,
    /// A failure of ours, logged where it happened.
    #[error("internal error")]
    Failed,
}

/// Whether the items of a request are served one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomicity {
    /// Each item is served by itself.
    PerItem,
    /// Nothing is done unless every item can be served. Such a request is a batch of its own.
    AllOrNothing,
}

/// The work of a task, on the items of its queue.
pub(crate) trait BatchHandler: Send + 'static {
    /// The subject of a task.
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    type Item: Send + 'static;
    type Answer: Send + 'static;
    /// What all handlers of a batcher share.
    type Shared: Clone + Send + Sync + 'static;

    fn new(key: Self::Key, shared: &Self::Shared) -> Self;

    /// The answer to an item that was not worked on, or whose outcome is unknown.
    fn refuse(error: BatchError) -> Self::Answer;

    /// Answers each item, in their order.
    fn answer(
        &mut self,
        connection: &mut BatchConnection,
        items: &[Self::Item],
        atomicity: Atomicity,
        deadline: Instant,
    ) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// Small batches that are being worked on.
#[derive(Default)]
struct SmallBatches {
    count: AtomicUsize,
    none_left: Notify,
}

impl SmallBatches {
    fn begin(&self) -> SmallBatch<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        SmallBatch(self)
    }

    async fn yield_to_them(&self) {
        let end = Instant::now() + MAX_YIELD;
        loop {
            // Made before the look, so that no call between the two is missed.
            let none_left = self.none_left.notified();
            if self.count.load(Ordering::SeqCst) == 0 || timeout_at(end, none_left).await.is_err() {
                return;
            }
        }
    }
}

/// One of them, until it is dropped.
struct SmallBatch<'a>(&'a SmallBatches);

impl Drop for SmallBatch<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

/// Items of one caller, answered together.
struct Request<H: BatchHandler> {
    items: Vec<H::Item>,
    atomicity: Atomicity,
    deadline: Instant,
    reply: oneshot::Sender<Vec<H::Answer>>,
    /// Given back when the request is done with.
    permit: OwnedSemaphorePermit,
}

/// Unbounded, since `AdmissionControl` bounds what is in them.
type QueueMap<H> = HashMap<<H as BatchHandler>::Key, mpsc::UnboundedSender<Request<H>>>;

/// The tasks of one kind of work, and their queues. A clone counts one reference.
pub(crate) struct Batcher<H: BatchHandler>(Arc<Parts<H>>);

struct Parts<H: BatchHandler> {
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
        Self(Arc::new(Parts {
            database: database.clone(),
            tasks: tasks.clone(),
            admission: admission.clone(),
            shared,
            small_batches: Arc::default(),
            queues: Arc::default(),
        }))
    }

    /// Hands items to a task and waits for their answers, which come in the order of the items.
    pub(crate) async fn ask(
        &self,
        tenant: TenantId,
        key: H::Key,
        items: Vec<H::Item>,
        atomicity: Atomicity,
        timeout: Duration,
    ) -> Vec<H::Answer> {
        let count = items.len();
        let refuse = |error| (0..count).map(|_| H::refuse(error)).collect();
        let Some(permit) = self.0.admission.admit(tenant, count) else {
            return refuse(BatchError::Overloaded);
        };
        let deadline = Instant::now() + timeout;
        let (reply, answers) = oneshot::channel();
        self.enqueue(
            key,
            Request {
                items,
                atomicity,
                deadline,
                reply,
                permit,
            },
        );
        match timeout_at(deadline, answers).await {
            Ok(Ok(answers)) => answers,
            // Too late, or the task panicked and has dropped the sender.
            _ => refuse(BatchError::Unknown),
        }
    }

    /// Lets the tasks end when they have answered what is queued.
    pub(crate) fn close(&self) {
        self.queues().clear();
    }

    fn enqueue(&self, key: H::Key, mut request: Request<H>) {
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

/// The worker of one key.
struct Task<H: BatchHandler> {
    key: H::Key,
    queues: Arc<Mutex<QueueMap<H>>>,
    receiver: mpsc::UnboundedReceiver<Request<H>>,
    /// Taken from the queue, but not for the batch before.
    next: Option<Request<H>>,
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
            self.answer(requests).await;
            if begun.elapsed() > TIME_SLICE {
                self.connection.release();
            }
        }
    }

    /// Takes the requests that wait, up to a batch. `None` if there were none for a while and the task has left the map.
    async fn gather(&mut self) -> Option<Vec<Request<H>>> {
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

    async fn wait(&mut self) -> Option<Request<H>> {
        loop {
            if let Ok(next) = timeout(IDLE, self.receiver.recv()).await {
                return next;
            }
            // Senders hold this lock while they send: nothing can come between the look and the removal.
            let mut queues = self.queues.lock().expect("no holder of this lock panics");
            if self.receiver.is_empty() {
                queues.remove(&self.key);
                return None;
            }
        }
    }

    async fn answer(&mut self, mut requests: Vec<Request<H>>) {
        // Callers that have left are not worked for: nothing was done, and their retries come with the same keys.
        let now = Instant::now();
        requests.retain(|request| request.deadline > now);
        // The most patient decides; the others have left by then.
        let Some(deadline) = requests.iter().map(|request| request.deadline).max() else {
            return;
        };
        let atomicity = requests[0].atomicity;
        let mut items = Vec::new();
        let mut callers = Vec::with_capacity(requests.len());
        for request in requests {
            callers.push((request.reply, request.items.len(), request.permit));
            items.extend(request.items);
        }
        let small = if items.len() < LARGE {
            Some(self.small_batches.begin())
        } else {
            self.small_batches.yield_to_them().await;
            None
        };
        let answers = self
            .handler
            .answer(&mut self.connection, &items, atomicity, deadline);
        let mut answers = answers.await.into_iter();
        drop(small);
        for (reply, count, permit) in callers {
            // A caller that went away is no failure: its retry will find the answer.
            let _ = reply.send(answers.by_ref().take(count).collect());
            drop(permit);
        }
    }
}

/// A call of a database function that may be repeated.
pub(crate) trait DatabaseCall: Sync {
    /// Its name in the log.
    const NAME: &'static str;
    type Row: Send;

    /// Number of items.
    fn size(&self) -> usize;

    fn call(
        &self,
        connection: &mut PgConnection,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;
}

/// The connection of a task to the database.
pub(crate) struct BatchConnection {
    database: Database,
    /// Held while there is work, so that a batch costs one round trip.
    connection: Option<PoolConnection<Postgres>>,
}

impl BatchConnection {
    fn is_held(&self) -> bool {
        self.connection.is_some()
    }

    fn release(&mut self) {
        self.connection = None;
    }

    /// Makes a call, and repeats it until its outcome is known or the deadline has passed.
    pub(crate) async fn call<C: DatabaseCall>(
        &mut self,
        call: &C,
        deadline: Instant,
    ) -> Result<Vec<C::Row>, BatchError> {
        let (name, items) = (C::NAME, call.size());
        loop {
            let error = match timeout_at(deadline, self.try_call(call)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            // Whatever it was doing, it is not ours to use again.
            if let Some(connection) = self.connection.take() {
                drop(connection.detach());
            }
            match error {
                Some(error) if !is_unavailable(&error) && !is_alarm(&error) => {
                    tracing::error!(error = %Chain(&error), items, "{name} failed");
                    return Err(BatchError::Failed);
                }
                Some(error) if Instant::now() + RETRY_PAUSE < deadline => {
                    tracing::warn!(error = %Chain(&error), items, "{name} will be retried");
                    tokio::time::sleep(RETRY_PAUSE).await;
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

/// Whether the last line of defence fired, which the locks of the called functions should make impossible. Nothing was
/// written, and the next try evaluates anew.
fn is_alarm(error: &sqlx::Error) -> bool {
    let fired = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
    if fired {
        tracing::error!(error = %Chain(error), "ALARM: a unique constraint was violated although the lock of the set should prevent it");
    }
    fired
}
