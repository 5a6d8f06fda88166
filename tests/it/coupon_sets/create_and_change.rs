//! Creating and changing coupon sets.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::pages::strings;
use crate::support::shop::CouponSet;
use crate::support::{TestApp, eventually, sql};

const SETS: &str = "/v1/coupon-sets";
const NO_SUCH_ID: &str = "01900000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_single_set_has_one_code_for_many_uses() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let body =
        json!({"name": "Welcome popup", "type": "single", "code": "WELCOME15", "quantity": 200});
    let made = shop.client.post(SETS, body).await.expect(201);
    assert_eq!(made.str("id").as_bytes()[14], b'7', "a UUIDv7");
    for (member, value) in [
        ("name", json!("Welcome popup")),
        ("type", json!("single")),
        ("code", json!("WELCOME15")),
        ("quantity", json!(200)),
        ("assigned", json!(0)),
        ("available", json!(200)),
        ("childCouponSetId", Value::Null),
        ("onRepeat", json!("newCode")),
    ] {
        assert_eq!(made.body[member], value, "{member}");
    }
    let set = shop.client.get(&format!("{SETS}/{}", made.str("id"))).await;
    assert_eq!(set.expect(200).body, made.body);
}

#[tokio::test]
async fn a_single_set_without_a_quantity_is_unlimited() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let body = json!({"name": "Always", "type": "single", "code": "ALWAYS"});
    let set = shop.set(body).await;
    assert_eq!(set.counters().await, (Value::Null, 0, Value::Null));
    for contact in ["ann", "bob", "ann"] {
        let given = set.assign(contact).await.expect(201);
        assert_eq!(given.str("couponCode"), "ALWAYS");
    }
    assert_eq!(set.counters().await, (Value::Null, 3, Value::Null));
}

#[tokio::test]
async fn a_multiple_set_has_what_imports_brought() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("Multiple birthday", &[]).await;
    assert_eq!(set.counters().await, (json!(0), 0, json!(0)));
    assert_eq!(set.read().await["code"], Value::Null);
    set.fill(&["A", "B"]).await;
    set.fill(&["B", "C"]).await;
    assert_eq!(set.counters().await, (json!(3), 0, json!(3)));
}

#[tokio::test]
async fn all_errors_of_a_new_set_are_reported_at_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let long = "é".repeat(201);
    for (body, faults) in [
        (json!({}), vec!["/name", "/type"]),
        (
            json!({"name": "", "type": "double", "onRepeat": "maybe", "childCouponSetId": "x", "color": 1}),
            vec!["/name", "/type", "/childCouponSetId", "/onRepeat", "/color"],
        ),
        (
            json!({"name": "a", "type": "multiple", "code": "A", "quantity": 5}),
            vec!["/code", "/quantity"],
        ),
        (json!({"name": "a", "type": "single"}), vec!["/code"]),
        (
            json!({"name": long, "type": "single", "code": "a\tb", "quantity": 0}),
            vec!["/name", "/code", "/quantity"],
        ),
        (
            json!({"name": "a\u{0}", "type": "single", "code": "x".repeat(256), "quantity": 2_147_483_648_u32}),
            vec!["/name", "/code", "/quantity"],
        ),
        (
            json!({"name": 1, "type": "single", "code": "A", "quantity": 1.5}),
            vec!["/name", "/quantity"],
        ),
        (
            json!({"name": "a", "type": "multiple", "childCouponSetId": NO_SUCH_ID}),
            vec!["/childCouponSetId"],
        ),
        (
            json!({"name": "a", "type": "multiple", "a/b~c": 1}),
            vec!["/a~1b~0c"],
        ),
    ] {
        let answer = shop.client.post(SETS, body.clone()).await.expect(422);
        assert_eq!(answer.faults(), faults, "{body}");
    }
    assert_eq!(
        shop.client.get(SETS).await.expect(200).results().len(),
        0,
        "nothing was created"
    );
}

#[tokio::test]
async fn the_largest_values_are_taken() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let name = "é".repeat(200);
    let body =
        json!({"name": name, "type": "single", "code": "x".repeat(255), "quantity": i32::MAX});
    let set = shop.set(body).await;
    assert_eq!(set.read().await["name"], name);
    assert_eq!(set.counters().await.0, json!(i32::MAX));
}

#[tokio::test]
async fn names_are_unique_in_a_tenant_without_regard_to_case() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    for (first, second) in [
        ("Birthday", "bIRTHday"),
        ("ÉTÉ", "été"),
        ("Ñandú", "ÑANDÚ"),
        ("Привет", "ПРИВЕТ"),
        ("Padded", "  padded "),
    ] {
        let set = shop.multiple(first, &[]).await;
        let again = json!({"name": second, "type": "single", "code": "X"});
        let answer = shop.client.post(SETS, again).await;
        assert_eq!(answer.refusal(), "409 name-taken", "{second}");
        let another = shop.multiple(&format!("{first} 2"), &[]).await;
        let answer = another.patch(json!({"name": second})).await;
        assert_eq!(answer.refusal(), "409 name-taken", "{second}");
        // A set may change the case of its own name, and another tenant has its own names.
        let patched = set.patch(json!({"name": second})).await.expect(200);
        assert_eq!(patched.str("name"), second.trim());
        other.multiple(second, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_take_one_name_at_once_one_succeeds() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let rival = shop.multiple("another", &[]).await;
    let creating = (0..8).map(|_| {
        shop.client
            .post(SETS, json!({"name": "New", "type": "multiple"}))
    });
    let (created, renamed) = tokio::join!(join_all(creating), rival.patch(json!({"name": "NEW"})));
    let won = created
        .iter()
        .chain([&renamed])
        .filter(|answer| answer.status.is_success());
    assert_eq!(won.count(), 1);
    for answer in created
        .iter()
        .chain([&renamed])
        .filter(|a| !a.status.is_success())
    {
        assert_eq!(answer.refusal(), "409 name-taken");
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.single("child", "C", None).await;
    let set = shop.single("first", "S", Some(5)).await;
    let mut expected = set.read().await;
    for patch in [
        json!({"name": "second"}),
        json!({"quantity": 7}),
        json!({"quantity": null}),
        json!({"childCouponSetId": child.id}),
        json!({"childCouponSetId": null}),
        json!({"onRepeat": "sameCode"}),
        json!({"onRepeat": "refuse"}),
        json!({"name": "third", "quantity": 9, "childCouponSetId": child.id, "onRepeat": "newCode"}),
        json!({}),
    ] {
        let answer = set.patch(patch.clone()).await.expect(200);
        for (member, value) in patch.as_object().unwrap() {
            expected[member] = value.clone();
            if member == "quantity" {
                expected["available"] = value.clone();
            }
        }
        assert!(answer.str("updatedAt") >= expected["updatedAt"].as_str().unwrap());
        expected["updatedAt"] = answer.body["updatedAt"].clone();
        assert_eq!(answer.body, expected, "{patch}");
        assert_eq!(set.read().await, expected);
    }
}

#[tokio::test]
async fn a_patch_that_is_refused_changes_nothing() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    shop.multiple("taken", &[]).await;
    let child = shop.single("child", "C", None).await;
    let set = shop.single("mine", "S", Some(5)).await;
    set.assign("ann").await.expect(201);
    set.assign("bob").await.expect(201);
    let before = set.read().await;
    for (patch, refusal) in [
        (
            json!({"quantity": 9, "name": "TAKEN", "childCouponSetId": child.id}),
            "409 name-taken",
        ),
        (
            json!({"name": "x", "quantity": 1}),
            "409 quantity-below-assigned",
        ),
        (
            json!({"name": "x", "childCouponSetId": set.id}),
            "422 child-set-cycle",
        ),
        (
            json!({"name": "x", "childCouponSetId": NO_SUCH_ID}),
            "422 validation-failed",
        ),
        (
            json!({"name": "x", "quantity": "7"}),
            "422 validation-failed",
        ),
    ] {
        assert_eq!(set.patch(patch).await.refusal(), refusal);
        assert_eq!(set.read().await, before);
    }
}

#[tokio::test]
async fn type_and_code_cannot_be_changed_and_all_errors_of_a_patch_are_reported_at_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let single = shop.single("single", "S", None).await;
    let multiple = shop.multiple("multiple", &[]).await;
    let patch = json!({"type": "multiple", "code": "T", "name": null, "quantity": -1,
        "childCouponSetId": 7, "onRepeat": null, "id": single.id});
    for set in [&single, &multiple] {
        let mut answer = set.patch(patch.clone()).await.expect(422);
        let mut faults = answer.faults();
        faults.sort_unstable();
        assert_eq!(
            faults,
            [
                "/childCouponSetId",
                "/code",
                "/id",
                "/name",
                "/onRepeat",
                "/quantity",
                "/type"
            ]
        );
        // Not even to the present value.
        answer = set.patch(json!({"type": "single"})).await.expect(422);
        assert_eq!(answer.faults(), ["/type"]);
    }
    let answer = single.patch(json!({"code": "S"})).await.expect(422);
    assert_eq!(answer.faults(), ["/code"]);
}

#[tokio::test]
async fn only_a_single_set_takes_a_quantity() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("multiple", &["A"]).await;
    for quantity in [json!(5), Value::Null] {
        let answer = set.patch(json!({"quantity": quantity})).await.expect(422);
        assert_eq!(answer.faults(), ["/quantity"]);
    }
    assert_eq!(set.counters().await, (json!(1), 0, json!(1)));
}

#[tokio::test]
async fn a_quantity_cannot_be_set_below_what_is_assigned() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("single", "S", None).await;
    for contact in ["ann", "bob", "cat"] {
        set.assign(contact).await.expect(201);
    }
    let answer = set.patch(json!({"quantity": 2})).await;
    assert_eq!(answer.refusal(), "409 quantity-below-assigned");
    assert_eq!(answer.body["assigned"], 3);
    set.patch(json!({"quantity": 3})).await.expect(200);
    assert_eq!(set.counters().await, (json!(3), 3, json!(0)));
    assert_eq!(
        set.assign("dan").await.refusal(),
        "409 coupon-set-exhausted"
    );
    set.patch(json!({"quantity": 4})).await.expect(200);
    set.assign("dan").await.expect(201);
    set.patch(json!({"quantity": null})).await.expect(200);
    assert_eq!(set.counters().await, (Value::Null, 4, Value::Null));
}

#[tokio::test]
async fn a_patch_of_the_quantity_waits_for_codes_that_are_being_assigned() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("single", "S", Some(5)).await;
    set.assign("ann").await.expect(201);
    let mut owner = app.database.owner.acquire().await.unwrap();
    let mut dealing = owner.begin().await.unwrap();
    let deal = format!(
        "select outcome from assign_batch((select tenant_id from tenants), '{}', null, false, false,
           array[gen_random_uuid()], '{{bob}}', '{{null}}', '{{null}}', '{{null}}', '{{null}}', '{{null}}')",
        set.id
    );
    assert_eq!(sql::value::<String>(&mut dealing, deal).await, "assigned");
    let finishing = async {
        eventually("the patch waits", async || {
            let mut other = app.database.owner.acquire().await.unwrap();
            let waiting = "select exists (select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock')";
            sql::value::<bool>(&mut other, waiting).await.then_some(())
        })
        .await;
        dealing.commit().await.unwrap();
    };
    let (patched, ()) = tokio::join!(set.patch(json!({"quantity": 1})), finishing);
    assert_eq!(patched.refusal(), "409 quantity-below-assigned");
    assert_eq!(set.counters().await, (json!(5), 2, json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quantity_that_shrinks_while_codes_are_assigned_is_never_exceeded() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let set = shop.single("single", "S", Some(5000)).await;
    let there = CouponSet {
        client: shop.at(&replica).client,
        id: set.id.clone(),
    };
    let assigning = async |set: &CouponSet, name: &str| {
        let mut given = 0;
        for n in 0.. {
            let answer = set.assign(&format!("{name} {n}")).await;
            if answer.status == 409 {
                assert_eq!(answer.problem(), "coupon-set-exhausted");
                break;
            }
            answer.expect(201);
            given += 1;
        }
        given
    };
    let shrinking = async {
        loop {
            let (quantity, assigned, available) = set.counters().await;
            assert!(available.as_i64() >= Some(0), "{available}");
            if available == json!(0) {
                return;
            }
            // Just above the value read, which concurrent requests usually exceed by then.
            let less = Some(assigned + 3).min(quantity.as_i64());
            let patched = set.patch(json!({"quantity": less})).await;
            if patched.status == 409 {
                assert_eq!(patched.problem(), "quantity-below-assigned");
            } else {
                let set = patched.expect(200).body;
                assert!(set["assigned"].as_i64() <= set["quantity"].as_i64());
            }
        }
    };
    let (a, b, c, ()) = tokio::join!(
        assigning(&set, "a"),
        assigning(&there, "b"),
        assigning(&there, "c"),
        shrinking
    );
    assert_eq!(
        set.counters().await,
        (json!(a + b + c), a + b + c, json!(0))
    );
}

#[tokio::test]
async fn a_deleted_set_is_gone_and_its_name_is_free_again() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("Birthday", &["A"]).await;
    let other = shop.multiple("other", &[]).await;
    set.delete().await.expect(204);
    let statistics = format!("{}/statistics", set.path());
    for answer in [
        shop.client.get(&set.path()).await,
        set.patch(json!({"name": "x"})).await,
        set.delete().await,
        set.assign("ann").await,
        set.upload("text/plain", "", "B").await,
        shop.client.get(&statistics).await,
    ] {
        assert_eq!(answer.refusal(), "404 not-found");
    }
    let child = json!({"childCouponSetId": set.id});
    assert_eq!(
        other.patch(child).await.expect(422).faults(),
        ["/childCouponSetId"]
    );
    let again = shop.multiple("birthday", &["A"]).await;
    let list = shop
        .client
        .get(&format!("{SETS}?q=birthday"))
        .await
        .expect(200);
    assert_eq!(*list.results(), [again.read().await]);
}

#[tokio::test]
async fn the_history_of_a_deleted_set_stays_readable() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A", "B", "C"]).await;
    let mut given = Vec::new();
    for contact in ["ann", "bob"] {
        given.push(set.assign(contact).await.expect(201));
    }
    set.delete().await.expect(204);
    // A new set with the same name has its own history.
    let again = shop.multiple("birthday", &["D"]).await;
    again.assign("cat").await.expect(201);
    let list = format!("/v1/assignments?couponSetId={}", set.id);
    let list = shop.client.get(&list).await.expect(200);
    let mut codes = strings(list.results(), "couponCode");
    codes.sort();
    assert_eq!(codes, ["A", "B"]);
    for given in given {
        let uri = format!("/v1/assignments/{}", given.str("id"));
        let found = shop.client.get(&uri).await.expect(200);
        for member in ["couponCode", "contactId", "couponSetId", "assignedAt"] {
            assert_eq!(found.body[member], given.body[member]);
        }
    }
    let imports = format!("/v1/imports?couponSetId={}", set.id);
    let imports = shop.client.get(&imports).await.expect(200);
    assert_eq!(imports.results()[0]["success"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_exact_in_every_answer_while_codes_come_and_go() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["seed"]).await;
    let there = CouponSet {
        client: shop.at(&replica).client,
        id: set.id.clone(),
    };
    let filling = async {
        for lot in 0..5 {
            let codes: Vec<String> = (0..40).map(|n| format!("{lot}-{n}")).collect();
            let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
            set.fill(&codes).await;
        }
    };
    let assigning = async {
        let mut given = 0;
        while given < 150 {
            let contacts: Vec<String> = (0..10).map(|n| format!("{given} {n}")).collect();
            let answers = join_all(contacts.iter().map(|contact| there.assign(contact))).await;
            given += answers.iter().filter(|answer| answer.status == 201).count();
            // `counters` checks that they add up.
            let (_, assigned, _) = set.counters().await;
            assert_eq!(assigned, i64::try_from(given).unwrap());
        }
        given
    };
    let (given, ()) = tokio::join!(assigning, filling);
    let given = i64::try_from(given).unwrap();
    assert_eq!(
        set.counters().await,
        (json!(201), given, json!(201 - given))
    );
}
