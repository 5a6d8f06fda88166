//! Batches requests for codes.
//!
//! Plain requests of many sets share a call of `assign_plain`. What it leaves is served set by set with `assign_batch`. A
//! retried call has the same keys, so assignments that it had already committed are returned as replayed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::plain::PlainCall;
use super::{AssignError, AssignOutcome, AssignReply, AssignResult, Item, Target, db, outcome};
use crate::background::Tasks;
use crate::batching::{Atomicity, BatchConnection, BatchError, BatchHandler, Batcher, KeyRequests};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::ids::{SetKey, TenantId};
use crate::load::AdmissionControl;
use crate::metrics::{self, AssignBatch};
use crate::witness::Witness;

/// Maximum number of calls per batch. More than one is needed for child sets, for a contact that occurs twice, and for a
/// chain that changed between lookup and lock.
const MAX_ROUNDS: u32 = 16;
/// Maximum number of sets whose last batch is remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Assigns codes. A clone shares the lanes.
#[derive(Clone)]
pub(in crate::assignments) struct AssignBatcher(Batcher<AssignHandler>);

impl AssignBatcher {
    pub(in crate::assignments) fn new(
        database: &Database,
        admission: &AdmissionControl,
        dirty_sets: &DirtySets,
        witness: &Witness,
        tasks: &Tasks,
    ) -> Self {
        let handler = AssignHandler {
            dirty_sets: dirty_sets.clone(),
            witness: witness.clone(),
            starts: Mutex::default(),
        };
        Self(Batcher::start(handler, database, admission, tasks))
    }

    /// Queues items of the target and returns their replies in the order of the items.
    pub(super) async fn assign(
        &self,
        target: Target,
        items: Vec<Item>,
        atomicity: Atomicity,
        timeout: Duration,
    ) -> Vec<AssignReply> {
        let Target { tenant, set, child } = target;
        let key = RequestedSet { tenant, set };
        let submitted = self.0.submit(tenant, key, child, items, atomicity, timeout);
        let replies = submitted.await;
        // The other outcomes are counted where they are known, because a caller may leave before.
        let overloaded = replies
            .iter()
            .filter(|reply| matches!(reply, Err(AssignError::Batch(BatchError::Overloaded))));
        metrics::assignments(overloaded.map(outcome));
        replies
    }

    /// Closes the queue: its lanes end after they have served what waits.
    pub(in crate::assignments) fn close(&self) {
        self.0.close();
    }
}

/// The set that requests name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RequestedSet {
    pub tenant: TenantId,
    pub set: Uuid,
}

/// The beginning of the next batch of a set, expected from the last one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With the requested set alone.
    Requested,
    /// With its child sets, because it could not serve.
    Chain,
}

struct AssignHandler {
    dirty_sets: DirtySets,
    witness: Witness,
    /// Sets that had no code left. Each entry is a hint: without it a batch takes more calls.
    starts: Mutex<HashMap<RequestedSet, Start>>,
}

impl BatchHandler for AssignHandler {
    type Key = RequestedSet;
    /// The child set that the requests name.
    type Group = Option<Uuid>;
    type Item = Item;
    type Reply = AssignReply;

    fn reject(error: BatchError) -> AssignReply {
        Err(error.into())
    }

    fn is_plain(&self, set: RequestedSet, child: Option<Uuid>, items: &[Item]) -> bool {
        child.is_none()
            && items.iter().all(|item| item.reserve_seconds.is_none())
            && !self.starts().contains_key(&set)
    }

    async fn serve_many(
        &self,
        connection: &mut BatchConnection,
        batch: &[KeyRequests<'_, RequestedSet, Item>],
        deadline: Instant,
    ) -> Option<Vec<Vec<Option<AssignReply>>>> {
        let call = PlainCall::new(batch);
        let mut replies: Vec<Vec<Option<AssignReply>>> = batch
            .iter()
            .map(|set| {
                set.requests
                    .iter()
                    .copied()
                    .flatten()
                    .map(|_| None)
                    .collect()
            })
            .collect();
        if call.is_empty() {
            return Some(replies);
        }
        let items = batch
            .iter()
            .flat_map(|set| set.requests.iter().copied().flatten());
        let measured = AssignBatch::begin(items.map(|item| item.queued_at));
        let mut served = vec![false; batch.len()];
        let rows = connection.call_once(&call, deadline).await?;
        let codes = rows
            .iter()
            .map(|row| row.record(batch[call.place(row).0].key));
        self.witness.record(codes);
        for row in rows {
            let (place, item) = call.place(&row);
            let set = batch[place].key;
            if !served[place] {
                served[place] = true;
                self.dirty_sets.mark(SetKey {
                    tenant: set.tenant,
                    set_no: row.set_no(),
                });
            }
            replies[place][item] = Some(Ok(row.into_result(set.set)));
        }
        measured.end(replies.iter().flatten().flatten().map(outcome));
        Some(replies)
    }

    /// Sends one item per key to the database; later items with the same key take their reply from it.
    async fn serve(
        &self,
        connection: &mut BatchConnection,
        set: RequestedSet,
        child: Option<Uuid>,
        items: &[&Item],
        atomicity: Atomicity,
        deadline: Instant,
    ) -> Vec<AssignReply> {
        let target = Target {
            tenant: set.tenant,
            set: set.set,
            child,
        };
        let measured = AssignBatch::begin(items.iter().map(|item| item.queued_at));
        let mut replies: Vec<Option<AssignReply>> = vec![None; items.len()];
        let mut open: Vec<usize> = (0..items.len()).collect();
        while !open.is_empty() {
            let mut leaders: HashMap<Uuid, usize> = HashMap::with_capacity(open.len());
            for index in &open {
                leaders.entry(items[*index].key_hash).or_insert(*index);
            }
            let mut pending: Vec<usize> = leaders.values().copied().collect();
            pending.sort_unstable();
            self.assign_leaders(
                connection,
                target,
                items,
                pending,
                atomicity,
                &mut replies,
                deadline,
            )
            .await;
            for index in &open {
                let leader = leaders[&items[*index].key_hash];
                let reply = replies[leader]
                    .get_or_insert(Err(BatchError::Unknown.into()))
                    .clone();
                if leader != *index {
                    replies[*index] = follow(reply, items[leader], items[*index]);
                }
            }
            open.retain(|index| replies[*index].is_none());
        }
        let replies: Vec<AssignReply> = replies
            .into_iter()
            .map(|reply| reply.unwrap_or(Err(BatchError::Unknown.into())))
            .collect();
        measured.end(replies.iter().map(outcome));
        replies
    }
}

impl AssignHandler {
    fn starts(&self) -> MutexGuard<'_, HashMap<RequestedSet, Start>> {
        self.starts.lock().expect("no holder of this lock panics")
    }

    /// Remembers how the next batch of a set begins: among those of other sets if the set served by itself.
    fn remember(&self, set: RequestedSet, start: Option<Start>) {
        let mut starts = self.starts();
        let Some(start) = start else {
            starts.remove(&set);
            return;
        };
        if starts.len() >= MAX_REMEMBERED {
            starts.clear();
        }
        starts.insert(set, start);
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one batch")]
    async fn assign_leaders(
        &self,
        connection: &mut BatchConnection,
        target: Target,
        items: &[&Item],
        mut pending: Vec<usize>,
        mut atomicity: Atomicity,
        replies: &mut [Option<AssignReply>],
        deadline: Instant,
    ) {
        let set = RequestedSet {
            tenant: target.tenant,
            set: target.set,
        };
        let mut chain = self.starts().get(&set) == Some(&Start::Chain);
        for _ in 0..MAX_ROUNDS {
            let batch_items = pending.iter().map(|index| items[*index]);
            let call = db::AssignCall::new(target, batch_items, chain, atomicity, &self.witness);
            let rows = match connection.call(&call, deadline).await {
                Ok(rows) => rows,
                Err(error) => {
                    for index in pending {
                        replies[index] = Some(Err(error.into()));
                    }
                    return;
                }
            };
            if atomicity == Atomicity::AllOrNothing && rows.iter().any(|row| row.fallback) {
                // Nothing was assigned; retry the whole batch with the child sets.
                chain = true;
                continue;
            }
            let mut retries = Vec::new();
            let mut is_exhausted = false;
            let mut needs_chain = false;
            let mut served_by = None;
            for row in rows {
                let index = pending[row.index()];
                needs_chain |= row.fallback;
                is_exhausted |= row.fallback;
                if row.must_retry() {
                    retries.push(index);
                    continue;
                }
                let reply = row.into_reply();
                // Most batches are served by one set, so a mark is skipped if the set is the same as before.
                if let Ok(AssignResult { key, .. }) = &reply
                    && served_by.replace(key.set_no) != Some(key.set_no)
                {
                    self.dirty_sets.mark(SetKey {
                        tenant: target.tenant,
                        set_no: key.set_no,
                    });
                }
                is_exhausted |= match &reply {
                    Ok(served) => {
                        served.outcome == AssignOutcome::Assigned && served.set != set.set
                    }
                    Err(error) => matches!(error, AssignError::Exhausted | AssignError::SetExpired),
                };
                replies[index] = Some(reply);
            }
            let start = if chain || needs_chain {
                Start::Chain
            } else {
                Start::Requested
            };
            self.remember(set, is_exhausted.then_some(start));
            if retries.is_empty() {
                return;
            }
            // Of the items of one contact, the first must be served first.
            retries.sort_unstable();
            if retries.len() < pending.len() {
                // Codes were assigned. The remaining items are for the same contacts and receive the same codes.
                atomicity = Atomicity::PerItem;
            }
            pending = retries;
            chain |= needs_chain;
        }
    }
}

/// Derives the reply to an item from that of the leader, the earlier item with the same key. Returns `None` if the item
/// must be sent itself, because an error for the contact of the leader may not apply to its own contact.
fn follow(reply: AssignReply, leader: &Item, item: &Item) -> Option<AssignReply> {
    let same_contact = leader.contact_id == item.contact_id;
    match reply {
        // A new assignment has the labels of the leader; the database does not return them.
        Ok(served) if same_contact && served.outcome == AssignOutcome::Assigned => {
            Some(Ok(AssignResult {
                outcome: AssignOutcome::Replayed,
                workflow_id: leader.workflow_id.clone(),
                node_id: leader.node_id.clone(),
                execution_id: leader.execution_id.clone(),
                ..served
            }))
        }
        Ok(served) if same_contact => Some(Ok(AssignResult {
            outcome: AssignOutcome::Replayed,
            ..served
        })),
        // The contacts may have been merged.
        Ok(served) if served.contact_id.is_some() => None,
        Ok(_) => Some(Err(AssignError::KeyReused)),
        Err(
            AssignError::KeyReused
            | AssignError::Held(_)
            | AssignError::LimitReached
            | AssignError::Ended(..)
            | AssignError::Exhausted
            | AssignError::SetExpired,
        ) if !same_contact => None,
        Err(error) => Some(Err(error)),
    }
}
