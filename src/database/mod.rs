//! Access to PostgreSQL: connection pools, migrations, locks, and transactions that see one tenant.
//!
//! The service never uses the role that owns its tables. Each transaction sets a role that is subject to row level security,
//! with its other settings, in the message that begins it. Functions that are called without a transaction set theirs
//! themselves. So a connection has no state outside transactions, and a pooler can share it.

mod errors;
pub mod functions;
pub(crate) mod locks;
mod migrate;
mod shares;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Postgres, SqlSafeStr, Transaction};

pub use migrate::{MIGRATIONS, MigrateError, migrate};

pub(crate) use errors::{is_tls_refused, is_unavailable};
pub(crate) use shares::{TenantTransaction, is_share_in_use};

use crate::ids::TenantId;
use crate::metrics;
use shares::{Share, Shares};

/// Time that a request waits for a connection before it fails as unavailable.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time that a heavy read waits for its turn. With its statements it is less than the time limit of a request.
const HEAVY_WAIT_LIMIT: Duration = Duration::from_secs(15);
/// Time that an export waits for its turn.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// Begins a transaction of the role that sees the rows of one tenant.
///
/// * Custom plans are forced: a generic plan cached while the tables were empty would later scan far too much.
/// * A replica that freezes within a transaction loses it after 10 seconds, so that its locks do not block others for
///   long.
/// * The statement timeout is shorter than the time limit of a request.
const APP_ROLE: &str = "set local role couponry_app; set local jit = off; set local plan_cache_mode = force_custom_plan; \
    set local idle_in_transaction_session_timeout = '10s'; set local lock_timeout = '5s'; set local statement_timeout = '10s'";
/// The same for a heavy read, which may take longer. The last setting counts.
const HEAVY_TIMEOUT: &str = "; set local statement_timeout = '20s'";
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

const BEGIN_SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// Maximum numbers of connections of the pools other than the one for requests.
const UPLOAD_CONNECTIONS: u16 = 4;
const TASK_CONNECTIONS: u16 = 8;
const LANE_CONNECTIONS: u16 = 16;
const SYSTEM_CONNECTIONS: u16 = 4;

/// Names of the pools in the metrics.
const APP: &str = "requests";
const UPLOADS: &str = "uploads";
const TASKS: &str = "tasks";
const LANES: &str = "lanes";
const SYSTEM: &str = "system";

/// Whether the service can use its database.
#[derive(Debug)]
pub(crate) struct Readiness {
    pub is_migrated: bool,
    /// False for a standby too.
    pub is_writable: bool,
}

/// The pools of the service. A clone counts one reference.
#[derive(Debug, Clone)]
pub struct Database(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    /// For requests.
    app: PgPool,
    shares: Shares,
    /// For uploads, each of which uses a connection while its file is read.
    uploads: PgPool,
    /// For tasks that hold a connection over many calls, such as applying imports.
    tasks: PgPool,
    /// For the lanes that assign codes and record events, each of which has a connection.
    lanes: PgPool,
    system: PgPool,
}

impl Pools {
    /// The pools by their names in the metrics.
    fn all(&self) -> [(&'static str, &PgPool); 5] {
        [
            (APP, &self.app),
            (UPLOADS, &self.uploads),
            (TASKS, &self.tasks),
            (LANES, &self.lanes),
            (SYSTEM, &self.system),
        ]
    }
}

impl Database {
    /// Creates the pools, with `request_connections` for requests. Connections are opened when they are needed.
    #[must_use]
    pub fn new(options: &PgConnectOptions, request_connections: u16) -> Self {
        Self(Arc::new(Pools {
            app: pool(options, request_connections, true),
            shares: Shares::new(request_connections),
            uploads: pool(options, UPLOAD_CONNECTIONS, true),
            // No test: a broken connection fails at its first use, and the tasks retry.
            tasks: pool(options, TASK_CONNECTIONS, false),
            lanes: pool(options, LANE_CONNECTIONS, false),
            system: pool(options, SYSTEM_CONNECTIONS, true),
        }))
    }

    /// Logs a warning if the server has fewer connections than this replica may open.
    pub(crate) async fn check_connection_limit(&self) -> sqlx::Result<()> {
        let pools = self.0.all();
        let needed: u32 = pools
            .iter()
            .map(|(_, pool)| pool.options().get_max_connections())
            .sum();
        let allowed = sqlx::query_scalar!(
            r#"select current_setting('max_connections')::integer
                      - current_setting('superuser_reserved_connections')::integer as "allowed!""#
        )
        .fetch_one(&self.0.system)
        .await?;
        if i64::from(needed) > i64::from(allowed) {
            tracing::warn!(
                needed,
                allowed,
                "this replica may open more connections than the server's max_connections allows; raise that, or lower COUPONRY_REQUEST_CONNECTIONS"
            );
        }
        Ok(())
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

    /// Begins a transaction that sees only the rows of this tenant, in one round trip. A tenant has a share of the
    /// connections; a request beyond it waits for its turn.
    pub(crate) async fn tenant(&self, tenant: TenantId) -> sqlx::Result<TenantTransaction> {
        let share = self.0.shares.take(tenant).await?;
        self.begin_app("begin", "", tenant, share).await
    }

    /// Begins a read-only transaction of this tenant in which all statements see the same snapshot.
    pub(crate) async fn snapshot(&self, tenant: TenantId) -> sqlx::Result<TenantTransaction> {
        let share = self.0.shares.take(tenant).await?;
        self.begin_app(BEGIN_SNAPSHOT, "", tenant, share).await
    }

    /// The same as [`Self::snapshot`] for a read that takes much of the processor, such as statistics. Only one of a tenant
    /// is served at a time, and few of all.
    pub(crate) async fn heavy_snapshot(&self, tenant: TenantId) -> sqlx::Result<TenantTransaction> {
        let share = self.0.shares.take_heavy(tenant, HEAVY_WAIT_LIMIT).await?;
        self.begin_app(BEGIN_SNAPSHOT, HEAVY_TIMEOUT, tenant, share)
            .await
    }

    async fn begin_app(
        &self,
        begin_with: &str,
        timeout: &str,
        tenant: TenantId,
        share: Share,
    ) -> sqlx::Result<TenantTransaction> {
        let role = format!("{APP_ROLE}{timeout}");
        let transaction = begin(APP, &self.0.app, begin_with, &role, Some(tenant)).await?;
        Ok(TenantTransaction {
            transaction,
            _share: share,
        })
    }

    /// Begins a transaction for the next rows of an export, which is a heavy read too. It waits longer, because a response
    /// that has begun cannot be refused.
    pub(crate) async fn export(&self, tenant: TenantId) -> sqlx::Result<TenantTransaction> {
        let share = self.0.shares.take_heavy(tenant, EXPORT_TIMEOUT).await?;
        self.begin_app("begin", HEAVY_TIMEOUT, tenant, share).await
    }

    /// Begins a transaction of this tenant for a background task. It takes no share from the requests of the tenant.
    pub(crate) async fn background(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(TASKS, &self.0.tasks, "begin", APP_ROLE, Some(tenant)).await
    }

    /// Begins a transaction of this tenant on the pool for uploads.
    pub(crate) async fn upload(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(UPLOADS, &self.0.uploads, "begin", UPLOAD_ROLE, Some(tenant)).await
    }

    /// Begins a transaction of this tenant on the pool for tasks.
    pub(crate) async fn task(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(TASKS, &self.0.tasks, "begin", TASK_ROLE, Some(tenant)).await
    }

    /// The pool for calls of functions that set their role and tenant themselves.
    pub(crate) fn tasks(&self) -> &PgPool {
        &self.0.tasks
    }

    /// Gets a connection of the lanes, for calls of functions that set their role and tenants themselves.
    pub(crate) async fn lane(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        acquire(LANES, &self.0.lanes).await
    }

    /// Records the sizes of the pools.
    pub(crate) fn record_pools(&self) {
        for (name, pool) in self.0.all() {
            let max = pool.options().get_max_connections();
            metrics::pool(name, pool.size(), pool.num_idle(), max);
        }
    }

    /// Begins a transaction for looking up keys, claiming jobs, and `/admin`. It sees the rows of all tenants, in the few
    /// tables that need it.
    pub(crate) async fn system(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(SYSTEM, &self.0.system, "begin", SYSTEM_ROLE, None).await
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

    /// Checks that the database has the assignments table and can be written. The service migrates before it serves, so this
    /// detects a database that was replaced since the start, or became a standby.
    pub(crate) async fn readiness(&self) -> sqlx::Result<Readiness> {
        sqlx::query_as!(
            Readiness,
            r#"select to_regclass('assignments') is not null as "is_migrated!",
                      current_setting('transaction_read_only') = 'off' as "is_writable!""#
        )
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
    name: &'static str,
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
    let task = tokio::spawn(async move {
        let connection = acquire(name, &pool).await?;
        Transaction::begin(connection, Some(AssertSqlSafe(begin).into_sql_str())).await
    });
    task.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

/// Gets a connection and records the time that it took.
async fn acquire(name: &'static str, pool: &PgPool) -> sqlx::Result<PoolConnection<Postgres>> {
    let started = Instant::now();
    let connection = pool.acquire().await;
    metrics::acquired(name, started.elapsed());
    connection
}

fn pool(options: &PgConnectOptions, max: u16, test: bool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(u32::from(max))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(test)
        .connect_lazy_with(options.clone().disable_statement_logging())
}
