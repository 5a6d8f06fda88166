//! Statistics: totals of a set and of a tenant, exact at the moment of the answer.
//!
//! Nothing is counted ahead: totals come from the ends of the logs.

mod db;
pub(crate) mod forecast;
mod http;

use serde::Serialize;
use uuid::Uuid;

pub(crate) use forecast::forecasts;
pub(crate) use http::router;

/// Totals of one set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetStatistics {
    pub coupon_set_id: Uuid,
    pub totals: Totals,
}

#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    /// Null if unlimited.
    pub quantity: Option<i64>,
    /// Null if unlimited.
    pub available: Option<i64>,
    pub reserved: i64,
    /// What contacts hold and is not reserved, sent and used ones included.
    pub assigned: i64,
    pub sent: i64,
    pub used: i64,
    /// How often a code was given back, by reservations that ran out too.
    pub released: i64,
    pub void: i64,
    /// Codes that expired before anybody got them.
    pub expired: i64,
    /// How many codes were withdrawn; they are no part of the quantity.
    pub withdrawn: i64,
}

/// Totals of a tenant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TenantStatistics {
    /// Sets that exist now.
    pub coupon_sets: i64,
    pub totals: TenantTotals,
}

#[derive(Debug, Serialize)]
pub(crate) struct TenantTotals {
    /// Of the sets that exist now and have a limit.
    pub quantity: i64,
    /// Of the sets that exist now and have a limit.
    pub available: i64,
    // From here on of all sets, also the unlimited and the deleted ones.
    pub reserved: i64,
    pub assigned: i64,
    pub sent: i64,
    pub used: i64,
    pub released: i64,
    pub void: i64,
    pub expired: i64,
    pub withdrawn: i64,
}
