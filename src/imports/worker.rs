//! Applying imports: claim one, sort its rows by expiry if need be, apply its chunks, publish.
//!
//! Every step is one autocommit call that may be repeated, so after any failure the worker gives the job up and the next
//! claim resumes it. A worker that was thought dead is turned away by the epoch.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::db::{self, Job};
use crate::database::Database;
use crate::error::{Chain, is_unavailable};

/// Imports that one replica applies at the same time, each of another set.
const WORKERS: usize = 2;
/// How long an import rests that failed by its own fault and not by an outage: it keeps no worker from the others, and
/// nothing of it is lost.
const REST: Duration = Duration::from_mins(1);
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
) {
    for _ in 0..WORKERS {
        tracker.spawn(work(database.clone(), bell.clone(), shutdown.clone()));
    }
}

async fn work(database: Database, bell: Bell, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match claim(&database).await {
            Ok(Some(job)) => run(&database, &job, &shutdown).await,
            Ok(None) => wait(&bell, &shutdown).await,
            Err(error) => {
                if is_unavailable(&error) {
                    tracing::warn!(error = %Chain(&error), "no import can be claimed");
                } else {
                    tracing::error!(error = %Chain(&error), "no import can be claimed");
                }
                wait(&bell, &shutdown).await;
            }
        }
    }
}

async fn wait(bell: &Bell, shutdown: &CancellationToken) {
    tokio::select! {
        () = bell.0.notified() => {}
        () = tokio::time::sleep(LOOK) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn claim(database: &Database) -> sqlx::Result<Option<Job>> {
    match db::claim(database.system()).await {
        // Another worker has just begun another import of the same set: this one's turn will come.
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("imports_running_key") => {
            Ok(None)
        }
        claimed => claimed,
    }
}

async fn run(database: &Database, job: &Job, shutdown: &CancellationToken) {
    tracing::info!(import = %job.import, from_chunk = job.next_chunk, chunks = job.chunks, "an import is being applied");
    let pause = match apply(database, job, shutdown).await {
        Ok(true) => {
            tracing::info!(import = %job.import, "an import is finished");
            Duration::ZERO
        }
        Ok(false) => {
            tracing::info!(import = %job.import, "an import was left: it is another worker's or was ended");
            Duration::ZERO
        }
        Err(error) if is_unavailable(&error) => {
            tracing::warn!(import = %job.import, error = %Chain(&error), "an import was interrupted and will be resumed");
            LOOK
        }
        Err(error) => {
            tracing::error!(import = %job.import, error = %Chain(&error), "an import failed and will be tried again");
            REST
        }
    };
    // Without effect unless the job is still ours and not ended.
    if let Err(error) = db::give_up(database.system(), job, pause.as_secs_f64()).await {
        tracing::warn!(error = %Chain(&error), "an import could not be given up; its lease will run out");
    }
}

/// False if there was nothing to publish: the job is another worker's, was ended, or the service is stopping.
async fn apply(database: &Database, job: &Job, shutdown: &CancellationToken) -> sqlx::Result<bool> {
    let pool = database.tasks();
    if !db::begin(pool, job).await? {
        return Ok(false);
    }
    if job.unsorted && !db::sort(pool, job).await? {
        return Ok(false);
    }
    for chunk in job.next_chunk..job.chunks {
        if shutdown.is_cancelled() || !db::apply_chunk(pool, job, chunk).await? {
            return Ok(false);
        }
    }
    db::publish(pool, job).await
}
