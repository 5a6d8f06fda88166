//! Applying the chunks of one import: placed two at a time and settled in their order, or judged one by one where some of
//! the codes are there already. While codes are asked for here, one chunk at a time with pauses leaves them room.

use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};
use tokio::task::JoinHandle;

use super::jobs::{self, Job};
use super::{Imports, db};
use crate::background::Tasks;

/// While codes are asked for: how long placing pauses after each 500 cards, which take about half as long.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of a job.
pub(super) enum Outcome {
    Finished,
    /// There was nothing to publish: the job is another worker's, was ended, or the service is stopping.
    Left,
    /// Another tenant's turn has come.
    Yielded,
}

/// Brings an import from where it stands to its end.
pub(super) async fn apply(state: &Imports, job: &Job, tasks: &Tasks) -> sqlx::Result<Outcome> {
    let pool = state.database.tasks();
    if !jobs::begin(pool, job).await? {
        return Ok(Outcome::Left);
    }
    if job.unsorted && !jobs::sort(pool, job).await? {
        return Ok(Outcome::Left);
    }
    let applying = Applying { state, job, tasks };
    let outcome = match applying.place_all().await? {
        Placing::Stopped(outcome) => Some(outcome),
        Placing::Judge { from } => applying.judge_all(from).await?,
    };
    if let Some(outcome) = outcome {
        return Ok(outcome);
    }
    if jobs::publish(pool, job).await? {
        Ok(Outcome::Finished)
    } else {
        Ok(Outcome::Left)
    }
}

/// How far placing came.
enum Placing {
    Stopped(Outcome),
    /// The chunks from this one on are to be judged; none may be left.
    Judge {
        from: i32,
    },
}

/// A chunk whose cards are written but not committed; `None` if its rows have to be judged.
type Placed = Option<(Transaction<'static, Postgres>, i32)>;

struct Applying<'a> {
    state: &'a Imports,
    job: &'a Job,
    tasks: &'a Tasks,
}

impl Applying<'_> {
    async fn place_all(&self) -> sqlx::Result<Placing> {
        let job = self.job;
        let (mut base, sizes) = jobs::plan(self.state.database.tasks(), job).await?;
        let mut chunks = (job.next_chunk..job.chunks).zip(sizes).peekable();
        let mut ahead = None;
        while let Some((chunk, size)) = chunks.next() {
            if chunk > job.next_chunk
                && let Some(outcome) = self.stop().await?
            {
                return Ok(Placing::Stopped(outcome));
            }
            let begun = Instant::now();
            let placing = ahead.take().unwrap_or_else(|| self.place(chunk, base));
            ahead = chunks
                .peek()
                .filter(|_| !self.state.load.is_busy())
                .map(|(next, _)| self.place(*next, base + size));
            // One that nobody waits for any more is rolled back when it ends.
            let placed = placing.await.map_err(|_| sqlx::Error::WorkerCrashed)?;
            let Some((mut transaction, rows)) = placed? else {
                return Ok(Placing::Judge { from: chunk });
            };
            if !jobs::settle(&mut transaction, job, chunk, base, rows).await? {
                return Ok(Placing::Stopped(Outcome::Left));
            }
            transaction.commit().await?;
            base += rows;
            self.state.load.yield_to_requests(begun.elapsed()).await;
        }
        Ok(Placing::Judge { from: job.chunks })
    }

    /// Judges the rows of the chunks from this one on.
    async fn judge_all(&self, from: i32) -> sqlx::Result<Option<Outcome>> {
        for chunk in from..self.job.chunks {
            if chunk > self.job.next_chunk
                && let Some(outcome) = self.stop().await?
            {
                return Ok(Some(outcome));
            }
            let begun = Instant::now();
            if !jobs::apply_chunk(self.state.database.tasks(), self.job, chunk).await? {
                return Ok(Some(Outcome::Left));
            }
            self.state.load.yield_to_requests(begun.elapsed()).await;
        }
        Ok(None)
    }

    /// Whether there is a reason to stop between two chunks.
    async fn stop(&self) -> sqlx::Result<Option<Outcome>> {
        if self.tasks.is_stopping() {
            Ok(Some(Outcome::Left))
        } else if jobs::others_wait(self.state.database.system(), self.job).await? {
            Ok(Some(Outcome::Yielded))
        } else {
            Ok(None)
        }
    }

    fn place(&self, chunk: i32, base: i32) -> JoinHandle<sqlx::Result<Placed>> {
        let (database, job) = (self.state.database.clone(), *self.job);
        let pause = if self.state.load.is_busy() {
            PAUSE
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
