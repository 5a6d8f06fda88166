//! Removes the codes and the ledgers of coupon sets some days after these were deleted
//! (`COUPONRY_RETENTION_DELETED_SETS_DAYS`), in portions. The sets and their statistics stay.
//!
//! The state of each set is stored, so that any replica goes on where a stopped one ended. Of two replicas at once, one removes
//! rows of a tenant.

mod db;

use std::collections::VecDeque;
use std::time::Duration;

use sqlx::PgConnection;

use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use crate::ids::{SetKey, TenantId};
use crate::load::LoadSignal;
use crate::tenants::list_tenants;

/// Time between two rounds.
const POLL_INTERVAL: Duration = Duration::from_hours(1);
/// Maximum number of rows that one transaction deletes.
const BATCH_SIZE: i32 = 5_000;

/// Log message of a failure.
const FAILURE: &str = "removing the ledger of a deleted coupon set failed";

/// The ledger of a set in this round.
struct Removal {
    set: SetKey,
    /// The number of the table that is next.
    table: i32,
}

/// Starts the task that removes the ledgers of sets that were deleted more than `days` days ago. With 0 all ledgers are kept.
pub(crate) fn spawn(database: &Database, load: &LoadSignal, days: u16, tasks: &Tasks) {
    if days > 0 {
        tasks.spawn(work(
            database.clone(),
            load.clone(),
            days.into(),
            tasks.clone(),
        ));
    }
}

async fn work(database: Database, load: LoadSignal, days: i32, tasks: Tasks) {
    tasks
        .every(POLL_INTERVAL, || round(&database, &load, days, &tasks))
        .await;
}

/// Removes each ledger that is due and not needed any more. The tenants take turns.
async fn round(database: &Database, load: &LoadSignal, days: i32, tasks: &Tasks) -> StepOutcome {
    let tenants = database.with_system(list_tenants).await;
    let tenants = tenants.unwrap_or_else(|error| {
        log_failure(FAILURE, &error);
        Vec::new()
    });
    let mut queues = Vec::new();
    for tenant in tenants {
        match list_removals(database, tenant, days).await {
            Ok(removals) => queues.push(removals),
            Err(error) => log_failure(FAILURE, &error),
        }
    }
    while !queues.is_empty() && !tasks.is_stopping() {
        for removals in &mut queues {
            if let Err(error) = remove(database, removals, load, days, tasks).await {
                log_failure(FAILURE, &error);
                // It is retried in the next round.
                removals.pop_front();
            }
        }
        queues.retain(|removals| !removals.is_empty());
    }
    StepOutcome::Done
}

async fn list_removals(
    database: &Database,
    tenant: TenantId,
    days: i32,
) -> sqlx::Result<VecDeque<Removal>> {
    let mut transaction = database.background(tenant).await?;
    let sets = db::list_removable_ledgers(&mut transaction, tenant, days).await?;
    transaction.commit().await?;
    let removal = |set_no| Removal {
        set: SetKey { tenant, set_no },
        table: 1,
    };
    Ok(sets.into_iter().map(removal).collect())
}

/// Removes ledgers of a tenant for one time slice. Those that are removed, or cannot be now, leave the queue.
async fn remove(
    database: &Database,
    removals: &mut VecDeque<Removal>,
    load: &LoadSignal,
    days: i32,
    tasks: &Tasks,
) -> sqlx::Result<()> {
    let slice = tasks.time_slice(load);
    while slice.has_time().await {
        let Some(&mut Removal { set, ref mut table }) = removals.front_mut() else {
            break;
        };
        let portion = async |connection: &mut PgConnection| {
            db::remove_ledger(connection, set, days, *table, BATCH_SIZE).await
        };
        let portion = database.call(portion).await?;
        match portion.next_table {
            Some(next) if portion.count > 0 => *table = next,
            Some(_) => {
                removals.pop_front();
            }
            None => {
                tracing::info!(
                    tenant = %set.tenant,
                    set = set.set_no,
                    "the ledger of a deleted coupon set was removed"
                );
                removals.pop_front();
            }
        }
    }
    Ok(())
}
