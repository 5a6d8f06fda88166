//! Statistics: how the counters of a set and of a tenant stand and stood, whose workflows took the codes, from which
//! imports they came, and when a set runs out.
//!
//! Everything follows from the ledger. `roll_up` writes down beforehand how a set stood at each quarter of an hour; what the
//! ledger says since then is added at the time of the answer. So every answer is exact, however far the roll-up is: in one
//! snapshot the series add up to the totals. Where it is so far behind that this would take long, there is no answer yet.
//!
//! `period` says which hours, days or weeks are asked for, `series` how a set stood between them, `breakdown` who took part.

mod breakdown;
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
use counts::Counts;
use db::SetRow;
use period::{Interval, Period, PeriodQuery};
use series::{Facts, Standing};

/// Streams the assignments of a scope as CSV. Assignments are above statistics, so whoever builds the state names the function.
pub(crate) type Export = fn(Database, TenantId, ExportScope) -> Response;

feature_state! {
    /// What the routes and the roll-up of statistics work with.
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

/// Points of all sets together that are read at a time.
const CHUNK: usize = 100_000;
/// Entries of ledgers that an answer reads because they are not rolled up: some seconds' worth.
const MOST_BEHIND: i64 = 500_000;
/// Sets that are told of those that run out next.
const NEXT: usize = 10;

/// Statistics of one set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetStatistics {
    coupon_set_id: Uuid,
    #[serde(flatten)]
    statistics: Figures,
    /// Null if there is too little to say.
    forecast: Option<Forecast>,
}

/// Statistics of a tenant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TenantStatistics {
    /// Sets that exist now.
    coupon_sets: usize,
    #[serde(flatten)]
    statistics: Figures,
    by_coupon_set: Shares,
    /// Sets with a forecast, the one that runs out first before the others.
    runs_out_next: Vec<RunsOut>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunsOut {
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

/// How the counters stand at this moment. Of a tenant `quantity` and `available` are of the sets that exist and have a
/// limit, all else of all sets, also the unlimited and the deleted ones.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    #[serde(flatten)]
    levels: Levels,
    #[serde(flatten)]
    flows: Flows,
}

/// The period, and by how much the counters moved in it.
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

/// An hour, a day or a week: how the counters stood as it ended, and by how much they moved.
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
    /// Codes that expired before anybody got them.
    expired: i64,
}

impl From<Standing> for Levels {
    fn from(standing: Standing) -> Self {
        Self {
            quantity: standing.quantity,
            available: standing.available,
            reserved: standing.counts.reserved,
            expired: standing.expired,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Flows {
    /// What contacts hold and is not reserved, sent and used ones included. What they give back is less again.
    assigned: i64,
    sent: i64,
    used: i64,
    /// How often a code was given back, by reservations that ran out too.
    released: i64,
    void: i64,
    withdrawn: i64,
    /// Assignments that were served as the child of another set, also those that were given back.
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

/// Reads the statistics of a set. All is seen at one moment if the connection is in a snapshot.
async fn of_set(
    connection: &mut PgConnection,
    tenant: TenantId,
    set: Uuid,
    query: &PeriodQuery,
) -> Result<SetStatistics, Error> {
    let sets = db::sets(connection, tenant, Some(set)).await?;
    let of_set = sets.first().ok_or_else(|| Error::not_found("coupon set"))?;
    // The name was checked when it came in.
    let zone = Zone::parse(&of_set.timezone).unwrap_or(Zone::UTC);
    let period = query.period(zone, of_set.now)?;
    check_progress(connection, tenant, &sets).await?;
    let (statistics, _) = read(connection, tenant, &sets, &period, Of::Set).await?;
    let forecasts = forecasts(connection, tenant, &[of_set.set_no]).await?;
    Ok(SetStatistics {
        coupon_set_id: set,
        statistics,
        forecast: forecasts.get(&of_set.set_no).copied(),
    })
}

/// The same of a tenant.
async fn of_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
    query: &PeriodQuery,
) -> Result<TenantStatistics, Error> {
    let sets = db::sets(connection, tenant, None).await?;
    let now = sets.first().map_or_else(Utc::now, |set| set.now);
    let period = query.period(Zone::UTC, now)?;
    check_progress(connection, tenant, &sets).await?;
    let (statistics, by_coupon_set) = read(connection, tenant, &sets, &period, Of::Tenant).await?;

    let there: Vec<&SetRow> = sets.iter().filter(|set| set.deleted_at.is_none()).collect();
    let set_nos: Vec<i32> = there.iter().map(|set| set.set_no).collect();
    let forecasts = forecasts(connection, tenant, &set_nos).await?;
    let mut runs_out_next: Vec<RunsOut> = there
        .iter()
        .filter_map(|set| {
            Some(RunsOut {
                coupon_set_id: set.id,
                name: set.name.clone(),
                available: set.available?,
                forecast: *forecasts.get(&set.set_no)?,
            })
        })
        .collect();
    runs_out_next.sort_by_key(|set| (set.forecast.runs_out_on, set.forecast.earliest));
    runs_out_next.truncate(NEXT);
    Ok(TenantStatistics {
        coupon_sets: there.len(),
        statistics,
        by_coupon_set,
        runs_out_next,
    })
}

/// Whose statistics are read: those of the one set as it is, or the sums over all sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Set,
    Tenant,
}

/// Refuses what would read so much of ledgers that it could not end in time.
async fn check_progress(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[SetRow],
) -> Result<(), Error> {
    let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
    let behind = db::behind(connection, tenant, &set_nos).await?;
    if behind > MOST_BEHIND {
        let detail = format!(
            "{behind} ledger entries are not aggregated yet. Aggregation continues in the background; try again later."
        );
        return Err(Error::refused(&STATISTICS_BEHIND, detail));
    }
    Ok(())
}

/// Reads the statistics of these sets together, and their shares in it.
async fn read(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[SetRow],
    period: &Period,
    of: Of,
) -> Result<(Figures, Shares), Error> {
    let points = period.boundaries.len() - 1;
    // The end of a point that is under way is the present: whatever the snapshot shows has come by then.
    let mut ats = period.boundaries.clone();
    if ats[points] > period.now {
        ats.pop();
    }
    ats.push(period.now + TimeDelta::days(1));

    let mut sums = vec![
        Standing {
            quantity: Some(0),
            available: Some(0),
            ..Standing::default()
        };
        ats.len()
    ];
    let mut breakdown = Breakdown::default();
    for sets in sets.chunks((CHUNK / ats.len()).max(1)) {
        let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
        let marks = db::marks(connection, tenant, &set_nos, &ats).await?;
        let tails = db::tails(connection, tenant, &set_nos).await?;
        let lots = db::lots(connection, tenant, &set_nos).await?;
        let terms = db::terms(connection, tenant, &set_nos).await?;
        let expiries = db::expiries(connection, tenant, &set_nos, &ats).await?;
        let (from, to) = (ats[0], ats[points]);
        let shares = db::shares(connection, tenant, &set_nos, from, to).await?;

        breakdown.name(sets, &lots);
        for share in shares {
            breakdown.add_share(share);
        }
        let in_period = tails.iter().filter(|row| (from..to).contains(&row.bucket));
        for row in in_period {
            breakdown.add_tail(row);
        }

        let mut tails = by_set(&tails, |row| row.set_no);
        let mut lots = by_set(&lots, |row| row.set_no);
        let mut terms = by_set(&terms, |row| row.set_no);
        let mut expiries = by_set(&expiries, |row| row.set_no);
        for (set, marks) in sets.iter().zip(marks.chunks(ats.len())) {
            let facts = Facts {
                marks,
                tail: tails.remove(&set.set_no).unwrap_or_default(),
                lots: lots.remove(&set.set_no).unwrap_or_default(),
                terms: terms.remove(&set.set_no).unwrap_or_default(),
                expiries: expiries.remove(&set.set_no).unwrap_or_default(),
            };
            let standings = facts.standings(set, &ats);
            match of {
                Of::Set => sums = standings,
                Of::Tenant => add(&mut sums, &standings, set, &ats),
            }
        }
    }

    let moved = |from: usize, to: usize| sums[to].counts - sums[from].counts;
    let series = (0..points).map(|place| Point {
        from: period.boundaries[place],
        to: period.boundaries[place + 1],
        levels: sums[place + 1].into(),
        flows: moved(place, place + 1).into(),
    });
    let last = sums[sums.len() - 1];
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

/// Adds a set to the sums of a tenant. What a deleted set gave stays given; what it had left is gone.
fn add(sums: &mut [Standing], standings: &[Standing], set: &SetRow, ats: &[DateTime<Utc>]) {
    for ((sum, standing), at) in sums.iter_mut().zip(standings).zip(ats) {
        sum.counts += standing.counts;
        sum.expired += standing.expired;
        if set.deleted_at.is_some_and(|deleted| deleted < *at) {
            continue;
        }
        for (sum, level) in [
            (&mut sum.quantity, standing.quantity),
            (&mut sum.available, standing.available),
        ] {
            *sum = sum.map(|sum| sum + level.unwrap_or(0));
        }
    }
}

fn by_set<T, K: Eq + Hash>(rows: &[T], key: impl Fn(&T) -> K) -> HashMap<K, Vec<&T>> {
    let mut groups: HashMap<K, Vec<&T>> = HashMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}
