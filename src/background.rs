//! Background work: the tasks of the service, their loops, and the logging of failed steps.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::database::is_unavailable;
use crate::load::LoadSignal;
use crate::metrics;
use crate::telemetry::Chain;

/// Length of a time slice.
const TIME_SLICE: Duration = Duration::from_secs(1);
/// Pause between two steps while the replica is busy.
const BACKOFF: Duration = Duration::from_millis(100);

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

    /// Waits for `pause`, or until the service begins to stop.
    pub(crate) async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Begins the time slice of a tenant.
    pub(crate) fn time_slice<'a>(&'a self, load: &'a LoadSignal) -> TimeSlice<'a> {
        TimeSlice {
            tasks: self,
            load,
            started: Instant::now(),
        }
    }

    /// Repeats a step until the service stops. Waits for `interval` after a step that returned `Done`.
    pub(crate) async fn every<F: Future<Output = StepOutcome>>(
        &self,
        interval: Duration,
        mut step: impl FnMut() -> F,
    ) {
        while !self.is_stopping() {
            if step().await == StepOutcome::Done {
                self.pause(interval).await;
            }
        }
    }
}

/// The time that a task spends on one tenant before the next.
pub(crate) struct TimeSlice<'a> {
    tasks: &'a Tasks,
    load: &'a LoadSignal,
    started: Instant,
}

impl TimeSlice<'_> {
    /// Returns true if there is time for one more step, after a pause if the replica is busy. Returns false when the slice is
    /// over, or the service is stopping.
    pub(crate) async fn has_time(&self) -> bool {
        if self.load.is_busy() {
            self.tasks.pause(BACKOFF).await;
        }
        self.started.elapsed() < TIME_SLICE && !self.tasks.is_stopping()
    }
}

/// The outcome of one step of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepOutcome {
    /// There is more work: the next step may follow at once.
    More,
    Done,
}

impl StepOutcome {
    pub(crate) fn of(more: bool) -> Self {
        if more { Self::More } else { Self::Done }
    }
}

/// Logs and counts a failed step: as a warning if the database is unavailable, as an error otherwise. `failure` is the message.
pub(crate) fn log_failure(failure: &str, error: &sqlx::Error) {
    metrics::database_error(error);
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "{failure}");
    } else {
        tracing::error!(error = %Chain(error), "{failure}");
    }
}
