//! SQL statements of the tests, past the service.

use serde_json::Value;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Decode, Executor, Postgres, Row, Type};

/// Runs statements without results.
pub async fn run(connection: &mut PgConnection, sql: impl Into<String>) -> sqlx::Result<()> {
    connection
        .execute(AssertSqlSafe(sql.into()))
        .await
        .map(|_| ())
}

/// All rows of a result.
pub async fn rows(connection: &mut PgConnection, sql: impl Into<String>) -> Vec<PgRow> {
    connection
        .fetch_all(AssertSqlSafe(sql.into()))
        .await
        .expect("a statement of a test")
}

/// The first column of all rows.
pub async fn column<T>(connection: &mut PgConnection, sql: impl Into<String>) -> Vec<T>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    let rows = rows(connection, sql).await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The single value of a result.
pub async fn value<T>(connection: &mut PgConnection, sql: impl Into<String>) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    let mut values = column(connection, sql).await;
    assert_eq!(values.len(), 1, "one row was expected");
    values.remove(0)
}

/// The number of rows that a step of an executed plan returned. It has decimals since PostgreSQL 18.
pub fn actual_rows(step: &Value) -> i64 {
    let rows = step["Actual Rows"].as_f64().expect("an executed plan");
    #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
    let rounded = rows.round() as i64;
    rounded
}
