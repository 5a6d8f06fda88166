//! Many events in one request. Each has the same result as a single request would have.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Event, EventBatcher, EventDetails, NewEvent, RecordError, RecordOutcome, code_not_assigned, db,
};
use crate::assignments::{AssignmentState, Assignments, Code, id};
use crate::batching::BATCH_TIMEOUT;
use crate::coupon_sets;
use crate::database::Database;
use crate::http::error::{Error, Fault};
use crate::http::extract::{Fields, FromFields, read};
use crate::http::list_body::{self, JsonList, ListBody};
use crate::http::request_id::RequestId;
use crate::ids::{AssignmentKey, SetKey, TenantId};
use crate::tenants::auth::{AssignmentsWrite, Caller};

/// Maximum number of events per request.
const MAX_EVENTS: usize = 10_000;
/// Maximum number of events of a request that wait at the same time, so that other requests of the tenant find room in the
/// queue and are served in between.
const MAX_QUEUED: usize = 2_000;
/// Number of events that are queued together: they share a call.
const BATCH_SIZE: usize = 500;

#[derive(Debug)]
pub(super) struct NewEvents {
    events: Vec<Result<EventRequest, Vec<Fault>>>,
}

impl ListBody for NewEvents {
    const LIST: &'static str = "events";
    const MAX_ITEMS: usize = MAX_EVENTS;
    type Item = Result<EventRequest, Vec<Fault>>;

    fn item(value: Value) -> Self::Item {
        read(value)
    }

    fn from_fields(events: Vec<Self::Item>, _: &mut Fields) -> Option<Self> {
        Some(Self { events })
    }
}

/// The assignment of an event.
#[derive(Debug)]
pub(super) enum Subject {
    Assignment(Uuid),
    /// The latest assignment of this code of the set.
    Code(Uuid, String),
}

#[derive(Debug)]
pub(super) struct EventRequest {
    subject: Subject,
    event: Event,
    details: EventDetails,
}

impl FromFields for EventRequest {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let event = fields.required("event");
        let details = EventDetails::from_fields(fields);
        let subject = if fields.has("assignmentId") {
            for name in ["couponSetId", "code"] {
                fields.refuse(
                    name,
                    "This field is not allowed together with `assignmentId`.",
                );
            }
            fields.required("assignmentId").map(Subject::Assignment)
        } else {
            let set = fields.required("couponSetId");
            let code = fields.required("code").map(|Code(code)| code);
            set.zip(code).map(|(set, code)| Subject::Code(set, code))
        };
        Some(Self {
            subject: subject?,
            event: event?,
            details: details?,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventResult {
    status: u16,
    assignment_id: Option<Uuid>,
    outcome: Option<RecordOutcome>,
    state: Option<AssignmentState>,
    error: Option<Value>,
}

/// The assignment of an event, if it is known, and what became of the event.
type EventOutcome = (
    Option<Uuid>,
    Result<(RecordOutcome, AssignmentState), Error>,
);

/// The outcomes of events by their indexes.
type Outcomes = BTreeMap<usize, EventOutcome>;

pub(super) async fn record(
    State(assignments): State<Assignments>,
    caller: Caller<AssignmentsWrite>,
    request_id: RequestId,
    JsonList(NewEvents { events }, memory): JsonList<NewEvents>,
) -> Result<Response, Error> {
    let count = events.len();
    let mut outcomes = Outcomes::new();
    let requests = sort_out_invalid(events, &mut outcomes);
    let assignments_of = find_assignments(&assignments.database, caller.tenant, &requests).await?;
    let known = find_sets(&assignments.database, caller.tenant, &assignments_of).await?;
    let sets = sort_by_set(requests, assignments_of, &known, caller.key, &mut outcomes);
    outcomes.extend(record_sets(&assignments.events, caller.tenant, sets).await);
    for index in 0..count {
        outcomes.entry(index).or_insert_with(|| {
            let missing = "an event of a batch has no result".to_owned();
            (None, Err(Error::Internal(missing)))
        });
    }
    let results = outcomes
        .into_iter()
        .map(move |(index, outcome)| EventResult::new(index, outcome, request_id.as_str()));
    Ok(list_body::respond(results, memory))
}

impl EventResult {
    fn new(index: usize, (assignment_id, outcome): EventOutcome, request_id: &str) -> Self {
        match outcome {
            Ok((outcome, state)) => Self {
                status: 200,
                assignment_id,
                outcome: Some(outcome),
                state: Some(state),
                error: None,
            },
            Err(error) => Self {
                status: error.kind().status.as_u16(),
                assignment_id,
                outcome: None,
                state: None,
                error: Some(in_event(error, index).problem(request_id)),
            },
        }
    }
}

/// Returns the valid events with their indexes. Invalid ones fail by themselves, without effect on the others.
fn sort_out_invalid(
    events: Vec<Result<EventRequest, Vec<Fault>>>,
    outcomes: &mut Outcomes,
) -> Vec<(usize, EventRequest)> {
    let mut requests = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        match event {
            Ok(request) => requests.push((index, request)),
            Err(faults) => {
                outcomes.insert(index, (None, Err(Error::Invalid(faults))));
            }
        }
    }
    requests
}

/// Prefixes the pointers of field faults with the index of the event.
fn in_event(error: Error, index: usize) -> Error {
    let Error::Invalid(faults) = error else {
        return error;
    };
    let in_event =
        |fault: Fault| Fault::new(format!("/events/{index}{}", fault.pointer), fault.detail);
    Error::Invalid(faults.into_iter().map(in_event).collect())
}

/// Returns the assignment id of each event: the one in the request, or that of the latest assignment of the code.
async fn find_assignments(
    database: &Database,
    tenant: TenantId,
    events: &[(usize, EventRequest)],
) -> Result<Vec<Result<Uuid, Error>>, Error> {
    let (sets, codes): (Vec<Uuid>, Vec<&str>) = events
        .iter()
        .filter_map(|(_, event)| match &event.subject {
            Subject::Assignment(_) => None,
            Subject::Code(set, code) => Some((*set, code.as_str())),
        })
        .unzip();
    let mut of_codes = Vec::new();
    if !codes.is_empty() {
        of_codes = database
            .with_tenant(tenant, async |connection| {
                db::find_by_codes(connection, tenant, &sets, &codes).await
            })
            .await?;
    }
    let mut of_codes = of_codes.into_iter();
    let mut find = |event: &EventRequest| match event.subject {
        Subject::Assignment(id) => Ok(id),
        Subject::Code(..) => {
            let found = of_codes
                .next()
                .flatten()
                .ok_or_else(|| Error::not_found("coupon set"))?;
            let (Some(number), Some(assigned_at)) = (found.number, found.assigned_at) else {
                return Err(code_not_assigned(found.is_single));
            };
            let set_no = found.set_no;
            Ok(id::encode(AssignmentKey { set_no, number }, assigned_at))
        }
    };
    Ok(events.iter().map(|(_, event)| find(event)).collect())
}

/// An event with its index and its assignment, to be recorded.
type PendingEvent = (usize, Uuid, NewEvent);

/// Finds the existing sets among those that the ids name. Without this check, made-up ids would fill the queue.
async fn find_sets(
    database: &Database,
    tenant: TenantId,
    assignments: &[Result<Uuid, Error>],
) -> Result<HashSet<i32>, Error> {
    let named: BTreeSet<i32> = assignments
        .iter()
        .filter_map(|id| Some(id::decode(*id.as_ref().ok()?)?.set_no))
        .collect();
    let named: Vec<i32> = named.into_iter().collect();
    let known = database
        .with_tenant(tenant, async |connection| {
            coupon_sets::find_nos(connection, tenant, &named).await
        })
        .await?;
    Ok(known.into_iter().collect())
}

/// Sorts the events by the set that served their assignment, one of `known`.
fn sort_by_set(
    requests: Vec<(usize, EventRequest)>,
    assignments: Vec<Result<Uuid, Error>>,
    known: &HashSet<i32>,
    caller: Uuid,
    outcomes: &mut Outcomes,
) -> Vec<(i32, PendingEvent)> {
    let mut events = Vec::with_capacity(requests.len());
    for ((index, request), assignment) in requests.into_iter().zip(assignments) {
        let found = assignment.and_then(|assignment| {
            let key = id::decode(assignment).filter(|key| known.contains(&key.set_no));
            Ok((
                assignment,
                key.ok_or_else(|| Error::not_found("assignment"))?,
            ))
        });
        match found {
            Ok((assignment, key)) => {
                let EventRequest { event, details, .. } = request;
                let event = NewEvent::new(key, assignment, event, details, caller);
                events.push((key.set_no, (index, assignment, event)));
            }
            Err(error) => {
                outcomes.insert(index, (None, Err(error)));
            }
        }
    }
    // Stable: events of one assignment stay in their order.
    events.sort_by_key(|(set_no, _)| *set_no);
    events
}

/// Records events that are sorted by set. Those of many sets are queued at once, so that calls can serve many sets.
async fn record_sets(
    batcher: &EventBatcher,
    tenant: TenantId,
    events: Vec<(i32, PendingEvent)>,
) -> Vec<(usize, EventOutcome)> {
    let mut outcomes = Vec::with_capacity(events.len());
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let mut parts: Vec<(i32, Vec<PendingEvent>)> = Vec::new();
        for (set_no, event) in events.by_ref().take(MAX_QUEUED) {
            match parts.last_mut() {
                Some((last, part)) if *last == set_no && part.len() < BATCH_SIZE => {
                    part.push(event);
                }
                _ => parts.push((set_no, vec![event])),
            }
        }
        let parts = parts
            .into_iter()
            .map(|(set_no, part)| record_part(batcher, SetKey { tenant, set_no }, part));
        outcomes.extend(join_all(parts).await.into_iter().flatten());
    }
    outcomes
}

async fn record_part(
    batcher: &EventBatcher,
    set: SetKey,
    part: Vec<PendingEvent>,
) -> Vec<(usize, EventOutcome)> {
    let mut places = Vec::with_capacity(part.len());
    let mut events = Vec::with_capacity(part.len());
    for (index, assignment, event) in part {
        places.push((index, assignment, event.event));
        events.push(event);
    }
    let replies = batcher.record(set, events, BATCH_TIMEOUT).await;
    let outcome = |((index, assignment, event), reply)| {
        let outcome = match reply {
            Ok(recorded) => (Some(assignment), Ok(recorded)),
            Err(RecordError::NotFound) => (None, Err(Error::not_found("assignment"))),
            Err(error) => (Some(assignment), Err(error.into_error(assignment, event))),
        };
        (index, outcome)
    };
    places.into_iter().zip(replies).map(outcome).collect()
}
