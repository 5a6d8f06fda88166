//! Balances of a set at past times.
//!
//! The ledger yields the codes that contacts held. `quantity` is the number of codes published by that time, less the
//! withdrawn ones, or the limit of a `single` set. `expired` counts unassigned codes that had expired by then, and
//! `available` is the rest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

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

/// Records of one set from which its balances follow.
#[derive(Default)]
pub(super) struct SetLedger<'a> {
    /// Rolled-up counts before each time.
    pub checkpoints: &'a [Counts],
    pub ledger_tail: Vec<&'a TailRow>,
    pub lots: Vec<&'a LotRow>,
    pub terms: Vec<&'a TermsRow>,
    pub expiries: Vec<&'a ExpiryRow>,
}

impl SetLedger<'_> {
    /// Returns the balance before each of these ascending times. The last time is after the present, so the last balance
    /// is the current one.
    pub(super) fn balances(&self, set: &SetRow, times: &[DateTime<Utc>]) -> Vec<Balance> {
        let counts = self.counts(times);
        let published = self.published(times);
        let expired = self.expired(times);
        let mut balances: Vec<Balance> = (0..times.len())
            .map(|place| {
                let quantity = if set.is_single {
                    None
                } else {
                    Some(published[place] - counts[place].withdrawn)
                };
                self.balance(times[place], counts[place], quantity, expired[place])
            })
            .collect();
        if let (Some(last), Some(counts)) = (balances.last_mut(), counts.last()) {
            *last = Balance {
                counts: Counts {
                    for_others: counts.for_others,
                    ..set.counts
                },
                quantity: set.quantity,
                available: set.available,
                expired: set.expired,
            };
        }
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

    fn counts(&self, times: &[DateTime<Utc>]) -> Vec<Counts> {
        let mut counts = self.checkpoints.to_vec();
        let mut moved = vec![Counts::default(); times.len()];
        for row in &self.ledger_tail {
            if let Some(moved) = moved.get_mut(first_index_after(times, row.bucket)) {
                *moved += row.counts;
            }
        }
        let mut so_far = Counts::default();
        for (counts, moved) in counts.iter_mut().zip(moved) {
            so_far += moved;
            *counts += so_far;
        }
        counts
    }

    fn published(&self, times: &[DateTime<Utc>]) -> Vec<i64> {
        let published = self
            .lots
            .iter()
            .map(|lot| (lot.published_at, i64::from(lot.size)));
        running_sums(times, published)
    }

    /// Returns the expired codes before each time. They are summed by import, because an undone import has none left.
    fn expired(&self, times: &[DateTime<Utc>]) -> Vec<i64> {
        let mut changes: BTreeMap<i32, Vec<(DateTime<Utc>, i64)>> = BTreeMap::new();
        for row in &self.expiries {
            let of_lot = changes.entry(row.lot_no).or_default();
            of_lot.push((row.bucket, row.codes));
        }
        for row in &self.ledger_tail {
            if let Some(from) = row.expired_from {
                let of_lot = changes.entry(row.lot_no).or_default();
                of_lot.push((from, row.expired));
            }
        }
        let mut expired = vec![0; times.len()];
        for (lot_no, changes) in changes {
            let mut lots = self.lots.iter();
            let undone_at = lots
                .find(|lot| lot.lot_no == lot_no)
                .and_then(|lot| lot.undone_at);
            let end = undone_at.map_or(times.len(), |undone| first_index_after(times, undone));
            let of_lot = running_sums(times, changes.into_iter());
            for (expired, of_lot) in expired.iter_mut().zip(of_lot).take(end) {
                *expired += of_lot;
            }
        }
        expired
    }
}

/// Returns the index of the first time after `at`, or the number of times if there is none.
fn first_index_after(times: &[DateTime<Utc>], at: DateTime<Utc>) -> usize {
    times.partition_point(|time| *time <= at)
}

/// Returns the sums of the changes before each time.
fn running_sums(
    times: &[DateTime<Utc>],
    changes: impl Iterator<Item = (DateTime<Utc>, i64)>,
) -> Vec<i64> {
    let mut sums = vec![0; times.len()];
    for (at, change) in changes {
        if let Some(sum) = sums.get_mut(first_index_after(times, at)) {
            *sum += change;
        }
    }
    let mut so_far = 0;
    for sum in &mut sums {
        so_far += *sum;
        *sum = so_far;
    }
    sums
}
