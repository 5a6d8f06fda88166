//! Batches requests for a set that arrive at the same time into one call of `assign_batch`.
//!
//! A retried call has the same keys, so assignments that it had already committed are returned as replayed.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{AssignError, AssignOutcome, AssignReply, AssignResult, Item, Target, db};
use crate::background::Tasks;
use crate::batching::{Atomicity, BatchConnection, BatchError, BatchHandler, Batcher};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::ids::SetKey;
use crate::load::AdmissionControl;

/// Maximum number of calls per batch. More than one is needed for child sets, for a contact that occurs twice, and for a
/// chain that changed between lookup and lock.
const MAX_ROUNDS: u32 = 16;

/// The tasks that assign codes, one per target.
#[derive(Clone)]
pub(in crate::assignments) struct AssignBatcher(Batcher<AssignBatch>);

impl AssignBatcher {
    pub(in crate::assignments) fn new(
        database: &Database,
        admission: &AdmissionControl,
        dirty_sets: &DirtySets,
        tasks: &Tasks,
    ) -> Self {
        Self(Batcher::new(database, admission, dirty_sets.clone(), tasks))
    }

    /// Queues items for the task of the target and returns their replies in the order of the items.
    pub(super) async fn assign(
        &self,
        target: Target,
        items: Vec<Item>,
        atomicity: Atomicity,
        timeout: Duration,
    ) -> Vec<AssignReply> {
        self.0
            .submit(target.tenant, target, items, atomicity, timeout)
            .await
    }

    /// Closes the queues: each task ends after it has processed its remaining items.
    pub(in crate::assignments) fn close(&self) {
        self.0.close();
    }
}

/// The handler of one target.
struct AssignBatch {
    target: Target,
    dirty_sets: DirtySets,
    /// The last batch needed the child sets, so the next one starts with the whole chain.
    chain_first: bool,
}

impl BatchHandler for AssignBatch {
    type Key = Target;
    type Item = Item;
    type Reply = AssignReply;
    type Shared = DirtySets;

    fn new(target: Target, dirty_sets: &DirtySets) -> Self {
        Self {
            target,
            dirty_sets: dirty_sets.clone(),
            chain_first: false,
        }
    }

    fn reject(error: BatchError) -> AssignReply {
        Err(error.into())
    }

    /// Sends one item per key to the database; later items with the same key take their reply from it.
    async fn handle(
        &mut self,
        connection: &mut BatchConnection,
        items: &[Item],
        atomicity: Atomicity,
        deadline: Instant,
    ) -> Vec<AssignReply> {
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
                    replies[*index] = follow(reply, &items[leader], &items[*index]);
                }
            }
            open.retain(|index| replies[*index].is_none());
        }
        replies
            .into_iter()
            .map(|reply| reply.unwrap_or(Err(BatchError::Unknown.into())))
            .collect()
    }
}

impl AssignBatch {
    async fn assign_leaders(
        &mut self,
        connection: &mut BatchConnection,
        items: &[Item],
        mut pending: Vec<usize>,
        mut atomicity: Atomicity,
        replies: &mut [Option<AssignReply>],
        deadline: Instant,
    ) {
        let mut chain = self.chain_first;
        for _ in 0..MAX_ROUNDS {
            let batch_items = pending.iter().map(|index| &items[*index]);
            let call = db::AssignCall::new(self.target, batch_items, chain, atomicity);
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
            let mut requested_set_served = false;
            let mut needs_chain = false;
            let mut served_by = None;
            for row in rows {
                let index = pending[row.index()];
                needs_chain |= row.fallback;
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
                        tenant: self.target.tenant,
                        set_no: key.set_no,
                    });
                }
                requested_set_served |= matches!(&reply, Ok(served)
                    if served.outcome == AssignOutcome::Assigned && served.set == self.target.set);
                replies[index] = Some(reply);
            }
            self.chain_first = if chain {
                !requested_set_served
            } else {
                needs_chain
            };
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
