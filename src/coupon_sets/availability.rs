//! Availability: the codes that a set and its child sets can assign together.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ChainFault, db};
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Path, Query};
use crate::tenants::auth::{Caller, CouponSetsRead};

/// Maximum of `count`.
const MAX_COUNT: i64 = 1_000_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AvailabilityQuery {
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
    /// In the order in which they assign codes.
    coupon_sets: Vec<ChainMember>,
}

/// A set in a chain of child sets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChainMember {
    pub coupon_set_id: Uuid,
    /// Null if unlimited.
    pub available: Option<i64>,
    /// Fault of the whole chain, the same in each member.
    #[serde(skip)]
    pub fault: Option<ChainFault>,
}

pub(super) async fn find(
    State(database): State<Database>,
    caller: Caller<CouponSetsRead>,
    Path(set): Path<Uuid>,
    Query(query): Query<AvailabilityQuery>,
) -> Result<Json<Availability>, Error> {
    let count = query.count;
    if !(1..=MAX_COUNT).contains(&count) {
        let detail = format!("`count` must be a whole number from 1 to {MAX_COUNT}.");
        return Err(Error::malformed(detail));
    }
    let child = query.child_coupon_set_id;
    let members = database
        .with_tenant(caller.tenant, async |connection| {
            db::list_chain(connection, caller.tenant, set, child).await
        })
        .await?;
    if members.is_empty() {
        return Err(Error::not_found("coupon set"));
    }
    if let Some(fault) = members.iter().find_map(|member| member.fault) {
        return Err(fault.into_error("childCouponSetId"));
    }
    let available = members
        .iter()
        .map(|member| member.available)
        .sum::<Option<i64>>();
    Ok(Json(Availability {
        count,
        sufficient: available.is_none_or(|available| available >= count),
        available,
        coupon_sets: members,
    }))
}
