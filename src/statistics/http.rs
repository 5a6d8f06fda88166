//! `…/statistics`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use uuid::Uuid;

use super::{SetStatistics, TenantStatistics, db};
use crate::app::App;
use crate::error::Error;
use crate::extract::{Json, Path};
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
) -> Result<Json<SetStatistics>, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let statistics = db::of_set(&mut transaction, caller.tenant, set).await?;
    transaction.commit().await?;
    statistics
        .map(Json)
        .ok_or_else(|| Error::not_found("coupon set"))
}

async fn of_tenant(
    State(app): State<App>,
    caller: Caller<StatisticsRead>,
) -> Result<Json<TenantStatistics>, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let statistics = db::of_tenant(&mut transaction, caller.tenant).await?;
    transaction.commit().await?;
    Ok(Json(statistics))
}
