//! Access to PostgreSQL: connection pools, migrations, locks, and transactions that see one tenant.
//!
//! The service never uses the role that owns its tables. Each transaction sets a role that is subject to row level security,
//! with its other settings, in the message that begins it. Functions that are called without a transaction set theirs
//! themselves. So a connection has no state outside transactions but its prepared statements, and a pooler can share it.

mod errors;
pub mod functions;
mod literals;
pub(crate) mod locks;
mod migrate;
mod pool;
mod pooler;
mod shares;

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Transaction};

pub use migrate::{MIGRATIONS, MigrateError, check, migrate};
pub(crate) use pooler::loses_statements;

pub(crate) use errors::{has_code, is_disk_full, is_tls_refused, is_unavailable, is_undefined};
pub(crate) use literals::{call_with_literals, fetch_rows};
pub(crate) use shares::{TenantTransaction, is_share_in_use};

use crate::ids::TenantId;
use pool::Pool;
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

/// The same for a task, which may take longer.
const SYSTEM_TASK_ROLE: &str = "set local role couponry_system; set local jit = off; \
    set local idle_in_transaction_session_timeout = '60s'";

/// Begins a transaction behind a pooler that does not know of prepared statements. The names of those that this connection
/// prepares may exist at the server, which was used by another connection before.
const FORGET_STATEMENTS: &str = "; deallocate all";
/// The same for a call of a function that sets its role and tenant itself.
const BEGIN_CALL: &str =
    "begin; deallocate all; set local idle_in_transaction_session_timeout = '10s'";

const BEGIN_SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// Maximum numbers of connections of the pools other than the one for requests.
pub(crate) const UPLOAD_CONNECTIONS: u16 = 4;
const TASK_CONNECTIONS: u16 = 8;
const LANE_CONNECTIONS: u16 = 16;
const SYSTEM_CONNECTIONS: u16 = 4;

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
    app: Pool,
    shares: Shares,
    /// For uploads, each of which uses a connection while its file is read.
    uploads: Pool,
    /// For tasks that hold a connection over many calls, such as applying imports.
    tasks: Pool,
    /// For the lanes that assign codes and record events, each of which has a connection.
    lanes: Pool,
    system: Pool,
    /// Whether there is a pooler that does not know of prepared statements.
    has_pooler: bool,
}

impl Pools {
    fn all(&self) -> [&Pool; 5] {
        [
            &self.app,
            &self.uploads,
            &self.tasks,
            &self.lanes,
            &self.system,
        ]
    }

    /// Begins a transaction of a role, and of a tenant if there is one, in one round trip.
    async fn begin(
        &self,
        pool: &Pool,
        begin: &str,
        role: &str,
        tenant: Option<TenantId>,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        // Safe from injection, because a tenant id is a number.
        let tenant = tenant.map_or_else(String::new, |tenant| {
            format!("; set local couponry.tenant_id = '{tenant}'")
        });
        let forget = if self.has_pooler {
            FORGET_STATEMENTS
        } else {
            ""
        };
        pool.begin(format!("{begin}{forget}; {role}{tenant}")).await
    }
}

impl Database {
    /// Creates the pools, with `request_connections` for requests. Connections are opened when they are needed.
    /// `has_pooler`: a pooler in transaction mode that does not know of prepared statements is in front of the server.
    #[must_use]
    pub fn new(options: &PgConnectOptions, request_connections: u16, has_pooler: bool) -> Self {
        let options = if has_pooler {
            without_prepared(options)
        } else {
            for_service(options)
        };
        let options = options.disable_statement_logging();
        Self(Arc::new(Pools {
            app: Pool::tested("requests", &options, request_connections),
            shares: Shares::new(request_connections),
            uploads: Pool::tested("uploads", &options, UPLOAD_CONNECTIONS),
            tasks: Pool::tested("tasks", &options, TASK_CONNECTIONS),
            // A lane closes a connection that fails, and retries.
            lanes: Pool::untested("lanes", &options, LANE_CONNECTIONS),
            system: Pool::tested("system", &options, SYSTEM_CONNECTIONS),
            has_pooler,
        }))
    }

    /// The maximum number of connections of a replica with `request_connections` for requests.
    pub(crate) fn max_connections(request_connections: u16) -> u32 {
        let others = UPLOAD_CONNECTIONS + TASK_CONNECTIONS + LANE_CONNECTIONS + SYSTEM_CONNECTIONS;
        u32::from(request_connections) + u32::from(others)
    }

    /// Logs a warning if the server has fewer connections than this replica may open.
    pub(crate) async fn check_connection_limit(&self) -> sqlx::Result<()> {
        let needed: u32 = self.0.all().iter().map(|pool| pool.max()).sum();
        let mut transaction = self.system().await?;
        let allowed = sqlx::query_scalar!(
            r#"select current_setting('max_connections')::integer
                      - current_setting('superuser_reserved_connections')::integer as "allowed!""#
        )
        .fetch_one(&mut *transaction)
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
        let transaction = self
            .0
            .begin(&self.0.app, begin_with, &role, Some(tenant))
            .await?;
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
        self.0
            .begin(&self.0.tasks, "begin", APP_ROLE, Some(tenant))
            .await
    }

    /// Begins a transaction of this tenant on the pool for uploads.
    pub(crate) async fn upload(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.0
            .begin(&self.0.uploads, "begin", UPLOAD_ROLE, Some(tenant))
            .await
    }

    /// Begins a transaction of this tenant on the pool for tasks.
    pub(crate) async fn task(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.0
            .begin(&self.0.tasks, "begin", TASK_ROLE, Some(tenant))
            .await
    }

    /// The same for a read-only transaction in which all statements see the same snapshot.
    pub(crate) async fn task_snapshot(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.0
            .begin(&self.0.tasks, BEGIN_SNAPSHOT, TASK_ROLE, Some(tenant))
            .await
    }

    /// Begins a transaction of [`Self::system`] on the pool for tasks, without a limit for the time of a statement.
    pub(crate) async fn system_task(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.0
            .begin(&self.0.tasks, "begin", SYSTEM_TASK_ROLE, None)
            .await
    }

    /// Runs `run` on a connection for tasks. It executes one statement: a call of a function that sets its role and tenant
    /// itself.
    pub(crate) async fn call<T>(
        &self,
        run: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let mut connection = self.0.tasks.acquire().await?;
        self.call_on(&mut connection, run).await
    }

    /// The same as [`Self::call`] on a connection of the caller. Behind a pooler, the statement must be in a transaction,
    /// because it is prepared before it is executed.
    pub(crate) async fn call_on<T>(
        &self,
        connection: &mut PgConnection,
        run: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        if !self.0.has_pooler {
            return run(connection).await;
        }
        let mut transaction = connection.begin_with(BEGIN_CALL).await?;
        let done = run(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }

    /// Whether a call of a function that is made outside a transaction must have literals for arguments.
    pub(crate) fn needs_literals(&self) -> bool {
        self.0.has_pooler
    }

    /// Returns a connection for a lane, which calls functions that set their role and tenants themselves.
    pub(crate) async fn lane(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.0.lanes.acquire().await
    }

    /// Begins a transaction for looking up keys, claiming jobs, and `/admin`. It sees the rows of all tenants, in the few
    /// tables that need it.
    pub(crate) async fn system(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.0
            .begin(&self.0.system, "begin", SYSTEM_ROLE, None)
            .await
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
        let mut transaction = self.system().await?;
        sqlx::query_as!(
            Readiness,
            r#"select to_regclass('assignments') is not null as "is_migrated!",
                      current_setting('transaction_read_only') = 'off' as "is_writable!""#
        )
        .fetch_one(&mut *transaction)
        .await
    }

    /// Records the sizes of the pools.
    pub(crate) fn record_pools(&self) {
        for pool in self.0.all() {
            pool.record();
        }
    }

    pub(crate) async fn close(&self) {
        for pool in self.0.all() {
            pool.close().await;
        }
    }
}

/// Options for connections that prepare a statement anew for each execution, as they must where `deallocate all` is executed.
fn without_prepared(options: &PgConnectOptions) -> PgConnectOptions {
    for_service(options).statement_cache_capacity(0)
}

/// Options without a parameter that poolers refuse. It affects only numbers in text form, which are not used.
fn for_service(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().extra_float_digits(None)
}
