//! Policy fields of coupon sets, and the states that follow from them.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::pages::{strings, walk};
use crate::support::{TestApp, eventually, sql};

const SETS: &str = "/v1/coupon-sets";

/// Fails unless the set has these members, among others.
#[track_caller]
fn assert_has(set: &Value, members: &Value) {
    for (member, value) in members.as_object().unwrap() {
        assert_eq!(set[member], *value, "{member}");
    }
}

fn defaults() -> Value {
    json!({"onRepeat": "newCode", "sameCodeUntil": "always", "assignmentsPerContact": null, "expiresAt": null,
        "timezone": "UTC", "validForDays": null, "lowStockThreshold": null})
}

#[tokio::test]
async fn a_new_set_has_the_defaults_where_nothing_or_null_is_said() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let nulls = json!({"name": "nulls", "type": "single", "code": "S", "onRepeat": null, "sameCodeUntil": null,
        "assignmentsPerContact": null, "expiresAt": null, "timezone": null, "validForDays": null, "lowStockThreshold": null});
    for body in [
        json!({"name": "multiple", "type": "multiple"}),
        json!({"name": "single", "type": "single", "code": "S"}),
        nulls,
    ] {
        let made = shop.client.post(SETS, body).await.expect(201);
        assert_has(&made.body, &defaults());
    }
}

#[tokio::test]
async fn a_new_set_keeps_what_it_is_given() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for (n, policies) in [
        json!({"onRepeat": "sameCode", "sameCodeUntil": "used"}),
        json!({"onRepeat": "sameCode", "sameCodeUntil": "expired"}),
        json!({"onRepeat": "refuse", "sameCodeUntil": "used", "assignmentsPerContact": 3}),
        json!({"assignmentsPerContact": 1, "validForDays": 1, "timezone": "Europe/Madrid"}),
        json!({"assignmentsPerContact": 1_000_000, "validForDays": 3650, "timezone": "America/Argentina/Ushuaia"}),
        json!({"expiresAt": "2031-05-06T07:08:09.123456Z", "timezone": "Etc/GMT+12"}),
        json!({"lowStockThreshold": 0}),
        json!({"lowStockThreshold": i32::MAX}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({"name": format!("set {n}"), "type": "multiple"});
        let mut expected = defaults();
        for (member, value) in policies.as_object().unwrap() {
            body[member] = value.clone();
            expected[member] = value.clone();
        }
        let made = shop.client.post(SETS, body).await.expect(201);
        assert_has(&made.body, &expected);
        let set = format!("{SETS}/{}", made.str("id"));
        assert_eq!(shop.client.get(&set).await.expect(200).body, made.body);
    }
}

#[tokio::test]
async fn a_patch_of_policies_changes_what_it_names_and_nothing_else() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("first", "S", Some(5)).await;
    let rest = shop.single("another", "S", Some(5)).await;
    let (mut expected, untouched) = (set.read().await, rest.read().await);
    for patch in [
        json!({"sameCodeUntil": "used"}),
        json!({"sameCodeUntil": "expired", "assignmentsPerContact": 2}),
        json!({"timezone": "Asia/Tokyo"}),
        json!({"validForDays": 30}),
        json!({"lowStockThreshold": 0}),
        json!({"expiresAt": "2031-01-01T00:00:00Z", "onRepeat": "sameCode"}),
        json!({"name": "second", "timezone": "Europe/Madrid", "quantity": 6}),
        json!({}),
        json!({"assignmentsPerContact": null}),
        json!({"expiresAt": null}),
        json!({"validForDays": null}),
        json!({"sameCodeUntil": "always", "assignmentsPerContact": 9, "expiresAt": "2032-01-01T00:00:00Z",
            "timezone": "UTC", "validForDays": 8, "onRepeat": "newCode"}),
        json!({"assignmentsPerContact": null, "expiresAt": null, "validForDays": null, "lowStockThreshold": null}),
    ] {
        let answer = set.patch(patch.clone()).await.expect(200);
        for (member, value) in patch.as_object().unwrap() {
            expected[member] = value.clone();
            if member == "quantity" {
                expected["available"] = value.clone();
            }
        }
        if patch == json!({}) {
            assert_eq!(answer.body["updatedAt"], expected["updatedAt"]);
        } else {
            assert_ne!(answer.body["updatedAt"], expected["updatedAt"]);
        }
        expected["updatedAt"] = answer.body["updatedAt"].clone();
        assert_eq!(answer.body, expected, "{patch}");
        assert_eq!(set.read().await, expected);
    }
    assert_eq!(rest.read().await, untouched);
}

#[tokio::test]
async fn all_errors_of_the_policies_are_reported_at_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("first", &[]).await;
    let before = set.read().await;
    for (wrong, faults) in [
        (
            json!({"onRepeat": "maybe", "sameCodeUntil": "never", "assignmentsPerContact": 0, "expiresAt": "soon",
                "timezone": "Mars/Olympus", "validForDays": 3651, "validForWeeks": 1}),
            vec![
                "/assignmentsPerContact",
                "/expiresAt",
                "/onRepeat",
                "/sameCodeUntil",
                "/timezone",
                "/validForDays",
                "/validForWeeks",
            ],
        ),
        (
            json!({"sameCodeUntil": 1, "assignmentsPerContact": 1_000_001, "expiresAt": 1_800_000_000,
                "timezone": 1, "validForDays": 0, "lowStockThreshold": -1}),
            vec![
                "/assignmentsPerContact",
                "/expiresAt",
                "/lowStockThreshold",
                "/sameCodeUntil",
                "/timezone",
                "/validForDays",
            ],
        ),
        (
            json!({"assignmentsPerContact": "2", "expiresAt": "2026-02-30", "timezone": "",
                "validForDays": 1.5, "lowStockThreshold": 2_147_483_648_u32}),
            vec![
                "/assignmentsPerContact",
                "/expiresAt",
                "/lowStockThreshold",
                "/timezone",
                "/validForDays",
            ],
        ),
        (
            json!({"assignmentsPerContact": -1, "expiresAt": "", "timezone": "europe/madrid\u{0}",
                "validForDays": true}),
            vec![
                "/assignmentsPerContact",
                "/expiresAt",
                "/timezone",
                "/validForDays",
            ],
        ),
    ] {
        let answer = set.patch(wrong.clone()).await.expect(422);
        let mut errors = answer.faults();
        errors.sort_unstable();
        assert_eq!(errors, faults, "{wrong}");
        let mut new = wrong.clone();
        new["name"] = json!("new");
        new["type"] = json!("double");
        let answer = shop.client.post(SETS, new).await.expect(422);
        let mut errors = answer.faults();
        errors.sort_unstable();
        let mut expected = [&faults[..], &["/type"]].concat();
        expected.sort_unstable();
        assert_eq!(errors, expected, "{wrong}");
    }
    // Fields that do not accept null.
    let nulls = json!({"onRepeat": null, "sameCodeUntil": null, "timezone": null});
    let answer = set.patch(nulls).await.expect(422);
    assert_eq!(
        answer.faults(),
        ["/onRepeat", "/sameCodeUntil", "/timezone"]
    );
    assert_eq!(set.read().await, before);
    assert_eq!(shop.client.get(SETS).await.expect(200).results().len(), 1);
}

#[tokio::test]
async fn a_date_means_the_end_of_that_day_by_the_clocks_of_the_set() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("patched", &[]).await;
    for (n, (zone, given, instant)) in [
        ("UTC", "2026-12-31", "2027-01-01T00:00:00Z"),
        ("Europe/Madrid", "2026-12-31", "2026-12-31T23:00:00Z"),
        ("Pacific/Kiritimati", "2026-12-31", "2026-12-31T10:00:00Z"),
        ("America/New_York", "2026-12-31", "2027-01-01T05:00:00Z"),
        // The day of 23 hours and the day of 25.
        ("Europe/Madrid", "2026-03-28", "2026-03-28T23:00:00Z"),
        ("Europe/Madrid", "2026-03-29", "2026-03-29T22:00:00Z"),
        ("Europe/Madrid", "2026-10-24", "2026-10-24T22:00:00Z"),
        ("Europe/Madrid", "2026-10-25", "2026-10-25T23:00:00Z"),
        // The clocks of Cairo skipped this midnight.
        ("Africa/Cairo", "2024-04-25", "2024-04-25T22:00:00Z"),
        (
            "Europe/Madrid",
            "2026-07-01T12:00:00",
            "2026-07-01T10:00:00Z",
        ),
        ("Europe/Madrid", "2026-07-01 12:00", "2026-07-01T10:00:00Z"),
        (
            "Europe/Madrid",
            "2026-03-29T02:30:00",
            "2026-03-29T01:00:00Z",
        ),
        (
            "Europe/Madrid",
            "2026-07-01T12:00:00+09:00",
            "2026-07-01T03:00:00Z",
        ),
        ("Europe/Madrid", "2001-01-01", "2001-01-01T23:00:00Z"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"name": format!("set {n}"), "type": "multiple", "timezone": zone, "expiresAt": given});
        let made = shop.client.post(SETS, body).await.expect(201);
        let both = json!({"timezone": zone, "expiresAt": given});
        let patched = set.patch(both).await.expect(200);
        // The set's stored time zone applies as well as one of the same request.
        set.patch(json!({"expiresAt": null})).await.expect(200);
        let again = set.patch(json!({"expiresAt": given})).await.expect(200);
        for answer in [made, patched, again] {
            assert_has(
                &answer.body,
                &json!({"expiresAt": instant, "timezone": zone}),
            );
        }
    }
}

#[tokio::test]
async fn the_zone_changes_alone_and_moves_nothing_that_was_given_before() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let body = json!({"name": "summer", "type": "multiple", "timezone": "Europe/Madrid", "expiresAt": "2026-08-31"});
    let set = shop.set(body).await;
    for zone in ["Pacific/Kiritimati", "UTC", "America/New_York"] {
        let patched = set.patch(json!({"timezone": zone})).await.expect(200);
        assert_has(
            &patched.body,
            &json!({"expiresAt": "2026-08-31T22:00:00Z", "timezone": zone}),
        );
    }
    // New values are read in the new zone.
    let patched = set.patch(json!({"expiresAt": "2026-08-31"})).await;
    assert_eq!(patched.expect(200).str("expiresAt"), "2026-09-01T04:00:00Z");
}

#[tokio::test]
async fn a_moment_that_its_zone_puts_out_of_the_calendar_is_a_fault() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let body = json!({"name": "late", "type": "multiple", "timezone": "America/New_York"});
    let set = shop.set(body).await;
    let last = json!({"validForDays": 1, "expiresAt": "9999-12-31T18:59:59"});
    let patched = set.patch(last).await.expect(200);
    assert_eq!(patched.str("expiresAt"), "9999-12-31T23:59:59Z");
    let late = json!({"validForDays": 2, "expiresAt": "9999-12-31T19:00:00"});
    assert_eq!(set.patch(late).await.expect(422).faults(), ["/expiresAt"]);
    assert_eq!(set.read().await, patched.body);
}

#[tokio::test]
async fn a_zone_that_the_database_does_not_know_is_a_fault() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("first", &[]).await;
    let before = set.read().await;
    // A database whose list of zones is older than the program's.
    let mut owner = app.database.owner.acquire().await.unwrap();
    for statement in [
        "alter function pg_catalog.timezone(text, timestamptz) rename to timezone_of_all",
        "create function pg_catalog.timezone(p_zone text, p_at timestamptz) returns timestamp language plpgsql as $$
         begin
           if p_zone = 'Europe/Kyiv' then
             raise 'time zone \"%\" not recognized', p_zone using errcode = 'invalid_parameter_value';
           end if;
           return timezone_of_all(p_zone, p_at);
         end $$",
    ] {
        sql::run(&mut owner, statement).await.unwrap();
    }
    let patch = json!({"timezone": "Europe/Kyiv", "name": "x", "validForDays": 3});
    assert_eq!(set.patch(patch).await.expect(422).faults(), ["/timezone"]);
    let body = json!({"name": "new", "type": "multiple", "timezone": "Europe/Kyiv"});
    let answer = shop.client.post(SETS, body).await.expect(422);
    assert_eq!(answer.faults(), ["/timezone"]);
    assert_eq!(*shop.client.get(SETS).await.expect(200).results(), [before]);
    let patch = json!({"timezone": "Europe/Kiev"});
    set.patch(patch).await.expect(200);
}

#[tokio::test]
async fn a_set_is_expired_else_exhausted_else_active() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &[]).await;
    let state = async || set.read().await["state"].clone();
    assert_eq!(state().await, "exhausted");
    set.fill(&["A"]).await;
    assert_eq!(state().await, "active");
    for (patch, now) in [
        (json!({"expiresAt": "2001-01-01"}), "expired"),
        (json!({"expiresAt": null}), "active"),
        (json!({"expiresAt": "9000-01-01"}), "active"),
    ] {
        let patched = set.patch(patch).await.expect(200);
        assert_eq!(patched.str("state"), now);
    }
    set.assign("ann").await.expect(201);
    assert_eq!(state().await, "exhausted");
    // Both fields; the expiry wins.
    let patch = json!({"expiresAt": "2001-01-01"});
    assert_eq!(
        set.patch(patch).await.expect(200).str("state"),
        "expired",
        "also without a code left"
    );
    let unlimited = shop.single("unlimited", "S", None).await;
    assert_eq!(unlimited.read().await["state"], "active");
    let soon = Utc::now() + TimeDelta::milliseconds(500);
    unlimited
        .patch(json!({"expiresAt": soon.to_rfc3339()}))
        .await
        .expect(200);
    eventually("the set expires by itself", async || {
        (unlimited.read().await["state"] == "expired").then_some(())
    })
    .await;
    assert!(Utc::now() >= soon, "and not before");
}

#[tokio::test]
async fn a_list_is_narrowed_by_state_and_paged() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    other.single("not mine", "S", None).await;
    let past = json!({"expiresAt": "2001-01-01"});
    for n in 1..=5 {
        shop.single(&format!("active {n}"), "S", Some(n)).await;
        shop.multiple(&format!("exhausted {n}"), &[]).await;
        let set = shop.single(&format!("expired {n}"), "S", None).await;
        set.patch(past.clone()).await.expect(200);
    }
    // Expired and exhausted are exclusive.
    let both = shop.multiple("expired 6", &[]).await;
    both.patch(past).await.expect(200);
    let used_up = shop.single("exhausted 6", "S", Some(1)).await;
    used_up.assign("ann").await.expect(201);
    shop.single("active 6", "S", None).await;

    for state in ["active", "exhausted", "expired"] {
        let names: Vec<String> = (1..=6).map(|n| format!("{state} {n}")).collect();
        for (sort, limit) in [("name", 1), ("name", 4), ("createdAt", 2), ("-name", 3)] {
            let uri = format!("{SETS}?state={state}&sort={sort}&limit={limit}");
            let pages = walk(&shop.client, &uri).await;
            assert_eq!(pages.len(), 6_usize.div_ceil(limit));
            let mut found = strings(pages.iter().flatten(), "name");
            if sort == "-name" {
                found.reverse();
            }
            assert_eq!(found, names, "{state} by {sort}");
            assert!(pages.iter().flatten().all(|set| set["state"] == state));
        }
    }
    for (query, names) in [
        (
            "state=active&sort=-available&limit=4",
            vec![
                "active 6", "active 5", "active 4", "active 3", "active 2", "active 1",
            ],
        ),
        (
            "state=exhausted&type=single&sort=available",
            vec!["exhausted 6"],
        ),
        (
            "state=expired&q=XPIRED%206&sort=-available",
            vec!["expired 6"],
        ),
        ("state=exhausted&q=active", vec![]),
    ] {
        let pages = walk(&shop.client, &format!("{SETS}?{query}")).await;
        assert_eq!(strings(pages.iter().flatten(), "name"), names, "{query}");
    }
    for query in ["state=", "state=Active", "state=gone"] {
        let answer = shop.client.get(&format!("{SETS}?{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
}
