//! Deletes the rows of tenants that are being deleted, in portions, and then the tenants.
//!
//! The request is all that is stored. After a stop, any replica or command begins again with the first table.

use std::time::Duration;

use sqlx::PgConnection;

use super::db;
use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use crate::ids::TenantId;
use crate::load::LoadSignal;

/// Interval between two checks for tenants to delete.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of rows that one transaction deletes.
const BATCH_SIZE: i32 = 5_000;
/// Time for requests that were accepted before the deletion began. It is longer than the lifetime of a cached key and the
/// statements of a request together.
const GRACE_SECONDS: i32 = 30;

/// Log message of a failure.
const FAILURE: &str = "deleting a tenant failed";

/// The deletion of a tenant in this process.
pub(crate) struct Deletion {
    tenant: TenantId,
    /// The number of the table that is next.
    table: i32,
}

/// The result of one step of a deletion.
pub(crate) enum Step {
    /// This number of rows was deleted.
    Rows(i32),
    /// Another session deletes rows of the tenant, or requests may still be under way.
    Waiting,
    /// The tenant does not exist any more.
    Deleted,
}

impl Deletion {
    pub(crate) fn of(tenant: TenantId) -> Self {
        Self { tenant, table: 1 }
    }

    /// Deletes a portion of the rows, or the tenant itself once it has none.
    pub(crate) async fn step(&mut self, database: &Database) -> sqlx::Result<Step> {
        let portion = async |connection: &mut PgConnection| {
            db::delete_rows(connection, self.tenant, self.table, BATCH_SIZE).await
        };
        let portion = database.call(portion).await?;
        if let Some(table) = portion.next_table {
            self.table = table;
            return Ok(match portion.count {
                0 => Step::Waiting,
                rows => Step::Rows(rows),
            });
        }
        if portion.count > 0 {
            return Ok(Step::Rows(portion.count));
        }
        let tenant = async |connection: &mut PgConnection| {
            db::delete_empty(connection, self.tenant, GRACE_SECONDS).await
        };
        if database.call(tenant).await? {
            return Ok(Step::Deleted);
        }
        self.table = 1;
        Ok(Step::Waiting)
    }
}

pub(super) async fn work(database: Database, load: LoadSignal, tasks: Tasks) {
    tasks
        .every(POLL_INTERVAL, || round(&database, &load, &tasks))
        .await;
}

/// Deletes rows of each tenant in turn.
async fn round(database: &Database, load: &LoadSignal, tasks: &Tasks) -> StepOutcome {
    let tenants = match database.with_system(db::list_deleting).await {
        Ok(tenants) => tenants,
        Err(error) => {
            log_failure(FAILURE, &error);
            return StepOutcome::Done;
        }
    };
    let mut more = false;
    for tenant in tenants {
        // A tenant that is blocked by a lock must not delay the others for long.
        match delete(database, tenant, load, tasks).await {
            Ok(outcome) => more |= outcome == StepOutcome::More,
            Err(error) => log_failure(FAILURE, &error),
        }
    }
    StepOutcome::of(more)
}

/// Deletes rows of a tenant for one time slice.
async fn delete(
    database: &Database,
    tenant: TenantId,
    load: &LoadSignal,
    tasks: &Tasks,
) -> sqlx::Result<StepOutcome> {
    let mut deletion = Deletion::of(tenant);
    let slice = tasks.time_slice(load);
    while slice.has_time().await {
        match deletion.step(database).await? {
            Step::Rows(_) => {}
            Step::Waiting => return Ok(StepOutcome::Done),
            Step::Deleted => {
                tracing::info!("a tenant was deleted");
                return Ok(StepOutcome::Done);
            }
        }
    }
    Ok(StepOutcome::More)
}
