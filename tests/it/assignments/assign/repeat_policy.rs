//! Repeated requests of one contact: the policies of the requested set alone decide.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::rows::{hold_sweeper, lapse};
use crate::support::shop::{CouponSet, Shop};

/// A set of twenty codes with these policies.
async fn set_with(shop: &Shop, policies: Value) -> CouponSet {
    let codes: Vec<String> = (1..=20).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple(&policies.to_string(), &codes).await;
    set.patch(policies).await.expect(200);
    set
}

/// Outcome of a request, as in "assigned C1" or "409 already-assigned".
fn got(answer: &Answer) -> String {
    if answer.status.is_success() {
        let outcome = answer.str("outcome");
        let status = if outcome == "assigned" { 201 } else { 200 };
        assert_eq!(answer.status, status);
        return format!("{outcome} {}", answer.str("couponCode"));
    }
    answer.refusal()
}

#[tokio::test]
async fn new_code_gives_as_many_as_the_cap_allows_and_then_says_so() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = set_with(&shop, json!({"assignmentsPerContact": 2})).await;
    for (contact, expected) in [
        ("ann", "assigned C1"),
        ("ann", "assigned C2"),
        ("ann", "409 contact-limit-reached"),
        ("bob", "assigned C3"),
        ("ann", "409 contact-limit-reached"),
        ("bob", "assigned C4"),
        ("bob", "409 contact-limit-reached"),
    ] {
        assert_eq!(got(&set.assign(contact).await), expected);
    }
    assert_eq!(set.counts().await, [16, 0, 4, 0, 0]);
}

#[tokio::test]
async fn a_retry_is_replayed_also_where_the_contact_may_have_no_more() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for (policies, another) in [
        (
            json!({"onRepeat": "newCode", "assignmentsPerContact": 1}),
            "409 contact-limit-reached",
        ),
        (json!({"onRepeat": "refuse"}), "409 already-assigned"),
        (json!({"onRepeat": "sameCode"}), "alreadyAssigned C1"),
    ] {
        let set = set_with(&shop, policies).await;
        for (key, expected) in [
            ("k", "assigned C1"),
            ("k", "replayed C1"),
            ("other", another),
            ("k", "replayed C1"),
        ] {
            assert_eq!(got(&set.assign_as("ann", key).await), expected);
        }
    }
}

#[tokio::test]
async fn a_key_that_was_answered_with_what_the_contact_held_gets_that_for_ever() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let policies = json!({"onRepeat": "sameCode", "sameCodeUntil": "used"});
    let set = set_with(&shop, policies).await;
    let first = set.assign_as("ann", "first").await;
    assert_eq!(
        got(&set.assign_as("ann", "second").await),
        "alreadyAssigned C1"
    );
    set.record("used", first.str("id")).await.expect(200);
    assert_eq!(got(&set.assign_as("ann", "third").await), "assigned C2");
    assert_eq!(got(&set.assign_as("ann", "second").await), "replayed C1");
    assert_eq!(got(&set.assign_as("ann", "first").await), "replayed C1");
    assert_eq!(
        got(&set.assign_as("ann", "fourth").await),
        "alreadyAssigned C2"
    );
}

#[tokio::test]
async fn refuse_names_what_the_contact_holds() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = set_with(&shop, json!({"onRepeat": "refuse"})).await;
    let first = set.assign("ann").await.expect(201);
    let answer = set.assign("ann").await;
    assert_eq!(answer.refusal(), "409 already-assigned");
    assert_eq!(answer.body["assignmentId"], first.body["id"]);
    assert!(!answer.text.contains("C1"), "{}", answer.text);
    assert_eq!(got(&set.assign("bob").await), "assigned C2");
}

/// Outcomes of the items of a batch.
async fn batch(set: &CouponSet, contacts: &[&str]) -> Vec<String> {
    let items: Vec<Value> = contacts
        .iter()
        .map(|contact| json!({"contactId": contact}))
        .collect();
    let results = set.assign_batch(json!(items), None).await;
    results
        .iter()
        .map(|result| {
            let given = &result["assignment"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if given.is_null() {
                text(&result["error"]["code"])
            } else {
                text(&given["outcome"]) + " " + &text(&given["couponCode"])
            }
        })
        .collect()
}

#[tokio::test]
async fn a_contact_that_occurs_often_in_a_batch_gets_no_more_than_it_would_have_got_alone() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let contacts = ["ann", "bob", "ann", "ann", "bob", "ann"];
    for (policies, expected) in [
        (
            json!({"assignmentsPerContact": 2}),
            [
                "assigned C1",
                "assigned C2",
                "assigned C3",
                "contact-limit-reached",
                "assigned C4",
                "contact-limit-reached",
            ],
        ),
        (
            json!({"onRepeat": "refuse"}),
            [
                "assigned C1",
                "assigned C2",
                "already-assigned",
                "already-assigned",
                "already-assigned",
                "already-assigned",
            ],
        ),
        (
            json!({"onRepeat": "sameCode"}),
            [
                "assigned C1",
                "assigned C2",
                "alreadyAssigned C1",
                "alreadyAssigned C1",
                "alreadyAssigned C2",
                "alreadyAssigned C1",
            ],
        ),
        (
            // Fields of another policy have no effect.
            json!({"onRepeat": "newCode", "sameCodeUntil": "used"}),
            [
                "assigned C1",
                "assigned C2",
                "assigned C3",
                "assigned C4",
                "assigned C5",
                "assigned C6",
            ],
        ),
    ] {
        let set = set_with(&shop, policies.clone()).await;
        assert_eq!(batch(&set, &contacts).await, expected, "{policies}");
    }
    // An assignment from before the policy counts.
    let set = set_with(&shop, json!({"assignmentsPerContact": 3})).await;
    set.assign("ann").await.expect(201);
    let expected = [
        "assigned C2",
        "assigned C3",
        "contact-limit-reached",
        "contact-limit-reached",
    ];
    assert_eq!(batch(&set, &["ann"; 4]).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_that_ask_for_one_contact_at_two_replicas_as_many_succeed_as_may() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    for (policies, expected) in [
        (
            json!({"assignmentsPerContact": 3}),
            vec![("201 assigned", 3), ("409 contact-limit-reached", 61)],
        ),
        (
            json!({"onRepeat": "refuse"}),
            vec![("201 assigned", 1), ("409 already-assigned", 63)],
        ),
        (
            json!({"onRepeat": "sameCode"}),
            vec![("201 assigned", 1), ("200 alreadyAssigned", 63)],
        ),
    ] {
        let set = set_with(&shop, policies.clone()).await;
        let there = set.at(&shop.at(&replica));
        for contact in ["ann", "bob", "cat"] {
            let asking = (0..64).map(|n| [&set, &there][n % 2].assign(contact));
            let answers = join_all(asking).await;
            let mut counted: HashMap<String, usize> = HashMap::new();
            let mut codes = HashSet::new();
            for answer in &answers {
                let what = if answer.status.is_success() {
                    codes.insert(answer.str("couponCode"));
                    answer.str("outcome")
                } else {
                    answer.problem()
                };
                *counted
                    .entry(format!("{} {what}", answer.status.as_u16()))
                    .or_default() += 1;
            }
            let expected = expected
                .iter()
                .map(|(what, count)| ((*what).to_owned(), *count));
            assert_eq!(counted, expected.collect(), "{policies}");
            assert_eq!(codes.len(), counted["201 assigned"]);
        }
    }
}

#[tokio::test]
async fn what_was_given_back_or_voided_or_has_run_out_does_not_count() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    hold_sweeper(&app).await;
    for (policies, held) in [
        (
            json!({"assignmentsPerContact": 1}),
            "409 contact-limit-reached",
        ),
        (json!({"onRepeat": "refuse"}), "409 already-assigned"),
        (json!({"onRepeat": "sameCode"}), "alreadyAssigned C"),
    ] {
        let set = set_with(&shop, policies.clone()).await;
        for end in ["release", "void", "lapse", "release"] {
            let given = set.reserve("ann", 60).await.expect(201);
            let again = got(&set.assign("ann").await);
            assert!(again.starts_with(held), "a reserved one counts: {again}");
            if end == "lapse" {
                lapse(&app).await;
            } else {
                set.record(end, given.str("id")).await.expect(200);
            }
        }
        let given = set.assign("ann").await.expect(201);
        for event in ["sent", "used"] {
            set.record(event, given.str("id")).await.expect(200);
            let again = got(&set.assign("ann").await);
            assert!(again.starts_with(held), "{event}: {again}");
        }
    }
}

#[tokio::test]
async fn the_same_code_is_given_until_it_was_used_or_has_expired_as_the_set_says() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let expire = "update assignments set expires_at = now() - interval '1 second';
        update ledger_entries set expires_at = now() - interval '1 second'";
    for (until, used, expired) in [
        ("used", "assigned C2", "assigned C2"),
        ("expired", "alreadyAssigned C1", "assigned C2"),
        ("always", "alreadyAssigned C1", "alreadyAssigned C1"),
    ] {
        let policies = json!({"onRepeat": "sameCode", "sameCodeUntil": until, "validForDays": 3});
        for (what, expected) in [("used", used), ("expired", expired), ("both", expired)] {
            let mut policies = policies.clone();
            policies["name"] = json!(format!("{until} {what}"));
            let set = set_with(&shop, policies).await;
            let given = set.assign("ann").await.expect(201);
            assert_eq!(got(&set.assign("ann").await), "alreadyAssigned C1");
            set.record("sent", given.str("id")).await.expect(200);
            assert_eq!(got(&set.assign("ann").await), "alreadyAssigned C1");
            if what != "expired" {
                set.record("used", given.str("id")).await.expect(200);
            }
            if what != "used" {
                app.database.execute(expire).await;
            }
            assert_eq!(got(&set.assign("ann").await), expected, "{until} {what}");
            // From then on the new code is the one that `sameCode` returns.
            let code = expected.split(' ').next_back().unwrap();
            assert_eq!(
                got(&set.assign("ann").await),
                format!("alreadyAssigned {code}")
            );
        }
    }
}

#[tokio::test]
async fn policies_that_change_judge_what_the_contact_holds_from_before() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = set_with(&shop, json!({"onRepeat": "newCode"})).await;
    for (n, policies, expected) in [
        (1, json!({}), "assigned C1"),
        (2, json!({}), "assigned C2"),
        (
            3,
            json!({"assignmentsPerContact": 2}),
            "409 contact-limit-reached",
        ),
        (
            4,
            json!({"assignmentsPerContact": 1}),
            "409 contact-limit-reached",
        ),
        (5, json!({"assignmentsPerContact": 3}), "assigned C3"),
        (6, json!({"onRepeat": "refuse"}), "409 already-assigned"),
        (7, json!({"onRepeat": "sameCode"}), "alreadyAssigned C3"),
        (
            8,
            json!({"onRepeat": "newCode"}),
            "409 contact-limit-reached",
        ),
        (9, json!({"assignmentsPerContact": null}), "assigned C4"),
    ] {
        set.patch(policies).await.expect(200);
        let answer = set.assign_as("ann", &format!("k{n}")).await;
        assert_eq!(got(&answer), expected, "{n}");
    }
    // Keys with an assignment are replayed; refused keys are evaluated again.
    set.patch(json!({"onRepeat": "refuse"})).await.expect(200);
    for (n, expected) in [
        (1, "replayed C1"),
        (7, "replayed C3"),
        (9, "replayed C4"),
        (3, "409 already-assigned"),
    ] {
        let answer = set.assign_as("ann", &format!("k{n}")).await;
        assert_eq!(got(&answer), expected, "{n}");
    }
}

#[tokio::test]
async fn the_policies_of_the_requested_set_count_whoever_serves() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for (policies, held) in [
        (
            json!({"assignmentsPerContact": 1}),
            "409 contact-limit-reached",
        ),
        (json!({"onRepeat": "refuse"}), "409 already-assigned"),
        (json!({"onRepeat": "sameCode"}), "alreadyAssigned C1"),
    ] {
        // The child has no policy of its own, and gives one code to a contact that requests from it.
        let child = set_with(&shop, json!({"name": format!("child {policies}")})).await;
        let body = json!({"name": format!("set {policies}"), "type": "multiple", "childCouponSetId": child.id});
        let set = shop.set(body).await;
        set.patch(policies.clone()).await.expect(200);
        assert_eq!(got(&set.assign("ann").await), "assigned C1");
        assert_eq!(got(&set.assign("ann").await), held, "served by the child");
        // The child set has had no request yet.
        assert_eq!(got(&child.assign("ann").await), "assigned C2");
        child.patch(policies).await.expect(200);
        assert!(!got(&child.assign("ann").await).starts_with("assigned"));
        // The policies of the child do not apply to the parent.
        set.patch(json!({"onRepeat": "newCode", "assignmentsPerContact": null}))
            .await
            .expect(200);
        assert_eq!(got(&set.assign("ann").await), "assigned C3");
    }
}
