//! Advisory locks, by name. Each is of one tenant, and is held to the end of its transaction.
//!
//! The first key is the kind of lock, the second the tenant. Database functions take some of them too, with the same keys.

use sqlx::PgConnection;

use crate::ids::TenantId;

/// The shape of a tenant's coupon sets and workflows.
const SET_SHAPE: i32 = 1;
/// The end of an upload, and the rule by which its codes are compared.
const IMPORTS: i32 = 2;
/// The number of a tenant's webhooks, and where each begins to read the ledgers.
const WEBHOOKS: i32 = 4;

/// Taken by every change of the shape of a tenant's sets. It is not the lock of a set: codes are assigned meanwhile.
pub(crate) async fn lock_set_shape(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, SET_SHAPE).await
}

/// Taken at the end of an upload, and by a change of how codes of imports are compared. It comes before the lock of a set.
pub(crate) async fn lock_imports(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, IMPORTS).await
}

/// Taken by the creation of a webhook: their number is limited.
pub(crate) async fn lock_webhooks(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, WEBHOOKS).await
}

async fn lock(connection: &mut PgConnection, tenant: TenantId, kind: i32) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock($1, $2)",
        kind,
        tenant as TenantId
    )
    .execute(connection)
    .await?;
    Ok(())
}
