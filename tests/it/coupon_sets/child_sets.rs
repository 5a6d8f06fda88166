//! Promises of child sets: chains of up to five, and never a cycle.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::shop::{CouponSet, Shop};

const SETS: &str = "/v1/coupon-sets";

/// Creates sets of which each falls back to the next.
async fn chain(shop: &Shop, name: &str, length: usize) -> Vec<CouponSet> {
    let mut sets: Vec<CouponSet> = Vec::new();
    for n in (0..length).rev() {
        let child = sets.last().map(|set| set.id.clone());
        let body =
            json!({"name": format!("{name} {n}"), "type": "multiple", "childCouponSetId": child});
        sets.push(shop.set(body).await);
    }
    sets.reverse();
    sets
}

async fn falls_back(set: &CouponSet, child: &CouponSet) -> Answer {
    set.patch(json!({"childCouponSetId": child.id})).await
}

async fn child_of(set: &CouponSet) -> Value {
    set.read().await["childCouponSetId"].clone()
}

#[tokio::test]
async fn an_exhausted_set_falls_back_along_its_chain_and_the_counters_move_where_it_was_served() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let sets = chain(&shop, "set", 3).await;
    sets[0].fill(&["A"]).await;
    sets[1].fill(&["B"]).await;
    sets[2].fill(&["C"]).await;
    for (contact, code, served) in [("ann", "A", 0), ("bob", "B", 1), ("cat", "C", 2)] {
        let given = sets[0].assign(contact).await.expect(201);
        assert_eq!(given.str("couponCode"), code);
        assert_eq!(given.str("couponSetId"), sets[served].id);
        assert_eq!(given.str("requestedCouponSetId"), sets[0].id);
        for (n, set) in sets.iter().enumerate() {
            let gave = i64::from(n <= served);
            assert_eq!(set.counters().await, (json!(1), gave, json!(1 - gave)));
        }
    }
    assert_eq!(
        sets[0].assign("dan").await.refusal(),
        "409 coupon-set-exhausted"
    );
}

#[tokio::test]
async fn a_set_that_falls_back_to_itself_is_refused() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    assert_eq!(
        falls_back(&set, &set).await.refusal(),
        "422 child-set-cycle"
    );
    assert_eq!(child_of(&set).await, Value::Null);
}

#[tokio::test]
async fn a_cycle_of_two_to_five_sets_is_refused_and_leaves_the_chain_as_it_was() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for length in 2..=5 {
        let sets = chain(&shop, &format!("cycle of {length}"), length).await;
        for first in 0..length - 1 {
            let last = &sets[length - 1];
            let answer = falls_back(last, &sets[first]).await;
            assert_eq!(answer.refusal(), "422 child-set-cycle", "{length} {first}");
            assert_eq!(child_of(last).await, Value::Null);
        }
        assert_eq!(child_of(&sets[0]).await, json!(sets[1].id));
    }
}

#[tokio::test]
async fn a_chain_of_five_is_allowed_and_one_of_six_is_refused_from_either_end_and_in_the_middle() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let five = chain(&shop, "five", 5).await;
    let refused = "422 child-set-chain-too-long";
    // At the head: a new set, and an existing one.
    let body = json!({"name": "sixth", "type": "multiple", "childCouponSetId": five[0].id});
    assert_eq!(shop.client.post(SETS, body).await.refusal(), refused);
    let list = shop
        .client
        .get(&format!("{SETS}?q=sixth"))
        .await
        .expect(200);
    assert_eq!(list.results().len(), 0, "it was not created");
    let lone = shop.multiple("lone", &[]).await;
    assert_eq!(falls_back(&lone, &five[0]).await.refusal(), refused);
    // At the tail.
    assert_eq!(falls_back(&five[4], &lone).await.refusal(), refused);
    // In the middle: three and three.
    let (head, tail) = (chain(&shop, "head", 3).await, chain(&shop, "tail", 3).await);
    assert_eq!(falls_back(&head[2], &tail[0]).await.refusal(), refused);
    assert_eq!(child_of(&head[2]).await, Value::Null);
    // Three and two are five, also where the chain branches.
    falls_back(&head[2], &tail[1]).await.expect(200);
    falls_back(&lone, &head[1]).await.expect(200);
    falls_back(&lone, &five[1]).await.expect(200);
    tail[2].fill(&["LAST"]).await;
    let given = head[0].assign("ann").await.expect(201);
    assert_eq!(given.str("couponSetId"), tail[2].id);
}

#[tokio::test]
async fn a_longer_branch_further_up_counts_too() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // Two chains lead to `joint`: one of two sets, one of four.
    let joint = shop.multiple("joint", &[]).await;
    let short = shop.multiple("short", &[]).await;
    falls_back(&short, &joint).await.expect(200);
    let long = chain(&shop, "long", 3).await;
    falls_back(&long[2], &joint).await.expect(200);
    let tail = chain(&shop, "tail", 2).await;
    let answer = falls_back(&joint, &tail[0]).await;
    assert_eq!(answer.refusal(), "422 child-set-chain-too-long");
    falls_back(&joint, &tail[1]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_at_once_never_close_a_cycle() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    for round in 0..20 {
        let (a, b, c) = (
            shop.multiple(&format!("a {round}"), &[]).await,
            shop.multiple(&format!("b {round}"), &[]).await,
            shop.multiple(&format!("c {round}"), &[]).await,
        );
        let there = CouponSet {
            client: shop.at(&replica).client,
            id: b.id.clone(),
        };
        let answers = tokio::join!(
            falls_back(&a, &b),
            falls_back(&there, &c),
            falls_back(&c, &a)
        );
        let answers = [answers.0, answers.1, answers.2];
        let refused: Vec<&Answer> = answers
            .iter()
            .filter(|answer| answer.status != 200)
            .collect();
        assert_eq!(
            refused.len(),
            1,
            "of three patches that close a cycle one fails"
        );
        assert_eq!(refused[0].refusal(), "422 child-set-cycle");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_at_once_never_make_a_chain_too_long() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for round in 0..10 {
        let sets = chain(&shop, &format!("middle {round}"), 4).await;
        let head = shop.multiple(&format!("head {round}"), &[]).await;
        let tail = shop.multiple(&format!("tail {round}"), &[]).await;
        let (first, second) =
            tokio::join!(falls_back(&head, &sets[0]), falls_back(&sets[3], &tail));
        let mut refusals = [first, second]
            .into_iter()
            .filter(|answer| answer.status != 200);
        let refused = refusals.next().expect("one of them fails");
        assert_eq!(refused.refusal(), "422 child-set-chain-too-long");
        assert!(refusals.next().is_none());
    }
}

#[tokio::test]
async fn a_set_that_another_one_falls_back_to_cannot_be_deleted() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let sets = chain(&shop, "set", 3).await;
    let second = shop.multiple("Second parent", &[]).await;
    falls_back(&second, &sets[1]).await.expect(200);
    let answer = sets[1].delete().await;
    assert_eq!(answer.refusal(), "409 coupon-set-referenced");
    assert_eq!(answer.body["couponSets"], json!(["Second parent", "set 0"]));
    sets[1].read().await;
    // Once no set refers to it, it can be deleted, and then its own child too.
    sets[0].delete().await.expect(204);
    assert_eq!(
        sets[1].delete().await.refusal(),
        "409 coupon-set-referenced"
    );
    second
        .patch(json!({"childCouponSetId": null}))
        .await
        .expect(200);
    sets[1].delete().await.expect(204);
    sets[2].delete().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_never_deleted_under_a_parent_that_takes_it_at_the_same_time() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for round in 0..20 {
        let parent = shop.multiple(&format!("parent {round}"), &[]).await;
        let child = shop.multiple(&format!("child {round}"), &[]).await;
        let (taken, deleted) = tokio::join!(falls_back(&parent, &child), child.delete());
        if taken.status == 200 {
            assert_eq!(deleted.refusal(), "409 coupon-set-referenced");
            assert_eq!(child_of(&parent).await, json!(child.id));
        } else {
            assert_eq!(taken.expect(422).faults(), ["/childCouponSetId"]);
            deleted.expect(204);
            assert_eq!(child_of(&parent).await, Value::Null);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sets_are_created_at_once_and_each_is_one_of_its_own() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let names: Vec<String> = (0..20).map(|n| format!("set {n}")).collect();
    let sets = join_all(names.iter().map(|name| shop.single(name, name, Some(1)))).await;
    for (name, set) in names.iter().zip(&sets) {
        let given = set.assign("ann").await.expect(201);
        assert_eq!(given.str("couponCode"), name);
        assert_eq!(set.counters().await, (json!(1), 1, json!(0)));
    }
}
