//! Access to PostgreSQL: connection pools, migrations, locks, and transactions that see one tenant.
//!
//! The service never uses the role that owns its tables. Each transaction sets a role that is subject to row level security,
//! with its other settings, in the message that begins it. Functions that are called without a transaction set theirs
//! themselves. So a connection has no state outside transactions, and a pooler can share it.

mod errors;
pub mod functions;
pub(crate) mod locks;
mod migrate;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Postgres, Transaction};

pub use migrate::{MIGRATIONS, MigrateError, migrate};

pub(crate) use errors::is_unavailable;

use crate::ids::TenantId;

/// Time that a request waits for a connection before it fails as unavailable.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Begins a transaction of the role that sees the rows of one tenant.
///
/// * Custom plans are forced: a generic plan cached while the tables were empty would later scan far too much.
/// * A replica that freezes within a transaction loses it after 10 seconds, so that its locks do not block others for
///   long.
/// * The statement timeout is shorter than the time limit of a request.
const APP_ROLE: &str = "set local role couponry_app; set local jit = off; set local plan_cache_mode = force_custom_plan; \
    set local idle_in_transaction_session_timeout = '10s'; set local lock_timeout = '5s'; set local statement_timeout = '20s'";
/// The same role for uploads, with a longer idle timeout and no statement timeout because they can be large.
const UPLOAD_ROLE: &str = "set local role couponry_app; set local jit = off; \
    set local idle_in_transaction_session_timeout = '60s'; set local lock_timeout = '5s'";
/// The same role for calls of functions, which set their own planner options. The idle timeout is longer because an
/// import keeps a transaction open while another chunk is processed.
const TASK_ROLE: &str = "set local role couponry_app; set local jit = off; \
    set local idle_in_transaction_session_timeout = '60s'";
/// Begins a transaction of the role that sees the rows of all tenants, in the few tables that need it.
const SYSTEM_ROLE: &str = "set local role couponry_system; set local jit = off; \
    set local idle_in_transaction_session_timeout = '10s'; set local statement_timeout = '20s'";

/// The pools of the service. A clone counts one reference.
#[derive(Debug, Clone)]
pub struct Database(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    /// For requests.
    app: PgPool,
    /// For uploads, each of which uses a connection while its file is read.
    uploads: PgPool,
    /// For tasks that hold a connection over many calls, such as applying imports.
    tasks: PgPool,
    /// For the lanes that assign codes and record events, each of which has a connection.
    lanes: PgPool,
    system: PgPool,
}

impl Database {
    /// Creates the pools. Connections are opened when they are needed.
    #[must_use]
    pub fn new(options: &PgConnectOptions) -> Self {
        Self(Arc::new(Pools {
            app: pool(options, 12, true),
            uploads: pool(options, 4, true),
            // No test: a broken connection fails at its first use, and the tasks retry.
            tasks: pool(options, 8, false),
            lanes: pool(options, 16, false),
            system: pool(options, 4, true),
        }))
    }

    /// Runs `run` in a transaction that sees only the rows of this tenant, and commits it. An error rolls it back.
    pub(crate) async fn with_tenant<T, E: From<sqlx::Error>>(
        &self,
        tenant: TenantId,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction = self.tenant(tenant).await?;
        let done = run(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }

    /// Runs `run` in a read-only transaction of this tenant in which all statements see the same snapshot.
    pub(crate) async fn with_snapshot<T, E: From<sqlx::Error>>(
        &self,
        tenant: TenantId,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction = self.snapshot(tenant).await?;
        let done = run(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }

    /// Begins a transaction that sees only the rows of this tenant, in one round trip.
    pub(crate) async fn tenant(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(&self.0.app, "begin", APP_ROLE, Some(tenant)).await
    }

    /// Begins a read-only transaction of this tenant in which all statements see the same snapshot.
    pub(crate) async fn snapshot(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        let begin_snapshot = "begin isolation level repeatable read read only";
        begin(&self.0.app, begin_snapshot, APP_ROLE, Some(tenant)).await
    }

    /// Begins a transaction of this tenant on the pool for uploads.
    pub(crate) async fn upload(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(&self.0.uploads, "begin", UPLOAD_ROLE, Some(tenant)).await
    }

    /// Begins a transaction of this tenant on the pool for tasks.
    pub(crate) async fn task(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(&self.0.tasks, "begin", TASK_ROLE, Some(tenant)).await
    }

    /// The pool for calls of functions that set their role and tenant themselves.
    pub(crate) fn tasks(&self) -> &PgPool {
        &self.0.tasks
    }

    /// The pool of the lanes, for calls of functions that set their role and tenants themselves.
    pub(crate) fn lanes(&self) -> &PgPool {
        &self.0.lanes
    }

    /// Begins a transaction for looking up keys, claiming jobs, and `/admin`. It sees the rows of all tenants, in the few
    /// tables that need it.
    pub(crate) async fn system(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(&self.0.system, "begin", SYSTEM_ROLE, None).await
    }

    /// Runs `run` in a transaction of [`Self::system`], and commits it. An error rolls it back.
    pub(crate) async fn with_system<T, E: From<sqlx::Error>>(
        &self,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction = self.system().await?;
        let done = run(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }

    /// Checks that the database has the assignments table. The service migrates before it serves, so this detects a
    /// database that was replaced since the start.
    pub(crate) async fn is_migrated(&self) -> sqlx::Result<bool> {
        sqlx::query_scalar!(r#"select to_regclass('assignments') is not null as "is!""#)
            .fetch_one(&self.0.system)
            .await
    }

    pub(crate) async fn close(&self) {
        self.0.app.close().await;
        self.0.uploads.close().await;
        self.0.tasks.close().await;
        self.0.lanes.close().await;
        self.0.system.close().await;
    }
}

/// Begins a transaction in one round trip, and in a separate task. Otherwise a request that is cancelled meanwhile would
/// return a connection with an open transaction to the pool (launchbadge/sqlx issue 4393).
async fn begin(
    pool: &PgPool,
    begin: &str,
    role: &str,
    tenant: Option<TenantId>,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    // Safe from injection, because a tenant id is a number.
    let tenant = tenant.map_or_else(String::new, |tenant| {
        format!("; set local couponry.tenant_id = '{tenant}'")
    });
    let begin = format!("{begin}; {role}{tenant}");
    let pool = pool.clone();
    tokio::spawn(async move { pool.begin_with(AssertSqlSafe(begin)).await })
        .await
        .map_err(|_| sqlx::Error::WorkerCrashed)?
}

fn pool(options: &PgConnectOptions, max: u32, test: bool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(test)
        .connect_lazy_with(options.clone().disable_statement_logging())
}
