//! Cancelling and deleting imports: none of their codes is ever assigned, and none is lost.

use axum::http::Method;
use serde_json::{Value, json};

use crate::imports::worker::{all_is_cleaned_up, block_chunk, something_is_blocked};
use crate::imports::{LIST, codes, counts, import, of_file, report, start};
use crate::support::by_hand::ByHand;
use crate::support::client::Answer;
use crate::support::pages::strings;
use crate::support::shop::{CouponSet, Shop};
use crate::support::sql;
use crate::support::{TestApp, eventually};

/// Cancels an import.
pub async fn cancel(shop: &Shop, import: impl std::fmt::Display) -> Answer {
    let uri = format!("/v1/imports/{import}/cancel");
    shop.client.send(Method::POST, &uri, &[], "").await
}

/// Rows of imports and decks, by table.
async fn rows(app: &TestApp) -> Value {
    let query = "select (select count(*) from imports) as imports, (select count(*) from import_chunks) as chunks,
        (select count(*) from import_errors) as errors, (select count(*) from lots) as lots,
        (select count(*) from cards) as cards";
    app.database.query_rows(query).await[0].clone()
}

/// Fails unless no code of the import can be assigned and its counts say so.
async fn check_nothing_was_imported(set: &CouponSet, result: &Value) {
    let [total, success, errors, _] = counts(result);
    assert_eq!((total, success), (errors, 0), "{result}");
    assert_eq!(set.counters().await, (json!(0), 0, json!(0)));
    let refusal = set.assign("ann").await.refusal();
    assert_eq!(refusal, "409 coupon-set-exhausted");
}

#[tokio::test]
async fn a_running_import_is_cancelled_and_none_of_its_codes_come_in() {
    let (app, shop, set) = start().await;
    let chunks: &[&[&str]] = &[&["A", "B", "A"], &["C"]];
    let running = ByHand::store(&app, &set, "inProgress", chunks).await;
    assert!(running.begin(1).await);
    assert_eq!(running.apply(1, 0).await, Ok(true));
    let result = cancel(&shop, running.id).await.expect(200).body;
    assert_eq!(result["status"], "cancelled");
    assert!(
        result["cancelledAt"].is_string() && result["failure"].is_string(),
        "{result}"
    );
    assert_eq!(result["finishedAt"], Value::Null);
    assert_eq!(counts(&result), [1, 0, 1, 1]);
    assert_eq!(of_file(&result), [3, 75]);
    assert_eq!(result["progress"]["remainingSeconds"], Value::Null);
    check_nothing_was_imported(&set, &result).await;
    // The same result again; rejected rows stay readable.
    let again = cancel(&shop, running.id).await.expect(200).body;
    assert_eq!(again["cancelledAt"], result["cancelledAt"]);
    assert_eq!(report(&set, &result).await, ["3|A|duplicateInFile|1"]);

    all_is_cleaned_up(&app).await;
    assert!(!running.begin(1).await);
    assert_eq!(running.apply(1, 1).await, Ok(false));
    assert_eq!(running.publish(1).await, Ok(false));
    let left = json!({"imports": 1, "chunks": 0, "errors": 1, "lots": 1, "cards": 0});
    assert_eq!(rows(&app).await, left);
    check_nothing_was_imported(&set, &result).await;
}

#[tokio::test]
async fn codes_of_a_cancelled_import_are_no_duplicates_not_even_before_they_are_cleaned_up() {
    let (app, shop, set) = start().await;
    let running = ByHand::store(&app, &set, "inProgress", &[&["A", "B"], &["C"]]).await;
    assert!(running.begin(1).await);
    assert_eq!(running.apply(1, 0).await, Ok(true));
    // A locked card cannot be deleted.
    let mut hold = app.database.owner.begin().await.unwrap();
    sql::run(&mut hold, "select 1 from cards for share")
        .await
        .unwrap();
    cancel(&shop, running.id).await.expect(200);
    let second = import(&set, LIST, "", "B A B D").await;
    assert_eq!(counts(&second), [4, 3, 1, 1]);
    assert_eq!(second["errorsByReason"], json!({"duplicateInFile": 1}));
    let lots = "select lot_no, state, size from lots order by lot_no";
    let expected = json!([
        {"lot_no": 1, "state": "cancelled", "size": 2},
        {"lot_no": 2, "state": "open", "size": 3},
    ]);
    assert_eq!(app.database.query_rows(lots).await, expected);
    hold.rollback().await.unwrap();
    all_is_cleaned_up(&app).await;
    assert_eq!(codes(&app).await.concat(), "BAD");
    assert_eq!(set.counters().await, (json!(3), 0, json!(3)));
    for code in ["B", "A", "D"] {
        assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), code);
    }
    let third = import(&set, LIST, "", "A C").await;
    assert_eq!(counts(&third), [2, 1, 1, 1]);
}

#[tokio::test]
async fn what_has_ended_otherwise_cannot_be_cancelled() {
    let (app, shop, set) = start().await;
    let running = ByHand::store(&app, &set, "inProgress", &[&["X"]]).await;
    let queued = set.upload(LIST, "", "A").await.expect(201);
    let result = cancel(&shop, queued.str("id")).await.expect(200);
    assert_eq!(result.str("status"), "cancelled");
    assert_eq!(result.body["startedAt"], Value::Null);
    cancel(&shop, running.id).await.expect(200);

    let finished = set.fill(&["A"]).await;
    let unclosed = set.upload("text/csv", "", "code\n\"A\n").await.expect(201);
    for (id, status) in [
        (finished["id"].as_str().unwrap(), "finished"),
        (unclosed.str("id"), "error"),
    ] {
        let refused = cancel(&shop, id).await;
        assert_eq!(refused.refusal(), "409 wrong-state");
        assert_eq!(refused.body["state"], status);
    }
    let nobodys = cancel(&shop, uuid::Uuid::now_v7()).await;
    assert_eq!(nobodys.refusal(), "404 not-found");
    assert_eq!(set.counters().await, (json!(1), 0, json!(1)));
}

#[tokio::test]
async fn an_import_that_is_cancelled_in_the_middle_of_a_chunk_ends_after_it() {
    let (app, shop, set) = start().await;
    let chunks: &[&[&str]] = &[&["A"], &["B"], &["C"], &["D"]];
    let running = ByHand::store(&app, &set, "inProgress", chunks).await;
    let block = block_chunk(&app, 1).await;
    app.database
        .execute("update imports set lease_until = now()")
        .await;
    something_is_blocked(&app).await;
    let unblock = async {
        app.database.wait_for_lock_waiters(2).await;
        block.rollback().await.unwrap();
    };
    let (cancelled, ()) = tokio::join!(cancel(&shop, running.id), unblock);
    let result = cancelled.expect(200).body;
    assert_eq!(result["status"], "cancelled");
    all_is_cleaned_up(&app).await;
    check_nothing_was_imported(&set, &result).await;
    assert_eq!(codes(&app).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_cancelling_and_publishing_at_once_one_comes_first_and_the_other_sees_it() {
    let (app, shop, _) = start().await;
    let mut published = 0;
    for round in 0..10 {
        let set = shop.multiple(&format!("set {round}"), &[]).await;
        let running = ByHand::store(&app, &set, "inProgress", &[&["A"]]).await;
        assert!(running.begin(1).await);
        assert_eq!(running.apply(1, 0).await, Ok(true));
        let (cancelled, finished) = tokio::join!(cancel(&shop, running.id), running.publish(1));
        if finished.unwrap() {
            assert_eq!(cancelled.refusal(), "409 wrong-state");
            assert_eq!(set.counters().await, (json!(1), 0, json!(1)));
            published += 1;
        } else {
            check_nothing_was_imported(&set, &cancelled.expect(200).body).await;
        }
    }
    all_is_cleaned_up(&app).await;
    assert_eq!(codes(&app).await.len(), published);
}

#[tokio::test]
async fn an_import_that_fails_too_often_ends_as_an_error_and_makes_room() {
    let (app, shop, set) = start().await;
    let refuse = "create function refuse() returns trigger language plpgsql as $$
         begin
           raise exception 'refused by the test' using errcode = 'check_violation';
         end $$;
         create trigger refuse before insert on cards for each row when (new.code = 'BROKEN') execute function refuse()";
    app.database.execute(refuse).await;
    let broken = ByHand::store(&app, &set, "inProgress", &[&["A", "A"], &["BROKEN"]]).await;
    let next = set.upload(LIST, "", "A B").await.expect(201);
    for failures in 1..=5 {
        let due = format!(
            "update imports set lease_until = now() where id = '{}'",
            broken.id
        );
        app.database.execute(&due).await;
        eventually("it has failed once more", async || {
            let failed = format!("select failures from imports where id = '{}'", broken.id);
            (app.database.query_value(&failed).await == failures).then_some(())
        })
        .await;
    }
    let result = set.ended(&broken.id.to_string()).await;
    assert_eq!(result["status"], "error");
    assert!(
        result["failure"].as_str().unwrap().contains("5 times"),
        "{result}"
    );
    assert!(result["finishedAt"].is_string() && result["cancelledAt"].is_null());
    assert_eq!(counts(&result), [1, 0, 1, 1]);
    let next = set.ended(next.str("id")).await;
    assert_eq!(counts(&next), [2, 2, 0, 0]);
    all_is_cleaned_up(&app).await;
    assert_eq!(codes(&app).await, ["A", "B"]);
    let refused = cancel(&shop, broken.id).await;
    assert_eq!(refused.body["state"], "error");
}

#[tokio::test]
async fn a_deleted_import_is_gone_with_its_report_and_its_codes_stay() {
    let (app, shop, set) = start().await;
    let first = import(&set, LIST, "", "A\nB\nA\n").await;
    let url = format!("/v1/imports/{}", first["id"].as_str().unwrap());
    shop.client.delete(&url).await.expect(204);
    for gone in [
        shop.client.get(&url).await,
        shop.client.get(&format!("{url}/errors.csv")).await,
        shop.client.delete(&url).await,
        cancel(&shop, first["id"].as_str().unwrap()).await,
    ] {
        assert_eq!(gone.refusal(), "404 not-found");
    }
    let listed = shop.client.get("/v1/imports").await.expect(200);
    assert_eq!(listed.results(), &Vec::<Value>::new());
    all_is_cleaned_up(&app).await;
    let left = json!({"imports": 0, "chunks": 0, "errors": 0, "lots": 1, "cards": 2});
    assert_eq!(rows(&app).await, left);
    assert_eq!(set.counters().await, (json!(2), 0, json!(2)));
    assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), "A");
    let second = import(&set, LIST, "", "A\nB\nA\n").await;
    assert_eq!(second["success"], 0);
}

#[tokio::test]
async fn old_reports_are_deleted_after_the_days_of_the_setting_and_the_codes_stay() {
    let (app, shop, set) = start().await;
    let old = import(&set, LIST, "", "A\nB\nA\n").await;
    let recent = import(&set, LIST, "", "C\nC\n").await;
    for (import, days) in [(&old, 4), (&recent, 2)] {
        let age = format!(
            "update imports set finished_at = now() - interval '{days} days' where id = '{}'",
            import["id"].as_str().unwrap()
        );
        app.database.execute(&age).await;
    }
    let settings = ["--retention-import-reports-days", "3"];
    let replica = TestApp::with(app.database.shared(), &settings);
    eventually("the old report is gone", async || {
        let left = "select string_agg(distinct import_id::text, ' ') from import_errors";
        (app.database.query_value(left).await == recent["id"]).then_some(())
    })
    .await;
    let listed = shop.client.get("/v1/imports").await.expect(200);
    assert_eq!(
        strings(listed.results(), "id"),
        [recent["id"].as_str().unwrap()]
    );
    assert_eq!(set.counters().await, (json!(3), 0, json!(3)));
    drop(replica);
}

#[tokio::test]
async fn only_an_import_that_has_ended_can_be_deleted() {
    let (app, shop, set) = start().await;
    let running = ByHand::store(&app, &set, "inProgress", &[&["A"], &["B"]]).await;
    assert!(running.begin(1).await);
    assert_eq!(running.apply(1, 0).await, Ok(true));
    let queued = set.upload(LIST, "", "A").await.expect(201);
    // The queued one first: it starts when the running one has ended.
    for (id, status) in [
        (queued.str("id").to_owned(), "queued"),
        (running.id.to_string(), "inProgress"),
    ] {
        let url = format!("/v1/imports/{id}");
        let refused = shop.client.delete(&url).await;
        assert_eq!(refused.refusal(), "409 wrong-state");
        assert_eq!(refused.body["state"], status);
        cancel(&shop, &id).await.expect(200);
        shop.client.delete(&url).await.expect(204);
    }
    all_is_cleaned_up(&app).await;
    let left = json!({"imports": 0, "chunks": 0, "errors": 0, "lots": 1, "cards": 0});
    assert_eq!(rows(&app).await, left);
}

#[tokio::test]
async fn a_huge_import_is_cleaned_up_in_portions() {
    let (app, shop, set) = start().await;
    set.fill(&["KEPT"]).await;
    let chunk: Vec<&str> = vec!["X"; 1];
    let chunks: Vec<&[&str]> = (0..50).map(|_| chunk.as_slice()).collect();
    let running = ByHand::store(&app, &set, "inProgress", &chunks).await;
    assert!(running.begin(1).await);
    let huge = "insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
           select tenant_id, set_no, lot_no, n, n, 'C' || n from lots, generate_series(1, 120000) n where state = 'filling';
         insert into import_errors (tenant_id, import_id, row_no, line, code, reason)
           select tenant_id, import_id, n, n, '', 'empty' from lots, generate_series(1, 120000) n where state = 'filling';
         update lots set size = 120000 where state = 'filling'";
    app.database.execute(huge).await;
    // Driven by the test, so that each batch is seen.
    app.app.stop().await;
    let end = format!(
        "select end_import(tenant_id, id, 'cancelled', '') from imports where id = '{}';
         update imports set deleted_at = now() where id = '{0}'",
        running.id
    );
    app.database.execute(&end).await;
    let call = format!(
        "select clean_import(tenant_id, id) from imports where id = '{}'",
        running.id
    );
    let mut seen = Vec::new();
    loop {
        let left = rows(&app).await;
        seen.push(
            [
                &left["chunks"],
                &left["cards"],
                &left["errors"],
                &left["imports"],
            ]
            .map(Value::to_string)
            .join(" "),
        );
        if left["imports"] == 1 {
            break;
        }
        app.database.execute(&call).await;
    }
    seen.dedup();
    let expected = [
        "50 120001 120000 2",
        "30 120001 120000 2",
        "10 120001 120000 2",
        "0 120001 120000 2",
        "0 70001 120000 2",
        "0 20001 120000 2",
        "0 1 120000 2",
        "0 1 69999 2",
        "0 1 19998 2",
        "0 1 0 2",
        "0 1 0 1",
    ];
    assert_eq!(seen, expected);
    let lots = app
        .database
        .query_rows("select size, state from lots order by lot_no")
        .await;
    assert_eq!(
        lots,
        json!([{"size": 1, "state": "open"}, {"size": 0, "state": "closed"}])
    );
    drop(shop);
}
