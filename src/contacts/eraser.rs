//! The eraser: replaces the ids of erased contacts in the texts of their tenant, in batches. Contacts of a tenant that
//! are erased at about the same time share one search of its texts.
//!
//! The database stores the progress, so another replica continues where a stopped one ended.

use std::time::Duration;

use super::{Contacts, db};
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::ids::TenantId;
use sqlx::PgConnection;

/// Interval between two checks for unfinished erasures.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Message of its log lines.
const FAILURE: &str = "erasing contacts failed";

pub(super) async fn work(state: Contacts, tasks: Tasks) {
    tasks.every(POLL_INTERVAL, || round(&state, &tasks)).await;
}

/// Processes each tenant in turn.
async fn round(state: &Contacts, tasks: &Tasks) -> StepOutcome {
    let tenants = match state.database.with_system(db::list_erasing_tenants).await {
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
            Ok(outcome) => more |= outcome == StepOutcome::More,
            Err(error) => log_failure(FAILURE, &error),
        }
    }
    StepOutcome::of(more)
}

/// Processes batches of a tenant for one time slice.
async fn erase(state: &Contacts, tenant: TenantId, tasks: &Tasks) -> sqlx::Result<StepOutcome> {
    let slice = tasks.time_slice(&state.load);
    while slice.has_time().await {
        let erase = async |connection: &mut PgConnection| db::erase_batch(connection, tenant).await;
        if !state.database.call(erase).await? {
            return Ok(StepOutcome::Done);
        }
    }
    Ok(StepOutcome::More)
}
