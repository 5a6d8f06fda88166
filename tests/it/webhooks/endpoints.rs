//! Webhooks: their endpoints and their signing secrets.

use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::database::TestDatabase;
use crate::support::hooks::{Endpoint, slow, status};

/// A service that may send to this machine too.
pub async fn start() -> TestApp {
    on(TestDatabase::create().await)
}

pub fn on(database: TestDatabase) -> TestApp {
    TestApp::with(database, &["--webhook-private"])
}

fn webhook(url: &str) -> Value {
    json!({"url": url, "eventTypes": ["coupon.assigned"]})
}

#[tokio::test]
async fn a_webhook_is_created_read_changed_and_deleted_and_shows_its_secret_once() {
    let app = TestApp::start().await;
    let client = app.shop().await.client;
    let body = json!({
        "url": "https://hooks.example.com/a?token=b",
        "eventTypes": ["import.finished", "coupon.assigned", "import.finished"],
        "description": " Our CRM ",
    });
    let made = client.post("/v1/webhooks", body).await.expect(201);
    assert_eq!(
        made.body["eventTypes"],
        json!(["coupon.assigned", "import.finished"])
    );
    assert_eq!(
        (made.str("state"), made.str("description")),
        ("enabled", "Our CRM")
    );
    let secret = made.str("secret").to_owned();
    let path = format!("/v1/webhooks/{}", made.str("id"));
    let change =
        json!({"url": "https://hooks.example.com/b", "description": null, "state": "disabled"});
    let changed = client.patch(&path, change).await.expect(200);
    assert_eq!(
        (changed.str("url"), changed.str("state")),
        ("https://hooks.example.com/b", "disabled")
    );
    assert_eq!(changed.body["description"], Value::Null);
    assert_eq!(changed.body["eventTypes"], made.body["eventTypes"]);
    let other = client
        .post("/v1/webhooks", webhook("https://example.com/"))
        .await
        .expect(201);
    assert_ne!(other.str("secret"), secret);
    let list = client.get("/v1/webhooks?limit=1").await.expect(200);
    assert_eq!(list.results()[0], changed.body);
    let next = list.body["links"]["next"].as_str().unwrap();
    let next = client.get(next).await.expect(200);
    assert_eq!(next.results()[0]["id"], other.body["id"]);
    let back = next.body["links"]["prev"].as_str().unwrap();
    assert_eq!(client.get(back).await.expect(200).results(), list.results());
    let read = client.get(&path).await.expect(200);
    for answer in [changed, list, read] {
        assert!(!answer.text.contains("whsec_"), "{}", answer.text);
        assert!(!answer.text.contains(&secret[6..]), "{}", answer.text);
    }
    client.delete(&path).await.expect(204);
    assert_eq!(client.get(&path).await.refusal(), "404 not-found");
    assert_eq!(client.delete(&path).await.refusal(), "404 not-found");
    let list = client.get("/v1/webhooks").await.expect(200);
    assert_eq!(list.results().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_a_webhook_is_refused_field_by_field() {
    let app = TestApp::start().await;
    let client = app.shop().await.client;
    for url in [
        json!("http://hooks.example.com/"),
        json!("ftp://hooks.example.com/"),
        json!("hooks.example.com"),
        json!("https://ann:pw@hooks.example.com/"),
        json!(" https://hooks.example.com/"),
        json!("https://hooks.example.com/a b"),
        json!("https://hooks.example.com/\n"),
        json!("https://b\u{fc}cher.example.com/"),
        json!("https://127.0.0.1/"),
        json!("https://[::1]/"),
        json!("https://169.254.169.254/latest"),
        json!(format!("https://hooks.example.com/{}", "a".repeat(2_000))),
        json!(""),
        json!(5),
    ] {
        let body = json!({"url": url, "eventTypes": ["coupon.assigned"]});
        let answer = client.post("/v1/webhooks", body).await;
        assert_eq!(answer.expect(422).faults(), ["/url"], "{url}");
    }
    for kinds in [
        json!([]),
        json!(["webhook.test"]),
        json!("coupon.assigned"),
        json!([5]),
    ] {
        let body = json!({"url": "https://example.com/", "eventTypes": kinds});
        let answer = client.post("/v1/webhooks", body).await;
        assert_eq!(answer.expect(422).faults(), ["/eventTypes"], "{kinds}");
    }
    let body = json!({"url": "https://example.com/", "secret": "mine", "description": ""});
    let answer = client.post("/v1/webhooks", body).await.expect(422);
    assert_eq!(answer.faults(), ["/eventTypes", "/description", "/secret"]);

    let made = client
        .post("/v1/webhooks", webhook("https://example.com/"))
        .await
        .expect(201);
    let path = format!("/v1/webhooks/{}", made.str("id"));
    let change = json!({"url": "https://10.0.0.1/", "eventTypes": null, "state": "failed"});
    let answer = client.patch(&path, change).await.expect(422);
    assert_eq!(answer.faults(), ["/eventTypes", "/state"]);
    let answer = client
        .patch(&path, json!({"url": "https://10.0.0.1/"}))
        .await;
    assert_eq!(answer.expect(422).faults(), ["/url"]);
}

#[tokio::test]
async fn a_tenant_has_at_most_20_webhooks_however_many_it_asks_for_at_once() {
    let app = TestApp::start().await;
    let client = app.shop().await.client;
    let other = app.shop().await.client;
    let asked = (0..25).map(|_| client.post("/v1/webhooks", webhook("https://example.com/")));
    let answers = join_all(asked).await;
    let (made, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((made.len(), refused.len()), (20, 5));
    for answer in refused {
        assert_eq!(answer.refusal(), "409 too-many-webhooks");
    }
    let again = || client.post("/v1/webhooks", webhook("https://example.com/"));
    let path = format!("/v1/webhooks/{}", made[7].str("id"));
    client.delete(&path).await.expect(204);
    again().await.expect(201);
    assert_eq!(again().await.refusal(), "409 too-many-webhooks");
    other
        .post("/v1/webhooks", webhook("https://example.com/"))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_test_call_is_signed_and_its_outcome_is_returned_in_any_state() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    for state in ["enabled", "disabled"] {
        webhook.patch(json!({"state": state})).await.expect(200);
        let outcome = webhook.call("test").await.expect(200);
        assert_eq!(
            (&outcome.body["delivered"], &outcome.body["status"]),
            (&json!(true), &json!(200))
        );
        let received = endpoint.received().pop().unwrap();
        assert_eq!(received.id, outcome.str("id"));
        assert_eq!(received.content_type, "application/json");
        assert_eq!(received.body["type"], "webhook.test");
        assert_eq!(received.body["data"], json!({"webhookId": webhook.id}));
        assert_eq!(received.signatures, [received.signature(&webhook.secret)]);
    }
    assert_eq!(endpoint.received().len(), 2);
    assert_eq!(webhook.deliveries("").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::answering(|_| status(307)).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let outcome = webhook.call("test").await.expect(200).body;
    assert_eq!(
        (&outcome["delivered"], &outcome["status"], &outcome["error"]),
        (&json!(false), &json!(307), &Value::Null)
    );
    assert_eq!(endpoint.received().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_given_up_after_15_seconds() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::answering(|_| slow(Duration::from_mins(1))).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let outcome = webhook.call("test").await.expect(200).body;
    assert_eq!(outcome["delivered"], false);
    assert_eq!(outcome["error"], "no response within 15 seconds");
    assert!(outcome["millis"].as_i64().unwrap() < 20_000, "{outcome}");
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_public_unless_the_operator_allows_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    // A name is resolved when a message is sent.
    let url = endpoint.url();
    let url = url.replace("http://127.0.0.1", "https://localhost");
    let webhook = shop.webhook(&url).await;
    let outcome = webhook.call("test").await.expect(200).body;
    assert_eq!(outcome["delivered"], false);
    let error = outcome["error"].as_str().unwrap();
    assert!(error.contains("not public"), "{error}");
    // A URL from a time when it was allowed.
    let url = format!("url = '{}'", endpoint.url());
    webhook.set(&app.database, &url).await;
    webhook.write(&app.database, 1, 1).await;
    let outcome = webhook.call("test").await.expect(200).body;
    assert_eq!(outcome["delivered"], false);
    let failed = crate::support::eventually("it is attempted", async || {
        let delivery = webhook.deliveries("").await.pop()?;
        (delivery["attemptCount"] == 1).then_some(delivery)
    })
    .await;
    assert_eq!(failed["attempts"][0]["status"], Value::Null);
    assert_eq!(endpoint.received().len(), 0);
}

#[tokio::test]
async fn a_secret_that_was_replaced_signs_too_for_a_day() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let mut secrets = vec![webhook.secret.clone()];
    for _ in 0..2 {
        let rotated = webhook.call("rotate-secret").await.expect(200);
        assert!(rotated.body["previousSecretUntil"].is_string());
        secrets.push(rotated.str("secret").to_owned());
        webhook.call("test").await.expect(200);
        let received = endpoint.received().pop().unwrap();
        // The secret before the previous one no longer signs.
        let latest = secrets.iter().rev().take(2);
        let expected: Vec<_> = latest.map(|secret| received.signature(secret)).collect();
        assert_eq!(received.signatures, expected);
    }
    let query = "select previous_secret_until between now() + interval '23 hours 59 minutes' and now() + interval '1 day'
                   from webhooks";
    assert_eq!(app.database.query_value(query).await, json!(true));
    let over = "previous_secret_until = now() - interval '1 second'";
    webhook.set(&app.database, over).await;
    webhook.call("test").await.expect(200);
    let received = endpoint.received().pop().unwrap();
    assert_eq!(received.signatures, [received.signature(&secrets[2])]);
    assert_eq!(webhook.read().await["previousSecretUntil"], Value::Null);
}

#[tokio::test]
async fn deliveries_are_listed_by_time_state_and_type() {
    let app = start().await;
    let shop = app.shop().await;
    let endpoint =
        Endpoint::answering(|message| status(if message.n() == 3 { 500 } else { 204 })).await;
    let webhook = shop.webhook(&endpoint.url()).await;
    webhook.write(&app.database, 1, 5).await;
    crate::support::eventually("they are attempted", async || {
        let waiting = webhook.deliveries("?state=waiting").await;
        (waiting.len() == 1 && waiting[0]["attemptCount"] == 1).then_some(())
    })
    .await;
    let all = webhook.deliveries("").await;
    assert_eq!(all.len(), 5);
    assert_eq!(webhook.deliveries("?state=delivered").await.len(), 4);
    assert_eq!(webhook.deliveries("?state=failed").await.len(), 0);
    assert_eq!(
        webhook.deliveries("?eventType=import.finished").await.len(),
        5
    );
    assert_eq!(
        webhook.deliveries("?eventType=coupon.assigned").await.len(),
        0
    );
    // All of the same time: the order is that of sending, newest first.
    let at = all[0]["occurredAt"].as_str().unwrap();
    assert_eq!(webhook.deliveries(&format!("?from={at}")).await.len(), 5);
    assert_eq!(webhook.deliveries(&format!("?to={at}")).await.len(), 0);
    let mut seen = Vec::new();
    let mut next = Some(format!("{}/deliveries?limit=2", webhook.path()));
    while let Some(uri) = next {
        let page = webhook.client.get(&uri).await.expect(200);
        seen.extend(page.results().clone());
        next = page.body["links"]["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, all);
    let ids: Vec<_> = endpoint
        .received()
        .iter()
        .map(|one| json!(one.id))
        .collect();
    let listed: Vec<_> = all.iter().rev().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, listed);
    for query in [
        "?state=gone",
        "?eventType=webhook.test",
        "?from=yesterday",
        "?cursor=x",
    ] {
        let uri = format!("{}/deliveries{query}", webhook.path());
        let answer = webhook.client.get(&uri).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
    let uri = format!("{}/deliveries/replay?from={at}", webhook.path());
    let answer = webhook.client.send(Method::POST, &uri, &[], "").await;
    assert_eq!(answer.refusal(), "400 malformed-request");
}
