//! Recording: events of a set's assignments that arrive at the same time, written by one call of `record_events`.
//!
//! A call that is made again finds its events in the ledger and returns them as repeated; so the first answer after an
//! unknown outcome may say `repeated` of an event that it recorded itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, Event, NewEvent, RecordError, RecordOutcome, db};
use crate::background::Tasks;
use crate::batching::{Atomicity, BatchConnection, BatchError, BatchHandler, Batcher};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::ids::SetKey;
use crate::load::AdmissionControl;

/// The tasks that record, one for each set.
#[derive(Clone)]
pub(crate) struct EventBatcher(Batcher<RecordBatch>);

impl EventBatcher {
    pub(crate) fn new(
        database: &Database,
        admission: &AdmissionControl,
        dirty_sets: &DirtySets,
        tasks: &Tasks,
    ) -> Self {
        Self(Batcher::new(database, admission, dirty_sets.clone(), tasks))
    }

    /// Hands events to the set's task and waits for their answers, which come in the order of the events. Events of one
    /// assignment are recorded in their order.
    pub(crate) async fn record(
        &self,
        set: SetKey,
        events: Vec<NewEvent>,
        timeout: Duration,
    ) -> Vec<Answer> {
        self.0
            .ask(set.tenant, set, events, Atomicity::PerItem, timeout)
            .await
    }

    /// Lets the tasks end when they have answered what is queued.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// The work of one set's task.
struct RecordBatch {
    set: SetKey,
    dirty_sets: DirtySets,
}

impl BatchHandler for RecordBatch {
    type Key = SetKey;
    type Item = NewEvent;
    type Answer = Answer;
    type Shared = DirtySets;

    fn new(set: SetKey, dirty_sets: &DirtySets) -> Self {
        Self {
            set,
            dirty_sets: dirty_sets.clone(),
        }
    }

    fn refuse(error: BatchError) -> Answer {
        Err(RecordError::NotRecorded(error))
    }

    /// The database takes one event of an assignment at a time, so several go one after the other. An event that comes twice
    /// is sent once if its assignment has not changed in between.
    async fn answer(
        &mut self,
        connection: &mut BatchConnection,
        events: &[NewEvent],
        _: Atomicity,
        deadline: Instant,
    ) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; events.len()];
        let mut known: HashMap<(i64, i64), HashMap<Event, Answer>> = HashMap::new();
        let mut pending: Vec<usize> = (0..events.len()).collect();
        while !pending.is_empty() {
            let mut asked = HashSet::with_capacity(pending.len());
            let (mut now, mut later) = (Vec::new(), Vec::new());
            for index in pending {
                let event = &events[index];
                let known = known.get(&(event.number, event.millis));
                if asked.contains(&event.number) {
                    later.push(index);
                } else if let Some(answer) = known.and_then(|known| known.get(&event.event)) {
                    answers[index] = Some(answer.clone());
                } else {
                    asked.insert(event.number);
                    now.push(index);
                }
            }
            pending = later;
            if now.is_empty() {
                continue;
            }
            let batch = db::EventBatch::new(self.set, now.iter().map(|index| &events[*index]));
            match connection.call(&batch, deadline).await {
                Ok(rows) => {
                    self.dirty_sets.mark(self.set);
                    for row in rows {
                        let index = now[row.index()];
                        let event = &events[index];
                        let answer = row.into_answer();
                        let known = known.entry((event.number, event.millis)).or_default();
                        if matches!(answer, Ok((RecordOutcome::Recorded, _))) {
                            known.clear();
                        }
                        let again = answer
                            .clone()
                            .map(|(_, state)| (RecordOutcome::Repeated, state));
                        known.insert(event.event, again);
                        answers[index] = Some(answer);
                    }
                }
                Err(error) => {
                    // The others are not begun: an event after one whose outcome is unknown would be judged by it.
                    for index in now.into_iter().chain(pending) {
                        answers[index] = Some(Self::refuse(error));
                    }
                    break;
                }
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Self::refuse(BatchError::Failed)))
            .collect()
    }
}
