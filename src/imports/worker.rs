//! Applying imports: claim one, sort its rows by expiry if need be, apply its chunks, publish.
//!
//! Every step is one transaction that may be repeated, so after any failure the worker gives the job up and the next claim
//! resumes it. A worker that was thought dead is rejected by the epoch, the fencing token. Between two chunks a worker gives the job
//! up where another tenant waits who has less running, so that a huge import holds up only its own tenant's.

use std::time::Duration;

use super::Imports;
use super::apply::{Outcome, apply};
use super::jobs::{self, Job};
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::{Database, is_unavailable};
use crate::telemetry::Chain;

/// Imports that one replica applies at the same time, each of another set.
const WORKERS: usize = 2;
/// Pause of an import that failed by its own fault and not by an outage: it keeps no worker from the others, and nothing of
/// it is lost.
const BACKOFF: Duration = Duration::from_mins(1);
/// Failures on our side in a row after which an import ends as an error.
const TRIES: i32 = 5;
/// Time between two looks for jobs of other replicas.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn spawn(state: &Imports, tasks: &Tasks) {
    for _ in 0..WORKERS {
        tasks.spawn(work(state.clone(), tasks.clone()));
    }
}

async fn work(state: Imports, tasks: Tasks) {
    while !tasks.is_stopping() {
        if step(&state, &tasks).await == StepOutcome::Done {
            tokio::select! {
                () = state.queued.notified() => {}
                () = tasks.pause(POLL_INTERVAL) => {}
            }
        }
    }
}

/// Applies an import and cleans up a portion, so that cleaning goes on where there is always an import too.
async fn step(state: &Imports, tasks: &Tasks) -> StepOutcome {
    let claimed = match claim(&state.database).await {
        Ok(Some(job)) => {
            run(state, &job, tasks).await;
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

/// Cleans up a portion of what an import has left; false if there was none.
async fn clean(database: &Database) -> sqlx::Result<bool> {
    let Some((tenant, import)) = jobs::find_litter(database.system()).await? else {
        return Ok(false);
    };
    jobs::clean(database.tasks(), tenant, import).await?;
    Ok(true)
}

async fn claim(database: &Database) -> sqlx::Result<Option<Job>> {
    match jobs::claim(database.system()).await {
        // Another worker has just begun another import of the same set: this one's turn will come.
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
        Ok(Outcome::Finished) => {
            tracing::info!(import = %job.import, "import finished");
            return;
        }
        Ok(Outcome::Left) => {
            tracing::info!(import = %job.import, "import stopped: another worker has its lease, or it was ended");
            Duration::ZERO
        }
        Ok(Outcome::Yielded) => {
            tracing::debug!(import = %job.import, "import paused to serve another tenant");
            Duration::ZERO
        }
        Err(error) if is_unavailable(&error) => {
            tracing::warn!(import = %job.import, error = %Chain(&error), "import interrupted; it will be resumed");
            POLL_INTERVAL
        }
        Err(error) => {
            tracing::error!(import = %job.import, error = %Chain(&error), "an attempt to apply an import failed");
            match jobs::fail(database.tasks(), job, TRIES, BACKOFF.as_secs_f64()).await {
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
    // Without effect unless the job is still ours and not ended.
    if let Err(error) = jobs::give_up(database.system(), job, pause.as_secs_f64()).await {
        tracing::warn!(error = %Chain(&error), "the lease of an import could not be released; it will expire");
    }
}
