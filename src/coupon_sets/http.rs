//! `/v1/coupon-sets`.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
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
use crate::ids::SetKey;
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
    /// A column that a list can be sorted by.
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

/// The order of a list: by a column, and the other way round where a minus stands before its name.
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

/// What a list tells of each set besides.
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

/// A set of a list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Listed {
    Alone(CouponSet),
    WithForecast {
        #[serde(flatten)]
        set: CouponSet,
        /// Null if there is too little to say.
        forecast: Option<Forecast>,
    },
}

async fn list(
    State(database): State<Database>,
    caller: Caller<CouponSetsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Listed>>, Error> {
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
    let mut transaction = database.snapshot(caller.tenant).await?;
    let run_out = stock::run_out_for(&mut transaction, caller.tenant, query.stock).await?;
    let filter = db::ListFilter {
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
    let mut sets = db::list(&mut transaction, caller.tenant, &filter).await?;
    if query.stock.is_none() {
        stock::mark(&mut transaction, caller.tenant, &mut sets).await?;
    }
    let forecasts = match query.include {
        Some(Include::Forecast) => {
            let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
            Some(forecasts(&mut transaction, caller.tenant, &set_nos).await?)
        }
        None => None,
    };
    transaction.commit().await?;
    let page = paging.page(sets, &uri, |set| (query.sort, set.sort_key.clone(), set.id));
    Ok(Json(page.map(|set| match &forecasts {
        None => Listed::Alone(set),
        Some(forecasts) => Listed::WithForecast {
            forecast: forecasts.get(&set.set_no).copied(),
            set,
        },
    })))
}
