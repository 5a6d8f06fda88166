//! The cleaner deletes deliveries some days after they ended (`COUPONRY_RETENTION_DELIVERIES_DAYS`), and the deliveries of deleted webhooks at once.
//!
//! Every replica runs one. Two that clean the same webhook at the same time delete different batches of it.

use std::time::Duration;

use super::queue::{self, RetentionRow};
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use sqlx::PgConnection;

/// Time between two rounds.
const POLL_INTERVAL: Duration = Duration::from_hours(1);
/// Deliveries that one statement deletes.
const BATCH_SIZE: i32 = 1_000;

/// Log message of a failure.
const FAILURE: &str = "deleting old webhook deliveries failed";

pub(super) async fn work(database: Database, days: i32, tasks: Tasks) {
    tasks
        .every(POLL_INTERVAL, || round(&database, days, &tasks))
        .await;
}

async fn round(database: &Database, days: i32, tasks: &Tasks) -> StepOutcome {
    match database.with_system(queue::list_all).await {
        Ok(webhooks) => {
            for webhook in webhooks {
                // A webhook that cannot be cleaned now must not delay the others.
                if let Err(error) = clean(database, &webhook, days, tasks).await {
                    log_failure(FAILURE, &error);
                }
            }
        }
        Err(error) => log_failure(FAILURE, &error),
    }
    StepOutcome::Done
}

async fn clean(
    database: &Database,
    webhook: &RetentionRow,
    days: i32,
    tasks: &Tasks,
) -> sqlx::Result<()> {
    let clean = async |connection: &mut PgConnection| {
        queue::clean(connection, webhook, days, BATCH_SIZE).await
    };
    while !tasks.is_stopping() && database.call(clean).await? > 0 {}
    Ok(())
}
