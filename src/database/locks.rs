//! The advisory locks. Each belongs to one tenant and is held to the end of its transaction.
//!
//! The first key is the kind of lock, the second the tenant. Database functions acquire some of them too, with the same
//! keys.

use sqlx::PgConnection;

use crate::ids::TenantId;

/// The graph of a tenant's coupon sets and workflows.
const SET_SHAPE: i32 = 1;
/// The end of an upload, and the rule for comparing codes.
const IMPORTS: i32 = 2;
/// The number of a tenant's webhooks, and the start of an endpoint that is being enabled.
const WEBHOOKS: i32 = 4;

/// Acquired by every change of the graph of a tenant's sets. It is not the lock of a set, so codes can be assigned
/// meanwhile.
pub(crate) async fn lock_set_shape(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, SET_SHAPE).await
}

/// Acquired at the end of an upload, and by a change of the rule for comparing codes. It must be acquired before the lock
/// of a set.
pub(crate) async fn lock_imports(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    lock(connection, tenant, IMPORTS).await
}

/// Acquired by the creation of a webhook, so that two at once cannot exceed the limit.
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
