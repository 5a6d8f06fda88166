//! Coupons: the individual codes of a `multiple` set, their status, and their withdrawal.
//!
//! `lookup` finds the sets that have a given code.
//!
//! A page of a list reads a bounded number of cards, however few of them match the filter. So it may have fewer results
//! than its limit and still link to the next page.

mod burn;
mod db;
mod export;
mod http;
mod lookup;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::ids::TenantId;
use crate::tenants::auth::Auth;
use crate::text_enum::text_enum;

pub(crate) use burn::{BurnedSet, burn};

feature_state! {
    /// State of the routes of coupons.
    Coupons { auth: Auth, database: Database, dirty_sets: DirtySets, }
}

impl Coupons {
    pub(crate) fn new(auth: &Auth, database: &Database, dirty_sets: &DirtySets) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            dirty_sets: dirty_sets.clone(),
        }))
    }
}

pub(crate) fn routes(state: Coupons) -> Routes {
    http::routes().with_state(state)
}

/// Maximum number of cards read for a page, or for a batch of an export.
const BATCH_SIZE: i32 = 2_000;
/// Minimum number of cards read for a page. Some of them may be skipped: a code may have been imported several times, and
/// in the order of codes those of other sets lie between.
const MIN_BATCH_SIZE: i32 = 100;

text_enum! {
    /// Status of a coupon.
    enum CouponStatus {
        Available = "available",
        Reserved = "reserved",
        Assigned = "assigned",
        Sent = "sent",
        Used = "used",
        Void = "void",
        Expired = "expired",
        Withdrawn = "withdrawn",
    }
}

/// A code of a `multiple` set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Coupon {
    code: String,
    status: CouponStatus,
    /// Contact that holds the code. Null if none does.
    contact_id: Option<String>,
    assignment_id: Option<Uuid>,
    /// Null if the code was released before releases recorded the import.
    import_id: Option<Uuid>,
    imported_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    /// Attributes from the import: names and text values.
    attributes: Option<Value>,
}

/// Position of a coupon in a list: in the deck by lot and ordinal, or in the order of codes by code, set and occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum CouponCursor {
    Deck(i32, i32),
    Code(String, i32, i32),
}

/// Filter of a list of coupons.
#[derive(Debug, Clone)]
struct CouponFilter {
    set_no: i32,
    status: Option<CouponStatus>,
    /// With a prefix, the list is in the order of codes.
    prefix: Option<String>,
}

impl CouponFilter {
    /// Returns the cursor before the first coupon.
    fn start(&self) -> CouponCursor {
        match &self.prefix {
            Some(prefix) => CouponCursor::Code(prefix.clone(), 0, 0),
            None => CouponCursor::Deck(0, 0),
        }
    }

    /// Returns true if the cursor is of a list of this kind.
    fn accepts(&self, cursor: &CouponCursor) -> bool {
        match cursor {
            // PostgreSQL rejects text with a NUL.
            CouponCursor::Code(code, ..) => self.prefix.is_some() && !code.contains('\0'),
            CouponCursor::Deck(_, ordinal) => {
                self.prefix.is_none() && (0..i32::MAX).contains(ordinal)
            }
        }
    }
}

/// A batch of a list.
struct CouponBatch {
    coupons: Vec<(CouponCursor, Coupon)>,
    /// Cursor of the last card read. `None` at the end of the list.
    next: Option<CouponCursor>,
}

/// Reads the batch of cards after a cursor, or before it if `back`, and up to `rows` matching coupons in it.
async fn read(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &CouponFilter,
    after: &CouponCursor,
    back: bool,
    rows: i32,
) -> sqlx::Result<CouponBatch> {
    let limit = match filter.status {
        // Almost every card matches.
        None => rows.saturating_mul(2).clamp(MIN_BATCH_SIZE, BATCH_SIZE),
        Some(_) => BATCH_SIZE,
    };
    let mut cards = match (after, &filter.prefix) {
        (CouponCursor::Code(code, set_no, occurrence), Some(prefix)) => {
            let after = db::CodeCursor {
                code,
                set_no: *set_no,
                occurrence: *occurrence,
            };
            db::list_in_code_order(connection, tenant, prefix, &after, back, limit).await?
        }
        (CouponCursor::Deck(lot_no, ordinal), _) => {
            let after = (*lot_no, *ordinal);
            db::list_in_deck_order(connection, tenant, filter, after, back, limit).await?
        }
        (CouponCursor::Code(..), None) => Vec::new(),
    };
    let is_full = i32::try_from(cards.len()).is_ok_and(|count| count == limit);
    let next = cards
        .last()
        .filter(|_| is_full)
        .map(|card| card.cursor.clone());
    // The order of codes includes cards of other sets.
    cards.retain(|card| card.set_no == filter.set_no);
    let coupons = db::find(connection, tenant, filter, &cards, rows).await?;
    let coupons = coupons
        .into_iter()
        .map(|(index, coupon)| (cards[index].cursor.clone(), coupon))
        .collect();
    Ok(CouponBatch { coupons, next })
}
