//! Figures of sets: totals, series and shares, read from the roll-up and the ledgers.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::breakdown::{Breakdown, Shares};
use super::checkpoints::{self, CheckpointRow};
use super::counts::Counts;
use super::db::{self, SetRow, TermsRow};
use super::period::{Interval, Period};
use super::series::{Balance, SetLedger, Sums, own_counts_from, spread};
use crate::http::error::Error;
use crate::ids::TenantId;

/// Maximum number of sets that are read at a time.
const MAX_SETS_PER_READ: usize = 1_000;
/// Maximum number of intervals in which something happened, of all sets together. Reading them takes a second.
const MAX_CHECKPOINTS: usize = 400_000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    totals: Totals,
    period: Summary,
    series: Vec<Point>,
    by_workflow: Shares,
    by_node: Shares,
    by_import: Shares,
}

impl Figures {
    /// Computes the figures from the balances before each boundary of the period and before the present.
    fn new(balances: &[Balance], breakdown: &Breakdown, period: &Period) -> Self {
        let points = period.boundaries.len() - 1;
        let moved = |from: usize, to: usize| balances[to].counts - balances[from].counts;
        let series = (0..points).map(|place| Point {
            from: period.boundaries[place],
            to: period.boundaries[place + 1],
            levels: balances[place + 1].into(),
            flows: moved(place, place + 1).into(),
        });
        let last = balances[balances.len() - 1];
        Self {
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
        }
    }
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

/// Aggregation of balances: of a single set, or summed over the sets of a tenant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Set,
    Tenant,
}

/// Reads the statistics of these sets together, and the share of each set. `lagging` are those of them that are not rolled up
/// to their ends.
pub(super) async fn read(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[SetRow],
    lagging: &[i32],
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
    // Separates the codes that have expired by now from those that will.
    let mut expiry_times = times.clone();
    expiry_times.insert(times.len() - 1, period.now);

    let all_lagging: HashSet<i32> = lagging.iter().copied().collect();
    let mut balances = Vec::new();
    let mut sums = match aggregation {
        Aggregation::Set => None,
        Aggregation::Tenant => {
            let flows = checkpoints::list_tenant_flows(connection, tenant, &times).await?;
            Some(Sums::new(&times, &flows))
        }
    };
    let mut breakdown = Breakdown::default();
    let mut checkpoints_left = MAX_CHECKPOINTS;
    for sets in sets.chunks(MAX_SETS_PER_READ) {
        let set_nos: Vec<i32> = sets.iter().map(|set| set.set_no).collect();
        let lagging: Vec<i32> = set_nos
            .iter()
            .copied()
            .filter(|set_no| all_lagging.contains(set_no))
            .collect();
        let ledger_tails = db::list_ledger_tails(connection, tenant, &lagging).await?;
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
        let expiries = db::list_expiries(connection, tenant, &set_nos, &expiry_times).await?;
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

        if let Some(sums) = &mut sums {
            for row in &ledger_tails {
                sums.add_tail(row);
            }
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
            let changes = ledger.balances(set, &times);
            match &mut sums {
                Some(sums) => sums.add(set, &changes),
                None => balances = spread(&changes, times.len()),
            }
        }
    }
    if let Some(sums) = sums {
        balances = sums.balances();
    }

    let figures = Figures::new(&balances, &breakdown, period);
    Ok((figures, breakdown.by_coupon_set()))
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
