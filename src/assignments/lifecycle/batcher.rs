//! Batches events of assignments of one set that arrive at the same time into one call of `record_events`.
//!
//! A retried call finds its events in the ledger and returns them as repeated. So the first response after an unknown
//! outcome may be `repeated` for an event that the same request recorded.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Event, NewEvent, RecordError, RecordOutcome, RecordReply, db};
use crate::background::Tasks;
use crate::batching::{Atomicity, BatchConnection, BatchError, BatchHandler, Batcher};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::ids::SetKey;
use crate::load::AdmissionControl;

/// The tasks that record events, one per set.
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

    /// Queues events for the task of the set and returns their replies in the order of the events. Events of one assignment
    /// are recorded in that order too.
    pub(crate) async fn record(
        &self,
        set: SetKey,
        events: Vec<NewEvent>,
        timeout: Duration,
    ) -> Vec<RecordReply> {
        self.0
            .submit(set.tenant, set, events, Atomicity::PerItem, timeout)
            .await
    }

    /// Closes the queues: each task ends after it has recorded its remaining events.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// The handler of one set.
struct RecordBatch {
    set: SetKey,
    dirty_sets: DirtySets,
}

impl BatchHandler for RecordBatch {
    type Key = SetKey;
    type Item = NewEvent;
    type Reply = RecordReply;
    type Shared = DirtySets;

    fn new(set: SetKey, dirty_sets: &DirtySets) -> Self {
        Self {
            set,
            dirty_sets: dirty_sets.clone(),
        }
    }

    fn reject(error: BatchError) -> RecordReply {
        Err(RecordError::NotRecorded(error))
    }

    /// A call can contain only one event per assignment, so several events of one assignment take several calls. A repeated
    /// event is sent once if its assignment has not changed in between.
    async fn handle(
        &mut self,
        connection: &mut BatchConnection,
        events: &[NewEvent],
        _: Atomicity,
        deadline: Instant,
    ) -> Vec<RecordReply> {
        let mut replies: Vec<Option<RecordReply>> = vec![None; events.len()];
        let mut known: HashMap<(i64, i64), HashMap<Event, RecordReply>> = HashMap::new();
        let mut pending: Vec<usize> = (0..events.len()).collect();
        while !pending.is_empty() {
            let mut assignments = HashSet::with_capacity(pending.len());
            let (mut now, mut later) = (Vec::new(), Vec::new());
            for index in pending {
                let event = &events[index];
                let known = known.get(&(event.number, event.id_millis));
                if assignments.contains(&event.number) {
                    later.push(index);
                } else if let Some(reply) = known.and_then(|known| known.get(&event.event)) {
                    replies[index] = Some(reply.clone());
                } else {
                    assignments.insert(event.number);
                    now.push(index);
                }
            }
            pending = later;
            if now.is_empty() {
                continue;
            }
            let call = db::RecordCall::new(self.set, now.iter().map(|index| &events[*index]));
            match connection.call(&call, deadline).await {
                Ok(rows) => {
                    self.dirty_sets.mark(self.set);
                    for row in rows {
                        let index = now[row.index()];
                        let event = &events[index];
                        let reply = row.into_reply();
                        let known = known.entry((event.number, event.id_millis)).or_default();
                        if matches!(reply, Ok((RecordOutcome::Recorded, _))) {
                            known.clear();
                        }
                        let again = reply
                            .clone()
                            .map(|(_, state)| (RecordOutcome::Repeated, state));
                        known.insert(event.event, again);
                        replies[index] = Some(reply);
                    }
                }
                Err(error) => {
                    // The later events are not sent: they would be evaluated against one whose outcome is unknown.
                    for index in now.into_iter().chain(pending) {
                        replies[index] = Some(Self::reject(error));
                    }
                    break;
                }
            }
        }
        replies
            .into_iter()
            .map(|reply| reply.unwrap_or_else(|| Self::reject(BatchError::Failed)))
            .collect()
    }
}
