//! Promises of assignment, as one caller sees them.

use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn two_contacts_never_get_the_same_code() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A", "B"]).await;
    let ann = set.assign("ann").await.expect(201);
    let bob = set.assign("bob").await.expect(201);
    assert_eq!((ann.str("couponCode"), bob.str("couponCode")), ("A", "B"));
    assert_eq!(
        set.assign("cat").await.refusal(),
        "409 coupon-set-exhausted"
    );
    assert_eq!(set.counters().await, (json!(2), 2, json!(0)));
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_for_ever() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A"]).await;
    let asked = json!({"contactId": "ann", "workflowId": "w", "nodeId": "n", "executionId": "e"});
    let first = set.assign_with(asked, Some("k")).await.expect(201);
    assert_eq!(first.str("outcome"), "assigned");

    set.fill(&["B"]).await;
    set.patch(json!({"onRepeat": "refuse"})).await.expect(200);
    // The rest of the retry's body and the replica that receives it make no difference.
    for (replica, asked) in [
        (
            shop.clone(),
            json!({"contactId": "ann", "workflowId": "w", "nodeId": "n", "executionId": "e"}),
        ),
        (
            shop.at(&app.replica()),
            json!({"contactId": "ann", "workflowId": "other"}),
        ),
        (
            shop.clone(),
            json!({"contactId": "ann", "childCouponSetId": "01890000-0000-7000-8000-000000000000"}),
        ),
    ] {
        let mut set = set.clone();
        set.client = replica.client;
        let again = set.assign_with(asked, Some("k")).await.expect(200);
        assert_eq!(again.str("outcome"), "replayed");
        for member in [
            "id",
            "couponCode",
            "assignedAt",
            "workflowId",
            "nodeId",
            "executionId",
            "contactId",
        ] {
            assert_eq!(again.body[member], first.body[member], "{member}");
        }
    }
    assert_eq!(set.counters().await, (json!(2), 1, json!(1)));
}

#[tokio::test]
async fn a_key_that_was_used_for_another_contact_is_refused() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A", "B"]).await;
    set.assign_as("ann", "k").await.expect(201);
    assert_eq!(
        set.assign_as("bob", "k").await.refusal(),
        "422 idempotency-key-reused"
    );
    assert_eq!(set.counters().await.1, 1);
}

#[tokio::test]
async fn a_key_belongs_to_the_set_that_was_asked() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let birthday = shop.multiple("birthday", &["A"]).await;
    let summer = shop.multiple("summer", &["S"]).await;
    let child = shop.single("welcome", "WELCOME15", None).await;
    for empty in ["first", "second"] {
        let parent = shop
            .set(json!({"name": empty, "type": "multiple", "childCouponSetId": child.id}))
            .await;
        assert_eq!(
            parent
                .assign_as("ann", "k")
                .await
                .expect(201)
                .str("couponCode"),
            "WELCOME15"
        );
    }
    assert_eq!(
        birthday
            .assign_as("ann", "k")
            .await
            .expect(201)
            .str("couponCode"),
        "A"
    );
    assert_eq!(
        summer
            .assign_as("bob", "k")
            .await
            .expect(201)
            .str("couponCode"),
        "S"
    );
    child.assign_as("bob", "k").await.expect(201);
    assert_eq!(child.counters().await.1, 3);
}

#[tokio::test]
async fn a_key_that_the_service_made_can_be_sent_back() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A", "B"]).await;
    let first = set.assign("ann").await.expect(201);
    let again = set
        .assign_as("ann", first.str("idempotencyKey"))
        .await
        .expect(200);
    assert_eq!(again.body["id"], first.body["id"]);
}

#[tokio::test]
async fn a_refusal_is_not_remembered_for_its_key() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &[]).await;
    assert_eq!(
        set.assign_as("ann", "k").await.refusal(),
        "409 coupon-set-exhausted"
    );
    set.fill(&["A"]).await;
    assert_eq!(
        set.assign_as("ann", "k")
            .await
            .expect(201)
            .str("couponCode"),
        "A"
    );
}

#[tokio::test]
async fn by_default_a_contact_gets_a_new_code_each_time() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A", "B"]).await;
    assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), "A");
    assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), "B");
}

#[tokio::test]
async fn same_code_gives_a_contact_what_it_holds() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop
        .set(json!({"name": "birthday", "type": "multiple", "onRepeat": "sameCode"}))
        .await;
    set.fill(&["A", "B", "C"]).await;
    let first = set.assign_as("ann", "k1").await.expect(201);
    let second = set.assign_as("ann", "k2").await.expect(200);
    assert_eq!(second.str("outcome"), "alreadyAssigned");
    assert_eq!(second.body["id"], first.body["id"]);

    // The second key has its result too; later changes of the policy do not affect it.
    set.patch(json!({"onRepeat": "newCode"})).await.expect(200);
    let again = set.assign_as("ann", "k2").await.expect(200);
    assert_eq!(
        (again.str("outcome"), &again.body["id"]),
        ("replayed", &first.body["id"])
    );
    assert_eq!(
        set.assign_as("bob", "k2").await.refusal(),
        "422 idempotency-key-reused"
    );
    assert_eq!(set.counters().await, (json!(3), 1, json!(2)));
}

#[tokio::test]
async fn refuse_gives_a_contact_no_second_code() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop
        .set(json!({"name": "birthday", "type": "multiple", "onRepeat": "refuse"}))
        .await;
    set.fill(&["A", "B"]).await;
    let first = set.assign_as("ann", "k").await.expect(201);
    let refused = set.assign("ann").await;
    assert_eq!(refused.refusal(), "409 already-assigned");
    assert_eq!(refused.body["assignmentId"], first.body["id"]);
    // A retry with its own key is not a second request.
    set.assign_as("ann", "k").await.expect(200);
    assert_eq!(set.counters().await, (json!(2), 1, json!(1)));
}

#[tokio::test]
async fn a_single_set_gives_its_code_as_often_as_its_quantity_says() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("welcome", "WELCOME15", Some(2)).await;
    for contact in ["ann", "bob"] {
        assert_eq!(
            set.assign(contact).await.expect(201).str("couponCode"),
            "WELCOME15"
        );
    }
    assert_eq!(
        set.assign("cat").await.refusal(),
        "409 coupon-set-exhausted"
    );
    assert_eq!(set.counters().await, (json!(2), 2, json!(0)));
    set.patch(json!({"quantity": null})).await.expect(200);
    set.assign("cat").await.expect(201);
    assert_eq!(set.counters().await, (Value::Null, 3, Value::Null));
}

#[tokio::test]
async fn an_exhausted_set_falls_back_to_its_child() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.single("welcome", "WELCOME15", Some(2)).await;
    let set = shop
        .set(json!({"name": "birthday", "type": "multiple", "childCouponSetId": child.id}))
        .await;
    set.fill(&["A"]).await;
    assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), "A");
    let served = set.assign_as("bob", "k").await.expect(201);
    assert_eq!(served.str("couponCode"), "WELCOME15");
    assert_eq!(served.str("couponSetId"), child.id);
    assert_eq!(served.str("requestedCouponSetId"), set.id);
    // The counters of the set that served change.
    assert_eq!(set.counters().await, (json!(1), 1, json!(0)));
    assert_eq!(child.counters().await, (json!(2), 1, json!(1)));

    // A refill does not affect a key that the child has served.
    set.fill(&["B"]).await;
    let again = set.assign_as("bob", "k").await.expect(200);
    assert_eq!(
        (again.str("outcome"), &again.body["id"]),
        ("replayed", &served.body["id"])
    );
    assert_eq!(set.assign("cat").await.expect(201).str("couponCode"), "B");
}

#[tokio::test]
async fn the_child_of_the_request_goes_before_the_sets_own() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let own = shop.single("own", "OWN", None).await;
    let other = shop.single("other", "OTHER", None).await;
    let set = shop
        .set(json!({"name": "empty", "type": "multiple", "childCouponSetId": own.id}))
        .await;
    assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), "OWN");
    let asked = json!({"contactId": "bob", "childCouponSetId": other.id});
    assert_eq!(
        set.assign_with(asked, None)
            .await
            .expect(201)
            .str("couponCode"),
        "OTHER"
    );
}

#[tokio::test]
async fn on_repeat_is_judged_on_the_requested_set_whoever_served() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop
        .set(json!({"name": "child", "type": "single", "code": "CHILD", "onRepeat": "refuse"}))
        .await;
    let set = shop
        .set(json!({"name": "empty", "type": "multiple", "childCouponSetId": child.id, "onRepeat": "sameCode"}))
        .await;
    let first = set.assign("ann").await.expect(201);
    set.fill(&["A"]).await;
    let held = set.assign("ann").await.expect(200);
    assert_eq!(
        (held.str("outcome"), &held.body["id"]),
        ("alreadyAssigned", &first.body["id"])
    );
    // Codes that a contact got through the parent do not count for requests to the child itself.
    child.assign("ann").await.expect(201);
    assert_eq!(child.assign("ann").await.refusal(), "409 already-assigned");
}

#[tokio::test]
async fn a_chain_is_walked_to_its_end_and_no_further_than_five() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut next = shop.single("5", "LAST", Some(1)).await;
    for name in ["4", "3", "2", "1"] {
        next = shop
            .set(json!({"name": name, "type": "multiple", "childCouponSetId": next.id}))
            .await;
    }
    assert_eq!(
        next.assign("ann").await.expect(201).str("couponCode"),
        "LAST"
    );
    assert_eq!(
        next.assign("bob").await.refusal(),
        "409 coupon-set-exhausted"
    );

    // A set without a child of its own; the request names a chain of five.
    let sixth = shop.multiple("0", &["A"]).await;
    let asked = json!({"contactId": "ann", "childCouponSetId": next.id});
    assert_eq!(
        sixth.assign_with(asked, None).await.refusal(),
        "422 child-set-chain-too-long"
    );
    assert_eq!(sixth.counters().await.1, 0);
}

#[tokio::test]
async fn a_child_that_leads_nowhere_is_refused_before_anything_is_assigned() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A"]).await;
    let parent = shop
        .set(json!({"name": "parent", "type": "multiple", "childCouponSetId": set.id}))
        .await;
    let foreign = app.shop().await.single("foreign", "F", None).await;
    for (child, refusal) in [
        (&set.id, "422 child-set-cycle"),
        (&parent.id, "422 child-set-cycle"),
        (&foreign.id, "422 validation-failed"),
    ] {
        let asked = json!({"contactId": "ann", "childCouponSetId": child});
        assert_eq!(set.assign_with(asked, None).await.refusal(), refusal);
    }
    assert_eq!(set.counters().await.1, 0);
}

#[tokio::test]
async fn an_unknown_or_deleted_set_hands_out_nothing() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut set = shop.multiple("birthday", &["A", "B"]).await;
    let kept = set.assign_as("ann", "k").await.expect(201);
    set.delete().await.expect(204);
    assert_eq!(set.assign("bob").await.refusal(), "404 not-found");
    assert_eq!(set.assign_as("ann", "k").await.refusal(), "404 not-found");
    // Its history is kept.
    let found = shop
        .client
        .get(&format!("/v1/assignments/{}", kept.str("id")))
        .await
        .expect(200);
    assert_eq!(found.str("couponCode"), "A");
    set.id = "01890000-0000-7000-8000-000000000000".to_owned();
    assert_eq!(set.assign("bob").await.refusal(), "404 not-found");
}

#[tokio::test]
async fn a_contact_id_is_kept_as_it_is_or_refused() {
    let app = TestApp::start().await;
    let set = app.shop().await.single("welcome", "W", None).await;
    for contact in [
        " ann ",
        "ünï ✓",
        "a/b?c=d&e",
        &"x".repeat(255),
        "'; drop table contacts; --",
    ] {
        assert_eq!(
            set.assign(contact).await.expect(201).str("contactId"),
            contact
        );
    }
    for contact in [
        "",
        "a\u{0}b",
        "a\nb",
        "\u{7f}",
        &"x".repeat(256),
        &"x".repeat(10_000),
    ] {
        assert_eq!(
            set.assign(contact).await.expect(422).faults(),
            ["/contactId"],
            "{contact:?}"
        );
    }
    for body in [
        json!({}),
        json!({"contactId": 5}),
        json!({"contactId": null}),
        json!({"contactId": ["a"]}),
    ] {
        assert_eq!(
            set.assign_with(body, None).await.expect(422).faults(),
            ["/contactId"]
        );
    }
    let wrong = json!({"contact": "ann", "workflowId": "", "childCouponSetId": "x", "nodeId": 7});
    let faults = [
        "/contactId",
        "/childCouponSetId",
        "/workflowId",
        "/nodeId",
        "/contact",
    ];
    assert_eq!(
        set.assign_with(wrong, None).await.expect(422).faults(),
        faults
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused() {
    let app = TestApp::start().await;
    let set = app.shop().await.single("welcome", "W", None).await;
    set.assign_as("ann", &"k".repeat(200)).await.expect(201);
    for key in ["", &"k".repeat(201), "ä"] {
        assert_eq!(
            set.assign_as("ann", key).await.refusal(),
            "400 malformed-request",
            "{key:?}"
        );
    }
}
