//! `/v1/coupon-sets`.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::stock::{self, Stock};
use super::{
    CouponSet, CouponSetPatch, CouponSets, NewCouponSet, SetState, Type, availability, db,
};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::http::error::Error;
use crate::http::extract::{Json, Path, Query};
use crate::http::page::{Page, Paging};
use crate::http::routes::Routes;
use crate::ids::{SetKey, TenantId};
use crate::statistics::{Forecast, forecasts};
use crate::tenants::auth::{Caller, CouponSetsRead, CouponSetsWrite};
use crate::text::fold;
use crate::text_enum::{TextEnum, text_enum};

pub(super) fn routes() -> Routes<CouponSets> {
    Routes::new()
        .post("/v1/coupon-sets", create)
        .get("/v1/coupon-sets", list)
        .get("/v1/coupon-sets/{couponSetId}", find)
        .patch("/v1/coupon-sets/{couponSetId}", patch)
        .delete("/v1/coupon-sets/{couponSetId}", delete)
        .get(
            "/v1/coupon-sets/{couponSetId}/availability",
            availability::find,
        )
}

async fn create(
    State(database): State<Database>,
    caller: Caller<CouponSetsWrite>,
    Json(new): Json<NewCouponSet>,
) -> Result<(StatusCode, Json<CouponSet>), Error> {
    let set = super::create(&database, caller.tenant, new).await?;
    Ok((StatusCode::CREATED, Json(set)))
}

async fn find(
    State(database): State<Database>,
    caller: Caller<CouponSetsRead>,
    Path(id): Path<Uuid>,
) -> Result<Json<CouponSet>, Error> {
    let set = database
        .with_snapshot(caller.tenant, async |connection| {
            super::find(connection, caller.tenant, id).await
        })
        .await?;
    set.map(Json).ok_or_else(|| Error::not_found("coupon set"))
}

async fn patch(
    State(database): State<Database>,
    State(dirty_sets): State<DirtySets>,
    caller: Caller<CouponSetsWrite>,
    Path(id): Path<Uuid>,
    Json(patch): Json<CouponSetPatch>,
) -> Result<Json<CouponSet>, Error> {
    let set = super::patch(&database, caller.tenant, id, patch).await?;
    dirty_sets.mark(SetKey {
        tenant: caller.tenant,
        set_no: set.set_no,
    });
    Ok(Json(set))
}

async fn delete(
    State(database): State<Database>,
    caller: Caller<CouponSetsWrite>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    super::delete(&database, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

text_enum! {
    /// A column by which a list of sets can be sorted.
    pub(super) enum Column {
        Name = "name",
        Type = "type",
        CreatedAt = "createdAt",
        Available = "available",
        Assigned = "assigned",
        Sent = "sent",
        Used = "used",
    }
}

/// Order of a list: a column name, with a leading minus for descending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Sort {
    column: Column,
    descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self {
            column: Column::CreatedAt,
            descending: true,
        }
    }
}

impl TryFrom<String> for Sort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, &*text),
        };
        let column = Column::parse(name).ok_or_else(|| {
            let columns = Column::NAMES.join(", ");
            format!("`sort` must be one of {columns}, optionally with a leading minus")
        })?;
        Ok(Self { column, descending })
    }
}

impl From<Sort> for String {
    fn from(sort: Sort) -> Self {
        let minus = if sort.descending { "-" } else { "" };
        format!("{minus}{}", sort.column.as_str())
    }
}

/// Additional members of each set in a list.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Include {
    Forecast,
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
    include: Option<Include>,
    limit: Option<u16>,
    cursor: Option<String>,
}

/// Position of a set in a list of this order.
type SetCursor = (Sort, String, Uuid);

impl ListQuery {
    /// Validates the parameters and decodes the cursor.
    fn paging(&self) -> Result<Paging<SetCursor>, Error> {
        let paging: Paging<SetCursor> = Paging::new(self.limit, self.cursor.as_deref())?;
        if paging.key().is_some_and(|(sort, ..)| *sort != self.sort) {
            return Err(Error::malformed("`cursor` belongs to another `sort`."));
        }
        // PostgreSQL rejects text with a NUL.
        let texts = [
            self.q.as_deref(),
            paging.key().map(|(_, key, _)| key.as_str()),
        ];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(Error::malformed("The query must not contain NUL."));
        }
        Ok(paging)
    }
}

/// A set in a list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ListItem {
    Plain(CouponSet),
    WithForecast {
        #[serde(flatten)]
        set: CouponSet,
        /// Null if there is too little history for a forecast.
        forecast: Option<Forecast>,
    },
}

impl ListItem {
    fn position(&self, sort: Sort) -> SetCursor {
        let (Self::Plain(set) | Self::WithForecast { set, .. }) = self;
        (sort, set.sort_key.clone(), set.id)
    }
}

async fn list(
    State(database): State<Database>,
    caller: Caller<CouponSetsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ListItem>>, Error> {
    let paging = query.paging()?;
    // Forecasts are heavy.
    let mut snapshot = if query.include.is_some() || query.stock.is_some() {
        database.heavy_snapshot(caller.tenant).await?
    } else {
        database.snapshot(caller.tenant).await?
    };
    let items = list_items(&mut snapshot, caller.tenant, &query, &paging).await?;
    snapshot.commit().await?;
    let page = paging.page(items, &uri, |item| item.position(query.sort));
    Ok(Json(page))
}

/// Reads the rows of a page.
async fn list_items(
    connection: &mut PgConnection,
    tenant: TenantId,
    query: &ListQuery,
    paging: &Paging<SetCursor>,
) -> sqlx::Result<Vec<ListItem>> {
    let run_out = stock::list_run_out_for_filter(connection, tenant, query.stock).await?;
    let filter = db::SetListFilter {
        name_part: query.q.as_deref().map(fold),
        kind: query.kind,
        state: query.state,
        stock: query.stock,
        run_out: &run_out,
        sort: query.sort.column,
        descending: query.sort.descending != paging.back(),
        after: paging.key().map(|(_, key, id)| (key.as_str(), *id)),
        rows: paging.rows(),
    };
    let mut sets = db::list(connection, tenant, &filter).await?;
    if query.stock.is_none() {
        stock::mark_low(connection, tenant, &mut sets).await?;
    }
    let Some(Include::Forecast) = query.include else {
        return Ok(sets.into_iter().map(ListItem::Plain).collect());
    };
    let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
    let forecasts = forecasts(connection, tenant, &set_nos).await?;
    let with_forecast = |set: CouponSet| ListItem::WithForecast {
        forecast: forecasts.get(&set.set_no).copied(),
        set,
    };
    Ok(sets.into_iter().map(with_forecast).collect())
}
