//! Natural batching: what is asked of a set while a batch is at the database goes out together as the next one.
//!
//! One task per key (of whom it works for) and replica. It never waits for more than is there, so an idle set adds no
//! latency. The work belongs to the task, not to the handler: a client that goes away changes nothing. A batch whose
//! outcome is unknown is sent again as it is; the database functions answer what they had done before. Large batches give
//! way to small ones, so that a set which is asked now and then does not queue for the processor behind a hot one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::Refusal;
use crate::database::Database;
use crate::error::{Chain, is_unavailable};
use crate::outbox::Written;
use crate::tenants::TenantId;

/// Items that go to the database in one call, unless a request alone has more.
const MAX_BATCH: usize = 512;
/// Items of one tenant that may wait at this replica.
const MAX_WAITING: usize = 20_000;
/// How long a caller waits for one answer before it is told that the outcome is unknown.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a caller with thousands of items.
pub(crate) const BATCH_PATIENCE: Duration = Duration::from_secs(25);
/// How long a task without work stays.
const IDLE: Duration = Duration::from_secs(30);
/// Pause before a batch is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long a task without work keeps its connection: callers that ask one after the other share it.
const HOLD: Duration = Duration::from_millis(2);
/// How long a task keeps its connection before it lets the others at it.
const TURN: Duration = Duration::from_millis(50);

/// A batch of fewer items than these is small.
const LARGE: usize = 16;
/// How long a large batch gives way at most.
const GIVE_WAY: Duration = Duration::from_millis(10);

/// What a task does with the items of its queue.
pub(super) trait Work: Send + 'static {
    /// Whom a task works for.
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    type Item: Send + 'static;
    type Answer: Send + 'static;

    fn new(key: Self::Key) -> Self;

    /// The answer to an item that was not worked on, or whose outcome is unknown.
    fn refuse(refusal: Refusal) -> Self::Answer;

    /// Answers each item, in their order. With `whole` they are all of one request that is served as a whole.
    fn answer(
        &mut self,
        line: &mut Line,
        items: &[Self::Item],
        whole: bool,
        deadline: Instant,
    ) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// How long after a request the replica counts as asked for codes.
const ASKED: Duration = Duration::from_millis(200);
/// How many times as long as it worked other work pauses while codes are asked for.
const PAUSES: u32 = 2;
/// The longest of its pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Items that wait at this replica, by tenant: one hot set cannot starve the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    tenants: HashMap<TenantId, Arc<Semaphore>>,
    last_asked: Option<Instant>,
}

impl Waiting {
    /// Whether somebody has asked for a code, or told of one, a moment ago: then other work should hold itself back.
    pub(crate) fn is_asked(&self) -> bool {
        let last = self.lock().last_asked;
        last.is_some_and(|last| last.elapsed() < ASKED)
    }

    /// What other work calls between its pieces, with how long the last one took: while codes are asked for it pauses, so
    /// that it has a third of the time. What slows the requests is less its share of the processors than the disk, which
    /// writes what it left behind before it confirms a commit of theirs.
    pub(crate) async fn give_way(&self, worked: Duration) {
        if self.is_asked() {
            tokio::time::sleep((worked * PAUSES).min(LONGEST_PAUSE)).await;
        }
    }

    /// `None` if too much of this tenant waits already.
    fn admit(&self, tenant: TenantId, items: usize) -> Option<OwnedSemaphorePermit> {
        let mut waits = self.lock();
        waits.last_asked = Some(Instant::now());
        let waiting = waits
            .tenants
            .entry(tenant)
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_WAITING)));
        Arc::clone(waiting)
            .try_acquire_many_owned(u32::try_from(items).ok()?)
            .ok()
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().expect("no holder of this lock panics")
    }
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

    async fn give_way(&self) {
        let end = Instant::now() + GIVE_WAY;
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
struct Request<W: Work> {
    items: Vec<W::Item>,
    /// They are worked on as a whole, apart from others.
    whole: bool,
    deadline: Instant,
    reply: oneshot::Sender<Vec<W::Answer>>,
    /// Given back when the request is done with.
    permit: OwnedSemaphorePermit,
}

/// Unbounded, since `Waiting` bounds what is in them.
type Tasks<W> = HashMap<<W as Work>::Key, mpsc::UnboundedSender<Request<W>>>;

/// The tasks of one kind of work, and their queues.
pub(super) struct Queues<W: Work> {
    database: Database,
    tracker: TaskTracker,
    waiting: Waiting,
    written: Written,
    small_batches: Arc<SmallBatches>,
    tasks: Arc<Mutex<Tasks<W>>>,
}

impl<W: Work> Clone for Queues<W> {
    fn clone(&self) -> Self {
        Self {
            database: self.database.clone(),
            tracker: self.tracker.clone(),
            waiting: self.waiting.clone(),
            written: self.written.clone(),
            small_batches: Arc::clone(&self.small_batches),
            tasks: Arc::clone(&self.tasks),
        }
    }
}

impl<W: Work> Queues<W> {
    pub(super) fn new(
        database: Database,
        tracker: TaskTracker,
        waiting: Waiting,
        written: Written,
    ) -> Self {
        Self {
            database,
            tracker,
            waiting,
            written,
            small_batches: Arc::default(),
            tasks: Arc::default(),
        }
    }

    /// Hands items to a task and waits for their answers, which come in the order of the items.
    pub(super) async fn ask(
        &self,
        tenant: TenantId,
        key: W::Key,
        items: Vec<W::Item>,
        whole: bool,
        patience: Duration,
    ) -> Vec<W::Answer> {
        let count = items.len();
        let refuse = |refusal: &Refusal| (0..count).map(|_| W::refuse(refusal.clone())).collect();
        let Some(permit) = self.waiting.admit(tenant, count) else {
            return refuse(&Refusal::Overloaded);
        };
        let deadline = Instant::now() + patience;
        let (reply, answers) = oneshot::channel();
        self.enqueue(
            key,
            Request {
                items,
                whole,
                deadline,
                reply,
                permit,
            },
        );
        match timeout_at(deadline, answers).await {
            Ok(Ok(answers)) => answers,
            // Too late, or the task panicked and has dropped the sender.
            _ => refuse(&Refusal::Unknown),
        }
    }

    /// Lets the tasks end when they have answered what is queued.
    pub(super) fn close(&self) {
        self.tasks
            .lock()
            .expect("no holder of this lock panics")
            .clear();
    }

    fn enqueue(&self, key: W::Key, mut request: Request<W>) {
        let mut tasks = self.tasks.lock().expect("no holder of this lock panics");
        if let Some(task) = tasks.get(&key) {
            match task.send(request) {
                Ok(()) => return,
                // The task panicked.
                Err(mpsc::error::SendError(returned)) => request = returned,
            }
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(request).expect("the receiver is here");
        tasks.insert(key, sender);
        let task = Task::<W> {
            key,
            tasks: Arc::clone(&self.tasks),
            receiver,
            next: None,
            work: W::new(key),
            small_batches: Arc::clone(&self.small_batches),
            line: Line {
                database: self.database.clone(),
                connection: None,
                written: self.written.clone(),
            },
        };
        self.tracker.spawn(task.run());
    }
}

/// The worker of one key.
struct Task<W: Work> {
    key: W::Key,
    tasks: Arc<Mutex<Tasks<W>>>,
    receiver: mpsc::UnboundedReceiver<Request<W>>,
    /// Taken from the queue, but not for the batch before.
    next: Option<Request<W>>,
    work: W,
    small_batches: Arc<SmallBatches>,
    line: Line,
}

impl<W: Work> Task<W> {
    async fn run(mut self) {
        let mut turn = Instant::now();
        while let Some(requests) = self.gather().await {
            if self.line.connection.is_none() {
                turn = Instant::now();
            }
            self.answer(requests).await;
            if turn.elapsed() > TURN {
                self.line.connection = None;
            }
        }
    }

    /// Takes what is waiting, up to a batch. `None` when there was nothing for a while and the task has signed off.
    async fn gather(&mut self) -> Option<Vec<Request<W>>> {
        let first = if let Some(next) = self.next.take() {
            next
        } else if let Ok(next) = timeout(HOLD, self.receiver.recv()).await {
            next?
        } else {
            self.line.connection = None;
            self.wait().await?
        };
        let mut count = first.items.len();
        let mut requests = vec![first];
        while !requests[0].whole
            && count < MAX_BATCH
            && let Ok(next) = self.receiver.try_recv()
        {
            if next.whole {
                self.next = Some(next);
                break;
            }
            count += next.items.len();
            requests.push(next);
        }
        Some(requests)
    }

    async fn wait(&mut self) -> Option<Request<W>> {
        loop {
            if let Ok(next) = timeout(IDLE, self.receiver.recv()).await {
                return next;
            }
            // Senders hold this lock while they send: nothing can come between the look and the removal.
            let mut tasks = self.tasks.lock().expect("no holder of this lock panics");
            if self.receiver.is_empty() {
                tasks.remove(&self.key);
                return None;
            }
        }
    }

    async fn answer(&mut self, mut requests: Vec<Request<W>>) {
        // Callers that have left are not worked for: nothing was done, and their retries come with the same keys.
        let now = Instant::now();
        requests.retain(|request| request.deadline > now);
        // The most patient decides; the others have left by then.
        let Some(deadline) = requests.iter().map(|request| request.deadline).max() else {
            return;
        };
        let whole = requests[0].whole;
        let mut items = Vec::new();
        let mut callers = Vec::with_capacity(requests.len());
        for request in requests {
            callers.push((request.reply, request.items.len(), request.permit));
            items.extend(request.items);
        }
        let small = if items.len() < LARGE {
            Some(self.small_batches.begin())
        } else {
            self.small_batches.give_way().await;
            None
        };
        let answers = self.work.answer(&mut self.line, &items, whole, deadline);
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
pub(super) trait Call: Sync {
    /// What the log calls it.
    const NAME: &'static str;
    type Row: Send;

    /// How many items it has.
    fn size(&self) -> usize;

    fn call(
        &self,
        connection: &mut PgConnection,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;
}

/// A task's way to the database.
pub(super) struct Line {
    database: Database,
    /// Held while there is work, so that a batch costs one round trip.
    connection: Option<PoolConnection<Postgres>>,
    /// What is told of the sets that it wrote to.
    pub(super) written: Written,
}

impl Line {
    /// Makes a call, again until its outcome is known or there is no more time.
    pub(super) async fn call<C: Call>(
        &mut self,
        call: &C,
        deadline: Instant,
    ) -> Result<Vec<C::Row>, Refusal> {
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
                    return Err(Refusal::Internal);
                }
                Some(error) if Instant::now() + RETRY_PAUSE < deadline => {
                    tracing::warn!(error = %Chain(&error), items, "{name} will be retried");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                _ => {
                    tracing::warn!(items, "the outcome of {name} is unknown");
                    return Err(Refusal::Unknown);
                }
            }
        }
    }

    async fn try_call<C: Call>(&mut self, call: &C) -> sqlx::Result<Vec<C::Row>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.database.tasks().acquire().await?),
        };
        call.call(connection).await
    }
}

/// Whether the last line of defence fired, which the set's lock should make impossible. Nothing was written, and the
/// next try judges anew.
fn is_alarm(error: &sqlx::Error) -> bool {
    let fired = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
    if fired {
        tracing::error!(error = %Chain(error), "ALARM: a unique constraint was violated although the lock of the set should prevent it");
    }
    fired
}
