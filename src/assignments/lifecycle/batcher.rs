//! Batches events of assignments that arrive at the same time into calls of `record_events`.
//!
//! A retried call finds its events in the ledger and returns them as repeated. So the first response after an unknown
//! outcome may be `repeated` for an event that the same request recorded.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Event, NewEvent, RecordError, RecordOutcome, RecordReply, db};
use crate::background::Tasks;
use crate::batching::{Atomicity, BatchConnection, BatchError, BatchHandler, Batcher, KeyRequests};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::ids::SetKey;
use crate::load::AdmissionControl;
use crate::metrics;

/// Records events. A clone shares the lanes.
#[derive(Clone)]
pub(crate) struct EventBatcher(Batcher<EventHandler>);

impl EventBatcher {
    pub(crate) fn new(
        database: &Database,
        admission: &AdmissionControl,
        dirty_sets: &DirtySets,
        tasks: &Tasks,
    ) -> Self {
        let handler = EventHandler {
            dirty_sets: dirty_sets.clone(),
        };
        Self(Batcher::start(handler, database, admission, tasks))
    }

    /// Queues events of a set and returns their replies in the order of the events. Events of one assignment
    /// are recorded in that order too.
    pub(crate) async fn record(
        &self,
        set: SetKey,
        events: Vec<NewEvent>,
        timeout: Duration,
    ) -> Vec<RecordReply> {
        self.0
            .submit(set.tenant, set, (), events, Atomicity::PerItem, timeout)
            .await
    }

    /// Closes the queue: its lanes end after they have recorded what waits.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

struct EventHandler {
    dirty_sets: DirtySets,
}

impl BatchHandler for EventHandler {
    type Key = SetKey;
    type Group = ();
    type Item = NewEvent;
    type Reply = RecordReply;

    fn reject(error: BatchError) -> RecordReply {
        Err(RecordError::NotRecorded(error))
    }

    fn is_plain(&self, _: SetKey, (): (), _: &[NewEvent]) -> bool {
        true
    }

    /// Leaves out all but the first event of an assignment.
    async fn serve_many(
        &self,
        connection: &mut BatchConnection,
        batch: &[KeyRequests<'_, SetKey, NewEvent>],
        deadline: Instant,
    ) -> Option<Vec<Vec<Option<RecordReply>>>> {
        let batch: Vec<(SetKey, Vec<&NewEvent>)> = batch
            .iter()
            .map(|set| (set.key, set.requests.iter().copied().flatten().collect()))
            .collect();
        let mut replies: Vec<Vec<Option<RecordReply>>> = batch
            .iter()
            .map(|(_, events)| vec![None; events.len()])
            .collect();
        let mut call = db::RecordCall::new();
        let mut places = Vec::new();
        for (place, (set, events)) in batch.iter().enumerate() {
            let mut assignments = HashSet::new();
            let first: Vec<usize> = (0..events.len())
                .filter(|index| assignments.insert(events[*index].number))
                .collect();
            if !first.is_empty() {
                call.add(*set, first.iter().map(|index| events[*index]));
            }
            places.extend(first.into_iter().map(|index| (place, index)));
        }
        if places.is_empty() {
            return Some(replies);
        }
        let mut marked = None;
        for row in connection.call_once(&call, deadline).await? {
            let (place, index) = places[row.index()];
            let reply = row.into_reply();
            if reply.is_ok() && marked.replace(place) != Some(place) {
                self.dirty_sets.mark(batch[place].0);
            }
            count(&reply, batch[place].1[index]);
            replies[place][index] = Some(reply);
        }
        Some(replies)
    }

    /// A call can contain only one event per assignment, so several events of one assignment take several calls. A repeated
    /// event is sent once if its assignment has not changed in between.
    async fn serve(
        &self,
        connection: &mut BatchConnection,
        set: SetKey,
        (): (),
        events: &[&NewEvent],
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
                let event = events[index];
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
            let call = db::RecordCall::of_set(set, now.iter().map(|index| events[*index]));
            match connection.call(&call, deadline).await {
                Ok(rows) => {
                    self.dirty_sets.mark(set);
                    for row in rows {
                        let index = now[row.index()];
                        let event = events[index];
                        let reply = row.into_reply();
                        count(&reply, event);
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

/// Counts the event if it was recorded now.
fn count(reply: &RecordReply, event: &NewEvent) {
    if matches!(reply, Ok((RecordOutcome::Recorded, _))) {
        metrics::event(event.event.as_str());
    }
}
