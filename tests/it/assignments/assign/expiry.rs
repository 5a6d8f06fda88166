//! Promises of expiry: by set, by code, by days after the assignment; and no expired code is assigned.

use chrono::{DateTime, Days, TimeDelta, TimeZone, Utc};
use chrono_tz::Europe::Madrid;
use serde_json::{Value, json};

use crate::imports::{CSV, JSON, import};
use crate::support::rows::{hold_sweeper, lapse};
use crate::support::shop::CouponSet;
use crate::support::{TestApp, eventually};

fn time(value: &Value) -> DateTime<Utc> {
    let time = value.as_str().expect("a time");
    time.parse().expect("a time")
}

/// A time as the API formats it.
fn text(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// Imports codes, each with the seconds from now until it expires, or without expiry.
async fn fill(set: &CouponSet, codes: &[(&str, Option<i64>)]) {
    let now = Utc::now();
    let codes: Vec<Value> = codes
        .iter()
        .map(|(code, seconds)| {
            let expiry = seconds.map(|seconds| text(now + TimeDelta::seconds(seconds)));
            json!({"code": code, "expiresAt": expiry})
        })
        .collect();
    import(set, JSON, "", json!({"codes": codes}).to_string()).await;
}

/// Expires the cards of these codes.
async fn expire(app: &TestApp, codes: &str) {
    app.database
        .execute(&format!(
            "begin;
             update cards set expires_at = now() - interval '1 second' where code in ({codes});
             update reservations r
                set code_expires_at = now() - interval '1 second', expires_at = now() - interval '1 second'
               from assignments a
               join cards c using (tenant_id, set_no, lot_no, ordinal)
              where a.tenant_id = r.tenant_id and a.set_no = r.set_no and a.number = r.number and c.code in ({codes});
             update ledger_entries e
                set expires_at = now() - interval '1 second'
               from assignments a
               join cards c using (tenant_id, set_no, lot_no, ordinal)
              where a.tenant_id = e.tenant_id and a.set_no = e.set_no and a.number = e.assignment_number
                and e.event = 'reserved' and c.code in ({codes});
             update lots l
                set first_expires_at = c.first, last_expires_at = c.last
               from (
                 select tenant_id, set_no, lot_no, (array_agg(expires_at order by ordinal))[1] as first,
                        (array_agg(expires_at order by ordinal desc))[1] as last
                   from cards
                  group by tenant_id, set_no, lot_no
               ) c
              where c.tenant_id = l.tenant_id and c.set_no = l.set_no and c.lot_no = l.lot_no;
             commit"
        ))
        .await;
}

#[tokio::test]
async fn the_earliest_of_set_and_code_and_days_wins_and_comes_with_the_zone() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let (early, late) = ("2090-01-01T00:00:00Z", "2091-01-01T00:00:00Z");
    for (n, (of_set, of_code, days, expected)) in [
        (None, None, None, None),
        (Some(early), None, None, Some(early)),
        (None, Some(early), None, Some(early)),
        (Some(early), Some(late), None, Some(early)),
        (Some(late), Some(early), None, Some(early)),
        (Some(early), Some(late), Some(10), None),
        (None, None, Some(10), None),
        (None, Some(late), Some(10), None),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"name": format!("set {n}"), "type": "multiple", "timezone": "Asia/Tokyo",
            "expiresAt": of_set, "validForDays": days});
        let set = shop.set(body).await;
        let codes = json!({"codes": [{"code": "A", "expiresAt": of_code}]});
        import(&set, JSON, "", codes.to_string()).await;
        let given = set.assign_as("ann", "k").await.expect(201).body;
        assert_eq!(given["timezone"], "Asia/Tokyo");
        let counted = days.map(|days| text(time(&given["assignedAt"]) + TimeDelta::days(days)));
        let expected = counted.or(expected.map(str::to_owned));
        assert_eq!(
            given["expiresAt"]
                .as_str()
                .map(|_| time(&given["expiresAt"])),
            expected.map(|expected| expected.parse().unwrap()),
            "{n}"
        );
        // Each way to read it returns the same.
        let id = given["id"].as_str().unwrap();
        let again = set.assign_as("ann", "k").await.expect(200).body;
        let uri = format!("/v1/assignments?couponSetId={}", set.id);
        let list = shop.client.get(&uri).await;
        for shown in [&again, &set.assignment(id).await, &list.results()[0]] {
            for name in ["expiresAt", "timezone"] {
                assert_eq!(shown[name], given[name], "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn valid_days_are_days_of_the_calendar_also_when_clocks_change() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut changed = 0;
    for days in [1, 90, 180, 270, 365, 3650] {
        let body = json!({"name": format!("{days}"), "type": "single", "code": "S", "timezone": "Europe/Madrid",
            "validForDays": days});
        let set = shop.set(body).await;
        let given = set.assign("ann").await.expect(201).body;
        let reserved = set.reserve("bob", 60).await.expect(201);
        assert_eq!(
            reserved.body["expiresAt"],
            Value::Null,
            "it does not count yet"
        );
        let confirmed = set.confirm(reserved.str("id")).await.expect(200).body;
        assert!(confirmed["assignedAt"] != confirmed["events"][1]["recordedAt"]);
        for (from, until) in [
            (&given["assignedAt"], &given["expiresAt"]),
            (
                &confirmed["events"][1]["recordedAt"],
                &confirmed["expiresAt"],
            ),
        ] {
            let (from, until) = (time(from), time(until));
            // The same clock time on that day. Clock times that occur twice or never would need another test.
            let local = from.with_timezone(&Madrid).naive_local() + Days::new(days);
            if let Some(expected) = Madrid.from_local_datetime(&local).single() {
                assert_eq!(until, expected.to_utc(), "{days}");
                let hours = until - from - TimeDelta::days(days.cast_signed());
                changed += i32::from(hours != TimeDelta::zero());
            }
        }
    }
    assert!(changed > 0, "no change of clocks was crossed");
}

#[tokio::test]
async fn an_expired_set_is_like_an_exhausted_one() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &["X"]).await;
    let (multiple, single) = (
        shop.multiple("multiple", &["A", "B"]).await,
        shop.single("single", "S", Some(2)).await,
    );
    for set in [multiple, single] {
        let held = set.assign_as("ann", "k").await.expect(201);
        let expire = json!({"expiresAt": "2026-01-01"});
        set.patch(expire).await.expect(200);
        assert_eq!(set.counts().await, [0, 0, 1, 0, 1]);
        for _ in 0..2 {
            let refusal = set.assign("bob").await.refusal();
            assert_eq!(refusal, "409 coupon-set-expired");
        }
        let item = json!([{"contactId": "bob"}]);
        let result = &set.assign_batch(item, None).await[0];
        assert_eq!(result["error"]["code"], "coupon-set-expired");
        // Assignments made before do not change.
        let again = set.assign_as("ann", "k").await.expect(200);
        assert_eq!(again.body["expiresAt"], held.body["expiresAt"]);
        set.record("used", held.str("id")).await.expect(200);

        set.patch(json!({"childCouponSetId": child.id}))
            .await
            .expect(200);
        let given = set.assign("cat").await.expect(201);
        assert_eq!(given.str("couponSetId"), child.id);
        let refusal = set.assign("dan").await.refusal();
        assert_eq!(refusal, "409 coupon-set-expired", "the child is exhausted");
        child.release(given.str("id")).await.expect(200);
        // An expired child serves no request; the refusal names the requested set.
        child
            .patch(json!({"expiresAt": "2026-01-01"}))
            .await
            .expect(200);
        set.patch(json!({"expiresAt": null})).await.expect(200);
        set.assign("dan").await.expect(201);
        let refusal = set.assign("eve").await.refusal();
        assert_eq!(refusal, "409 coupon-set-exhausted");
        child.patch(json!({"expiresAt": null})).await.expect(200);
    }
}

#[tokio::test]
async fn an_expired_code_is_never_handed_out_and_not_counted_as_available() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    fill(
        &set,
        &[
            ("A", None),
            ("B", Some(-1)),
            ("C", Some(600)),
            ("D", Some(500)),
            ("E", Some(-60)),
        ],
    )
    .await;
    assert_eq!(set.counts().await, [3, 0, 0, 0, 2]);
    let given = set.assign("ann").await.expect(201);
    assert_eq!(given.str("couponCode"), "D", "the next to expire");
    assert_eq!(set.counts().await, [2, 0, 1, 0, 2]);
    // A code that a contact holds does not count as expired stock.
    expire(&app, "'D'").await;
    assert_eq!(set.counts().await, [2, 0, 1, 0, 2]);
    expire(&app, "'C'").await;
    assert_eq!(set.counts().await, [1, 0, 1, 0, 3]);
    let given = set.assign("ann").await.expect(201);
    assert_eq!(given.str("couponCode"), "A");
    assert_eq!(set.counts().await, [0, 0, 2, 0, 3]);
    assert_eq!(set.read().await["state"], "exhausted");
    let refusal = set.assign("ann").await.refusal();
    assert_eq!(refusal, "409 coupon-set-exhausted");
    // Newly imported codes are assigned.
    fill(&set, &[("F", Some(-1)), ("G", Some(600))]).await;
    assert_eq!(set.counts().await, [1, 0, 2, 0, 4]);
    let given = set.assign("ann").await.expect(201);
    assert_eq!(given.str("couponCode"), "G");
}

#[tokio::test]
async fn a_code_expires_by_itself_when_its_time_has_come() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    let soon = Utc::now() + TimeDelta::milliseconds(1_500);
    let codes = json!({"codes": [{"code": "A", "expiresAt": text(soon)}, "B"]});
    import(&set, JSON, "", codes.to_string()).await;
    let counts = eventually("the code has expired", async || {
        let counts = set.counts().await;
        (counts[4] == 1).then_some(counts)
    })
    .await;
    assert!(Utc::now() >= soon);
    assert_eq!(counts, [1, 0, 0, 0, 1]);
    let given = set.assign("ann").await.expect(201);
    assert_eq!(given.str("couponCode"), "B");
}

#[tokio::test]
async fn where_all_codes_have_expired_the_child_set_serves() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.multiple("child", &[]).await;
    let set = shop.multiple("set", &[]).await;
    set.patch(json!({"childCouponSetId": child.id}))
        .await
        .expect(200);
    fill(&set, &[("A", Some(-1))]).await;
    fill(&child, &[("X", Some(-1)), ("Y", Some(600))]).await;
    let given = set.assign("ann").await.expect(201);
    assert_eq!(given.str("couponCode"), "Y");
    let refusal = set.assign("ann").await.refusal();
    assert_eq!(refusal, "409 coupon-set-exhausted");
    assert_eq!(set.counts().await, [0, 0, 0, 0, 1]);
    assert_eq!(child.counts().await, [0, 0, 1, 0, 1]);
}

#[tokio::test]
async fn what_expires_while_it_is_with_a_contact_does_not_come_back() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    hold_sweeper(&app).await;
    fill(
        &set,
        &[
            ("A", Some(500)),
            ("B", Some(600)),
            ("C", Some(700)),
            ("D", Some(800)),
        ],
    )
    .await;
    let a = set.assign("ann").await.expect(201);
    let b = set.assign("bob").await.expect(201);
    let c = set.reserve("cat", 60).await.expect(201);
    let d = set.assign("dan").await.expect(201);
    set.release(b.str("id")).await.expect(200);
    assert_eq!(set.counts().await, [1, 1, 2, 0, 0]);
    expire(&app, "'A', 'B', 'C'").await;
    // B is available, C is reserved, A is assigned to its contact.
    assert_eq!(set.counts().await, [0, 0, 2, 0, 2]);
    set.release(a.str("id")).await.expect(200);
    assert_eq!(set.counts().await, [0, 0, 1, 0, 3]);
    for _ in 0..2 {
        let refusal = set.assign("eve").await.refusal();
        assert_eq!(refusal, "409 coupon-set-exhausted");
        assert_eq!(set.counts().await, [0, 0, 1, 0, 3]);
    }
    assert_eq!(set.assignment(c.str("id")).await["state"], "expired");
    // After all that, a code that has not expired is released as before.
    set.release(d.str("id")).await.expect(200);
    assert_eq!(set.counts().await, [1, 0, 0, 0, 3]);
    let given = set.assign("eve").await.expect(201);
    assert_eq!(given.str("couponCode"), "D");
    assert_eq!(set.counts().await, [0, 0, 1, 0, 3]);
}

#[tokio::test]
async fn a_reservation_does_not_outlive_its_code_or_its_set() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let body = json!({"codes": [{"code": "A", "expiresAt": text(Utc::now() + TimeDelta::seconds(2))},
        {"code": "B", "expiresAt": "2090-01-01T00:00:00Z"}]});
    import(&set, JSON, "", body.to_string()).await;
    let short = set.reserve("ann", 600).await.expect(201);
    assert_eq!(short.body["reservedUntil"], short.body["expiresAt"]);
    let long = set.reserve("bob", 600).await.expect(201).body;
    let seconds = time(&long["reservedUntil"]) - time(&long["assignedAt"]);
    assert_eq!(seconds, TimeDelta::seconds(600));
    eventually(
        "the code has expired, and the reservation with it",
        async || {
            let state = &set.assignment(short.str("id")).await["state"];
            (state == "expired").then_some(())
        },
    )
    .await;
    let late = set.confirm(short.str("id")).await;
    assert_eq!(late.refusal(), "409 wrong-state");
    assert_eq!(set.counts().await, [0, 1, 0, 0, 1]);
    let refusal = set.assign("cat").await.refusal();
    assert_eq!(refusal, "409 coupon-set-exhausted");

    let body = json!({"name": "single", "type": "single", "code": "S", "expiresAt": "2090-01-01"});
    let single = shop.set(body).await;
    let soon = text(Utc::now() + TimeDelta::seconds(500));
    single.patch(json!({"expiresAt": soon})).await.expect(200);
    let reserved = single.reserve("ann", 600).await.expect(201).body;
    assert_eq!(time(&reserved["reservedUntil"]), time(&json!(soon)));
    assert_eq!(reserved["expiresAt"], reserved["reservedUntil"]);
}

#[tokio::test]
async fn the_expiry_that_was_answered_stays_when_the_policies_change() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let body = json!({"name": "set", "type": "single", "code": "S", "expiresAt": "2090-01-01T00:00:00Z",
        "validForDays": 10, "timezone": "Europe/Madrid", "onRepeat": "sameCode"});
    let set = shop.set(body).await;
    let given = set.assign_as("ann", "k").await.expect(201);
    let reserved = set.reserve("bob", 600).await.expect(201);
    for policies in [
        json!({"validForDays": 1}),
        json!({"validForDays": null}),
        json!({"timezone": "UTC"}),
        json!({"expiresAt": "2089-01-01T00:00:00Z"}),
        json!({"expiresAt": null}),
        json!({"expiresAt": "2026-01-01"}),
    ] {
        set.patch(policies).await.expect(200);
        let replayed = set.assign_as("ann", "k").await.expect(200);
        let held = set.assign("ann").await.expect(200);
        assert_eq!(held.str("outcome"), "alreadyAssigned");
        let found = set.assignment(given.str("id")).await;
        for shown in [&replayed.body, &held.body, &found] {
            assert_eq!(shown["expiresAt"], given.body["expiresAt"]);
        }
    }
    // The policy at the time of the confirmation determines the days; the expiry in the reservation's response stays.
    let policies = json!({"expiresAt": null, "validForDays": null});
    set.patch(policies).await.expect(200);
    let confirmed = set.confirm(reserved.str("id")).await.expect(200);
    assert_eq!(confirmed.str("expiresAt"), "2090-01-01T00:00:00Z");
    for event in ["sent", "used"] {
        let shown = set.record(event, reserved.str("id")).await.expect(200);
        assert_eq!(shown.str("expiresAt"), "2090-01-01T00:00:00Z");
    }
}

#[tokio::test]
async fn a_code_keeps_its_expiry_on_its_way_back_from_a_reservation_that_ran_out() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    let file = "code,until\nA,2090-01-01\n";
    import(&set, CSV, "?expiresAtColumn=until", file).await;
    hold_sweeper(&app).await;
    for _ in 0..3 {
        let reserved = set.reserve("ann", 60).await.expect(201);
        assert_eq!(reserved.str("expiresAt"), "2090-01-02T00:00:00Z");
        lapse(&app).await;
        assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
    }
    expire(&app, "'A'").await;
    assert_eq!(set.counts().await, [0, 0, 0, 0, 1]);
    assert_eq!(
        set.assign("ann").await.refusal(),
        "409 coupon-set-exhausted"
    );
}

#[tokio::test]
async fn codes_that_came_back_together_expire_each_at_its_time() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &[]).await;
    fill(
        &set,
        &[
            ("A", Some(500)),
            ("B", Some(600)),
            ("C", Some(700)),
            ("D", None),
        ],
    )
    .await;
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(set.assign("ann").await.expect(201));
    }
    // Codes that expire later are released first.
    for given in given.iter().rev() {
        set.release(given.str("id")).await.expect(200);
    }
    expire(&app, "'A', 'C'").await;
    assert_eq!(set.counts().await, [2, 0, 0, 0, 2]);
    let mut codes = Vec::new();
    for _ in 0..2 {
        let given = set.assign("bob").await.expect(201);
        codes.push(given.str("couponCode").to_owned());
    }
    codes.sort();
    assert_eq!(codes, ["B", "D"]);
    let refusal = set.assign("bob").await.refusal();
    assert_eq!(refusal, "409 coupon-set-exhausted");
}
