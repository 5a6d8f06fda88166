//! Tenancy as PostgreSQL enforces it: rows that are unreachable even if a predicate is forgotten.

mod catalog;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use crate::support::shop::Shop;
use crate::support::{TestApp, eventually, sql};

/// The tables that the system role reaches across tenants.
pub const CROSSING: [&str; 8] = [
    "api_keys",
    "erasures",
    "imports",
    "reservations",
    "sessions",
    "tenants",
    "webhook_events",
    "webhooks",
];
/// Those of them that it may read and not change.
pub const READ_ONLY: [&str; 4] = ["erasures", "reservations", "sessions", "webhook_events"];
/// Tables that the function of the lanes reaches across tenants, with its rights.
pub const OF_LANES: [(&str, &str); 7] = [
    ("assignment_answers", "select"),
    ("assignments", "insert, select"),
    ("cards", "select"),
    ("contacts", "insert, select"),
    ("coupon_sets", "select"),
    ("ledger_entries", "select"),
    ("lots", "select"),
];
/// Tables with tenant rows: all but the records of the migrations and of the applied functions.
pub const TABLES: &str = "from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname not in ('_sqlx_migrations', 'applied_functions')";

/// Two shops with a row in every table, as the owner sees it.
pub struct TwoTenants {
    pub app: TestApp,
    pub shops: [Shop; 2],
    pub one: i32,
    pub two: i32,
}

impl TwoTenants {
    pub async fn open() -> Self {
        let app = TestApp::start().await;
        let shops = [app.shop().await, app.shop().await];
        let mut numbers = Vec::new();
        for shop in shops.clone() {
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
            // Chunks are deleted when an import has ended.
            let chunk = format!(
                "insert into import_chunks (tenant_id, import_id, chunk, row_nos, lines, codes)
                 select tenant_id, id, 0, '{{1}}', '{{1}}', '{{x}}' from imports where tenant_id = {number}"
            );
            sql::run(&mut owner, chunk).await.unwrap();
            let webhook = shop.webhook("https://example.com/").await;
            sql::run(&mut owner, webhook.writing(1, 1)).await.unwrap();
            // Refers to a number that the ledger has not reached, so that the row stays.
            let event = format!(
                "insert into webhook_events (tenant_id, set_no, number, event_type, payload)
                 values ({number}, 1, 1000, 'import.finished', '{{}}')"
            );
            sql::run(&mut owner, event).await.unwrap();
            // Done by this statement or by the service's task.
            let roll_up = format!("select roll_up_statistics({number}, 1, 1000)");
            sql::run(&mut owner, roll_up).await.unwrap();
            drop(owner);
            eventually("everything is rolled up", async || {
                let left = "select count(*) from statistics_tails where rolled_up < number";
                (app.database.query_value(left).await == 0).then_some(())
            })
            .await;
            numbers.push(number);
        }
        let two = numbers.pop().unwrap();
        let one = numbers.pop().unwrap();
        Self {
            app,
            shops,
            one,
            two,
        }
    }

    /// A connection with the rights of the service, scoped to the first tenant.
    pub async fn as_the_first(&self) -> PgConnection {
        let mut connection = self.as_nobody().await;
        sql::run(
            &mut connection,
            format!("set couponry.tenant_id = '{}'", self.one),
        )
        .await
        .unwrap();
        connection
    }

    /// A connection with the rights of the service, without a tenant.
    async fn as_nobody(&self) -> PgConnection {
        let mut connection = PgConnection::connect_with(&self.app.database.options)
            .await
            .unwrap();
        sql::run(&mut connection, "set role couponry_app")
            .await
            .unwrap();
        connection
    }

    pub async fn tables(&self) -> Vec<String> {
        let mut owner = self.app.database.owner.acquire().await.unwrap();
        let tables = sql::column(&mut owner, format!("select c.relname::text {TABLES}")).await;
        assert!(tables.len() >= 10, "{tables:?}");
        tables
    }

    /// The number of rows of a tenant, as the superuser sees them.
    pub async fn rows_of(&self, table: &str, tenant: i32) -> i64 {
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
    let codes = serde_json::json!([{"code": "A", "expiresAt": "2999-12-31"}, "B", "B", "C"]);
    let uri = format!("{}/imports", set.path());
    let import = shop
        .client
        .post(&uri, serde_json::json!({"codes": codes}))
        .await;
    set.ended(import.expect(201).str("id")).await;
    set.withdraw(&["C"]).await;
    set.assign("ann").await.expect(201);
    // With a new key, which gets its own stored result.
    set.assign("ann").await.expect(200);
    let reserved = serde_json::json!({"contactId": "bob", "reserveForSeconds": 604_800});
    set.assign_with(reserved, None).await.expect(201);
    shop.workflow("mail", "active", &[&set]).await;
    shop.erase("cat").await.expect(202);
    shop.signed_in().await;
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
    for (view, own) in [
        ("coupon_set_counters", 1),
        ("coupon_set_stocks", 1),
        ("assignment_lives", 2),
        ("assignment_lives", 2),
        ("statistics_tails", 1),
    ] {
        let count = format!(
            "select count(*), count(*) filter (where tenant_id <> {}) from {view}",
            tenants.one
        );
        let row = sql::rows(&mut connection, count).await.remove(0);
        let seen = (row.get::<i64, _>(0), row.get::<i64, _>(1));
        assert_eq!(seen, (own, 0), "{view}");
    }
}

#[tokio::test]
async fn a_tenant_can_change_no_row_of_another() {
    let tenants = TwoTenants::open().await;
    let mut connection = tenants.as_the_first().await;
    let mut changed = 0;
    for table in tenants.tables().await {
        let before = tenants.rows_of(&table, tenants.two).await;
        // No one may write the number in `tenants` itself.
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
            // Counted in the statement, so that no read is needed afterwards.
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
        // Generated columns cannot be written.
        let columns: String = sql::value(
            &mut owner,
            format!(
                "select string_agg(attname, ', ') from pg_attribute
                  where attrelid = '{table}'::regclass and attnum > 0 and attgenerated = ''"
            ),
        )
        .await;
        drop(owner);
        let insert = format!(
            "insert into {table} ({columns}) overriding system value
             select {columns} from jsonb_populate_record(null::{table}, {row}::jsonb)"
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
async fn the_system_role_reaches_only_the_tables_that_it_needs_and_changes_only_some_of_them() {
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
            if READ_ONLY.contains(&&*table) {
                let end = sql::run(&mut connection, format!("delete from {table}")).await;
                assert!(refusal(end).contains("permission denied"), "{table}");
            }
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
    // Any refusal after this concerns the role, not the owner.
    let revoke = "revoke select on coupon_sets from couponry_app, couponry_lanes; revoke select on tenants from couponry_system";
    sql::run(&mut owner, revoke).await.unwrap();
    let answer = shop.client.get(&set.path()).await;
    assert_eq!(answer.refusal(), "500 internal-error");
    let answer = set.assign("ann").await;
    assert_eq!(answer.refusal(), "500 internal-error");
    let answer = app.operator().get("/admin/v1/tenants").await;
    assert_eq!(answer.refusal(), "500 internal-error");
}

/// Tests that run the service in their own process use this login. So whatever a connection does outside of a transaction, or in one that has not
/// taken a role, fails, and a pooler may share connections between transactions.
#[tokio::test]
async fn the_login_of_the_service_has_no_rights_before_a_transaction_takes_a_role() {
    let app = TestApp::start().await;
    let mut login = PgConnection::connect_with(&app.database.service_options())
        .await
        .unwrap();
    let tables = "select c.oid::regclass::text from pg_class c
                   where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') order by 1";
    let tables = sql::column::<String>(&mut login, tables).await;
    assert!(tables.contains(&"assignments".to_owned()));
    for table in tables {
        let peek = sql::run(&mut login, format!("select from {table}")).await;
        assert!(refusal(peek).contains("permission denied"), "{table}");
    }
    for role in ["couponry_app", "couponry_system"] {
        sql::run(&mut login, format!("begin; set local role {role}"))
            .await
            .unwrap();
        sql::run(&mut login, "select from api_keys; commit")
            .await
            .unwrap();
        let peek = sql::run(&mut login, "select from api_keys").await;
        assert!(refusal(peek).contains("permission denied"), "{role}");
    }
}
