//! Counts that must not grow: what one assignment costs the database, whatever the size of the set, however long somebody
//! holds a snapshot, and whether or not the tables were analyzed.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::shop::CouponSet;
use crate::support::{TestApp, sql};

/// Assignments of a call.
const BATCH: i64 = 64;
/// Calls that are measured after those that warm up.
const CALLS: i64 = 10;

/// A session as the service's tasks have it.
async fn task(app: &TestApp) -> PgConnection {
    let mut connection = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(&mut connection, "set role couponry_app; set jit = off")
        .await
        .unwrap();
    connection
}

/// Fills a set past the API: `cards` codes in one lot, of which `dealt` are with contacts.
async fn fill(app: &TestApp, set: &CouponSet, cards: i64, dealt: i64) {
    let set_no = app
        .database
        .ask_one(&format!(
            "select set_no from coupon_sets where id = '{}'",
            set.id
        ))
        .await;
    app.database
        .execute(&format!(
            "insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
             values (1, {set_no}, 1, gen_random_uuid(), {cards}, 'open');
             insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
             select 1, {set_no}, 1, n, n, '{set_no}-' || lpad(n::text, 9, '0')
               from generate_series(1, {cards}) n;
             insert into contacts (tenant_id, contact_id)
             select 1, '{set_no}-' || lpad(n::text, 9, '0')
               from generate_series(1, {dealt}) n;
             insert into assignments (number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no,
                                      lot_no, ordinal, nth, workflow_id)
             select n, c.contact_no, now(), md5('{set_no}-' || n)::uuid, 1, {set_no}, {set_no}, 1, n, 1, 'w'
               from generate_series(1, {dealt}) n
               join contacts c on c.tenant_id = 1 and c.contact_id = '{set_no}-' || lpad(n::text, 9, '0')"
        ))
        .await;
}

/// Buffers that one assignment touches, of a batch of new keys and new contacts.
async fn buffers(task: &mut PgConnection, set: &CouponSet, name: &str) -> f64 {
    let mut touched = 0;
    for call in 0..CALLS + 2 {
        let query = format!(
            "explain (analyze, buffers, format json)
             select * from assign_batch(1, '{}', null, false, false,
               (select array_agg(md5('{name}-{call}-' || n)::uuid) from generate_series(1, {BATCH}) n),
               (select array_agg('{name}-{call}-' || n) from generate_series(1, {BATCH}) n),
               array_fill('w'::text, array[{BATCH}]), array_fill(null::text, array[{BATCH}]),
               array_fill(null::text, array[{BATCH}]), null,
               array_fill('{}'::uuid, array[{BATCH}]))",
            set.id, set.id
        );
        let plan: Value = sql::value(&mut *task, query).await;
        let scan = &plan[0]["Plan"];
        assert_eq!(scan["Actual Rows"], BATCH);
        // The first calls load catalogs and make plans.
        if call >= 2 {
            touched += scan["Shared Hit Blocks"].as_i64().unwrap()
                + scan["Shared Read Blocks"].as_i64().unwrap();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = touched as f64 / (BATCH * CALLS) as f64;
    each
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assignment_touches_as_few_buffers_of_5_million_codes_as_of_10_thousand() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let small = shop.multiple("small", &[]).await;
    let large = shop.multiple("large", &[]).await;
    fill(&app, &small, 10_000, 1_000).await;

    // This session makes its plans while the tables are small, and keeps them to the end.
    let mut old = task(&app).await;
    let of_small = buffers(&mut old, &small, "small").await;
    assert!(of_small < 60.0, "an assignment touches {of_small} buffers");
    let flat = |when: &str, touched: f64| {
        println!("{when}: {touched:.1} buffers an assignment; {of_small:.1} of a small set");
        assert!(
            touched < of_small * 1.25,
            "{when}: {touched} buffers an assignment, {of_small} of a small set"
        );
    };

    fill(&app, &large, 5_000_000, 500_000).await;
    flat("by old plans", buffers(&mut old, &large, "old").await);
    let mut new = task(&app).await;
    flat("never analyzed", buffers(&mut new, &large, "new").await);

    // A backup, a report: a snapshot that is older than all that follows.
    let mut reader = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(
        &mut reader,
        "begin isolation level repeatable read; select 1",
    )
    .await
    .unwrap();
    for round in 0..8 {
        let name = format!("held-{round}");
        flat(
            "with an open snapshot",
            buffers(&mut new, &large, &name).await,
        );
    }

    app.database.execute("analyze").await;
    flat(
        "analyzed, by old plans",
        buffers(&mut new, &large, "analyzed").await,
    );
    let mut newest = task(&app).await;
    flat("analyzed", buffers(&mut newest, &large, "newest").await);

    // An open snapshot does not make counters and ends of ledgers longer either.
    let counters = large.counters().await;
    assert_eq!(counters.0, json!(5_000_000));
}
