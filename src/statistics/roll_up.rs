//! The roll-up: writes down how each set stood at each quarter of an hour, a portion of its ledger at a time.
//!
//! No answer depends on its pace but by the time that it takes, and by a refusal where that would be too long. It changes
//! nothing of a set's own rows and waits for nobody: what another replica is rolling up is skipped.

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
/// How long it stays with a set before it turns to the next.
const TURN: Duration = Duration::from_secs(1);

pub(crate) fn spawn(database: &Database, tracker: &TaskTracker, shutdown: &CancellationToken) {
    tracker.spawn(work(database.clone(), shutdown.clone()));
}

async fn work(database: Database, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match round(&database, &shutdown).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tell(&error),
        }
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

fn tell(error: &sqlx::Error) {
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "aggregating statistics failed");
    } else {
        tracing::error!(error = %Chain(error), "aggregating statistics failed");
    }
}

/// One tenant or set that cannot be rolled up now, or not soon, keeps none of the others waiting. Answers whether there is
/// more to do.
async fn round(database: &Database, shutdown: &CancellationToken) -> sqlx::Result<bool> {
    let mut more = false;
    for tenant in db::tenants(database.system()).await? {
        let set_nos = behind(database, tenant).await.unwrap_or_else(|error| {
            tell(&error);
            Vec::new()
        });
        for set_no in set_nos {
            match catch_up(database, tenant, set_no, shutdown).await {
                Ok(left) => more |= left,
                Err(error) => tell(&error),
            }
        }
    }
    Ok(more)
}

async fn behind(database: &Database, tenant: TenantId) -> sqlx::Result<Vec<i32>> {
    let mut transaction = database.tenant(tenant).await?;
    let set_nos = db::sets_behind(&mut transaction, tenant).await?;
    transaction.commit().await?;
    Ok(set_nos)
}

/// Rolls a set up towards the end of its ledger, and answers whether that is still ahead when its turn is over. Between
/// portions it rests as long as each took, so that a long ledger leaves most of the database to those who ask for codes.
async fn catch_up(
    database: &Database,
    tenant: TenantId,
    set_no: i32,
    shutdown: &CancellationToken,
) -> sqlx::Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < TURN && !shutdown.is_cancelled() {
        let started = Instant::now();
        let mut connection = database.tasks().acquire().await?;
        let done = db::roll_up(&mut connection, tenant, set_no, PORTION).await?;
        drop(connection);
        if done < i64::from(PORTION) {
            return Ok(false);
        }
        tokio::time::sleep(started.elapsed()).await;
    }
    Ok(true)
}
