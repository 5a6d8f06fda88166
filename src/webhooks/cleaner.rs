//! The cleaner: deliveries are deleted some time after they ended, and what deleted webhooks left at once.
//!
//! Each replica does it by itself. What two do at the same time they share portion by portion.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::queue::{self, Kept};
use crate::database::Database;
use crate::error::Chain;

/// How often it looks.
const LOOK: Duration = Duration::from_hours(1);
/// How long deliveries are kept after they ended.
const DAYS: i32 = 30;
/// Deliveries that are deleted at a time.
const PORTION: i64 = 1_000;

pub(super) async fn work(database: Database, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = clean(&database, &shutdown).await {
            tracing::warn!(error = %Chain(&error), "old deliveries of webhooks cannot be deleted");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn clean(database: &Database, shutdown: &CancellationToken) -> sqlx::Result<()> {
    for kept in queue::list_all(database.system()).await? {
        let mut left = true;
        while left && !shutdown.is_cancelled() {
            left = delete_portion(database, &kept).await?;
        }
    }
    Ok(())
}

/// False if nothing was left to delete.
async fn delete_portion(database: &Database, kept: &Kept) -> sqlx::Result<bool> {
    let mut transaction = database.tenant(kept.tenant).await?;
    let deleted = queue::delete_old(&mut transaction, kept, DAYS, PORTION).await?;
    if deleted == 0 && kept.deleted {
        queue::delete_gone(&mut transaction, kept).await?;
    }
    transaction.commit().await?;
    Ok(deleted > 0)
}
