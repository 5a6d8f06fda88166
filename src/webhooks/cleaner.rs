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
const PORTION: i32 = 1_000;

pub(super) async fn work(database: Database, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match queue::list_all(database.system()).await {
            Ok(webhooks) => {
                for kept in webhooks {
                    // One that cannot be cleaned now keeps none of the others waiting.
                    if let Err(error) = clean(&database, &kept, &shutdown).await {
                        tell(&error);
                    }
                }
            }
            Err(error) => tell(&error),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn clean(database: &Database, kept: &Kept, shutdown: &CancellationToken) -> sqlx::Result<()> {
    while !shutdown.is_cancelled() && queue::clean(database.tasks(), kept, DAYS, PORTION).await? > 0
    {
    }
    Ok(())
}

fn tell(error: &sqlx::Error) {
    tracing::warn!(error = %Chain(error), "deleting old webhook deliveries failed");
}
