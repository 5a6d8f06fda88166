//! Webhooks: messages, their order, and concurrent senders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::database::TestDatabase;
use crate::support::hooks::{Endpoint, slow, status};
use crate::support::process::Process;
use crate::support::{TestApp, eventually};
use crate::webhooks::endpoints::{on, start};

#[tokio::test]
async fn an_assignment_is_sent_with_all_its_constant_fields() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let set = shop.multiple("Spring", &[]).await;
    let file = "code,campaign\nA,spring\nB,\nC,\n";
    let import = set
        .upload("text/csv", "?attributeColumns=campaign", file)
        .await
        .expect(201);
    set.ended(import.str("id")).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let asked = json!({"contactId": "ann", "workflowId": "w", "nodeId": "n", "executionId": "e"});
    let ann = set.assign_with(asked, None).await.expect(201);
    let bob = set.reserve("bob", 600).await.expect(201);
    set.confirm(bob.str("id")).await.expect(200);
    // Ann's assignment is 1, Bob's is 2, the reservation is 3, and the confirmation 4.
    let received = endpoint.wait_for(2).await;
    for (message, (given, number)) in received.iter().zip([(&ann, 1), (&bob, 4)]) {
        assert_eq!(message.body["type"], "coupon.assigned");
        let mut data = message.body["data"].clone();
        let data = data.as_object_mut().unwrap();
        assert_eq!(data.remove("ledgerNumber"), Some(json!(number)));
        assert_eq!(data.remove("assignmentId"), Some(given.body["id"].clone()));
        let assignment = set.assignment(given.str("id")).await;
        for (name, value) in data.iter() {
            assert_eq!(value, &assignment[name], "{name}");
        }
        assert_eq!(data.len(), 9, "{data:?}");
        assert_eq!(message.signatures, [message.signature(&webhook.secret)]);
    }
    assert_eq!(
        received[0].body["data"]["attributes"],
        json!({"campaign": "spring"})
    );
    let deliveries = webhook.settled(2, "delivered").await;
    assert_eq!(deliveries[0]["couponSetId"], json!(set.id));
    assert_eq!(deliveries[0]["ledgerNumber"], 4);
    assert_eq!(received[1].body["timestamp"], deliveries[0]["occurredAt"]);
}

#[tokio::test]
async fn messages_go_by_https_to_an_endpoint_whose_authority_is_trusted_and_to_no_other() {
    let (endpoint, server) = Endpoint::secure().await;
    let settings = ["--webhook-private", "--ca-file", server.authority()];
    let app = TestApp::with(TestDatabase::create().await, &settings);
    let shop = app.shop().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    assert!(
        webhook.read().await["url"]
            .as_str()
            .unwrap()
            .starts_with("https://")
    );
    let set = shop.single("welcome", "W", None).await;
    let given = set.assign("ann").await.expect(201);
    let received = endpoint.wait_for(1).await.remove(0);
    assert_eq!(received.body["data"]["assignmentId"], given.body["id"]);
    assert_eq!(received.signatures, [received.signature(&webhook.secret)]);
    webhook.settled(1, "delivered").await;

    let wary = start().await;
    let webhook = wary.shop().await.webhook(&endpoint.url()).await;
    let outcome = webhook.call("test").await.expect(200).body;
    assert_eq!(outcome["delivered"], false);
    let error = outcome["error"].as_str().unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(endpoint.received().len(), 1);
}

#[tokio::test]
async fn first_attempts_are_made_one_by_one_in_order_and_a_failed_one_holds_up_none() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint =
        Endpoint::answering(|message| status(if message.n() % 50 == 7 { 503 } else { 200 })).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 150).await;
    webhook.write(&app.database, 151, 350).await;
    // A retry of a failed one may come between the first attempts of others.
    let first_attempts = eventually("each message was attempted", async || {
        let mut numbers = Vec::new();
        for message in endpoint.received() {
            if !numbers.contains(&message.n()) {
                numbers.push(message.n());
            }
        }
        (numbers.len() == 350).then_some(numbers)
    })
    .await;
    assert_eq!(first_attempts, (1..=350).collect::<Vec<_>>());
    assert_eq!(endpoint.most_at_once(), 1);
}

#[tokio::test]
async fn first_attempts_of_different_sets_go_beside_each_other_and_those_of_one_in_its_order() {
    let app = start().await;
    let shop = app.shop().await;
    let pause = Duration::from_millis(100);
    let endpoint = Endpoint::answering(move |_| slow(pause)).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook
        .patch(json!({"state": "disabled"}))
        .await
        .expect(200);
    // Five of each of six sets.
    webhook.write(&app.database, 0, 29).await;
    app.database
        .execute("update webhook_deliveries set set_no = (payload->>'n')::integer / 5")
        .await;
    webhook.patch(json!({"state": "enabled"})).await.expect(200);
    let received = endpoint.wait_for(30).await;
    for set in 0..6 {
        let of_set: Vec<_> = received.iter().filter(|one| one.n() / 5 == set).collect();
        assert_eq!(of_set.len(), 5);
        for pair in of_set.windows(2) {
            assert!(pair[0].n() < pair[1].n());
            // Each is sent after the response to the one before.
            assert!(pair[1].at - pair[0].at >= pause);
        }
    }
    assert_eq!(endpoint.most_at_once(), 6);
}

#[tokio::test]
async fn sixteen_assignments_of_a_set_are_announced_at_a_time() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::answering(|_| slow(Duration::from_millis(100))).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let set = shop.single("welcome", "W", None).await;
    let items: Vec<_> = (0..100)
        .map(|n| json!({"contactId": format!("contact-{n}")}))
        .collect();
    set.assign_batch(json!(items), None).await;
    webhook.settled(100, "delivered").await;
    assert_eq!(endpoint.most_at_once(), 16);
    let ids: BTreeSet<_> = endpoint.received().into_iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn events_share_messages_at_an_endpoint_that_asks_for_it() {
    let app = start().await;
    let shop = app.shop().await;
    // The first message fails, with all of its events.
    let failed = std::sync::atomic::AtomicBool::new(false);
    let endpoint = Endpoint::answering(move |_| {
        let is_first = !failed.swap(true, std::sync::atomic::Ordering::SeqCst);
        status(if is_first { 503 } else { 200 })
    })
    .await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let patched = webhook.patch(json!({"maxBatch": 100})).await.expect(200);
    assert_eq!(patched.body["maxBatch"], 100);
    let set = shop.single("welcome", "W", None).await;
    let items: Vec<_> = (0..250)
        .map(|n| json!({"contactId": format!("contact-{n}")}))
        .collect();
    set.assign_batch(json!(items), None).await;
    let deliveries = webhook.settled(250, "delivered").await;

    let received = endpoint.received();
    let mut attempts: BTreeMap<String, usize> = BTreeMap::new();
    let mut message_ids = BTreeSet::new();
    for message in &received {
        assert_eq!(message.signatures, [message.signature(&webhook.secret)]);
        message_ids.insert(message.id.clone());
        let events = message.body["events"].as_array().unwrap();
        assert!((1..=100).contains(&events.len()));
        for event in events {
            assert_eq!(event["type"], "coupon.assigned");
            let id = event["id"].as_str().unwrap();
            *attempts.entry(id.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(attempts.len(), 250);
    let expected: BTreeSet<&str> = deliveries
        .iter()
        .map(|delivery| delivery["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        attempts.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        expected
    );
    let failed = received[0].body["events"].as_array().unwrap().len();
    let twice = attempts.values().filter(|count| **count == 2).count();
    assert_eq!(
        (twice, attempts.values().sum::<usize>()),
        (failed, 250 + failed)
    );
    let test = webhook.call("test").await.expect(200);
    assert_eq!(test.body["delivered"], true);
    assert!(received.len() < 10, "{} messages", received.len());
}

#[tokio::test]
async fn two_replicas_send_each_message_once_and_in_order() {
    let app = start().await;
    let replica = on(app.database.shared());
    let mut endpoints = Vec::new();
    for _ in 0..3 {
        let shop = app.shop().await;
        for _ in 0..2 {
            let endpoint = Endpoint::open().await;
            let webhook = shop.webhook(&endpoint.url()).await;
            endpoints.push((endpoint, webhook));
        }
    }
    for portion in 0..10 {
        for (_, webhook) in &endpoints {
            let from = portion * 20 + 1;
            webhook.write(&app.database, from, from + 19).await;
        }
    }
    for (endpoint, webhook) in &endpoints {
        webhook.settled(200, "delivered").await;
        assert_eq!(endpoint.numbers(), (1..=200).collect::<Vec<_>>());
        let ids: BTreeSet<_> = endpoint.received().into_iter().map(|one| one.id).collect();
        assert_eq!(ids.len(), 200);
    }
    drop(replica);
}

#[tokio::test]
async fn slow_endpoints_of_one_tenant_delay_no_other_tenant() {
    let app = start().await;
    let stuck = Endpoint::answering(|_| slow(Duration::from_mins(1))).await;
    let slow_shop = app.shop().await;
    // As many as a tenant can have.
    for _ in 0..20 {
        let webhook = slow_shop.webhook(&stuck.url()).await;
        webhook.write(&app.database, 1, 200).await;
    }
    stuck.wait_for(20).await;
    let endpoint = Endpoint::open().await;
    let webhook = app.shop().await.webhook(&endpoint.url()).await;
    for n in 1..=20 {
        webhook.write(&app.database, n, n).await;
        endpoint.wait_for(usize::try_from(n).unwrap()).await;
    }
    // All of it during the first attempts: the end of one starts the next.
    assert_eq!(stuck.received().len(), 20);
}

#[tokio::test]
async fn failing_endpoints_of_many_tenants_leave_half_of_the_places_to_others() {
    let app = start().await;
    let stuck = Endpoint::answering(|_| slow(Duration::from_mins(1))).await;
    let mut writing = "update webhooks set failing_since = now();".to_owned();
    for _ in 0..20 {
        let shop = app.shop().await;
        for _ in 0..4 {
            let webhook = shop.webhook(&stuck.url()).await;
            writing += &webhook.writing(1, 1);
            writing += ";";
        }
    }
    // All of them are due at once.
    app.database.execute(&writing).await;
    stuck.wait_for(64).await;
    let endpoint = Endpoint::open().await;
    let webhook = app.shop().await.webhook(&endpoint.url()).await;
    for n in 1..=20 {
        webhook.write(&app.database, n, n).await;
        endpoint.wait_for(usize::try_from(n).unwrap()).await;
    }
    // All of it during the first attempts: the end of one starts the next.
    assert_eq!(stuck.received().len(), 64);
}

#[tokio::test]
async fn deliveries_that_a_killed_process_did_not_record_are_sent_again_with_the_same_ids() {
    let database = TestDatabase::create().await;
    let app = on(database.shared());
    let endpoint = Endpoint::answering(|_| slow(Duration::from_millis(2))).await;
    let webhook = app.shop().await.webhook(&endpoint.url()).await;
    app.app.stop().await;
    let process = Process::start_with(&database, &[("COUPONRY_WEBHOOK_PRIVATE", "true")]);
    webhook.write(&database, 1, 1_000).await;
    endpoint.wait_for(600).await;
    process.kill();
    let before = endpoint.received().len();
    let delivered = "select count(*) from webhook_deliveries where state = 'delivered'";
    assert_eq!(database.query_value(delivered).await, json!(500));
    // The dead process keeps the endpoint until its lease has run out.
    let successor = on(database.shared());
    webhook.set(&database, "lease_until = now()").await;
    eventually("all are delivered", async || {
        (database.query_value(delivered).await == json!(1_000)).then_some(())
    })
    .await;
    drop(successor);
    let mut ids: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for message in endpoint.received() {
        ids.entry(message.n()).or_default().push(message.id);
    }
    let numbers: Vec<i64> = ids.keys().copied().collect();
    assert_eq!(numbers, (1..=1_000).collect::<Vec<_>>());
    for (n, ids) in ids {
        assert!(ids.iter().all(|id| *id == ids[0]), "an id for each event");
        let n = usize::try_from(n).unwrap();
        // One more may have been in progress when the process died.
        match ids.len() {
            1 => assert!(n <= 500 || n >= before, "{n} came once"),
            times => assert!(
                times == 2 && n > 500 && n <= before + 1,
                "{n} came {times} times"
            ),
        }
    }
}

#[tokio::test]
async fn deliveries_committed_while_a_lease_ends_are_not_forgotten() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::answering(|_| slow(Duration::from_millis(500))).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    for n in [1, 3, 5] {
        webhook.write(&app.database, n, n).await;
        endpoint.wait_for(usize::try_from(n).unwrap()).await;
        // Written during the lease, and committed when its end waits for the row.
        let mut writer = app.database.owner.begin().await.unwrap();
        writer
            .execute(AssertSqlSafe(webhook.writing(n + 1, n + 1)))
            .await
            .unwrap();
        app.database.wait_for_lock_waiters(1).await;
        writer.commit().await.unwrap();
        webhook
            .settled(usize::try_from(n + 1).unwrap(), "delivered")
            .await;
    }
    assert_eq!(endpoint.numbers(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_connection_that_breaks_while_a_lease_is_recorded_lets_nothing_be_sent_twice() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::answering(|_| slow(Duration::from_millis(50))).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 10).await;
    endpoint.wait_for(2).await;
    let mut holder = app.database.owner.begin().await.unwrap();
    holder
        .execute("select from webhooks for no key update")
        .await
        .unwrap();
    app.database.wait_for_lock_waiters(1).await;
    let cut = "select count(pg_terminate_backend(pid))
                 from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock'";
    assert_eq!(app.database.query_value(cut).await, json!(1));
    holder.rollback().await.unwrap();
    webhook.settled(10, "delivered").await;
    assert_eq!(endpoint.numbers(), (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn while_a_tenant_is_suspended_it_gets_nothing_and_after_it_everything() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let order = async |order: &str| {
        let uri = format!("/admin/v1/tenants/{}/{order}", shop.tenant_id);
        let post = axum::http::Method::POST;
        app.operator().send(post, &uri, &[], "").await.expect(200);
    };
    order("suspend").await;
    webhook.write(&app.database, 1, 3).await;
    // A webhook of another tenant that is due later is served.
    let other = Endpoint::open().await;
    let others = app.shop().await.webhook(&other.url()).await;
    others.write(&app.database, 1, 1).await;
    other.wait_for(1).await;
    assert_eq!(endpoint.received().len(), 0);
    order("resume").await;
    endpoint.wait_for(3).await;
}

#[tokio::test]
async fn a_service_that_stops_records_what_it_has_sent() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::answering(|_| slow(Duration::from_millis(50))).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 60).await;
    endpoint.wait_for(10).await;
    app.app.stop().await;
    // It ends after the attempt in progress, not after the last one.
    assert!(endpoint.received().len() < 60);
    let successor = on(app.database.shared());
    let webhook = crate::support::hooks::Webhook {
        client: shop.at(&successor).client,
        ..webhook
    };
    webhook.settled(60, "delivered").await;
    assert_eq!(endpoint.numbers(), (1..=60).collect::<Vec<_>>());
}
