//! The workers: each claims an import, sorts its rows by expiry if necessary, applies its chunks, and publishes it.
//!
//! Every step is one transaction that may be repeated. After any failure the worker releases its lease, and the next claim
//! resumes the import. A worker that lost its lease without noticing is rejected by the epoch, which is a fencing token.
//! Between two chunks a worker yields if a tenant with fewer running imports has one waiting. So a huge import delays only
//! the other imports of its own tenant.

use std::time::Duration;

use sqlx::PgConnection;
use tracing::Instrument;

use super::Imports;
use super::apply::{ApplyOutcome, apply};
use super::jobs::{self, Job};
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::{Database, is_unavailable};
use crate::metrics;
use crate::telemetry::Chain;
use crate::traces::exported_span;

/// Imports that one replica applies at the same time, each into a different set.
const WORKERS: usize = 2;
/// Pause of an import after a failure that is not an outage. Meanwhile the workers apply other imports, and the stored
/// chunks remain.
const BACKOFF: Duration = Duration::from_mins(1);
/// Consecutive failed attempts after which an import ends as an error.
const MAX_ATTEMPTS: i32 = 5;
/// Interval at which a worker polls for imports that another replica queued or released.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn spawn(state: &Imports, tasks: &Tasks) {
    for _ in 0..WORKERS {
        tasks.spawn(run_worker(state.clone(), tasks.clone()));
    }
}

async fn run_worker(state: Imports, tasks: Tasks) {
    while !tasks.is_stopping() {
        if step(&state, &tasks).await == StepOutcome::Done {
            tokio::select! {
                () = state.queued.notified() => {}
                () = tasks.pause(POLL_INTERVAL) => {}
            }
        }
    }
}

/// Applies an import and cleans up one batch, so that cleanup also advances while the queue is never empty.
async fn step(state: &Imports, tasks: &Tasks) -> StepOutcome {
    let claimed = match claim(&state.database).await {
        Ok(Some(job)) => {
            let span = exported_span!("import", import = %job.import);
            run(state, &job, tasks).instrument(span).await;
            true
        }
        Ok(None) => false,
        Err(error) => {
            log_failure("claiming an import failed", &error);
            false
        }
    };
    let cleaned = clean(&state.database).await.unwrap_or_else(|error| {
        log_failure("cleaning up after imports failed", &error);
        false
    });
    StepOutcome::of(claimed || cleaned)
}

/// Deletes one batch of leftover rows of an ended import. Returns false if there was none.
async fn clean(database: &Database) -> sqlx::Result<bool> {
    let Some((tenant, import)) = database.with_system(jobs::find_needing_cleanup).await? else {
        return Ok(false);
    };
    let clean = async |connection: &mut PgConnection| jobs::clean(connection, tenant, import).await;
    database.call(clean).await?;
    Ok(true)
}

async fn claim(database: &Database) -> sqlx::Result<Option<Job>> {
    match database.with_system(jobs::claim).await {
        // Another worker has just started another import into the same set. This one is claimed after it.
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("imports_running_key") => {
            Ok(None)
        }
        claimed => claimed,
    }
}

async fn run(state: &Imports, job: &Job, tasks: &Tasks) {
    let database = &state.database;
    tracing::info!(import = %job.import, from_chunk = job.next_chunk, chunks = job.chunks, "applying an import");
    let pause = match apply(state, job, tasks).await {
        Ok(ApplyOutcome::Finished) => {
            tracing::info!(import = %job.import, "import finished");
            count_rows(database, job).await;
            return;
        }
        Ok(ApplyOutcome::Aborted) => {
            tracing::info!(import = %job.import, "import stopped: another worker has its lease, or it was ended");
            Duration::ZERO
        }
        Ok(ApplyOutcome::Yielded) => {
            tracing::debug!(import = %job.import, "import paused to serve another tenant");
            Duration::ZERO
        }
        Err(error) if is_unavailable(&error) => {
            metrics::database_error(&error);
            tracing::warn!(import = %job.import, error = %Chain(&error), "import interrupted; it will be resumed");
            POLL_INTERVAL
        }
        Err(error) => {
            metrics::database_error(&error);
            tracing::error!(import = %job.import, error = %Chain(&error), "an attempt to apply an import failed");
            let fail = async |connection: &mut PgConnection| {
                jobs::fail(connection, job, MAX_ATTEMPTS, BACKOFF.as_secs_f64()).await
            };
            match database.call(fail).await {
                Ok(true) => tracing::error!(import = %job.import, "import failed permanently"),
                Ok(false) => {}
                Err(error) => log_failure(
                    "the failure of an import could not be stored; its lease will expire",
                    &error,
                ),
            }
            return;
        }
    };
    // No effect if another worker holds the lease or the import has ended.
    let released = database
        .with_system(async |connection| {
            jobs::release_lease(connection, job, pause.as_secs_f64()).await
        })
        .await;
    if let Err(error) = released {
        tracing::warn!(error = %Chain(&error), "the lease of an import could not be released; it will expire");
    }
}

/// Counts the rows of a finished import.
async fn count_rows(database: &Database, job: &Job) {
    if !metrics::is_installed() {
        return;
    }
    let counts = database.with_system(async |connection| jobs::row_counts(connection, job).await);
    match counts.await {
        Ok(Some((stored, rejected))) => metrics::import_rows(stored, rejected),
        Ok(None) => {}
        Err(error) => log_failure("the rows of an import could not be counted", &error),
    }
}
