//! Work beside the requests: the tasks of the service, their loops, and the log of a step that failed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::database::is_unavailable;
use crate::telemetry::Chain;

/// The tasks of the service, and the signal that ends them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    pub tracker: TaskTracker,
    /// Cancelled when the service begins to stop.
    pub shutdown: CancellationToken,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Waits, but not beyond the begin of the stop.
    pub(crate) async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Repeats a step until the service stops. After a step that found nothing more to do it waits for `interval`.
    pub(crate) async fn every<F: Future<Output = Progress>>(
        &self,
        interval: Duration,
        mut step: impl FnMut() -> F,
    ) {
        while !self.is_stopping() {
            if step().await == Progress::Done {
                self.pause(interval).await;
            }
        }
    }
}

/// What a step of a loop has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Another step may follow at once.
    More,
    Done,
}

impl Progress {
    pub(crate) fn of(more: bool) -> Self {
        if more { Self::More } else { Self::Done }
    }
}

/// Logs that a step failed, as a warning if the database is unavailable. `what` says what cannot be done.
pub(crate) fn log_failure(what: &str, error: &sqlx::Error) {
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "{what}");
    } else {
        tracing::error!(error = %Chain(error), "{what}");
    }
}
