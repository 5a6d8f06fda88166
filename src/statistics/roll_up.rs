//! The roll-up: writes down how each set stood at each quarter of an hour, a portion of its ledger at a time.
//!
//! No answer depends on its pace but by the time that it takes. It changes nothing of a set's own rows and waits for nobody:
//! what another replica is rolling up is skipped.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::db;
use crate::database::Database;
use crate::error::{Chain, is_unavailable};
use crate::tenants::TenantId;

/// How long it rests after it has looked at all tenants.
const REST: Duration = Duration::from_secs(5);
/// Numbers of a ledger that one transaction rolls up.
const PORTION: i32 = 10_000;

pub(crate) fn spawn(database: &Database, tracker: &TaskTracker, shutdown: &CancellationToken) {
    tracker.spawn(work(database.clone(), shutdown.clone()));
}

async fn work(database: Database, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = round(&database, &shutdown).await {
            tell(&error);
        }
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

fn tell(error: &sqlx::Error) {
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "statistics cannot be rolled up");
    } else {
        tracing::error!(error = %Chain(error), "statistics cannot be rolled up");
    }
}

/// One tenant or set that cannot be rolled up now keeps none of the others waiting.
async fn round(database: &Database, shutdown: &CancellationToken) -> sqlx::Result<()> {
    for tenant in db::tenants(database.system()).await? {
        let set_nos = behind(database, tenant).await.unwrap_or_else(|error| {
            tell(&error);
            Vec::new()
        });
        for set_no in set_nos {
            if let Err(error) = catch_up(database, tenant, set_no, shutdown).await {
                tell(&error);
            }
        }
    }
    Ok(())
}

async fn behind(database: &Database, tenant: TenantId) -> sqlx::Result<Vec<i32>> {
    let mut transaction = database.tenant(tenant).await?;
    let set_nos = db::sets_behind(&mut transaction, tenant).await?;
    transaction.commit().await?;
    Ok(set_nos)
}

/// Rolls a set up to the end of its ledger. Between portions it rests as long as each took, so that a long ledger leaves
/// most of the database to those who ask for codes.
async fn catch_up(
    database: &Database,
    tenant: TenantId,
    set_no: i32,
    shutdown: &CancellationToken,
) -> sqlx::Result<()> {
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        let mut connection = database.tasks().acquire().await?;
        let done = db::roll_up(&mut connection, tenant, set_no, PORTION).await?;
        drop(connection);
        if done < i64::from(PORTION) {
            break;
        }
        tokio::time::sleep(started.elapsed()).await;
    }
    Ok(())
}
