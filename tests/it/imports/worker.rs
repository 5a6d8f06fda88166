//! Imports survive failures of their clients, workers and sets, and count every row once.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};

use crate::imports::{LIST, codes, counts, of_file, report, start};
use crate::support::by_hand::ByHand;
use crate::support::shop::CouponSet;
use crate::support::{TestApp, eventually, rows};

/// Number of chunks of this app's imports that wait to be applied.
pub(super) async fn waiting_chunks(app: &TestApp) -> Value {
    app.database
        .query_value("select count(*) from import_chunks")
        .await
}

/// Waits until nothing is left of unpublished imports, and no chunk of any.
pub(super) async fn all_is_cleaned_up(app: &TestApp) {
    eventually("everything is cleaned up", async || {
        let needs_cleanup = "select count(*) from imports where needs_cleanup";
        (app.database.query_value(needs_cleanup).await == 0).then_some(())
    })
    .await;
    assert_eq!(waiting_chunks(app).await, 0);
}

/// Value of `name` in the import of a set with one import.
async fn of_import(app: &TestApp, name: &str) -> Value {
    app.database
        .query_value(&format!("select {name} from imports"))
        .await
}

/// Locks the chunk of this number as soon as it is stored, so that its import blocks in the middle of it.
pub(super) async fn block_chunk(
    app: &TestApp,
    chunk: i32,
) -> sqlx::Transaction<'static, sqlx::Postgres> {
    eventually("the chunk is stored", async || {
        let mut transaction = app.database.owner.begin().await.unwrap();
        let lock = format!("select 1 from import_chunks where chunk = {chunk} for update");
        let locked = transaction
            .fetch_optional(AssertSqlSafe(lock))
            .await
            .unwrap();
        locked.map(|_| transaction)
    })
    .await
}

/// Waits until a statement waits for a lock of another transaction.
pub(super) async fn something_is_blocked(app: &TestApp) {
    let query = "select count(*) > 0 from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    eventually("something waits for a lock", async || {
        (app.database.query_value(query).await == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_can_be_assigned_before_an_import_publishes_and_then_everything_at_once() {
    let (app, shop, set) = start().await;
    let import = ByHand::store(&app, &set, "inProgress", &[&["A", "B"], &["C", "A", "D"]]).await;
    let url = format!("/v1/imports/{}", import.id);
    assert!(import.begin(1).await);
    for (chunk, processed, percent, success) in [(0, 2, 40, 2), (1, 5, 99, 4)] {
        assert_eq!(import.apply(1, chunk).await, Ok(true));
        let result = shop.client.get(&url).await.expect(200).body;
        assert_eq!(result["status"], "inProgress");
        assert_eq!(of_file(&result), [processed, percent]);
        assert_eq!(result["success"], success);
        assert_eq!(set.counters().await, (json!(0), 0, json!(0)));
        assert_eq!(
            set.assign("ann").await.refusal(),
            "409 coupon-set-exhausted"
        );
    }
    assert_eq!(import.publish(1).await, Ok(true));
    let result = shop.client.get(&url).await.expect(200).body;
    assert_eq!(
        (&result["status"], counts(&result)),
        (&json!("finished"), [5, 4, 1, 1])
    );
    assert_eq!(report(&set, &result).await, ["4|A|duplicateInFile|1"]);
    assert_eq!(set.counters().await, (json!(4), 0, json!(4)));
    assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), "A");
}

#[tokio::test]
async fn a_worker_that_was_thought_dead_is_turned_away_and_changes_nothing() {
    let (app, _, set) = start().await;
    let import = ByHand::store(&app, &set, "inProgress", &[&["A"], &["B"]]).await;
    assert!(import.begin(1).await);
    assert_eq!(import.apply(1, 0).await, Ok(true));
    app.database.execute("update imports set epoch = 2").await;
    let before = import.everything().await;
    for epoch in [1, 3] {
        assert!(!import.begin(epoch).await);
        assert_eq!(import.apply(epoch, 1).await, Ok(false));
        assert_eq!(import.publish(epoch).await, Ok(false));
    }
    assert_eq!(import.everything().await, before);
    assert!(import.begin(2).await);
    assert_eq!(import.apply(2, 1).await, Ok(true));
    // The same at the very end.
    let before = import.everything().await;
    assert_eq!(import.publish(1).await, Ok(false));
    assert_eq!(import.everything().await, before);
    assert_eq!(import.publish(2).await, Ok(true));
    assert_eq!(codes(&app).await, ["A", "B"]);
}

#[tokio::test]
async fn a_step_whose_commit_was_not_heard_of_is_taken_once_when_it_is_repeated() {
    let (app, _, set) = start().await;
    let import = ByHand::store(&app, &set, "inProgress", &[&["A", "A"], &["B"]]).await;
    let twice = async |step: &str, arguments: &str| {
        assert_eq!(import.call(step, arguments).await, Ok(true), "{step}");
        let once = import.everything().await;
        assert_eq!(import.call(step, arguments).await, Ok(true), "{step}");
        assert_eq!(import.everything().await, once, "{step}");
    };
    twice("begin_import", "1").await;
    twice("apply_import_chunk", "1, 0").await;
    twice("apply_import_chunk", "1, 1").await;
    twice("publish_import", "1").await;
    assert_eq!(set.counters().await, (json!(2), 0, json!(2)));
}

#[tokio::test]
async fn chunks_are_applied_in_order_and_all_of_them_before_the_import_publishes() {
    let (app, _, set) = start().await;
    let import = ByHand::store(&app, &set, "inProgress", &[&["A"], &["B"]]).await;
    assert!(import.begin(1).await);
    let before = import.everything().await;
    assert!(
        import
            .apply(1, 1)
            .await
            .unwrap_err()
            .contains("out of order")
    );
    assert!(
        import
            .publish(1)
            .await
            .unwrap_err()
            .contains("chunks missing")
    );
    assert_eq!(import.everything().await, before);
}

#[tokio::test]
async fn an_import_whose_worker_has_gone_is_resumed_where_it_stood() {
    let (app, _, set) = start().await;
    let import = ByHand::store(
        &app,
        &set,
        "inProgress",
        &[&["A", "B"], &["B", "C"], &["D"]],
    )
    .await;
    assert!(import.begin(1).await);
    assert_eq!(import.apply(1, 0).await, Ok(true));
    app.database
        .execute("update imports set lease_until = now()")
        .await;
    let result = set.ended(&import.id.to_string()).await;
    assert_eq!(
        (&result["status"], counts(&result)),
        (&json!("finished"), [5, 4, 1, 1])
    );
    assert_eq!(report(&set, &result).await, ["3|B|duplicateInFile|2"]);
    assert_eq!(of_import(&app, "epoch").await, 2);
    assert_eq!(codes(&app).await.concat(), "ABCD");
    assert_eq!(waiting_chunks(&app).await, 0);
}

#[tokio::test]
async fn two_imports_of_one_set_never_run_at_once() {
    let (app, _, set) = start().await;
    // Another replica's import, not committed yet: this replica sees the set as free.
    let mut other = app.database.owner.begin().await.unwrap();
    let (id, sql) = rows::import(&set, "inProgress", &[&["A", "B"]]);
    other.execute(AssertSqlSafe(sql)).await.unwrap();
    let queued = set.upload(LIST, "", "B C").await.expect(201);
    something_is_blocked(&app).await;
    other.commit().await.unwrap();

    let running = ByHand { app: &app, id };
    assert!(running.begin(1).await);
    assert_eq!(running.apply(1, 0).await, Ok(true));
    let waiting = format!(
        "select status || epoch from imports where id = '{}'",
        queued.str("id")
    );
    assert_eq!(app.database.query_value(&waiting).await, "queued0");
    let force = format!(
        "update imports set status = 'inProgress' where id = '{}'",
        queued.str("id")
    );
    let forced = app
        .database
        .owner
        .execute(AssertSqlSafe(force))
        .await
        .unwrap_err();
    assert_eq!(
        forced.as_database_error().unwrap().constraint(),
        Some("imports_running_key")
    );

    assert_eq!(running.publish(1).await, Ok(true));
    let result = set.ended(queued.str("id")).await;
    assert_eq!(
        (&result["status"], counts(&result)),
        (&json!("finished"), [2, 1, 1, 1])
    );
    assert_eq!(report(&set, &result).await, ["1|B|duplicateInSet|"]);
    assert_eq!(codes(&app).await.concat(), "ABC");
}

#[tokio::test]
async fn two_replicas_share_many_imports_and_do_each_exactly_once() {
    let app = TestApp::start().await;
    let replica = app.replica();
    // Two tenants, because one may not queue this many imports.
    let shops = [app.shop().await, app.shop().await];
    let mut sets = Vec::new();
    for (shop, name) in [(0, "a"), (0, "b"), (1, "a"), (1, "b")] {
        let shop = &shops[shop];
        let set = shop.multiple(name, &[]).await;
        sets.push((
            CouponSet {
                client: shop.at(&replica).client,
                ..set.clone()
            },
            set,
        ));
    }
    // Each file has 100 codes of its own and 100 that are in all files of its set.
    let uploads = sets
        .iter()
        .flat_map(|pair| (0..4).map(move |file| (pair, file)));
    let uploads = uploads.map(async |((there, here), file)| {
        let set = if file % 2 == 0 { here } else { there };
        let codes = (0..100).flat_map(|n| [format!("{file}-{n}"), format!("ALL-{n}")]);
        let list = codes.collect::<Vec<_>>().join(" ");
        let import = set.upload(LIST, "", list).await.expect(201);
        set.ended(import.str("id")).await
    });
    let ended = join_all(uploads).await;
    for import in &ended {
        let [total, success, errors, duplicates] = counts(import);
        assert_eq!(
            (&import["status"], total, errors),
            (&json!("finished"), 200, duplicates)
        );
        assert!(success == 200 || success == 100, "{import}");
    }
    for (_, set) in &sets {
        assert_eq!(set.counters().await, (json!(500), 0, json!(500)));
    }
    let ids: HashSet<&str> = ended
        .iter()
        .map(|import| import["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 16);
    let query = "select max(epoch) as claims, (select count(*) from lots where state = 'open') as lots,
        (select count(*) from import_errors where reason <> 'duplicateInSet') as others from imports";
    let expected = json!([{"claims": 1, "lots": 16, "others": 0}]);
    assert_eq!(app.database.query_rows(query).await, expected);
    let query = "select a.id from imports a join imports b using (tenant_id, set_no)
        where a.id < b.id and a.started_at < b.finished_at and b.started_at < a.finished_at";
    assert_eq!(
        app.database.query_rows(query).await,
        json!([]),
        "these ran while another of their set did"
    );
}

#[tokio::test]
async fn deleting_a_set_cancels_what_is_queued_and_running_and_publishes_nothing() {
    let (app, shop, set) = start().await;
    let running = ByHand::store(&app, &set, "inProgress", &[&["A"], &["B"]]).await;
    let queued = set.upload(LIST, "", "C D").await.expect(201);
    assert!(running.begin(1).await);
    assert_eq!(running.apply(1, 0).await, Ok(true));
    set.delete().await.expect(204);

    for id in [running.id.to_string().as_str(), queued.str("id")] {
        let result = shop
            .client
            .get(&format!("/v1/imports/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(result["status"], "cancelled");
        assert!(
            result["cancelledAt"].is_string() && result["failure"].is_string(),
            "{result}"
        );
        assert_eq!(result["finishedAt"], Value::Null);
    }
    all_is_cleaned_up(&app).await;
    let before = running.everything().await;
    assert!(!running.begin(1).await);
    assert_eq!(running.apply(1, 1).await, Ok(false));
    assert_eq!(running.publish(1).await, Ok(false));
    assert_eq!(running.everything().await, before);
    let lots = app
        .database
        .query_rows("select state, size from lots")
        .await;
    assert_eq!(lots, json!([{"state": "closed", "size": 0}]));
    assert_eq!(codes(&app).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_set_that_is_deleted_in_the_middle_of_a_chunk_gets_nothing_of_the_import() {
    let (app, _, set) = start().await;
    let chunks: &[&[&str]] = &[
        &["A"],
        &["B"],
        &["C"],
        &["D"],
        &["E"],
        &["F"],
        &["G"],
        &["H"],
    ];
    let import = ByHand::store(&app, &set, "inProgress", chunks).await;
    let block = block_chunk(&app, 1).await;
    app.database
        .execute("update imports set lease_until = now()")
        .await;
    something_is_blocked(&app).await;
    let unblock = async {
        let query = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        eventually("the worker and the deletion wait", async || {
            (app.database.query_value(query).await == 2).then_some(())
        })
        .await;
        block.rollback().await.unwrap();
    };
    let (deleted, ()) = tokio::join!(set.delete(), unblock);
    deleted.expect(204);
    // Another chunk may or may not be applied before the deletion; nothing of it counts.
    assert_eq!(
        set.ended(&import.id.to_string()).await["status"],
        "cancelled"
    );
    all_is_cleaned_up(&app).await;
    let query = "select l.state, l.size, i.status from lots l, imports i";
    let expected = json!([{"state": "closed", "size": 0, "status": "cancelled"}]);
    assert_eq!(app.database.query_rows(query).await, expected);
    assert_eq!(codes(&app).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_import_that_came_a_moment_after_its_set_was_deleted_is_cancelled() {
    let (app, _, set) = start().await;
    set.delete().await.expect(204);
    let import = ByHand::store(&app, &set, "queued", &[&["A"]]).await;
    let result = set.ended(&import.id.to_string()).await;
    assert_eq!(
        (&result["status"], &result["success"]),
        (&json!("cancelled"), &json!(0))
    );
    assert_eq!(
        app.database.query_rows("select * from lots").await,
        json!([])
    );
    all_is_cleaned_up(&app).await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_chunk_costs_nothing() {
    let (app, _, set) = start().await;
    let import = ByHand::store(&app, &set, "inProgress", &[&["A"], &["B", "A"], &["C"]]).await;
    let block = block_chunk(&app, 1).await;
    app.database
        .execute("update imports set lease_until = now()")
        .await;
    something_is_blocked(&app).await;
    let query = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    assert_eq!(app.database.query_value(query).await, 1);
    block.rollback().await.unwrap();
    let result = set.ended(&import.id.to_string()).await;
    assert_eq!(
        (&result["status"], counts(&result)),
        (&json!("finished"), [4, 3, 1, 1])
    );
    assert_eq!(report(&set, &result).await, ["3|A|duplicateInFile|1"]);
    assert_eq!(of_import(&app, "epoch").await, 3);
    assert_eq!(codes(&app).await.concat(), "ABC");
    let lots = app
        .database
        .query_rows("select lot_no, size, state from lots")
        .await;
    assert_eq!(lots, json!([{"lot_no": 1, "size": 3, "state": "open"}]));
}
