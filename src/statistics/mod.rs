//! Statistics: current and past counters of a set and of a tenant, breakdowns by workflow and import, and forecasts.
//!
//! Everything follows from the ledger. `roll_up` stores the counters of a set at each quarter of an hour in advance. A
//! request adds the ledger entries since then. So every response is exact regardless of the progress of the roll-up: in
//! one snapshot the series add up to the totals. If the roll-up lags too far behind, the request is rejected.
//!
//! `period` computes the requested hours, days or weeks, `series` the balances of a set at their boundaries, `breakdown` the
//! shares of workflows, nodes, imports and sets, and `figures` puts them together.

mod breakdown;
mod checkpoints;
mod counts;
mod db;
mod figures;
mod forecast;
mod http;
mod period;
mod roll_up;
mod scope;
mod series;

use std::sync::Arc;

use axum::response::Response;
use chrono::Utc;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use forecast::{Forecast, forecasts};
pub(crate) use scope::ExportScope;

use crate::background::Tasks;
use crate::database::Database;
use crate::http::error::{Error, STATISTICS_BEHIND};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::ids::TenantId;
use crate::tenants::auth::Auth;
use crate::time_zone::Zone;
use breakdown::Shares;
use db::SetRow;
use figures::{Aggregation, Figures, read};
use forecast::read_forecasts;
use period::PeriodQuery;

/// Streams the assignments of a scope as CSV. Statistics must not depend on assignments, so the application state passes
/// this function.
pub(crate) type Export = fn(Database, TenantId, ExportScope) -> Response;

feature_state! {
    /// State of the routes and the roll-up of statistics.
    Statistics { auth: Auth, database: Database, export: Export, }
}

impl Statistics {
    pub(crate) fn new(auth: &Auth, database: &Database, export: Export) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            export,
        }))
    }
}

pub(crate) fn routes(state: Statistics) -> Routes {
    http::routes().with_state(state)
}

pub(crate) fn spawn(state: &Statistics, tasks: &Tasks) {
    tasks.spawn(roll_up::work(state.database.clone(), tasks.clone()));
}

/// Maximum number of ledger entries that are not rolled up for which a request is served. Reading them takes seconds.
const MAX_LAG: i64 = 500_000;
/// Maximum number of sets in `runsOutNext`.
const MAX_FORECASTS: usize = 10;

/// Statistics of one set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetStatistics {
    coupon_set_id: Uuid,
    #[serde(flatten)]
    statistics: Figures,
    /// Null if there is too little history for a forecast.
    forecast: Option<Forecast>,
}

/// Statistics of a tenant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TenantStatistics {
    /// Number of existing sets.
    coupon_sets: usize,
    #[serde(flatten)]
    statistics: Figures,
    by_coupon_set: Shares,
    /// Sets with a forecast, in the order in which they run out.
    runs_out_next: Vec<SetForecast>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SetForecast {
    coupon_set_id: Uuid,
    name: String,
    available: i64,
    forecast: Forecast,
}

/// Reads the statistics of a set. They are consistent if the connection is in a snapshot.
async fn of_set(
    connection: &mut PgConnection,
    tenant: TenantId,
    set: Uuid,
    query: &PeriodQuery,
) -> Result<SetStatistics, Error> {
    let sets = db::list_sets(connection, tenant, Some(set)).await?;
    let of_set = sets.first().ok_or_else(|| Error::not_found("coupon set"))?;
    // The name was validated when it was stored.
    let zone = Zone::parse(&of_set.timezone).unwrap_or(Zone::UTC);
    let period = query.period(zone, of_set.now)?;
    let lagging = check_lag(connection, tenant, &sets).await?;
    let (statistics, _) = read(
        connection,
        tenant,
        &sets,
        &lagging,
        &period,
        Aggregation::Set,
    )
    .await?;
    let forecasts = read_forecasts(connection, tenant, &[of_set.set_no], &lagging).await?;
    Ok(SetStatistics {
        coupon_set_id: set,
        statistics,
        forecast: forecasts.get(&of_set.set_no).copied(),
    })
}

/// Reads the statistics of a tenant. They are consistent if the connection is in a snapshot.
async fn of_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
    query: &PeriodQuery,
) -> Result<TenantStatistics, Error> {
    let sets = db::list_sets(connection, tenant, None).await?;
    let now = sets.first().map_or_else(Utc::now, |set| set.now);
    let period = query.period(Zone::UTC, now)?;
    let lagging = check_lag(connection, tenant, &sets).await?;
    let (statistics, by_coupon_set) = read(
        connection,
        tenant,
        &sets,
        &lagging,
        &period,
        Aggregation::Tenant,
    )
    .await?;

    let existing: Vec<&SetRow> = sets.iter().filter(|set| set.deleted_at.is_none()).collect();
    let set_nos: Vec<i32> = existing.iter().map(|set| set.set_no).collect();
    let forecasts = read_forecasts(connection, tenant, &set_nos, &lagging).await?;
    let mut runs_out_next: Vec<SetForecast> = existing
        .iter()
        .filter_map(|set| {
            Some(SetForecast {
                coupon_set_id: set.id,
                name: set.name.clone(),
                available: set.available?,
                forecast: *forecasts.get(&set.set_no)?,
            })
        })
        .collect();
    runs_out_next.sort_by_key(|set| (set.forecast.runs_out_on, set.forecast.earliest));
    runs_out_next.truncate(MAX_FORECASTS);
    Ok(TenantStatistics {
        coupon_sets: existing.len(),
        statistics,
        by_coupon_set,
        runs_out_next,
    })
}

/// Lists the sets whose ledgers are not rolled up to their ends. Rejects a request that would read more than `MAX_LAG` ledger
/// entries, because it could not finish in time.
async fn check_lag(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[SetRow],
) -> Result<Vec<i32>, Error> {
    let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
    let lags = db::list_lags(connection, tenant, &set_nos).await?;
    let lag: i64 = lags.iter().map(|row| row.lag).sum();
    if lag > MAX_LAG {
        let detail = format!(
            "{lag} ledger entries are not aggregated yet. Aggregation continues in the background; try again later."
        );
        return Err(Error::refused(&STATISTICS_BEHIND, detail));
    }
    Ok(lags.into_iter().map(|row| row.set_no).collect())
}
