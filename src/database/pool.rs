//! A pool of connections, with its name in the metrics.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, Postgres, Row, SqlSafeStr, Transaction};

use super::ACQUIRE_TIMEOUT;
use crate::metrics;

/// Time after which an idle connection is closed. After a failover, none to the old server is left.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug, Clone)]
pub(super) struct Pool {
    name: &'static str,
    connections: PgPool,
}

impl Pool {
    /// A pool that closes idle connections that are broken or lead to a read-only server, which a failover leaves behind.
    /// Connections are opened when they are needed.
    pub(super) fn tested(name: &'static str, options: &PgConnectOptions, max: u16) -> Self {
        let settings = settings(max).before_acquire(|connection, _| {
            Box::pin(async move {
                let read_only = connection.fetch_one("show transaction_read_only").await?;
                Ok(read_only.try_get::<&str, _>(0)? == "off")
            })
        });
        Self {
            name,
            connections: settings.connect_lazy_with(options.clone()),
        }
    }

    /// A pool whose user closes a connection that fails.
    pub(super) fn untested(name: &'static str, options: &PgConnectOptions, max: u16) -> Self {
        Self {
            name,
            connections: settings(max).connect_lazy_with(options.clone()),
        }
    }

    /// Gets a connection, and records the time that it took.
    pub(super) async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        let started = Instant::now();
        let connection = self.connections.acquire().await;
        metrics::acquired(self.name, started.elapsed());
        connection
    }

    /// Begins a transaction with these statements in one round trip, and in a separate task. Otherwise a request that is
    /// cancelled meanwhile would return a connection with an open transaction to the pool (launchbadge/sqlx issue 4393).
    /// The statements must be safe from injection.
    pub(super) async fn begin(
        &self,
        statements: String,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        let pool = self.clone();
        let begun = tokio::spawn(async move {
            let connection = pool.acquire().await?;
            let statements = AssertSqlSafe(statements).into_sql_str();
            Transaction::begin(connection, Some(statements)).await
        });
        begun.await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }

    pub(super) fn max(&self) -> u32 {
        self.connections.options().get_max_connections()
    }

    /// Records the size of the pool.
    pub(super) fn record(&self) {
        let (open, idle) = (self.connections.size(), self.connections.num_idle());
        metrics::pool(self.name, open, idle, self.max());
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}

fn settings(max: u16) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(u32::from(max))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        // A round trip, which the test above makes too.
        .test_before_acquire(false)
}
