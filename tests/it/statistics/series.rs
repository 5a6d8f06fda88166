//! Series, breakdowns, forecast and export of statistics.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::statistics::recount::{RESET, STOP_ROLL_UP, pass};
use crate::support::client::Client;
use crate::support::{TestApp, eventually, sql};

async fn statistics(client: &Client, uri: &str) -> Value {
    client.get(uri).await.expect(200).body
}

fn sum(list: &Value, name: &str) -> i64 {
    let entries = list.as_array().expect("a list").iter();
    entries
        .map(|entry| entry[name].as_i64().expect("a number"))
        .sum()
}

/// Makes set 1 and its codes half a year older.
pub const OLDER: &str = "
    update coupon_sets set created_at = created_at - interval '180 days' where set_no = 1;
    update coupon_set_terms set since = since - interval '180 days' where set_no = 1;
    update lots set published_at = published_at - interval '180 days' where set_no = 1;";

/// Moves set 1 and its assignments back, so that the last one was made a day ago and the others a day apart.
pub async fn spread_over_days(app: &TestApp) {
    let statement = format!(
        "begin;
         {STOP_ROLL_UP}
         update assignments a
            set assigned_at = a.assigned_at - (m.number + 1 - a.number) * interval '1 day'
           from (select max(number) as number from assignments where set_no = 1) m
          where a.set_no = 1;
         {OLDER}
         {RESET}
         commit"
    );
    app.database.execute(&statement).await;
}

#[tokio::test]
async fn without_a_period_there_are_thirty_days_in_the_zone_of_the_set() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let body = json!({"name": "set", "type": "multiple", "timezone": "Asia/Kathmandu"});
    let set = shop.set(body).await;
    let uri = format!("{}/statistics", set.path());
    for (uri, zone, hour) in [
        (uri.as_str(), "Asia/Kathmandu", "T18:15:00Z"),
        ("/v1/statistics", "UTC", "T00:00:00Z"),
    ] {
        let answer = statistics(&shop.client, uri).await;
        assert_eq!(answer["period"]["timezone"], zone);
        assert_eq!(answer["period"]["interval"], "day");
        let series = answer["series"].as_array().unwrap();
        assert_eq!(series.len(), 30);
        for pair in series.windows(2) {
            assert_eq!(pair[0]["to"], pair[1]["from"]);
        }
        for end in [&answer["period"]["from"], &answer["period"]["to"]] {
            assert!(end.as_str().unwrap().ends_with(hour), "{end}");
        }
    }
}

#[tokio::test]
async fn what_makes_no_period_is_refused_with_the_field_that_is_wrong() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    for path in [set.path() + "/statistics", "/v1/statistics".to_owned()] {
        for (query, faults) in [
            ("from=soon&to=later", &["from", "to"][..]),
            ("from=2026-05-02&to=2026-05-01", &["to"]),
            ("from=2999-01-01", &["from"]),
            ("timezone=Europe/Atlantis", &["timezone"]),
            // 10,001 hours.
            (
                "interval=hour&from=2025-01-01&to=2026-02-21T17:00:00Z",
                &["from"],
            ),
        ] {
            let answer = shop.client.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.expect(422).faults(), faults, "{query}");
        }
        for query in ["interval=year", "until=2026-05-01"] {
            let answer = shop.client.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
        }
        let most = format!("{path}?interval=hour&from=2025-01-01&to=2026-02-21T16:00:00Z");
        let answer = statistics(&shop.client, &most).await;
        assert_eq!(answer["series"].as_array().unwrap().len(), 10_000);
    }
}

#[tokio::test]
async fn days_on_which_clocks_change_have_their_own_length() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let uri = "/v1/statistics?from=2025-10-25&to=2025-10-27&timezone=Europe/Madrid";
    let answer = statistics(&shop.client, uri).await;
    let ends = answer["series"].as_array().unwrap().iter();
    let ends: Vec<&Value> = ends.map(|point| &point["to"]).collect();
    // The day before, 25 hours, and the day after.
    assert_eq!(
        ends,
        [
            "2025-10-25T22:00:00Z",
            "2025-10-26T23:00:00Z",
            "2025-10-27T23:00:00Z"
        ]
    );
}

#[tokio::test]
async fn what_a_deleted_set_gave_stays_in_the_series_of_the_tenant() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B", "C"]).await;
    shop.single("single", "S", Some(5)).await;
    set.assign("ann").await.expect(201);
    let today = |answer: &Value| {
        let series = answer["series"].as_array().unwrap();
        let today = &series[series.len() - 1];
        ["quantity", "available", "assigned"].map(|name| today[name].as_i64().unwrap())
    };
    let answer = statistics(&shop.client, "/v1/statistics").await;
    assert_eq!(today(&answer), [8, 7, 1]);
    set.delete().await.expect(204);
    let answer = statistics(&shop.client, "/v1/statistics").await;
    assert_eq!(today(&answer), [5, 5, 1]);
    assert_eq!(answer["byCouponSet"][0]["couponSetId"], set.id);
}

#[tokio::test]
async fn codes_lie_expired_from_their_hour_on_until_their_import_is_undone() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let soon = "select now() + interval '61 minutes'";
    let soon = app.database.query_value(soon).await;
    let late = "select now() + interval '301 minutes'";
    let late = app.database.query_value(late).await;
    let codes = json!([
        {"code": "A", "expiresAt": soon},
        {"code": "B", "expiresAt": soon},
        {"code": "C", "expiresAt": late},
        {"code": "D", "expiresAt": late},
        {"code": "E", "expiresAt": Value::Null},
    ]);
    let uri = format!("{}/imports", set.path());
    let import = shop
        .client
        .post(&uri, json!({"codes": codes}))
        .await
        .expect(201);
    set.ended(import.str("id")).await;
    // One of those that expire soon is assigned by then.
    set.assign("ann").await.expect(201);
    pass(&app, 3).await;
    let undo = format!("/v1/imports/{}/undo", import.str("id"));
    shop.client.post(&undo, json!({})).await.expect(200);
    pass(&app, 4).await;

    let from = "select to_char(date_trunc('hour', now() at time zone 'UTC') - interval '7 hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let from = app.database.query_value(from).await;
    let uri = format!(
        "{}/statistics?interval=hour&from={}",
        set.path(),
        from.as_str().unwrap()
    );
    for (rolled_up, forgotten) in [(false, false), (true, false), (true, true)] {
        if forgotten {
            // The report of an import may be deleted; its effects stay.
            let report = format!("/v1/imports/{}", import.str("id"));
            shop.client.delete(&report).await.expect(204);
            eventually("the report is gone", async || {
                (app.database
                    .query_value("select count(*) from imports")
                    .await
                    == 0)
                    .then_some(())
            })
            .await;
        } else if rolled_up {
            let mut owner = app.database.owner.acquire().await.unwrap();
            sql::run(&mut owner, "select roll_up_statistics(1, 1, 1000)")
                .await
                .unwrap();
        }
        let answer = statistics(&shop.client, &uri).await;
        let levels: Vec<[i64; 3]> = answer["series"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| {
                ["quantity", "available", "expired"].map(|name| point[name].as_i64().unwrap())
            })
            .collect();
        // They were imported seven hours ago. An hour later two of them expired, and after two more all were withdrawn.
        let expected = [
            [5, 4, 0],
            [5, 3, 1],
            [5, 3, 1],
            [1, 0, 0],
            [1, 0, 0],
            [1, 0, 0],
            [1, 0, 0],
            [1, 0, 0],
        ];
        // The second hour ends before they expire, unless their extra minute lies in it.
        assert_eq!(levels.len(), expected.len());
        assert_eq!(levels[0], expected[0]);
        assert_eq!(levels[2..], expected[2..]);
        assert_eq!(answer["totals"]["expired"], 0);
    }
}

#[tokio::test]
async fn of_more_than_a_thousand_workflows_the_small_ones_are_summed_up() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("set", "S", None).await;
    let items: Vec<Value> = (0..1_010)
        // The first ten have two each.
        .chain(0..10)
        .map(|n| json!({"contactId": "ann", "workflowId": format!("workflow {n}")}))
        .collect();
    set.assign_batch(json!(items), None).await;
    let answer = statistics(&shop.client, &format!("{}/statistics", set.path())).await;
    let shares = answer["byWorkflow"].as_array().unwrap();
    assert_eq!(shares.len(), 1_001);
    assert!(shares[..10].iter().all(|share| share["assigned"] == 2));
    let others =
        json!({"others": true, "assigned": 10, "sent": 0, "used": 0, "released": 0, "void": 0});
    assert_eq!(shares[1_000], others);
    assert_eq!(sum(&answer["byWorkflow"], "assigned"), 1_020);
    assert_eq!(answer["byImport"], json!([]));
}

#[tokio::test]
async fn a_set_that_is_used_steadily_has_a_forecast_and_one_that_is_not_has_none() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("steady", "S", Some(30)).await;
    for n in 0..10 {
        set.assign(&format!("contact {n}")).await.expect(201);
    }
    let forecast = async || {
        let uri = format!("{}/statistics", set.path());
        statistics(&shop.client, &uri).await["forecast"].clone()
    };
    // All of it today, which is no history.
    assert_eq!(forecast().await, Value::Null);
    shop.single("unlimited", "U", None)
        .await
        .assign("ann")
        .await
        .expect(201);
    spread_over_days(&app).await;

    // One a day, and 20 are left.
    let day = "select ((now() at time zone 'UTC')::date + 20)::text";
    let day = app.database.query_value(day).await;
    let expected = json!({"runsOutOn": day, "earliest": day, "latest": day});
    assert_eq!(forecast().await, expected);
    let tenant = statistics(&shop.client, "/v1/statistics").await;
    let next = json!([
        {"couponSetId": set.id, "name": "steady", "available": 20, "forecast": expected},
    ]);
    assert_eq!(tenant["runsOutNext"], next);
    // The same from the roll-up.
    let rolled_up = "select roll_up_statistics(1, 1, 1000)";
    let mut owner = app.database.owner.acquire().await.unwrap();
    sql::run(&mut owner, rolled_up).await.unwrap();
    assert_eq!(forecast().await, expected);
    // Other tenants see nothing of it.
    let other = app.shop().await;
    let other = statistics(&other.client, "/v1/statistics").await;
    assert_eq!(other["runsOutNext"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_roll_up_at_once_and_nothing_counts_twice() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let set = shop.single("set", "S", None).await;
    let uri = format!("{}/statistics?interval=hour", set.path());
    let items: Vec<Value> = (0..400)
        .map(|n| json!({"contactId": format!("contact {n}"), "nodeId": format!("node {}", n % 7)}))
        .collect();

    let rolling_up = async {
        let rolling_up = (0..6).map(async |n: i64| {
            let mut connection = PgConnection::connect_with(&app.database.options)
                .await
                .unwrap();
            sql::run(&mut connection, "set role couponry_app")
                .await
                .unwrap();
            let mut done = 0;
            while done < 300 {
                let roll_up = format!("select roll_up_statistics(1, 1, {})", 3 + n);
                done += sql::value::<i64>(&mut connection, roll_up).await;
                let left = "select count(*) from statistics_tails where rolled_up < number";
                let mut owner = app.database.owner.acquire().await.unwrap();
                let left: i64 = sql::value(&mut owner, left).await;
                if left == 0 && done > 0 {
                    break;
                }
            }
        });
        join_all(rolling_up).await;
    };
    let assigning = async {
        for chunk in items.chunks(20) {
            set.assign_batch(json!(chunk), None).await;
            let answer = statistics(&shop.client, &uri).await;
            let there = statistics(&shop.at(&replica).client, &uri).await;
            for answer in [answer, there] {
                let assigned = answer["totals"]["assigned"].as_i64().unwrap();
                assert_eq!(sum(&answer["series"], "assigned"), assigned);
                assert_eq!(sum(&answer["byNode"], "assigned"), assigned);
            }
        }
    };
    tokio::join!(rolling_up, assigning);

    // The tasks of both replicas do the rest.
    eventually("everything is rolled up", async || {
        let left = "select count(*) from statistics_tails where rolled_up < number";
        (app.database.query_value(left).await == 0).then_some(())
    })
    .await;
    let marked = "select assigned from statistics_checkpoints order by bucket desc limit 1";
    assert_eq!(app.database.query_value(marked).await, 400);
    let answer = statistics(&shop.client, &uri).await;
    assert_eq!(sum(&answer["series"], "assigned"), 400);
    assert_eq!(sum(&answer["byNode"], "assigned"), 400);
}

/// Maximum number of pages read and written per ledger number that is rolled up.
const MAX_PAGES: i64 = 60;

#[tokio::test]
async fn a_number_that_is_rolled_up_costs_a_few_pages_however_long_the_ledger_is() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["FIRST"]).await;
    let mut task = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(&mut task, "set role couponry_app; set jit = off")
        .await
        .unwrap();
    // Now the plans are made.
    for contact in ["ann", "bob"] {
        set.assign(contact).await;
        sql::run(&mut task, "select roll_up_statistics(1, 1, 10)")
            .await
            .unwrap();
    }
    // Each second card expires in time, and each tenth number releases the code before.
    let past = format!(
        "begin;
         set local session_replication_role = replica;
         {STOP_ROLL_UP}
         delete from assignments; delete from ledger_entries; delete from cards;
         update lots set size = 20000, first_expires_at = now() - interval '9 days';
         insert into cards (tenant_id, set_no, lot_no, ordinal, line, code, expires_at)
         select 1, 1, 1, n, n, 'CODE ' || n, now() - interval '10 days' + n * interval '1 minute' from generate_series(1, 20000) n;
         insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at, workflow_id)
         select 1, 1, n, 1, 1, n, n, 1, gen_random_uuid(), now() - interval '30 days' + n * interval '1 minute', n % 5
           from generate_series(1, 20000) n where n % 10 <> 0;
         insert into ledger_entries (
           tenant_id, set_no, number, assignment_number, event, recorded_at, entries, reserved, released, void, sent, used)
         select 1, 1, n, n - 1, 'released', now() - interval '30 days' + n * interval '1 minute', n / 10, 0, n / 10, 0, 0, 0
           from generate_series(10, 20000, 10) n;
         {RESET}
         insert into statistics_progress values (1, 1, 15000);
         commit"
    );
    app.database.execute(&past).await;
    let roll_up = "explain (analyze, buffers, format json) select roll_up_statistics(1, 1, 1000)";
    let explained: Value = sql::value(&mut task, roll_up).await;
    let plan = &explained[0]["Plan"];
    let blocks = |name: &str| plan[name].as_i64().expect("a count");
    let pages = (blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")) / 1000;
    let shares = "select count(*) from statistics_shares";
    assert_ne!(app.database.query_value(shares).await, 0);
    eprintln!("{pages} pages for each number");
    assert!(pages <= MAX_PAGES, "{pages} pages for each number");
}
