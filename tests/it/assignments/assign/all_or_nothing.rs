//! Promises for campaigns: the check for sufficient stock, and all-or-nothing batches.

use std::collections::HashSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::shop::{CouponSet, Shop};

async fn ask(set: &CouponSet, query: &str) -> Answer {
    let uri = format!("{}/availability{query}", set.path());
    set.client.get(&uri).await
}

/// Items for these contacts, each with the contact as its key.
fn items(contacts: &[&str]) -> Value {
    let item = |contact: &&str| json!({"contactId": contact, "idempotencyKey": contact});
    contacts.iter().map(item).collect()
}

/// Results of a batch's items, as in "201 assigned A".
fn given(answer: &Answer) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let results = answer.results().iter();
    results
        .map(|result| {
            let given = &result["assignment"];
            let (outcome, code) = (text(&given["outcome"]), text(&given["couponCode"]));
            format!("{} {outcome} {code}", result["status"])
        })
        .collect()
}

/// The refused items of a batch with their reasons. Fails unless the batch was withheld.
#[track_caller]
fn refused(answer: &Answer) -> Vec<(u64, &str)> {
    assert_eq!(answer.refusal(), "409 batch-withheld", "{}", answer.text);
    let refused = answer.body["refused"].as_array().unwrap();
    let count = format!("{} of the ", refused.len());
    assert!(answer.str("detail").starts_with(&count), "{}", answer.text);
    refused
        .iter()
        .map(|item| {
            let code = item["error"]["code"].as_str().unwrap();
            (item["index"].as_u64().unwrap(), code)
        })
        .collect()
}

async fn with_child(shop: &Shop, name: &str, codes: &[&str], child: &CouponSet) -> CouponSet {
    let set = shop.multiple(name, codes).await;
    set.patch(json!({"childCouponSetId": child.id}))
        .await
        .expect(200);
    set
}

#[tokio::test]
async fn a_set_shows_whether_it_and_its_children_can_serve_a_campaign() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let last = shop.single("last", "S", Some(4)).await;
    let child = with_child(&shop, "child", &["X", "Y"], &last).await;
    let set = with_child(&shop, "set", &["A", "B", "C"], &child).await;
    let links = |counts: &[(&CouponSet, Value)]| -> Value {
        counts
            .iter()
            .map(|(set, count)| json!({"couponSetId": set.id, "available": count}))
            .collect()
    };
    for (count, sufficient) in [(1, true), (9, true), (10, false), (1_000_000_000, false)] {
        let answer = ask(&set, &format!("?count={count}")).await.expect(200);
        let expected = json!({"count": count, "sufficient": sufficient, "available": 9,
            "couponSets": links(&[(&set, json!(3)), (&child, json!(2)), (&last, json!(4))])});
        assert_eq!(answer.body, expected);
    }
    // Reserved codes do not count as available, nothing is set aside, and an expired set has nothing.
    set.reserve("ann", 60).await.expect(201);
    child
        .patch(json!({"expiresAt": "2026-01-01"}))
        .await
        .expect(200);
    let answer = ask(&set, "?count=6").await.expect(200);
    let expected = json!({"count": 6, "sufficient": true, "available": 6,
        "couponSets": links(&[(&set, json!(2)), (&child, json!(0)), (&last, json!(4))])});
    assert_eq!(answer.body, expected);
    // Another child for this campaign.
    let other = shop.multiple("other", &["O"]).await;
    let query = format!("?count=4&childCouponSetId={}", other.id);
    let answer = ask(&set, &query).await.expect(200);
    let expected = json!({"count": 4, "sufficient": false, "available": 3,
        "couponSets": links(&[(&set, json!(2)), (&other, json!(1))])});
    assert_eq!(answer.body, expected);
    // One unlimited set is enough for all.
    last.patch(json!({"quantity": null})).await.expect(200);
    let answer = ask(&set, "?count=1000000000").await.expect(200);
    let expected = json!({"count": 1_000_000_000, "sufficient": true, "available": null,
        "couponSets": links(&[(&set, json!(2)), (&child, json!(0)), (&last, Value::Null)])});
    assert_eq!(answer.body, expected);
    assert_eq!(set.counts().await, [2, 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_refused() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &[]).await;
    let set = with_child(&shop, "set", &["A"], &child).await;
    for query in [
        "",
        "?count=",
        "?count=0",
        "?count=-1",
        "?count=1.5",
        "?count=many",
        "?count=1000000001",
        "?count=99999999999999999999",
        "?count=1&childCouponSetId=x",
        "?count=1&until=now",
    ] {
        let answer = ask(&set, query).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
    for cycle in [&set, &with_child(&shop, "parent", &[], &set).await] {
        let query = format!("?count=1&childCouponSetId={}", cycle.id);
        let answer = ask(&set, &query).await;
        assert_eq!(answer.refusal(), "422 child-set-cycle");
    }
    let foreign = app.shop().await.multiple("foreign", &["A"]).await;
    for nowhere in [foreign.id.clone(), Uuid::now_v7().to_string()] {
        let query = format!("?count=1&childCouponSetId={nowhere}");
        let answer = ask(&set, &query).await.expect(422);
        assert_eq!(answer.faults(), ["childCouponSetId"]);
        let nowhere = CouponSet {
            id: nowhere,
            ..set.clone()
        };
        let answer = ask(&nowhere, "?count=1").await;
        assert_eq!(answer.refusal(), "404 not-found");
    }
    let reader = set.at(&Shop {
        client: shop.key_with(&["assignments:write"]).await,
        ..shop.clone()
    });
    let answer = ask(&reader, "?count=1").await;
    assert_eq!(answer.refusal(), "403 missing-scope");
    let lone = shop.multiple("lone", &[]).await;
    lone.delete().await.expect(204);
    assert_eq!(ask(&lone, "?count=1").await.refusal(), "404 not-found");
}

#[tokio::test]
async fn a_batch_is_given_as_a_whole_or_not_at_all_and_its_retry_is_replayed() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A", "B", "C"]).await;
    let four = set
        .assign_all_or_nothing(items(&["ann", "bob", "cat", "dan"]))
        .await;
    assert_eq!(refused(&four), [(3, "coupon-set-exhausted")]);
    assert_eq!(set.counts().await, [3, 0, 0, 0, 0]);
    let list = set.client.get("/v1/assignments").await.expect(200);
    assert_eq!(list.results().len(), 0);
    // The keys do not remember the refusal.
    let three = items(&["ann", "bob", "cat"]);
    let first = set.assign_all_or_nothing(three.clone()).await.expect(200);
    let expected = ["201 assigned A", "201 assigned B", "201 assigned C"];
    assert_eq!(given(&first), expected);
    let again = set.assign_all_or_nothing(three).await.expect(200);
    let expected = ["200 replayed A", "200 replayed B", "200 replayed C"];
    assert_eq!(given(&again), expected);
    // A replayed item counts as served; one refused item withholds all others.
    let two = set.assign_all_or_nothing(items(&["bob", "dan"])).await;
    assert_eq!(refused(&two), [(1, "coupon-set-exhausted")]);
    set.fill(&["D"]).await;
    let two = set.assign_all_or_nothing(items(&["bob", "dan"])).await;
    let expected = ["200 replayed B", "201 assigned D"];
    assert_eq!(given(&two.expect(200)), expected);
    assert_eq!(set.counts().await, [0, 0, 4, 0, 0]);
}

#[tokio::test]
async fn what_a_contact_holds_withholds_a_batch_or_counts_as_given_as_the_set_says() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let contacts = ["bob", "ann", "cat"];
    for (policies, withheld) in [
        (json!({"onRepeat": "refuse"}), Some("already-assigned")),
        (
            json!({"assignmentsPerContact": 1}),
            Some("contact-limit-reached"),
        ),
        (json!({"onRepeat": "sameCode"}), None),
        (json!({"onRepeat": "sameCode", "name": "few"}), None),
    ] {
        let name = policies.to_string();
        let set = shop.multiple(&name, &["A", "B", "C"]).await;
        set.patch(policies).await.expect(200);
        let held = set.assign("ann").await.expect(201);
        let answer = set.assign_all_or_nothing(items(&contacts)).await;
        if let Some(code) = withheld {
            assert_eq!(refused(&answer), [(1, code)]);
            if code == "already-assigned" {
                let error = &answer.body["refused"][0]["error"];
                assert_eq!(error["assignmentId"], held.body["id"]);
            }
            assert_eq!(set.counts().await, [2, 0, 1, 0, 0]);
            // Without that contact the others are served.
            set.release(held.str("id")).await.expect(200);
            let answer = set.assign_all_or_nothing(items(&contacts)).await;
            assert_eq!(given(&answer.expect(200)).len(), 3);
        } else {
            let expected = ["201 assigned B", "200 alreadyAssigned A", "201 assigned C"];
            assert_eq!(given(&answer.expect(200)), expected);
        }
    }
}

#[tokio::test]
async fn a_contact_that_occurs_twice_counts_twice() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let twice = json!([{"contactId": "ann"}, {"contactId": "bob"}, {"contactId": "ann"}]);
    for (policies, withheld) in [
        (json!({"onRepeat": "refuse"}), Some("already-assigned")),
        (
            json!({"assignmentsPerContact": 1}),
            Some("contact-limit-reached"),
        ),
        (json!({"assignmentsPerContact": 2}), None),
        (json!({"onRepeat": "sameCode"}), None),
    ] {
        let set = shop.multiple(&policies.to_string(), &["A", "B", "C"]).await;
        set.patch(policies.clone()).await.expect(200);
        let answer = set.assign_all_or_nothing(twice.clone()).await;
        if let Some(code) = withheld {
            assert_eq!(refused(&answer), [(2, code)]);
            assert_eq!(set.counts().await, [3, 0, 0, 0, 0]);
            continue;
        }
        let last = if policies["onRepeat"] == "sameCode" {
            "200 alreadyAssigned A"
        } else {
            "201 assigned C"
        };
        let expected = ["201 assigned A", "201 assigned B", last];
        assert_eq!(given(&answer.expect(200)), expected);
    }
    // Two items with one key count as one. Under `sameCode` two codes are enough for three items.
    let set = shop.multiple("few", &["A", "B"]).await;
    let answer = set
        .assign_all_or_nothing(items(&["ann", "ann", "bob"]))
        .await;
    let expected = ["201 assigned A", "200 replayed A", "201 assigned B"];
    assert_eq!(given(&answer.expect(200)), expected);
    let set = shop.multiple("same", &["A", "B"]).await;
    set.patch(json!({"onRepeat": "sameCode"})).await.expect(200);
    let answer = set.assign_all_or_nothing(twice).await.expect(200);
    let expected = ["201 assigned A", "201 assigned B", "200 alreadyAssigned A"];
    assert_eq!(given(&answer), expected);
}

#[tokio::test]
async fn a_child_set_completes_a_batch_that_is_given_as_a_whole() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &["X", "Y"]).await;
    let set = with_child(&shop, "set", &["A"], &child).await;
    let four = set
        .assign_all_or_nothing(items(&["a", "b", "c", "d"]))
        .await;
    assert_eq!(refused(&four), [(3, "coupon-set-exhausted")]);
    assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
    assert_eq!(child.counts().await, [2, 0, 0, 0, 0]);
    let three = items(&["a", "b", "c"]);
    let answer = set.assign_all_or_nothing(three.clone()).await.expect(200);
    let expected = ["201 assigned A", "201 assigned X", "201 assigned Y"];
    assert_eq!(given(&answer), expected);
    let again = set.assign_all_or_nothing(three).await.expect(200);
    assert!(
        given(&again)
            .iter()
            .all(|given| given.starts_with("200 replayed"))
    );
    // The same holds for a child that the items name.
    let other = shop.multiple("other", &["O", "P"]).await;
    let item = |contact: &str| json!({"contactId": contact, "childCouponSetId": other.id});
    let answer = set
        .assign_all_or_nothing(json!([item("d"), item("e")]))
        .await;
    assert_eq!(
        given(&answer.expect(200)),
        ["201 assigned O", "201 assigned P"]
    );
    set.patch(json!({"expiresAt": "2026-01-01"}))
        .await
        .expect(200);
    let answer = set.assign_all_or_nothing(json!([item("f")])).await;
    assert_eq!(refused(&answer), [(0, "coupon-set-expired")]);
}

#[tokio::test]
async fn a_batch_that_is_wrong_as_a_whole_is_refused_as_a_whole() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &["X"]).await;
    let set = shop.multiple("set", &["A", "B"]).await;
    for (items, faults) in [
        (
            json!([{"contactId": "ann"}, {"contactId": "bob", "childCouponSetId": child.id}]),
            vec!["/items"],
        ),
        (
            json!([{"contactId": "ann"}, {"contactId": ""}, {"reserveForSeconds": 0}]),
            vec![
                "/items/1/contactId",
                "/items/2/contactId",
                "/items/2/reserveForSeconds",
            ],
        ),
        (
            json!([{"contactId": "ann", "idempotencyKey": "k"}, {"contactId": "bob", "idempotencyKey": "k"}]),
            vec!["/items/1/idempotencyKey"],
        ),
        (json!([]), vec!["/items"]),
    ] {
        let answer = set.assign_all_or_nothing(items).await.expect(422);
        let found: HashSet<&str> = answer.faults().into_iter().collect();
        assert_eq!(found, faults.into_iter().collect());
    }
    let body = json!({"items": [{"contactId": "ann"}], "allOrNothing": "yes"});
    let uri = format!("{}/assignments/batch", set.path());
    let answer = shop.client.post(&uri, body).await.expect(422);
    assert_eq!(answer.faults(), ["/allOrNothing"]);
    // A key already used for another contact is an error of its item alone, and withholds the others.
    set.assign_as("ann", "ann").await.expect(201);
    let items = json!([{"contactId": "cat"}, {"contactId": "bob", "idempotencyKey": "ann"}]);
    let answer = set.assign_all_or_nothing(items).await;
    assert_eq!(refused(&answer), [(1, "idempotency-key-reused")]);
    assert_eq!(set.counts().await, [1, 0, 1, 0, 0]);
    // Without the flag each item is served by itself.
    for all in [json!(false), Value::Null] {
        let body = json!({"items": [{"contactId": ""}], "allOrNothing": all});
        let answer = shop.client.post(&uri, body).await.expect(200);
        assert_eq!(answer.results()[0]["status"], 422);
    }
}

#[tokio::test]
async fn a_key_that_has_ended_withholds_a_batch() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A", "B"]).await;
    let ended = set.assign_as("ann", "ann").await.expect(201);
    set.release(ended.str("id")).await.expect(200);
    let answer = set.assign_all_or_nothing(items(&["ann", "bob"])).await;
    assert_eq!(refused(&answer), [(0, "assignment-released")]);
    let error = &answer.body["refused"][0]["error"];
    assert_eq!(error["assignmentId"], ended.body["id"]);
    assert_eq!(set.counts().await, [2, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_campaigns_that_want_the_last_codes_one_gets_all_and_the_other_nothing() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let codes: Vec<String> = (0..50).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    for round in 0..10 {
        let child = shop.multiple(&format!("child {round}"), &codes[30..]).await;
        let set = with_child(&shop, &format!("set {round}"), &codes[..30], &child).await;
        let there = set.at(&shop.at(&replica));
        let items = |campaign: &str| -> Value {
            let item = |n| json!({"contactId": format!("{campaign} {n}")});
            (0..40).map(item).collect()
        };
        let answers = tokio::join!(
            set.assign_all_or_nothing(items("first")),
            there.assign_all_or_nothing(items("second"))
        );
        let (got, other) = if answers.0.status == 200 {
            answers
        } else {
            (answers.1, answers.0)
        };
        let given: HashSet<String> = given(&got.expect(200)).into_iter().collect();
        assert_eq!(given.len(), 40);
        assert_eq!(refused(&other).len(), 30);
        let available = set.counts().await[0] + child.counts().await[0];
        assert_eq!(available, 10);
    }
}
