//! From events in the ledger to messages at an endpoint.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::contract::check_message;
use crate::support::database::TestDatabase;
use crate::support::hooks::Endpoint;

#[tokio::test]
async fn an_endpoint_gets_what_happened_at_two_replicas_once() {
    let settings = ["--webhook-private"];
    let app = TestApp::with(TestDatabase::create().await, &settings);
    let replica = TestApp::with(app.database.shared(), &settings);
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    shop.webhook(&endpoint.url()).await;
    let mut sets = Vec::new();
    for name in ["one", "two"] {
        let codes: Vec<String> = (0..60).map(|n| format!("{name}{n}")).collect();
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        sets.push(shop.multiple(name, &codes).await);
    }
    let shops = [shop.clone(), shop.at(&replica)];
    let assigning = (0..60).map(|n| {
        let set = sets[n % 2].at(&shops[n / 2 % 2]);
        async move {
            let contact = format!("contact {n}");
            if n % 5 > 0 {
                return set.assign(&contact).await.expect(201).str("id").to_owned();
            }
            let reserved = set.reserve(&contact, 600).await.expect(201);
            let id = reserved.str("id").to_owned();
            set.confirm(&id).await.expect(200);
            id
        }
    });
    let assigned: BTreeSet<String> = join_all(assigning).await.into_iter().collect();
    // One more of each set, and then nothing is left.
    for set in &sets {
        let items = (0..31).map(|_| json!({"contactId": "the rest"})).collect();
        set.assign_batch(items, None).await;
    }

    let received = endpoint.wait_for(126).await;
    let messages: Vec<Value> = received.into_iter().map(|received| received.body).collect();
    // Those of a set other than its assignments are in the order of its ledger.
    let mut numbers: HashMap<String, Vec<i64>> = HashMap::new();
    let mut delivered = BTreeSet::new();
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    for message in &messages {
        check_message(message);
        let data = &message["data"];
        let set = data["couponSetId"].as_str().unwrap();
        if message["type"] != "coupon.assigned" {
            let numbers = numbers.entry(set.to_owned()).or_default();
            numbers.push(data["ledgerNumber"].as_i64().unwrap());
        }
        *kinds.entry(message["type"].as_str().unwrap()).or_default() += 1;
        if let Some(id) = data["assignmentId"].as_str() {
            assert!(
                delivered.insert(id.to_owned()),
                "delivered twice: {message}"
            );
        }
    }
    for (set, numbers) in &numbers {
        assert!(numbers.is_sorted(), "{set}: {numbers:?}");
    }
    assert!(assigned.is_subset(&delivered));
    let expected = [
        ("coupon.assigned", 120),
        ("import.finished", 2),
        ("coupon-set.refilled", 2),
        ("coupon-set.exhausted", 2),
    ];
    assert_eq!(kinds, HashMap::from(expected));
}
