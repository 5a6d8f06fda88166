//! Calls of database functions whose outcome must be known.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Postgres};
use tokio::time::{Instant, timeout_at};

use super::BatchError;
use crate::database::{Database, fetch_rows, is_unavailable};
use crate::metrics;
use crate::telemetry::Chain;

/// Pause before a call is retried.
const BACKOFF: Duration = Duration::from_millis(50);
/// Time limit of a call of many keys.
const SHARED_LIMIT: Duration = Duration::from_secs(2);

/// Returns the number of items, or the place of one, as an argument of a call.
pub(crate) fn sql_integer(count: usize) -> i32 {
    i32::try_from(count).expect("the size of a batch is limited")
}

/// An idempotent call of a database function, in one round trip and one commit. Rows arrive before the commit, so all are read
/// before any is used.
pub(crate) trait DatabaseCall: Sync {
    /// The name in log messages.
    const NAME: &'static str;
    type Row: Send + for<'r> FromRow<'r, PgRow>;

    /// Returns the number of items.
    fn size(&self) -> usize;

    fn call(
        &self,
        connection: &mut PgConnection,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;

    /// Returns the statement of the same call with literals for arguments.
    fn with_literals(&self) -> String;

    /// Does what depends on the rows, as a part of the call.
    fn complete(
        &self,
        _database: &Database,
        _connection: &mut PgConnection,
        _rows: &[Self::Row],
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}

/// The database connection of a lane.
pub(crate) struct BatchConnection {
    database: Database,
    /// Held between batches, so that a batch costs one round trip.
    connection: Option<PoolConnection<Postgres>>,
}

impl BatchConnection {
    pub(super) fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            connection: None,
        }
    }

    /// Returns the connection to the pool.
    pub(super) fn release(&mut self) {
        self.connection = None;
    }

    /// Closes the connection, which may still be executing a call.
    pub(super) fn discard(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }

    /// Makes a call of many keys, once. Returns `None` if it failed or took too long: then the items must be sent again, key
    /// by key, so that what is wrong with one key or its locks does not delay the others.
    pub(crate) async fn call_once<C: DatabaseCall>(
        &mut self,
        call: &C,
        deadline: Instant,
    ) -> Option<Vec<C::Row>> {
        let (name, items) = (C::NAME, call.size());
        let limit = deadline.min(Instant::now() + SHARED_LIMIT);
        match timeout_at(limit, self.try_call(call)).await {
            Ok(Ok(rows)) => return Some(rows),
            Ok(Err(error)) => {
                metrics::database_error(&error);
                // Logs an alarm.
                is_invariant_violation(&error);
                tracing::warn!(error = %Chain(&error), items, "{name} will be sent key by key");
            }
            Err(_) => tracing::warn!(items, "{name} takes too long and will be sent key by key"),
        }
        self.discard();
        None
    }

    /// Makes a call and retries it until its outcome is known or the deadline has passed.
    pub(crate) async fn call<C: DatabaseCall>(
        &mut self,
        call: &C,
        deadline: Instant,
    ) -> Result<Vec<C::Row>, BatchError> {
        let (name, items) = (C::NAME, call.size());
        loop {
            let error = match timeout_at(deadline, self.try_call(call)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => {
                    metrics::database_error(&error);
                    Some(error)
                }
                Err(_) => None,
            };
            // The connection may still be executing the failed call, so it must not return to the pool.
            self.discard();
            match error {
                Some(error) if !is_unavailable(&error) && !is_invariant_violation(&error) => {
                    tracing::error!(error = %Chain(&error), items, "{name} failed");
                    return Err(BatchError::Failed);
                }
                Some(error) if Instant::now() + BACKOFF < deadline => {
                    tracing::warn!(error = %Chain(&error), items, "{name} will be retried");
                    tokio::time::sleep(BACKOFF).await;
                }
                _ => {
                    tracing::warn!(items, "the outcome of {name} is unknown");
                    return Err(BatchError::Unknown);
                }
            }
        }
    }

    async fn try_call<C: DatabaseCall>(&mut self, call: &C) -> sqlx::Result<Vec<C::Row>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.database.lane().await?),
        };
        let rows = if self.database.needs_literals() {
            fetch_rows(connection, call.with_literals()).await?
        } else {
            call.call(connection).await?
        };
        call.complete(&self.database, connection, &rows).await?;
        Ok(rows)
    }
}

/// Returns true for a unique violation, and logs it. The locks of the called functions should make one impossible. Nothing
/// was written, and a retry evaluates the items anew.
fn is_invariant_violation(error: &sqlx::Error) -> bool {
    let violated = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
    if violated {
        tracing::error!(error = %Chain(error), "ALARM: a unique constraint was violated although the lock of the set should prevent it");
    }
    violated
}
