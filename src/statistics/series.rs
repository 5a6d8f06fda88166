//! Balances of a set at past times.
//!
//! The ledger yields the codes that contacts held. `quantity` is the number of codes published by that time, less the
//! withdrawn ones, or the limit of a `single` set. `expired` counts unassigned codes that had expired by then, and
//! `available` is the rest.

use std::collections::{BTreeMap, HashMap};
use std::ops::{AddAssign, Sub};

use chrono::{DateTime, Utc};

use super::checkpoints::{CheckpointRow, TenantFlowRow};
use super::counts::Counts;
use super::db::{ExpiryRow, LotRow, SetRow, TailRow, TermsRow};

/// Balance of a set just before a time. Entries at the time itself belong to the period after it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Balance {
    pub counts: Counts,
    /// Null if unlimited.
    pub quantity: Option<i64>,
    /// Null if unlimited.
    pub available: Option<i64>,
    pub expired: i64,
}

/// The sum over the sets of a tenant. `quantity` and `available` are those of the existing sets that have a limit.
///
/// The counters of all sets together are stored, so the counters of a single set are not read where they only add to those
/// sums: while a set exists, has a limit and has not ended, its available codes are its quantity less its counters. From
/// the time that `own_counts_from` returns, its own counters are needed. No entry of the ledger is older than its set.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    times: &'a [DateTime<Utc>],
    /// The change at each time, with all counters but without the codes that they take.
    changes: Vec<Balance>,
    /// The sum after the last time.
    current: Balance,
}

impl<'a> Sums<'a> {
    pub(super) fn new(times: &'a [DateTime<Utc>], flows: &[TenantFlowRow]) -> Self {
        let mut changes = vec![Balance::default(); times.len()];
        for row in flows {
            let place = usize::try_from(row.place).expect("an index is not negative");
            changes[place].counts += row.counts;
        }
        Self {
            times,
            changes,
            current: Balance {
                quantity: Some(0),
                available: Some(0),
                ..Balance::default()
            },
        }
    }

    /// Adds what is not rolled up of the ledger of a set.
    pub(super) fn add_tail(&mut self, row: &TailRow) {
        let place = first_index_after(self.times, row.bucket);
        if let Some(change) = self.changes.get_mut(place) {
            change.counts += row.counts;
        }
    }

    /// Adds the balances of a set. A deleted set still counts its assignments, but no quantity and no available codes.
    pub(super) fn add(&mut self, set: &SetRow, balances: &[(usize, Balance)]) {
        let mut before = Balance::default();
        for (place, balance) in balances {
            let at = self.times[*place];
            let is_deleted = set.deleted_at.is_some_and(|deleted| deleted < at);
            let level = |level: Option<i64>| level.filter(|_| !is_deleted).unwrap_or(0);
            let (quantity, available) = (level(balance.quantity), level(balance.available));
            if *place == self.times.len() - 1 {
                self.current += Balance {
                    quantity: Some(quantity),
                    available: Some(available),
                    ..*balance
                };
                return;
            }
            let Counts { withdrawn, .. } = balance.counts;
            let balance = Balance {
                counts: Counts::default(),
                quantity: Some(quantity + withdrawn),
                available: Some(available + withdrawn + balance.counts.taken()),
                expired: balance.expired,
            };
            self.changes[*place] += balance - before;
            before = balance;
        }
    }

    /// Returns the sums before each time.
    pub(super) fn balances(mut self) -> Vec<Balance> {
        let mut sum = Balance::default();
        let sums = self.changes.into_iter().map(|change| {
            sum += change;
            let Counts { withdrawn, .. } = sum.counts;
            let taken = sum.counts.taken();
            Balance {
                quantity: sum.quantity.map(|quantity| quantity - withdrawn),
                available: sum.available.map(|available| available - withdrawn - taken),
                ..sum
            }
        });
        let mut balances: Vec<Balance> = sums.collect();
        if let Some(last) = balances.last_mut() {
            // The counters of a set do not include it, and its own entries were not read.
            self.current.counts.for_others = last.counts.for_others;
            *last = self.current;
        }
        balances
    }
}

/// Returns the index of the first of these times from which on the balance of a set needs its own counters, or `None`.
pub(super) fn own_counts_from(
    set: &SetRow,
    terms: &[&TermsRow],
    times: &[DateTime<Utc>],
) -> Option<usize> {
    let ends = terms.iter().filter_map(|terms| terms.expires_at);
    let unlimited = terms
        .iter()
        .filter(|terms| set.is_single && terms.quantity.is_none())
        .map(|terms| terms.since);
    let first = ends.chain(unlimited).chain(set.deleted_at).min()?;
    let place = first_index_after(times, first);
    // Without a ledger, the present counters are the last ones of the roll-up.
    (place < times.len() - 1 || !set.has_ledger).then_some(place)
}

/// Returns the balance before each of `count` times.
pub(super) fn spread(balances: &[(usize, Balance)], count: usize) -> Vec<Balance> {
    let ends = balances.iter().skip(1).map(|(place, _)| *place);
    let pieces = balances.iter().zip(ends.chain([count]));
    pieces
        .flat_map(|((place, balance), end)| std::iter::repeat_n(*balance, end - place))
        .collect()
}

/// An unlimited level counts as none.
impl AddAssign for Balance {
    fn add_assign(&mut self, other: Self) {
        self.counts += other.counts;
        self.quantity = Some(self.quantity.unwrap_or(0) + other.quantity.unwrap_or(0));
        self.available = Some(self.available.unwrap_or(0) + other.available.unwrap_or(0));
        self.expired += other.expired;
    }
}

/// An unlimited level counts as none.
impl Sub for Balance {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            counts: self.counts - other.counts,
            quantity: Some(self.quantity.unwrap_or(0) - other.quantity.unwrap_or(0)),
            available: Some(self.available.unwrap_or(0) - other.available.unwrap_or(0)),
            expired: self.expired - other.expired,
        }
    }
}

/// Records of one set from which its balances follow.
#[derive(Default)]
pub(super) struct SetLedger<'a> {
    /// Rolled-up counts, in the order of time: the last before the first time, and those after it.
    pub checkpoints: Vec<&'a CheckpointRow>,
    pub ledger_tail: Vec<&'a TailRow>,
    pub lots: Vec<&'a LotRow>,
    pub terms: Vec<&'a TermsRow>,
    pub expiries: Vec<&'a ExpiryRow>,
}

/// What changes before a time, compared with the time before.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    /// The rolled-up counts from here on.
    checkpoint: Option<Counts>,
    moved: Counts,
    published: i64,
    expired: i64,
}

/// Changes by the place of the first time after them. Most sets change at few of thousands of times.
struct Changes<'a> {
    times: &'a [DateTime<Utc>],
    by_place: BTreeMap<usize, Change>,
}

impl Changes<'_> {
    /// The change before the first time after `at`, or `None` if there is no such time.
    fn at(&mut self, at: DateTime<Utc>) -> Option<&mut Change> {
        let place = first_index_after(self.times, at);
        (place < self.times.len()).then(|| self.by_place.entry(place).or_default())
    }
}

impl SetLedger<'_> {
    /// Returns the balance before the first of these ascending times, and each later one with the place of the first time
    /// that has it. The last time is after the present, so the last balance is the current one.
    pub(super) fn balances(&self, set: &SetRow, times: &[DateTime<Utc>]) -> Vec<(usize, Balance)> {
        let last = times.len() - 1;
        let mut state = Change::default();
        let mut balances = Vec::new();
        let mut current = Balance::default();
        for (place, change) in self.changes(set, times) {
            state.checkpoint = change.checkpoint.or(state.checkpoint);
            state.moved += change.moved;
            state.published += change.published;
            state.expired += change.expired;
            let mut counts = state.checkpoint.unwrap_or_default();
            counts += state.moved;
            let quantity = (!set.is_single).then(|| state.published - counts.withdrawn);
            let at = times[place].min(set.now);
            current = self.balance(at, counts, quantity, state.expired);
            if place != last {
                balances.push((place, current));
            }
        }
        if set.has_ledger {
            current = Balance {
                counts: Counts {
                    for_others: current.counts.for_others,
                    ..set.counts
                },
                quantity: set.quantity,
                available: set.available,
                expired: set.expired,
            };
        }
        balances.push((last, current));
        balances
    }

    fn balance(
        &self,
        at: DateTime<Utc>,
        counts: Counts,
        published: Option<i64>,
        expired: i64,
    ) -> Balance {
        let Some(terms) = self.terms.iter().rev().find(|terms| terms.since < at) else {
            // The set did not exist yet.
            return Balance {
                quantity: Some(0),
                available: Some(0),
                ..Balance::default()
            };
        };
        let quantity = published.or(terms.quantity.map(i64::from));
        let rest = quantity.map(|quantity| quantity - counts.taken());
        if terms.expires_at.is_some_and(|end| end < at) {
            return Balance {
                counts,
                quantity,
                available: Some(0),
                expired: rest.unwrap_or(0),
            };
        }
        Balance {
            counts,
            quantity,
            available: rest.map(|rest| rest - expired),
            expired,
        }
    }

    /// Returns the changes by place, with one at the first and one at the last.
    fn changes(&self, set: &SetRow, times: &[DateTime<Utc>]) -> BTreeMap<usize, Change> {
        let mut changes = Changes {
            times,
            by_place: BTreeMap::from([
                (0, Change::default()),
                (times.len() - 1, Change::default()),
            ]),
        };
        for row in &self.checkpoints {
            if let Some(change) = changes.at(row.bucket) {
                change.checkpoint = Some(row.counts);
            }
        }
        for row in &self.ledger_tail {
            if let Some(change) = changes.at(row.bucket) {
                change.moved += row.counts;
            }
        }
        for lot in &self.lots {
            if let Some(change) = changes.at(lot.published_at) {
                change.published += i64::from(lot.size);
            }
        }
        // The terms of a set change, it ends, and it is deleted.
        for terms in &self.terms {
            changes.at(terms.since);
            if let Some(end) = terms.expires_at {
                changes.at(end);
            }
        }
        if let Some(deleted) = set.deleted_at {
            changes.at(deleted);
        }
        self.add_expiries(set.now, &mut changes);
        changes.by_place
    }

    /// Adds the codes that have expired. They are summed by import, because an undone import has none left.
    fn add_expiries(&self, now: DateTime<Utc>, changes: &mut Changes) {
        let tail = self.ledger_tail.iter();
        let tail = tail.filter_map(|row| Some((row.lot_no, row.expired_from?, row.expired)));
        let rows = self.expiries.iter();
        let rows = rows.map(|row| (row.lot_no, row.bucket, row.codes));
        let undone: HashMap<i32, DateTime<Utc>> = self
            .lots
            .iter()
            .filter_map(|lot| Some((lot.lot_no, lot.undone_at?)))
            .collect();
        for (lot_no, at, codes) in rows.chain(tail).filter(|(_, at, _)| *at <= now) {
            if let Some(change) = changes.at(at) {
                change.expired += codes;
            }
            if let Some(undone_at) = undone.get(&lot_no)
                && let Some(change) = changes.at(at.max(*undone_at))
            {
                change.expired -= codes;
            }
        }
    }
}

/// Returns the index of the first time after `at`, or the number of times if there is none.
fn first_index_after(times: &[DateTime<Utc>], at: DateTime<Utc>) -> usize {
    times.partition_point(|time| *time <= at)
}
