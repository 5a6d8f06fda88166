//! Coupon sets that this replica has written to and that the outbox has not read yet.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::ids::SetKey;

/// Time between the first mark and the read: the ledger of a busy set is read ten times a second.
const GATHER_TIME: Duration = Duration::from_millis(100);

/// Sets whose ledger the outbox must read and whose stock it must check.
#[derive(Debug, Clone, Default)]
pub(crate) struct DirtySets(Arc<MarkedSets>);

#[derive(Debug, Default)]
struct MarkedSets {
    sets: Mutex<HashSet<SetKey>>,
    marked: Notify,
}

impl DirtySets {
    /// Marks a set. Called for each batch of assignments, so it must stay cheap.
    pub(crate) fn mark(&self, set: SetKey) {
        let mut sets = self.lock();
        if sets.is_empty() {
            self.0.marked.notify_one();
        }
        sets.insert(set);
    }

    /// Waits for a mark, then for `GATHER_TIME`, and takes all marked sets.
    pub(crate) async fn gather(&self) -> HashSet<SetKey> {
        self.0.marked.notified().await;
        tokio::time::sleep(GATHER_TIME).await;
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SetKey>> {
        self.0.sets.lock().expect("no holder of this lock panics")
    }
}
