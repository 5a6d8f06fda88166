//! Imports that a test drives through their SQL functions.

use serde_json::Value;
use uuid::Uuid;

use super::shop::CouponSet;
use super::{TestApp, rows};

/// An import that a test drives through its SQL functions, as a worker does.
pub struct ByHand<'a> {
    pub app: &'a TestApp,
    pub id: Uuid,
}

impl<'a> ByHand<'a> {
    /// Stores an import of these chunks, one code per line. A running import has epoch 1 and an hour's lease.
    pub async fn store(
        app: &'a TestApp,
        set: &CouponSet,
        status: &str,
        chunks: &[&[&str]],
    ) -> Self {
        let (id, sql) = rows::import(set, status, chunks);
        app.database.execute(&sql).await;
        Self { app, id }
    }

    /// Returns the result of the function, or its error.
    pub async fn call(&self, function: &str, arguments: &str) -> Result<bool, String> {
        let call = format!(
            "{function}((select tenant_id from imports where id = '{id}'), '{id}', {arguments})",
            id = self.id
        );
        let answer = self
            .app
            .database
            .try_query_value(&format!("select {call}"))
            .await;
        answer
            .map(|answer| answer == true)
            .map_err(|error| error.to_string())
    }

    pub async fn begin(&self, epoch: i32) -> bool {
        self.call("begin_import", &epoch.to_string()).await.unwrap()
    }

    pub async fn apply(&self, epoch: i32, chunk: i32) -> Result<bool, String> {
        self.call("apply_import_chunk", &format!("{epoch}, {chunk}"))
            .await
    }

    pub async fn publish(&self, epoch: i32) -> Result<bool, String> {
        self.call("publish_import", &epoch.to_string()).await
    }

    /// All stored rows of imports and decks.
    pub async fn everything(&self) -> Value {
        let tables = ["imports", "import_chunks", "import_errors", "lots", "cards"];
        let all =
            tables.map(|table| format!("(select json_agg(t order by t::text) from {table} t)"));
        self.app
            .database
            .query_value(&format!("select json_build_array({})", all.join(",")))
            .await
    }
}
