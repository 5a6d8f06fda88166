//! `…/statistics`.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use uuid::Uuid;

use super::export::{self, Scope};
use super::period::PeriodQuery;
use crate::app::App;
use crate::coupons::asks_for_csv;
use crate::error::Error;
use crate::extract::{Json, Path, Query};
use crate::tenants::auth::{Caller, StatisticsRead};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v1/coupon-sets/{couponSetId}/statistics", get(of_set))
        .route("/v1/statistics", get(of_tenant))
}

async fn of_set(
    State(app): State<App>,
    caller: Caller<StatisticsRead>,
    Path(set): Path<Uuid>,
    headers: HeaderMap,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Error> {
    let mut snapshot = app.database.snapshot(caller.tenant).await?;
    if asks_for_csv(&headers, query.format) {
        let scope = Scope::of_set(&mut snapshot, caller.tenant, set, &query).await?;
        snapshot.commit().await?;
        return Ok(export::stream(app.database.clone(), caller.tenant, scope));
    }
    let statistics = super::of_set(&mut snapshot, caller.tenant, set, &query).await?;
    snapshot.commit().await?;
    Ok(Json(statistics).into_response())
}

async fn of_tenant(
    State(app): State<App>,
    caller: Caller<StatisticsRead>,
    headers: HeaderMap,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Error> {
    let mut snapshot = app.database.snapshot(caller.tenant).await?;
    if asks_for_csv(&headers, query.format) {
        let scope = Scope::of_tenant(&mut snapshot, caller.tenant, &query).await?;
        snapshot.commit().await?;
        return Ok(export::stream(app.database.clone(), caller.tenant, scope));
    }
    let statistics = super::of_tenant(&mut snapshot, caller.tenant, &query).await?;
    snapshot.commit().await?;
    Ok(Json(statistics).into_response())
}
