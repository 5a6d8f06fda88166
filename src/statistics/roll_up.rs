//! The roll-up: writes down how each set stood at each quarter of an hour, a portion of its ledger at a time.
//!
//! No answer depends on its pace but by the time that it takes, and by a refusal where that would be too long. It changes
//! nothing of a set's own rows and waits for nobody: what another replica is rolling up is skipped.

use std::time::Duration;

use tokio::time::Instant;

use super::db;
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use crate::ids::TenantId;

/// Pause after it has looked at all tenants.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Numbers of a ledger that one transaction rolls up.
const BATCH_SIZE: i32 = 10_000;
/// Time that it stays with a set before it turns to the next.
const TIME_SLICE: Duration = Duration::from_secs(1);

/// The subject of its log lines.
const FAILURE: &str = "aggregating statistics failed";

pub(super) async fn work(database: Database, tasks: Tasks) {
    tasks
        .every(POLL_INTERVAL, || round(&database, &tasks))
        .await;
}

/// Rolls up each set of each tenant in turn.
async fn round(database: &Database, tasks: &Tasks) -> StepOutcome {
    let tenants = match db::tenants(database.system()).await {
        Ok(tenants) => tenants,
        Err(error) => {
            log_failure(FAILURE, &error);
            return StepOutcome::Done;
        }
    };
    let mut more = false;
    for tenant in tenants {
        // A tenant or set that cannot be rolled up now, or takes long, must not delay the others.
        let set_nos = behind(database, tenant).await.unwrap_or_else(|error| {
            log_failure(FAILURE, &error);
            Vec::new()
        });
        for set_no in set_nos {
            match catch_up(database, tenant, set_no, tasks).await {
                Ok(left) => more |= left,
                Err(error) => log_failure(FAILURE, &error),
            }
        }
    }
    StepOutcome::of(more)
}

async fn behind(database: &Database, tenant: TenantId) -> sqlx::Result<Vec<i32>> {
    database
        .with_tenant(tenant, async |connection| {
            db::sets_behind(connection, tenant).await
        })
        .await
}

/// Rolls a set up towards the end of its ledger, and returns whether that is still ahead when its time is over. Between
/// batches it rests as long as each took, so that a long ledger leaves most of the database to requests.
async fn catch_up(
    database: &Database,
    tenant: TenantId,
    set_no: i32,
    tasks: &Tasks,
) -> sqlx::Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < TIME_SLICE && !tasks.is_stopping() {
        let started = Instant::now();
        let mut connection = database.tasks().acquire().await?;
        let done = db::roll_up(&mut connection, tenant, set_no, BATCH_SIZE).await?;
        drop(connection);
        if done < i64::from(BATCH_SIZE) {
            return Ok(false);
        }
        tokio::time::sleep(started.elapsed()).await;
    }
    Ok(true)
}
