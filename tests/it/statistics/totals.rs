//! Totals of statistics: exact at the time of the response.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, eventually};

async fn of_set(set: &CouponSet) -> Value {
    let uri = format!("{}/statistics", set.path());
    set.client.get(&uri).await.expect(200).body
}

async fn of_tenant(shop: &Shop) -> Value {
    shop.client.get("/v1/statistics").await.expect(200).body
}

/// Totals of a set whose assigned codes are all held by their contacts.
fn totals(quantity: impl Into<Value>, available: impl Into<Value>, assigned: i64) -> Value {
    json!({
        "quantity": quantity.into(),
        "available": available.into(),
        "assigned": assigned,
        "reserved": 0,
        "sent": 0,
        "used": 0,
        "released": 0,
        "void": 0,
        "expired": 0,
        "withdrawn": 0,
        "servedForOthers": 0,
    })
}

/// The totals of a child that served `for_others` requests of other sets.
fn served(mut totals: Value, for_others: i64) -> Value {
    totals["servedForOthers"] = json!(for_others);
    totals
}

async fn check_tenant(shop: &Shop, sets: i64, totals: &Value) {
    let statistics = of_tenant(shop).await;
    assert_eq!(statistics["couponSets"], sets);
    assert_eq!(statistics["totals"], *totals);
}

#[tokio::test]
async fn an_empty_tenant_has_zeros() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    check_tenant(&shop, 0, &totals(0, 0, 0)).await;
}

#[tokio::test]
async fn the_totals_of_a_set_are_exact_after_each_step() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &[]).await;
    let check = async |quantity: i64, available: i64, assigned: i64| {
        let statistics = of_set(&set).await;
        assert_eq!(statistics["couponSetId"], set.id);
        assert_eq!(statistics["totals"], totals(quantity, available, assigned));
    };
    check(0, 0, 0).await;
    set.fill(&["A", "B"]).await;
    check(2, 2, 0).await;
    set.assign_as("ann", "key").await.expect(201);
    check(2, 1, 1).await;
    set.assign_as("ann", "key").await.expect(200);
    check(2, 1, 1).await;
    set.assign("bob").await.expect(201);
    check(2, 0, 2).await;
    assert_eq!(
        set.assign("cat").await.refusal(),
        "409 coupon-set-exhausted"
    );
    check(2, 0, 2).await;
    set.fill(&["A", "C"]).await;
    check(3, 1, 2).await;
    set.assign("cat").await.expect(201);
    check(3, 0, 3).await;
}

#[tokio::test]
async fn the_totals_follow_all_that_happens_to_an_assignment() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let birthday = shop.multiple("birthday", &["A", "B", "C", "D"]).await;
    let give = async |contact: &str, reserve: Value| {
        let body = json!({"contactId": contact, "reserveForSeconds": reserve});
        let given = birthday.assign_with(body, None).await.expect(201);
        format!("/v1/assignments/{}", given.str("id"))
    };
    let record = async |assignment: &str, event: &str| {
        let uri = format!("{assignment}/{event}");
        shop.client.post(&uri, json!({})).await.expect(200);
    };
    // Available, reserved, assigned, sent, used, released and void.
    let check = async |expected: [i64; 7]| {
        let [available, reserved, assigned, sent, used, released, void] = expected;
        let expected = json!({
            "quantity": 4,
            "available": available,
            "reserved": reserved,
            "assigned": assigned,
            "sent": sent,
            "used": used,
            "released": released,
            "void": void,
            "expired": 0,
            "withdrawn": 0,
            "servedForOthers": 0,
        });
        assert_eq!(of_set(&birthday).await["totals"], expected);
        assert_eq!(of_tenant(&shop).await["totals"], expected);
    };
    let ann = give("ann", json!(600)).await;
    check([3, 1, 0, 0, 0, 0, 0]).await;
    record(&ann, "confirm").await;
    check([3, 0, 1, 0, 0, 0, 0]).await;
    record(&ann, "sent").await;
    check([3, 0, 1, 1, 0, 0, 0]).await;
    record(&ann, "used").await;
    check([3, 0, 1, 1, 1, 0, 0]).await;
    // A repeated event changes nothing.
    record(&ann, "used").await;
    check([3, 0, 1, 1, 1, 0, 0]).await;
    let bob = give("bob", Value::Null).await;
    record(&bob, "release").await;
    check([3, 0, 1, 1, 1, 1, 0]).await;
    let cat = give("cat", json!(600)).await;
    record(&cat, "release").await;
    check([3, 0, 1, 1, 1, 2, 0]).await;
    let dan = give("dan", Value::Null).await;
    record(&dan, "void").await;
    check([2, 0, 1, 1, 1, 2, 1]).await;
    // An expired reservation counts as released once it was swept, and as available from its end on.
    give("eve", json!(1)).await;
    eventually("the reservation is ended", async || {
        (of_set(&birthday).await["totals"]["released"] == 3).then_some(())
    })
    .await;
    check([2, 0, 1, 1, 1, 3, 1]).await;
}

#[tokio::test]
async fn the_totals_of_single_sets_follow_their_quantity_and_are_null_without_one() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("welcome", "W", Some(3)).await;
    set.assign("ann").await.expect(201);
    assert_eq!(of_set(&set).await["totals"], totals(3, 2, 1));
    set.patch(json!({"quantity": 5})).await.expect(200);
    assert_eq!(of_set(&set).await["totals"], totals(5, 4, 1));
    set.patch(json!({"quantity": null})).await.expect(200);
    set.assign("bob").await.expect(201);
    assert_eq!(
        of_set(&set).await["totals"],
        totals(Value::Null, Value::Null, 2)
    );
    // A tenant's totals include only limited sets.
    check_tenant(&shop, 1, &totals(0, 0, 2)).await;
}

#[tokio::test]
async fn what_a_child_served_counts_at_the_child() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.single("child", "C", Some(10)).await;
    let body = json!({"name": "main", "type": "multiple", "childCouponSetId": child.id});
    let set = shop.set(body).await;
    set.fill(&["A"]).await;
    for contact in ["ann", "bob", "cat"] {
        set.assign(contact).await.expect(201);
    }
    assert_eq!(of_set(&set).await["totals"], totals(1, 0, 1));
    let of_child = served(totals(10, 8, 2), 2);
    assert_eq!(of_set(&child).await["totals"], of_child);
    check_tenant(&shop, 2, &served(totals(11, 8, 3), 2)).await;
}

#[tokio::test]
async fn the_totals_of_a_tenant_are_the_sums_over_its_sets() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    other
        .multiple("other", &["X", "Y"])
        .await
        .assign("ann")
        .await
        .expect(201);
    let multiple = shop.multiple("multiple", &["A", "B", "C"]).await;
    let single = shop.single("single", "S", Some(10)).await;
    let unlimited = shop.single("unlimited", "U", None).await;
    let deleted = shop.multiple("deleted", &["D", "E"]).await;
    for (set, uses) in [(&multiple, 2), (&single, 3), (&unlimited, 4), (&deleted, 1)] {
        for n in 0..uses {
            set.assign(&format!("contact {n}")).await.expect(201);
        }
    }
    check_tenant(&shop, 4, &totals(3 + 10 + 2, 1 + 7 + 1, 2 + 3 + 4 + 1)).await;
    // Assignments of a deleted set stay; its remaining codes are gone.
    deleted.delete().await.expect(204);
    check_tenant(&shop, 3, &totals(3 + 10, 1 + 7, 2 + 3 + 4 + 1)).await;
    check_tenant(&other, 1, &totals(2, 1, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_totals_add_up_in_every_answer_while_codes_are_assigned() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let codes: Vec<String> = (0..60).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let multiple = shop.multiple("multiple", &codes).await;
    let single = shop.single("single", "S", Some(60)).await;
    let there = shop.at(&replica);
    let assigning = async {
        for round in 0..20 {
            let contacts: Vec<String> = (0..3).map(|n| format!("{round} {n}")).collect();
            let asked = [&multiple, &single].into_iter();
            let asked = asked.flat_map(|set| contacts.iter().map(|contact| set.assign(contact)));
            for answer in join_all(asked).await {
                answer.expect(201);
            }
            let exact = totals(120, 120 - (round + 1) * 6, (round + 1) * 6);
            assert_eq!(of_tenant(&there).await["totals"], exact);
        }
    };
    let mut assigning = std::pin::pin!(assigning);
    loop {
        tokio::select! {
            () = &mut assigning => break,
            answer = of_tenant(&there) => {
                let totals = &answer["totals"];
                let number = |name: &str| totals[name].as_i64().unwrap();
                let places = ["available", "reserved", "assigned", "void", "expired"];
                assert_eq!(number("quantity"), places.into_iter().map(number).sum::<i64>());
            }
        }
    }
    assert_eq!(of_tenant(&shop).await["totals"], totals(120, 0, 120));
}
