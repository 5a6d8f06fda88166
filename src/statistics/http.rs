//! `…/statistics`: statistics as JSON, or the counted assignments as CSV.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::period::PeriodQuery;
use super::{Export, ExportScope, Statistics};
use crate::database::Database;
use crate::http::csv_export::asks_for_csv;
use crate::http::error::Error;
use crate::http::extract::{Json, Path, Query};
use crate::http::routes::Routes;
use crate::tenants::auth::{Caller, StatisticsRead};

pub(super) fn routes() -> Routes<Statistics> {
    Routes::new()
        .get("/v1/coupon-sets/{couponSetId}/statistics", of_set)
        .get("/v1/statistics", of_tenant)
}

async fn of_set(
    State(database): State<Database>,
    State(export): State<Export>,
    caller: Caller<StatisticsRead>,
    Path(set): Path<Uuid>,
    headers: HeaderMap,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Error> {
    let tenant = caller.tenant;
    let mut snapshot = database.heavy_snapshot(tenant).await?;
    if asks_for_csv(&headers, query.format) {
        let scope = ExportScope::of_set(&mut snapshot, tenant, set, &query).await?;
        snapshot.commit().await?;
        return Ok(export(database, tenant, scope));
    }
    let statistics = super::of_set(&mut snapshot, tenant, set, &query).await?;
    snapshot.commit().await?;
    Ok(Json(statistics).into_response())
}

async fn of_tenant(
    State(database): State<Database>,
    State(export): State<Export>,
    caller: Caller<StatisticsRead>,
    headers: HeaderMap,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Error> {
    let tenant = caller.tenant;
    let mut snapshot = database.heavy_snapshot(tenant).await?;
    if asks_for_csv(&headers, query.format) {
        let scope = ExportScope::of_tenant(&mut snapshot, tenant, &query).await?;
        snapshot.commit().await?;
        return Ok(export(database, tenant, scope));
    }
    let statistics = super::of_tenant(&mut snapshot, tenant, &query).await?;
    snapshot.commit().await?;
    Ok(Json(statistics).into_response())
}
