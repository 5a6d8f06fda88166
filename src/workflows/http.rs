//! `/v1/workflows`.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;

use super::{NewWorkflow, Workflow, WorkflowId, db};
use crate::app::App;
use crate::error::Error;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::tenants::auth::{Caller, WorkflowsRead, WorkflowsWrite};

pub(crate) fn router() -> Router<App> {
    Router::new().route("/v1/workflows", get(list)).route(
        "/v1/workflows/{workflowId}",
        get(find).put(put).delete(delete),
    )
}

async fn put(
    State(app): State<App>,
    caller: Caller<WorkflowsWrite>,
    Path(id): Path<WorkflowId>,
    Json(new): Json<NewWorkflow>,
) -> Result<(StatusCode, Json<Workflow>), Error> {
    let (is_new, workflow) = super::put(&app.database, caller.tenant, &id, &new).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(workflow)))
}

async fn find(
    State(app): State<App>,
    caller: Caller<WorkflowsRead>,
    Path(id): Path<WorkflowId>,
) -> Result<Json<Workflow>, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let workflow = db::find(&mut transaction, caller.tenant, &id).await?;
    transaction.commit().await?;
    workflow
        .map(Json)
        .ok_or_else(|| Error::not_found("workflow"))
}

async fn delete(
    State(app): State<App>,
    caller: Caller<WorkflowsWrite>,
    Path(id): Path<WorkflowId>,
) -> Result<StatusCode, Error> {
    super::delete(&app.database, caller.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller<WorkflowsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Workflow>>, Error> {
    let paging: Paging<WorkflowId> = Paging::new(query.limit, query.cursor.as_deref())?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let workflows = db::list(
        &mut transaction,
        caller.tenant,
        paging.key().map(|id| id.0.as_str()),
        paging.back(),
        paging.rows(),
    )
    .await?;
    transaction.commit().await?;
    Ok(Json(paging.page(workflows, &uri, |workflow| {
        WorkflowId(workflow.id.clone())
    })))
}
