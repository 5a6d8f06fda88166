//! The eraser: replaces the ids of erased contacts in the texts of their tenant, in portions. Those of a tenant that are
//! erased at about the same time share one search of its texts.
//!
//! How far it is stands in the database, so a replica that stops leaves nothing undone.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::db;
use crate::assignments::queue::Waiting;
use crate::database::Database;
use crate::error::{Chain, is_unavailable};
use crate::tenants::TenantId;

/// How often it looks for something to do.
const LOOK: Duration = Duration::from_secs(1);
/// How long it rests between portions while somebody asks for codes.
const REST: Duration = Duration::from_millis(100);
/// How long it stays with a tenant before it turns to the next.
const TURN: Duration = Duration::from_secs(1);

pub(crate) fn spawn(
    database: &Database,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
    waiting: &Waiting,
) {
    tracker.spawn(work(database.clone(), shutdown.clone(), waiting.clone()));
}

async fn work(database: Database, shutdown: CancellationToken, waiting: Waiting) {
    while !shutdown.is_cancelled() {
        if round(&database, &shutdown, &waiting).await {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Erases for each tenant in turn. Answers whether there is more to do.
async fn round(database: &Database, shutdown: &CancellationToken, waiting: &Waiting) -> bool {
    let tenants = match db::erasing_tenants(database.system()).await {
        Ok(tenants) => tenants,
        Err(error) => {
            tell(&error);
            return false;
        }
    };
    let mut more = false;
    for tenant in tenants {
        // One that cannot go on now, because somebody holds a lock, keeps none of the others waiting for long.
        match erase(database, tenant, shutdown, waiting).await {
            Ok(left) => more |= left,
            Err(error) => tell(&error),
        }
    }
    more
}

async fn erase(
    database: &Database,
    tenant: TenantId,
    shutdown: &CancellationToken,
    waiting: &Waiting,
) -> sqlx::Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < TURN && !shutdown.is_cancelled() {
        let mut connection = database.tasks().acquire().await?;
        if !db::erase_portion(&mut connection, tenant).await? {
            return Ok(false);
        }
        drop(connection);
        if waiting.is_asked() {
            tokio::time::sleep(REST).await;
        }
    }
    Ok(true)
}

fn tell(error: &sqlx::Error) {
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "erasing contacts failed");
    } else {
        tracing::error!(error = %Chain(error), "erasing contacts failed");
    }
}
