//! Coupons: the codes of a `multiple` set one by one. Where each of them is, and which go to nobody any more.
//!
//! `lookup` answers the other question: which sets have a code.
//!
//! A list reads a bounded part of the deck for each page, however little of it a filter lets through: so a page may have
//! fewer results than there are, and a link to where it goes on.

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

feature_state! {
    /// What the routes of coupons work with.
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

/// Cards that are looked at for a page, or for a portion of an export.
const PORTION: i32 = 2_000;
/// So many at least: the same codes may have come in several times, and those of other sets may lie between.
const LEAST: i32 = 100;

text_enum! {
    /// What has become of a code.
    enum Status {
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

/// A code of a set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Coupon {
    code: String,
    status: Status,
    /// Who was given it; null if it is with nobody.
    contact_id: Option<String>,
    assignment_id: Option<Uuid>,
    /// Null if the code came back before it was noted whose it was.
    import_id: Option<Uuid>,
    imported_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    /// What the import kept with it: names and values, all text.
    attributes: Option<Value>,
}

/// Where a coupon stands: in the deck by lot and ordinal, or in the order of codes by code, set and turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum CouponCursor {
    Deck(i32, i32),
    Code(String, i32, i32),
}

/// What a list is of.
#[derive(Debug, Clone)]
struct Filter {
    set_no: i32,
    status: Option<Status>,
    /// With it the list is in the order of codes.
    prefix: Option<String>,
}

impl Filter {
    /// Before the first coupon.
    fn start(&self) -> CouponCursor {
        match &self.prefix {
            Some(prefix) => CouponCursor::Code(prefix.clone(), 0, 0),
            None => CouponCursor::Deck(0, 0),
        }
    }

    /// Whether a cursor is of a list like this.
    fn fits(&self, cursor: &CouponCursor) -> bool {
        match cursor {
            // PostgreSQL cannot even be asked for text with a NUL.
            CouponCursor::Code(code, ..) => self.prefix.is_some() && !code.contains('\0'),
            CouponCursor::Deck(_, ordinal) => {
                self.prefix.is_none() && (0..i32::MAX).contains(ordinal)
            }
        }
    }
}

/// A part of a list.
struct Portion {
    found: Vec<(CouponCursor, Coupon)>,
    /// Where reading stopped, unless it was at the end.
    rest: Option<CouponCursor>,
}

/// Reads up to so many coupons of the next portion after a cursor, or before it if `back`.
async fn read(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &Filter,
    after: &CouponCursor,
    back: bool,
    rows: i32,
) -> sqlx::Result<Portion> {
    let most = match filter.status {
        // Almost all of them are shown.
        None => rows.saturating_mul(2).clamp(LEAST, PORTION),
        Some(_) => PORTION,
    };
    let mut cards = match (after, &filter.prefix) {
        (CouponCursor::Code(code, set_no, occurrence), Some(prefix)) => {
            let after = db::CodeCursor {
                code,
                set_no: *set_no,
                occurrence: *occurrence,
            };
            db::list_by_code(connection, tenant, prefix, &after, back, most).await?
        }
        (CouponCursor::Deck(lot_no, ordinal), _) => {
            let after = (*lot_no, *ordinal);
            db::list_by_place(connection, tenant, filter, after, back, most).await?
        }
        (CouponCursor::Code(..), None) => Vec::new(),
    };
    let is_full = i32::try_from(cards.len()).is_ok_and(|count| count == most);
    let rest = cards
        .last()
        .filter(|_| is_full)
        .map(|card| card.cursor.clone());
    // By code those of other sets lie between.
    cards.retain(|card| card.set_no == filter.set_no);
    let coupons = db::find(connection, tenant, filter, &cards, rows).await?;
    let found = coupons
        .into_iter()
        .map(|(index, coupon)| (cards[index].cursor.clone(), coupon))
        .collect();
    Ok(Portion { found, rest })
}
