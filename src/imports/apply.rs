//! Applying the chunks of one import.
//!
//! Two chunks at a time are placed, that is, their cards are written; the chunks are settled and committed in order. From
//! the first chunk with a code that may already exist, the rows are evaluated instead, one chunk at a time. While this
//! replica serves requests for codes, it places one chunk at a time, with pauses.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Postgres, Transaction};
use tokio::task::JoinHandle;

use super::jobs::{self, Job};
use super::{Imports, db};
use crate::background::Tasks;

/// Pause after each 500 placed cards while codes are requested; writing the cards takes about half as long.
const CARD_BATCH_PAUSE: Duration = Duration::from_millis(10);

/// Outcome of applying an import.
pub(super) enum ApplyOutcome {
    Finished,
    /// Not published: another worker has claimed the import, the import was ended, or the service is stopping.
    Aborted,
    /// Paused for an import of another tenant.
    Yielded,
}

/// Applies the remaining chunks of an import and publishes it.
pub(super) async fn apply(state: &Imports, job: &Job, tasks: &Tasks) -> sqlx::Result<ApplyOutcome> {
    let database = &state.database;
    let begin = async |connection: &mut PgConnection| jobs::begin(connection, job).await;
    if !database.call(begin).await? {
        return Ok(ApplyOutcome::Aborted);
    }
    let sort = async |connection: &mut PgConnection| jobs::sort(connection, job).await;
    if job.unsorted && !database.call(sort).await? {
        return Ok(ApplyOutcome::Aborted);
    }
    let applier = ChunkApplier { state, job, tasks };
    let outcome = match applier.place_all().await? {
        Placement::Stopped(outcome) => Some(outcome),
        Placement::Evaluate { from } => applier.evaluate_all(from).await?,
    };
    if let Some(outcome) = outcome {
        return Ok(outcome);
    }
    let publish = async |connection: &mut PgConnection| jobs::publish(connection, job).await;
    if database.call(publish).await? {
        Ok(ApplyOutcome::Finished)
    } else {
        Ok(ApplyOutcome::Aborted)
    }
}

/// Outcome of placing the chunks.
enum Placement {
    Stopped(ApplyOutcome),
    /// The rows of the chunks from this one on must be evaluated. It may be past the last chunk.
    Evaluate {
        from: i32,
    },
}

/// A chunk whose cards are written but not committed; `None` if its rows must be evaluated.
type PlacedChunk = Option<(Transaction<'static, Postgres>, i32)>;

struct ChunkApplier<'a> {
    state: &'a Imports,
    job: &'a Job,
    tasks: &'a Tasks,
}

impl ChunkApplier<'_> {
    async fn place_all(&self) -> sqlx::Result<Placement> {
        let job = self.job;
        let plan = async |connection: &mut PgConnection| jobs::plan(connection, job).await;
        let (mut base, sizes) = self.state.database.call(plan).await?;
        let mut chunks = (job.next_chunk..job.chunks).zip(sizes).peekable();
        let mut ahead = None;
        while let Some((chunk, size)) = chunks.next() {
            if chunk > job.next_chunk
                && let Some(outcome) = self.stop_reason().await?
            {
                return Ok(Placement::Stopped(outcome));
            }
            let begun = Instant::now();
            let placing = ahead.take().unwrap_or_else(|| self.place(chunk, base));
            ahead = chunks
                .peek()
                .filter(|_| !self.state.load.is_busy())
                .map(|(next, _)| self.place(*next, base + size));
            // If this function returns early, the task ahead is detached, and its transaction is rolled back when it ends.
            let placed = placing.await.map_err(|_| sqlx::Error::WorkerCrashed)?;
            let Some((mut transaction, rows)) = placed? else {
                return Ok(Placement::Evaluate { from: chunk });
            };
            if !jobs::settle(&mut transaction, job, chunk, base, rows).await? {
                return Ok(Placement::Stopped(ApplyOutcome::Aborted));
            }
            transaction.commit().await?;
            base += rows;
            self.state.load.yield_to_requests(begun.elapsed()).await;
        }
        Ok(Placement::Evaluate { from: job.chunks })
    }

    /// Evaluates and applies the rows of the chunks from this one on. Returns `None` if all were applied.
    async fn evaluate_all(&self, from: i32) -> sqlx::Result<Option<ApplyOutcome>> {
        for chunk in from..self.job.chunks {
            if chunk > self.job.next_chunk
                && let Some(outcome) = self.stop_reason().await?
            {
                return Ok(Some(outcome));
            }
            let begun = Instant::now();
            let apply = async |connection: &mut PgConnection| {
                jobs::apply_chunk(connection, self.job, chunk).await
            };
            if !self.state.database.call(apply).await? {
                return Ok(Some(ApplyOutcome::Aborted));
            }
            self.state.load.yield_to_requests(begun.elapsed()).await;
        }
        Ok(None)
    }

    /// Returns the outcome if the worker must stop between two chunks.
    async fn stop_reason(&self) -> sqlx::Result<Option<ApplyOutcome>> {
        if self.tasks.is_stopping() {
            return Ok(Some(ApplyOutcome::Aborted));
        }
        let other_waits = self
            .state
            .database
            .with_system(async |connection| jobs::other_tenant_waits(connection, self.job).await);
        Ok(other_waits.await?.then_some(ApplyOutcome::Yielded))
    }

    fn place(&self, chunk: i32, base: i32) -> JoinHandle<sqlx::Result<PlacedChunk>> {
        let (database, job) = (self.state.database.clone(), *self.job);
        let pause = if self.state.load.is_busy() {
            CARD_BATCH_PAUSE
        } else {
            Duration::ZERO
        };
        tokio::spawn(async move {
            let mut transaction = database.task(job.tenant).await?;
            if !pause.is_zero() {
                db::write_evenly(&mut transaction).await?;
            }
            let rows = jobs::place(&mut transaction, &job, chunk, base, pause).await?;
            Ok(rows.map(|rows| (transaction, rows)))
        })
    }
}
