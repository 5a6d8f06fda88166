//! Statistics: current and past counters of a set and of a tenant, breakdowns by workflow and import, and forecasts.
//!
//! Everything follows from the ledger. `roll_up` stores the counters of a set at each quarter of an hour in advance. A
//! request adds the ledger entries since then. So every response is exact regardless of the progress of the roll-up: in
//! one snapshot the series add up to the totals. If the roll-up lags too far behind, the request is rejected.
//!
//! `period` computes the requested hours, days or weeks, `series` the balances of a set at their boundaries, and
//! `breakdown` the shares of workflows, nodes, imports and sets.

mod breakdown;
mod checkpoints;
mod counts;
mod db;
mod forecast;
mod http;
mod period;
mod roll_up;
mod scope;
mod series;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
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
use breakdown::{Breakdown, Shares};
use checkpoints::CheckpointRow;
use counts::Counts;
use db::{SetRow, TermsRow};
use period::{Interval, Period, PeriodQuery};
use series::{Balance, SetLedger, Sums, own_counts_from, spread};

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

/// Maximum number of sets that are read at a time.
const MAX_SETS_PER_READ: usize = 1_000;
/// Maximum number of intervals in which something happened, of all sets together. Reading them takes a second.
const MAX_CHECKPOINTS: usize = 400_000;
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

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    totals: Totals,
    period: Summary,
    series: Vec<Point>,
    by_workflow: Shares,
    by_node: Shares,
    by_import: Shares,
}

/// Current counters. For a tenant, `quantity` and `available` are sums over the existing sets with a limit. All other
/// counters are sums over all sets, including unlimited and deleted ones.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    #[serde(flatten)]
    levels: Levels,
    #[serde(flatten)]
    flows: Flows,
}

/// The period, and the changes of the counters in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    interval: Interval,
    timezone: &'static str,
    #[serde(flatten)]
    flows: Flows,
}

/// An hour, a day or a week: the levels at its end, and the changes of the counters in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    #[serde(flatten)]
    levels: Levels,
    #[serde(flatten)]
    flows: Flows,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Levels {
    /// Null if unlimited.
    quantity: Option<i64>,
    /// Null if unlimited.
    available: Option<i64>,
    reserved: i64,
    /// Codes that expired unassigned.
    expired: i64,
}

impl From<Balance> for Levels {
    fn from(balance: Balance) -> Self {
        Self {
            quantity: balance.quantity,
            available: balance.available,
            reserved: balance.counts.reserved,
            expired: balance.expired,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Flows {
    /// Codes that contacts hold, including sent and used ones and excluding reserved ones. Releases decrease it.
    assigned: i64,
    sent: i64,
    used: i64,
    /// Number of releases of codes, including those by expired reservations.
    released: i64,
    void: i64,
    withdrawn: i64,
    /// Assignments made as the child of another set, including released ones.
    served_for_others: i64,
}

impl From<Counts> for Flows {
    fn from(counts: Counts) -> Self {
        Self {
            assigned: counts.assigned,
            sent: counts.sent,
            used: counts.used,
            released: counts.released,
            void: counts.void,
            withdrawn: counts.withdrawn,
            served_for_others: counts.for_others,
        }
    }
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
    check_progress(connection, tenant, &sets).await?;
    let (statistics, _) = read(connection, tenant, &sets, &period, Aggregation::Set).await?;
    let forecasts = forecasts(connection, tenant, &[of_set.set_no]).await?;
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
    check_progress(connection, tenant, &sets).await?;
    let (statistics, by_coupon_set) =
        read(connection, tenant, &sets, &period, Aggregation::Tenant).await?;

    let existing: Vec<&SetRow> = sets.iter().filter(|set| set.deleted_at.is_none()).collect();
    let set_nos: Vec<i32> = existing.iter().map(|set| set.set_no).collect();
    let forecasts = forecasts(connection, tenant, &set_nos).await?;
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

/// Aggregation of balances: of a single set, or summed over the sets of a tenant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregation {
    Set,
    Tenant,
}

/// Rejects a request that would read more than `MAX_LAG` ledger entries, because it could not finish in time.
async fn check_progress(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[SetRow],
) -> Result<(), Error> {
    let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
    let lag = db::sum_lag(connection, tenant, &set_nos).await?;
    if lag > MAX_LAG {
        let detail = format!(
            "{lag} ledger entries are not aggregated yet. Aggregation continues in the background; try again later."
        );
        return Err(Error::refused(&STATISTICS_BEHIND, detail));
    }
    Ok(())
}

/// Reads the statistics of these sets together, and the share of each set.
async fn read(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[SetRow],
    period: &Period,
    aggregation: Aggregation,
) -> Result<(Figures, Shares), Error> {
    let points = period.boundaries.len() - 1;
    // The last time is after the present, so that it includes everything that the snapshot shows.
    let mut times = period.boundaries.clone();
    if times[points] > period.now {
        times.pop();
    }
    times.push(period.now + TimeDelta::days(1));

    let flows = match aggregation {
        Aggregation::Set => Vec::new(),
        Aggregation::Tenant => checkpoints::list_tenant_flows(connection, tenant, &times).await?,
    };
    let mut sums = Sums::new(&times, &flows);
    let mut of_set = Vec::new();
    let mut breakdown = Breakdown::default();
    let mut checkpoints_left = MAX_CHECKPOINTS;
    for sets in sets.chunks(MAX_SETS_PER_READ) {
        let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
        let ledger_tails = db::list_ledger_tails(connection, tenant, &set_nos).await?;
        let lots = db::list_lots(connection, tenant, &set_nos).await?;
        let terms = db::list_terms(connection, tenant, &set_nos).await?;
        let mut terms = by_set(&terms, |row| row.set_no);
        let (own_nos, starts) = own_periods(sets, &terms, &times, aggregation);
        let checkpoints = list_checkpoints(
            connection,
            tenant,
            (&own_nos, &starts),
            period.interval,
            &times,
            &mut checkpoints_left,
        )
        .await?;
        let expiries = db::list_expiries(connection, tenant, &set_nos, &times).await?;
        let (from, to) = (times[0], times[points]);
        let shares = db::list_shares(connection, tenant, &set_nos, from, to).await?;

        breakdown.add_ids(sets, &lots);
        for share in shares {
            breakdown.add_share(share);
        }
        let in_period = ledger_tails
            .iter()
            .filter(|row| (from..to).contains(&row.bucket));
        for row in in_period {
            breakdown.add_tail(row);
        }

        for row in &ledger_tails {
            sums.add_tail(row);
        }
        let mut checkpoints = by_set(&checkpoints, |row| row.set_no);
        let mut ledger_tails = by_set(&ledger_tails, |row| row.set_no);
        let mut lots = by_set(&lots, |row| row.set_no);
        let mut expiries = by_set(&expiries, |row| row.set_no);
        for set in sets {
            let ledger = SetLedger {
                checkpoints: checkpoints.remove(&set.set_no).unwrap_or_default(),
                ledger_tail: ledger_tails.remove(&set.set_no).unwrap_or_default(),
                lots: lots.remove(&set.set_no).unwrap_or_default(),
                terms: terms.remove(&set.set_no).unwrap_or_default(),
                expiries: expiries.remove(&set.set_no).unwrap_or_default(),
            };
            let balances = ledger.balances(set, &times);
            match aggregation {
                Aggregation::Set => of_set = spread(&balances, times.len()),
                Aggregation::Tenant => sums.add(set, &balances),
            }
        }
    }
    let balances = match aggregation {
        Aggregation::Set => of_set,
        Aggregation::Tenant => sums.balances(),
    };

    let moved = |from: usize, to: usize| balances[to].counts - balances[from].counts;
    let series = (0..points).map(|place| Point {
        from: period.boundaries[place],
        to: period.boundaries[place + 1],
        levels: balances[place + 1].into(),
        flows: moved(place, place + 1).into(),
    });
    let last = balances[balances.len() - 1];
    let statistics = Figures {
        totals: Totals {
            levels: last.into(),
            flows: last.counts.into(),
        },
        period: Summary {
            from: period.boundaries[0],
            to: period.boundaries[points],
            interval: period.interval,
            timezone: period.zone.name(),
            flows: moved(0, points).into(),
        },
        series: series.collect(),
        by_workflow: breakdown.by_workflow(),
        by_node: breakdown.by_node(),
        by_import: breakdown.by_import(),
    };
    Ok((statistics, breakdown.by_coupon_set()))
}

/// Returns the sets whose own counters are needed, and the time from which on they are.
fn own_periods(
    sets: &[SetRow],
    terms: &HashMap<i32, Vec<&TermsRow>>,
    times: &[DateTime<Utc>],
    aggregation: Aggregation,
) -> (Vec<i32>, Vec<DateTime<Utc>>) {
    let period = |set: &SetRow| {
        let terms = terms.get(&set.set_no).map_or(&[][..], Vec::as_slice);
        let place = match aggregation {
            Aggregation::Set => 0,
            Aggregation::Tenant => own_counts_from(set, terms, times)?,
        };
        Some((set.set_no, times[place]))
    };
    sets.iter().filter_map(period).unzip()
}

/// Lists the rolled-up counts of these sets, of each from its start on, from which their balances at the times follow, and
/// takes their number from `left`. Fails if there are more.
async fn list_checkpoints(
    connection: &mut PgConnection,
    tenant: TenantId,
    (set_nos, starts): (&[i32], &[DateTime<Utc>]),
    interval: Interval,
    times: &[DateTime<Utc>],
    left: &mut usize,
) -> Result<Vec<CheckpointRow>, Error> {
    let limit = i64::try_from(*left + 1).expect("the maximum is small");
    let mut found =
        checkpoints::list_first_checkpoints(connection, tenant, set_nos, starts).await?;
    let in_period = match interval {
        Interval::Hour => {
            checkpoints::list_checkpoints(connection, tenant, set_nos, starts, times, limit).await?
        }
        Interval::Day | Interval::Week => {
            checkpoints::look_up_checkpoints(connection, tenant, set_nos, starts, times, limit)
                .await?
        }
    };
    *left = left.checked_sub(in_period.len()).ok_or_else(|| {
        let wider = match interval {
            Interval::Hour => "Choose `interval=day`, or a shorter period.",
            Interval::Day => "Choose `interval=week`, or a shorter period.",
            Interval::Week => "Choose a shorter period.",
        };
        let detail = format!("Too much happened in this period for so short an interval. {wider}");
        Error::invalid("interval", detail)
    })?;
    found.extend(in_period);
    Ok(found)
}

fn by_set<T, K: Eq + Hash>(rows: &[T], key: impl Fn(&T) -> K) -> HashMap<K, Vec<&T>> {
    let mut groups: HashMap<K, Vec<&T>> = HashMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}
