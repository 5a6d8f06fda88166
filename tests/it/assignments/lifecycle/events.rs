//! Recording events in bulk, and from many callers at once.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::TestApp;
use crate::support::shop::CouponSet;
use crate::support::sql;

const EVENTS: &str = "/v1/assignments/events";

/// Result of each event, as in "recorded sent" or "409 wrong-state used".
fn outcomes(results: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    results
        .iter()
        .map(|result| {
            let error = &result["error"];
            if error.is_null() {
                assert_eq!(result["status"], 200);
                return text(&result["outcome"]) + " " + &text(&result["state"]);
            }
            assert_eq!(result["status"], error["status"]);
            let refused = format!("{} {} ", result["status"], text(&error["code"]));
            (refused + &text(&error["state"])).trim_end().to_owned()
        })
        .collect()
}

/// Assigns one code to each of `count` contacts and returns the ids.
async fn assign_all(set: &CouponSet, count: usize) -> Vec<String> {
    let items: Vec<Value> = (0..count)
        .map(|n| json!({"contactId": format!("c{n}")}))
        .collect();
    let results = set.assign_batch(json!(items), None).await;
    results
        .iter()
        .map(|result| result["assignment"]["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The id with a different time in it; it refers to the same row.
fn at_another_time(id: &str) -> String {
    let id: Uuid = id.parse().unwrap();
    Uuid::from_u128(id.as_u128() + (1 << 80)).to_string()
}

#[tokio::test]
async fn events_of_many_sets_are_recorded_at_once_and_bad_ones_among_them_harm_no_other() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let foreign = app.shop().await.multiple("foreign", &["A"]).await;
    let stranger = foreign.assign("ann").await.expect(201);
    let set = shop.multiple("first", &["A", "B", "C"]).await;
    let other = shop.multiple("second", &["A", "X"]).await;
    let single = shop.single("single", "S", None).await;
    let a = set.assign("ann").await.expect(201);
    let b = set.reserve("bob", 60).await.expect(201);
    let x = other.assign("cat").await.expect(201);
    let s = single.assign("dan").await.expect(201);
    let results = set
        .record_all(json!([
            {"assignmentId": a.str("id"), "event": "sent"},
            {"assignmentId": s.str("id"), "event": "used", "reason": "at the till"},
            {"couponSetId": other.id, "code": "A", "event": "used", "occurredAt": "2026-11-22T18:30:00Z"},
            {"couponSetId": set.id, "code": "A", "event": "used"},
            {"assignmentId": b.str("id"), "event": "used"},
            {"couponSetId": other.id, "code": "X", "event": "used"},
            {"couponSetId": set.id, "code": "C", "event": "used"},
            {"couponSetId": set.id, "code": "a", "event": "used"},
            {"couponSetId": single.id, "code": "S", "event": "used"},
            {"couponSetId": foreign.id, "code": "A", "event": "used"},
            {"assignmentId": stranger.str("id"), "event": "used"},
            {"assignmentId": Uuid::now_v7(), "event": "used"},
            {"assignmentId": Uuid::nil(), "event": "used"},
            {"assignmentId": at_another_time(a.str("id")), "event": "void"},
            {"assignmentId": b.str("id"), "event": "release"},
        ]))
        .await;
    let expected = [
        "recorded sent",
        "recorded used",
        "recorded used",
        "recorded used",
        "409 wrong-state reserved",
        "422 code-not-assigned",
        "422 code-not-assigned",
        "422 code-not-assigned",
        "422 code-not-assigned",
        "404 not-found",
        "404 not-found",
        "404 not-found",
        "404 not-found",
        "404 not-found",
        "recorded released",
    ];
    assert_eq!(outcomes(&results), expected);
    assert_eq!(results[2]["assignmentId"], x.body["id"], "dealt first");
    let states = async |set: &CouponSet, id| set.assignment(id).await["state"].clone();
    assert_eq!(states(&set, a.str("id")).await, "used");
    assert_eq!(states(&set, b.str("id")).await, "released");
    assert_eq!(states(&foreign, stranger.str("id")).await, "assigned");
    let history = single.assignment(s.str("id")).await;
    assert_eq!(history["events"][1]["reason"], "at the till");
    let history = other.assignment(x.str("id")).await;
    assert_eq!(history["events"][1]["occurredAt"], "2026-11-22T18:30:00Z");
}

#[tokio::test]
async fn an_event_with_wrong_fields_reports_its_errors_and_its_place() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A"]).await;
    let given = set.assign("ann").await.expect(201);
    let id = given.str("id");
    let wrong = [
        (json!({"assignmentId": id}), vec!["event"]),
        (
            json!({"assignmentId": id, "event": "confirmed"}),
            vec!["event"],
        ),
        (
            json!({"assignmentId": "x", "event": "used"}),
            vec!["assignmentId"],
        ),
        (json!({"event": "used"}), vec!["couponSetId", "code"]),
        (
            json!({"couponSetId": set.id, "event": "used"}),
            vec!["code"],
        ),
        (
            json!({"assignmentId": id, "couponSetId": set.id, "code": "A", "event": "used"}),
            vec!["couponSetId", "code"],
        ),
        (
            json!({"assignmentId": id, "event": "used", "reason": "", "occurredAt": "soon"}),
            vec!["occurredAt", "reason"],
        ),
        (
            json!({"assignmentId": id, "event": "used", "why": "x"}),
            vec!["why"],
        ),
        (json!("used"), vec![""]),
    ];
    let mut events: Vec<&Value> = wrong.iter().map(|(event, _)| event).collect();
    let good = json!({"assignmentId": id, "event": "used"});
    events.push(&good);
    let results = set.record_all(json!(events)).await;
    for (index, (_, faults)) in wrong.iter().enumerate() {
        let result = &results[index];
        assert_eq!(result["status"], 422, "{result}");
        let found: HashSet<&str> = result["error"]["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["pointer"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = faults
            .iter()
            .map(|fault| {
                format!("/events/{index}/{fault}")
                    .trim_end_matches('/')
                    .to_owned()
            })
            .collect();
        assert_eq!(found, expected.iter().map(String::as_str).collect());
    }
    assert_eq!(outcomes(&results)[wrong.len()], "recorded used");
}

#[tokio::test]
async fn events_of_one_assignment_take_effect_in_their_order() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("set", "S", None).await;
    for (events, expected) in [
        (
            ["confirm", "sent", "used", "void"],
            [
                "recorded assigned",
                "recorded sent",
                "recorded used",
                "409 wrong-state used",
            ],
        ),
        (
            ["used", "confirm", "used", "used"],
            [
                "409 wrong-state reserved",
                "recorded assigned",
                "recorded used",
                "repeated used",
            ],
        ),
        (
            ["confirm", "sent", "used", "sent"],
            [
                "recorded assigned",
                "recorded sent",
                "recorded used",
                "repeated used",
            ],
        ),
        (
            ["sent", "release", "release", "confirm"],
            [
                "409 wrong-state reserved",
                "recorded released",
                "repeated released",
                "409 wrong-state released",
            ],
        ),
        (
            ["void", "release", "void", "release"],
            [
                "recorded void",
                "409 wrong-state void",
                "repeated void",
                "409 wrong-state void",
            ],
        ),
    ] {
        let id = set
            .reserve("ann", 60)
            .await
            .expect(201)
            .str("id")
            .to_owned();
        let event_of = |event: &str| json!({"assignmentId": id, "event": event});
        let results = set.record_all(json!(events.map(event_of))).await;
        assert_eq!(outcomes(&results), expected, "{events:?}");
        // One request with four events has the effect of four requests.
        let id = set
            .reserve("ann", 60)
            .await
            .expect(201)
            .str("id")
            .to_owned();
        for (event, expected) in events.iter().zip(expected) {
            let answer = set.record(event, &id).await;
            if answer.status == 200 {
                let state = expected.split(' ').next_back().unwrap();
                assert_eq!(answer.str("state"), state, "{event} of {events:?}");
            } else {
                let refusal = format!("{} {}", answer.refusal(), answer.str("state"));
                assert_eq!(refusal, expected, "{event} of {events:?}");
            }
        }
    }
}

#[tokio::test]
async fn ten_thousand_events_are_recorded_in_order_and_one_more_is_refused() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("set", "S", None).await;
    let ids = assign_all(&set, 4_999).await;
    // Each is sent and, much later, used; the first event is recorded again at both ends.
    let mut events: Vec<Value> = ["sent", "used"]
        .iter()
        .flat_map(|event| {
            let event_of = move |id| json!({"assignmentId": id, "event": event});
            ids.iter().map(event_of)
        })
        .collect();
    events.insert(0, json!({"assignmentId": ids[0], "event": "sent"}));
    events.push(json!({"assignmentId": ids[0], "event": "release"}));
    let results = set.record_all(json!(events)).await;
    let mut expected = vec!["recorded sent", "repeated sent"];
    expected.resize(5_000, "recorded sent");
    expected.resize(9_999, "recorded used");
    expected.push("409 wrong-state used");
    assert_eq!(results.len(), 10_000);
    for (index, (outcome, expected)) in outcomes(&results).iter().zip(expected).enumerate() {
        assert_eq!(outcome, expected, "{index}");
        assert_eq!(
            results[index]["assignmentId"],
            events[index]["assignmentId"]
        );
    }
    let read = set.read().await;
    assert_eq!(
        (&read["sent"], &read["used"]),
        (&json!(4_999), &json!(4_999))
    );

    events.push(json!({"assignmentId": ids[0], "event": "used"}));
    for wrong in [json!(events), json!([])] {
        let answer = shop.client.post(EVENTS, json!({"events": wrong}));
        assert_eq!(answer.await.expect(422).faults(), ["/events"]);
    }
    let answer = shop.client.post(EVENTS, json!({})).await.expect(422);
    assert_eq!(answer.faults(), ["/events"]);
}

#[tokio::test]
async fn an_event_of_a_code_is_that_of_its_latest_assignment() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("set", &["A"]).await;
    let by_code = async |event| {
        let results = set
            .record_all(json!([{"couponSetId": set.id, "code": "A", "event": event}]))
            .await;
        outcomes(&results).remove(0)
    };
    let old = set.assign("ann").await.expect(201);
    assert_eq!(by_code("release").await, "recorded released");
    assert_eq!(by_code("used").await, "409 wrong-state released");
    let new = set.assign("bob").await.expect(201);
    assert_eq!(by_code("used").await, "recorded used");
    assert_eq!(set.assignment(old.str("id")).await["state"], "released");
    assert_eq!(set.assignment(new.str("id")).await["state"], "used");
}

#[tokio::test]
async fn a_shared_call_skips_a_locked_set_and_answers_for_one_that_does_not_exist() {
    let app = TestApp::start().await;
    app.shop().await.multiple("set", &["A"]).await;
    let mut holder = app.database.owner.begin().await.expect("a transaction");
    let lock = "select tenant_id from coupon_sets where set_no = 1 for update";
    let tenant: i32 = sql::value(&mut holder, lock).await;
    let mut caller = app.database.owner.acquire().await.expect("a connection");
    let call = format!(
        "select item || ' ' || outcome
           from record_events(
             array[{tenant}, {tenant}], array[1, 2], array[1, 2], array[1, 1], false, array[1, 1]::bigint[],
             array[1, 1]::bigint[], array['used', 'used'], array[null, null]::timestamptz[], array[null, null]::uuid[],
             array[null, null]::text[])"
    );
    let found: Vec<String> = sql::column(&mut caller, call).await;
    assert_eq!(found, ["2 notFound"]);
    holder.rollback().await.expect("the end");
}

#[tokio::test]
async fn an_id_that_was_guessed_or_is_anothers_leads_nowhere() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let set = shop.multiple("set", &["A"]).await;
    let foreign = other.multiple("set", &["A"]).await;
    let given = set.assign("ann").await.expect(201);
    let id = given.str("id");
    let guessed = [
        at_another_time(id),
        Uuid::nil().to_string(),
        Uuid::now_v7().to_string(),
    ];
    for event in ["confirm", "sent", "used", "release", "void"] {
        for id in &guessed {
            assert_eq!(set.record(event, id).await.refusal(), "404 not-found");
        }
        assert_eq!(foreign.record(event, id).await.refusal(), "404 not-found");
        let answer = set.record(event, "x").await;
        assert_eq!(answer.refusal(), "400 malformed-request");
    }
    for id in &guessed {
        let answer = shop.client.get(&format!("/v1/assignments/{id}")).await;
        assert_eq!(answer.refusal(), "404 not-found");
    }
    assert_eq!(set.counts().await, [0, 0, 1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_that_end_an_assignment_in_three_ways_one_way_wins() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    for round in 0..20 {
        let set = shop.multiple(&format!("round {round}"), &["A"]).await;
        let there = set.at(&shop.at(&replica));
        let id = set.assign("ann").await.expect(201).str("id").to_owned();
        let recording = (0..64).map(|n| {
            let set = if n % 2 == 0 { &set } else { &there };
            let event = ["release", "used", "void"][n % 3];
            let id = id.clone();
            async move { (event, set.record(event, &id).await) }
        });
        let mut won: HashMap<&str, usize> = HashMap::new();
        let mut states = HashSet::new();
        for (event, answer) in join_all(recording).await {
            if answer.status == 200 {
                *won.entry(event).or_default() += 1;
            } else {
                assert_eq!(answer.refusal(), "409 wrong-state");
            }
            states.insert(answer.str("state").to_owned());
        }
        let history = set.assignment(&id).await;
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(
            states,
            HashSet::from([history["state"].as_str().unwrap().to_owned()])
        );
        assert_eq!(history["events"].as_array().unwrap().len(), 2);
        let (counts, again) = match history["state"].as_str().unwrap() {
            "released" => ([1, 0, 0, 0, 0], vec![201, 409]),
            "used" => ([0, 0, 1, 0, 0], vec![409, 409]),
            _ => ([0, 0, 0, 1, 0], vec![409, 409]),
        };
        assert_eq!(set.counts().await, counts);
        for status in again {
            set.assign("bob").await.expect(status);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn codes_that_come_back_while_others_ask_are_with_one_contact_at_a_time() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let codes: Vec<String> = (0..8).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple("set", &codes).await;
    let there = set.at(&shop.at(&replica));
    let held: Mutex<HashSet<String>> = Mutex::default();
    let given: Mutex<usize> = Mutex::default();
    let contacts = (0..24).map(|contact| {
        let set = if contact % 2 == 0 { &set } else { &there };
        let (held, given) = (&held, &given);
        async move {
            for _ in 0..40 {
                let answer = set.assign(&format!("c{contact}")).await;
                if answer.status == 409 {
                    assert_eq!(answer.refusal(), "409 coupon-set-exhausted");
                    continue;
                }
                let code = answer.expect(201);
                let (id, code) = (code.str("id").to_owned(), code.str("couponCode").to_owned());
                *given.lock().unwrap() += 1;
                assert!(held.lock().unwrap().insert(code.clone()), "{code} twice");
                tokio::task::yield_now().await;
                assert!(held.lock().unwrap().remove(&code));
                set.release(&id).await.expect(200);
            }
        }
    });
    join_all(contacts).await;
    let given = given.into_inner().unwrap();
    assert!(given > 100, "only {given} were given");
    assert_eq!(set.counts().await, [8, 0, 0, 0, 0]);
    assert_eq!(set.read().await["released"], given);
    // The ledger agrees: a code is assigned again after it was released, and not before.
    let query = "select count(*)
          from cards c
          join assignments a using (tenant_id, set_no, lot_no, ordinal)
          left join cards b on b.tenant_id = c.tenant_id and b.set_no = c.set_no and b.code = c.code
                           and b.occurrence = c.occurrence - 1
          left join assignments p on p.tenant_id = b.tenant_id and p.set_no = b.set_no and p.lot_no = b.lot_no
                                 and p.ordinal = b.ordinal
          left join ledger_entries e on e.tenant_id = p.tenant_id and e.set_no = p.set_no
                                    and e.assignment_number = p.number and e.event = 'released'
         where c.occurrence > 0 and (e.number is null or e.number > a.number)";
    assert_eq!(app.database.query_value(query).await, 0);
}
