//! SQL of tenants.

pub(super) mod keys;
pub(super) mod sessions;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::rate_limit::RateLimit;
use super::{Tenant, TenantPatch, TenantState};
use crate::ids::TenantId;

/// Locks the table and returns true if there is any tenant.
pub(in crate::tenants) async fn any(connection: &mut PgConnection) -> sqlx::Result<bool> {
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
pub(in crate::tenants) struct TenantRow {
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

pub(in crate::tenants) async fn create(
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

pub(in crate::tenants) async fn find(
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

pub(in crate::tenants) async fn find_row(
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
pub(in crate::tenants) async fn copy(
    connection: &mut PgConnection,
    row: &TenantRow,
) -> sqlx::Result<TenantId> {
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
pub(in crate::tenants) async fn lock_copy(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock(lock_key('copies'), hashtext($1::uuid::text))",
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads the number of the last migration of the database.
pub(in crate::tenants) async fn migration(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!("select migration from applied_functions")
        .fetch_one(connection)
        .await
}

/// Makes the temporary table `staged` for rows of a table, and gives the transaction the rights of the tenant.
pub(in crate::tenants) async fn begin_table(
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
pub(in crate::tenants) async fn end_table(
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
pub(in crate::tenants) async fn list(
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
pub(in crate::tenants) async fn set_state(
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
pub(in crate::tenants) async fn request_deletion(
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

/// Lists all tenants that are not being deleted.
pub(crate) async fn list_tenants(connection: &mut PgConnection) -> sqlx::Result<Vec<TenantId>> {
    sqlx::query_scalar!(
        r#"select tenant_id as "tenant: TenantId"
             from tenants
            where deletion_requested_at is null"#
    )
    .fetch_all(connection)
    .await
}

pub(in crate::tenants) async fn list_deleting(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<TenantId>> {
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
pub(in crate::tenants) struct DeletedRows {
    pub count: i32,
    /// The table to go on with; `None` after the last.
    pub next_table: Option<i32>,
}

/// Deletes up to `rows` rows of a tenant that is being deleted, from the table of this number on. Only one session at a time
/// deletes any.
pub(in crate::tenants) async fn delete_rows(
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
pub(in crate::tenants) async fn delete_empty(
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
pub(in crate::tenants) async fn patch(
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
pub(in crate::tenants) async fn lock_tenants(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("lock table tenants in share row exclusive mode")
        .execute(connection)
        .await?;
    Ok(())
}

/// Finds tenants by their name, which need not be unique. Returns at most two.
pub(in crate::tenants) async fn find_by_name(
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
