//! Deleting a tenant: by the API, by the command, in portions, and after an interruption.

use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::Connection;

use super::{Terminal, outcome};
use crate::properties::tenancy::TwoTenants;
use crate::support::database::TestDatabase;
use crate::support::{TestApp, eventually, sql};

/// The tables with a `tenant_id`, from the catalog.
const TABLES: &str = "select c.relname::text
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
   where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
   order by 1";

/// The number of rows of a tenant and their checksum, for each table.
async fn contents(database: &TestDatabase, tenant: i32) -> Vec<(String, i64, Option<String>)> {
    let mut owner = database.owner.acquire().await.unwrap();
    let mut contents = Vec::new();
    for table in sql::column::<String>(&mut owner, TABLES).await {
        let rows = format!("from {table} t where tenant_id = {tenant}");
        let count = sql::value(&mut owner, format!("select count(*) {rows}")).await;
        let sum = format!("select md5(string_agg(t::text, E'\\n' order by t::text)) {rows}");
        let sum = sql::value(&mut owner, sum).await;
        contents.push((table, count, sum));
    }
    contents
}

/// The tables that have a row of the tenant.
async fn tables_with_rows(database: &TestDatabase, tenant: i32) -> Vec<String> {
    let contents = contents(database, tenant).await.into_iter();
    let with_rows = contents.filter(|(_, count, _)| *count > 0);
    with_rows.map(|(table, ..)| table).collect()
}

/// Requests the deletion of a tenant so long ago that no request can be under way.
async fn request_deletion(database: &TestDatabase, tenant: i32) {
    let request = format!(
        "update tenants set state = 'suspended', deletion_requested_at = now() - interval '1 minute' where tenant_id = {tenant}"
    );
    database.execute(&request).await;
}

async fn number(database: &TestDatabase, id: &str) -> i32 {
    let number = format!("select tenant_id from tenants where id = '{id}'");
    let number = database.query_value(&number).await;
    number.as_i64().unwrap().try_into().unwrap()
}

#[tokio::test]
async fn a_deleted_tenant_leaves_no_row_in_any_table_and_another_keeps_all_of_its_rows() {
    let tenants = TwoTenants::open().await;
    // Nothing else changes the rows from here on.
    tenants.app.app.stop().await;
    let database = tenants.app.database.shared();
    let all: Vec<String> = contents(&database, tenants.one)
        .await
        .into_iter()
        .map(|(table, ..)| table)
        .collect();
    assert_eq!(tables_with_rows(&database, tenants.one).await, all);
    let before = contents(&database, tenants.two).await;

    let terminal = Terminal::on(database.shared());
    let id = &tenants.shops[0].tenant_id;
    let wrong = terminal.run(&["tenant", "delete", id, "--yes-i-mean", "Another shop"]);
    assert!(
        wrong.refusal().contains("another name: A shop"),
        "{}",
        wrong.complaint
    );
    assert_eq!(tables_with_rows(&database, tenants.one).await, all);

    request_deletion(&database, tenants.one).await;
    let deleted = terminal.run(&["tenant", "delete", id, "--yes-i-mean", "A shop", "--json"]);
    let deleted = deleted.json();
    assert_eq!(
        (&deleted["id"], &deleted["name"]),
        (&json!(id), &json!("A shop"))
    );
    assert_eq!(
        tables_with_rows(&database, tenants.one).await,
        Vec::<String>::new()
    );
    assert_eq!(contents(&database, tenants.two).await, before);
}

#[tokio::test]
async fn a_tenant_that_is_being_deleted_is_refused_at_once_and_later_does_not_exist() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    shop.multiple("birthday", &["A"]).await;
    let tenant = number(&app.database, &shop.tenant_id).await;
    let uri = format!("/admin/v1/tenants/{}", shop.tenant_id);
    for _ in 0..2 {
        let answer = app.operator().delete(&uri).await.expect(202);
        assert_eq!(answer.body["state"], "deleting");
    }
    let refused = shop.client.get("/v1/coupon-sets").await;
    assert_eq!(refused.refusal(), "403 tenant-suspended");
    for operation in ["resume", "suspend"] {
        let answer = app
            .operator()
            .post(&format!("{uri}/{operation}"), Value::Null)
            .await;
        assert_eq!(answer.refusal(), "409 wrong-state");
        assert_eq!(answer.body["state"], "deleting");
    }
    let listed = app.operator().get("/admin/v1/tenants").await;
    assert_eq!(listed.results()[0]["state"], "deleting");

    // The tenant waits for requests that may be under way.
    eventually("all rows are deleted", async || {
        let left = tables_with_rows(&app.database, tenant).await;
        (left == ["tenants"]).then_some(())
    })
    .await;
    request_deletion(&app.database, tenant).await;
    eventually("the tenant is deleted", async || {
        (app.operator().delete(&uri).await.status == 404).then_some(())
    })
    .await;
}

/// A terminal, and a tenant with many contacts whose deletion stops at one of them.
async fn many_contacts() -> (Terminal, String, i32) {
    let terminal = Terminal::open().await;
    let tenant = terminal.run(&["tenant", "create", "Shop", "--json"]).json();
    let id = tenant["id"].as_str().unwrap().to_owned();
    let tenant = number(&terminal.database, &id).await;
    let contacts = format!(
        "insert into contacts (tenant_id, contact_id)
         select {tenant}, lpad(n::text, 6, '0') from generate_series(1, 20000) n"
    );
    terminal.database.execute(&contacts).await;
    request_deletion(&terminal.database, tenant).await;
    (terminal, id, tenant)
}

#[tokio::test]
async fn a_deletion_that_was_killed_in_the_middle_is_resumed() {
    let (terminal, id, tenant) = many_contacts().await;
    let arguments = ["tenant", "delete", &id, "--yes-i-mean", "Shop"];
    let mut lock = terminal.database.owner.begin().await.unwrap();
    let row = "select 1 from contacts where contact_id = '010000' for update";
    sql::run(&mut lock, row).await.unwrap();
    let mut killed = terminal
        .command(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    terminal.database.wait_for_lock_waiters(1).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    lock.rollback().await.unwrap();
    let left = format!("select count(*) from contacts where tenant_id = {tenant}");
    let left = terminal.database.query_value(&left).await;
    let left = left.as_i64().unwrap();
    assert!(0 < left && left < 20_000, "{left} are left");

    let resumed = outcome(terminal.command(&arguments));
    assert!(resumed.success, "{}", resumed.complaint);
    assert_eq!(
        tables_with_rows(&terminal.database, tenant).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn one_session_at_a_time_deletes_a_bounded_number_of_rows_and_no_other_waits_for_it() {
    let (terminal, _, tenant) = many_contacts().await;
    let portion = format!(
        "select next_table::bigint * 100000 + deleted from delete_tenant_rows({tenant}, 1, 700)"
    );
    let mut first = terminal.database.owner.acquire().await.unwrap();
    let mut first = first.begin().await.unwrap();
    let of_contacts = sql::value::<i64>(&mut first, portion.clone()).await;
    assert_eq!(of_contacts % 100_000, 700);

    let mut second = terminal.database.owner.acquire().await.unwrap();
    sql::run(&mut second, "set lock_timeout = '1ms'")
        .await
        .unwrap();
    assert_eq!(
        sql::value::<i64>(&mut second, portion.clone()).await,
        100_000
    );
    first.commit().await.unwrap();
    assert_eq!(sql::value::<i64>(&mut second, portion).await, of_contacts);
    let left = format!("select count(*) from contacts where tenant_id = {tenant}");
    assert_eq!(terminal.database.query_value(&left).await, 20_000 - 1_400);
}

#[tokio::test]
async fn a_row_that_came_in_late_is_deleted_before_the_tenant_is() {
    let terminal = Terminal::open().await;
    let tenant = terminal.run(&["tenant", "create", "Shop", "--json"]).json();
    let tenant = number(&terminal.database, tenant["id"].as_str().unwrap()).await;
    let delete = |seconds: i32| {
        let delete = format!("select delete_tenant({tenant}, {seconds})");
        let database = terminal.database.shared();
        async move { database.query_value(&delete).await }
    };
    assert_eq!(delete(0).await, false, "nobody has requested it");
    request_deletion(&terminal.database, tenant).await;
    assert_eq!(delete(90).await, false, "requests may be under way");
    let late = format!("insert into contacts (tenant_id, contact_id) values ({tenant}, 'ann')");
    terminal.database.execute(&late).await;
    assert_eq!(delete(30).await, false);
    assert_eq!(
        tables_with_rows(&terminal.database, tenant).await,
        ["tenants"]
    );
    assert_eq!(delete(30).await, true);
    assert_eq!(delete(30).await, true, "there is no such tenant");
}

#[tokio::test]
async fn rows_that_are_kept_cannot_be_deleted_before_their_tenant_is_being_deleted() {
    let tenants = TwoTenants::open().await;
    tenants.app.app.stop().await;
    let restricted = "select tablename::text from pg_policies where permissive = 'RESTRICTIVE' and cmd = 'DELETE'";
    let mut owner = tenants.app.database.owner.acquire().await.unwrap();
    let restricted: Vec<String> = sql::column(&mut owner, restricted).await;
    assert_eq!(restricted.len(), 12);
    let mut connection = tenants.as_the_first().await;
    for table in restricted {
        let rows = tenants.rows_of(&table, tenants.one).await;
        assert!(rows > 0, "{table}");
        sql::run(&mut connection, format!("delete from {table}"))
            .await
            .unwrap();
        assert_eq!(tenants.rows_of(&table, tenants.one).await, rows, "{table}");
    }
    let cards = sql::run(&mut connection, "delete from cards").await;
    assert!(cards.is_err());
}
