//! Whether a campaign can be served: what a set and its children have together.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ChainFault, db};
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Path, Query};
use crate::tenants::auth::{Caller, CouponSetsRead};

/// The most codes that may be asked for.
const MAX_COUNT: i64 = 1_000_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Question {
    count: i64,
    child_coupon_set_id: Option<Uuid>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Availability {
    count: i64,
    sufficient: bool,
    /// Null if unlimited.
    available: Option<i64>,
    /// In the order in which they serve.
    coupon_sets: Vec<Link>,
}

/// A set of the chain.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub coupon_set_id: Uuid,
    /// Null if unlimited.
    pub available: Option<i64>,
    /// What is wrong with the chain.
    #[serde(skip)]
    pub fault: Option<ChainFault>,
}

pub(super) async fn find(
    State(database): State<Database>,
    caller: Caller<CouponSetsRead>,
    Path(set): Path<Uuid>,
    Query(question): Query<Question>,
) -> Result<Json<Availability>, Error> {
    let count = question.count;
    if !(1..=MAX_COUNT).contains(&count) {
        let detail = format!("`count` must be a whole number from 1 to {MAX_COUNT}.");
        return Err(Error::malformed(detail));
    }
    let child = question.child_coupon_set_id;
    let links = database
        .with_tenant(caller.tenant, async |connection| {
            db::list_chain(connection, caller.tenant, set, child).await
        })
        .await?;
    if links.is_empty() {
        return Err(Error::not_found("coupon set"));
    }
    if let Some(fault) = links.iter().find_map(|link| link.fault) {
        return Err(fault.into_error("childCouponSetId"));
    }
    let available = links.iter().map(|link| link.available).sum::<Option<i64>>();
    Ok(Json(Availability {
        count,
        sufficient: available.is_none_or(|available| available >= count),
        available,
        coupon_sets: links,
    }))
}
