//! Tenancy as PostgreSQL enforces it: rules of the catalog.

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::properties::tenancy::{CROSSING, OF_LANES, READ_ONLY, TABLES};
use crate::support::{TestApp, sql};

/// Predicate of every policy of the tenants' role.
const PREDICATE: &str =
    "(tenant_id = (NULLIF(current_setting('couponry.tenant_id'::text, true), ''::text))::integer)";

/// Violations of the rules of tenancy in the catalog, one line each.
#[expect(clippy::too_many_lines, reason = "a table of rules")]
async fn faults(owner: &mut PgConnection) -> Vec<String> {
    let crossing = CROSSING.map(|table| format!("'{table}'")).join(", ");
    let read_only = READ_ONLY.map(|table| format!("'{table}'")).join(", ");
    let of_lanes = OF_LANES
        .map(|(table, rights)| format!("('{table}', '{rights}')"))
        .join(", ");
    let predicate = PREDICATE.replace('\'', "''");
    let rules = [
        format!(
            "select c.relname || ': row level security is not enabled' {TABLES} and not c.relrowsecurity"
        ),
        format!(
            "select c.relname || ': row level security does not bind the owner' {TABLES} and not c.relforcerowsecurity"
        ),
        format!(
            "select c.relname || ': has not exactly the one policy of the tenants'' role' {TABLES} and 1 is distinct from (
               select count(*) from pg_policies p
                where p.schemaname = 'public' and p.tablename = c.relname and p.roles = '{{couponry_app}}' and p.cmd = 'ALL')"
        ),
        // `with check` too: without it a tenant could write rows of another tenant where it cannot read them. A restrictive policy
        // allows nothing by itself.
        format!(
            "select p.tablename || ': the policy ' || p.policyname || ' says something else'
               from pg_policies p
              where p.schemaname = 'public' and p.roles = '{{couponry_app}}' and p.permissive = 'PERMISSIVE'
                and (p.qual is distinct from '{predicate}' or p.with_check is distinct from '{predicate}')"
        ),
        "select p.tablename || ': the policy ' || p.policyname || ' is for someone else'
           from pg_policies p
          where p.roles not in ('{couponry_app}', '{couponry_system}', '{couponry_lanes}')"
            .to_owned(),
        format!(
            "select coalesce(p.tablename, x.name) || ': is read by the lanes or should be'
               from (select distinct tablename from pg_policies where 'couponry_lanes' = any (roles)) p
               full join (values {of_lanes}) x (name, rights) on x.name = p.tablename
              where p.tablename is null or x.name is null"
        ),
        format!(
            "select c.relname || ': the lanes have the rights ' || coalesce(a.rights, 'none')
               from (select c.oid, c.relname {TABLES}) c
               left join (values {of_lanes}) x (name, rights) on x.name = c.relname
              cross join lateral (
                select string_agg(r.name, ', ' order by r.name) as rights
                  from unnest(array['delete', 'insert', 'references', 'select', 'trigger', 'truncate', 'update']) as r (name)
                 where has_table_privilege('couponry_lanes', c.oid, r.name)
              ) a
              where a.rights is distinct from x.rights"
        ),
        // The lock of a row needs the right to update a column.
        "select a.attrelid::regclass || '.' || a.attname || ': may be changed by the lanes'
           from pg_attribute a
          where a.attnum > 0 and not a.attisdropped
            and a.attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p'))
            and has_column_privilege('couponry_lanes', a.attrelid, a.attnum, 'update')
            and (a.attrelid::regclass::text, a.attname::text) <> ('coupon_sets', 'updated_at')"
            .to_owned(),
        format!(
            "select coalesce(p.tablename, x.name) || ': crosses tenants or should'
               from (select distinct tablename from pg_policies where 'couponry_system' = any (roles)) p
               full join (select unnest(array[{crossing}]) as name) x on x.name = p.tablename
              where p.tablename is null or x.name is null"
        ),
        format!(
            "select c.relname || ': may be reached by the system role' {TABLES} and c.relname not in ({crossing})
                and has_table_privilege('couponry_system', c.oid, 'select, insert, update, delete, truncate, references, trigger')"
        ),
        format!(
            "select c.relname || ': may be changed by the system role' {TABLES} and c.relname in ({read_only})
                and has_table_privilege('couponry_system', c.oid, 'insert, update, delete')"
        ),
        format!(
            "select c.relname || ': is granted to everyone' {TABLES}
                and exists (select from aclexplode(c.relacl) a where a.grantee = 0)"
        ),
        // No policy restricts truncate.
        format!(
            "select c.relname || ': may be truncated by ' || r.rolname
               from pg_class c, pg_roles r
              where c.oid in (select c.oid {TABLES}) and r.rolname in ('couponry_app', 'couponry_system')
                and has_table_privilege(r.oid, c.oid, 'truncate, references, trigger')"
        ),
        "select i.indexrelid::regclass || ': a unique index that does not begin with tenant_id'
           from pg_index i
           join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
                and c.relname not in ('_sqlx_migrations', 'applied_functions') and c.relkind in ('r', 'p')
           left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
          where i.indisunique and a.attname is distinct from 'tenant_id'"
            .to_owned(),
        format!(
            "select c.relname || ': has no primary key' {TABLES}
                and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)"
        ),
        "select n.conname || ': a foreign key that does not begin with tenant_id'
           from pg_constraint n
           join pg_attribute a on a.attrelid = n.conrelid and a.attnum = n.conkey[1]
           join pg_attribute f on f.attrelid = n.confrelid and f.attnum = n.confkey[1]
          where n.contype = 'f' and (a.attname <> 'tenant_id' or f.attname <> 'tenant_id')"
            .to_owned(),
        "select r.rolname || ': a role with too much power or with the wrong login'
           from pg_roles r
          where r.rolname in ('couponry_app', 'couponry_system', 'couponry_lanes')
            and (r.rolsuper or r.rolbypassrls or r.rolcanlogin = (r.rolname = 'couponry_lanes') or r.rolcreaterole or r.rolcreatedb or r.rolreplication
                 or has_schema_privilege(r.oid, 'public', 'create')
                 or exists (select from pg_auth_members m where m.member = r.oid))"
            .to_owned(),
        "select x.role || ': there is no such role'
           from unnest(array['couponry_app', 'couponry_system', 'couponry_lanes']) as x (role)
          where not exists (select from pg_roles r where r.rolname = x.role)"
            .to_owned(),
        "select c.relname || ': is owned by a role of the service'
           from pg_class c
          where c.relowner in (
            select oid from pg_roles where rolname in ('couponry_app', 'couponry_system', 'couponry_lanes'))"
            .to_owned(),
        "select c.relname || ': a view with the rights of its owner'
           from pg_class c
          where c.relnamespace = 'public'::regnamespace
            and (c.relkind = 'm'
                 or c.relkind = 'v' and not coalesce('security_invoker=true' = any (c.reloptions), false))"
            .to_owned(),
        "select p.oid::regprocedure || ': a function with the rights of its owner'
           from pg_proc p
          where p.pronamespace = 'public'::regnamespace and p.prosecdef and p.proname <> 'assign_plain'"
            .to_owned(),
        "select p.oid::regprocedure || ': has not the rights of the lanes alone, in this schema alone'
           from pg_proc p
          where p.pronamespace = 'public'::regnamespace
            and (p.proname = 'assign_plain' or p.proowner = 'couponry_lanes'::regrole)
            and not (p.proname = 'assign_plain' and p.prosecdef and p.proowner = 'couponry_lanes'::regrole
                     and 'search_path=public, pg_temp' = any (p.proconfig)
                     and p.proacl is not null and not exists (select from aclexplode(p.proacl) a where a.grantee = 0))"
            .to_owned(),
        "select r.rolname || ': may protect and so change tables'
           from pg_roles r
          where r.rolname in ('couponry_app', 'couponry_system')
            and has_function_privilege(r.oid, 'protect_tenant_rows(regclass)', 'execute')"
            .to_owned(),
    ];
    let mut faults = Vec::new();
    for rule in rules {
        faults.extend(sql::column::<String>(owner, rule).await);
    }
    faults
}

#[tokio::test]
async fn the_catalog_keeps_every_rule_of_tenancy() {
    let app = TestApp::start().await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    assert_eq!(faults(&mut owner).await, Vec::<String>::new());
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of rules")]
async fn the_catalog_test_notices_each_broken_rule() {
    let app = TestApp::start().await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    for (breaking, fault) in [
        (
            "create table notes (tenant_id integer, id integer, primary key (tenant_id, id))",
            "notes: row level security is not enabled",
        ),
        (
            "alter table cards disable row level security",
            "cards: row level security is not enabled",
        ),
        (
            "alter table cards no force row level security",
            "cards: row level security does not bind the owner",
        ),
        (
            "drop policy tenant_rows on lots",
            "lots: has not exactly the one policy of the tenants' role",
        ),
        (
            "alter policy tenant_rows on lots using (true)",
            "lots: the policy tenant_rows says something else",
        ),
        (
            "alter policy tenant_rows on lots with check (true)",
            "lots: the policy tenant_rows says something else",
        ),
        (
            "drop policy tenant_rows on lots;
             create policy tenant_rows on lots to couponry_app
               using (tenant_id = (select nullif(current_setting('couponry.tenant_id', true), '')::integer))",
            "lots: the policy tenant_rows says something else",
        ),
        (
            "create policy more on contacts using (true)",
            "contacts: the policy more is for someone else",
        ),
        (
            "create policy system_rows on contacts to couponry_system using (true)",
            "contacts: crosses tenants or should",
        ),
        (
            "drop policy system_rows on imports",
            "imports: crosses tenants or should",
        ),
        (
            "grant select on contacts to couponry_system",
            "contacts: may be reached by the system role",
        ),
        (
            "grant delete on reservations to couponry_system",
            "reservations: may be changed by the system role",
        ),
        (
            "grant select on contacts to public",
            "contacts: is granted to everyone",
        ),
        (
            "grant truncate on contacts to couponry_app",
            "contacts: may be truncated by couponry_app",
        ),
        (
            "create unique index contacts_everywhere on contacts (contact_id)",
            "contacts_everywhere: a unique index that does not begin with tenant_id",
        ),
        (
            "alter table lots drop constraint lots_pkey",
            "lots: has no primary key",
        ),
        (
            "alter role couponry_app bypassrls",
            "couponry_app: a role with too much power or with the wrong login",
        ),
        (
            "grant create on schema public to couponry_app",
            "couponry_app: a role with too much power or with the wrong login",
        ),
        (
            "alter table lots owner to couponry_app",
            "lots: is owned by a role of the service",
        ),
        (
            "alter view coupon_set_counters reset (security_invoker)",
            "coupon_set_counters: a view with the rights of its owner",
        ),
        (
            "create function peek() returns bigint language sql security definer as 'select count(*) from lots'",
            "peek(): a function with the rights of its owner",
        ),
        (
            "create policy lane_rows on reservations for select to couponry_lanes using (true)",
            "reservations: is read by the lanes or should be",
        ),
        (
            "grant delete on assignments to couponry_lanes",
            "assignments: the lanes have the rights delete, insert, select",
        ),
        (
            "grant update (contact_id) on contacts to couponry_lanes",
            "contacts.contact_id: may be changed by the lanes",
        ),
        (
            "alter role couponry_lanes login",
            "couponry_lanes: a role with too much power or with the wrong login",
        ),
        (
            "alter function assign_plain reset search_path",
            "assign_plain(integer[],uuid[],integer[],integer[],boolean[],uuid[],text[],text[],text[],text[],uuid[]): \
             has not the rights of the lanes alone, in this schema alone",
        ),
        (
            "grant execute on function protect_tenant_rows(regclass) to couponry_app",
            "couponry_app: may protect and so change tables",
        ),
    ] {
        let mut transaction = owner.begin().await.unwrap();
        sql::run(&mut transaction, breaking).await.unwrap();
        let found = faults(&mut transaction).await;
        transaction.rollback().await.unwrap();
        assert!(
            found.contains(&fault.to_owned()),
            "`{breaking}` made {found:?}"
        );
    }
}
