//! The alert rules and the board: each names only metrics that exist, and each planted fault fires exactly its alert.

use std::fs;

use serde_json::{Value, json};

use super::{Monitored, Series, names, nowhere, promtool, read};
use crate::support::database::url;
use crate::support::program::{Client, folder, folder_with_cluster, start_postgres};

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/monitoring/alerts.yaml");

#[test]
fn the_board_and_the_alerts_name_only_metrics_of_the_book() {
    let book = names(&read("docs/operate/monitoring.md"));
    for file in [
        "monitoring/alerts.yaml",
        "monitoring/alerts.test.yaml",
        "monitoring/grafana/couponry.json",
    ] {
        let named = names(&read(file));
        assert!(named.len() > 5, "{file}: {named:?}");
        let unknown: Vec<&String> = named.difference(&book).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let board: Value = serde_json::from_str(&read("monitoring/grafana/couponry.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut places: Vec<&Value> = panels.iter().map(|panel| &panel["gridPos"]).collect();
    places.dedup();
    assert_eq!(places.len(), panels.len(), "no panel hides another");
}

#[test]
fn the_alerts_pass_their_tests() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/monitoring/alerts.test.yaml");
    let Some(mut promtool) = promtool(&["test", "rules", tests]) else {
        return;
    };
    let output = promtool.output().expect("it was there a moment ago");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Fails unless exactly this alert fires after half an hour in which the gauges stay as in `after` and the counters grow
/// each minute as they did from `before` to `after`.
#[track_caller]
fn expect_alert(before: &Series, after: &Series, alert: Option<&str>) {
    let mut series =
        vec![json!({"series": r#"up{job="couponry",instance="a"}"#, "values": "1x30"})];
    // A value that is not known makes no alert, and promtool cannot repeat it.
    for (name, value) in after.iter().filter(|(_, value)| !value.is_nan()) {
        let (bare, labels) = name.split_once('{').unwrap_or((name, "}"));
        let is_counter = ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| bare.ends_with(suffix));
        let growth = if is_counter {
            value - before.get(name).copied().unwrap_or(0.0)
        } else {
            0.0
        };
        series.push(json!({
            "series": format!(r#"{bare}{{job="couponry",instance="a",{labels}"#),
            "values": format!("{value}+{growth}x30"),
        }));
    }
    let firing: Vec<Value> = alert
        .iter()
        .map(|alert| json!({"labels": format!(r#"{{alertname="{alert}"}}"#), "value": 1}))
        .collect();
    let tests = json!({
        "rule_files": [ALERTS],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{
                "expr": r#"count by (alertname) (ALERTS{alertstate="firing"})"#,
                "eval_time": "30m",
                "exp_samples": firing,
            }],
        }],
    });
    let folder = folder();
    let file = folder.path().join("test.json");
    fs::write(&file, tests.to_string()).expect("the folder is ours");
    let file = file.to_str().expect("a path is text");
    let Some(mut promtool) = promtool(&["test", "rules", file]) else {
        return;
    };
    let output = promtool.output().expect("it was there a moment ago");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// A set of this tenant with codes, of which one was assigned.
fn set_with_codes(shop: &Client, codes: usize) -> String {
    let set = shop.new_set(&json!({"name": "Set", "type": "multiple"}));
    let codes: Vec<String> = (0..codes).map(|n| format!("CODE-{n}")).collect();
    shop.fill(&set, &codes);
    shop.assign(&set, "ann", None)
        .expect("an answer")
        .expect(201);
    set
}

#[tokio::test]
async fn no_alert_fires_while_all_is_well() {
    let (monitored, _database) = Monitored::start().await;
    let shop = monitored.operator().new_shop();
    let before = monitored.wait_for("couponry_statistics_lag_entries", |_| true);
    set_with_codes(&shop, 10);
    let after = monitored.series();
    expect_alert(&before, &after, None);
}

#[tokio::test]
async fn a_dead_receiver_fires_its_alert_alone() {
    let (monitored, database) = Monitored::start().await;
    let shop = monitored.operator().new_shop();
    let hook = json!({"url": nowhere(), "eventTypes": ["coupon.assigned"]});
    shop.post("/v1/webhooks", &hook).expect(201);
    let before = monitored.series();
    set_with_codes(&shop, 10);
    let failing = "couponry_webhook_failing_seconds";
    monitored.wait_for(failing, |seconds| seconds > 0.0);
    database
        .execute("update webhooks set failing_since = failing_since - interval '6 minutes'")
        .await;
    let after = monitored.wait_for(failing, |seconds| seconds > 300.0);
    expect_alert(&before, &after, Some("CouponryWebhookFailing"));
}

#[tokio::test]
async fn an_import_that_no_worker_takes_fires_its_alert_alone() {
    let (monitored, database) = Monitored::start().await;
    let shop = monitored.operator().new_shop();
    let set = set_with_codes(&shop, 10);
    // The worker of another replica holds an import into the set, and does not go on with it.
    database
        .execute(
            "insert into imports (tenant_id, id, set_no, status, origin, options, total, chunks, epoch, lease_until)
             select tenant_id, gen_random_uuid(), set_no, 'inProgress', origin, options, total, chunks, 1, now() + interval '1 hour'
               from imports",
        )
        .await;
    let before = monitored.series();
    shop.post(&format!("{set}/imports"), &json!({"codes": ["LATE"]}))
        .expect(201);
    let queued = r#"couponry_imports{status="queued"}"#;
    monitored.wait_for(queued, |count| count == 1.0);
    database
        .execute("update imports set created_at = created_at - interval '11 minutes' where status = 'queued'")
        .await;
    let oldest = "couponry_import_oldest_queued_seconds";
    let after = monitored.wait_for(oldest, |seconds| seconds > 600.0);
    expect_alert(&before, &after, Some("CouponryImportQueued"));
}

#[tokio::test]
async fn an_outbox_that_lags_fires_its_alert_alone() {
    let (monitored, database) = Monitored::start().await;
    let shop = monitored.operator().new_shop();
    let hook = json!({"url": nowhere(), "eventTypes": ["import.finished"]});
    let set = set_with_codes(&shop, 1_200);
    shop.post("/v1/webhooks", &hook).expect(201);
    shop.assign(&set, "bob", None)
        .expect("an answer")
        .expect(201);
    let mut reader = database.owner.begin().await.unwrap();
    // The reader of another replica holds the cursor of the set, and does not go on.
    crate::support::eventually("the set has a cursor", async || {
        let count = database
            .query_value("select count(*) from webhook_cursors")
            .await;
        (count == 1).then_some(())
    })
    .await;
    crate::support::sql::run(&mut reader, "select 1 from webhook_cursors for update")
        .await
        .unwrap();
    let before = monitored.series();
    let items: Vec<Value> = (0..1_100)
        .map(|n| json!({"contactId": format!("c{n}")}))
        .collect();
    let batch = format!("{set}/assignments/batch");
    shop.post(&batch, &json!({"items": items})).expect(200);
    let after = monitored.wait_for("couponry_outbox_lag_entries", |lag| lag > 1_000.0);
    expect_alert(&before, &after, Some("CouponryOutboxLag"));
}

#[test]
fn a_database_that_is_away_fires_its_alert_alone_although_requests_fail() {
    let folder = folder_with_cluster();
    let postgres = start_postgres(&folder.path().join("pg"), false);
    let monitored = Monitored::on(&url(&postgres.connect_options("postgres")), &[]);
    let shop = monitored.operator().new_shop();
    set_with_codes(&shop, 10);
    let before = monitored.series();
    assert_eq!(before["couponry_database_up"], 1.0);
    postgres.stop();
    for _ in 0..3 {
        shop.get("/v1/coupon-sets").expect(503);
    }
    let after = monitored.wait_for("couponry_database_up", |up| up == 0.0);
    let failed = r#"http_server_request_duration_seconds_count{method="GET",route="/v1/coupon-sets",status="503"}"#;
    assert_eq!(after[failed], 3.0);
    assert!(after["couponry_import_oldest_queued_seconds"].is_nan());
    expect_alert(&before, &after, Some("CouponryDatabaseAway"));

    // It comes back without a restart.
    let _postgres = start_postgres(&folder.path().join("pg"), false);
    monitored.wait_for("couponry_database_up", |up| up == 1.0);
}
