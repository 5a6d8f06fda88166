//! Batching: requests for a set that arrive at the same time, answered by one call of `assign_batch`.
//!
//! A call that is made again has the same keys, so what had committed comes back as replayed.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Answer, AssignError, AssignResult, Item, Outcome, Target, db};
use crate::background::Tasks;
use crate::batching::{Atomicity, BatchConnection, BatchError, BatchHandler, Batcher};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::ids::SetKey;
use crate::load::AdmissionControl;

/// Calls for one batch: the set, the chain, followers of a contact, and chains that changed meanwhile.
const MAX_ROUNDS: u32 = 16;

/// The tasks that assign codes, one for each target.
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

    /// Hands items to the set's task and waits for their answers, which come in the order of the items.
    pub(super) async fn assign(
        &self,
        target: Target,
        items: Vec<Item>,
        atomicity: Atomicity,
        timeout: Duration,
    ) -> Vec<Answer> {
        self.0
            .ask(target.tenant, target, items, atomicity, timeout)
            .await
    }

    /// Lets the tasks end when they have answered what is queued.
    pub(in crate::assignments) fn close(&self) {
        self.0.close();
    }
}

/// The work of one target's task.
struct AssignBatch {
    target: Target,
    dirty_sets: DirtySets,
    /// The last batch ran into the children: the next one need not ask the set alone first.
    chain_first: bool,
}

impl BatchHandler for AssignBatch {
    type Key = Target;
    type Item = Item;
    type Answer = Answer;
    type Shared = DirtySets;

    fn new(target: Target, dirty_sets: &DirtySets) -> Self {
        Self {
            target,
            dirty_sets: dirty_sets.clone(),
            chain_first: false,
        }
    }

    fn refuse(error: BatchError) -> Answer {
        Err(error.into())
    }

    /// Answers each item. Of several items with one key the first goes to the database, and the others follow it.
    async fn answer(
        &mut self,
        connection: &mut BatchConnection,
        items: &[Item],
        atomicity: Atomicity,
        deadline: Instant,
    ) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; items.len()];
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
                &mut answers,
                deadline,
            )
            .await;
            for index in &open {
                let leader = leaders[&items[*index].key_hash];
                let answer = answers[leader]
                    .get_or_insert(Err(BatchError::Unknown.into()))
                    .clone();
                if leader != *index {
                    answers[*index] = follow(answer, &items[leader], &items[*index]);
                }
            }
            open.retain(|index| answers[*index].is_none());
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(BatchError::Unknown.into())))
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
        answers: &mut [Option<Answer>],
        deadline: Instant,
    ) {
        let mut chain = self.chain_first;
        for _ in 0..MAX_ROUNDS {
            let asked = pending.iter().map(|index| &items[*index]);
            let batch = db::Batch::new(self.target, asked, chain, atomicity);
            let rows = match connection.call(&batch, deadline).await {
                Ok(rows) => rows,
                Err(error) => {
                    for index in pending {
                        answers[index] = Some(Err(error.into()));
                    }
                    return;
                }
            };
            if atomicity == Atomicity::AllOrNothing && rows.iter().any(|row| row.fallback) {
                // Nothing was given; the children are asked for the whole.
                chain = true;
                continue;
            }
            let mut rest = Vec::new();
            let mut served_itself = false;
            let mut needs_chain = false;
            let mut served_by = None;
            for row in rows {
                let index = pending[row.index()];
                needs_chain |= row.fallback;
                if row.asks_again() {
                    rest.push(index);
                    continue;
                }
                let answer = row.into_answer();
                // Most batches are served by one set.
                if let Ok(AssignResult { key, .. }) = &answer
                    && served_by.replace(key.set_no) != Some(key.set_no)
                {
                    self.dirty_sets.mark(SetKey {
                        tenant: self.target.tenant,
                        set_no: key.set_no,
                    });
                }
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
            if rest.len() < pending.len() {
                // What could be given was given; the others are given the same code.
                atomicity = Atomicity::PerItem;
            }
            pending = rest;
            chain |= needs_chain;
        }
    }
}

/// The answer to an item whose key an earlier item of the batch has brought; `None` if it must ask itself, because what
/// was refused to another contact may be its own.
fn follow(answer: Answer, leader: &Item, item: &Item) -> Option<Answer> {
    let same_contact = leader.contact_id == item.contact_id;
    match answer {
        // What was assigned just now bears what the leader asked; the database does not repeat it.
        Ok(served) if same_contact && served.outcome == Outcome::Assigned => {
            Some(Ok(AssignResult {
                outcome: Outcome::Replayed,
                workflow_id: leader.workflow_id.clone(),
                node_id: leader.node_id.clone(),
                execution_id: leader.execution_id.clone(),
                ..served
            }))
        }
        Ok(served) if same_contact => Some(Ok(AssignResult {
            outcome: Outcome::Replayed,
            ..served
        })),
        // It may be one with the contact that was served.
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
