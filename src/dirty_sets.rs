//! The coupon sets that this replica has written to and that the outbox has yet to read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::ids::SetKey;

/// Time between the first mark and the read: a busy set is read ten times a second.
const GATHER: Duration = Duration::from_millis(100);

/// Sets whose ledgers are to be read and whose stock is to be judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct DirtySets(Arc<Marks>);

#[derive(Debug, Default)]
struct Marks {
    sets: Mutex<HashSet<SetKey>>,
    marked: Notify,
}

impl DirtySets {
    /// Costs next to nothing: it is called for each batch of assignments.
    pub(crate) fn mark(&self, set: SetKey) {
        let mut sets = self.lock();
        if sets.is_empty() {
            self.0.marked.notify_one();
        }
        sets.insert(set);
    }

    /// Waits for a mark, gathers a little longer, and takes all marked sets.
    pub(crate) async fn gather(&self) -> HashSet<SetKey> {
        self.0.marked.notified().await;
        tokio::time::sleep(GATHER).await;
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SetKey>> {
        self.0.sets.lock().expect("no holder of this lock panics")
    }
}
