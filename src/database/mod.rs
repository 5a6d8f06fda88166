//! The way to PostgreSQL: pools, migrations, and transactions that see one tenant.
//!
//! The service never works as the owner of its tables. Each pool takes a role that row level security binds.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Postgres, Transaction};

use crate::tenants::TenantId;

/// The schema of this version.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// How long a request waits for a connection before it is told to come again.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// What sees one tenant's rows. Plans are made for each question: one that was kept from when the tables were empty would
/// read too much of them later. A replica that freezes in the middle of a transaction loses it, so that it holds up
/// nobody, and no statement outlives the request that it is for.
const APP_ROLE: &str = "set role couponry_app; set jit = off; set plan_cache_mode = force_custom_plan; \
    set idle_in_transaction_session_timeout = '10s'; set lock_timeout = '5s'; set statement_timeout = '20s'";
/// The same for uploads, which may be large.
const UPLOAD_ROLE: &str = "set role couponry_app; set jit = off; set idle_in_transaction_session_timeout = '60s'; set lock_timeout = '5s'";
/// The same for calls of functions, which say for themselves how they are planned. An import keeps a transaction open for
/// as long as another chunk takes.
const TASK_ROLE: &str =
    "set role couponry_app; set jit = off; set idle_in_transaction_session_timeout = '60s'";
/// What reaches across tenants, on the few tables that need it.
const SYSTEM_ROLE: &str = "set role couponry_system; set jit = off; set idle_in_transaction_session_timeout = '10s'; set statement_timeout = '20s'";

/// The pools of the service.
#[derive(Debug, Clone)]
pub struct Database {
    /// For requests. Its role sees nothing until a transaction names a tenant.
    app: PgPool,
    /// For storing uploads, which takes a connection for as long as a file takes to read.
    uploads: PgPool,
    /// For hot tasks that hold a connection over many calls: dealing and importing.
    tasks: PgPool,
    system: PgPool,
}

impl Database {
    /// Makes the pools; connections are opened when they are needed.
    #[must_use]
    pub fn new(options: &PgConnectOptions) -> Self {
        Self {
            app: pool(options, APP_ROLE, 12, true),
            uploads: pool(options, UPLOAD_ROLE, 4, true),
            // A broken connection shows at its first use, and the tasks repeat what failed.
            tasks: pool(options, TASK_ROLE, 16, false),
            system: pool(options, SYSTEM_ROLE, 4, true),
        }
    }

    /// Begins a transaction that sees the rows of this tenant and no others, in one round trip.
    pub(crate) async fn tenant(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(self.app.clone(), tenant).await
    }

    /// The same for reading alone, where all statements see one moment.
    pub(crate) async fn snapshot(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin_as(
            self.app.clone(),
            tenant,
            "begin isolation level repeatable read read only",
        )
        .await
    }

    /// The same for storing an upload.
    pub(crate) async fn upload(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(self.uploads.clone(), tenant).await
    }

    /// The same for a hot task.
    pub(crate) async fn task(
        &self,
        tenant: TenantId,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        begin(self.tasks.clone(), tenant).await
    }

    /// For calls of functions that name their tenant themselves.
    pub(crate) fn tasks(&self) -> &PgPool {
        &self.tasks
    }

    /// For the look-up of keys, the claim of jobs and `/admin`.
    pub(crate) fn system(&self) -> &PgPool {
        &self.system
    }

    /// Asks the database whether it has the table that the service works with most. The start migrates before it serves,
    /// so this is about a database that was replaced since.
    pub(crate) async fn is_migrated(&self) -> sqlx::Result<bool> {
        sqlx::query_scalar!(r#"select to_regclass('assignments') is not null as "is!""#)
            .fetch_one(&self.system)
            .await
    }

    pub(crate) async fn close(&self) {
        self.app.close().await;
        self.uploads.close().await;
        self.tasks.close().await;
        self.system.close().await;
    }
}

async fn begin(pool: PgPool, tenant: TenantId) -> sqlx::Result<Transaction<'static, Postgres>> {
    begin_as(pool, tenant, "begin").await
}

/// On a task of its own: a request that is dropped while it begins would leave its transaction open on a connection that
/// goes back to the pool (launchbadge/sqlx issue 4393).
async fn begin_as(
    pool: PgPool,
    tenant: TenantId,
    begin: &str,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    // A number cannot carry anything else into the statement.
    let begin = format!("{begin}; set local couponry.tenant_id = '{tenant}'");
    tokio::spawn(async move { pool.begin_with(AssertSqlSafe(begin)).await })
        .await
        .map_err(|_| sqlx::Error::WorkerCrashed)?
}

fn pool(options: &PgConnectOptions, role: &'static str, max: u32, test: bool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(test)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(role).await.map(|_| ()) })
        })
        .connect_lazy_with(options.clone().disable_statement_logging())
}

/// Brings the schema up to this version. Replicas that start at once wait for each other.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), sqlx::migrate::MigrateError> {
    use sqlx::Connection;

    let mut connection = PgConnection::connect_with(options).await?;
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
