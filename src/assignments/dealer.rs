//! Natural batching: what is asked of a set while a batch is at the database goes out together as the next one.
//!
//! One task per (tenant, requested set, child) and replica. It never waits for more than is there, so an idle set adds
//! no latency. The work belongs to the task, not to the handler: a client that goes away changes nothing. A batch whose
//! outcome is unknown is sent again with the same keys, and what had committed comes back as replayed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Outcome, Refusal, Served, db};
use crate::database::Database;
use crate::error::{Chain, is_unavailable};
use crate::tenants::TenantId;

/// Items that go to the database in one call, unless a request alone has more.
const MAX_BATCH: usize = 512;
/// Items of one tenant that may wait at this replica.
const MAX_WAITING: usize = 20_000;
/// How long a caller waits for one code before it is told that the outcome is unknown.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The same for the caller of a batch, which may be thousands of codes long.
pub(crate) const BATCH_PATIENCE: Duration = Duration::from_secs(25);
/// How long a task without work stays.
const IDLE: Duration = Duration::from_secs(30);
/// Pause before a batch is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long a task without work keeps its connection: callers that ask one after the other share it.
const HOLD: Duration = Duration::from_millis(2);
/// How long a task keeps its connection before it lets the others at it.
const TURN: Duration = Duration::from_millis(50);
/// Calls for one batch: the set, the chain, followers of a contact, and chains that changed meanwhile.
const MAX_ROUNDS: u32 = 16;

/// One item of what is asked of a set.
#[derive(Debug)]
pub(crate) struct Item {
    pub key_hash: Uuid,
    pub contact_id: String,
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub execution_id: Option<String>,
}

pub(crate) type Answer = Result<Served, Refusal>;

/// Whom a task works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub tenant: TenantId,
    pub set: Uuid,
    pub child: Option<Uuid>,
}

/// Items of one caller, answered together.
struct Request {
    items: Vec<Item>,
    deadline: Instant,
    reply: oneshot::Sender<Vec<Answer>>,
    /// Given back when the request is done with.
    waiting: OwnedSemaphorePermit,
}

/// The tasks and their queues.
#[derive(Debug, Clone)]
pub(crate) struct Dealer {
    database: Database,
    tracker: TaskTracker,
    queues: Arc<Mutex<Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    /// Unbounded, since `waiting` bounds what is in them.
    tasks: HashMap<Target, mpsc::UnboundedSender<Request>>,
    waiting: HashMap<TenantId, Arc<Semaphore>>,
}

impl Dealer {
    pub(crate) fn new(database: Database, tracker: TaskTracker) -> Self {
        Self {
            database,
            tracker,
            queues: Arc::default(),
        }
    }

    /// Hands items to the set's task and waits for their answers, which come in the order of the items.
    pub(crate) async fn deal(
        &self,
        target: Target,
        items: Vec<Item>,
        patience: Duration,
    ) -> Vec<Answer> {
        let count = items.len();
        let refuse = |refusal: Refusal| vec![Err(refusal); count];
        let deadline = Instant::now() + patience;
        let Some(reply) = self.enqueue(target, items, deadline) else {
            return refuse(Refusal::Overloaded);
        };
        match timeout_at(deadline, reply).await {
            Ok(Ok(answers)) => answers,
            // Too late, or the task panicked and has dropped the sender.
            _ => refuse(Refusal::Unknown),
        }
    }

    /// Lets the tasks end when they have answered what is queued.
    pub(crate) fn close(&self) {
        self.queues
            .lock()
            .expect("no holder of this lock panics")
            .tasks
            .clear();
    }

    fn enqueue(
        &self,
        target: Target,
        items: Vec<Item>,
        deadline: Instant,
    ) -> Option<oneshot::Receiver<Vec<Answer>>> {
        let mut queues = self.queues.lock().expect("no holder of this lock panics");
        let waiting = queues
            .waiting
            .entry(target.tenant)
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_WAITING)));
        let permits = u32::try_from(items.len()).ok()?;
        let permit = Arc::clone(waiting).try_acquire_many_owned(permits).ok()?;
        let (reply, answers) = oneshot::channel();
        let mut request = Request {
            items,
            deadline,
            reply,
            waiting: permit,
        };
        if let Some(task) = queues.tasks.get(&target) {
            match task.send(request) {
                Ok(()) => return Some(answers),
                // The task panicked.
                Err(mpsc::error::SendError(returned)) => request = returned,
            }
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(request).ok()?;
        queues.tasks.insert(target, sender);
        let task = Task {
            target,
            database: self.database.clone(),
            queues: Arc::clone(&self.queues),
            receiver,
            connection: None,
            chain_first: false,
        };
        self.tracker.spawn(task.run());
        Some(answers)
    }
}

/// The worker of one target.
struct Task {
    target: Target,
    database: Database,
    queues: Arc<Mutex<Queues>>,
    receiver: mpsc::UnboundedReceiver<Request>,
    /// Held while there is work, so that a batch costs one round trip.
    connection: Option<PoolConnection<Postgres>>,
    /// The last batch ran into the children: the next one need not ask the set alone first.
    chain_first: bool,
}

impl Task {
    async fn run(mut self) {
        let mut turn = Instant::now();
        while let Some(requests) = self.gather().await {
            if self.connection.is_none() {
                turn = Instant::now();
            }
            self.answer(requests).await;
            if turn.elapsed() > TURN {
                self.connection = None;
            }
        }
    }

    /// Takes what is waiting, up to a batch. `None` when there was nothing for a while and the task has signed off.
    async fn gather(&mut self) -> Option<Vec<Request>> {
        let first = if let Ok(next) = timeout(HOLD, self.receiver.recv()).await {
            next?
        } else {
            self.connection = None;
            self.wait().await?
        };
        let mut count = first.items.len();
        let mut requests = vec![first];
        while count < MAX_BATCH
            && let Ok(next) = self.receiver.try_recv()
        {
            count += next.items.len();
            requests.push(next);
        }
        Some(requests)
    }

    async fn wait(&mut self) -> Option<Request> {
        loop {
            if let Ok(next) = timeout(IDLE, self.receiver.recv()).await {
                return next;
            }
            // Senders hold this lock while they send: nothing can come between the look and the removal.
            let mut queues = self.queues.lock().expect("no holder of this lock panics");
            if self.receiver.is_empty() {
                queues.tasks.remove(&self.target);
                return None;
            }
        }
    }

    async fn answer(&mut self, mut requests: Vec<Request>) {
        // Callers that have left are not worked for: nothing was done, and their retries come with the same keys.
        let now = Instant::now();
        requests.retain(|request| request.deadline > now);
        // The most patient decides; the others have left by then.
        let deadline = requests
            .iter()
            .map(|request| request.deadline)
            .max()
            .unwrap_or_else(Instant::now);
        let (requests, items): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .map(|request| {
                (
                    (request.reply, request.items.len(), request.waiting),
                    request.items,
                )
            })
            .unzip();
        let items: Vec<Item> = items.into_iter().flatten().collect();
        let mut answers = self.deal(&items, deadline).await.into_iter();
        for (reply, count, waiting) in requests {
            // A caller that went away is no failure: its retry will find the answer.
            let _ = reply.send(answers.by_ref().take(count).collect());
            drop(waiting);
        }
    }

    /// Answers each item. Of several items with one key the first goes to the database, and the others follow it.
    async fn deal(&mut self, items: &[Item], deadline: Instant) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; items.len()];
        let mut open: Vec<usize> = (0..items.len()).collect();
        while !open.is_empty() {
            let mut leaders: HashMap<Uuid, usize> = HashMap::with_capacity(open.len());
            for index in &open {
                leaders.entry(items[*index].key_hash).or_insert(*index);
            }
            let mut pending: Vec<usize> = leaders.values().copied().collect();
            pending.sort_unstable();
            self.deal_leaders(items, pending, &mut answers, deadline)
                .await;
            for index in &open {
                let leader = leaders[&items[*index].key_hash];
                let answer = answers[leader].get_or_insert(Err(Refusal::Unknown)).clone();
                if leader != *index {
                    answers[*index] = follow(answer, &items[leader], &items[*index]);
                }
            }
            open.retain(|index| answers[*index].is_none());
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(Refusal::Unknown)))
            .collect()
    }

    async fn deal_leaders(
        &mut self,
        items: &[Item],
        mut pending: Vec<usize>,
        answers: &mut [Option<Answer>],
        deadline: Instant,
    ) {
        let mut chain = self.chain_first;
        for _ in 0..MAX_ROUNDS {
            let rows = match self.call(items, &pending, chain, deadline).await {
                Ok(rows) => rows,
                Err(refusal) => {
                    for index in pending {
                        answers[index] = Some(Err(refusal.clone()));
                    }
                    return;
                }
            };
            let mut rest = Vec::new();
            let mut served_itself = false;
            let mut needs_chain = false;
            for row in rows {
                let index = pending[row.index()];
                needs_chain |= row.fallback;
                if row.asks_again() {
                    rest.push(index);
                    continue;
                }
                let answer = row.into_answer();
                served_itself |= matches!(&answer, Ok(served)
                    if served.outcome == Outcome::Assigned && served.set == self.target.set);
                answers[index] = Some(answer);
            }
            self.chain_first = if chain { !served_itself } else { needs_chain };
            if rest.is_empty() {
                return;
            }
            // Order matters to contacts that occur twice: the first of them is served.
            rest.sort_unstable();
            pending = rest;
            chain |= needs_chain;
        }
    }

    /// One batch in one call, sent again while its outcome is unknown and there is time.
    async fn call(
        &mut self,
        items: &[Item],
        pending: &[usize],
        chain: bool,
        deadline: Instant,
    ) -> Result<Vec<db::BatchRow>, Refusal> {
        let batch = db::Batch::new(self.target, pending.iter().map(|index| &items[*index]));
        loop {
            let error = match timeout_at(deadline, self.try_call(&batch, chain)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            // Whatever it was doing, it is not ours to use again.
            if let Some(connection) = self.connection.take() {
                drop(connection.detach());
            }
            match error {
                Some(error) if !is_unavailable(&error) && !is_alarm(&error) => {
                    tracing::error!(error = %Chain(&error), items = pending.len(), "a batch of assignments failed");
                    return Err(Refusal::Internal);
                }
                Some(error) if Instant::now() + RETRY_PAUSE < deadline => {
                    tracing::warn!(error = %Chain(&error), items = pending.len(), "a batch of assignments is sent again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                _ => {
                    tracing::warn!(
                        items = pending.len(),
                        "the outcome of a batch of assignments is unknown"
                    );
                    return Err(Refusal::Unknown);
                }
            }
        }
    }

    async fn try_call(
        &mut self,
        batch: &db::Batch<'_>,
        chain: bool,
    ) -> sqlx::Result<Vec<db::BatchRow>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.database.tasks().acquire().await?),
        };
        db::assign_batch(connection, batch, chain).await
    }
}

/// Whether the last line of defence fired, which the set's lock should make impossible. Nothing was handed out, and the
/// next try judges anew.
fn is_alarm(error: &sqlx::Error) -> bool {
    let fired = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
    if fired {
        tracing::error!(error = %Chain(error), "ALARM: the log refused an assignment that was to be a second one");
    }
    fired
}

/// The answer to an item whose key an earlier item of the batch has brought; `None` if it must ask itself, because what
/// was refused to another contact may be its own.
fn follow(answer: Answer, leader: &Item, item: &Item) -> Option<Answer> {
    let same_contact = leader.contact_id == item.contact_id;
    match answer {
        // What was assigned just now bears what the leader asked; the database does not repeat it.
        Ok(served) if same_contact && served.outcome == Outcome::Assigned => Some(Ok(Served {
            outcome: Outcome::Replayed,
            workflow_id: leader.workflow_id.clone(),
            node_id: leader.node_id.clone(),
            execution_id: leader.execution_id.clone(),
            ..served
        })),
        Ok(served) if same_contact => Some(Ok(Served {
            outcome: Outcome::Replayed,
            ..served
        })),
        Ok(_) => Some(Err(Refusal::KeyReused)),
        Err(Refusal::KeyReused | Refusal::Held(..)) if !same_contact => None,
        Err(refusal) => Some(Err(refusal)),
    }
}
