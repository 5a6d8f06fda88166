//! Access log and traces.

use serde_json::{Value, json};

use super::Monitored;
use crate::support::TestApp;
use crate::support::database::TestDatabase;
use crate::support::hooks::Endpoint;
use crate::support::program::until;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The lines of the log.
fn lines(monitored: &Monitored) -> Vec<Value> {
    let log = monitored.service.log();
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The lines of the access log, as method, route and status.
fn requests(monitored: &Monitored) -> Vec<String> {
    let lines = lines(monitored);
    let requests = lines
        .iter()
        .filter(|line| line["target"] == "couponry::access");
    requests
        .map(|line| {
            assert!(
                line["micros"].is_number() && line["span"]["request_id"].is_string(),
                "{line}"
            );
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {}",
                text("level"),
                text("method"),
                text("route"),
                line["status"]
            )
        })
        .collect()
}

/// Sends requests that succeed, are refused, exceed the limit, and fail.
async fn send(monitored: &Monitored, database: &TestDatabase) {
    let operator = monitored.operator();
    operator.get("/private-path?private-query").expect(404);
    let shop = operator.new_shop();
    database
        .execute("alter table workflows rename to gone")
        .await;
    shop.get("/v1/workflows").expect(500);
    until("the limit is exceeded", || {
        (shop.get("/v1/webhooks").status == 429).then_some(())
    });
}

const LIMIT: [(&str, &str); 2] = [("COUPONRY_RATE_LIMIT", "1"), ("COUPONRY_RATE_BURST", "2")];
const FAILED: &str = "WARN GET /v1/workflows 500";
const LIMITED: &str = "INFO GET /v1/webhooks 429";

#[tokio::test]
async fn by_default_failures_and_requests_beyond_a_limit_are_logged() {
    let database = TestDatabase::create().await;
    let monitored = Monitored::on(&database.url(), &LIMIT);
    send(&monitored, &database).await;
    assert_eq!(requests(&monitored), [FAILED, LIMITED]);
}

#[tokio::test]
async fn all_requests_are_logged_by_their_routes_if_the_setting_says_so() {
    let database = TestDatabase::create().await;
    let settings = [LIMIT[0], LIMIT[1], ("COUPONRY_ACCESS_LOG", "all")];
    let monitored = Monitored::on(&database.url(), &settings);
    send(&monitored, &database).await;
    let requests = requests(&monitored);
    for line in [
        "INFO GET none 404",
        "INFO POST /admin/v1/tenants 201",
        FAILED,
        LIMITED,
    ] {
        assert!(
            requests.iter().any(|request| request == line),
            "{line} in {requests:?}"
        );
    }
    assert!(!monitored.service.log().contains("private"));
}

#[tokio::test]
async fn no_request_is_logged_if_the_setting_says_so() {
    let database = TestDatabase::create().await;
    let settings = [LIMIT[0], LIMIT[1], ("COUPONRY_ACCESS_LOG", "off")];
    let monitored = Monitored::on(&database.url(), &settings);
    send(&monitored, &database).await;
    assert_eq!(requests(&monitored), [""; 0]);
    let lines = lines(&monitored);
    assert!(
        lines
            .iter()
            .any(|line| line["message"] == "a request failed")
    );
}

#[tokio::test]
async fn every_line_of_a_request_bears_its_id_and_its_trace_at_any_level_of_the_log() {
    let database = TestDatabase::create().await;
    // The tests find the port by a line of this module.
    let settings = [("COUPONRY_LOG", "warn,couponry::start=info")];
    let monitored = Monitored::on(&database.url(), &settings);
    let shop = monitored.operator().new_shop();
    database
        .execute("alter table workflows rename to gone")
        .await;
    for (id, trace) in [("traced", TRACE_PARENT), ("untraced", "00-not-a-trace-01")] {
        let headers = [("X-Request-Id", id), ("traceparent", trace)];
        let reply = shop.send("GET", "/v1/workflows", &headers, "");
        reply.expect("an answer").expect(500);
    }
    let lines = lines(&monitored);
    for (id, trace) in [("traced", json!(TRACE)), ("untraced", Value::Null)] {
        let of_request: Vec<&Value> = lines
            .iter()
            .filter(|line| line["span"]["request_id"] == id)
            .collect();
        let messages: Vec<&Value> = of_request.iter().map(|line| &line["message"]).collect();
        assert_eq!(messages, ["a request failed", "request"], "{lines:#?}");
        assert!(
            of_request
                .iter()
                .all(|line| line["span"]["trace_id"] == trace)
        );
    }
}

#[tokio::test]
async fn a_test_message_belongs_to_the_trace_of_its_request_and_a_delivery_to_none() {
    let app = TestApp::with(TestDatabase::create().await, &["--webhook-private"]);
    let shop = app.shop().await;
    let endpoint = Endpoint::open().await;
    let webhook = shop.webhook(&endpoint.url()).await;
    let set = shop.multiple("set", &["A"]).await;
    set.assign("ann").await.expect(201);
    assert_eq!(endpoint.wait_for(1).await[0].trace_parent, None);
    let before = endpoint.received().len();
    let uri = format!("{}/test", webhook.path());
    let headers = [("traceparent", TRACE_PARENT)];
    let method = axum::http::Method::POST;
    webhook
        .client
        .send(method, &uri, &headers, "")
        .await
        .expect(200);
    let received = endpoint.wait_for(before + 1).await;
    let test = received
        .iter()
        .find(|message| message.body["type"] == "webhook.test");
    assert_eq!(test.unwrap().trace_parent.as_deref(), Some(TRACE_PARENT));
}
