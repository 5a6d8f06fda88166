//! The upgrade of a database to this version: migrations, then functions and views.
//!
//! Replicas of the previous release work meanwhile, and may start again later. So a migration adds, and what it makes superfluous
//! is dropped a release later. An index on a table that grows is created concurrently, by a file that begins with
//! `-- no-transaction`.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{BEGIN_CALL, functions, has_code, without_prepared};

/// Tables, types, indexes, constraints, policies and grants of this version.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// The key of the advisory lock of the migrations: `couponry` in ASCII.
const LOCK: i64 = 0x636f_7570_6f6e_7279;
/// Pause before the next attempt to acquire it.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// The roles that the transactions of the service set.
const SERVICE_ROLES: &[&str] = &["couponry_app", "couponry_system"];
/// The same with the owner of a function, which the migrating user gives to it.
const OWNER_ROLES: &[&str] = &["couponry_app", "couponry_system", "couponry_lanes"];

const SYSTEM_BEGIN: &str = "begin; deallocate all; set local role couponry_system";

/// A reason why a database cannot be upgraded to this version, or used by it.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the database was made by a version before the first release, which cannot be upgraded: export its data with that \
         version and import it into a new database"
    )]
    BeforeFirstRelease,
    #[error(
        "the user {login} cannot become the role {role}; run as an administrator: grant {} to {login};",
        .roles.join(", ")
    )]
    RoleNotGranted {
        role: &'static str,
        /// All that the user needs.
        roles: &'static [&'static str],
        /// The user in the form of SQL, in quotes if it needs them.
        login: String,
    },
    #[error("the database is not migrated to this version: run `couponry migrate`")]
    NotMigrated,
    #[error(
        "the database was migrated by a later release and needs release {0} or later of this program"
    )]
    TooOld(String),
    #[error("a pooler refuses the settings of the connection")]
    Pooler,
    #[error("a migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("a statement failed")]
    Statement(#[from] sqlx::Error),
}

impl MigrateError {
    /// Returns the error of a statement, if there is one. The caller retries by it.
    pub(crate) fn statement(&self) -> Option<&sqlx::Error> {
        use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};

        match self {
            Self::Statement(error)
            | Self::Migration(Execute(error) | ExecuteMigration(error, _)) => Some(error),
            Self::BeforeFirstRelease
            | Self::RoleNotGranted { .. }
            | Self::NotMigrated
            | Self::TooOld(_)
            | Self::Pooler
            | Self::Migration(_) => None,
        }
    }
}

/// Upgrades the database to this version. Replicas that start at the same time wait for each other. What a later release has
/// added stays as it is.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), MigrateError> {
    // A transaction that holds the lock of a table keeps no request waiting for longer than this: the migration fails
    // and is retried.
    let limited = without_prepared(options)
        .options([("lock_timeout", "5s"), ("client_min_messages", "warning")]);
    let mut connection = match PgConnection::connect_with(&limited).await {
        // PgBouncer accepts no such settings at the start of a connection.
        Err(error) if has_code(&error, &["08P01"]) => return Err(MigrateError::Pooler),
        connected => connected?,
    };
    let lock = MigrationLock::acquire(options).await?;
    if is_before_first_release(&mut connection).await? {
        return Err(MigrateError::BeforeFirstRelease);
    }
    drop_unfinished_indexes(&mut connection).await?;
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrator.set_ignore_missing(true).set_locking(false);
    migrator.run(&mut connection).await?;
    check_release(&mut connection).await?;
    check_roles(&mut connection, OWNER_ROLES).await?;
    functions::apply(&mut connection).await?;
    connection.close().await?;
    lock.release().await?;
    Ok(())
}

/// Drops the indexes of migrations that a `create index concurrently` has left when it failed, for example by its lock timeout.
/// To `create index concurrently if not exists` they exist, but no query uses them (PostgreSQL, "Building Indexes
/// Concurrently"). Those that somebody else is building have other names, and stay.
async fn drop_unfinished_indexes(connection: &mut PgConnection) -> sqlx::Result<()> {
    let migrations = MIGRATIONS.iter().map(|migration| migration.sql.as_str());
    let words: Vec<&str> = migrations
        .flat_map(|sql| sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    let names = sqlx::query_scalar!(
        r#"select format('%I.%I', n.nspname, c.relname) as "name!"
             from pg_index i
             join pg_class c on c.oid = i.indexrelid
             join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'public' and not i.indisvalid and c.relname = any($1)"#,
        &words as &[&str]
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in names {
        tracing::warn!(name, "an index that was not finished is dropped");
        let drop = AssertSqlSafe(format!("drop index concurrently if exists {name}"));
        connection.execute(drop).await?;
    }
    Ok(())
}

/// Checks that the database is migrated to this version or a later one, and that this user can work with it.
pub async fn check(options: &PgConnectOptions) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect_with(&without_prepared(options)).await?;
    check_roles(&mut connection, SERVICE_ROLES).await?;
    let mut transaction = connection.begin_with(SYSTEM_BEGIN).await?;
    if !is_migrated(&mut transaction).await? {
        return Err(MigrateError::NotMigrated);
    }
    check_release(&mut transaction).await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}

/// The lock of the migrations, held by a transaction of a connection of its own: a statement that waits for a lock keeps
/// `create index concurrently` waiting, and an idle transaction does not.
struct MigrationLock(PgConnection);

impl MigrationLock {
    async fn acquire(options: &PgConnectOptions) -> sqlx::Result<Self> {
        let mut connection = PgConnection::connect_with(options).await?;
        loop {
            connection
                .execute("begin; set local idle_in_transaction_session_timeout = 0")
                .await?;
            let acquired =
                sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "is!""#, LOCK)
                    .fetch_one(&mut connection)
                    .await?;
            if acquired {
                return Ok(Self(connection));
            }
            connection.execute("rollback").await?;
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }

    async fn release(self) -> sqlx::Result<()> {
        self.0.close().await
    }
}

/// Returns true if this version or a later one has migrated the database.
async fn is_migrated(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let there = sqlx::query_scalar!(
        r#"select exists (
             select 1
               from pg_attribute
              where attrelid = to_regclass('applied_functions') and attname = 'min_release'
           ) as "is!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if !there {
        return Ok(false);
    }
    let release = functions::release();
    let checksum = functions::checksum();
    sqlx::query_scalar!(
        r#"select exists (
             select 1
               from applied_functions
              where migration >= $1 and (release > $2 or release = $2 and checksum = $3)
           ) as "is!""#,
        functions::newest_migration(),
        &release,
        &checksum[..]
    )
    .fetch_one(connection)
    .await
}

/// Fails if the database needs a later release than this one. A later release that this one works with is logged.
async fn check_release(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let release = functions::release();
    let applied = sqlx::query!("select release, min_release from applied_functions")
        .fetch_optional(connection)
        .await?;
    let Some(applied) = applied else {
        return Ok(());
    };
    if applied.min_release > release {
        return Err(MigrateError::TooOld(join(&applied.min_release)));
    }
    if applied.release > release {
        tracing::warn!(
            database = join(&applied.release),
            "the database was migrated by a later release; this replica works with it, but should be upgraded too"
        );
    }
    Ok(())
}

/// Returns a release in its usual form, such as `1.2.3`.
fn join(release: &[i32]) -> String {
    release
        .iter()
        .map(i32::to_string)
        .collect::<Vec<_>>()
        .join(".")
}

/// Fails unless the user can become each of these roles.
async fn check_roles(
    connection: &mut PgConnection,
    roles: &'static [&'static str],
) -> Result<(), MigrateError> {
    for role in roles {
        let mut transaction = connection.begin_with(BEGIN_CALL).await?;
        let login = sqlx::query_scalar!(r#"select quote_ident(current_user) as "login!""#)
            .fetch_one(&mut *transaction)
            .await?;
        // By trying: a membership alone does not allow it since PostgreSQL 16.
        let set = sqlx::query_scalar!("select set_config('role', $1, true)", *role)
            .fetch_one(&mut *transaction)
            .await;
        transaction.rollback().await?;
        if let Err(error) = set {
            return Err(if has_code(&error, &["42501"]) {
                MigrateError::RoleNotGranted { role, roles, login }
            } else if has_code(&error, &["22023"]) {
                // There is no such role, because the first migration creates it.
                MigrateError::NotMigrated
            } else {
                error.into()
            });
        }
    }
    Ok(())
}

/// Checks for tables without `applied_functions`, which the first migration of every release creates.
async fn is_before_first_release(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select to_regclass('assignments') is not null and to_regclass('applied_functions') is null as "is!""#
    )
    .fetch_one(connection)
    .await
}
