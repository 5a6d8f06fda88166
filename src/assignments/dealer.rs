//! Dealing: what is asked of a set at the same time, answered by one call of `assign_batch`.
//!
//! A call that is made again has the same keys, so what had committed comes back as replayed.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::queue::{Line, Queues, Waiting, Work};
use super::recorder::Ledger;
use super::{Outcome, Refusal, Served, db};
use crate::database::Database;
use crate::outbox::Written;
use crate::tenants::TenantId;

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
    pub reserve_seconds: Option<i32>,
    /// The id of the API key that asked.
    pub caller: Uuid,
}

pub(crate) type Answer = Result<Served, Refusal>;

/// Whom a task works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub tenant: TenantId,
    pub set: Uuid,
    pub child: Option<Uuid>,
}

/// What is done with a request that cannot be served as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Give {
    /// Each item is served by itself.
    Each,
    /// Nothing is given unless every item can be.
    AllOrNothing,
}

/// The tasks that deal, one for each target.
#[derive(Clone)]
pub(crate) struct Dealer(Queues<Dealing>);

impl Dealer {
    pub(crate) fn new(
        database: Database,
        tracker: TaskTracker,
        waiting: Waiting,
        written: Written,
    ) -> Self {
        Self(Queues::new(database, tracker, waiting, written))
    }

    /// Hands items to the set's task and waits for their answers, which come in the order of the items.
    pub(crate) async fn deal(
        &self,
        target: Target,
        items: Vec<Item>,
        give: Give,
        patience: Duration,
    ) -> Vec<Answer> {
        let whole = give == Give::AllOrNothing;
        self.0
            .ask(target.tenant, target, items, whole, patience)
            .await
    }

    /// Lets the tasks end when they have answered what is queued.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// The work of one target's task.
struct Dealing {
    target: Target,
    /// The last batch ran into the children: the next one need not ask the set alone first.
    chain_first: bool,
}

impl Work for Dealing {
    type Key = Target;
    type Item = Item;
    type Answer = Answer;

    fn new(target: Target) -> Self {
        Self {
            target,
            chain_first: false,
        }
    }

    fn refuse(refusal: Refusal) -> Answer {
        Err(refusal)
    }

    /// Answers each item. Of several items with one key the first goes to the database, and the others follow it.
    async fn answer(
        &mut self,
        line: &mut Line,
        items: &[Item],
        whole: bool,
        deadline: Instant,
    ) -> Vec<Answer> {
        let give = if whole {
            Give::AllOrNothing
        } else {
            Give::Each
        };
        let mut answers: Vec<Option<Answer>> = vec![None; items.len()];
        let mut open: Vec<usize> = (0..items.len()).collect();
        while !open.is_empty() {
            let mut leaders: HashMap<Uuid, usize> = HashMap::with_capacity(open.len());
            for index in &open {
                leaders.entry(items[*index].key_hash).or_insert(*index);
            }
            let mut pending: Vec<usize> = leaders.values().copied().collect();
            pending.sort_unstable();
            self.deal_leaders(line, items, pending, give, &mut answers, deadline)
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
}

impl Dealing {
    async fn deal_leaders(
        &mut self,
        line: &mut Line,
        items: &[Item],
        mut pending: Vec<usize>,
        mut give: Give,
        answers: &mut [Option<Answer>],
        deadline: Instant,
    ) {
        let mut chain = self.chain_first;
        for _ in 0..MAX_ROUNDS {
            let asked = pending.iter().map(|index| &items[*index]);
            let batch = db::Batch::new(self.target, asked, chain, give == Give::AllOrNothing);
            let rows = match line.call(&batch, deadline).await {
                Ok(rows) => rows,
                Err(refusal) => {
                    for index in pending {
                        answers[index] = Some(Err(refusal.clone()));
                    }
                    return;
                }
            };
            if give == Give::AllOrNothing && rows.iter().any(|row| row.fallback) {
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
                if let Ok(Served { place, .. }) = &answer
                    && served_by.replace(place.set_no) != Some(place.set_no)
                {
                    line.written.note(Ledger {
                        tenant: self.target.tenant,
                        set_no: place.set_no,
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
                give = Give::Each;
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
        // It may be one with the contact that was served.
        Ok(served) if served.contact_id.is_some() => None,
        Ok(_) => Some(Err(Refusal::KeyReused)),
        Err(
            Refusal::KeyReused
            | Refusal::Held(_)
            | Refusal::LimitReached
            | Refusal::Ended(..)
            | Refusal::Exhausted
            | Refusal::SetExpired,
        ) if !same_contact => None,
        Err(refusal) => Some(Err(refusal)),
    }
}
