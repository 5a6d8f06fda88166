//! The witness: files outside the database that record how far the codes of each set were assigned. After a backup was
//! restored, they name the codes that contacts have and the database does not know of.
//!
//! Codes of an import are assigned in the order of its lot, so the last one of each import stands for all before it. A code
//! that came back to its set is assigned in the order of returns, which differs after a restore, so each one is recorded.
//!
//! Numbers, such as those of lots, are used again after a restore, or after a failover that lost the last commits. So a record
//! names the import by its id, which no other has and which comes with each assigned code: a record of a history that was
//! lost never stands for an import of the new one. Of an import that both know, the codes up to the furthest record may
//! have been assigned, in one or the other. So all this holds whether or not the codes were withdrawn after the restore,
//! and no file is ever to be removed.
//!
//! A record is written before the response of its assignment is sent, and synced to the disk within [`SYNC_INTERVAL`] and the
//! time of a compaction. A write that fails refuses no assignment, and is repeated with the next one, after
//! [`SYNC_INTERVAL`], and when the service stops.

mod compaction;
mod journal;
mod record;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
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
pub(crate) struct Witness(Option<Arc<Journal>>);

impl Witness {
    /// Records in a file of its own in this folder, and starts the task that syncs it. A folder that cannot be written is
    /// tried again with each record.
    pub(crate) fn start(folder: Option<&Path>, tasks: &Tasks) -> Self {
        let Some(folder) = folder else {
            return Self::default();
        };
        let journal = Arc::new(Journal::new(folder));
        report(journal.open());
        tasks.spawn(maintain(Arc::clone(&journal), tasks.clone()));
        Self(Some(journal))
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Records assigned codes, with at most one write.
    ///
    /// Blocks the thread, although a worker of the runtime calls it: the write appends some hundred bytes to the page cache,
    /// which takes less time than the way to another thread and back. Syncs and compactions, which wait for the disk, do
    /// not hold the lock. A disk that accepts no more pages stops the worker, as it stops PostgreSQL.
    pub(crate) fn record<'a>(&self, codes: impl Iterator<Item = Record<&'a str>>) {
        if let Some(journal) = &self.0 {
            report(journal.record(codes));
        }
    }

    /// Writes what could not be written before, and syncs. To be called when no code is assigned any more.
    pub(crate) async fn finish(&self) {
        if let Some(journal) = &self.0 {
            in_background(journal, Journal::sync).await;
        }
    }
}

fn report(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        metrics::witness_error();
        tracing::error!(error = %Chain(&error), "the witness cannot be written");
    }
}

/// Syncs what was recorded, and compacts the file when most of it is outdated.
async fn maintain(journal: Arc<Journal>, tasks: Tasks) {
    let step = async || {
        in_background(&journal, |journal| {
            let compacted = journal.compact();
            let synced = journal.sync();
            compacted.and(synced)
        })
        .await;
        StepOutcome::Done
    };
    tasks.every(SYNC_INTERVAL, step).await;
}

/// Runs an operation that waits for the disk on a thread that may block.
async fn in_background(journal: &Arc<Journal>, operation: fn(&Journal) -> io::Result<()>) {
    let journal = Arc::clone(journal);
    match tokio::task::spawn_blocking(move || operation(&journal)).await {
        Ok(outcome) => report(outcome),
        Err(error) => tracing::error!(error = %Chain(&error), "the witness has failed"),
    }
}
