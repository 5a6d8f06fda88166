//! The scope of an export: the assignments that the statistics of the same period count.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::db;
use super::period::PeriodQuery;
use crate::http::error::Error;
use crate::ids::TenantId;
use crate::time_zone::Zone;

/// The sets of an export, and its period.
pub(crate) struct ExportScope {
    pub set_nos: VecDeque<i32>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

impl ExportScope {
    pub(super) async fn of_set(
        connection: &mut PgConnection,
        tenant: TenantId,
        set: Uuid,
        query: &PeriodQuery,
    ) -> Result<Self, Error> {
        let sets = db::list_export_sets(connection, tenant, Some(set)).await?;
        let zone = sets
            .first()
            .and_then(|set| Zone::parse(&set.timezone))
            .ok_or_else(|| Error::not_found("coupon set"))?;
        Self::new(&sets, query, zone)
    }

    pub(super) async fn of_tenant(
        connection: &mut PgConnection,
        tenant: TenantId,
        query: &PeriodQuery,
    ) -> Result<Self, Error> {
        let sets = db::list_export_sets(connection, tenant, None).await?;
        Self::new(&sets, query, Zone::UTC)
    }

    fn new(sets: &[db::ExportSet], query: &PeriodQuery, zone: Zone) -> Result<Self, Error> {
        if query.interval.is_some() {
            let detail = "The text/csv export has one row per assignment; remove `interval`.";
            return Err(Error::malformed(detail));
        }
        let (from, to) = query.ends(query.zone(zone)?)?;
        Ok(Self {
            set_nos: sets.iter().map(|set| set.set_no).collect(),
            from,
            to,
        })
    }
}
