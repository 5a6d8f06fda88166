//! Promises of the retention of deleted sets: their codes and ledgers go some days after the deletion, and nothing else does.

mod needed;

use serde_json::{Value, json};
use sqlx::Connection;

use crate::contacts::activity::path;
use crate::support::client::Client;
use crate::support::database::TestDatabase;
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, eventually, rows, sql};

/// The tables with a row for a set, from the catalog, and the column that names it.
const TABLES: &str = "
    select c.relname || ' ' || a.attname
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
       and a.attname in ('set_no', 'requested_set_no') and (c.relname, a.attname) <> ('assignment_answers', 'set_no')
     order by 1";

/// The tables whose rows stay: the set with what its statistics are read from, and what has a retention of its own.
const KEPT: [&str; 9] = [
    "coupon_set_terms set_no",
    "coupon_sets set_no",
    "lots set_no",
    "statistics_checkpoints set_no",
    "statistics_expiries set_no",
    "statistics_progress set_no",
    "statistics_shares set_no",
    "statistics_sources set_no",
    "webhook_cursors set_no",
];

/// The rows of a set in each table, and their checksum.
async fn contents(app: &TestApp, tenant: i32, set: i32) -> Vec<(String, i64, Option<String>)> {
    let mut owner = app.database.owner.acquire().await.unwrap();
    let mut contents = Vec::new();
    for place in sql::column::<String>(&mut owner, TABLES).await {
        let (table, column) = place.split_once(' ').unwrap();
        let rows = format!("from {table} t where tenant_id = {tenant} and {column} = {set}");
        let count = sql::value(&mut owner, format!("select count(*) {rows}")).await;
        let sum = format!("select md5(string_agg(t::text, E'\\n' order by t::text)) {rows}");
        let sum = sql::value(&mut owner, sum).await;
        contents.push((place, count, sum));
    }
    contents
}

/// The tables that have a row of the set.
async fn tables_with_rows(app: &TestApp, tenant: i32, set: i32) -> Vec<String> {
    let contents = contents(app, tenant, set).await.into_iter();
    let with_rows = contents.filter(|(_, count, _)| *count > 0);
    with_rows.map(|(place, ..)| place).collect()
}

/// Makes all deletions older.
async fn pass_days(database: &TestDatabase, days: i32) {
    let older = format!(
        "update coupon_sets set deleted_at = deleted_at - interval '{days} days' where deleted_at is not null"
    );
    database.execute(&older).await;
}

async fn rolled_up(app: &TestApp) {
    eventually("everything is rolled up", async || {
        let left = "select count(*) from statistics_tails where rolled_up < number";
        (app.database.query_value(left).await == 0).then_some(())
    })
    .await;
}

async fn state(app: &TestApp, set: &CouponSet) -> Value {
    let state = format!(
        "select ledger_state from coupon_sets where id = '{}'",
        set.id
    );
    app.database.query_value(&state).await
}

/// Runs a replica that removes ledgers after 30 days until they are removed.
async fn remove(app: &TestApp, sets: &[&CouponSet]) {
    let database = app.database.shared();
    let replica = TestApp::with(database, &["--retention-deleted-sets-days", "30"]);
    for set in sets {
        eventually("the ledger is removed", async || {
            (state(app, set).await == "removed").then_some(())
        })
        .await;
    }
    replica.app.stop().await;
}

/// One portion of the removal of a set of the first tenant.
async fn portion(app: &TestApp, set: i32, table: i64, rows: i32) -> (Value, i64) {
    let portion = format!("select * from remove_ledger(1, {set}, 30, {table}, {rows})");
    let mut portion = app.database.query_rows(&portion).await[0].take();
    let deleted = portion["deleted"].as_i64().unwrap();
    (portion["next_table"].take(), deleted)
}

/// A set with rows in each table: assigned, repeated, released, withdrawn and expiring codes.
async fn busy(shop: &Shop, name: &str) -> CouponSet {
    let body = json!({"name": name, "type": "multiple", "onRepeat": "sameCode"});
    let set = shop.set(body).await;
    let codes = json!([
        {"code": format!("{name} A"), "expiresAt": "2999-12-31"},
        {"code": format!("{name} B"), "expiresAt": "2999-12-31"},
        format!("{name} C"),
        format!("{name} D"),
        format!("{name} D"),
    ]);
    let uri = format!("{}/imports", set.path());
    let import = shop.client.post(&uri, json!({"codes": codes})).await;
    set.ended(import.expect(201).str("id")).await;
    set.withdraw(&[&format!("{name} D")]).await;
    let body = json!({"contactId": "ann", "workflowId": "mail", "nodeId": "first"});
    set.assign_with(body.clone(), Some("first"))
        .await
        .expect(201);
    set.assign_with(body, Some("again")).await.expect(200);
    let given = set.assign("bob").await.expect(201);
    set.release(given.str("id")).await.expect(200);
    set
}

#[tokio::test]
async fn what_a_set_that_was_deleted_long_ago_had_goes_from_every_table_that_is_not_named_and_nothing_else_goes()
 {
    let app = TestApp::start().await;
    let shops = [app.shop().await, app.shop().await];
    for shop in &shops {
        shop.webhook("https://example.com/").await;
    }
    let old = busy(&shops[0], "old").await;
    let young = busy(&shops[0], "young").await;
    busy(&shops[0], "living").await;
    let of_another = busy(&shops[1], "old").await;
    rolled_up(&app).await;
    eventually("all events are delivered", async || {
        let left = "select (select count(*) from webhook_events)
                         + (select count(*) from webhook_cursors c
                             join statistics_tails t using (tenant_id, set_no)
                            where c.number < t.number)";
        (app.database.query_value(left).await == 0).then_some(())
    })
    .await;
    app.database
        .execute("delete from webhook_deliveries; update webhooks set state = 'disabled'")
        .await;
    old.delete().await.expect(204);
    pass_days(&app.database, 2).await;
    young.delete().await.expect(204);
    pass_days(&app.database, 29).await;
    app.app.stop().await;

    let mut all = tables_with_rows(&app, 1, 1).await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    let mut expected: Vec<String> = sql::column(&mut owner, TABLES).await;
    drop(owner);
    expected.retain(|place| {
        // A reservation and an event keep the ledger, deliveries have a retention of their own, and a set that a workflow uses
        // loses it when it is deleted.
        ![
            "reservations",
            "webhook_deliveries",
            "webhook_events",
            "workflow_sets",
        ]
        .iter()
        .any(|table| place.starts_with(table))
    });
    all.retain(|place| place != "webhook_deliveries set_no");
    assert_eq!(all, expected);
    let mut others = Vec::new();
    for (tenant, set) in [(1, 2), (1, 3), (2, 1)] {
        others.push(contents(&app, tenant, set).await);
    }
    assert_eq!(state(&app, &young).await, "kept");

    remove(&app, &[&old]).await;
    let imports = TestApp::on(app.database.shared());
    eventually("the import is deleted", async || {
        (tables_with_rows(&app, 1, 1).await == KEPT).then_some(())
    })
    .await;
    imports.app.stop().await;
    for ((tenant, set), before) in [(1, 2), (1, 3), (2, 1)].into_iter().zip(others) {
        assert_eq!(contents(&app, tenant, set).await, before, "{tenant} {set}");
    }
    assert_eq!(state(&app, &young).await, "kept");
    assert_eq!(state(&app, &of_another).await, "kept");
}

/// The numbers of results of lists that contain what a set gave to a contact.
async fn found(client: &Client, set: &CouponSet, code: &str, contact: &str) -> [usize; 3] {
    let count = async |uri: String| client.get(&uri).await.expect(200).results().len();
    [
        count(format!("/v1/assignments?couponSetId={}", set.id)).await,
        count(format!("/v1/coupons?code={code}")).await,
        count(format!("{}/activity", path(contact))).await,
    ]
}

/// Fails unless the set is not found, whatever is asked about it.
async fn expect_not_found(client: &Client, set: &CouponSet) {
    assert_eq!(
        set.assign_as("ann", "first").await.refusal(),
        "404 not-found"
    );
    assert_eq!(client.get(&set.path()).await.refusal(), "404 not-found");
}

#[tokio::test]
async fn lookups_find_nothing_of_a_removed_ledger_and_the_set_is_not_found_before_and_after() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B"]).await;
    let mut given = Vec::new();
    for (contact, key) in [("ann", "first"), ("bob", "second")] {
        let assignment = set.assign_as(contact, key).await.expect(201);
        given.push(assignment.str("id").to_owned());
    }
    set.delete().await.expect(204);
    set.record("used", &given[0]).await.expect(200);
    assert_eq!(found(&shop.client, &set, "A", "ann").await, [2, 1, 1]);
    expect_not_found(&shop.client, &set).await;
    rolled_up(&app).await;
    pass_days(&app.database, 31).await;

    // As soon as it has begun, nothing happens to an assignment, and no code is shown without its assignment.
    assert_eq!(portion(&app, 1, 1, 1).await, (json!(2), 1));
    for id in &given {
        assert_eq!(set.record("sent", id).await.refusal(), "404 not-found");
    }
    for code in ["A", "B"] {
        let [assignments, coupons, _] = found(&shop.client, &set, code, "ann").await;
        assert_eq!((assignments, coupons), (1, 0));
    }
    expect_not_found(&shop.client, &set).await;

    remove(&app, &[&set]).await;
    for (id, (code, contact)) in given.iter().zip([("A", "ann"), ("B", "bob")]) {
        let uri = format!("/v1/assignments/{id}");
        assert_eq!(shop.client.get(&uri).await.refusal(), "404 not-found");
        assert_eq!(set.record("used", id).await.refusal(), "404 not-found");
        assert_eq!(found(&shop.client, &set, code, contact).await, [0, 0, 0]);
    }
    expect_not_found(&shop.client, &set).await;
    // The codes may come again.
    let next = shop.set(json!({"name": "set", "type": "multiple", "uniqueInTenant": true}));
    next.await.fill(&["A", "B"]).await;
}

/// A deleted set of the first tenant with 20,000 codes, half of them assigned.
async fn large() -> (TestApp, CouponSet) {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    app.database
        .execute(&rows::dealt_lot(1, 20_000, 10_000))
        .await;
    rolled_up(&app).await;
    set.delete().await.expect(204);
    pass_days(&app.database, 31).await;
    (app, set)
}

#[tokio::test]
async fn a_removal_that_was_interrupted_is_resumed_by_another_replica() {
    let (app, set) = large().await;
    assert_eq!(portion(&app, 1, 1, 7_000).await, (json!(2), 7_000));
    // A crash in the middle of a portion.
    let mut crashed = app.database.owner.acquire().await.unwrap();
    let mut crashed = crashed.begin().await.unwrap();
    sql::run(&mut crashed, "select remove_ledger(1, 1, 30, 2, 2000)")
        .await
        .unwrap();
    crashed.rollback().await.unwrap();
    let left = "select (select count(*) from assignments) + (select count(*) from cards)";
    assert_eq!(app.database.query_value(left).await, 23_000);
    assert_eq!(state(&app, &set).await, "removing");
    remove(&app, &[&set]).await;
    assert_eq!(app.database.query_value(left).await, 0);
    // A roll-up that found the set before does not follow the ledger back.
    let roll_up = "select roll_up_statistics(1, 1, 1000)";
    assert_eq!(app.database.query_value(roll_up).await, 0);
    let rolled_up = "select rolled_up from statistics_progress";
    assert_eq!(app.database.query_value(rolled_up).await, 10_000);
}

#[tokio::test]
async fn one_session_at_a_time_removes_rows_of_a_tenant_and_no_other_waits_for_it() {
    let (app, _) = large().await;
    let mut first = app.database.owner.acquire().await.unwrap();
    let mut first = first.begin().await.unwrap();
    let removal = "select deleted from remove_ledger(1, 1, 30, 1, 700)";
    assert_eq!(sql::value::<i32>(&mut first, removal).await, 700);
    assert_eq!(portion(&app, 1, 1, 700).await, (json!(1), 0));
    let deletion = "select to_json(deleted) from delete_tenant_rows(1, 1, 700)";
    assert_eq!(app.database.query_value(deletion).await, 0);
    first.commit().await.unwrap();
    assert_eq!(portion(&app, 1, 2, 700).await, (json!(2), 700));

    // The deletion of the tenant takes what is left, and the removal ends.
    app.app.stop().await;
    let delete = "update tenants set state = 'suspended', deletion_requested_at = now() - interval '1 minute'";
    app.database.execute(delete).await;
    let all = "select next_table is null from delete_tenant_rows(1, 1, 1000000)";
    assert_eq!(app.database.query_value(all).await, true);
    assert_eq!(portion(&app, 1, 2, 700).await, (Value::Null, 0));
}

#[tokio::test]
async fn erased_contacts_disappear_from_statistics_whose_ledger_was_removed() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("set", "S", None).await;
    for (contact, workflow) in [
        ("ann@example.com", "mail to ann@example.com"),
        ("old-ann@example.com", "mail to old-ann@example.com"),
        ("bob@example.com", "mail"),
        ("ann@example.com", "mail to ann@example.com"),
    ] {
        let body = json!({"contactId": contact, "workflowId": workflow});
        set.assign_with(body, None).await.expect(201);
    }
    shop.merge("old-ann@example.com", "ann@example.com")
        .await
        .expect(200);
    rolled_up(&app).await;
    set.delete().await.expect(204);
    pass_days(&app.database, 31).await;
    remove(&app, &[&set]).await;

    let erasure = shop.erase("ann@example.com").await.expect(202);
    let pseudonym = erasure.str("contactId").to_owned();
    eventually("the contact is erased", async || {
        (shop.erase(&pseudonym).await.status == 200).then_some(())
    })
    .await;
    let statistics = shop.client.get("/v1/statistics").await.expect(200).body;
    let shares: Vec<(&Value, &Value)> = statistics["byWorkflow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| (&share["workflowId"], &share["assigned"]))
        .collect();
    let erased = json!(format!("mail to {pseudonym}"));
    assert_eq!(shares, [(&erased, &json!(3)), (&json!("mail"), &json!(1))]);
    assert_eq!(statistics["totals"]["assigned"], 4);
}

/// Tables of which rows can be deleted while the ledger of their set is being removed.
const REMOVABLE: [&str; 6] = [
    "assignment_answers",
    "assignments",
    "cards",
    "ledger_entries",
    "lots",
    "withdrawals",
];

#[tokio::test]
async fn nothing_of_a_set_whose_ledger_is_kept_can_be_deleted_even_by_a_statement_without_a_predicate()
 {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for name in ["living", "deleted", "removing"] {
        busy(&shop, name).await;
    }
    app.app.stop().await;
    app.database
        .execute(
            "update coupon_sets set deleted_at = now() where set_no > 1;
             update coupon_sets set ledger_state = 'removing' where set_no = 3",
        )
        .await;
    let mut connection = sqlx::PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(
        &mut connection,
        "set role couponry_app; set couponry.tenant_id = '1'",
    )
    .await
    .unwrap();
    for table in REMOVABLE {
        let of = |set: i32| {
            let column = match table {
                "assignment_answers" => "requested_set_no",
                _ => "set_no",
            };
            format!("from {table} where {column} = {set}")
        };
        let count = async |set: i32| {
            let count = format!("select count(*) {}", of(set));
            app.database.query_value(&count).await.as_i64().unwrap()
        };
        let (living, deleted) = (count(1).await, count(2).await);
        assert!(living > 0 && deleted > 0 && count(3).await > 0, "{table}");
        // The cards of a living set raise an error; the rows of the other tables are not found.
        let all = sql::run(&mut connection, format!("delete from {table}")).await;
        assert_eq!(all.is_ok(), table != "cards", "{table}");
        for kept in 1..=2 {
            let one = sql::run(&mut connection, format!("delete {}", of(kept))).await;
            assert_eq!(one.is_ok(), table != "cards", "{table}");
        }
        sql::run(&mut connection, format!("delete {}", of(3)))
            .await
            .unwrap();
        assert_eq!(
            (count(1).await, count(2).await, count(3).await),
            (living, deleted, 0),
            "{table}"
        );
    }
    let living = "update coupon_sets set ledger_state = 'removing' where set_no = 1";
    assert!(sql::run(&mut connection, living).await.is_err());
}
