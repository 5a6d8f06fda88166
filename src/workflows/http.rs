//! `/v1/workflows`.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::{NewWorkflow, Workflow, WorkflowId, Workflows, db};
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Path, Query};
use crate::http::page::{Page, Paging};
use crate::http::routes::Routes;
use crate::tenants::auth::{Caller, WorkflowsRead, WorkflowsWrite};

pub(super) fn routes() -> Routes<Workflows> {
    Routes::new()
        .get("/v1/workflows", list)
        .get("/v1/workflows/{workflowId}", find)
        .put("/v1/workflows/{workflowId}", put)
        .delete("/v1/workflows/{workflowId}", delete)
}

async fn put(
    State(database): State<Database>,
    caller: Caller<WorkflowsWrite>,
    Path(id): Path<WorkflowId>,
    Json(new): Json<NewWorkflow>,
) -> Result<(StatusCode, Json<Workflow>), Error> {
    let (is_new, workflow) = super::put(&database, caller.tenant, &id, &new).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(workflow)))
}

async fn find(
    State(database): State<Database>,
    caller: Caller<WorkflowsRead>,
    Path(id): Path<WorkflowId>,
) -> Result<Json<Workflow>, Error> {
    let workflow = database
        .with_tenant(caller.tenant, async |connection| {
            db::find(connection, caller.tenant, &id).await
        })
        .await?;
    workflow
        .map(Json)
        .ok_or_else(|| Error::not_found("workflow"))
}

async fn delete(
    State(database): State<Database>,
    caller: Caller<WorkflowsWrite>,
    Path(id): Path<WorkflowId>,
) -> Result<StatusCode, Error> {
    super::delete(&database, caller.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(database): State<Database>,
    caller: Caller<WorkflowsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Workflow>>, Error> {
    let paging: Paging<WorkflowId> = Paging::new(query.limit, query.cursor.as_deref())?;
    let after = paging.key().map(|id| id.0.as_str());
    let workflows = database
        .with_tenant(caller.tenant, async |connection| {
            db::list(
                connection,
                caller.tenant,
                after,
                paging.back(),
                paging.rows(),
            )
            .await
        })
        .await?;
    Ok(Json(paging.page(workflows, &uri, |workflow| {
        WorkflowId(workflow.id.clone())
    })))
}
