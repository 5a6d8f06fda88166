//! Tenancy as PostgreSQL enforces it: what the catalog must say, and what a forgotten predicate cannot reach.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use crate::support::shop::Shop;
use crate::support::{TestApp, sql};

/// The tables that the system role reaches across tenants.
const CROSSING: [&str; 3] = ["api_keys", "imports", "tenants"];
/// What a policy of the tenants' role must say.
const PREDICATE: &str = "(tenant_id = ( SELECT (NULLIF(current_setting('couponry.tenant_id'::text, true), ''::text))::integer AS \"nullif\"))";
/// Tables of the schema, the migrations' own aside.
const TABLES: &str = "from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname <> '_sqlx_migrations'";

/// Everything in the catalog that breaks a rule of tenancy, one line each.
async fn faults(owner: &mut PgConnection) -> Vec<String> {
    let crossing = CROSSING.map(|table| format!("'{table}'")).join(", ");
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
        // `with check` too: without it a tenant could write rows of another one where it cannot read them.
        format!(
            "select p.tablename || ': the policy ' || p.policyname || ' says something else'
               from pg_policies p
              where p.schemaname = 'public' and p.roles = '{{couponry_app}}'
                and (p.qual is distinct from '{predicate}' or p.with_check is distinct from '{predicate}')"
        ),
        "select p.tablename || ': the policy ' || p.policyname || ' is for someone else'
           from pg_policies p
          where p.roles not in ('{couponry_app}', '{couponry_system}')"
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
            "select c.relname || ': is granted to everyone' {TABLES}
                and exists (select from aclexplode(c.relacl) a where a.grantee = 0)"
        ),
        // Truncating asks no policy.
        format!(
            "select c.relname || ': may be truncated by ' || r.rolname
               from pg_class c, pg_roles r
              where c.oid in (select c.oid {TABLES}) and r.rolname in ('couponry_app', 'couponry_system')
                and has_table_privilege(r.oid, c.oid, 'truncate, references, trigger')"
        ),
        "select i.indexrelid::regclass || ': a unique index that does not begin with tenant_id'
           from pg_index i
           join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
                and c.relname <> '_sqlx_migrations' and c.relkind in ('r', 'p')
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
        "select r.rolname || ': a role with too much power'
           from pg_roles r
          where r.rolname in ('couponry_app', 'couponry_system')
            and (r.rolsuper or r.rolbypassrls or r.rolcanlogin or r.rolcreaterole or r.rolcreatedb or r.rolreplication
                 or has_schema_privilege(r.oid, 'public', 'create')
                 or exists (select from pg_auth_members m where m.member = r.oid))"
            .to_owned(),
        "select x.role || ': there is no such role'
           from unnest(array['couponry_app', 'couponry_system']) as x (role)
          where not exists (select from pg_roles r where r.rolname = x.role)"
            .to_owned(),
        "select c.relname || ': is owned by a role of the service'
           from pg_class c
          where c.relowner in (select oid from pg_roles where rolname in ('couponry_app', 'couponry_system'))"
            .to_owned(),
        "select c.relname || ': a view with the rights of its owner'
           from pg_class c
          where c.relnamespace = 'public'::regnamespace
            and (c.relkind = 'm'
                 or c.relkind = 'v' and not coalesce('security_invoker=true' = any (c.reloptions), false))"
            .to_owned(),
        "select p.oid::regprocedure || ': a function with the rights of its owner'
           from pg_proc p
          where p.pronamespace = 'public'::regnamespace and p.prosecdef"
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

/// Two shops with a row in every table, as the owner sees it.
struct TwoTenants {
    app: TestApp,
    one: i32,
    two: i32,
}

impl TwoTenants {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let shop = app.shop().await;
            busy(&shop).await;
            let mut owner = app.database.owner.acquire().await.unwrap();
            let number: i32 = sql::value(
                &mut owner,
                format!(
                    "select tenant_id from tenants where id = '{}'",
                    shop.tenant_id
                ),
            )
            .await;
            // Chunks are gone when an import has ended.
            let chunk = format!(
                "insert into import_chunks (tenant_id, import_id, chunk, row_nos, lines, codes)
                 select tenant_id, id, 0, '{{1}}', '{{1}}', '{{x}}' from imports where tenant_id = {number}"
            );
            sql::run(&mut owner, chunk).await.unwrap();
            numbers.push(number);
        }
        let two = numbers.pop().unwrap();
        let one = numbers.pop().unwrap();
        Self { app, one, two }
    }

    /// A connection with the rights of the service that sees the first tenant.
    async fn as_the_first(&self) -> PgConnection {
        let mut connection = self.as_nobody().await;
        sql::run(
            &mut connection,
            format!("set couponry.tenant_id = '{}'", self.one),
        )
        .await
        .unwrap();
        connection
    }

    /// A connection with the rights of the service that names no tenant.
    async fn as_nobody(&self) -> PgConnection {
        let mut connection = PgConnection::connect_with(&self.app.database.options)
            .await
            .unwrap();
        sql::run(&mut connection, "set role couponry_app")
            .await
            .unwrap();
        connection
    }

    async fn tables(&self) -> Vec<String> {
        let mut owner = self.app.database.owner.acquire().await.unwrap();
        let tables = sql::column(&mut owner, format!("select c.relname::text {TABLES}")).await;
        assert!(tables.len() >= 10, "{tables:?}");
        tables
    }

    /// The rows of a tenant, as the superuser counts them.
    async fn rows_of(&self, table: &str, tenant: i32) -> i64 {
        let mut owner = self.app.database.owner.acquire().await.unwrap();
        let count = format!("select count(*) from {table} where tenant_id = {tenant}");
        sql::value(&mut owner, count).await
    }

    async fn may(&self, table: &str, privilege: &str) -> bool {
        let mut owner = self.app.database.owner.acquire().await.unwrap();
        let question =
            format!("select has_table_privilege('couponry_app', '{table}', '{privilege}')");
        sql::value(&mut owner, question).await
    }
}

/// Leaves a row in every table but `import_chunks`.
async fn busy(shop: &Shop) {
    let body = serde_json::json!({"name": "birthday", "type": "multiple", "onRepeat": "sameCode"});
    let set = shop.set(body).await;
    set.fill(&["A", "B", "B"]).await;
    set.assign("ann").await.expect(201);
    // With a new key: an answer of its own.
    set.assign("ann").await.expect(200);
}

/// The message of the refusal.
fn refusal(outcome: sqlx::Result<()>) -> String {
    match outcome {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
            error.message().to_owned()
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_catalog_keeps_every_rule_of_tenancy() {
    let app = TestApp::start().await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    assert_eq!(faults(&mut owner).await, Vec::<String>::new());
}

#[tokio::test]
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
            "couponry_app: a role with too much power",
        ),
        (
            "grant create on schema public to couponry_app",
            "couponry_app: a role with too much power",
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

#[tokio::test]
async fn a_tenant_reads_and_counts_its_own_rows_alone_even_where_a_predicate_is_forgotten() {
    let tenants = TwoTenants::open().await;
    let mut connection = tenants.as_the_first().await;
    for table in tenants.tables().await {
        let own = tenants.rows_of(&table, tenants.one).await;
        assert!(own > 0, "{table} has no row to hide");
        assert!(tenants.rows_of(&table, tenants.two).await > 0, "{table}");
        if !tenants.may(&table, "select").await {
            assert_eq!(table, "tenants");
            continue;
        }
        let seen: i64 = sql::value(&mut connection, format!("select count(*) from {table}")).await;
        assert_eq!(seen, own, "{table}");
        let others = format!(
            "select count(*) from {table} where tenant_id = {}",
            tenants.two
        );
        assert_eq!(
            sql::value::<i64>(&mut connection, others).await,
            0,
            "{table}"
        );
    }
    let counters = "select count(*), count(*) filter (where tenant_id <> any (
        select tenant_id from coupon_sets)) from coupon_set_counters";
    let row = sql::rows(&mut connection, counters).await.remove(0);
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (1, 0));
}

#[tokio::test]
async fn a_tenant_can_change_no_row_of_another() {
    let tenants = TwoTenants::open().await;
    let mut connection = tenants.as_the_first().await;
    let mut changed = 0;
    for table in tenants.tables().await {
        let before = tenants.rows_of(&table, tenants.two).await;
        // Of tenants itself the number is nobody's to write.
        let column = if table == "tenants" {
            "name"
        } else {
            "tenant_id"
        };
        let update = format!(
            "update {table} set {column} = {column} where tenant_id = {}",
            tenants.two
        );
        let delete = format!("delete from {table} where tenant_id = {}", tenants.two);
        for (statement, privilege) in [(update, "update"), (delete, "delete")] {
            // Counted in the statement, so that nothing needs to be read afterwards.
            let count = format!("with done as ({statement} returning 1) select count(*) from done");
            if tenants.may(&table, privilege).await {
                assert_eq!(
                    sql::value::<i64>(&mut connection, count).await,
                    0,
                    "{table}"
                );
                changed += 1;
            } else {
                let message = refusal(sql::run(&mut connection, statement).await);
                assert!(message.contains("permission denied"), "{table}: {message}");
            }
        }
        assert_eq!(tenants.rows_of(&table, tenants.two).await, before);
    }
    assert!(changed > 3, "the role may change some tables");
}

#[tokio::test]
async fn a_tenant_can_neither_make_a_row_for_another_nor_give_it_one_of_its_own() {
    let tenants = TwoTenants::open().await;
    let mut connection = tenants.as_the_first().await;
    let mut refused = 0;
    for table in tenants.tables().await {
        if table == "tenants" {
            assert!(!tenants.may(&table, "insert, update").await);
            continue;
        }
        let mut owner = tenants.app.database.owner.acquire().await.unwrap();
        let row: String = sql::value(
            &mut owner,
            format!(
                "select quote_literal(to_jsonb(t)::text) from {table} t where tenant_id = {} limit 1",
                tenants.two
            ),
        )
        .await;
        drop(owner);
        let insert = format!(
            "insert into {table} overriding system value
             select * from jsonb_populate_record(null::{table}, {row}::jsonb)"
        );
        let give = format!("update {table} set tenant_id = {}", tenants.two);
        for (statement, privilege) in [(insert, "insert"), (give, "update")] {
            let expected = if tenants.may(&table, privilege).await {
                refused += 1;
                "violates row-level security policy"
            } else {
                "permission denied"
            };
            let message = refusal(sql::run(&mut connection, statement).await);
            assert!(message.contains(expected), "{table}: {message}");
        }
    }
    assert!(refused > 10, "the role may write most tables");
}

#[tokio::test]
async fn without_a_tenant_nothing_is_visible() {
    let tenants = TwoTenants::open().await;
    let mut connection = tenants.as_nobody().await;
    let tables = tenants.tables().await;
    // Never set, set to nothing, and set by a transaction that is over.
    for before in [
        "select 1",
        "set couponry.tenant_id = ''",
        "begin; set local couponry.tenant_id = '1'; commit",
    ] {
        sql::run(&mut connection, before).await.unwrap();
        for table in tables.iter().filter(|table| *table != "tenants") {
            let count = format!("select count(*) from {table}");
            let seen: i64 = sql::value(&mut connection, count).await;
            assert_eq!(seen, 0, "{table} after `{before}`");
        }
    }
}

#[tokio::test]
async fn the_system_role_reaches_only_tenants_keys_and_imports() {
    let tenants = TwoTenants::open().await;
    let mut connection = PgConnection::connect_with(&tenants.app.database.options)
        .await
        .unwrap();
    sql::run(&mut connection, "set role couponry_system")
        .await
        .unwrap();
    for table in tenants.tables().await {
        if CROSSING.contains(&&*table) {
            let count = format!("select count(distinct tenant_id) from {table}");
            assert_eq!(
                sql::value::<i64>(&mut connection, count).await,
                2,
                "{table}"
            );
        } else {
            let peek = sql::run(&mut connection, format!("select from {table}")).await;
            assert!(refusal(peek).contains("permission denied"), "{table}");
        }
    }
}

#[tokio::test]
async fn the_service_works_as_the_roles_that_row_level_security_binds() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A"]).await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    // Whoever is refused after this is the role, not the owner.
    let revoke = "revoke select on coupon_sets from couponry_app; revoke select on tenants from couponry_system";
    sql::run(&mut owner, revoke).await.unwrap();
    let answer = shop.client.get(&set.path()).await;
    assert_eq!(answer.refusal(), "500 internal-error");
    let answer = set.assign("ann").await;
    assert_eq!(answer.refusal(), "500 internal-error");
    let answer = app.operator().get("/admin/v1/tenants").await;
    assert_eq!(answer.refusal(), "500 internal-error");
}
