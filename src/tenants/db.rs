//! SQL of tenants and keys.

use std::sync::atomic::AtomicBool;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::api_key::{ApiKey, Scopes, StoredApiKey};
use super::auth::KnownKey;
use super::{Tenant, TenantId};

pub(super) async fn any(connection: &mut PgConnection) -> sqlx::Result<bool> {
    // Two first starts at once must not both find nothing.
    sqlx::query!("lock table tenants in exclusive mode")
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar!(r#"select exists (select 1 from tenants) as "any!""#)
        .fetch_one(connection)
        .await
}

pub(super) async fn create(
    connection: &mut PgConnection,
    id: Uuid,
    name: &str,
) -> sqlx::Result<Tenant> {
    sqlx::query_as!(
        Tenant,
        "insert into tenants (id, name)
         values ($1, $2)
         returning id, name, state, created_at",
        id,
        name
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn find(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<TenantId>> {
    sqlx::query_scalar!(
        r#"select tenant_id as "tenant_id: TenantId"
             from tenants
            where id = $1"#,
        id
    )
    .fetch_optional(connection)
    .await
}

/// `after` is the id where the page begins; ids rise with the time of creation.
pub(super) async fn list(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<Tenant>> {
    sqlx::query_as!(
        Tenant,
        r#"(select id as "id!", name as "name!", state as "state!", created_at as "created_at!"
              from tenants
             where not $2 and ($1::uuid is null or id > $1)
             order by id
             limit $3)
           union all
           (select id, name, state, created_at
              from tenants
             where $2 and id < $1
             order by id desc
             limit $3)"#,
        after,
        back,
        rows
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn set_state(
    connection: &mut PgConnection,
    id: Uuid,
    state: &str,
) -> sqlx::Result<Option<Tenant>> {
    sqlx::query_as!(
        Tenant,
        "update tenants
            set state = $2
          where id = $1
          returning id, name, state, created_at",
        id,
        state
    )
    .fetch_optional(connection)
    .await
}

/// Finds the key that a request presents, whosever it is.
pub(super) async fn find_api_key(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<KnownKey>> {
    let found = sqlx::query!(
        r#"select k.tenant_id as "tenant: TenantId", k.secret_hash, k.scopes, t.state,
                  coalesce(k.last_used_at < now() - interval '1 minute', true) as "unnoted!"
             from api_keys k
             join tenants t on t.tenant_id = k.tenant_id
            where k.id = $1 and k.revoked_at is null"#,
        id
    )
    .fetch_optional(pool)
    .await?;
    Ok(found.map(|found| KnownKey {
        tenant: found.tenant,
        secret_hash: found.secret_hash,
        scopes: Scopes::new(found.scopes),
        suspended: found.state == "suspended",
        unnoted: AtomicBool::new(found.unnoted),
    }))
}

pub(super) async fn note_use(pool: &PgPool, tenant: TenantId, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "update api_keys
            set last_used_at = now()
          where tenant_id = $1 and id = $2",
        tenant as TenantId,
        id
    )
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn create_api_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &StoredApiKey,
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

pub(super) async fn list_api_keys(
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

/// A key that was revoked before keeps its time.
pub(super) async fn revoke_api_key(
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
