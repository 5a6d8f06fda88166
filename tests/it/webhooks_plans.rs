//! Webhooks: a turn costs what it sends, whatever was sent before and whatever the planner knows.

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::sync::Mutex;

use crate::support::{TestApp, eventually, sql};

/// Deliveries that an endpoint has behind it, and those that a turn is about.
const DONE: i64 = 50_000;
const TURN: i64 = 100;

/// Buffers that a call touches which answers so many rows.
async fn buffers(task: &mut PgConnection, call: &str, rows: i64) -> i64 {
    let explained = format!("explain (analyze, buffers, format json) select * from {call}");
    let plan: Value = sql::value(task, explained).await;
    let scan = &plan[0]["Plan"];
    assert_eq!(scan["Actual Rows"], rows, "{call}");
    scan["Shared Hit Blocks"].as_i64().unwrap() + scan["Shared Read Blocks"].as_i64().unwrap()
}

#[tokio::test]
async fn a_turn_touches_few_buffers_by_old_statistics_by_none_and_after_an_outage_of_the_endpoint()
{
    let app = TestApp::start().await;
    let webhook = app.shop().await.webhook("https://example.com/").await;
    webhook
        .patch(serde_json::json!({"state": "disabled"}))
        .await
        .expect(200);
    let mut owner = app.database.owner.acquire().await.unwrap();
    // As if there were next to none, and then all of them wait and are delivered at once.
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
    webhook.write(&app.database, 4, DONE).await;
    let delivered = "update webhook_deliveries
                        set state = 'delivered', attempts = 1, next_attempt_at = null, ended_at = now()";
    sql::run(&mut owner, delivered).await.unwrap();
    webhook.write(&app.database, 1, TURN).await;

    let mut task = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    let role = "set role couponry_app; set jit = off; set couponry.tenant_id = '1'";
    sql::run(&mut task, role).await.unwrap();
    let task = Mutex::new(task);
    let due = format!("due_deliveries(1, 1, {TURN})");
    let end = "end_webhook_turn(
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
        // The first looks clean up after those that were delivered, as soon as nobody else may see these.
        let found = eventually("a look is cheap", async || {
            let found = buffers(&mut *task.lock().await, &due, TURN).await;
            (found < 10 * TURN).then_some(found)
        })
        .await;
        let mut task = task.lock().await;
        let mut turn = task.begin().await.unwrap();
        let noted = buffers(&mut turn, end, 1).await;
        turn.rollback().await.unwrap();
        println!("{statistics}: {found} buffers to find {TURN}, {noted} to note them");
        assert!(noted < 60 * TURN, "{statistics}: {noted} buffers");
    }
}
