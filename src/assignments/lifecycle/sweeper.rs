//! The sweeper ends expired reservations and returns their codes to their sets, within about a second.
//!
//! Correctness does not depend on its speed: a request for a code of an exhausted set first ends the expired reservations of
//! the set, and counters and states take the current time into account.

use std::time::Duration;

use super::db;
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use crate::ids::SetKey;
use sqlx::PgConnection;

/// Time between two sweeps of all due sets.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Log message of a failed sweep.
const FAILURE: &str = "the sweep of expired reservations failed";

pub(in crate::assignments) async fn work(database: Database, tasks: Tasks) {
    tasks.pause(POLL_INTERVAL).await;
    tasks
        .every(POLL_INTERVAL, || round(&database, &tasks))
        .await;
}

async fn round(database: &Database, tasks: &Tasks) -> StepOutcome {
    match database.with_system(db::find_due_sets).await {
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
    StepOutcome::Done
}

/// Ends the expired reservations of a set. Of two replicas that sweep it at the same time, the second waits for the lock of
/// the set and then finds none left.
async fn sweep(database: &Database, set: SetKey, tasks: &Tasks) -> sqlx::Result<()> {
    let sweep = async |connection: &mut PgConnection| db::sweep_reservations(connection, set).await;
    while !tasks.is_stopping() && database.call(sweep).await? > 0 {}
    Ok(())
}
