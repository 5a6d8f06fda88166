//! Who took part in what happened in a period: workflows, nodes, imports and sets.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

use super::counts::Counts;
use super::db::{LotRow, SetRow, ShareRow, TailRow};

/// Most entries of a list; what the others had is told together.
const MAX_SHARES: usize = 1_000;

/// What several had a share in, the largest first.
pub(super) type Shares = Vec<Share>;

/// What one had a share in.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    #[serde(flatten)]
    whose: Whose,
    assigned: i64,
    sent: i64,
    used: i64,
    released: i64,
    void: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Whose {
    /// Null if there was none.
    Workflow {
        workflow_id: Option<String>,
    },
    Node {
        workflow_id: Option<String>,
        node_id: Option<String>,
    },
    /// Null if the codes came back before it was noted whose they are.
    Import {
        import_id: Option<Uuid>,
    },
    CouponSet {
        coupon_set_id: Uuid,
    },
    /// All that are not in the list.
    Others {
        others: bool,
    },
}

/// What is added up: by set, lot, workflow and node, with the empty text for none.
#[derive(Debug, Default)]
pub(super) struct Breakdown {
    sums: HashMap<(i32, i32, String, String), Counts>,
    sets: HashMap<i32, Uuid>,
    /// They have no imports.
    singles: HashSet<i32>,
    imports: HashMap<(i32, i32), Uuid>,
}

impl Breakdown {
    /// Learns the public ids.
    pub(super) fn name(&mut self, sets: &[SetRow], lots: &[LotRow]) {
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

    /// Adds what an assignment did; withdrawals are nobody's share.
    pub(super) fn add_tail(&mut self, row: &TailRow) {
        if let (Some(workflow_id), Some(node_id)) = (&row.workflow_id, &row.node_id) {
            let key = (row.set_no, row.lot_no, workflow_id.clone(), node_id.clone());
            *self.sums.entry(key).or_default() += row.counts;
        }
    }

    pub(super) fn by_workflow(&self) -> Shares {
        self.shares(|(_, _, workflow, _)| {
            Some(Whose::Workflow {
                workflow_id: id(workflow),
            })
        })
    }

    pub(super) fn by_node(&self) -> Shares {
        self.shares(|(_, _, workflow, node)| {
            Some(Whose::Node {
                workflow_id: id(workflow),
                node_id: id(node),
            })
        })
    }

    /// Of `multiple` sets.
    pub(super) fn by_import(&self) -> Shares {
        self.shares(|(set_no, lot_no, _, _)| {
            (!self.singles.contains(set_no)).then(|| Whose::Import {
                import_id: self.imports.get(&(*set_no, *lot_no)).copied(),
            })
        })
    }

    pub(super) fn by_coupon_set(&self) -> Shares {
        self.shares(|(set_no, _, _, _)| {
            let coupon_set_id = *self.sets.get(set_no)?;
            Some(Whose::CouponSet { coupon_set_id })
        })
    }

    fn shares(&self, whose: impl Fn(&(i32, i32, String, String)) -> Option<Whose>) -> Shares {
        let mut sums: BTreeMap<Whose, Counts> = BTreeMap::new();
        for (key, counts) in &self.sums {
            if let Some(whose) = whose(key) {
                *sums.entry(whose).or_default() += *counts;
            }
        }
        let mut shares: Vec<(Whose, Counts)> = sums
            .into_iter()
            .filter(|(_, counts)| {
                // Reservations that were made and not kept yet are no share.
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
            shares.push((Whose::Others { others: true }, others));
        }
        let share = |(whose, counts): (Whose, Counts)| Share {
            whose,
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
