//! The witness: files outside the database that record how far the codes of each set were assigned. After a backup was
//! restored, they name the codes that contacts have and the database does not know of.
//!
//! Codes of an import are assigned in the order of their lot, so the last one of each lot stands for all before it. A code
//! that came back to its set is assigned in the order of returns, which differs after a restore, so each one is recorded.
//!
//! A record is written before the response of its assignment is sent, and synced to the disk within [`SYNC_INTERVAL`]. A write
//! that fails is repeated with the next one, and refuses no assignment.

mod journal;
mod record;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub(crate) use record::{Record, Records, WitnessedSet, read};

use crate::background::{StepOutcome, Tasks};
use crate::metrics;
use crate::telemetry::Chain;
use journal::Journal;

/// Interval at which records are synced to the disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The journal of this replica, if there is a folder for it. A clone counts one reference.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Option<Arc<Mutex<Journal>>>);

impl Witness {
    /// Records in a file of its own in this folder, and starts the task that syncs it.
    pub(crate) fn start(folder: Option<&Path>, tasks: &Tasks) -> Self {
        let Some(folder) = folder else {
            return Self::default();
        };
        let journal = Arc::new(Mutex::new(Journal::new(folder)));
        tasks.spawn(sync(Arc::clone(&journal), tasks.clone()));
        Self(Some(journal))
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Records assigned codes, with at most one write.
    pub(crate) fn record<'a>(&self, codes: impl Iterator<Item = Record<&'a str>>) {
        let Some(journal) = &self.0 else {
            return;
        };
        if let Err(error) = lock(journal).record(codes) {
            metrics::witness_error();
            tracing::error!(error = %Chain(&error), "the witness cannot be written");
        }
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().expect("no holder of this lock panics")
}

/// Syncs what was recorded, and compacts the file when most of it is outdated.
async fn sync(journal: Arc<Mutex<Journal>>, tasks: Tasks) {
    let step = || {
        let journal = Arc::clone(&journal);
        let synced = tokio::task::spawn_blocking(move || {
            let unsynced = lock(&journal).maintain()?;
            unsynced.as_ref().map_or(Ok(()), File::sync_data)
        });
        async {
            match synced.await {
                Ok(Err(error)) => {
                    metrics::witness_error();
                    tracing::error!(error = %Chain(&error), "the witness cannot be synced");
                }
                Err(error) => tracing::error!(error = %Chain(&error), "the witness has failed"),
                Ok(Ok(())) => {}
            }
            StepOutcome::Done
        }
    };
    tasks.every(SYNC_INTERVAL, step).await;
}
