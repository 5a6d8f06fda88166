//! Webhooks: failing deliveries and endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::hooks::{Endpoint, Webhook, status};
use crate::support::{TestApp, eventually};
use crate::webhooks::endpoints::{on, start};

/// An endpoint that fails until the flag is set.
async fn broken() -> (Endpoint, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    let script = move |_: &_| {
        status(if works.load(Ordering::SeqCst) {
            200
        } else {
            500
        })
    };
    (Endpoint::answering(script).await, switch)
}

/// Waits until the newest delivery was attempted `times` times.
async fn attempted(webhook: &Webhook, times: i64) -> Value {
    eventually(&format!("{times} attempts are made"), async || {
        let delivery = webhook.deliveries("?limit=1").await.pop()?;
        (delivery["attemptCount"] == times).then_some(delivery)
    })
    .await
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_after_growing_gaps_with_the_same_id_until_it_is_taken() {
    let app = start().await;
    let shop = app.shop().await;
    let count = Arc::new(AtomicUsize::new(0));
    let script = move |_: &_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => status(503),
        1 => status(302),
        2 => status(404),
        _ => status(204),
    };
    let endpoint = Endpoint::answering(script).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 1).await;
    for (times, gap) in [(1, 5.0), (2, 30.0), (3, 120.0)] {
        let delivery = attempted(&webhook, times).await;
        assert_eq!(delivery["state"], "waiting");
        let last = &delivery["attempts"][usize::try_from(times).unwrap() - 1];
        let wait = time(&delivery["nextAttemptAt"]) - time(&last["startedAt"]);
        let wait = wait.as_seconds_f64();
        assert!((gap * 0.79..gap * 1.21 + 3.0).contains(&wait), "{wait}");
        assert!(time(&webhook.read().await["failingSince"]) <= Utc::now());
        webhook.hasten(&app.database).await;
    }
    let delivery = webhook.settled(1, "delivered").await.remove(0);
    let statuses: Vec<_> = delivery["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].clone())
        .collect();
    assert_eq!(statuses, [503, 302, 404, 204]);
    assert_eq!(
        (&delivery["nextAttemptAt"], delivery["endedAt"].is_string()),
        (&Value::Null, true)
    );
    let received = endpoint.received();
    assert_eq!(received.len(), 4);
    for message in &received {
        assert_eq!(json!(message.id), delivery["id"]);
        assert_eq!(message.text, received[0].text);
        assert_eq!(message.signatures, [message.signature(&webhook.secret)]);
    }
    assert_eq!(webhook.read().await["failingSince"], Value::Null);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_reported_as_such() {
    let app = start().await;
    let shop = app.shop().await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let webhook = shop
        .webhook(&format!("http://{closed}/token-of-the-url"))
        .await;
    webhook.write(&app.database, 1, 1).await;
    let delivery = attempted(&webhook, 1).await;
    let attempt = &delivery["attempts"][0];
    assert_eq!(attempt["status"], Value::Null);
    let error = attempt["error"].as_str().unwrap();
    assert!(error.contains("refused"), "{error}");
    assert!(!error.contains("token"), "{error}");
}

#[tokio::test]
async fn after_the_last_attempt_a_delivery_has_failed_and_can_be_replayed_from_the_first_gap_on() {
    let app = start().await;
    let shop = app.shop().await;
    let (endpoint, works) = broken().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 1).await;
    attempted(&webhook, 1).await;
    app.database
        .execute("update webhook_deliveries set attempts = 11")
        .await;
    webhook.hasten(&app.database).await;
    let failed = webhook.settled(1, "failed").await.remove(0);
    assert_eq!(failed["attemptCount"], 12);
    let replay = format!("deliveries/{}/replay", failed["id"].as_str().unwrap());
    let replayed = webhook.call(&replay).await.expect(200);
    assert_eq!(
        (replayed.str("state"), &replayed.body["endedAt"]),
        ("waiting", &Value::Null)
    );
    let again = attempted(&webhook, 13).await;
    assert_eq!(again["state"], "waiting");
    let wait = time(&again["nextAttemptAt"]) - time(&again["attempts"][2]["startedAt"]);
    assert!((3.9..9.0).contains(&wait.as_seconds_f64()), "{wait}");
    works.store(true, Ordering::SeqCst);
    webhook.call(&replay).await.expect(200);
    webhook.settled(1, "delivered").await;
    // A delivered message is sent once more on request.
    let before = endpoint.received().len();
    webhook.call(&replay).await.expect(200);
    let received = endpoint.wait_for(before + 1).await;
    assert!(received.iter().all(|one| json!(one.id) == failed["id"]));
    webhook.settled(1, "delivered").await;
}

#[tokio::test]
async fn an_endpoint_that_fails_for_five_days_is_disabled_until_it_is_enabled_again() {
    let app = start().await;
    let shop = app.shop().await;
    let (endpoint, works) = broken().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 1).await;
    attempted(&webhook, 1).await;
    // Slightly too short, and then long enough.
    let since = |hours: i32| format!("failing_since = now() - interval '{hours} hours'");
    webhook.set(&app.database, &since(119)).await;
    webhook.hasten(&app.database).await;
    attempted(&webhook, 2).await;
    assert_eq!(webhook.read().await["state"], "enabled");
    webhook.set(&app.database, &since(121)).await;
    webhook.write(&app.database, 2, 4).await;
    eventually("the webhook is disabled", async || {
        (webhook.read().await["state"] == "failed").then_some(())
    })
    .await;
    assert!(webhook.read().await["failingSince"].is_string());
    let sent = endpoint.received().len();
    works.store(true, Ordering::SeqCst);
    webhook.write(&app.database, 5, 5).await;
    webhook.hasten(&app.database).await;
    // Another webhook of the tenant that is due later is served, this one is not.
    let other = Endpoint::open().await;
    let others = shop.webhook(&other.url()).await;
    others.write(&app.database, 1, 1).await;
    other.wait_for(1).await;
    assert_eq!(endpoint.received().len(), sent);
    let enabled = webhook.patch(json!({"state": "enabled"})).await.expect(200);
    assert_eq!(
        (enabled.str("state"), &enabled.body["failingSince"]),
        ("enabled", &Value::Null)
    );
    webhook.settled(5, "delivered").await;
}

#[tokio::test]
async fn a_delivery_without_content_is_no_failure_of_the_endpoint() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    for (n, failing_since) in [(1, "null"), (2, "now() - interval '6 days'")] {
        let columns = format!("failing_since = {failing_since}");
        webhook.set(&app.database, &columns).await;
        // A delivery of a set that does not exist.
        let lost = format!(
            "{};
             update webhook_deliveries set payload = null, set_no = 9, ledger_number = 9",
            webhook.writing(n, n)
        );
        app.database.execute(&lost).await;
        let delivery = attempted(&webhook, 1).await;
        let error = delivery["attempts"][0]["error"].as_str().unwrap();
        assert!(error.contains("no longer exists"), "{error}");
        let read = webhook.read().await;
        assert_eq!(read["state"], "enabled");
        assert_eq!(read["failingSince"].is_null(), failing_since == "null");
    }
    assert_eq!(endpoint.received().len(), 0);
}

#[tokio::test]
async fn a_success_ends_the_time_of_failing() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint =
        Endpoint::answering(|message| status(if message.n() % 2 == 0 { 200 } else { 500 })).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook
        .set(&app.database, "failing_since = now() - interval '6 days'")
        .await;
    webhook.write(&app.database, 1, 2).await;
    eventually("both are attempted", async || {
        let deliveries = webhook.deliveries("").await;
        deliveries
            .iter()
            .all(|one| one["attemptCount"] == 1)
            .then_some(())
    })
    .await;
    let read = webhook.read().await;
    assert_eq!(
        (&read["state"], &read["failingSince"]),
        (&json!("enabled"), &Value::Null)
    );
}

#[tokio::test]
async fn what_waits_while_a_webhook_is_disabled_goes_on_when_it_is_enabled() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook
        .patch(json!({"state": "disabled"}))
        .await
        .expect(200);
    webhook.write(&app.database, 1, 3).await;
    let other = Endpoint::open().await;
    let others = shop.webhook(&other.url()).await;
    others.write(&app.database, 1, 1).await;
    other.wait_for(1).await;
    assert_eq!(endpoint.received().len(), 0);
    webhook.patch(json!({"state": "enabled"})).await.expect(200);
    endpoint.wait_for(3).await;
    assert_eq!(endpoint.numbers(), [1, 2, 3]);
}

#[tokio::test]
async fn a_deleted_webhook_gets_nothing_and_leaves_nothing() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook
        .patch(json!({"state": "disabled"}))
        .await
        .expect(200);
    webhook.write(&app.database, 1, 1_500).await;
    webhook.client.delete(&webhook.path()).await.expect(204);
    webhook
        .set(
            &app.database,
            "updated_at = now() - interval '2 hours', next_due_at = now()",
        )
        .await;
    // The cleaner starts with the service.
    let replica = on(app.database.shared());
    eventually("nothing is left", async || {
        let left =
            "select (select count(*) from webhooks) + (select count(*) from webhook_deliveries)";
        (app.database.query_value(left).await == json!(0)).then_some(())
    })
    .await;
    assert_eq!(endpoint.received().len(), 0);
    drop(replica);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_cleaned_keeps_none_after_it_waiting() {
    let app = start().await;
    let (broken, other) = (app.shop().await, app.shop().await);
    for shop in [broken, other] {
        let webhook = shop.webhook("https://example.com/").await;
        webhook.write(&app.database, 1, 1).await;
        webhook.client.delete(&webhook.path()).await.expect(204);
    }
    app.database
        .execute(
            "create function refuse() returns trigger language plpgsql as 'begin raise exception ''refused''; end';
             create trigger refuse before delete on webhook_deliveries
               for each row when (old.tenant_id = 1) execute function refuse()",
        )
        .await;
    // The cleaner starts with the service.
    let replica = on(app.database.shared());
    eventually("the other one is clean", async || {
        let left = "select string_agg(tenant_id::text, ' ') from webhook_deliveries";
        (app.database.query_value(left).await == json!("1")).then_some(())
    })
    .await;
    drop(replica);
}

#[tokio::test]
async fn deliveries_are_kept_for_30_days_after_they_ended() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 5).await;
    webhook.settled(5, "delivered").await;
    webhook
        .patch(json!({"state": "disabled"}))
        .await
        .expect(200);
    webhook.write(&app.database, 6, 6).await;
    // 1 and 2 ended long ago, 3 happened long ago and ended recently, and 6 has been waiting equally long.
    let age = |happened: i32, ended: &str, which: &str| {
        format!(
            "update webhook_deliveries
                set occurred_at = now() - interval '{happened} days', ended_at = {ended}
              where (payload->>'n')::integer in ({which})"
        )
    };
    for statement in [
        age(33, "now() - interval '31 days'", "1, 2"),
        age(33, "now() - interval '29 days'", "3"),
        age(60, "null", "6"),
    ] {
        app.database.execute(&statement).await;
    }
    let replica = on(app.database.shared());
    eventually("the old ones are gone", async || {
        let left =
            "select string_agg(payload->>'n', ' ' order by delivery_no) from webhook_deliveries";
        (app.database.query_value(left).await == json!("3 4 5 6")).then_some(())
    })
    .await;
    drop(replica);
    stays(&app, "3 4 5 6").await;
}

#[tokio::test]
async fn deliveries_are_kept_for_as_long_as_the_setting_says() {
    let app = start().await;
    let shop = app.shop().await;
    let webhook = shop.webhook("https://example.com/").await;
    webhook
        .patch(json!({"state": "disabled"}))
        .await
        .expect(200);
    webhook.write(&app.database, 1, 2).await;
    for (days, which) in [(4, 1), (2, 2)] {
        let age = format!(
            "update webhook_deliveries
                set occurred_at = now() - interval '{days} days', ended_at = now() - interval '{days} days',
                    state = 'failed', next_attempt_at = null
              where payload->>'n' = '{which}'"
        );
        app.database.execute(&age).await;
    }
    let settings = ["--webhook-private", "--retention-deliveries-days", "3"];
    let replica = TestApp::with(app.database.shared(), &settings);
    eventually("the old one is gone", async || {
        let left = "select string_agg(payload->>'n', ' ') from webhook_deliveries";
        (app.database.query_value(left).await == json!("2")).then_some(())
    })
    .await;
    drop(replica);
}

/// Cleaning again deletes nothing more.
async fn stays(app: &TestApp, numbers: &str) {
    let marker = app.shop().await.webhook("https://example.com/").await;
    marker.write(&app.database, 9, 9).await;
    let old = "update webhook_deliveries
                  set occurred_at = now() - interval '40 days', ended_at = now() - interval '40 days',
                      state = 'failed', next_attempt_at = null
                where payload->>'n' = '9'";
    app.database.execute(old).await;
    let replica = on(app.database.shared());
    let left = "select string_agg(payload->>'n', ' ' order by delivery_no) from webhook_deliveries";
    eventually("the marker is gone", async || {
        (app.database.query_value(left).await == json!(numbers)).then_some(())
    })
    .await;
    drop(replica);
}
