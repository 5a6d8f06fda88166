//! SQL of the checks.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::TenantId;

/// Returns true if this connection sees the setting of the check for poolers.
pub(super) async fn sees_setting(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select coalesce(current_setting('couponry.doctor', true), '') = 'seen' as "sees!""#
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn version(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar!(r#"select current_setting('server_version_num')::integer as "version!""#)
        .fetch_one(connection)
        .await
}

pub(super) async fn time(connection: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(connection)
        .await
}

/// Facts of the server, the database and the login. Names are in the form of SQL, in quotes if they need them.
#[expect(clippy::struct_excessive_bools, reason = "facts of the catalog")]
pub(super) struct Server {
    pub database: String,
    pub login: String,
    pub encoding: String,
    /// The version of the collation with which the database was made, and that of the operating system. Null for a
    /// collation without versions.
    pub collation_version: Option<String>,
    pub current_collation_version: Option<String>,
    pub is_standby: bool,
    pub is_read_only: bool,
    pub is_superuser: bool,
    pub bypasses_row_security: bool,
    /// Connections that the server, the database and the login allow to all replicas.
    pub allowed_connections: i32,
}

pub(super) async fn server(connection: &mut PgConnection) -> sqlx::Result<Server> {
    sqlx::query_as!(
        Server,
        r#"select quote_ident(d.datname) as "database!", quote_ident(r.rolname) as "login!",
                  pg_encoding_to_char(d.encoding)::text as "encoding!",
                  d.datcollversion as collation_version,
                  pg_database_collation_actual_version(d.oid) as current_collation_version,
                  pg_is_in_recovery() as "is_standby!",
                  current_setting('default_transaction_read_only') = 'on' as "is_read_only!",
                  r.rolsuper as "is_superuser!", r.rolbypassrls as "bypasses_row_security!",
                  least(
                    current_setting('max_connections')::integer
                      - current_setting('superuser_reserved_connections')::integer
                      - coalesce(current_setting('reserved_connections', true)::integer, 0),
                    nullif(d.datconnlimit, -1),
                    nullif(r.rolconnlimit, -1)) as "allowed_connections!"
             from pg_database d
             join pg_roles r on r.rolname = current_user
            where d.datname = current_database()"#
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn missing_roles(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select x.role as "role!"
             from unnest(array['couponry_app', 'couponry_system', 'couponry_lanes']) as x (role)
            where not exists (select 1 from pg_roles r where r.rolname = x.role)"#
    )
    .fetch_all(connection)
    .await
}

/// Takes a role until the end of the transaction, or of the savepoint.
pub(super) async fn take_role(connection: &mut PgConnection, role: &str) -> sqlx::Result<()> {
    sqlx::query_scalar!("select set_config('role', $1, true)", role)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Makes the rows of a tenant visible.
pub(super) async fn enter_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<()> {
    sqlx::query_scalar!(
        "select set_config('couponry.tenant_id', $1::integer::text, true)",
        tenant as TenantId
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Returns `None` if there is no function `assign_plain`.
pub(super) async fn may_assign(connection: &mut PgConnection) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        "select has_function_privilege(p.oid, 'execute')
           from pg_proc p
          where p.proname = 'assign_plain' and p.pronamespace = 'public'::regnamespace
          limit 1"
    )
    .fetch_optional(connection)
    .await
    .map(Option::flatten)
}

/// Returns `None` if there is no such table.
pub(super) async fn may_read(
    connection: &mut PgConnection,
    table: &str,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        "select has_table_privilege(to_regclass($1), 'select')",
        table
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn has_tables(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select to_regclass('assignments') is not null as "has!""#)
        .fetch_one(connection)
        .await
}

/// The release that last migrated the database.
pub(super) struct AppliedRelease {
    pub checksum: Vec<u8>,
    pub release: Vec<i32>,
    pub min_release: Vec<i32>,
    pub migration: i64,
}

/// Returns `None` if the database has no such record. The role that the transaction has taken must be the system role.
pub(super) async fn applied_release(
    connection: &mut PgConnection,
) -> sqlx::Result<Option<AppliedRelease>> {
    sqlx::query_as!(
        AppliedRelease,
        "select checksum, release, min_release, migration from applied_functions"
    )
    .fetch_optional(connection)
    .await
}

/// A table whose rows are not separated by tenant.
pub(super) struct UnprotectedTable {
    pub name: String,
    pub is_enabled: bool,
    pub is_forced: bool,
}

/// Lists the tables with a tenant whose row level security is not enabled or not forced, or which have other policies for the
/// role of the tenants than the one that compares the tenant. Restrictive policies allow nothing by themselves.
pub(super) async fn unprotected_tables(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<UnprotectedTable>> {
    sqlx::query_as!(
        UnprotectedTable,
        r#"select c.relname::text as "name!", c.relrowsecurity as "is_enabled!", c.relforcerowsecurity as "is_forced!"
             from pg_class c
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
            cross join lateral (
              select count(*) as policies,
                     count(*) filter (
                       where p.cmd = 'ALL' and p.qual like '(tenant_id = %couponry.tenant_id%' and p.with_check = p.qual) as right_ones
                from pg_policies p
               where p.schemaname = 'public' and p.tablename = c.relname and p.roles && array['couponry_app', 'public']::name[]
                 and p.permissive = 'PERMISSIVE'
            ) p
            where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
              and (not c.relrowsecurity or not c.relforcerowsecurity or p.policies <> 1 or p.right_ones <> 1)
            order by c.relname"#
    )
    .fetch_all(connection)
    .await
}

/// A tenant of the sample.
pub(super) struct SampledTenant {
    pub number: TenantId,
    pub id: Uuid,
}

/// Returns up to 20 tenants at random.
pub(super) async fn sample_tenants(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<SampledTenant>> {
    sqlx::query_as!(
        SampledTenant,
        r#"select tenant_id as "number: TenantId", id
             from tenants
            where deletion_requested_at is null
            order by random()
            limit 20"#
    )
    .fetch_all(connection)
    .await
}

/// A set whose ledger has fewer entries than its last number says.
pub(super) struct LedgerGap {
    pub set_id: Uuid,
    pub expected: i64,
    pub found: i64,
}

/// Counts the last 10,000 numbers of the ledgers of up to 10 sets of a tenant, at random. Those of deleted sets that are being
/// removed, or were, do not count.
pub(super) async fn ledger_gaps(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<Vec<LedgerGap>> {
    sqlx::query_as!(
        LedgerGap,
        r#"select s.id as "set_id!", least(l.last, 10000) as "expected!", f.found as "found!"
             from (
               select set_no, id
                 from coupon_sets
                where tenant_id = $1 and ledger_state = 'kept'
                order by random()
                limit 10
             ) s
            cross join lateral (
              select coalesce(greatest(
                       (select max(number) from assignments where tenant_id = $1 and set_no = s.set_no),
                       (select max(number) from ledger_entries where tenant_id = $1 and set_no = s.set_no)), 0) as last
            ) l
            cross join lateral (
              select (select count(*)
                        from assignments
                       where tenant_id = $1 and set_no = s.set_no and number > l.last - 10000)
                     + (select count(*)
                          from ledger_entries
                         where tenant_id = $1 and set_no = s.set_no and number > l.last - 10000) as found
            ) f
            where f.found <> least(l.last, 10000)"#,
        tenant as TenantId
    )
    .fetch_all(connection)
    .await
}

/// Numbers of jobs that should have been done.
pub(super) struct OverdueWork {
    pub reservations: i64,
    pub imports: i64,
    pub webhooks: i64,
    pub erasures: i64,
}

pub(super) async fn overdue_work(connection: &mut PgConnection) -> sqlx::Result<OverdueWork> {
    sqlx::query_as!(
        OverdueWork,
        r#"select (select count(*)
                     from reservations
                    where expires_at < now() - interval '10 minutes') as "reservations!",
                  (select count(*)
                     from imports
                    where status = 'queued' and created_at < now() - interval '1 hour'
                       or status = 'inProgress' and lease_until < now() - interval '10 minutes') as "imports!",
                  (select count(*)
                     from webhooks w
                     join tenants t on t.tenant_id = w.tenant_id and t.state = 'active'
                    where w.state = 'enabled' and w.next_due_at < now() - interval '10 minutes'
                      and coalesce(w.lease_until < now(), true)) as "webhooks!",
                  (select count(*)
                     from erasures
                    where finished_at is null and requested_at < now() - interval '1 hour') as "erasures!""#
    )
    .fetch_one(connection)
    .await
}
