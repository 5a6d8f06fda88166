//! Idempotent imports: the same file twice is one import, by its content or by its key.

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::imports::cancel::cancel;
use crate::imports::{CSV, JSON, LIST, codes, form, import, send_form, start};
use crate::support::TestApp;
use crate::support::by_hand::ByHand;
use crate::support::client::Answer;
use crate::support::shop::CouponSet;

/// Uploads a list with an idempotency key.
async fn upload_as(set: &CouponSet, key: &str, query: &str, list: &str) -> Answer {
    let uri = format!("{}/imports{query}", set.path());
    let headers = [("content-type", LIST), ("idempotency-key", key)];
    let list = list.to_owned();
    set.client.send(Method::POST, &uri, &headers, list).await
}

async fn count_imports(app: &TestApp) -> Value {
    app.database
        .query_value("select count(*) from imports")
        .await
}

#[tokio::test]
async fn a_file_that_came_before_is_answered_with_its_import() {
    let (app, shop, set) = start().await;
    let first = import(&set, CSV, "", "code\nA\nB\n").await;
    let again = async |query: &str| set.upload(CSV, query, "code\nA\nB\n").await;
    assert_eq!(again("").await.expect(200).body, first);
    // An option without effect makes no difference.
    assert_eq!(
        again("?overrideExisting=true").await.expect(200).body,
        first
    );
    let fields = [
        ("type", "coupons"),
        ("couponSetId", set.id.as_str()),
        ("file", "code\nA\nB\n"),
    ];
    let answer = send_form(&shop, "/v1/imports", form(&fields)).await;
    assert_eq!(answer.expect(200).body, first);
    assert_eq!(count_imports(&app).await, 1);

    // Other parsing options, another type, another set and other bytes do.
    let other = shop.multiple("other", &[]).await;
    for answer in [
        again("?header=true").await,
        set.upload(LIST, "", "code\nA\nB\n").await,
        other.upload(CSV, "", "code\nA\nB\n").await,
        set.upload(CSV, "", "code\nA\nB").await,
        again("?force=true").await,
    ] {
        let import = set.ended(answer.expect(201).str("id")).await;
        assert_ne!(import["id"], first["id"]);
    }
    let mut again = fields.to_vec();
    again.push(("force", "true"));
    send_form(&shop, "/v1/imports", form(&again))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_file_of_which_nothing_came_in_is_imported_again() {
    let (app, shop, set) = start().await;
    let unclosed = "code\nA\n\"B\n";
    let first = set.upload(CSV, "", unclosed).await.expect(201);
    assert_eq!(first.str("status"), "error");
    let second = set.upload(CSV, "", unclosed).await.expect(201);
    assert_ne!(first.str("id"), second.str("id"));

    let running = ByHand::store(&app, &set, "inProgress", &[&["X"]]).await;
    let queued = set.upload(LIST, "", "A B").await.expect(201);
    assert_eq!(
        set.upload(LIST, "", "A B").await.expect(200).body["id"],
        queued.body["id"]
    );
    for id in [running.id.to_string().as_str(), queued.str("id")] {
        cancel(&shop, id).await.expect(200);
    }
    let third = set.upload(LIST, "", "A B").await.expect(201);
    let third = set.ended(third.str("id")).await;
    assert_eq!(third["success"], 2);
    let url = format!("/v1/imports/{}", third["id"].as_str().unwrap());
    shop.client.delete(&url).await.expect(204);
    let fourth = set.upload(LIST, "", "A B").await.expect(201);
    assert_eq!(set.ended(fourth.str("id")).await["duplicates"], 2);
}

#[tokio::test]
async fn of_equal_uploads_at_the_same_moment_one_becomes_an_import() {
    let (app, shop, set) = start().await;
    let replica = app.replica();
    let there = set.at(&shop.at(&replica));
    let rows: Vec<String> = (0..60_000).map(|row| format!("C{row}\n")).collect();
    let rows = rows.concat();
    for keyed in [false, true] {
        let before = count_imports(&app).await.as_i64().unwrap();
        let list = if keyed {
            rows.replace('C', "K")
        } else {
            rows.clone()
        };
        let uploads = (0..6).map(|n| {
            let set = if n % 2 == 0 { &set } else { &there };
            let list = &list;
            async move {
                if keyed {
                    upload_as(set, "run-1", "", list).await
                } else {
                    set.upload(LIST, "", list.clone()).await
                }
            }
        });
        let answers = join_all(uploads).await;
        let mut statuses: Vec<u16> = answers
            .iter()
            .map(|answer| answer.status.as_u16())
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 201]);
        assert!(
            answers
                .iter()
                .all(|answer| answer.str("id") == answers[0].str("id"))
        );
        assert_eq!(count_imports(&app).await, before + 1);
        let import = set.ended(answers[0].str("id")).await;
        assert_eq!(import["success"], 60_000);
    }
    replica.app.stop().await;
}

#[tokio::test]
async fn a_key_is_answered_with_its_import_whatever_became_of_it() {
    let (app, shop, set) = start().await;
    let running = ByHand::store(&app, &set, "inProgress", &[&["X"]]).await;
    let first = upload_as(&set, "run-1", "", "A B").await.expect(201);
    let again = async || {
        upload_as(&set, "run-1", "?force=true", "A B")
            .await
            .expect(200)
            .body
    };
    assert_eq!(again().await["id"], first.body["id"]);
    cancel(&shop, first.str("id")).await.expect(200);
    let import = again().await;
    assert_eq!(
        (&import["id"], &import["status"]),
        (&first.body["id"], &json!("cancelled"))
    );
    assert_eq!(count_imports(&app).await, 2);

    // The key is in use for another request, and nothing of that request is stored.
    let other = shop.multiple("other", &[]).await;
    for answer in [
        upload_as(&set, "run-1", "", "A B C").await,
        upload_as(&other, "run-1", "", "A B").await,
        upload_as(&set, "run-1", "?mode=validate", "A B").await,
    ] {
        assert_eq!(answer.refusal(), "422 idempotency-key-reused");
    }
    let kind = ("content-type", "multipart/form-data; boundary=frontier");
    let fields = form(&[
        ("type", "coupons"),
        ("couponSetId", &set.id),
        ("file", "code\nA\n"),
    ]);
    let headers = [kind, ("idempotency-key", "run-1")];
    let answer = shop
        .client
        .send(Method::POST, "/v1/imports", &headers, fields)
        .await;
    assert_eq!(answer.refusal(), "422 idempotency-key-reused");
    assert_eq!(count_imports(&app).await, 2);
    assert_eq!(
        upload_as(&set, "é", "", "A").await.refusal(),
        "400 malformed-request"
    );

    // A key belongs to a tenant, and is free when its import is deleted.
    let stranger = app.shop().await.multiple("birthday", &[]).await;
    upload_as(&stranger, "run-1", "", "A B").await.expect(201);
    cancel(&shop, running.id).await.expect(200);
    let url = format!("/v1/imports/{}", first.str("id"));
    shop.client.delete(&url).await.expect(204);
    let second = upload_as(&set, "run-1", "", "A B").await.expect(201);
    assert_eq!(set.ended(second.str("id")).await["success"], 2);
    let kept = "select count(*) from imports i where i::text like '%run-1%'";
    assert_eq!(
        app.database.query_value(kept).await,
        0,
        "only hashes are kept"
    );
}

#[tokio::test]
async fn a_dry_run_with_a_key_is_done_once() {
    let (app, _, set) = start().await;
    let first = upload_as(&set, "run-1", "?mode=validate", "A")
        .await
        .expect(201);
    let again = upload_as(&set, "run-1", "?mode=validate", "A")
        .await
        .expect(200);
    assert_eq!(first.str("id"), again.str("id"));
    let json = set
        .upload(JSON, "", r#"{"codes": ["A"]}"#)
        .await
        .expect(201);
    set.ended(json.str("id")).await;
    assert_eq!(codes(&app).await, ["A"]);
}
