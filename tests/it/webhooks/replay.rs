//! Webhooks: sending deliveries of a period again.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::hooks::{Endpoint, Webhook, status};
use crate::webhooks::endpoints::start;

async fn replay(webhook: &Webhook, query: &str) -> Answer {
    let uri = format!("{}/deliveries/replay?{query}", webhook.path());
    webhook.client.send(Method::POST, &uri, &[], "").await
}

#[tokio::test]
async fn the_deliveries_of_a_period_are_sent_again_as_far_as_the_filter_goes() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint =
        Endpoint::answering(|message| status(if message.n() == 5 { 500 } else { 200 })).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let other = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 6).await;
    endpoint.wait_for(6).await;
    other.write(&app.database, 11, 12).await;
    other.settled(2, "delivered").await;
    // A day for each, from 2026-01-01 on; the fifth has failed for good.
    for statement in [
        "update webhook_deliveries
            set occurred_at = timestamptz '2025-12-31 12:00:00Z' + (payload->>'n')::integer * interval '1 day'",
        "update webhook_deliveries
            set state = 'failed', next_attempt_at = null, ended_at = now()
          where payload->>'n' = '5'",
    ] {
        app.database.execute(statement).await;
    }
    let days =
        |from: &str, to: &str| format!("from=2026-01-{from}T00:00:00Z&to=2026-01-{to}T00:00:00Z");
    for (query, expected) in [
        (days("02", "04"), vec![2, 3]),
        (days("04", "08") + "&state=failed", vec![5]),
        (days("01", "05") + "&state=failed", vec![]),
        (days("01", "09") + "&eventType=coupon.assigned", vec![]),
        (
            days("04", "05") + "&state=delivered&eventType=import.finished",
            vec![4],
        ),
        (days("08", "01"), vec![]),
    ] {
        let before = endpoint.received();
        let replayed = replay(&webhook, &query).await.expect(200);
        assert_eq!(
            replayed.body,
            json!({"replayed": expected.len()}),
            "{query}"
        );
        let after = endpoint.wait_for(before.len() + expected.len()).await;
        let again = &after[before.len()..];
        let numbers: Vec<i64> = again.iter().map(|one| one.n()).collect();
        assert_eq!(numbers, expected, "{query}");
        for message in again {
            let first = before.iter().find(|one| one.n() == message.n()).unwrap();
            assert_eq!(first.id, message.id);
            assert_eq!(
                first
                    .text
                    .replace(first.body["timestamp"].as_str().unwrap(), ""),
                message
                    .text
                    .replace(message.body["timestamp"].as_str().unwrap(), "")
            );
        }
        crate::support::eventually("the results are recorded", async || {
            let waiting = webhook.deliveries("?state=waiting").await;
            waiting
                .iter()
                .all(|one| {
                    one["eventType"] == "import.finished"
                        && one["nextAttemptAt"].as_str().unwrap() > "2026"
                })
                .then_some(())
        })
        .await;
    }
    assert_eq!(other.deliveries("").await.len(), 2);
}

#[tokio::test]
async fn what_is_not_there_is_not_replayed() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let (one, two) = (
        shop.webhook(&endpoint.url()).await,
        shop.webhook(&endpoint.url()).await,
    );
    one.write(&app.database, 1, 1).await;
    let delivery = one.settled(1, "delivered").await.remove(0);
    let path = format!("deliveries/{}/replay", delivery["id"].as_str().unwrap());
    assert_eq!(two.call(&path).await.refusal(), "404 not-found");
    let nobody = "deliveries/01900000-0000-7000-8000-000000000000/replay";
    assert_eq!(one.call(nobody).await.refusal(), "404 not-found");
    for query in [
        "",
        "from=2026-01-01T00:00:00Z",
        "from=x&to=y",
        "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&state=gone",
    ] {
        let answer = replay(&one, query).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
    assert_eq!(endpoint.received().len(), 1);
}

#[tokio::test]
async fn a_period_with_more_than_100_000_deliveries_is_refused_and_one_with_as_many_is_replayed() {
    let app = start().await;
    let shop = app.shop().await;
    let webhook = shop.webhook("http://127.0.0.1:9/").await;
    webhook
        .patch(json!({"state": "disabled"}))
        .await
        .expect(200);
    webhook.write(&app.database, 1, 100_001).await;
    let ended = "update webhook_deliveries set state = 'failed', next_attempt_at = null, ended_at = now(), attempts = 12";
    app.database.execute(ended).await;
    let all = "from=2026-01-01T00:00:00Z&to=2999-01-01T00:00:00Z";
    let refused = replay(&webhook, all).await.expect(422);
    assert_eq!(refused.faults(), ["to"]);
    assert_eq!(
        webhook.deliveries("?state=waiting").await,
        Vec::<Value>::new()
    );
    let one = "update webhook_deliveries set occurred_at = '2025-01-01' where payload->>'n' = '1'";
    app.database.execute(one).await;
    let replayed = replay(&webhook, all).await.expect(200);
    assert_eq!(replayed.body, json!({"replayed": 100_000}));
}
