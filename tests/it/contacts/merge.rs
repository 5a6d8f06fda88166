//! Merging contacts.

use std::collections::HashSet;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::contacts::activity::{got, set_with};
use crate::support::pages::strings;
use crate::support::{TestApp, sql};

#[tokio::test]
async fn a_contact_that_was_merged_is_the_one_that_stands_for_it_wherever_it_is_shown() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = set_with(&shop, json!({})).await;
    let first = set.assign("visitor").await.expect(201);
    set.assign("ann").await.expect(201);
    set.assign("bob").await.expect(201);
    let merged = shop.merge("visitor", "ann").await.expect(200);
    assert_eq!(
        merged.body,
        json!({"contactId": "visitor", "mergedInto": "ann"})
    );

    let later = set.assign("visitor").await.expect(201);
    assert_eq!(later.str("contactId"), "ann");
    assert_eq!(set.assign("ann").await.expect(201).str("contactId"), "ann");
    let expected = ["C5", "C4", "C2", "C1"];
    for (contact, merged_into) in [("visitor", Some("ann")), ("ann", None)] {
        for what in ["activity", "coupons"] {
            let entries = shop.page(contact, what, merged_into).await;
            assert_eq!(strings(&entries, "couponCode"), expected);
            assert_eq!(strings(&entries, "contactId"), ["ann"; 4]);
        }
        for (query, expected) in [("", &expected[..]), ("&code=C1", &["C1"])] {
            let uri = format!("/v1/assignments?contactId={contact}{query}");
            let list = shop.client.get(&uri).await.expect(200);
            assert_eq!(strings(list.results(), "couponCode"), expected, "{uri}");
        }
    }
    let found = set.assignment(first.str("id")).await;
    assert_eq!(found["contactId"], "ann");
    let uri = format!("{}/coupons?prefix=C1", set.path());
    let listed = shop.client.get(&uri).await.expect(200);
    assert_eq!(listed.results()[0]["contactId"], "ann");
    assert_eq!(shop.usable("bob").await, ["C3"]);
}

#[tokio::test]
async fn policies_count_what_all_hold_who_are_one() {
    let app = TestApp::start().await;
    for (policies, before, after) in [
        (
            json!({"assignmentsPerContact": 3}),
            vec!["assigned C1", "assigned C2"],
            vec![
                "assigned C3",
                "409 contact-limit-reached",
                "409 contact-limit-reached",
            ],
        ),
        (
            json!({"onRepeat": "refuse"}),
            vec!["assigned C1", "assigned C2"],
            vec!["409 already-assigned"; 3],
        ),
        (
            // The latest code of either contact.
            json!({"onRepeat": "sameCode"}),
            vec!["assigned C1", "assigned C2"],
            vec!["alreadyAssigned C2"; 3],
        ),
    ] {
        let ways = [
            &[("one", "two")][..],
            &[("two", "one")],
            &[("one", "new"), ("two", "new")],
            &[("one", "new"), ("new", "two")],
        ];
        for merges in ways {
            let shop = app.shop().await;
            let set = set_with(&shop, policies.clone()).await;
            for (contact, expected) in ["one", "two"].into_iter().zip(&before) {
                assert_eq!(got(&set.assign(contact).await), *expected);
            }
            for (contact, into) in merges {
                shop.merge(contact, into).await.expect(200);
            }
            for (contact, expected) in ["one", "two", "one"].into_iter().zip(&after) {
                assert_eq!(
                    got(&set.assign(contact).await),
                    *expected,
                    "{policies} {merges:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn both_in_one_batch_get_what_one_contact_would_get() {
    let app = TestApp::start().await;
    for (policies, expected) in [
        (
            json!({}),
            ["assigned C2", "assigned C3", "assigned C4", "assigned C5"],
        ),
        (
            json!({"assignmentsPerContact": 3}),
            [
                "assigned C2",
                "assigned C3",
                "contact-limit-reached",
                "contact-limit-reached",
            ],
        ),
        (json!({"onRepeat": "sameCode"}), ["alreadyAssigned C1"; 4]),
    ] {
        let shop = app.shop().await;
        let set = set_with(&shop, policies.clone()).await;
        set.assign("visitor").await.expect(201);
        shop.merge("visitor", "ann").await.expect(200);
        let contacts = ["ann", "visitor", "ann", "visitor"];
        let items: Vec<Value> = contacts.map(|contact| json!({"contactId": contact})).into();
        let results = set.assign_batch(json!(items), None).await;
        let results = results.iter().map(|result| {
            let given = &result["assignment"];
            match given["couponCode"].as_str() {
                Some(code) => format!("{} {code}", given["outcome"].as_str().unwrap()),
                None => result["error"]["code"].as_str().unwrap().to_owned(),
            }
        });
        assert_eq!(results.collect::<Vec<_>>(), expected, "{policies}");
    }
}

#[tokio::test]
async fn a_key_that_was_used_for_the_one_is_known_for_the_other() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = set_with(&shop, json!({"onRepeat": "sameCode"})).await;
    set.assign_as("visitor", "k1").await.expect(201);
    // A key stored with a result, not with an assignment.
    set.assign_as("visitor", "k2").await.expect(200);
    assert_eq!(
        got(&set.assign_as("ann", "k1").await),
        "422 idempotency-key-reused"
    );
    shop.merge("visitor", "ann").await.expect(200);
    for key in ["k1", "k2"] {
        for contact in ["ann", "visitor"] {
            assert_eq!(got(&set.assign_as(contact, key).await), "replayed C1");
        }
        assert_eq!(
            got(&set.assign_as("bob", key).await),
            "422 idempotency-key-reused"
        );
    }
    // In one batch they share a key too; a third contact does not.
    let set = set_with(&shop, json!({})).await;
    let items: Vec<Value> = ["ann", "bob", "visitor"]
        .map(|contact| json!({"contactId": contact, "idempotencyKey": "shared"}))
        .into();
    let results = set.assign_batch(json!(items), None).await;
    assert_eq!(results[0]["assignment"]["outcome"], "assigned");
    assert_eq!(results[1]["error"]["code"], "idempotency-key-reused");
    assert_eq!(results[2]["assignment"]["outcome"], "replayed");
    assert_eq!(
        results[2]["assignment"]["id"],
        results[0]["assignment"]["id"]
    );
}

/// Fails unless each merged contact names its final target.
async fn check_ways(app: &TestApp) {
    let astray = "select c.contact_id from contacts c
        join contacts r on r.tenant_id = c.tenant_id and r.contact_no = c.merged_into
       where r.merged_into is distinct from r.contact_no";
    let mut owner = app.database.owner.acquire().await.unwrap();
    assert_eq!(
        sql::column::<String>(&mut owner, astray).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_merge_may_be_sent_again_and_goes_neither_elsewhere_nor_in_a_circle() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let went = async |contact: &str, into: &str| {
        let answer = shop.merge(contact, into).await;
        match answer.status.as_u16() {
            200 => answer.str("mergedInto").to_owned(),
            409 => format!("{} {}", answer.refusal(), answer.str("mergedInto")),
            _ => format!("{:?}", answer.faults()),
        }
    };
    for (contact, into, expected) in [
        ("a", "a", "[\"/into\"]"),
        ("a", "b", "b"),
        ("a", "b", "b"),
        ("b", "a", "409 contact-merged b"),
        ("a", "c", "409 contact-merged b"),
        ("b", "c", "c"),
        // Earlier merges stay valid: a was merged into b, and follows it.
        ("a", "b", "c"),
        ("a", "c", "c"),
        ("c", "a", "409 contact-merged c"),
        ("c", "b", "409 contact-merged c"),
        ("d", "a", "c"),
        ("x", "y", "y"),
        ("y", "d", "c"),
        ("x", "y", "c"),
        ("c", "x", "409 contact-merged c"),
    ] {
        assert_eq!(went(contact, into).await, expected, "{contact} into {into}");
        check_ways(&app).await;
    }
    // Another tenant sees nothing of it.
    let other = app.shop().await;
    assert_eq!(
        other.merge("b", "a").await.expect(200).str("mergedInto"),
        "a"
    );
    for body in [
        json!({}),
        json!({"into": 5}),
        json!({"into": ""}),
        json!({"into": "\u{0}"}),
    ] {
        let answer = shop.client.post("/v1/contacts/a/merge", body).await;
        assert_eq!(answer.faults(), ["/into"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn merges_that_cross_make_no_circle() {
    let app = TestApp::start().await;
    let there = app.replica();
    let shop = app.shop().await;
    let far = shop.at(&there);
    for round in 0..10 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let (one, other) = join(shop.merge(&a, &b), far.merge(&b, &a)).await;
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.text, other.text);
    }
    // All merges of a ring at once: the result is one contact that stands for all.
    let ring = |n: usize| (format!("r{n}"), format!("r{}", (n + 1) % 12));
    let merging = (0..12).map(|n| {
        let (contact, into) = ring(n);
        let shop = [&shop, &far][n % 2];
        async move { shop.merge(&contact, &into).await.status.as_u16() }
    });
    let statuses = join_all(merging).await;
    assert!(
        statuses.iter().all(|status| [200, 409].contains(status)),
        "{statuses:?}"
    );
    let roots = "select count(distinct merged_into) from contacts where contact_id like 'r%'";
    assert_eq!(app.database.query_value(roots).await, 1);
    check_ways(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_merge_beside_64_that_ask_comes_before_or_after_each_of_them() {
    const LIMIT: usize = 3;
    let app = TestApp::start().await;
    let there = app.replica();
    let shop = app.shop().await;
    let far = shop.at(&there);
    let set = set_with(&shop, json!({"assignmentsPerContact": LIMIT})).await;
    let away = set.at(&far);

    // The merge comes first: the requests wait for the lock of the set, which a merge does not need.
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, "select from coupon_sets for no key update")
        .await
        .unwrap();
    let asking = join_all((0..64).map(|n| {
        let set = [&set, &away][n % 2];
        async move { set.assign(["early", "late"][n / 2 % 2]).await }
    }));
    let merging = async {
        app.database.wait_for_lock_waiters(2).await;
        shop.merge("early", "late").await.expect(200);
        holder.commit().await.unwrap();
    };
    let (answers, ()) = join(asking, merging).await;
    let given = answers.iter().filter(|answer| answer.status == 201);
    assert_eq!(given.count(), LIMIT);

    // The merge comes at an arbitrary time. Codes assigned before it may exceed the limit; requests after it add none.
    for round in 0..12 {
        let (contact, into) = (format!("one {round}"), format!("two {round}"));
        let asking = join_all((0..64).map(|n| {
            let set = [&set, &away][n % 2];
            let asking = [&contact, &into][n / 2 % 2];
            async move { (asking, set.assign(asking).await) }
        }));
        let merging = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            shop.merge(&contact, &into).await.expect(200)
        };
        let (answers, _) = join(asking, merging).await;
        let given: Vec<_> = answers
            .iter()
            .filter(|(_, answer)| answer.status == 201)
            .collect();
        let refused = answers
            .iter()
            .filter(|(_, answer)| !answer.status.is_success());
        for (_, answer) in refused {
            assert_eq!(answer.refusal(), "409 contact-limit-reached");
        }
        let codes: HashSet<_> = given
            .iter()
            .map(|(_, answer)| answer.str("couponCode"))
            .collect();
        assert_eq!(codes.len(), given.len());
        assert!(
            (LIMIT..=2 * LIMIT).contains(&given.len()),
            "{}",
            given.len()
        );
        for name in [&contact, &into] {
            let own = given.iter().filter(|(asking, _)| asking == &name).count();
            assert!(given.len() == LIMIT || own <= LIMIT, "{own} for {name}");
        }
        // A contact that requested as one and was served as the other came after the merge.
        let after = given
            .iter()
            .any(|(asking, answer)| **asking == contact && answer.str("contactId") == into);
        assert!(
            !after || given.len() == LIMIT,
            "{} after a merge",
            given.len()
        );
        for name in [&contact, &into] {
            assert_eq!(
                set.assign(name).await.refusal(),
                "409 contact-limit-reached"
            );
        }
    }
}
