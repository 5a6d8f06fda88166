//! How a set stood at any moment of its past.
//!
//! What is with contacts the ledger tells. `quantity` is what was published by then, or promised, less what was withdrawn.
//! `expired` is what lay with nobody although its code had expired by then; `available` is the rest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::counts::Counts;
use super::db::{ExpiryRow, LotRow, SetRow, TailRow, TermsRow};

/// How a set stood just before a moment. What is at the moment itself belongs to what comes after it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    pub counts: Counts,
    /// Null if unlimited.
    pub quantity: Option<i64>,
    /// Null if unlimited.
    pub available: Option<i64>,
    pub expired: i64,
}

/// What is known of one set.
#[derive(Default)]
pub(super) struct Facts<'a> {
    /// At each moment, as far as it is rolled up.
    pub marks: &'a [Counts],
    pub tail: Vec<&'a TailRow>,
    pub lots: Vec<&'a LotRow>,
    pub terms: Vec<&'a TermsRow>,
    pub expiries: Vec<&'a ExpiryRow>,
}

impl Facts<'_> {
    /// How the set stood before each of these moments, which rise; the last one is the present and beyond.
    pub(super) fn standings(&self, set: &SetRow, ats: &[DateTime<Utc>]) -> Vec<Standing> {
        let counts = self.counts(ats);
        let published = self.published(ats);
        let expired = self.expired(ats);
        let mut standings: Vec<Standing> = (0..ats.len())
            .map(|place| {
                let quantity = if set.is_single {
                    None
                } else {
                    Some(published[place] - counts[place].withdrawn)
                };
                self.standing(ats[place], counts[place], quantity, expired[place])
            })
            .collect();
        if let (Some(last), Some(counts)) = (standings.last_mut(), counts.last()) {
            *last = Standing {
                counts: Counts {
                    for_others: counts.for_others,
                    ..set.counts
                },
                quantity: set.quantity,
                available: set.available,
                expired: set.expired,
            };
        }
        standings
    }

    fn standing(
        &self,
        at: DateTime<Utc>,
        counts: Counts,
        published: Option<i64>,
        expired: i64,
    ) -> Standing {
        let Some(terms) = self.terms.iter().rev().find(|terms| terms.since < at) else {
            // Before there was the set.
            return Standing {
                quantity: Some(0),
                available: Some(0),
                ..Standing::default()
            };
        };
        let quantity = published.or(terms.quantity.map(i64::from));
        let rest = quantity.map(|quantity| quantity - counts.taken());
        if terms.expires_at.is_some_and(|end| end < at) {
            return Standing {
                counts,
                quantity,
                available: Some(0),
                expired: rest.unwrap_or(0),
            };
        }
        Standing {
            counts,
            quantity,
            available: rest.map(|rest| rest - expired),
            expired,
        }
    }

    fn counts(&self, ats: &[DateTime<Utc>]) -> Vec<Counts> {
        let mut counts = self.marks.to_vec();
        let mut moved = vec![Counts::default(); ats.len()];
        for row in &self.tail {
            if let Some(moved) = moved.get_mut(first_after(ats, row.bucket)) {
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

    fn published(&self, ats: &[DateTime<Utc>]) -> Vec<i64> {
        let published = self
            .lots
            .iter()
            .map(|lot| (lot.published_at, i64::from(lot.size)));
        running(ats, published)
    }

    /// Import by import, since none is left of one that was undone.
    fn expired(&self, ats: &[DateTime<Utc>]) -> Vec<i64> {
        let mut changes: BTreeMap<i32, Vec<(DateTime<Utc>, i64)>> = BTreeMap::new();
        for row in &self.expiries {
            let of_lot = changes.entry(row.lot_no).or_default();
            of_lot.push((row.bucket, row.codes));
        }
        for row in &self.tail {
            if let Some(from) = row.expired_from {
                let of_lot = changes.entry(row.lot_no).or_default();
                of_lot.push((from, row.expired));
            }
        }
        let mut expired = vec![0; ats.len()];
        for (lot_no, changes) in changes {
            let mut lots = self.lots.iter();
            let undone_at = lots
                .find(|lot| lot.lot_no == lot_no)
                .and_then(|lot| lot.undone_at);
            let end = undone_at.map_or(ats.len(), |undone| first_after(ats, undone));
            let of_lot = running(ats, changes.into_iter());
            for (expired, of_lot) in expired.iter_mut().zip(of_lot).take(end) {
                *expired += of_lot;
            }
        }
        expired
    }
}

/// The first of these moments that is later; their number if none is.
fn first_after(ats: &[DateTime<Utc>], moment: DateTime<Utc>) -> usize {
    ats.partition_point(|at| *at <= moment)
}

/// What changes have added up to before each moment.
fn running(ats: &[DateTime<Utc>], changes: impl Iterator<Item = (DateTime<Utc>, i64)>) -> Vec<i64> {
    let mut sums = vec![0; ats.len()];
    for (at, change) in changes {
        if let Some(sum) = sums.get_mut(first_after(ats, at)) {
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
