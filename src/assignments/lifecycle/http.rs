//! Routes of the events of assignments: one by one, or up to 10,000 per request.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use axum::extract::State;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Event, EventBatcher, EventDetails, History, NewEvent, RecordError, RecordOutcome, RecordReply,
    code_not_assigned, db,
};
use crate::assignments::{AssignmentState, Assignments, Code, id, list};
use crate::batching::{BATCH_TIMEOUT, TIMEOUT};
use crate::coupon_sets;
use crate::database::Database;
use crate::http::error::{Error, Fault};
use crate::http::extract::{Fields, FromFields, Json, Path, read};
use crate::http::request_id::RequestId;
use crate::http::routes::Routes;
use crate::ids::{AssignmentKey, SetKey, TenantId};
use crate::tenants::auth::{AssignmentsRead, AssignmentsWrite, Caller};

/// Maximum number of events per request.
const MAX_EVENTS: usize = 10_000;
/// Number of events that are queued together, so that other callers of the set are served in between.
const BATCH_SIZE: usize = 500;
/// Maximum number of batches of one request in progress at the same time.
const MAX_CONCURRENT_BATCHES: usize = 4;

pub(in crate::assignments) fn routes() -> Routes<Assignments> {
    let routes = Routes::new()
        .get("/v1/assignments/{assignmentId}", find)
        .post("/v1/assignments/events", record_all);
    Event::ALL.into_iter().fold(routes, |routes, event| {
        let path = format!("/v1/assignments/{{assignmentId}}/{}", event.as_str());
        routes.post(
            &path,
            async move |State(assignments): State<Assignments>,
                        caller: Caller<AssignmentsWrite>,
                        Path(id): Path<Uuid>,
                        details: Option<Json<EventDetails>>| {
                let details = details.map(|Json(details)| details).unwrap_or_default();
                record(&assignments, &caller, id, event, details).await
            },
        )
    })
}

async fn find(
    State(database): State<Database>,
    caller: Caller<AssignmentsRead>,
    Path(assignment): Path<Uuid>,
) -> Result<Json<History>, Error> {
    database
        .with_tenant(caller.tenant, async |connection| {
            find_history(connection, caller.tenant, assignment).await
        })
        .await
        .map(Json)
}

async fn record(
    assignments: &Assignments,
    caller: &Caller<AssignmentsWrite>,
    assignment: Uuid,
    event: Event,
    details: EventDetails,
) -> Result<Json<History>, Error> {
    let tenant = caller.tenant;
    let key = id::decode(assignment).ok_or_else(|| Error::not_found("assignment"))?;
    let set_no = key.set_no;
    let new = NewEvent::new(key, assignment, event, details, caller.key);
    let batcher = &assignments.events;
    let replies = batcher.record(SetKey { tenant, set_no }, vec![new], TIMEOUT);
    let reply = replies.await.pop();
    reply
        .ok_or_else(|| Error::Internal("the batcher gave no answer".to_owned()))?
        .map_err(|error| error.into_error(assignment, event))?;
    let database = &assignments.database;
    database
        .with_tenant(tenant, async |connection| {
            find_history(connection, tenant, assignment).await
        })
        .await
        .map(Json)
}

/// Reads an assignment and its events.
async fn find_history(
    connection: &mut PgConnection,
    tenant: TenantId,
    assignment: Uuid,
) -> Result<History, Error> {
    let not_found = || Error::not_found("assignment");
    let key = id::decode(assignment).ok_or_else(not_found)?;
    let found = find_histories(connection, tenant, &[key]).await?;
    found
        .into_iter()
        .find(|found| found.assignment.id == assignment)
        .ok_or_else(not_found)
}

/// Reads assignments and their events, in the order of the keys.
pub(crate) async fn find_histories(
    connection: &mut PgConnection,
    tenant: TenantId,
    keys: &[AssignmentKey],
) -> sqlx::Result<Vec<History>> {
    let assignments = list::find(connection, tenant, keys).await?;
    let mut entries = db::list_entries(connection, tenant, keys).await?;
    let histories = assignments.into_iter().map(|assignment| History {
        events: id::decode(assignment.id)
            .and_then(|key| entries.remove(&key))
            .unwrap_or_default(),
        assignment,
    });
    Ok(histories.collect())
}

#[derive(Debug)]
struct NewEvents {
    events: Vec<Value>,
}

impl FromFields for NewEvents {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let events: Vec<Value> = fields.required("events")?;
        if events.is_empty() || events.len() > MAX_EVENTS {
            fields.fault(
                "events",
                format!("A request must have 1 to {MAX_EVENTS} events."),
            );
            return None;
        }
        Some(Self { events })
    }
}

/// The assignment of an event.
#[derive(Debug)]
enum Subject {
    Assignment(Uuid),
    /// The latest assignment of this code of the set.
    Code(Uuid, String),
}

#[derive(Debug)]
struct EventRequest {
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

#[derive(Debug, Serialize)]
struct EventResults {
    results: Vec<EventResult>,
}

/// An event of a request that waits for its reply.
struct PendingEvent {
    index: usize,
    assignment: Uuid,
    event: Event,
}

async fn record_all(
    State(database): State<Database>,
    State(batcher): State<EventBatcher>,
    caller: Caller<AssignmentsWrite>,
    request_id: RequestId,
    Json(NewEvents { events }): Json<NewEvents>,
) -> Result<Json<EventResults>, Error> {
    let mut results: Vec<Option<EventResult>> = events.iter().map(|_| None).collect();
    let reject = |index: usize, assignment_id, error: Error| {
        let error = in_event(error, index);
        EventResult {
            status: error.kind().status.as_u16(),
            assignment_id,
            outcome: None,
            state: None,
            error: Some(error.problem(request_id.as_str())),
        }
    };
    let mut read_events = Vec::with_capacity(events.len());
    for (index, value) in events.into_iter().enumerate() {
        match read::<EventRequest>(value) {
            Ok(event) => read_events.push((index, event)),
            Err(faults) => results[index] = Some(reject(index, None, Error::Invalid(faults))),
        }
    }
    let assignments = find_assignments(&database, caller.tenant, &read_events).await?;
    let known = find_sets(&database, caller.tenant, &assignments).await?;
    let mut sets: BTreeMap<i32, Vec<(PendingEvent, NewEvent)>> = BTreeMap::new();
    for ((index, new), assignment) in read_events.into_iter().zip(assignments) {
        let found = assignment.and_then(|id| {
            let key = id::decode(id).filter(|key| known.contains(&key.set_no));
            Ok((id, key.ok_or_else(|| Error::not_found("assignment"))?))
        });
        match found {
            Ok((assignment, key)) => {
                let pending = PendingEvent {
                    index,
                    assignment,
                    event: new.event,
                };
                let event = NewEvent::new(key, assignment, new.event, new.details, caller.key);
                sets.entry(key.set_no).or_default().push((pending, event));
            }
            Err(error) => results[index] = Some(reject(index, None, error)),
        }
    }
    for (pending, reply) in record_sets(&batcher, caller.tenant, sets).await {
        let PendingEvent {
            index,
            assignment,
            event,
        } = pending;
        results[index] = Some(match reply {
            Ok((outcome, state)) => EventResult {
                status: 200,
                assignment_id: Some(assignment),
                outcome: Some(outcome),
                state: Some(state),
                error: None,
            },
            Err(RecordError::NotFound) => reject(index, None, Error::not_found("assignment")),
            Err(error) => reject(index, Some(assignment), error.into_error(assignment, event)),
        });
    }
    let results = results
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| Error::Internal("an event of a batch has no result".to_owned()))?;
    Ok(Json(EventResults { results }))
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
    let find = |event: &EventRequest| match event.subject {
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
    let mut find = find;
    Ok(events.iter().map(|(_, event)| find(event)).collect())
}

/// Finds the existing sets among those that the ids name. Without this check, a made-up id would start a task.
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

async fn record_sets(
    batcher: &EventBatcher,
    tenant: TenantId,
    sets: BTreeMap<i32, Vec<(PendingEvent, NewEvent)>>,
) -> Vec<(PendingEvent, RecordReply)> {
    let mut calls = Vec::new();
    for (set_no, events) in sets {
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let (pending, events): (Vec<_>, Vec<_>) = events.by_ref().take(BATCH_SIZE).unzip();
            calls.push(async move {
                let set = SetKey { tenant, set_no };
                let replies = batcher.record(set, events, BATCH_TIMEOUT).await;
                pending.into_iter().zip(replies).collect::<Vec<_>>()
            });
        }
    }
    // The limit leaves connections to other requests if the events are of many sets.
    let replies: Vec<Vec<(PendingEvent, RecordReply)>> = stream::iter(calls)
        .buffered(MAX_CONCURRENT_BATCHES)
        .collect()
        .await;
    replies.into_iter().flatten().collect()
}
