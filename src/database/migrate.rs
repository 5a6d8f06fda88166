//! Brings a database up to this version: migrations, then functions and views.

use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use super::functions;

/// Tables, types, indexes, constraints, policies and grants of this version.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// Reasons why a database cannot be brought up to this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the database was made by a version before the first release, which cannot be upgraded: export its data with that \
         version and import it into a new database"
    )]
    BeforeFirstRelease,
    #[error("a migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("a statement failed")]
    Statement(#[from] sqlx::Error),
}

impl MigrateError {
    /// The error of a statement, for the decision to retry.
    pub(crate) fn statement(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Statement(error)
            | Self::Migration(sqlx::migrate::MigrateError::Execute(error)) => Some(error),
            Self::BeforeFirstRelease | Self::Migration(_) => None,
        }
    }
}

/// Brings the database up to this version. Replicas that start at once wait for each other.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect_with(options).await?;
    // The migrator takes the same lock once more, within the same session. The session ends with the connection, and the lock
    // with it, also after an error.
    connection.lock().await?;
    if is_before_first_release(&mut connection).await? {
        return Err(MigrateError::BeforeFirstRelease);
    }
    MIGRATIONS.run(&mut connection).await?;
    functions::apply(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// The first migration of every release creates `applied_functions`.
async fn is_before_first_release(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select to_regclass('assignments') is not null and to_regclass('applied_functions') is null as "is!""#
    )
    .fetch_one(connection)
    .await
}
