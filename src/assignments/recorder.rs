//! Recording: what is said of a set's assignments at the same time, written by one call of `record_events`.
//!
//! A call that is made again finds its events in the ledger and answers that they are repeated; so the first answer after
//! an unknown outcome may say `repeated` of what it recorded itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::life::{Answer, Change, Event, Obstacle, Recording};
use super::queue::{Line, Queues, Waiting, Work};
use super::{Refusal, ledger};
use crate::database::Database;
use crate::outbox::Written;
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
    pub(crate) fn new(
        database: Database,
        tracker: TaskTracker,
        waiting: Waiting,
        written: Written,
    ) -> Self {
        Self(Queues::new(database, tracker, waiting, written))
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

    /// The database takes one change of an assignment at a time, so several go one after the other. What is told twice,
    /// and of an assignment that has not changed since, is asked once.
    async fn answer(
        &mut self,
        line: &mut Line,
        changes: &[Change],
        _whole: bool,
        deadline: Instant,
    ) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; changes.len()];
        let mut known: HashMap<(i64, i64), HashMap<Event, Answer>> = HashMap::new();
        let mut pending: Vec<usize> = (0..changes.len()).collect();
        while !pending.is_empty() {
            let mut asked = HashSet::with_capacity(pending.len());
            let (mut now, mut later) = (Vec::new(), Vec::new());
            for index in pending {
                let change = &changes[index];
                let known = known.get(&(change.number, change.millis));
                if asked.contains(&change.number) {
                    later.push(index);
                } else if let Some(answer) = known.and_then(|known| known.get(&change.event)) {
                    answers[index] = Some(answer.clone());
                } else {
                    asked.insert(change.number);
                    now.push(index);
                }
            }
            pending = later;
            if now.is_empty() {
                continue;
            }
            let batch = ledger::Changes::new(self.ledger, now.iter().map(|index| &changes[*index]));
            match line.call(&batch, deadline).await {
                Ok(rows) => {
                    line.written.note(self.ledger);
                    for row in rows {
                        let index = now[row.index()];
                        let change = &changes[index];
                        let answer = row.into_answer();
                        let known = known.entry((change.number, change.millis)).or_default();
                        if matches!(answer, Ok((Recording::Recorded, _))) {
                            known.clear();
                        }
                        let again = answer
                            .clone()
                            .map(|(_, state)| (Recording::Repeated, state));
                        known.insert(change.event, again);
                        answers[index] = Some(answer);
                    }
                }
                Err(refusal) => {
                    // Whatever else was told is not begun: what comes after what is unknown would be judged by it.
                    for index in now.into_iter().chain(pending) {
                        answers[index] = Some(Self::refuse(refusal.clone()));
                    }
                    break;
                }
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Self::refuse(Refusal::Internal)))
            .collect()
    }
}
