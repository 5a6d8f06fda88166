//! Routes of the events of assignments.

use axum::extract::State;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Event, EventDetails, History, NewEvent, batch, db};
use crate::assignments::{Assignments, id, list};
use crate::batching::TIMEOUT;
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Path};
use crate::http::routes::Routes;
use crate::ids::{AssignmentKey, SetKey, TenantId};
use crate::tenants::auth::{AssignmentsRead, AssignmentsWrite, Caller};

pub(in crate::assignments) fn routes() -> Routes<Assignments> {
    let routes = Routes::new()
        .get("/v1/assignments/{assignmentId}", find)
        .post("/v1/assignments/events", batch::record);
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
