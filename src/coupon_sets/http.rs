//! `/v1/coupon-sets`.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::stock::{self, Stock};
use super::{CouponSet, CouponSetPatch, NewCouponSet, Type, availability, db, fold};
use crate::app::App;
use crate::error::Error;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::tenants::auth::{Caller, CouponSetsRead, CouponSetsWrite};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v1/coupon-sets", post(create).get(list))
        .route(
            "/v1/coupon-sets/{couponSetId}",
            get(find).patch(patch).delete(delete),
        )
        .route(
            "/v1/coupon-sets/{couponSetId}/availability",
            get(availability::find),
        )
}

async fn create(
    State(app): State<App>,
    caller: Caller<CouponSetsWrite>,
    Json(new): Json<NewCouponSet>,
) -> Result<(StatusCode, Json<CouponSet>), Error> {
    let set = super::create(&app.database, caller.tenant, new).await?;
    Ok((StatusCode::CREATED, Json(set)))
}

async fn find(
    State(app): State<App>,
    caller: Caller<CouponSetsRead>,
    Path(id): Path<Uuid>,
) -> Result<Json<CouponSet>, Error> {
    let mut transaction = app.database.snapshot(caller.tenant).await?;
    let set = super::find(&mut transaction, caller.tenant, id).await?;
    transaction.commit().await?;
    set.map(Json).ok_or_else(|| Error::not_found("coupon set"))
}

async fn patch(
    State(app): State<App>,
    caller: Caller<CouponSetsWrite>,
    Path(id): Path<Uuid>,
    Json(patch): Json<CouponSetPatch>,
) -> Result<Json<CouponSet>, Error> {
    super::patch(&app.database, caller.tenant, id, patch)
        .await
        .map(Json)
}

async fn delete(
    State(app): State<App>,
    caller: Caller<CouponSetsWrite>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    super::delete(&app.database, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a list is sorted by; a minus turns the order round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Sort {
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDescending,
    #[serde(rename = "createdAt")]
    CreatedAt,
    #[default]
    #[serde(rename = "-createdAt")]
    CreatedAtDescending,
    #[serde(rename = "available")]
    Available,
    #[serde(rename = "-available")]
    AvailableDescending,
}

impl Sort {
    fn column(self) -> &'static str {
        match self {
            Self::Name | Self::NameDescending => "name",
            Self::CreatedAt | Self::CreatedAtDescending => "createdAt",
            Self::Available | Self::AvailableDescending => "available",
        }
    }

    fn descending(self) -> bool {
        matches!(
            self,
            Self::NameDescending | Self::CreatedAtDescending | Self::AvailableDescending
        )
    }
}

/// Whether a set itself has something to give; each is in exactly one of these states.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SetState {
    Active,
    Expired,
    Exhausted,
}

impl SetState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    q: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Type>,
    state: Option<SetState>,
    stock: Option<Stock>,
    #[serde(default)]
    sort: Sort,
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller<CouponSetsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<CouponSet>>, Error> {
    let paging: Paging<(Sort, String, Uuid)> = Paging::new(query.limit, query.cursor.as_deref())?;
    if paging.key().is_some_and(|(sort, ..)| *sort != query.sort) {
        return Err(Error::malformed("`cursor` belongs to another `sort`."));
    }
    // PostgreSQL cannot even be asked for text with a NUL.
    let texts = [
        query.q.as_deref(),
        paging.key().map(|(_, key, _)| key.as_str()),
    ];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Error::malformed("The query must not contain NUL."));
    }
    let mut transaction = app.database.snapshot(caller.tenant).await?;
    let run_out = stock::run_out_for(&mut transaction, caller.tenant, query.stock).await?;
    let filter = db::ListFilter {
        name_part: query.q.as_deref().map(fold),
        kind: query.kind.map(Type::as_str),
        state: query.state.map(SetState::as_str),
        stock: query.stock.map(Stock::as_str),
        run_out: &run_out,
        sort: query.sort.column(),
        descending: query.sort.descending() != paging.back(),
        after: paging.key().map(|(_, key, id)| (key.as_str(), *id)),
        rows: paging.rows(),
    };
    let mut sets = db::list(&mut transaction, caller.tenant, &filter).await?;
    if query.stock.is_none() {
        stock::mark(&mut transaction, caller.tenant, &mut sets).await?;
    }
    transaction.commit().await?;
    Ok(Json(paging.page(sets, &uri, |set| {
        (query.sort, set.sort_key.clone(), set.id)
    })))
}
