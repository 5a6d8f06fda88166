//! Routes of `/v1/assignments`.

use axum::extract::{OriginalUri, State};

use super::search::{ListQuery, search};
use crate::assignments::{Assignment, Assignments};
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Query};
use crate::http::page::Page;
use crate::http::routes::Routes;
use crate::tenants::auth::{AssignmentsRead, Caller};

pub(in crate::assignments) fn routes() -> Routes<Assignments> {
    Routes::new().get("/v1/assignments", list)
}

async fn list(
    State(database): State<Database>,
    caller: Caller<AssignmentsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Assignment>>, Error> {
    let paging = query.paging()?;
    let rows = database
        .with_tenant(caller.tenant, async |connection| {
            search(connection, caller.tenant, &query, &paging).await
        })
        .await?;
    let page = paging.page(rows, &uri, |(cursor, _)| *cursor);
    Ok(Json(page.map(|(_, assignment)| assignment)))
}
