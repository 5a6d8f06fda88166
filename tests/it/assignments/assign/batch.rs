//! Promises of the batch endpoint: each item gets the result that the same request alone would get.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::TestApp;

fn statuses(results: &[Value]) -> Vec<u64> {
    results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect()
}

fn code(result: &Value) -> &str {
    result["assignment"]["couponCode"]
        .as_str()
        .unwrap_or_else(|| panic!("no code in {result}"))
}

#[tokio::test]
async fn each_item_has_its_own_result_and_key() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A", "B"]).await;
    let items = json!([
        {"contactId": "ann", "idempotencyKey": "k1", "workflowId": "w"},
        {"contactId": ""},
        {"contactId": "bob"},
        {"contactId": "cat", "idempotencyKey": "k4"},
        "no object",
    ]);
    let results = set.assign_batch(items, None).await;
    assert_eq!(statuses(&results), [201, 422, 201, 409, 422]);
    assert_eq!((code(&results[0]), code(&results[2])), ("A", "B"));
    assert_eq!(results[0]["idempotencyKey"], "k1");
    assert_eq!(results[0]["assignment"]["workflowId"], "w");
    assert_eq!(
        results[1]["error"]["errors"][0]["pointer"],
        "/items/1/contactId"
    );
    assert_eq!(results[3]["error"]["code"], "coupon-set-exhausted");
    assert_eq!(results[3]["idempotencyKey"], "k4");
    let minted = results[2]["idempotencyKey"].as_str().unwrap();
    assert_eq!(
        set.assign_as("bob", minted)
            .await
            .expect(200)
            .str("couponCode"),
        "B"
    );
}

#[tokio::test]
async fn a_batch_that_is_sent_again_gets_the_same_answers() {
    let app = TestApp::start().await;
    let set = app
        .shop()
        .await
        .multiple("birthday", &["A", "B", "C", "D"])
        .await;
    let items = json!([{"contactId": "ann"}, {"contactId": "bob", "idempotencyKey": "own"}]);
    let first = set.assign_batch(items.clone(), Some("batch")).await;
    let again = set.assign_batch(items, Some("batch")).await;
    assert_eq!(
        (statuses(&first), statuses(&again)),
        (vec![201, 201], vec![200, 200])
    );
    assert_eq!(first[0]["idempotencyKey"], "batch:0");
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(again["assignment"]["outcome"], "replayed");
        assert_eq!(again["assignment"]["id"], first["assignment"]["id"]);
    }
    assert_eq!(set.counters().await, (json!(4), 2, json!(2)));
}

#[tokio::test]
async fn the_same_key_twice_in_a_batch_is_one_assignment() {
    let app = TestApp::start().await;
    let set = app
        .shop()
        .await
        .multiple("birthday", &["A", "B", "C"])
        .await;
    let item =
        |contact: &str| json!({"contactId": contact, "idempotencyKey": "k", "workflowId": "w"});
    let results = set
        .assign_batch(
            json!([item("ann"), item("ann"), item("bob"), item("ann")]),
            None,
        )
        .await;
    assert_eq!(statuses(&results), [201, 200, 422, 200]);
    for member in ["id", "workflowId", "couponCode"] {
        assert_eq!(
            results[1]["assignment"][member],
            results[0]["assignment"][member]
        );
    }
    assert_eq!(code(&results[1]), "A");
    assert_eq!(results[1]["assignment"]["outcome"], "replayed");
    assert_eq!(results[2]["error"]["code"], "idempotency-key-reused");
    assert_eq!(set.counters().await.1, 1);
}

#[tokio::test]
async fn the_same_contact_twice_in_a_batch_is_judged_in_order() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let items = || json!([{"contactId": "ann"}, {"contactId": "bob"}, {"contactId": "ann"}, {"contactId": "ann"}]);
    for (policy, expected, assigned) in [
        ("newCode", [201, 201, 201, 409], 3),
        ("sameCode", [201, 201, 200, 200], 2),
        ("refuse", [201, 201, 409, 409], 2),
    ] {
        let set = shop
            .set(json!({"name": policy, "type": "multiple", "onRepeat": policy}))
            .await;
        set.fill(&["A", "B", "C"]).await;
        let results = set.assign_batch(items(), None).await;
        assert_eq!(statuses(&results), expected, "{policy}");
        assert_eq!(set.counters().await.1, assigned, "{policy}");
        if policy == "sameCode" {
            assert_eq!((code(&results[2]), code(&results[3])), ("A", "A"));
        }
    }
}

#[tokio::test]
async fn followers_in_an_exhausted_set_are_refused_like_their_leader() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop
        .set(json!({"name": "empty", "type": "multiple", "onRepeat": "sameCode"}))
        .await;
    let items: Vec<Value> = (0..3_000).map(|_| json!({"contactId": "ann"})).collect();
    let results = set.assign_batch(json!(items), None).await;
    assert_eq!(
        statuses(&results).into_iter().collect::<HashSet<_>>(),
        HashSet::from([409])
    );
    // Each item is evaluated alone, because a code refused to one may go to another.
    let same_key: Vec<Value> = (0..300)
        .map(|contact| json!({"contactId": format!("c{contact}"), "idempotencyKey": "k"}))
        .collect();
    let results = set.assign_batch(json!(same_key), None).await;
    assert_eq!(
        statuses(&results).into_iter().collect::<HashSet<_>>(),
        HashSet::from([409])
    );
}

#[tokio::test]
async fn items_may_name_different_children() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("empty", &[]).await;
    let one = shop.single("one", "ONE", None).await;
    let two = shop.single("two", "TWO", Some(1)).await;
    let items = json!([
        {"contactId": "ann", "childCouponSetId": one.id},
        {"contactId": "bob", "childCouponSetId": two.id},
        {"contactId": "cat"},
        {"contactId": "dan", "childCouponSetId": two.id},
        {"contactId": "eve", "childCouponSetId": set.id},
    ]);
    let results = set.assign_batch(items, None).await;
    assert_eq!(statuses(&results), [201, 201, 409, 409, 422]);
    assert_eq!((code(&results[0]), code(&results[1])), ("ONE", "TWO"));
}

#[tokio::test]
async fn a_batch_runs_over_the_end_of_a_lot_of_the_set_and_of_the_chain() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let last = shop.single("last", "LAST", Some(2)).await;
    let child = shop
        .set(json!({"name": "child", "type": "multiple", "childCouponSetId": last.id}))
        .await;
    let set = shop
        .set(json!({"name": "set", "type": "multiple", "childCouponSetId": child.id}))
        .await;
    set.fill(&["A", "B"]).await;
    set.fill(&["C"]).await;
    child.fill(&["X"]).await;
    let items: Vec<Value> = (0..7)
        .map(|contact| json!({"contactId": format!("c{contact}")}))
        .collect();
    let results = set.assign_batch(json!(items), Some("b")).await;
    assert_eq!(statuses(&results), [201, 201, 201, 201, 201, 201, 409]);
    let codes: Vec<&str> = results[..6].iter().map(code).collect();
    assert_eq!(codes, ["A", "B", "C", "X", "LAST", "LAST"]);
    let again = set.assign_batch(json!(items), Some("b")).await;
    assert_eq!(again[..6].iter().map(code).collect::<Vec<_>>(), codes);
    for set in [&set, &child, &last] {
        assert_eq!(set.counters().await.2, json!(0));
    }
}

#[tokio::test]
async fn a_batch_of_ten_thousand_is_taken_and_one_more_is_not() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let codes: Vec<String> = (0..10_000).map(|n| format!("C{n}")).collect();
    let set = shop
        .multiple(
            "birthday",
            &codes.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
    let mut items: Vec<Value> = (0..10_000)
        .map(|contact| json!({"contactId": format!("c{contact}")}))
        .collect();
    let results = set.assign_batch(json!(items), None).await;
    assert_eq!(
        results.iter().map(code).collect::<HashSet<_>>().len(),
        10_000
    );
    assert_eq!(set.counters().await, (json!(10_000), 10_000, json!(0)));
    items.push(json!({"contactId": "one more"}));
    let uri = format!("{}/assignments/batch", set.path());
    assert_eq!(
        set.client
            .post(&uri, json!({"items": items}))
            .await
            .expect(422)
            .faults(),
        ["/items"]
    );
    assert_eq!(
        set.client
            .post(&uri, json!({"items": []}))
            .await
            .expect(422)
            .faults(),
        ["/items"]
    );
}

#[tokio::test]
async fn what_a_key_is_refused_for_one_contact_it_may_give_to_another() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop
        .set(json!({"name": "once", "type": "multiple", "onRepeat": "refuse"}))
        .await;
    set.fill(&["A", "B", "C"]).await;
    set.assign_as("ann", "k1").await.expect(201);
    let item = |contact: &str, key: &str| json!({"contactId": contact, "idempotencyKey": key});
    let results = set
        .assign_batch(
            json!([item("bob", "k1"), item("ann", "k1"), item("cat", "k1")]),
            None,
        )
        .await;
    assert_eq!(statuses(&results), [422, 200, 422]);
    let results = set
        .assign_batch(
            json!([item("ann", "k2"), item("bob", "k2"), item("cat", "k2")]),
            None,
        )
        .await;
    assert_eq!(statuses(&results), [409, 201, 422]);
    assert_eq!(results[0]["error"]["code"], "already-assigned");
    assert_eq!(set.counters().await.1, 2);
}

#[tokio::test]
async fn a_batch_that_cannot_be_answered_item_by_item_is_refused_whole() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A"]).await;
    let uri = format!("{}/assignments/batch", set.path());
    let body = json!({"items": [{"contactId": "ann"}]});
    let long = "k".repeat(200);
    let answer = set
        .client
        .json(
            axum::http::Method::POST,
            &uri,
            &[("idempotency-key", &long)],
            body.clone(),
        )
        .await;
    assert_eq!(answer.refusal(), "400 malformed-request");

    let children =
        (0..17).map(|_| json!({"contactId": "ann", "childCouponSetId": uuid::Uuid::now_v7()}));
    let answer = set
        .client
        .post(&uri, json!({"items": children.collect::<Vec<_>>()}))
        .await;
    assert_eq!(answer.expect(422).faults(), ["/items"]);

    let unknown = "/v1/coupon-sets/01890000-0000-7000-8000-000000000000/assignments/batch";
    assert_eq!(
        set.client.post(unknown, body).await.refusal(),
        "404 not-found"
    );
    assert_eq!(set.counters().await.1, 0);
}

#[tokio::test]
async fn the_faults_of_an_item_name_its_place_in_the_batch() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A"]).await;
    let items = json!([
        {"contactId": "ann"},
        {"contactId": "bob", "childCouponSetId": "01890000-0000-7000-8000-000000000000"},
        {"contactId": "cat", "colour": "red"},
    ]);
    let results = set.assign_batch(items, None).await;
    assert_eq!(statuses(&results), [201, 422, 422]);
    assert_eq!(
        results[1]["error"]["errors"][0]["pointer"],
        "/items/1/childCouponSetId"
    );
    assert_eq!(
        results[2]["error"]["errors"][0]["pointer"],
        "/items/2/colour"
    );
}
