//! Deletes the reports of imports some days after they ended (`COUPONRY_RETENTION_IMPORT_REPORTS_DAYS`), as their tenant could do
//! itself: they are hidden at once, and the workers delete their rows later.
//!
//! Every replica runs one. Two at the same time hide different imports.

use std::time::Duration;

use super::jobs;
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;

/// Time between two rounds.
const POLL_INTERVAL: Duration = Duration::from_hours(1);
/// Imports that one statement hides.
const BATCH_SIZE: i64 = 1_000;

pub(super) async fn work(database: Database, days: i32, tasks: Tasks) {
    tasks.every(POLL_INTERVAL, || round(&database, days)).await;
}

async fn round(database: &Database, days: i32) -> StepOutcome {
    let hidden = database
        .with_system(async |connection| jobs::hide_old_reports(connection, days, BATCH_SIZE).await)
        .await;
    match hidden {
        Ok(count) => StepOutcome::of(count > 0),
        Err(error) => {
            log_failure("deleting old import reports failed", &error);
            StepOutcome::Done
        }
    }
}
