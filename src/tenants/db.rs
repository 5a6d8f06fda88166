//! SQL of tenants and keys.

use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::api_key::{ApiKey, ApiKeyRow, Scopes};
use super::auth::CachedKey;
use super::key_sessions::KeySession;
use super::rate_limit::RateLimit;
use super::session::{CachedSession, SessionDetails, TokenHash};
use super::{Tenant, TenantPatch, TenantState};
use crate::ids::TenantId;

/// Locks the table and returns true if there is any tenant.
pub(super) async fn any(connection: &mut PgConnection) -> sqlx::Result<bool> {
    // Without the lock, two first starts at once could both find no tenant.
    sqlx::query!("lock table tenants in exclusive mode")
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar!(r#"select exists (select 1 from tenants) as "any!""#)
        .fetch_one(connection)
        .await
}

/// The columns of a tenant except its number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantRow {
    pub id: Uuid,
    name: String,
    pub state: TenantState,
    rate_per_second: Option<i32>,
    rate_burst: Option<i32>,
    created_at: DateTime<Utc>,
}

impl From<TenantRow> for Tenant {
    fn from(row: TenantRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            state: row.state,
            rate_limit: RateLimit::stored(row.rate_per_second, row.rate_burst),
            created_at: row.created_at,
        }
    }
}

pub(super) async fn create(
    connection: &mut PgConnection,
    id: Uuid,
    name: &str,
) -> sqlx::Result<Tenant> {
    let row = sqlx::query_as!(
        TenantRow,
        r#"insert into tenants (id, name)
           values ($1, $2)
           returning id, name, case when deletion_requested_at is null then state else 'deleting' end as "state!: TenantState",
                      rate_per_second, rate_burst, created_at"#,
        id,
        name
    )
    .fetch_one(connection)
    .await?;
    Ok(row.into())
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

pub(super) async fn find_row(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<(TenantId, TenantRow)>> {
    let Some(number) = find(connection, id).await? else {
        return Ok(None);
    };
    let row = sqlx::query_as!(
        TenantRow,
        r#"select id, name, case when deletion_requested_at is null then state else 'deleting' end as "state!: TenantState",
                  rate_per_second, rate_burst, created_at
             from tenants
            where tenant_id = $1"#,
        number as TenantId
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (number, row)))
}

/// Creates a tenant that is copied from another database.
pub(super) async fn copy(connection: &mut PgConnection, row: &TenantRow) -> sqlx::Result<TenantId> {
    sqlx::query_scalar!(
        r#"insert into tenants (id, name, state, rate_per_second, rate_burst, created_at)
           values ($1, $2, $3, $4, $5, $6)
           returning tenant_id as "tenant_id: TenantId""#,
        row.id,
        row.name,
        row.state as TenantState,
        row.rate_per_second,
        row.rate_burst,
        row.created_at
    )
    .fetch_one(connection)
    .await
}

/// Lets one transaction at a time copy a tenant into this database.
pub(super) async fn lock_copy(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock(lock_key('copies'), hashtext($1::uuid::text))",
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads the number of the last migration of the database.
pub(super) async fn migration(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!("select migration from applied_functions")
        .fetch_one(connection)
        .await
}

/// Makes the temporary table `staged` for rows of a table, and gives the transaction the rights of the tenant.
pub(super) async fn begin_table(
    connection: &mut PgConnection,
    tenant: TenantId,
    table: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "select begin_tenant_table($1, $2)",
        tenant as TenantId,
        table
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves the rows of `staged` into a table, as rows of the tenant. Returns their number.
pub(super) async fn end_table(
    connection: &mut PgConnection,
    tenant: TenantId,
    table: &str,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select end_tenant_table($1, $2) as "rows!""#,
        tenant as TenantId,
        table
    )
    .fetch_one(connection)
    .await
}

/// Lists tenants from the row after `after`. Ids increase with the time of creation.
pub(super) async fn list(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<Tenant>> {
    let rows = sqlx::query_as!(
        TenantRow,
        r#"(select id as "id!", name as "name!",
                   case when deletion_requested_at is null then state else 'deleting' end as "state!: TenantState",
                   rate_per_second, rate_burst, created_at as "created_at!"
              from tenants
             where not $2 and ($1::uuid is null or id > $1)
             order by id
             limit $3)
           union all
           (select id, name, case when deletion_requested_at is null then state else 'deleting' end,
                   rate_per_second, rate_burst, created_at
              from tenants
             where $2 and id < $1
             order by id desc
             limit $3)"#,
        after,
        back,
        rows
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Tenant::from).collect())
}

/// Returns `None` for a tenant that is being deleted too.
pub(super) async fn set_state(
    connection: &mut PgConnection,
    id: Uuid,
    state: TenantState,
) -> sqlx::Result<Option<Tenant>> {
    let row = sqlx::query_as!(
        TenantRow,
        r#"update tenants
              set state = $2
            where id = $1 and deletion_requested_at is null
            returning id, name, case when deletion_requested_at is null then state else 'deleting' end as "state!: TenantState",
                      rate_per_second, rate_burst, created_at"#,
        id,
        state as TenantState
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Tenant::from))
}

/// Makes a tenant `deleting`. The state `suspended` remains below that, for replicas of a release that cannot delete tenants.
pub(super) async fn request_deletion(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<Option<Tenant>> {
    let row = sqlx::query_as!(
        TenantRow,
        r#"update tenants
              set state = 'suspended',
                  deletion_requested_at = coalesce(deletion_requested_at, now())
            where id = $1
            returning id, name, 'deleting' as "state!: TenantState", rate_per_second, rate_burst, created_at"#,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Tenant::from))
}

pub(super) async fn list_deleting(connection: &mut PgConnection) -> sqlx::Result<Vec<TenantId>> {
    sqlx::query_scalar!(
        r#"select tenant_id as "tenant_id: TenantId"
             from tenants
            where deletion_requested_at is not null
            order by deletion_requested_at"#
    )
    .fetch_all(connection)
    .await
}

/// A portion of the rows of a tenant.
pub(super) struct DeletedRows {
    pub count: i32,
    /// The table to go on with; `None` after the last.
    pub next_table: Option<i32>,
}

/// Deletes up to `rows` rows of a tenant that is being deleted, from the table of this number on. Only one session at a time
/// deletes any.
pub(super) async fn delete_rows(
    connection: &mut PgConnection,
    tenant: TenantId,
    table: i32,
    rows: i32,
) -> sqlx::Result<DeletedRows> {
    sqlx::query_as!(
        DeletedRows,
        r#"select deleted as "count!", next_table from delete_tenant_rows($1, $2, $3)"#,
        tenant as TenantId,
        table,
        rows
    )
    .fetch_one(connection)
    .await
}

/// Deletes a tenant without rows. Returns false if it still has any, or if its deletion was requested less than `seconds` ago.
pub(super) async fn delete_empty(
    connection: &mut PgConnection,
    tenant: TenantId,
    seconds: i32,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select delete_tenant($1, $2) as "is_deleted!""#,
        tenant as TenantId,
        seconds
    )
    .fetch_one(connection)
    .await
}

/// Updates the fields that are present.
pub(super) async fn patch(
    connection: &mut PgConnection,
    id: Uuid,
    patch: &TenantPatch,
) -> sqlx::Result<Option<Tenant>> {
    let limit = patch.rate_limit.flatten().map(RateLimit::to_stored);
    let (per_second, burst) = limit.unzip();
    let row = sqlx::query_as!(
        TenantRow,
        r#"update tenants
              set name = coalesce($2, name),
                  rate_per_second = case when $3 then $4 else rate_per_second end,
                  rate_burst = case when $3 then $5 else rate_burst end
            where id = $1
            returning id, name, case when deletion_requested_at is null then state else 'deleting' end as "state!: TenantState",
                      rate_per_second, rate_burst, created_at"#,
        id,
        patch.name.as_ref().map(|name| &*name.0),
        patch.rate_limit.is_some(),
        per_second,
        burst
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Tenant::from))
}

/// Lets one transaction at a time look for a tenant by its name and create it.
pub(super) async fn lock_tenants(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("lock table tenants in share row exclusive mode")
        .execute(connection)
        .await?;
    Ok(())
}

/// Finds tenants by their name, which need not be unique. Returns at most two.
pub(super) async fn find_by_name(
    connection: &mut PgConnection,
    name: &str,
) -> sqlx::Result<Vec<Tenant>> {
    let rows = sqlx::query_as!(
        TenantRow,
        r#"select id, name, case when deletion_requested_at is null then state else 'deleting' end as "state!: TenantState",
                  rate_per_second, rate_burst, created_at
             from tenants
            where name = $1
            limit 2"#,
        name
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Tenant::from).collect())
}

/// Finds a key of any tenant by its id, unless it was revoked.
pub(super) async fn find_api_key(
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

pub(super) async fn store_key_use(
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

pub(super) async fn create_api_key(
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
pub(super) struct StoredKey {
    pub tenant: TenantId,
    pub name: String,
    pub scopes: Vec<String>,
    pub secret_hash: Vec<u8>,
    pub is_revoked: bool,
}

pub(super) async fn find_stored_key(
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
pub(super) async fn update_api_key(
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

/// Revokes a key. Returns false if there is no such key. A key that is already revoked keeps its time of revocation.
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

/// Returns true if the tenant has this key, revoked or not.
pub(super) async fn has_api_key(
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
pub(super) async fn find_demo_key(connection: &mut PgConnection) -> sqlx::Result<Option<Uuid>> {
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

/// Finds a session of any tenant by the hash of its token, unless it has expired.
pub(super) async fn find_session(
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
pub(super) async fn find_session_details(
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

pub(super) async fn create_session(
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
pub(super) async fn store_session_use(
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

pub(super) async fn delete_session(
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
pub(super) async fn delete_old_sessions(
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
pub(super) async fn list_key_sessions(
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
pub(super) async fn delete_key_session(
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
