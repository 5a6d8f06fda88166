//! Cancelling an import, and deleting the report of one that has ended.

use uuid::Uuid;

use super::{Import, ImportStatus, db};
use crate::database::Database;
use crate::http::error::{Error, WRONG_STATE};
use crate::ids::TenantId;

/// Cancels an import that has not ended. Cancelling it again changes nothing.
pub(super) async fn cancel(
    database: &Database,
    tenant: TenantId,
    id: Uuid,
) -> Result<Import, Error> {
    let mut transaction = database.tenant(tenant).await?;
    let status = sqlx::query_scalar!(
        r#"select cancel_import($1, $2) as "status: ImportStatus""#,
        tenant as TenantId,
        id
    )
    .fetch_one(&mut *transaction)
    .await?;
    match status {
        None => return Err(Error::not_found("import")),
        Some(ImportStatus::Cancelled) => {}
        Some(status) => {
            let detail = "The import has already ended and cannot be cancelled.";
            return Err(Error::refused(&WRONG_STATE, detail).with("state", status.as_str()));
        }
    }
    let import = db::find(&mut transaction, tenant, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok(import)
}

/// Deletes the report of an import that has ended. The import is hidden at once, and a worker deletes its rows later. Its
/// idempotency key can be used again.
pub(super) async fn delete(database: &Database, tenant: TenantId, id: Uuid) -> Result<(), Error> {
    let mut transaction = database.tenant(tenant).await?;
    let deleted = sqlx::query!(
        "update imports
            set deleted_at = now(), needs_cleanup = true, idempotency_key = null
          where tenant_id = $1 and id = $2 and deleted_at is null and status not in ('queued', 'inProgress')",
        tenant as TenantId,
        id
    )
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    if deleted == 0 {
        let import = db::find(&mut transaction, tenant, id)
            .await?
            .ok_or_else(|| Error::not_found("import"))?;
        let detail = "The import has not ended. Cancel it, or wait until it ends.";
        return Err(Error::refused(&WRONG_STATE, detail).with("state", import.status.as_str()));
    }
    transaction.commit().await?;
    Ok(())
}
