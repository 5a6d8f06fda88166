//! The advisory locks, by name. Each belongs to one tenant and is held to the end of its transaction. The SQL function `lock_key` lists
//! their keys, since database functions take some of them too.

use sqlx::PgConnection;

use crate::ids::TenantId;

/// Acquired by every change of the graph of a tenant's sets. It is not the lock of a set: codes are assigned meanwhile.
pub(crate) async fn lock_set_shape(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, "sets").await
}

/// Acquired at the end of an upload, and by a change of the rule for comparing codes. It must be acquired before the lock
/// of a set.
pub(crate) async fn lock_imports(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, "imports").await
}

/// Acquired by the creation of a webhook, so that two at once cannot exceed the limit.
pub(crate) async fn lock_webhooks(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, "webhooks").await
}

async fn lock(connection: &mut PgConnection, tenant: TenantId, name: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock(lock_key($1), $2)",
        name,
        tenant as TenantId
    )
    .execute(connection)
    .await?;
    Ok(())
}
