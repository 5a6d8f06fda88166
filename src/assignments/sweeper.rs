//! The sweeper: reservations that ran out are ended and their codes given back, within about a second.
//!
//! Nothing depends on its pace: who asks for a code of a set that has none left ends its reservations first, and the
//! counters and states go by the time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ledger;
use crate::database::Database;
use crate::error::{Chain, is_unavailable};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn spawn(database: &Database, tracker: &TaskTracker, shutdown: &CancellationToken) {
    tracker.spawn(work(database.clone(), shutdown.clone()));
}

async fn work(database: Database, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
        match ledger::due_sets(database.system()).await {
            Ok(sets) => {
                for due in sets {
                    // One that cannot be swept now keeps none of the others waiting for long.
                    if let Err(error) = sweep(&database, &due, &shutdown).await {
                        tell(&error);
                    }
                }
            }
            Err(error) => tell(&error),
        }
    }
}

fn tell(error: &sqlx::Error) {
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "the sweep of expired reservations failed");
    } else {
        tracing::error!(error = %Chain(error), "the sweep of expired reservations failed");
    }
}

/// Ends what has run out until now. Replicas that do it at once wait for each other at each set, and the later one finds
/// nothing.
async fn sweep(
    database: &Database,
    due: &ledger::DueSet,
    shutdown: &CancellationToken,
) -> sqlx::Result<()> {
    while !shutdown.is_cancelled() {
        let mut connection = database.tasks().acquire().await?;
        if ledger::sweep_reservations(&mut connection, due).await? == 0 {
            break;
        }
    }
    Ok(())
}
