//! Test mode: the response equals the real one, and nothing is stored.

use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::shop::{CouponSet, Shop};

const ZEROS: &str = "00000000-0000-0000-0000-000000000000";

/// All rows that an assignment writes.
async fn everything(app: &TestApp) -> Value {
    let tables = [
        "assignments",
        "assignment_answers",
        "ledger_entries",
        "reservations",
        "contacts",
        "lots",
        "cards",
        "coupon_sets",
    ];
    let all = tables.map(|table| format!("(select json_agg(t order by t::text) from {table} t)"));
    let all = format!("select json_build_array({})", all.join(","));
    app.database.query_value(&all).await
}

async fn start() -> (TestApp, Shop, CouponSet) {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B"]).await;
    (app, shop, set)
}

#[tokio::test]
async fn a_test_is_answered_with_a_marked_placeholder_and_takes_nothing() {
    let (app, shop, set) = start().await;
    set.patch(json!({"timezone": "Europe/Madrid", "validForDays": 3}))
        .await
        .expect(200);
    let before = everything(&app).await;
    let body = json!({"contactId": "ann", "test": true, "workflowId": "w", "nodeId": "n", "executionId": "e"});
    for _ in 0..3 {
        let answer = set.assign_with(body.clone(), Some("k")).await.expect(200);
        let mut body = answer.body.clone();
        assert!(body["assignedAt"].take().is_string());
        let expected = json!({"id": ZEROS, "couponCode": "TEST-CODE", "couponSetId": set.id,
            "requestedCouponSetId": set.id, "contactId": "ann", "state": "assigned", "assignedAt": null,
            "reservedUntil": null, "expiresAt": null, "timezone": "Europe/Madrid", "workflowId": "w", "nodeId": "n",
            "executionId": "e", "attributes": null, "outcome": "assigned", "test": true, "idempotencyKey": "k"});
        assert_eq!(body, expected);
    }
    assert_eq!(everything(&app).await, before);
    assert_eq!(set.counts().await, [2, 0, 0, 0, 0]);
    let list = shop.client.get("/v1/assignments").await.expect(200);
    assert_eq!(list.results().len(), 0);
    let answer = shop.client.get(&format!("/v1/assignments/{ZEROS}")).await;
    assert_eq!(answer.refusal(), "404 not-found");
    // The key stays free, also for another contact, and real assignments are not marked as tests.
    let meant = set.assign_as("bob", "k").await.expect(201);
    assert_eq!(meant.str("couponCode"), "A");
    assert_eq!(meant.body["test"], Value::Null);
    let body = json!({"contactId": "cat", "test": false});
    let meant = set.assign_with(body, None).await.expect(201);
    assert_eq!(meant.str("couponCode"), "B");
    // An already used key is not looked up, and an empty set is no obstacle.
    let body = json!({"contactId": "cat", "test": true});
    let answer = set.assign_with(body, Some("k")).await.expect(200);
    assert_eq!(answer.str("outcome"), "assigned");
}

#[tokio::test]
async fn a_dry_run_of_a_reservation_returns_a_reservation() {
    let (app, _, set) = start().await;
    let before = everything(&app).await;
    let body = json!({"contactId": "ann", "test": true, "reserveForSeconds": 60});
    let answer = set.assign_with(body, None).await.expect(200);
    assert_eq!(answer.str("state"), "reserved");
    let time = |name| -> chrono::DateTime<chrono::Utc> { answer.str(name).parse().unwrap() };
    let seconds = (time("reservedUntil") - time("assignedAt")).num_seconds();
    assert_eq!(seconds, 60);
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn each_outcome_can_be_requested_in_a_dry_run_and_says_that_it_is_a_test() {
    let (app, _, set) = start().await;
    let before = everything(&app).await;
    for (outcome, expected) in [
        ("exhausted", "409 coupon-set-exhausted"),
        ("expired", "409 coupon-set-expired"),
        ("alreadyAssigned", "200 alreadyAssigned"),
    ] {
        let body = json!({"contactId": "ann", "test": true, "testOutcome": outcome});
        for _ in 0..2 {
            let answer = set.assign_with(body.clone(), Some("k")).await;
            assert_eq!(answer.body["test"], true, "{}", answer.text);
            if answer.status == 200 {
                assert_eq!(format!("200 {}", answer.str("outcome")), expected);
                assert_eq!(answer.str("couponCode"), "TEST-CODE");
            } else {
                assert_eq!(answer.refusal(), expected);
            }
        }
    }
    assert_eq!(everything(&app).await, before);
    // `newCode` and `sameCode` behave alike in a dry run.
    let body = json!({"contactId": "ann", "test": true, "testOutcome": "alreadyAssigned"});
    set.patch(json!({"onRepeat": "sameCode"})).await.expect(200);
    let answer = set.assign_with(body.clone(), None).await.expect(200);
    assert_eq!(answer.str("outcome"), "alreadyAssigned");
    set.patch(json!({"onRepeat": "refuse"})).await.expect(200);
    let answer = set.assign_with(body, None).await;
    assert_eq!(answer.refusal(), "409 already-assigned");
    assert_eq!(answer.body["test"], true);
    assert_eq!(answer.str("assignmentId"), ZEROS);
    // A dry run never blocks a real assignment.
    let body = json!({"contactId": "ann", "test": true, "testOutcome": null});
    let answer = set.assign_with(body, None).await.expect(200);
    assert_eq!(answer.str("outcome"), "assigned");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_wrong_with_its_test() {
    let (app, shop, set) = start().await;
    let before = everything(&app).await;
    let outcome =
        |outcome: Value| json!({"contactId": "ann", "test": true, "testOutcome": outcome});
    for (body, fault) in [
        (
            json!({"contactId": "ann", "testOutcome": "exhausted"}),
            "/testOutcome",
        ),
        (
            json!({"contactId": "ann", "test": false, "testOutcome": "exhausted"}),
            "/testOutcome",
        ),
        (
            json!({"contactId": "ann", "test": null, "testOutcome": "exhausted"}),
            "/testOutcome",
        ),
        (outcome(json!("used")), "/testOutcome"),
        (outcome(json!("assigned")), "/testOutcome"),
        (outcome(json!(7)), "/testOutcome"),
        (json!({"contactId": "ann", "test": "yes"}), "/test"),
        (json!({"test": true}), "/contactId"),
        (
            json!({"contactId": "ann", "test": true, "reserveForSeconds": 0}),
            "/reserveForSeconds",
        ),
    ] {
        let answer = set.assign_with(body.clone(), None).await.expect(422);
        assert_eq!(answer.faults(), [fault], "{body}");
    }
    let cycle = json!({"contactId": "ann", "test": true, "childCouponSetId": set.id});
    let answer = set.assign_with(cycle, None).await;
    assert_eq!(answer.refusal(), "422 child-set-cycle");
    assert_eq!(answer.body["test"], true);
    let other = app.shop().await.multiple("foreign", &[]).await;
    let foreign = json!({"contactId": "ann", "test": true, "childCouponSetId": other.id});
    let answer = set.assign_with(foreign, None).await.expect(422);
    assert_eq!(answer.faults(), ["/childCouponSetId"]);
    let body = json!({"contactId": "ann", "test": true});
    let foreign = other.at(&shop).assign_with(body.clone(), None).await;
    assert_eq!(foreign.refusal(), "404 not-found");
    let answer = set.assign_with(body, Some("")).await;
    assert_eq!(answer.refusal(), "400 malformed-request");
    other.delete().await.expect(204);
    let after = everything(&app).await;
    for table in 0..7 {
        assert_eq!(after[table], before[table]);
    }
}

#[tokio::test]
async fn the_items_of_a_batch_are_dry_runs_one_by_one() {
    let (_app, shop, set) = start().await;
    let items = json!([
        {"contactId": "ann", "test": true, "idempotencyKey": "k"},
        {"contactId": "bob", "idempotencyKey": "k"},
        {"contactId": "cat", "test": true, "testOutcome": "exhausted"},
        {"contactId": "dan", "test": true, "testOutcome": "alreadyAssigned"},
        {"contactId": "eve", "test": true, "testOutcome": "expired", "idempotencyKey": "k"},
        {"contactId": "fay", "testOutcome": "expired"},
        {"contactId": "gus", "test": true, "childCouponSetId": set.id},
    ]);
    let results = set.assign_batch(items, None).await;
    let summaries: Vec<Value> = results
        .iter()
        .map(|result| {
            let (given, error) = (&result["assignment"], &result["error"]);
            let what = if given.is_null() {
                &error["code"]
            } else {
                &given["couponCode"]
            };
            let test = given["test"] == true || error["test"] == true;
            json!([result["status"], what, test])
        })
        .collect();
    let expected = [
        json!([200, "TEST-CODE", true]),
        json!([201, "A", false]),
        json!([409, "coupon-set-exhausted", true]),
        json!([200, "TEST-CODE", true]),
        json!([409, "coupon-set-expired", true]),
        json!([422, "validation-failed", false]),
        json!([422, "child-set-cycle", true]),
    ];
    assert_eq!(summaries, expected);
    assert_eq!(results[3]["assignment"]["outcome"], "alreadyAssigned");
    assert_eq!(
        results[5]["error"]["errors"][0]["pointer"],
        "/items/5/testOutcome"
    );
    assert_eq!(set.counts().await, [1, 0, 1, 0, 0]);
    let uri = set.path().replace(&set.id, ZEROS) + "/assignments/batch";
    let body = json!({"items": [{"contactId": "ann", "test": true}]});
    let answer = shop.client.post(&uri, body).await;
    assert_eq!(answer.refusal(), "404 not-found");
}

#[tokio::test]
async fn an_all_or_nothing_batch_is_withheld_by_a_refusal_of_a_dry_run() {
    let (app, _, set) = start().await;
    let before = everything(&app).await;
    let items = json!([
        {"contactId": "ann"},
        {"contactId": "bob", "test": true, "testOutcome": "exhausted"},
        {"contactId": "cat", "test": true},
    ]);
    let answer = set.assign_all_or_nothing(items).await;
    assert_eq!(answer.refusal(), "409 batch-withheld");
    let refused = &answer.body["refused"];
    assert_eq!(refused.as_array().unwrap().len(), 1);
    assert_eq!(refused[0]["index"], 1);
    assert_eq!(refused[0]["error"]["code"], "coupon-set-exhausted");
    assert_eq!(refused[0]["error"]["test"], true);
    assert_eq!(everything(&app).await, before);
    let items = json!([{"contactId": "ann"}, {"contactId": "cat", "test": true}]);
    let answer = set.assign_all_or_nothing(items).await.expect(200);
    assert_eq!(answer.results()[0]["assignment"]["couponCode"], "A");
    assert_eq!(answer.results()[1]["assignment"]["test"], true);
    assert_eq!(set.counts().await, [1, 0, 1, 0, 0]);
}
