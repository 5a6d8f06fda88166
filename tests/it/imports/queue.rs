//! Queued imports: their limit, fairness between tenants, and reuse of their disk space.

use futures_util::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};

use crate::imports::cancel::cancel;
use crate::imports::{LIST, form, import, send_form, start};
use crate::support::TestApp;
use crate::support::by_hand::ByHand;
use crate::support::eventually;

#[tokio::test]
async fn a_tenant_may_queue_ten_imports_and_the_refusal_comes_in_both_languages() {
    let (app, shop, set) = start().await;
    let running = ByHand::store(&app, &set, "inProgress", &[&["X"]]).await;
    // Eleven at once for ten places.
    let uploads = (0..11).map(|n| set.upload(LIST, "", format!("C{n}")));
    let answers = join_all(uploads).await;
    let (queued, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((queued.len(), refused.len()), (10, 1));
    assert_eq!(refused[0].refusal(), "429 too-many-imports");
    assert_eq!(refused[0].headers["retry-after"], "10");

    let fields = form(&[
        ("type", "coupons"),
        ("couponSetId", &set.id),
        ("file", "code\nA\n"),
    ]);
    for path in ["/v1/imports", "/v1/imports/"] {
        let refused = send_form(&shop, path, fields.clone()).await;
        assert_eq!(refused.refusal(), "400 E0401");
        assert_eq!(refused.str("problem"), "too-many-imports");
    }
    let stored = "select count(*) from imports";
    assert_eq!(app.database.query_value(stored).await, 11);
    // The limit applies to new imports of this tenant: a file that is queued is recognized.
    let waiting = app
        .database
        .query_value("select codes[1] from import_chunks where import_id <> (select id from imports where status = 'inProgress') limit 1")
        .await;
    let again = set
        .upload(LIST, "", waiting.as_str().unwrap().to_owned())
        .await;
    again.expect(200);
    app.shop().await.multiple("another's", &["A"]).await;

    // One place is free again.
    cancel(&shop, queued[0].str("id")).await.expect(200);
    set.upload(LIST, "", "A B").await.expect(201);
    cancel(&shop, running.id).await.expect(200);
}

/// Blocks an import before this chunk until the transaction ends.
async fn hold(
    app: &TestApp,
    import: &ByHand<'_>,
    chunk: i32,
) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut transaction = app.database.owner.begin().await.unwrap();
    let lock = format!(
        "select 1 from import_chunks where import_id = '{}' and chunk = {chunk} for update",
        import.id
    );
    transaction.fetch_one(AssertSqlSafe(lock)).await.unwrap();
    transaction
}

#[tokio::test]
async fn huge_imports_of_one_tenant_do_not_hold_up_a_small_one_of_another() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let names: Vec<[String; 12]> = (0..3)
        .map(|n| std::array::from_fn(|chunk| format!("{n}-{chunk}")))
        .collect();
    let mut huge = Vec::new();
    for (n, codes) in names.iter().enumerate() {
        let set = shop.multiple(&format!("huge {n}"), &[]).await;
        let codes: Vec<[&str; 1]> = codes.iter().map(|code| [code.as_str()]).collect();
        let chunks: Vec<&[&str]> = codes.iter().map(<[&str; 1]>::as_slice).collect();
        // Not claimable until everything is prepared.
        huge.push(ByHand::store(&app, &set, "inProgress", &chunks).await);
    }
    // Each worker is in the middle of a huge import.
    let now = [
        hold(&app, &huge[0], 3).await,
        hold(&app, &huge[1], 3).await,
        hold(&app, &huge[2], 3).await,
    ];
    let mut later = Vec::new();
    for import in &huge {
        later.push(hold(&app, import, 6).await);
    }
    app.database
        .execute("update imports set lease_until = now()")
        .await;
    app.database.wait_for_lock_waiters(2).await;

    let other = app.shop().await.multiple("small", &[]).await;
    let small = other.upload(LIST, "", "A B").await.expect(201);
    assert_eq!(small.str("status"), "queued");
    for transaction in now {
        transaction.rollback().await.unwrap();
    }
    // No worker gets past the sixth chunk of a huge import, so one of them must leave it.
    let result = other.ended(small.str("id")).await;
    assert_eq!(
        (&result["status"], &result["success"]),
        (&json!("finished"), &json!(2))
    );
    let open = "select count(*) from imports where status = 'inProgress' and next_chunk <= 6";
    assert_eq!(app.database.query_value(open).await, 3);
    for transaction in later {
        transaction.rollback().await.unwrap();
    }
    eventually("the huge ones are finished too", async || {
        let query = "select count(*) from imports where status = 'finished'";
        (app.database.query_value(query).await == 4).then_some(())
    })
    .await;
    assert_eq!(
        app.database.query_value("select count(*) from cards").await,
        38
    );
}

#[tokio::test]
async fn tenants_take_turns_where_each_has_a_huge_import_and_a_single_worker_serves() {
    let app = TestApp::start().await;
    let mut imports = Vec::new();
    let names: [String; 8] = std::array::from_fn(|chunk| format!("C{chunk}"));
    for _ in 0..3 {
        let set = app.shop().await.multiple("huge", &[]).await;
        let codes: Vec<[&str; 1]> = names.iter().map(|code| [code.as_str()]).collect();
        let chunks: Vec<&[&str]> = codes.iter().map(<[&str; 1]>::as_slice).collect();
        imports.push(ByHand::store(&app, &set, "inProgress", &chunks).await);
    }
    // One worker is stuck in an import of a fourth tenant.
    let set = app.shop().await.multiple("stuck", &[]).await;
    let stuck = ByHand::store(&app, &set, "inProgress", &[&["A"], &["B"]]).await;
    let block = hold(&app, &stuck, 0).await;
    app.database
        .execute(&format!(
            "update imports set lease_until = now() where id = '{}'",
            stuck.id
        ))
        .await;
    app.database.wait_for_lock_waiters(1).await;
    app.database
        .execute(&format!(
            "update imports set lease_until = now() where id <> '{}'",
            stuck.id
        ))
        .await;
    eventually("the others are finished", async || {
        let query = "select count(*) from imports where status = 'finished'";
        (app.database.query_value(query).await == 3).then_some(())
    })
    .await;
    // Each import got many time slices, instead of one import after the other.
    let query = "select count(*) from imports a, imports b
        where a.status = 'finished' and b.status = 'finished' and a.id <> b.id and a.finished_at < b.started_at";
    assert_eq!(app.database.query_value(query).await, 0);
    let turns = "select min(epoch) > 3 from imports where status = 'finished'";
    assert_eq!(app.database.query_value(turns).await, true);
    block.rollback().await.unwrap();
}

#[tokio::test]
async fn the_space_of_chunks_is_used_again() {
    let (app, _, set) = start().await;
    let size = "select pg_total_relation_size('import_chunks')";
    let file = |round: char| {
        let rows: Vec<String> = (0..100_000)
            .map(|row| format!("{round}-{row:08}\n"))
            .collect();
        rows.concat()
    };
    let mut sizes = Vec::new();
    for round in ['A', 'B', 'C'] {
        import(&set, LIST, "", file(round)).await;
        // In place of autovacuum, which comes at an unknown time, and without truncating the table.
        app.database
            .execute("vacuum (truncate off) import_chunks")
            .await;
        sizes.push(app.database.query_value(size).await.as_i64().unwrap());
    }
    assert!(sizes[2] < sizes[0] * 3 / 2, "{sizes:?}");
    let settings = "select array_agg(option) from pg_class c, unnest(c.reloptions) option
        where c.relname = 'import_chunks'
           or c.oid = (select reltoastrelid from pg_class where relname = 'import_chunks')";
    let settings = app.database.query_value(settings).await.to_string();
    assert_eq!(
        settings.matches("autovacuum_vacuum_scale_factor=0").count(),
        2,
        "{settings}"
    );
}
