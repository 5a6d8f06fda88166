//! State transitions of an assignment: each event where its state allows it, all of them in the ledger, and codes that
//! become available again.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::imports::{CSV, counts, import};
use crate::support::TestApp;
use crate::support::by_hand::ByHand;
use crate::support::client::Answer;
use crate::support::ledger::check_ledger;
use crate::support::pages::strings;
use crate::support::rows::{hold_sweeper, lapse};
use crate::support::shop::CouponSet;

const EVENTS: [&str; 5] = ["confirm", "sent", "used", "release", "void"];

/// Each state, the events that lead from `assigned` to it, and the result of each event of `EVENTS` in it: the next
/// state, or empty where the event is refused.
const LIVES: [(&str, &[&str], [&str; 5]); 6] = [
    (
        "assigned",
        &[],
        ["assigned", "sent", "used", "released", "void"],
    ),
    ("sent", &["sent"], ["sent", "sent", "used", "", "void"]),
    ("used", &["used"], ["used", "", "used", "", ""]),
    (
        "used",
        &["sent", "used"],
        // It was sent before: a repeated event.
        ["used", "used", "used", "", ""],
    ),
    ("released", &["release"], ["", "", "", "released", ""]),
    ("void", &["void"], ["", "", "", "", "void"]),
];

/// Fails unless this event leads to this state, on the first and on a repeated request, or is refused and changes
/// nothing.
async fn check(set: &CouponSet, id: &str, from: &str, event: &str, to: &str) {
    let before = set.assignment(id).await;
    assert_eq!(before["state"], from);
    let answer = set.record(event, id).await;
    if to.is_empty() {
        assert_eq!(answer.refusal(), "409 wrong-state", "{event} of {from}");
        assert_eq!(answer.str("state"), from);
        assert_eq!(answer.str("assignmentId"), id);
        assert_eq!(set.assignment(id).await, before);
        return;
    }
    let after = answer.expect(200).body;
    assert_eq!(after["state"], to, "{event} of {from}");
    let again = set.record(event, id).await.expect(200).body;
    assert_eq!(again, after, "{event} again");
    assert_eq!(set.assignment(id).await, after);
}

#[tokio::test]
async fn each_event_takes_the_states_that_allow_it_and_any_other_is_named() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("set", "S", None).await;
    for (state, path, after) in LIVES {
        for (event, to) in EVENTS.iter().zip(after) {
            let id = set.assign("ann").await.expect(201).str("id").to_owned();
            for step in path {
                set.record(step, &id).await.expect(200);
            }
            check(&set, &id, state, event, to).await;
        }
    }
    let after = ["assigned", "", "", "released", "void"];
    for (event, to) in EVENTS.iter().zip(after) {
        let id = set
            .reserve("ann", 60)
            .await
            .expect(201)
            .str("id")
            .to_owned();
        check(&set, &id, "reserved", event, to).await;
    }
    hold_sweeper(&app).await;
    for event in EVENTS {
        let id = set
            .reserve("ann", 60)
            .await
            .expect(201)
            .str("id")
            .to_owned();
        lapse(&app).await;
        check(&set, &id, "expired", event, "").await;
    }
}

#[tokio::test]
async fn a_history_shows_when_each_step_was_recorded_by_whom_and_why() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A"]).await;
    let mail = CouponSet {
        client: shop.key_with(&["assignments:write"]).await,
        ..set.clone()
    };
    let keys = shop.client.get("/v1/api-keys").await.expect(200);
    let key = |name: &str| {
        let key = keys.results().iter().find(|key| key["name"] == name);
        key.expect("a key")["id"].clone()
    };
    let (shop_key, mail_key) = (key("all"), key("some"));
    let reserved = set.reserve("ann", 60).await.expect(201);
    let id = reserved.str("id");
    // The body is optional.
    let uri = format!("/v1/assignments/{id}/confirm");
    let answer = mail.client.send(Method::POST, &uri, &[], Body::empty());
    assert_eq!(answer.await.expect(200).str("state"), "assigned");
    let details = json!({"occurredAt": "2026-11-22T18:30:00+01:00", "reason": "the mail is out"});
    mail.record_with("sent", id, details).await.expect(200);
    let details = json!({"occurredAt": null, "reason": null});
    set.record_with("used", id, details).await.expect(200);
    // A repeated event leaves no trace.
    let details = json!({"reason": "again"});
    mail.record_with("used", id, details).await.expect(200);

    let history = set.assignment(id).await;
    assert_eq!(history["state"], "used");
    let events = history["events"].as_array().unwrap();
    let expected = [
        json!(["reserved", shop_key, null, null]),
        json!(["confirmed", mail_key, null, null]),
        json!(["sent", mail_key, "2026-11-22T17:30:00Z", "the mail is out"]),
        json!(["used", shop_key, null, null]),
    ];
    let names = ["event", "apiKeyId", "occurredAt", "reason"];
    let rows: Vec<Value> = events
        .iter()
        .map(|event| json!(names.map(|name| &event[name])))
        .collect();
    assert_eq!(rows, expected);
    let times: Vec<DateTime<Utc>> = strings(events, "recordedAt")
        .iter()
        .map(|time| time.parse().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(events[0]["recordedAt"], history["assignedAt"]);
    assert!(Utc::now() >= times[3]);

    let plain = shop.single("single", "S", None).await;
    let given = plain.assign("ann").await.expect(201);
    let history = plain.assignment(given.str("id")).await;
    let dealt = json!([{"event": "assigned", "recordedAt": given.str("assignedAt"), "occurredAt": null,
        "apiKeyId": shop_key, "reason": null}]);
    assert_eq!(history["events"], dealt);
}

#[tokio::test]
async fn invalid_event_details_are_an_error_and_nothing_is_recorded() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A"]).await;
    let given = set.assign("ann").await.expect(201);
    let id = given.str("id");
    for (remark, fault) in [
        (json!({"reason": ""}), "/reason"),
        (json!({"reason": "x".repeat(501)}), "/reason"),
        (json!({"reason": "a\nb"}), "/reason"),
        (json!({"occurredAt": "2026-11-22"}), "/occurredAt"),
        (json!({"occurredAt": 7}), "/occurredAt"),
        (json!({"why": "x"}), "/why"),
    ] {
        let answer = set.record_with("used", id, remark).await.expect(422);
        assert_eq!(answer.faults(), [fault]);
    }
    assert_eq!(set.assignment(id).await["state"], "assigned");
    let remark = json!({"reason": "x".repeat(500)});
    set.record_with("used", id, remark).await.expect(200);
}

#[tokio::test]
async fn the_service_can_add_to_the_ledger_and_change_nothing_in_it_but_texts_of_callers() {
    let app = TestApp::start().await;
    for (table, texts) in [
        ("ledger_entries", json!(["reason"])),
        (
            "assignments",
            json!(["execution_id", "node_id", "workflow_id"]),
        ),
    ] {
        let rights = format!(
            "select array_agg(privilege_type::text order by privilege_type::text)
               from information_schema.table_privileges
              where grantee = 'couponry_app' and table_name = '{table}'"
        );
        let rights = app.database.query_value(&rights).await;
        // A policy restricts deletions to those with the tenant.
        assert_eq!(rights, json!(["DELETE", "INSERT", "SELECT"]), "{table}");
        // Non-empty only while a contact is being erased, which is listed there.
        let columns = format!(
            "select array_agg(column_name::text order by column_name::text)
               from information_schema.column_privileges
              where grantee = 'couponry_app' and table_name = '{table}'
                and privilege_type not in ('INSERT', 'SELECT', 'DELETE')"
        );
        assert_eq!(app.database.query_value(&columns).await, texts, "{table}");
    }
}

#[tokio::test]
async fn a_released_code_can_go_to_another_contact_and_is_not_touched_by_the_old_assignment_any_more()
 {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A"]).await;
    let old = set.assign("ann").await.expect(201);
    let old = old.str("id");
    set.release(old).await.expect(200);
    assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
    let new = set.assign("bob").await.expect(201);
    assert_eq!(new.str("couponCode"), "A");
    let before = set.assignment(new.str("id")).await;
    for event in EVENTS {
        let status = if event == "release" { 200 } else { 409 };
        set.record(event, old).await.expect(status);
    }
    assert_eq!(set.assignment(new.str("id")).await, before);
    assert_eq!(set.counts().await, [0, 0, 1, 0, 0]);
    assert_eq!(
        set.assign("cat").await.refusal(),
        "409 coupon-set-exhausted",
        "released again, it has not come back again"
    );
    assert_eq!(set.read().await["released"], 1);
    // The same holds each time the code comes back.
    let mut last = new.str("id").to_owned();
    for contact in ["cat", "dan", "eve"] {
        set.release(&last).await.expect(200);
        let given = set.assign(contact).await.expect(201);
        assert_eq!(given.str("couponCode"), "A");
        given.str("id").clone_into(&mut last);
    }
}

#[tokio::test]
async fn counters_show_each_step_and_a_void_code_never_comes_back() {
    let app = TestApp::start().await;
    let set = app
        .shop()
        .await
        .multiple("set", &["A", "B", "C", "D"])
        .await;
    let mut ids = Vec::new();
    for seconds in [60, 60, 60] {
        let reserved = set.reserve("ann", seconds).await.expect(201);
        ids.push(reserved.str("id").to_owned());
    }
    assert_eq!(set.counts().await, [1, 3, 0, 0, 0]);
    for (event, assignment, counts) in [
        ("confirm", 0, [1, 2, 1, 0, 0]),
        ("sent", 0, [1, 2, 1, 0, 0]),
        ("void", 0, [1, 2, 0, 1, 0]),
        ("void", 1, [1, 1, 0, 2, 0]),
        ("release", 2, [2, 0, 0, 2, 0]),
    ] {
        for _ in 0..2 {
            set.record(event, &ids[assignment]).await.expect(200);
            assert_eq!(set.counts().await, counts, "{event} {assignment}");
        }
    }
    let read = set.read().await;
    let counts = ["sent", "used", "released"].map(|name| read[name].as_i64().unwrap());
    assert_eq!(counts, [1, 0, 1]);
    let mut codes = HashSet::new();
    for _ in 0..2 {
        let given = set.assign("bob").await.expect(201);
        codes.insert(given.str("couponCode").to_owned());
    }
    assert_eq!(codes, HashSet::from(["C".to_owned(), "D".to_owned()]));
    assert_eq!(
        set.assign("bob").await.refusal(),
        "409 coupon-set-exhausted"
    );
}

#[tokio::test]
async fn a_key_whose_assignment_has_ended_is_refused_with_its_id_and_without_the_code() {
    let app = TestApp::start().await;
    let set = app
        .shop()
        .await
        .multiple("set", &["SECRET-1", "SECRET-2"])
        .await;
    hold_sweeper(&app).await;
    let ask = async |key| {
        let body = json!({"contactId": "ann", "reserveForSeconds": 60});
        set.assign_with(body, Some(key)).await
    };
    for (end, refusal) in [
        ("release", "409 assignment-released"),
        ("lapse", "409 assignment-expired"),
        ("void", "409 assignment-void"),
    ] {
        let reserved = ask(end).await.expect(201);
        let id = reserved.str("id");
        assert_eq!(ask(end).await.expect(200).str("outcome"), "replayed");
        if end == "lapse" {
            lapse(&app).await;
        } else {
            set.record(end, id).await.expect(200);
        }
        let answer = ask(end).await;
        assert_eq!(answer.refusal(), refusal);
        assert_eq!(answer.str("assignmentId"), id);
        assert!(!answer.text.contains("SECRET"), "{}", answer.text);
        let item = json!([{"contactId": "ann", "idempotencyKey": end}]);
        let result = &set.assign_batch(item, None).await[0];
        assert_eq!(result["error"]["code"], refusal[4..]);
        assert!(!result.to_string().contains("SECRET"), "{result}");
        // For another contact the key is already in use.
        let answer = set.assign_as("bob", end).await;
        assert_eq!(answer.refusal(), "422 idempotency-key-reused");
    }
    assert_eq!(set.counts().await, [1, 0, 0, 1, 0]);
}

#[tokio::test]
async fn a_single_set_gets_its_use_back() {
    let app = TestApp::start().await;
    let set = app.shop().await.single("set", "S", Some(2)).await;
    let first = set.assign("ann").await.expect(201);
    let second = set.assign("bob").await.expect(201);
    assert_eq!(
        set.assign("cat").await.refusal(),
        "409 coupon-set-exhausted"
    );
    set.release(first.str("id")).await.expect(200);
    assert_eq!(set.counts().await, [1, 0, 1, 0, 0]);
    set.assign("cat").await.expect(201);
    set.void(second.str("id")).await.expect(200);
    assert_eq!(set.counts().await, [0, 0, 1, 1, 0]);
    assert_eq!(
        set.assign("dan").await.refusal(),
        "409 coupon-set-exhausted",
        "what is void is used up"
    );
}

#[tokio::test]
async fn a_released_code_of_a_set_with_several_expiries_comes_back_with_its_own() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    let file = "code,until\nA,2090-01-01\nB,2091-01-01\nC,\nD,2091-01-01\n";
    import(&set, CSV, "?expiresAtColumn=until", file).await;
    let deal = async || {
        let mut dealt = Vec::new();
        for _ in 0..4 {
            dealt.push(set.assign("ann").await.expect(201));
        }
        dealt
    };
    let first = deal().await;
    let codes_of = |dealt: &[Answer]| -> HashSet<String> {
        let dealt = dealt.iter();
        dealt
            .map(|given| format!("{} {}", given.body["couponCode"], given.body["expiresAt"]))
            .collect()
    };
    // Released in a different order.
    for place in [2, 1, 0, 3] {
        set.release(first[place].str("id")).await.expect(200);
    }
    assert_eq!(set.counts().await, [4, 0, 0, 0, 0]);
    let second = deal().await;
    let expected = [
        r#""A" "2090-01-02T00:00:00Z""#,
        r#""B" "2091-01-02T00:00:00Z""#,
        r#""C" null"#,
        r#""D" "2091-01-02T00:00:00Z""#,
    ];
    assert_eq!(codes_of(&second), expected.map(str::to_owned).into());
    assert_eq!(codes_of(&first), codes_of(&second));
}

#[tokio::test]
async fn a_lot_of_returned_codes_closes_when_it_is_empty_and_opens_again() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    let file = "code,until\nA,2090-01-01\nB,2090-01-01\nC,\nD,\n";
    import(&set, CSV, "?expiresAtColumn=until", file).await;
    hold_sweeper(&app).await;
    let lots = async || {
        let query = "select string_agg(state, ' ' order by first_expires_at) from lots where import_id is null";
        app.database.query_value(query).await
    };
    let exhausted = async || {
        let answer = set.assign("eve").await;
        assert_eq!(answer.refusal(), "409 coupon-set-exhausted");
    };
    let mut first = Vec::new();
    for _ in 0..4 {
        first.push(set.assign("ann").await.expect(201));
    }
    assert_eq!(lots().await, Value::Null);

    // A is released, then B to the same lot; C and D go to another lot, after the first was closed.
    let mut closed = Vec::new();
    for (back, lot) in first.iter().zip([0, 0, 1, 1]) {
        set.release(back.str("id")).await.expect(200);
        closed.resize(lot, "closed");
        let opened = [closed.as_slice(), &["open"]].concat().join(" ");
        assert_eq!(lots().await, opened.as_str());
        assert_eq!(set.counts().await, [1, 0, 3, 0, 0]);

        // It is assigned once more and released, and finally dealt from an empty lot.
        let kept = set.reserve("bob", 60).await.expect(201);
        assert_eq!(kept.body["couponCode"], back.body["couponCode"]);
        exhausted().await;
        closed.push("closed");
        assert_eq!(lots().await, closed.join(" ").as_str());
        assert_eq!(set.counts().await, [0, 1, 3, 0, 0]);
        lapse(&app).await;
        assert_eq!(set.counts().await, [1, 0, 3, 0, 0]);
        let again = set.assign("cat").await.expect(201);
        assert_eq!(again.body["couponCode"], back.body["couponCode"]);
        assert_eq!(again.body["expiresAt"], back.body["expiresAt"]);
        exhausted().await;
        assert_eq!(lots().await, closed.join(" ").as_str());
        assert_eq!(set.counts().await, [0, 0, 4, 0, 0]);
    }
    assert_eq!(set.read().await["released"], 8);
    check_ledger(&app).await;
}

#[tokio::test]
async fn a_code_comes_back_while_an_import_of_the_set_runs_and_is_no_duplicate_that_comes_in() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A"]).await;
    let given = set.assign("ann").await.expect(201);
    let import = ByHand::store(&app, &set, "inProgress", &[&["B", "A"], &["C"]]).await;
    assert!(import.begin(1).await);
    assert_eq!(import.apply(1, 0).await, Ok(true));
    set.release(given.str("id")).await.expect(200);
    assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
    let again = set.assign("bob").await.expect(201);
    assert_eq!(again.str("couponCode"), "A");
    set.release(again.str("id")).await.expect(200);
    assert_eq!(import.apply(1, 1).await, Ok(true));
    assert_eq!(import.publish(1).await, Ok(true));
    let import = set.ended(&import.id.to_string()).await;
    assert_eq!(counts(&import), [3, 2, 1, 1]);
    assert_eq!(set.counts().await, [3, 0, 0, 0, 0]);
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(
            set.assign("cat")
                .await
                .expect(201)
                .str("couponCode")
                .to_owned(),
        );
    }
    codes.sort();
    assert_eq!(codes, ["A", "B", "C"]);
}

#[tokio::test]
async fn what_is_released_from_a_child_set_comes_back_to_the_child_set() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &["X"]).await;
    let body = json!({"name": "set", "type": "multiple", "childCouponSetId": child.id});
    let set = shop.set(body).await;
    let given = set.assign_as("ann", "k").await.expect(201);
    set.release(given.str("id")).await.expect(200);
    assert_eq!(
        set.assign_as("ann", "k").await.refusal(),
        "409 assignment-released"
    );
    assert_eq!(set.counts().await, [0; 5]);
    assert_eq!(child.counts().await, [1, 0, 0, 0, 0]);
    let given = child.assign("bob").await.expect(201);
    assert_eq!(given.str("couponCode"), "X");
}
