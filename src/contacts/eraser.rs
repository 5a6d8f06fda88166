//! The eraser: replaces the ids of erased contacts in the texts of their tenant, in portions.
//!
//! How far it is stands in the database, so a replica that stops leaves nothing undone.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::db;
use crate::assignments::queue::Waiting;
use crate::database::Database;
use crate::error::{Chain, is_unavailable};

/// How often it looks for something to do.
const LOOK: Duration = Duration::from_secs(1);
/// How long it rests between portions while somebody asks for codes.
const REST: Duration = Duration::from_millis(100);

pub(crate) fn spawn(
    database: &Database,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
    waiting: &Waiting,
) {
    tracker.spawn(work(database.clone(), shutdown.clone(), waiting.clone()));
}

async fn work(database: Database, shutdown: CancellationToken, waiting: Waiting) {
    loop {
        let pause = match erase(&database, &shutdown).await {
            Ok(true) if waiting.is_asked() => REST,
            Ok(true) => Duration::ZERO,
            Ok(false) => LOOK,
            Err(error) => {
                tell(&error);
                LOOK
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Does a portion of each erasure that is under way, so that a large one keeps no other waiting. Answers whether there is
/// more to do.
async fn erase(database: &Database, shutdown: &CancellationToken) -> sqlx::Result<bool> {
    let mut more = false;
    let mut failure = None;
    for due in db::due_erasures(database.system()).await? {
        if shutdown.is_cancelled() {
            break;
        }
        let mut connection = database.tasks().acquire().await?;
        // One that cannot go on now, because somebody holds a lock, keeps none of the others waiting.
        match db::erase_portion(&mut connection, &due).await {
            Ok(left) => more |= left,
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if !more => Err(error),
        _ => Ok(more),
    }
}

fn tell(error: &sqlx::Error) {
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "contacts cannot be erased");
    } else {
        tracing::error!(error = %Chain(error), "contacts cannot be erased");
    }
}
