//! Queries and statements of the database's owner, beside the API.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::database::TestDatabase;

impl TestDatabase {
    /// The rows of a query as JSON objects.
    pub async fn query_rows(&self, query: &str) -> Value {
        let query = format!("select coalesce(json_agg(r), '[]') from ({query}) r");
        let row = self.owner.fetch_one(AssertSqlSafe(query)).await;
        row.expect("the query is right").get(0)
    }

    /// The single value of a query.
    pub async fn query_value(&self, query: &str) -> Value {
        self.try_query_value(query)
            .await
            .expect("the query is right")
    }

    /// The single value of a query that may fail.
    pub async fn try_query_value(&self, query: &str) -> sqlx::Result<Value> {
        let query = format!("select to_json(({query}))");
        let row = self.owner.fetch_one(AssertSqlSafe(query)).await?;
        Ok(row.try_get::<Option<Value>, _>(0)?.unwrap_or_default())
    }

    /// Runs a statement.
    pub async fn execute(&self, statement: &str) {
        self.owner
            .execute(AssertSqlSafe(statement.to_owned()))
            .await
            .unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}
