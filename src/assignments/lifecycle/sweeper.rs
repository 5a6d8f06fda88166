//! The sweeper ends reservations that have run out and gives their codes back, within about a second.
//!
//! Nothing depends on its pace: a request for a code of a set that has none left ends its reservations first, and the
//! counters and states go by the time.

use std::time::Duration;

use super::db;
use crate::background::{Progress, Tasks, log_failure};
use crate::database::Database;
use crate::ids::SetKey;

/// Time between two sweeps.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The subject of its log lines.
const FAILURE: &str = "the sweep of expired reservations failed";

pub(in crate::assignments) async fn work(database: Database, tasks: Tasks) {
    tasks.pause(POLL_INTERVAL).await;
    tasks
        .every(POLL_INTERVAL, || round(&database, &tasks))
        .await;
}

async fn round(database: &Database, tasks: &Tasks) -> Progress {
    match db::due_sets(database.system()).await {
        Ok(sets) => {
            for set in sets {
                // A set that cannot be swept now must not delay the others for long.
                if let Err(error) = sweep(database, set, tasks).await {
                    log_failure(FAILURE, &error);
                }
            }
        }
        Err(error) => log_failure(FAILURE, &error),
    }
    Progress::Done
}

/// Ends the reservations of a set that have run out. Replicas that do it at once wait for each other, and the later one finds
/// nothing.
async fn sweep(database: &Database, set: SetKey, tasks: &Tasks) -> sqlx::Result<()> {
    while !tasks.is_stopping() {
        let mut connection = database.tasks().acquire().await?;
        if db::sweep_reservations(&mut connection, set).await? == 0 {
            break;
        }
    }
    Ok(())
}
