//! The upgrade of a database to this version: migrations, then functions and views.

use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use super::functions;

/// Tables, types, indexes, constraints, policies and grants of this version.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// A reason why a database cannot be upgraded to this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the database was made by a version before the first release, which cannot be upgraded: export its data with that \
         version and import it into a new database"
    )]
    BeforeFirstRelease,
    #[error(
        "the user {login} cannot become the role {role}; run as an administrator: \
         grant couponry_app, couponry_system, couponry_lanes to {login};"
    )]
    RoleNotGranted {
        role: &'static str,
        /// The user in the form of SQL, in quotes if it needs them.
        login: String,
    },
    #[error("a migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("a statement failed")]
    Statement(#[from] sqlx::Error),
}

impl MigrateError {
    /// Returns the error of a statement, if there is one. The caller retries by it.
    pub(crate) fn statement(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Statement(error)
            | Self::Migration(sqlx::migrate::MigrateError::Execute(error)) => Some(error),
            Self::BeforeFirstRelease | Self::RoleNotGranted { .. } | Self::Migration(_) => None,
        }
    }
}

/// Upgrades the database to this version. Replicas that start at the same time wait for each other.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect_with(options).await?;
    // The migrator acquires the same lock again, in the same session. The lock is released when the connection closes,
    // also after an error.
    connection.lock().await?;
    if is_before_first_release(&mut connection).await? {
        return Err(MigrateError::BeforeFirstRelease);
    }
    MIGRATIONS.run(&mut connection).await?;
    check_roles(&mut connection).await?;
    functions::apply(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Fails unless the user can become each role that a transaction of the service sets. The roles exist, because the first
/// migration creates them.
async fn check_roles(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let login = sqlx::query_scalar!(r#"select quote_ident(current_user) as "login!""#)
        .fetch_one(&mut *connection)
        .await?;
    for role in ["couponry_app", "couponry_system", "couponry_lanes"] {
        let mut transaction = connection.begin().await?;
        // By trying: a membership alone does not allow it since PostgreSQL 16.
        let set = sqlx::query_scalar!("select set_config('role', $1, true)", role)
            .fetch_one(&mut *transaction)
            .await;
        transaction.rollback().await?;
        match set {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
                return Err(MigrateError::RoleNotGranted { role, login });
            }
            set => set?,
        };
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
