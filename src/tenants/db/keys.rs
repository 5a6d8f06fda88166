//! SQL of API keys.

use crate::ids::TenantId;
use crate::tenants::TenantState;
use crate::tenants::api_key::{ApiKey, ApiKeyRow, Scopes};
use crate::tenants::auth::CachedKey;
use crate::tenants::rate_limit::RateLimit;
use sqlx::PgConnection;
use std::sync::atomic::AtomicBool;
use uuid::Uuid;

/// Finds a key of any tenant by its id, unless it was revoked.
pub(in crate::tenants) async fn find_api_key(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<CachedKey>> {
    let found = sqlx::query!(
        r#"select k.tenant_id as "tenant: TenantId", k.secret_hash, k.scopes, t.state as "state: TenantState",
                  t.rate_per_second, t.rate_burst,
                  coalesce(k.last_used_at < now() - interval '1 minute', true) as "last_used_is_stale!"
             from api_keys k
             join tenants t on t.tenant_id = k.tenant_id
            where k.id = $1 and k.revoked_at is null"#,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| CachedKey {
        tenant: found.tenant,
        secret_hash: found.secret_hash,
        scopes: Scopes::new(found.scopes),
        suspended: found.state != TenantState::Active,
        rate_limit: RateLimit::stored(found.rate_per_second, found.rate_burst),
        last_used_is_stale: AtomicBool::new(found.last_used_is_stale),
    }))
}

pub(in crate::tenants) async fn store_key_use(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update api_keys
            set last_used_at = now()
          where tenant_id = $1 and id = $2",
        tenant as TenantId,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(in crate::tenants) async fn create_api_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &ApiKeyRow,
) -> sqlx::Result<ApiKey> {
    sqlx::query_as!(
        ApiKey,
        "insert into api_keys (tenant_id, id, name, scopes, secret_hash)
         values ($1, $2, $3, $4, $5)
         returning id, name, scopes, created_at, last_used_at, revoked_at",
        tenant as TenantId,
        key.id,
        key.name,
        &key.scopes,
        &key.secret_hash
    )
    .fetch_one(connection)
    .await
}

/// A key of any tenant, revoked or not.
pub(in crate::tenants) struct StoredKey {
    pub tenant: TenantId,
    pub name: String,
    pub scopes: Vec<String>,
    pub secret_hash: Vec<u8>,
    pub is_revoked: bool,
}

pub(in crate::tenants) async fn find_stored_key(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<StoredKey>> {
    sqlx::query_as!(
        StoredKey,
        r#"select tenant_id as "tenant: TenantId", name, scopes, secret_hash, revoked_at is not null as "is_revoked!"
             from api_keys
            where id = $1"#,
        id
    )
    .fetch_optional(connection)
    .await
}

/// Replaces the name and the scopes of a key.
pub(in crate::tenants) async fn update_api_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &ApiKeyRow,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update api_keys
            set name = $3, scopes = $4
          where tenant_id = $1 and id = $2",
        tenant as TenantId,
        key.id,
        key.name,
        &key.scopes
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(in crate::tenants) async fn list_api_keys(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<Uuid>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as!(
        ApiKey,
        r#"(select id as "id!", name as "name!", scopes as "scopes!", created_at as "created_at!", last_used_at,
                   revoked_at
              from api_keys
             where tenant_id = $1 and not $3 and ($2::uuid is null or id > $2)
             order by id
             limit $4)
           union all
           (select id, name, scopes, created_at, last_used_at, revoked_at
              from api_keys
             where tenant_id = $1 and $3 and id < $2
             order by id desc
             limit $4)"#,
        tenant as TenantId,
        after,
        back,
        rows
    )
    .fetch_all(connection)
    .await
}

/// Revokes a key. Returns false if there is no such key. A key that is already revoked keeps its time of revocation.
pub(in crate::tenants) async fn revoke_api_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update api_keys
            set revoked_at = coalesce(revoked_at, now())
          where tenant_id = $1 and id = $2",
        tenant as TenantId,
        id
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Returns true if the tenant has this key, revoked or not.
pub(in crate::tenants) async fn has_api_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from api_keys where tenant_id = $1 and id = $2) as "has!""#,
        tenant as TenantId,
        id
    )
    .fetch_one(connection)
    .await
}

/// Finds the demo key that the first start created, unless it was revoked. The demo tenant has the lowest tenant number.
pub(in crate::tenants) async fn find_demo_key(
    connection: &mut PgConnection,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select k.id
           from api_keys k
           join tenants t on t.tenant_id = k.tenant_id
          where t.tenant_id = (select min(tenant_id) from tenants)
            and k.name = 'Demo' and k.revoked_at is null and t.name = 'Demo' and t.state = 'active'
          order by k.id
          limit 1"
    )
    .fetch_optional(connection)
    .await
}
