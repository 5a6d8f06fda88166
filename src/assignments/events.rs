//! Telling what became of assignments: one by one, or up to 10,000 at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, post};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::id::{self, Place};
use super::life::{Answer, Change, Event, History, Obstacle, Recording, Remark, code_not_assigned};
use super::queue::{BATCH_PATIENCE, PATIENCE};
use super::recorder::Ledger;
use super::{Code, db, ledger};
use crate::app::{App, RequestId};
use crate::coupon_sets;
use crate::error::{Error, Fault};
use crate::extract::{Fields, FromFields, Json, Path, read};
use crate::tenants::TenantId;
use crate::tenants::auth::{AssignmentsWrite, Caller};

/// Most events of one request.
const MAX_EVENTS: usize = 10_000;
/// Events that are handed to a set's task together, so that others get their turn.
const PORTION: usize = 500;
/// Portions of one request that are with their tasks at the same time.
const SETS_AT_ONCE: usize = 4;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/assignments/events", post(tell_all))
        .route(
            "/v1/assignments/{assignmentId}/confirm",
            post_event(Event::Confirm),
        )
        .route(
            "/v1/assignments/{assignmentId}/sent",
            post_event(Event::Sent),
        )
        .route(
            "/v1/assignments/{assignmentId}/used",
            post_event(Event::Used),
        )
        .route(
            "/v1/assignments/{assignmentId}/release",
            post_event(Event::Release),
        )
        .route(
            "/v1/assignments/{assignmentId}/void",
            post_event(Event::Void),
        )
}

fn post_event(event: Event) -> MethodRouter<App> {
    post(
        async move |State(app): State<App>,
                    caller: Caller<AssignmentsWrite>,
                    Path(assignment): Path<Uuid>,
                    remark: Option<Json<Remark>>| {
            let remark = remark.map(|Json(remark)| remark).unwrap_or_default();
            tell(&app, &caller, assignment, event, remark).await
        },
    )
}

async fn tell(
    app: &App,
    caller: &Caller<AssignmentsWrite>,
    assignment: Uuid,
    event: Event,
    remark: Remark,
) -> Result<Json<History>, Error> {
    let place = id::decode(assignment).ok_or_else(|| Error::not_found("assignment"))?;
    let ledger = Ledger {
        tenant: caller.tenant,
        set_no: place.set_no,
    };
    let change = Change::new(place, assignment, event, remark, caller.key);
    let answer = app
        .recorder
        .record(ledger, vec![change], PATIENCE)
        .await
        .pop();
    answer
        .ok_or_else(|| Error::Internal("the event has no result".to_owned()))?
        .map_err(|obstacle| obstacle.into_error(assignment, event))?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let history = find_history(&mut transaction, caller.tenant, assignment).await?;
    transaction.commit().await?;
    Ok(Json(history))
}

/// Reads an assignment and what became of it.
pub(super) async fn find_history(
    connection: &mut PgConnection,
    tenant: TenantId,
    assignment: Uuid,
) -> Result<History, Error> {
    let not_found = || Error::not_found("assignment");
    let place = id::decode(assignment).ok_or_else(not_found)?;
    let found = find_histories(connection, tenant, &[place]).await?;
    found
        .into_iter()
        .find(|found| found.assignment.id == assignment)
        .ok_or_else(not_found)
}

/// Reads the assignments at these places and what became of them, in their order.
pub(crate) async fn find_histories(
    connection: &mut PgConnection,
    tenant: TenantId,
    places: &[Place],
) -> sqlx::Result<Vec<History>> {
    let assignments = db::find(connection, tenant, places).await?;
    let mut entries = ledger::list_entries(connection, tenant, places).await?;
    let histories = assignments.into_iter().map(|assignment| History {
        events: id::decode(assignment.id)
            .and_then(|place| entries.remove(&place))
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

/// Which assignment an event is of.
#[derive(Debug)]
enum Subject {
    Assignment(Uuid),
    /// The latest one of this code.
    Code(Uuid, String),
}

#[derive(Debug)]
struct NewEvent {
    subject: Subject,
    event: Event,
    remark: Remark,
}

impl FromFields for NewEvent {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let event = fields.required("event");
        let remark = Remark::from_fields(fields);
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
            remark: remark?,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventResult {
    status: u16,
    assignment_id: Option<Uuid>,
    outcome: Option<Recording>,
    state: Option<super::State>,
    error: Option<Value>,
}

#[derive(Debug, Serialize)]
struct EventResults {
    results: Vec<EventResult>,
}

/// An event whose assignment is known.
struct Told {
    index: usize,
    assignment: Uuid,
    event: Event,
}

async fn tell_all(
    State(app): State<App>,
    caller: Caller<AssignmentsWrite>,
    request_id: RequestId,
    Json(NewEvents { events }): Json<NewEvents>,
) -> Result<Json<EventResults>, Error> {
    let mut results: Vec<Option<EventResult>> = events.iter().map(|_| None).collect();
    let refuse = |index: usize, assignment_id, error: Error| {
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
        match read::<NewEvent>(value) {
            Ok(event) => read_events.push((index, event)),
            Err(faults) => results[index] = Some(refuse(index, None, Error::Invalid(faults))),
        }
    }
    let assignments = find_assignments(&app, caller.tenant, &read_events).await?;
    let known = find_ledgers(&app, caller.tenant, &assignments).await?;
    let mut ledgers: BTreeMap<i32, Vec<(Told, Change)>> = BTreeMap::new();
    for ((index, new), assignment) in read_events.into_iter().zip(assignments) {
        let found = assignment.and_then(|id| {
            let place = id::decode(id).filter(|place| known.contains(&place.set_no));
            Ok((id, place.ok_or_else(|| Error::not_found("assignment"))?))
        });
        match found {
            Ok((assignment, place)) => {
                let told = Told {
                    index,
                    assignment,
                    event: new.event,
                };
                let change = Change::new(place, assignment, new.event, new.remark, caller.key);
                ledgers
                    .entry(place.set_no)
                    .or_default()
                    .push((told, change));
            }
            Err(error) => results[index] = Some(refuse(index, None, error)),
        }
    }
    for (told, answer) in record(&app, caller.tenant, ledgers).await {
        let Told {
            index,
            assignment,
            event,
        } = told;
        results[index] = Some(match answer {
            Ok((outcome, state)) => EventResult {
                status: 200,
                assignment_id: Some(assignment),
                outcome: Some(outcome),
                state: Some(state),
                error: None,
            },
            Err(Obstacle::NotFound) => refuse(index, None, Error::not_found("assignment")),
            Err(obstacle) => refuse(
                index,
                Some(assignment),
                obstacle.into_error(assignment, event),
            ),
        });
    }
    let results = results
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| Error::Internal("an event of a batch has no result".to_owned()))?;
    Ok(Json(EventResults { results }))
}

/// Names the event in the faults of its fields.
fn in_event(error: Error, index: usize) -> Error {
    let Error::Invalid(faults) = error else {
        return error;
    };
    let in_event =
        |fault: Fault| Fault::new(format!("/events/{index}{}", fault.pointer), fault.detail);
    Error::Invalid(faults.into_iter().map(in_event).collect())
}

/// Finds the assignment of each event: its id as it was given, or that of the latest assignment of its code.
async fn find_assignments(
    app: &App,
    tenant: TenantId,
    events: &[(usize, NewEvent)],
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
        let mut transaction = app.database.tenant(tenant).await?;
        of_codes = ledger::find_by_codes(&mut transaction, tenant, &sets, &codes).await?;
        transaction.commit().await?;
    }
    let mut of_codes = of_codes.into_iter();
    let find = |event: &NewEvent| match event.subject {
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
            Ok(id::encode(Place { set_no, number }, assigned_at))
        }
    };
    let mut find = find;
    Ok(events.iter().map(|(_, event)| find(event)).collect())
}

/// The sets that there are, of those that the ids name: a made-up id costs no task of its own.
async fn find_ledgers(
    app: &App,
    tenant: TenantId,
    assignments: &[Result<Uuid, Error>],
) -> Result<HashSet<i32>, Error> {
    let named: BTreeSet<i32> = assignments
        .iter()
        .filter_map(|id| Some(id::decode(*id.as_ref().ok()?)?.set_no))
        .collect();
    let named: Vec<i32> = named.into_iter().collect();
    let mut transaction = app.database.tenant(tenant).await?;
    let known = coupon_sets::find_nos(&mut transaction, tenant, &named).await?;
    transaction.commit().await?;
    Ok(known.into_iter().collect())
}

async fn record(
    app: &App,
    tenant: TenantId,
    ledgers: BTreeMap<i32, Vec<(Told, Change)>>,
) -> Vec<(Told, Answer)> {
    let mut portions = Vec::new();
    for (set_no, told) in ledgers {
        let mut told = told.into_iter().peekable();
        while told.peek().is_some() {
            let (told, changes): (Vec<_>, Vec<_>) = told.by_ref().take(PORTION).unzip();
            portions.push(async move {
                let ledger = Ledger { tenant, set_no };
                let answers = app.recorder.record(ledger, changes, BATCH_PATIENCE).await;
                told.into_iter().zip(answers).collect::<Vec<_>>()
            });
        }
    }
    // A few at a time, so that events of many sets leave connections to others.
    let answers: Vec<Vec<(Told, Answer)>> = stream::iter(portions)
        .buffered(SETS_AT_ONCE)
        .collect()
        .await;
    answers.into_iter().flatten().collect()
}
