//! Webhooks: the cost of a lease depends on what it sends, not on earlier deliveries or on planner statistics.

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::sync::Mutex;

use crate::support::{TestApp, eventually, sql};

/// Number of delivered messages of an endpoint, and of those that are due.
const DELIVERED: i64 = 50_000;
const DUE: i64 = 100;

/// Shared buffers touched by a call that returns `rows` rows.
async fn buffers(task: &mut PgConnection, call: &str, rows: i64) -> i64 {
    let explained = format!("explain (analyze, buffers, format json) select * from {call}");
    let plan: Value = sql::value(task, explained).await;
    let scan = &plan[0]["Plan"];
    assert_eq!(sql::actual_rows(scan), rows, "{call}");
    scan["Shared Hit Blocks"].as_i64().unwrap() + scan["Shared Read Blocks"].as_i64().unwrap()
}

#[tokio::test]
async fn a_lease_touches_few_buffers_by_old_statistics_by_none_and_after_an_outage_of_the_endpoint()
{
    let app = TestApp::start().await;
    let webhook = app.shop().await.webhook("https://example.com/").await;
    webhook
        .patch(serde_json::json!({"state": "disabled"}))
        .await
        .expect(200);
    let mut owner = app.database.owner.acquire().await.unwrap();
    // Planned as if there were almost none; then all of them are due and are delivered at once.
    webhook.write(&app.database, 1, 3).await;
    sql::run(
        &mut owner,
        "alter table webhook_deliveries set (autovacuum_enabled = off)",
    )
    .await
    .unwrap();
    sql::run(&mut owner, "analyze webhook_deliveries")
        .await
        .unwrap();
    webhook.write(&app.database, 4, DELIVERED).await;
    let delivered = "update webhook_deliveries
                        set state = 'delivered', attempts = 1, next_attempt_at = null, ended_at = now()";
    sql::run(&mut owner, delivered).await.unwrap();
    webhook.write(&app.database, 1, DUE).await;

    let mut task = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    let role = "set role couponry_app; set jit = off; set couponry.tenant_id = '1'";
    sql::run(&mut task, role).await.unwrap();
    let task = Mutex::new(task);
    let due = format!("due_deliveries(1, 1, {DUE})");
    let end = "end_webhook_lease(
        1, 1, 0,
        (select array_agg(delivery_no) from due_deliveries(1, 1, 100)),
        array_fill('waiting'::text, array[100]), array_fill(60::double precision, array[100]),
        array_fill('{}'::jsonb, array[100]), false, 432000)";
    let forget = "delete from pg_statistic where starelid = 'webhook_deliveries'::regclass;
                  update pg_class set reltuples = -1 where relname like 'webhook\\_deliveries%'";
    for statistics in ["select 1", forget, "vacuum analyze webhook_deliveries"] {
        for statement in statistics.split(';') {
            sql::run(&mut owner, statement).await.unwrap();
        }
        sql::run(&mut *task.lock().await, "discard plans")
            .await
            .unwrap();
        // The first polls clean up after delivered rows, as soon as no other transaction may see these.
        let found = eventually("a poll is cheap", async || {
            let found = buffers(&mut *task.lock().await, &due, DUE).await;
            (found < 10 * DUE).then_some(found)
        })
        .await;
        let mut task = task.lock().await;
        let mut turn = task.begin().await.unwrap();
        let recorded = buffers(&mut turn, end, 1).await;
        turn.rollback().await.unwrap();
        println!("{statistics}: {found} buffers to find {DUE}, {recorded} to record them");
        assert!(recorded < 60 * DUE, "{statistics}: {recorded} buffers");
    }
}

/// The statement of the list, as the service prepares it.
fn list() -> &'static str {
    let source = include_str!("../../../src/webhooks/deliveries.rs");
    let source = source.split("pub(super) async fn list(").nth(1).unwrap();
    let begin = source.split("r#\"").nth(1).unwrap();
    begin.split("\"#").next().unwrap()
}

#[tokio::test]
async fn a_list_of_few_in_one_state_reads_little_of_the_many_in_another() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut webhooks = Vec::new();
    for _ in 0..2 {
        let webhook = shop.webhook("https://example.com/").await;
        let disabled = serde_json::json!({"state": "disabled"});
        webhook.patch(disabled).await.expect(200);
        webhook.write(&app.database, 1, 30_000).await;
        webhooks.push(webhook);
    }
    // The first has few failed deliveries, the second few pending ones, both from before all others.
    app.database
        .execute(
            "update webhook_deliveries
                set state = 'failed', next_attempt_at = null, ended_at = now(), attempts = 12
              where ((payload->>'n')::integer < 10) = (webhook_no = 1);
             update webhook_deliveries
                set occurred_at = now() - interval '1 day'
              where (payload->>'n')::integer < 10",
        )
        .await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    // The first leaves nothing dead in the indexes, and gives the planner almost no statistics.
    for statistics in ["vacuum", "vacuum analyze"] {
        let statement = format!("{statistics} webhook_deliveries");
        sql::run(&mut owner, statement).await.unwrap();
        let mut reader = PgConnection::connect_with(&app.database.options)
            .await
            .unwrap();
        for statement in [
            "set role couponry_app",
            "set jit = off",
            "set plan_cache_mode = force_custom_plan",
            "set couponry.tenant_id = '1'",
            &format!(
                "prepare list (integer, integer, text, text, timestamptz, timestamptz, timestamptz, bigint, boolean, bigint)
                 as {}",
                list()
            ),
        ] {
            sql::run(&mut reader, statement).await.unwrap();
        }
        for (webhook, state) in [(1, "failed"), (2, "waiting")] {
            for (after, back) in [("null", false), ("now() - interval '2 days'", true)] {
                let explained = format!(
                    "explain (analyze, buffers, format json)
                     execute list (1, {webhook}, '{state}', null, null, null, {after}, 0, {back}, 101)"
                );
                let plan: Value = sql::value(&mut reader, explained).await;
                let scan = &plan[0]["Plan"];
                assert_eq!(sql::actual_rows(scan), 9, "{scan}");
                let blocks = |name: &str| scan[name].as_i64().unwrap();
                let read = blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
                assert!(read < 100, "{state} after {statistics}: {read} buffers");
            }
        }
    }
}
