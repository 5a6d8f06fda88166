//! The metrics themselves.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;

use super::{Monitored, Series, names, nowhere, promtool, read};
use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::program::{Client, complaint, couponry, folder, until};

/// A tenant that uses all that is counted, with this many sets and contacts.
fn traffic(shop: &Client, name: &str, sets: usize, contacts: usize) {
    let hook = json!({"url": nowhere(), "eventTypes": ["coupon.assigned"]});
    shop.post("/v1/webhooks", &hook).expect(201);
    for number in 0..sets {
        let set = json!({"name": format!("Private {name} {number}"), "type": "multiple"});
        let set = shop.new_set(&set);
        let code = |n: usize| format!("PRIVATE-CODE-{name}-{number}-{n}");
        let mut codes: Vec<String> = (0..=contacts).map(code).collect();
        codes.push(code(0));
        shop.fill(&set, &codes);
        for contact in 0..contacts {
            let contact = format!("private-contact-{name}-{contact}");
            let assigned = shop.assign(&set, &contact, Some(&format!("private-key-{contact}")));
            let assigned = assigned.expect("an answer").expect(201);
            let sent = format!("/v1/assignments/{}/sent", assigned.str("id"));
            shop.post(&sent, &json!({})).expect(200);
        }
        let reserve = json!({"contactId": format!("private-{name}"), "reserveForSeconds": 600});
        shop.post(&format!("{set}/assignments"), &reserve)
            .expect(201);
        let refused = shop.assign(&set, "private-late", None);
        refused.expect("an answer").expect(409);
    }
    let made_up = "PRIVATE-METHOD-".to_owned() + name;
    let path = format!("/private-path-{name}");
    shop.send(&made_up, &path, &[], "")
        .expect("an answer")
        .expect(404);
}

/// Waits for the series that come from background work.
fn settle(monitored: &Monitored) -> Series {
    for name in [
        "couponry_outbox_lag_entries",
        "couponry_statistics_lag_entries",
    ] {
        monitored.wait_for(name, |lag| lag == 0.0);
    }
    monitored.wait_for(
        r#"couponry_webhook_attempts_total{result="failure"}"#,
        |count| count > 0.0,
    )
}

#[tokio::test]
async fn every_metric_of_the_book_is_there_after_some_traffic_and_no_other() {
    let (monitored, database) = Monitored::start().await;
    let shop = monitored.operator().new_shop();
    traffic(&shop, "ann", 1, 2);
    database
        .execute("alter table workflows rename to gone")
        .await;
    shop.get("/v1/workflows").expect(500);
    settle(&monitored);
    let text = monitored.scrape();
    let page = read("docs/operate/monitoring.md");
    let (_, table) = page.split_once("\n## Metrics\n").expect("the section");
    let table = table.split("\n## ").next().expect("a text has a beginning");
    let rows: String = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let served: BTreeSet<String> = types.flat_map(names).collect();
    assert_eq!(served, names(&rows));
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");

    let series = monitored.series();
    for (name, value) in [
        (r#"couponry_assignments_total{outcome="assigned"}"#, 3.0),
        (
            r#"couponry_assignments_total{outcome="coupon-set-exhausted"}"#,
            1.0,
        ),
        (r#"couponry_events_total{event="sent"}"#, 2.0),
        (r#"couponry_import_rows_total{result="stored"}"#, 3.0),
        (r#"couponry_import_rows_total{result="rejected"}"#, 1.0),
        (r#"couponry_imports{status="queued"}"#, 0.0),
        (r#"couponry_db_errors_total{sqlstate_class="42"}"#, 1.0),
        ("couponry_database_up", 1.0),
        (r#"couponry_db_pool_max_connections{pool="requests"}"#, 12.0),
        (
            r#"http_server_request_duration_seconds_count{method="POST",route="/v1/coupon-sets/{couponSetId}/assignments",status="201"}"#,
            3.0,
        ),
        (
            r#"http_server_request_duration_seconds_count{method="_OTHER",route="none",status="404"}"#,
            1.0,
        ),
    ] {
        assert_eq!(series.get(name), Some(&value), "{name} in {text}");
    }
}

#[tokio::test]
async fn promtool_finds_no_fault_in_the_metrics() {
    let Some(mut promtool) = promtool(&["check", "metrics"]) else {
        return;
    };
    let (monitored, _database) = Monitored::start().await;
    traffic(&monitored.operator().new_shop(), "ann", 1, 1);
    settle(&monitored);
    promtool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("it was there a moment ago");
    let mut input = child.stdin.take().expect("it is piped");
    input
        .write_all(monitored.scrape().as_bytes())
        .expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && faults.is_empty(), "{faults}");
}

#[tokio::test]
async fn more_tenants_sets_and_contacts_make_no_more_series_and_none_is_named() {
    let (monitored, _database) = Monitored::start().await;
    let operator = monitored.operator();
    let first = operator.new_shop();
    traffic(&first, "ann", 1, 1);
    let of_one: BTreeSet<String> = settle(&monitored).into_keys().collect();
    let mut keys = vec![first.bearer().to_owned()];
    for name in ["bob", "cat", "dan", "eve"] {
        let shop = operator.new_shop();
        traffic(&shop, name, 3, 4);
        keys.push(shop.bearer().to_owned());
    }
    let of_five: BTreeSet<String> = settle(&monitored).into_keys().collect();
    let new: Vec<&String> = of_five.difference(&of_one).collect();
    assert!(new.is_empty(), "{new:#?}");

    let text = monitored.scrape();
    let secrets = keys.iter().flat_map(|key| key.split('_').skip(1));
    for private in secrets.chain(["private", "PRIVATE", "Private"]) {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(private)).collect();
        assert!(lines.is_empty(), "{lines:#?}");
    }
}

#[tokio::test]
async fn the_port_for_requests_serves_no_metrics_and_names_the_setting() {
    let database = TestDatabase::create().await;
    let folder = folder();
    let mut command = couponry(folder.path());
    command.env("DATABASE_URL", database.url());
    let service = crate::support::program::Service::start(folder.path(), &mut command);
    let reply = service.client(OPERATOR_TOKEN).get("/metrics").expect(404);
    assert!(
        reply.str("detail").contains("COUPONRY_METRICS_LISTEN"),
        "{}",
        reply.text
    );
    assert!(!service.log().contains("serving the metrics"));
}

#[tokio::test]
async fn the_listener_of_the_metrics_serves_nothing_else() {
    let (monitored, _database) = Monitored::start().await;
    for path in ["/", "/healthz", "/v1/coupon-sets"] {
        monitored.metrics.get(path).expect(404);
    }
    assert!(!monitored.scrape().contains(r#"route="/metrics""#));
}

#[test]
fn a_port_for_metrics_that_is_in_use_is_reported_in_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens").to_string();
    let folder = folder();
    let mut command = couponry(&folder.path().join("data"));
    command.env("COUPONRY_METRICS_LISTEN", &address);
    let line = complaint(command);
    assert!(
        line.contains(&address) && line.contains("COUPONRY_METRICS_LISTEN"),
        "{line}"
    );
}

#[tokio::test]
async fn requests_beyond_the_rate_limit_are_counted() {
    let database = TestDatabase::create().await;
    let settings = [("COUPONRY_RATE_LIMIT", "1"), ("COUPONRY_RATE_BURST", "1")];
    let monitored = Monitored::on(&database.url(), &settings);
    let shop = monitored.operator().new_shop();
    let refused = until("a request is refused", || {
        let refused = shop.get("/v1/coupon-sets").status == 429;
        refused.then(|| monitored.series())
    });
    assert!(refused["couponry_rate_limited_total"] >= 1.0);
}
