//! SQL of browser sessions.

use crate::ids::TenantId;
use crate::tenants::key_sessions::KeySession;
use crate::tenants::session::{CachedSession, SessionDetails, TokenHash};
use sqlx::PgConnection;
use std::sync::atomic::AtomicBool;
use uuid::Uuid;

/// Finds a session of any tenant by the hash of its token, unless it has expired.
pub(in crate::tenants) async fn find_session(
    connection: &mut PgConnection,
    token_hash: &TokenHash,
) -> sqlx::Result<Option<CachedSession>> {
    let found = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", key_id,
                  (last_used_at < now() - interval '1 minute') as "last_used_is_stale!"
             from sessions
            where token_hash = $1 and expires_at > now()"#,
        token_hash
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| CachedSession {
        tenant: found.tenant,
        key_id: found.key_id,
        last_used_is_stale: AtomicBool::new(found.last_used_is_stale),
    }))
}

/// Finds a session with the names of its key and its tenant.
pub(in crate::tenants) async fn find_session_details(
    connection: &mut PgConnection,
    tenant: TenantId,
    token_hash: &TokenHash,
) -> sqlx::Result<Option<SessionDetails>> {
    sqlx::query_as!(
        SessionDetails,
        "select s.key_id, k.name as key_name, t.name as tenant_name, k.scopes, s.expires_at
           from sessions s
           join api_keys k on k.tenant_id = s.tenant_id and k.id = s.key_id
           join tenants t on t.tenant_id = s.tenant_id
          where s.tenant_id = $1 and s.token_hash = $2",
        tenant as TenantId,
        token_hash
    )
    .fetch_optional(connection)
    .await
}

pub(in crate::tenants) async fn create_session(
    connection: &mut PgConnection,
    tenant: TenantId,
    token_hash: &TokenHash,
    key_id: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into sessions (tenant_id, token_hash, key_id, expires_at)
         values ($1, $2, $3, now() + interval '12 hours')",
        tenant as TenantId,
        token_hash,
        key_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores the time of use and extends a session to 12 hours from now, but to at most 30 days after its creation.
pub(in crate::tenants) async fn store_session_use(
    connection: &mut PgConnection,
    tenant: TenantId,
    token_hash: &TokenHash,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update sessions
            set last_used_at = now(),
                expires_at = least(now() + interval '12 hours', created_at + interval '30 days')
          where tenant_id = $1 and token_hash = $2",
        tenant as TenantId,
        token_hash
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(in crate::tenants) async fn delete_session(
    connection: &mut PgConnection,
    tenant: TenantId,
    token_hash: &TokenHash,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from sessions
          where tenant_id = $1 and token_hash = $2",
        tenant as TenantId,
        token_hash
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the sessions of a tenant that have expired, and those of a key that were used longest ago, beyond `max_kept`.
pub(in crate::tenants) async fn delete_old_sessions(
    connection: &mut PgConnection,
    tenant: TenantId,
    key_id: Uuid,
    max_kept: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from sessions
          where tenant_id = $1
            and (expires_at <= now()
                 or token_hash in (
                   select o.token_hash
                     from sessions o
                    where o.tenant_id = $1 and o.key_id = $2
                    order by o.expires_at desc
                   offset $3))",
        tenant as TenantId,
        key_id,
        max_kept
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lists the sessions of a key, newest first. Excludes those that have expired or whose key was revoked.
pub(in crate::tenants) async fn list_key_sessions(
    connection: &mut PgConnection,
    tenant: TenantId,
    key_id: Uuid,
) -> sqlx::Result<Vec<KeySession>> {
    sqlx::query_as!(
        KeySession,
        "select s.id, s.created_at, s.last_used_at, s.expires_at
           from sessions s
           join api_keys k on k.tenant_id = s.tenant_id and k.id = s.key_id and k.revoked_at is null
          where s.tenant_id = $1 and s.key_id = $2 and s.expires_at > now()
          order by s.created_at desc, s.id",
        tenant as TenantId,
        key_id
    )
    .fetch_all(connection)
    .await
}

/// Deletes a session of a key by its id. Returns false if the key has no such session.
pub(in crate::tenants) async fn delete_key_session(
    connection: &mut PgConnection,
    tenant: TenantId,
    key_id: Uuid,
    id: Uuid,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "delete from sessions
          where tenant_id = $1 and key_id = $2 and id = $3",
        tenant as TenantId,
        key_id,
        id
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}
