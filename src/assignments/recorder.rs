//! Recording: what is said of a set's assignments at the same time, written by one call of `record_events`.
//!
//! A call that is made again finds its events in the ledger and answers that they are repeated; so the first answer after
//! an unknown outcome may say `repeated` of what it recorded itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::life::{Answer, Change, Obstacle, Recording};
use super::queue::{Line, Queues, Waiting, Work};
use super::{Refusal, db};
use crate::database::Database;
use crate::tenants::TenantId;

/// A set, by the number that the ids of its assignments carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    pub tenant: TenantId,
    pub set_no: i32,
}

/// The tasks that record, one for each ledger.
#[derive(Clone)]
pub(crate) struct Recorder(Queues<Keeping>);

impl Recorder {
    pub(crate) fn new(database: Database, tracker: TaskTracker, waiting: Waiting) -> Self {
        Self(Queues::new(database, tracker, waiting))
    }

    /// Hands changes to the set's task and waits for their answers, which come in the order of the changes. Changes of
    /// one assignment are recorded in their order.
    pub(crate) async fn record(
        &self,
        ledger: Ledger,
        changes: Vec<Change>,
        patience: Duration,
    ) -> Vec<Answer> {
        self.0
            .ask(ledger.tenant, ledger, changes, false, patience)
            .await
    }

    /// Lets the tasks end when they have answered what is queued.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// The work of one ledger's task.
struct Keeping {
    ledger: Ledger,
}

impl Work for Keeping {
    type Key = Ledger;
    type Item = Change;
    type Answer = Answer;

    fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    fn refuse(refusal: Refusal) -> Answer {
        Err(Obstacle::Undone(refusal))
    }

    /// The database takes one change of an assignment at a time, so several go one after the other. What is said twice in a
    /// row is asked once; with another change in between the second may find another state.
    async fn answer(
        &mut self,
        line: &mut Line,
        changes: &[Change],
        _whole: bool,
        deadline: Instant,
    ) -> Vec<Answer> {
        let mut latest: HashMap<i64, usize> = HashMap::with_capacity(changes.len());
        let mut pending = Vec::with_capacity(changes.len());
        let mut follows = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let is_same = |said: &usize| {
                let said = &changes[*said];
                said.event == change.event && said.millis == change.millis
            };
            match latest.get(&change.number).copied().filter(is_same) {
                Some(said) => follows.push((index, said)),
                None => {
                    latest.insert(change.number, index);
                    pending.push(index);
                }
            }
        }
        let mut answers: Vec<Option<Answer>> = vec![None; changes.len()];
        while !pending.is_empty() {
            let mut taken = HashSet::with_capacity(pending.len());
            let (now, later): (Vec<usize>, Vec<usize>) = pending
                .into_iter()
                .partition(|index| taken.insert(changes[*index].number));
            let batch = db::Changes::new(self.ledger, now.iter().map(|index| &changes[*index]));
            match line.call(&batch, deadline).await {
                Ok(rows) => {
                    for row in rows {
                        let index = now[row.index()];
                        answers[index] = Some(row.into_answer());
                    }
                }
                Err(refusal) => {
                    for index in now {
                        answers[index] = Some(Self::refuse(refusal.clone()));
                    }
                }
            }
            pending = later;
        }
        for (index, said) in follows {
            answers[index] = answers[said]
                .clone()
                .map(|answer| answer.map(|(_, state)| (Recording::Repeated, state)));
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Self::refuse(Refusal::Internal)))
            .collect()
    }
}
