//! The roll-up: stores the counters of each set at each quarter of an hour, from its ledger, in batches.
//!
//! Its progress affects only the duration of requests, and their rejection where they would take too long. It changes no
//! rows of the sets themselves and waits for no lock: a tenant of which another replica rolls up a set is skipped.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::db::{self, LagRow};
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use crate::ids::TenantId;
use crate::metrics;
use crate::tenants::list_tenants;

/// Pause after a round over all tenants.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of ledger numbers that one transaction rolls up.
const BATCH_SIZE: i32 = 10_000;
/// Time spent on one set before the next.
const TIME_SLICE: Duration = Duration::from_secs(1);

/// Message of its log lines.
const FAILURE: &str = "aggregating statistics failed";

pub(super) async fn work(database: Database, tasks: Tasks) {
    tasks
        .every(POLL_INTERVAL, || round(&database, &tasks))
        .await;
}

/// Rolls up each set of each tenant in turn.
async fn round(database: &Database, tasks: &Tasks) -> StepOutcome {
    let tenants = match database.with_system(list_tenants).await {
        Ok(tenants) => tenants,
        Err(error) => {
            log_failure(FAILURE, &error);
            return StepOutcome::Done;
        }
    };
    let mut more = false;
    let mut lag = 0;
    for tenant in tenants {
        // A tenant or set that cannot be rolled up now, or takes long, must not delay the others.
        let sets = list_lagging_sets(database, tenant)
            .await
            .unwrap_or_else(|error| {
                log_failure(FAILURE, &error);
                Vec::new()
            });
        lag += sets.iter().map(|set| set.lag).sum::<i64>();
        for LagRow { set_no, .. } in sets {
            match catch_up(database, tenant, set_no, tasks).await {
                Ok(left) => more |= left,
                Err(error) => log_failure(FAILURE, &error),
            }
        }
    }
    metrics::statistics_lag(lag);
    StepOutcome::of(more)
}

async fn list_lagging_sets(database: &Database, tenant: TenantId) -> sqlx::Result<Vec<LagRow>> {
    let mut transaction = database.background(tenant).await?;
    let sets = db::list_lagging_sets(&mut transaction, tenant).await?;
    transaction.commit().await?;
    Ok(sets)
}

/// Rolls up the ledger of a set for one time slice. Returns true if it did not reach the end of the ledger. It pauses
/// after each batch for as long as the batch took, so that a long ledger leaves most of the database to requests.
async fn catch_up(
    database: &Database,
    tenant: TenantId,
    set_no: i32,
    tasks: &Tasks,
) -> sqlx::Result<bool> {
    let started = Instant::now();
    while started.elapsed() < TIME_SLICE && !tasks.is_stopping() {
        let batch_started = Instant::now();
        let roll_up = async |connection: &mut PgConnection| {
            db::roll_up(connection, tenant, set_no, BATCH_SIZE).await
        };
        let done = database.call(roll_up).await?;
        if done < i64::from(BATCH_SIZE) {
            return Ok(false);
        }
        tokio::time::sleep(batch_started.elapsed()).await;
    }
    Ok(true)
}
