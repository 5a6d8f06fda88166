//! Applying imports: claim one, sort its rows by expiry if need be, apply its chunks, publish.
//!
//! Every step is one transaction that may be repeated, so after any failure the worker gives the job up and the next claim
//! resumes it. A worker that was thought dead is turned away by the epoch. Between two chunks a worker gives the job
//! up where another tenant waits who has less running, so that a huge import holds up only its own tenant's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::apply::{Outcome, apply};
use super::jobs::{self, Job};
use crate::assignments::queue::Waiting;
use crate::database::Database;
use crate::error::{Chain, is_unavailable};

/// Imports that one replica applies at the same time, each of another set.
const WORKERS: usize = 2;
/// How long an import rests that failed by its own fault and not by an outage: it keeps no worker from the others, and
/// nothing of it is lost.
const REST: Duration = Duration::from_mins(1);
/// Failures on our side in a row after which an import ends as an error.
const TRIES: i32 = 5;
/// How often a worker looks for jobs of other replicas.
const LOOK: Duration = Duration::from_secs(1);

/// Tells this replica's workers that an import was queued.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }
}

pub(crate) fn spawn(
    database: &Database,
    bell: &Bell,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
    waiting: &Waiting,
) {
    for _ in 0..WORKERS {
        tracker.spawn(work(
            database.clone(),
            bell.clone(),
            shutdown.clone(),
            waiting.clone(),
        ));
    }
}

async fn work(database: Database, bell: Bell, shutdown: CancellationToken, waiting: Waiting) {
    while !shutdown.is_cancelled() {
        let found = claim(&database).await;
        if let Ok(Some(job)) = &found {
            run(&database, job, &shutdown, &waiting).await;
        }
        let worked = matches!(&found, Ok(Some(_)));
        log_failure(found, "claiming an import failed");
        // A portion after each job, so that it is done also where there is always one.
        let cleaned = clean(&database).await;
        let worked = worked || matches!(&cleaned, Ok(true));
        log_failure(cleaned, "cleaning up after imports failed");
        if !worked {
            wait(&bell, &shutdown).await;
        }
    }
}

fn log_failure<T>(outcome: sqlx::Result<T>, what: &str) {
    match outcome {
        Err(error) if is_unavailable(&error) => {
            tracing::warn!(error = %Chain(&error), "{what}");
        }
        Err(error) => tracing::error!(error = %Chain(&error), "{what}"),
        Ok(_) => {}
    }
}

/// Cleans up a portion of what an import has left; false if there was none.
async fn clean(database: &Database) -> sqlx::Result<bool> {
    let Some((tenant, import)) = jobs::find_litter(database.system()).await? else {
        return Ok(false);
    };
    jobs::clean(database.tasks(), tenant, import).await?;
    Ok(true)
}

async fn wait(bell: &Bell, shutdown: &CancellationToken) {
    tokio::select! {
        () = bell.0.notified() => {}
        () = tokio::time::sleep(LOOK) => {}
        () = shutdown.cancelled() => {}
    }
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

async fn run(database: &Database, job: &Job, shutdown: &CancellationToken, waiting: &Waiting) {
    tracing::info!(import = %job.import, from_chunk = job.next_chunk, chunks = job.chunks, "applying an import");
    let pause = match apply(database, job, shutdown, waiting).await {
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
            LOOK
        }
        Err(error) => {
            tracing::error!(import = %job.import, error = %Chain(&error), "an attempt to apply an import failed");
            match jobs::fail(database.tasks(), job, TRIES, REST.as_secs_f64()).await {
                Ok(true) => tracing::error!(import = %job.import, "import failed permanently"),
                Ok(false) => {}
                failed => log_failure(
                    failed,
                    "the failure of an import could not be stored; its lease will expire",
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
