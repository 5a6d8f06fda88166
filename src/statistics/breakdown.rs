//! Breakdowns of the counts of a period by workflow, node, import and set.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

use super::counts::Counts;
use super::db::{LotRow, SetRow, ShareRow, TailRow};

/// Maximum number of entries of a breakdown. The others are summed up in one more entry.
const MAX_SHARES: usize = 1_000;

/// A breakdown, with the largest share first.
pub(super) type Shares = Vec<Share>;

/// Counts of one workflow, node, import or set.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    #[serde(flatten)]
    key: ShareKey,
    assigned: i64,
    sent: i64,
    used: i64,
    released: i64,
    void: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum ShareKey {
    /// Null for assignments without a workflow.
    Workflow {
        workflow_id: Option<String>,
    },
    Node {
        workflow_id: Option<String>,
        node_id: Option<String>,
    },
    /// Null for codes that were released before releases recorded their import.
    Import {
        import_id: Option<Uuid>,
    },
    CouponSet {
        coupon_set_id: Uuid,
    },
    /// Sum of the shares that are not in the list.
    Others {
        others: bool,
    },
}

/// Counts of a period by set, lot, workflow and node. An empty text stands for no workflow or node.
#[derive(Debug, Default)]
pub(super) struct Breakdown {
    sums: HashMap<(i32, i32, String, String), Counts>,
    sets: HashMap<i32, Uuid>,
    /// `single` sets, which have no imports.
    singles: HashSet<i32>,
    imports: HashMap<(i32, i32), Uuid>,
}

impl Breakdown {
    /// Adds the public ids of sets and imports.
    pub(super) fn add_ids(&mut self, sets: &[SetRow], lots: &[LotRow]) {
        self.sets
            .extend(sets.iter().map(|set| (set.set_no, set.id)));
        let imports = lots
            .iter()
            .map(|lot| ((lot.set_no, lot.lot_no), lot.import_id));
        self.imports.extend(imports);
        let singles = sets.iter().filter(|set| set.is_single);
        self.singles.extend(singles.map(|set| set.set_no));
    }

    pub(super) fn add_share(&mut self, share: ShareRow) {
        let key = (share.set_no, share.lot_no, share.workflow_id, share.node_id);
        *self.sums.entry(key).or_default() += Counts {
            assigned: share.assigned,
            released: share.released,
            void: share.void,
            sent: share.sent,
            used: share.used,
            ..Counts::default()
        };
    }

    /// Adds counts of the ledger tail. Withdrawals have no workflow, so they belong to no share.
    pub(super) fn add_tail(&mut self, row: &TailRow) {
        if let (Some(workflow_id), Some(node_id)) = (&row.workflow_id, &row.node_id) {
            let key = (row.set_no, row.lot_no, workflow_id.clone(), node_id.clone());
            *self.sums.entry(key).or_default() += row.counts;
        }
    }

    pub(super) fn by_workflow(&self) -> Shares {
        self.shares(|(_, _, workflow, _)| {
            Some(ShareKey::Workflow {
                workflow_id: id(workflow),
            })
        })
    }

    pub(super) fn by_node(&self) -> Shares {
        self.shares(|(_, _, workflow, node)| {
            Some(ShareKey::Node {
                workflow_id: id(workflow),
                node_id: id(node),
            })
        })
    }

    /// Returns the shares of the imports of `multiple` sets.
    pub(super) fn by_import(&self) -> Shares {
        self.shares(|(set_no, lot_no, _, _)| {
            (!self.singles.contains(set_no)).then(|| ShareKey::Import {
                import_id: self.imports.get(&(*set_no, *lot_no)).copied(),
            })
        })
    }

    pub(super) fn by_coupon_set(&self) -> Shares {
        self.shares(|(set_no, _, _, _)| {
            let coupon_set_id = *self.sets.get(set_no)?;
            Some(ShareKey::CouponSet { coupon_set_id })
        })
    }

    fn shares(
        &self,
        share_key: impl Fn(&(i32, i32, String, String)) -> Option<ShareKey>,
    ) -> Shares {
        let mut sums: BTreeMap<ShareKey, Counts> = BTreeMap::new();
        for (source, counts) in &self.sums {
            if let Some(share_key) = share_key(source) {
                *sums.entry(share_key).or_default() += *counts;
            }
        }
        let mut shares: Vec<(ShareKey, Counts)> = sums
            .into_iter()
            .filter(|(_, counts)| {
                // Reservations that are not confirmed yet do not make a share.
                Counts {
                    reserved: 0,
                    for_others: 0,
                    ..*counts
                } != Counts::default()
            })
            .collect();
        shares.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.assigned));
        let mut others = Counts::default();
        for (_, counts) in shares.iter().skip(MAX_SHARES) {
            others += *counts;
        }
        if shares.len() > MAX_SHARES {
            shares.truncate(MAX_SHARES);
            shares.push((ShareKey::Others { others: true }, others));
        }
        let share = |(key, counts): (ShareKey, Counts)| Share {
            key,
            assigned: counts.assigned,
            sent: counts.sent,
            used: counts.used,
            released: counts.released,
            void: counts.void,
        };
        shares.into_iter().map(share).collect()
    }
}

fn id(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
