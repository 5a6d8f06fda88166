//! Promises of reservations: a code is held for a limited time, then released automatically.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::rows::{hold_sweeper, lapse};
use crate::support::{TestApp, eventually, sql};

fn time(value: &Value) -> DateTime<Utc> {
    let time = value.as_str().expect("a time");
    time.parse().expect("a time")
}

#[tokio::test]
async fn a_code_is_reserved_for_1_second_to_7_days() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A", "B"]).await;
    for seconds in [1, 604_800] {
        let reserved = set.reserve("ann", seconds).await.expect(201).body;
        assert_eq!(reserved["state"], "reserved");
        assert_eq!(reserved["outcome"], "assigned");
        let until = time(&reserved["assignedAt"]) + TimeDelta::seconds(seconds);
        assert_eq!(time(&reserved["reservedUntil"]), until);
        let id = reserved["id"].as_str().unwrap();
        set.release(id).await.expect(200);
    }
    for wrong in [
        json!(0),
        json!(-1),
        json!(604_801),
        json!(1.5),
        json!("60"),
        json!(true),
    ] {
        let body = json!({"contactId": "ann", "reserveForSeconds": wrong});
        let answer = set.assign_with(body, None).await.expect(422);
        assert_eq!(answer.faults(), ["/reserveForSeconds"], "{wrong}");
    }
    let body = json!({"contactId": "ann", "reserveForSeconds": null});
    let given = set.assign_with(body, None).await.expect(201);
    assert_eq!(given.str("state"), "assigned");
    assert_eq!(given.body["reservedUntil"], Value::Null);
}

#[tokio::test]
async fn a_confirmed_reservation_is_an_assignment_and_does_not_run_out() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A", "B"]).await;
    let kept = set.reserve("ann", 1).await.expect(201);
    let lost = set.reserve("bob", 1).await.expect(201);
    let confirmed = set.confirm(kept.str("id")).await.expect(200);
    assert_eq!(confirmed.str("state"), "assigned");
    assert_eq!(confirmed.body["reservedUntil"], Value::Null);
    eventually("the other one has come back", async || {
        (set.assignment(lost.str("id")).await["events"][1]["event"] == "expired").then_some(())
    })
    .await;
    assert_eq!(set.assignment(kept.str("id")).await, confirmed.body);
    assert_eq!(set.counts().await, [1, 0, 1, 0, 0]);
}

#[tokio::test]
async fn a_reservation_that_runs_out_goes_back_by_itself_and_once_however_many_replicas_sweep() {
    let app = TestApp::start().await;
    let replicas = [app.replica(), app.replica()];
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let codes: Vec<String> = (0..30).map(|n| format!("C{n}")).collect();
    set.fill(&codes.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let reserving = (0..30).map(|n| {
        let set = set.at(&shop.at(&replicas[n % 2]));
        async move { set.reserve("ann", 1).await.expect(201).str("id").to_owned() }
    });
    let ids = join_all(reserving).await;
    let swept = "select count(*) from ledger_entries where event = 'expired'";
    eventually("all were swept", async || {
        (app.database.query_value(swept).await == 30).then_some(())
    })
    .await;
    assert_eq!(set.counts().await, [30, 0, 0, 0, 0]);
    assert_eq!(set.read().await["released"], 30);
    let history = set.assignment(&ids[0]).await;
    assert_eq!(history["state"], "expired");
    let last = &history["events"][1];
    assert_eq!(last["event"], "expired");
    assert_eq!(last["apiKeyId"], Value::Null, "no key recorded it");
    let asking = (0..31).map(|_| set.assign("bob"));
    let (given, refused): (Vec<_>, Vec<_>) = join_all(asking)
        .await
        .into_iter()
        .partition(|answer| answer.status == 201);
    let given: HashSet<&str> = given
        .iter()
        .map(|answer| answer.str("couponCode"))
        .collect();
    assert_eq!((given.len(), refused.len()), (30, 1));
}

#[tokio::test]
async fn a_set_that_somebody_holds_locked_keeps_the_sweeper_from_no_other() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut sets = Vec::new();
    for name in ["first", "second", "third"] {
        let set = shop.multiple(name, &["A"]).await;
        set.reserve("ann", 60).await.expect(201);
        sets.push(set);
    }
    let swept = async || {
        let query = "select coalesce(json_agg(set_no order by set_no), '[]')
                       from ledger_entries
                      where event = 'expired'";
        app.database.query_value(query).await
    };
    // In either order in which the sweeper visits the sets, a locked one comes first.
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(
        &mut holder,
        "select from coupon_sets where set_no in (1, 3) for no key update",
    )
    .await
    .unwrap();
    lapse(&app).await;
    eventually("the one that is not locked was swept", async || {
        (swept().await == json!([2])).then_some(())
    })
    .await;
    holder.commit().await.unwrap();
    eventually("the others were swept", async || {
        (swept().await == json!([1, 2, 3])).then_some(())
    })
    .await;
    for set in sets {
        assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
        set.assign("bob").await.expect(201);
    }
}

#[tokio::test]
async fn what_has_run_out_is_free_before_the_sweeper_comes() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let (multiple, single) = (
        shop.multiple("multiple", &["A", "B"]).await,
        shop.single("single", "S", Some(2)).await,
    );
    hold_sweeper(&app).await;
    for set in [multiple, single] {
        let lost = set.reserve("ann", 60).await.expect(201);
        set.assign("bob").await.expect(201);
        assert_eq!(set.counts().await, [0, 1, 1, 0, 0]);
        assert_eq!(set.read().await["state"], "exhausted");
        lapse(&app).await;
        assert_eq!(set.counts().await, [1, 0, 1, 0, 0]);
        assert_eq!(set.read().await["state"], "active");
        let late = set.confirm(lost.str("id")).await;
        assert_eq!(late.refusal(), "409 wrong-state");
        assert_eq!(late.str("state"), "expired");
        let given = set.assign("cat").await.expect(201);
        assert_eq!(given.body["couponCode"], lost.body["couponCode"]);
        assert_eq!(set.counts().await, [0, 0, 2, 0, 0]);
        assert_eq!(
            set.assign("dan").await.refusal(),
            "409 coupon-set-exhausted"
        );
        let late = set.confirm(lost.str("id")).await;
        assert_eq!(late.refusal(), "409 wrong-state");
    }
}

#[tokio::test]
async fn however_many_have_run_out_a_deal_gets_them_all() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    let codes: Vec<String> = (0..2_500).map(|n| format!("C{n}")).collect();
    set.fill(&codes.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    hold_sweeper(&app).await;
    let items: Vec<Value> = (0..2_500)
        .map(|n| json!({"contactId": format!("c{n}"), "reserveForSeconds": 60}))
        .collect();
    let answer = set.assign_all_or_nothing(json!(items)).await.expect(200);
    assert_eq!(answer.results().len(), 2_500);
    lapse(&app).await;
    assert_eq!(set.counts().await, [2_500, 0, 0, 0, 0]);
    let answer = set.assign_all_or_nothing(json!(items)).await.expect(200);
    let codes: HashSet<&str> = answer
        .results()
        .iter()
        .map(|result| result["assignment"]["couponCode"].as_str().unwrap())
        .collect();
    assert_eq!(codes.len(), 2_500);
    assert_eq!(set.counts().await, [0, 2_500, 0, 0, 0]);
}

#[tokio::test]
async fn codes_that_expired_while_they_were_reserved_do_not_hide_others() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    let mut codes: Vec<Value> = (0..1_000)
        .map(|n| json!({"code": format!("C{n}"), "expiresAt": "2090-01-01"}))
        .collect();
    codes.push(json!("GOOD"));
    let import = format!("{}/imports", set.path());
    let import = set.client.post(&import, json!({"codes": codes})).await;
    set.ended(import.expect(201).str("id")).await;
    hold_sweeper(&app).await;
    let items: Vec<Value> = (0..1_001)
        .map(|n| json!({"contactId": format!("c{n}"), "reserveForSeconds": 60}))
        .collect();
    set.assign_all_or_nothing(json!(items)).await.expect(200);
    lapse(&app).await;
    app.database
        .execute(
            "update cards set expires_at = now() - interval '1 minute' where expires_at is not null;
             update lots set first_expires_at = now() - interval '1 minute';
             update reservations set code_expires_at = now() - interval '1 minute',
                                     expires_at = now() - interval '1 minute'
              where code_expires_at is not null",
        )
        .await;
    assert_eq!(set.counts().await, [1, 0, 0, 0, 1_000]);
    let given = set.assign("ann").await.expect(201);
    assert_eq!(given.str("couponCode"), "GOOD");
    assert_eq!(set.counts().await, [0, 0, 1, 0, 1_000]);
}

#[tokio::test]
async fn a_retry_gets_the_same_reservation_and_its_confirmed_assignment_after_that() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A", "B"]).await;
    let body = json!({"contactId": "ann", "reserveForSeconds": 60});
    let reserved = set.assign_with(body.clone(), Some("k")).await.expect(201);
    // The rest of the retry's body makes no difference.
    for body in [
        body.clone(),
        json!({"contactId": "ann", "reserveForSeconds": 600}),
        json!({"contactId": "ann"}),
    ] {
        let mut again = set.assign_with(body, Some("k")).await.expect(200).body;
        assert_eq!(again["outcome"], "replayed");
        again["outcome"] = json!("assigned");
        assert_eq!(again, reserved.body);
    }
    set.confirm(reserved.str("id")).await.expect(200);
    let again = set.assign_with(body, Some("k")).await.expect(200);
    assert_eq!(again.str("outcome"), "replayed");
    assert_eq!(again.str("state"), "assigned");
    assert_eq!(again.body["reservedUntil"], Value::Null);
    assert_eq!(again.body["couponCode"], reserved.body["couponCode"]);
    assert_eq!(set.counts().await, [1, 0, 1, 0, 0]);
}

#[tokio::test]
async fn the_items_of_a_batch_are_reserved_each_for_its_time_or_not_at_all() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &["X", "Y"]).await;
    let set = shop.multiple("set", &["A"]).await;
    set.patch(json!({"childCouponSetId": child.id}))
        .await
        .expect(200);
    let items = json!([
        {"contactId": "ann", "reserveForSeconds": 60},
        {"contactId": "bob"},
        {"contactId": "cat", "reserveForSeconds": 600},
        {"contactId": "dan", "reserveForSeconds": 0},
    ]);
    let results = set.assign_batch(items, None).await;
    let states: Vec<&Value> = results
        .iter()
        .map(|result| &result["assignment"]["state"])
        .collect();
    assert_eq!(
        states,
        ["reserved", "assigned", "reserved"]
            .map(Value::from)
            .iter()
            .chain([&Value::Null])
            .collect::<Vec<_>>()
    );
    for (index, seconds) in [(0, 60), (2, 600)] {
        let given = &results[index]["assignment"];
        let until = time(&given["assignedAt"]) + TimeDelta::seconds(seconds);
        assert_eq!(time(&given["reservedUntil"]), until);
    }
    assert_eq!(
        results[3]["error"]["errors"][0]["pointer"],
        "/items/3/reserveForSeconds"
    );
    assert_eq!(set.counts().await, [0, 1, 0, 0, 0]);
    assert_eq!(child.counts().await, [0, 1, 1, 0, 0]);
}
