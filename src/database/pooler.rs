//! The search for a pooler in front of PostgreSQL.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::has_code;

/// Time limit for a statement of the probe. It waits if the pooler has one connection only.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Returns true if a pooler shares the connections of the server between transactions and does not know of prepared
/// statements: a statement that was prepared is gone when another transaction uses the connection on which that happened.
pub(crate) async fn loses_statements(options: &PgConnectOptions) -> sqlx::Result<bool> {
    let options = super::for_service(options);
    let mut first = PgConnection::connect_with(&options).await?;
    let mut second = PgConnection::connect_with(&options).await?;
    // Another for each probe: a statement of the same name may be left of an earlier one.
    let expected = i64::from(getrandom::u32().unwrap_or_default());
    if !is_answered(&mut first, expected).await? {
        return Ok(true);
    }
    let other = second.begin().await?;
    let lost = match tokio::time::timeout(PROBE_LIMIT, is_answered(&mut first, expected)).await {
        Ok(answered) => !answered?,
        Err(_) => false,
    };
    other.rollback().await?;
    Ok(lost)
}

/// Returns false if the statement is not the one that was prepared.
#[expect(
    clippy::disallowed_methods,
    reason = "each probe is another statement, which the macro cannot check"
)]
async fn is_answered(connection: &mut PgConnection, expected: i64) -> sqlx::Result<bool> {
    // Safe from injection, because it is a number.
    let statement = AssertSqlSafe(format!("select {expected}::bigint"));
    match sqlx::query_scalar::<_, i64>(statement)
        .fetch_one(connection)
        .await
    {
        Ok(answer) => Ok(answer == expected),
        // It does not exist, exists already, or has other parameters.
        Err(error) if has_code(&error, &["26000", "42P05", "08P01"]) => Ok(false),
        Err(sqlx::Error::ColumnDecode { .. } | sqlx::Error::RowNotFound) => Ok(false),
        Err(error) => Err(error),
    }
}
