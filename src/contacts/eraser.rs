//! The eraser: replaces the ids of erased contacts in the texts of their tenant, in portions. Those of a tenant that are
//! erased at about the same time share one search of its texts.
//!
//! How far it is stands in the database, so a replica that stops leaves nothing undone.

use std::time::{Duration, Instant};

use super::{Contacts, db};
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::ids::TenantId;

/// Time between two looks for something to do.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between portions while the replica is busy.
const BACKOFF: Duration = Duration::from_millis(100);
/// Time that it stays with a tenant before it turns to the next.
const TIME_SLICE: Duration = Duration::from_secs(1);

/// The subject of its log lines.
const FAILURE: &str = "erasing contacts failed";

pub(super) async fn work(state: Contacts, tasks: Tasks) {
    tasks.every(POLL_INTERVAL, || round(&state, &tasks)).await;
}

/// Erases for each tenant in turn.
async fn round(state: &Contacts, tasks: &Tasks) -> StepOutcome {
    let tenants = match db::erasing_tenants(state.database.system()).await {
        Ok(tenants) => tenants,
        Err(error) => {
            log_failure(FAILURE, &error);
            return StepOutcome::Done;
        }
    };
    let mut more = false;
    for tenant in tenants {
        // A tenant that is blocked by a lock must not delay the others for long.
        match erase(state, tenant, tasks).await {
            Ok(left) => more |= left,
            Err(error) => log_failure(FAILURE, &error),
        }
    }
    StepOutcome::of(more)
}

/// Returns whether there is more to do for the tenant.
async fn erase(state: &Contacts, tenant: TenantId, tasks: &Tasks) -> sqlx::Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < TIME_SLICE && !tasks.is_stopping() {
        let mut connection = state.database.tasks().acquire().await?;
        if !db::erase_portion(&mut connection, tenant).await? {
            return Ok(false);
        }
        drop(connection);
        if state.load.is_busy() {
            tokio::time::sleep(BACKOFF).await;
        }
    }
    Ok(true)
}
