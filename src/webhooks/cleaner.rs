//! The cleaner: deliveries are deleted some time after they ended, and what deleted webhooks left at once.
//!
//! Each replica does it by itself. What two do at the same time they share portion by portion.

use std::time::Duration;

use super::queue::{self, Kept};
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;

/// Time between two looks.
const POLL_INTERVAL: Duration = Duration::from_hours(1);
/// Days that deliveries are kept after they ended.
const DAYS: i32 = 30;
/// Deliveries that are deleted at a time.
const BATCH_SIZE: i32 = 1_000;

/// The subject of its log lines.
const FAILURE: &str = "deleting old webhook deliveries failed";

pub(super) async fn work(database: Database, tasks: Tasks) {
    tasks
        .every(POLL_INTERVAL, || round(&database, &tasks))
        .await;
}

async fn round(database: &Database, tasks: &Tasks) -> StepOutcome {
    match queue::list_all(database.system()).await {
        Ok(webhooks) => {
            for kept in webhooks {
                // A webhook that cannot be cleaned now must not delay the others.
                if let Err(error) = clean(database, &kept, tasks).await {
                    log_failure(FAILURE, &error);
                }
            }
        }
        Err(error) => log_failure(FAILURE, &error),
    }
    StepOutcome::Done
}

async fn clean(database: &Database, kept: &Kept, tasks: &Tasks) -> sqlx::Result<()> {
    while !tasks.is_stopping() && queue::clean(database.tasks(), kept, DAYS, BATCH_SIZE).await? > 0
    {
    }
    Ok(())
}
