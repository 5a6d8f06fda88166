//! Attributes imported with a code are returned with it wherever it is shown.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::shop::CouponSet;

/// A set with these imported codes, each with its attributes.
async fn set_of(app: &TestApp, policies: Value, codes: Value) -> CouponSet {
    let mut set = json!({"name": "set", "type": "multiple"});
    let policies = policies.as_object().expect("policies").clone();
    set.as_object_mut().expect("a set").extend(policies);
    let set = app.shop().await.set(set).await;
    let import = set
        .client
        .post(&format!("{}/imports", set.path()), json!({"codes": codes}))
        .await;
    set.ended(import.expect(201).str("id")).await;
    set
}

fn attributes_of(assignments: &[Value]) -> Vec<(&str, &Value)> {
    assignments
        .iter()
        .map(|assignment| {
            let code = assignment["couponCode"].as_str().expect("a code");
            (code, &assignment["attributes"])
        })
        .collect()
}

#[tokio::test]
async fn a_column_of_a_file_comes_back_with_the_assignment_however_it_is_asked_for() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    let file = "code,campaign,value\nA,spring,5 €\nB,,\n";
    let import = set.upload("text/csv", "?attributeColumns=*", file).await;
    set.ended(import.expect(201).str("id")).await;
    let expected = json!({"campaign": "spring", "value": "5 €"});

    let first = set.assign_as("ann", "one").await.expect(201);
    let again = set.assign_as("ann", "one").await.expect(200);
    let found = set.assignment(first.str("id")).await;
    let listed = set.client.get("/v1/assignments?contactId=ann").await;
    for answer in [&first.body, &again.body, &found, &listed.results()[0]] {
        assert_eq!(answer["attributes"], expected, "{answer}");
    }
    let other = set.assign("bob").await.expect(201);
    assert_eq!(other.body["attributes"], Value::Null);
}

#[tokio::test]
async fn a_batch_gives_each_code_its_own() {
    let app = TestApp::start().await;
    let codes = json!([
        {"code": "A", "attributes": {"n": "1"}}, "B", {"code": "C", "attributes": {"n": "3"}},
        {"code": "D", "attributes": {"n": "4"}, "expiresAt": "2090-01-01"},
    ]);
    let set = set_of(&app, json!({}), codes).await;
    set.withdraw(&["C"]).await;
    let items = json!([{"contactId": "a"}, {"contactId": "b"}, {"contactId": "c"}]);
    let results = set.assign_batch(items, None).await;
    let given: Vec<Value> = results
        .iter()
        .map(|result| result["assignment"].clone())
        .collect();
    let (one, four) = (json!({"n": "1"}), json!({"n": "4"}));
    assert_eq!(
        attributes_of(&given),
        [("D", &four), ("A", &one), ("B", &Value::Null)]
    );
}

#[tokio::test]
async fn a_code_that_is_held_or_came_back_still_has_them() {
    let app = TestApp::start().await;
    let codes = json!([{"code": "A", "attributes": {"n": "1"}}]);
    let policies = json!({"onRepeat": "sameCode", "sameCodeUntil": "used"});
    let set = set_of(&app, policies, codes).await;
    let first = set.assign("ann").await.expect(201);
    let held = set.assign("ann").await.expect(200);
    assert_eq!(held.str("outcome"), "alreadyAssigned");
    set.release(first.str("id")).await.expect(200);
    let next = set.assign("bob").await.expect(201);
    let one = json!({"n": "1"});
    assert_eq!(
        attributes_of(&[held.body, next.body]),
        [("A", &one), ("A", &one)]
    );
}

#[tokio::test]
async fn codes_of_a_child_bring_theirs_and_a_dry_run_or_a_single_code_has_none() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &[]).await;
    let codes = json!({"codes": [{"code": "A", "attributes": {"n": "1"}}]});
    let import = child
        .client
        .post(&format!("{}/imports", child.path()), codes)
        .await;
    child.ended(import.expect(201).str("id")).await;
    let parent = shop.multiple("parent", &["P"]).await;
    let single = shop.single("single", "S", None).await;
    let asked =
        |test: bool| json!({"contactId": "ann", "childCouponSetId": child.id, "test": test});

    let dry_run = parent.assign_with(asked(true), None).await.expect(200);
    let own = parent.assign_with(asked(false), None).await.expect(201);
    let of_child = parent.assign_with(asked(false), None).await.expect(201);
    let of_single = single.assign("ann").await.expect(201);
    assert_eq!(dry_run.body["attributes"], Value::Null);
    assert_eq!(
        attributes_of(&[own.body, of_child.body, of_single.body]),
        [
            ("P", &Value::Null),
            ("A", &json!({"n": "1"})),
            ("S", &Value::Null)
        ]
    );
}

#[tokio::test]
async fn the_list_of_codes_shows_them_and_its_file_too() {
    let app = TestApp::start().await;
    let codes = json!([{"code": "A", "attributes": {"n": "say \"1\""}}, "B"]);
    let set = set_of(&app, json!({}), codes).await;
    let path = format!("{}/coupons", set.path());
    let page = set.client.get(&path).await;
    let shown: Vec<&Value> = page
        .results()
        .iter()
        .map(|coupon| &coupon["attributes"])
        .collect();
    assert_eq!(shown, [&json!({"n": "say \"1\""}), &Value::Null]);

    let file = set
        .client
        .send(Method::GET, &path, &[("accept", "text/csv")], Body::empty())
        .await;
    let mut rows = csv::Reader::from_reader(file.text.as_bytes());
    let last: Vec<String> = rows
        .records()
        .map(|row| row.expect("a row")[7].to_owned())
        .collect();
    assert_eq!(last, [r#"{"n":"say \"1\""}"#, ""]);
}
