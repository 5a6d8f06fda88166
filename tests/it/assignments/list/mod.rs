//! Finding assignments: by id, and in lists by set, contact, code, workflow and time, newest first.

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::support::client::Client;
use crate::support::database::TestDatabase;
use crate::support::shop::Shop;
use crate::support::{TestApp, rows, sql};

/// Creates a history over two `multiple` sets, a `single` set and three workflows. Returns its assignments, oldest
/// first.
async fn history(shop: &Shop) -> Vec<Value> {
    let birthday = shop
        .multiple("birthday", &["A", "B", "C", "D", "E", "F", "G"])
        .await;
    let summer = shop.multiple("summer", &["A", "S", "T"]).await;
    let welcome = shop.single("welcome", "W", None).await;
    let mut assignments = Vec::new();
    for n in 0..13 {
        let set = [&birthday, &welcome, &summer, &birthday][n % 4];
        let workflow = [Some("w1"), None, Some("w2"), Some("w3")][n % 4];
        let contact = ["ann", "bob", "cat"][n % 3];
        let answer = set
            .assign_with(json!({"contactId": contact, "workflowId": workflow}), None)
            .await;
        let mut assignment = answer.expect(201).body;
        for member in ["outcome", "idempotencyKey"] {
            assignment.as_object_mut().unwrap().remove(member);
        }
        assignments.push(assignment);
    }
    assignments
}

type Belongs = Box<dyn Fn(&Value) -> bool>;

/// All rows of a list, page by page to its end and back to its beginning.
async fn walk(client: &Client, query: &str, limit: usize) -> Vec<Value> {
    let mut pages = vec![
        client
            .get(&format!("/v1/assignments?limit={limit}&{query}"))
            .await
            .expect(200),
    ];
    assert_eq!(pages[0].body["links"]["prev"], Value::Null);
    while let Some(next) = pages[pages.len() - 1].body["links"]["next"].as_str() {
        pages.push(client.get(next).await.expect(200));
    }
    let rows: Vec<Vec<Value>> = pages.iter().map(|page| page.results().clone()).collect();
    for (index, page) in pages.iter().enumerate().skip(1) {
        let back = client.get(page.str_at("/links/prev")).await.expect(200);
        assert_eq!(
            back.results(),
            &rows[index - 1],
            "back from page {index} of {query}"
        );
    }
    rows.concat()
}

impl crate::support::client::Answer {
    fn str_at(&self, pointer: &str) -> &str {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {pointer}: {}", self.text))
    }
}

#[tokio::test]
async fn each_list_has_what_belongs_to_it_newest_first_on_pages_of_any_size() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let history = history(&shop).await;
    // Assignments of another tenant with the same names are not among them.
    self::history(&app.shop().await).await;

    let set_id = history[0]["couponSetId"].as_str().unwrap().to_owned();
    let since = history[4]["assignedAt"].as_str().unwrap().to_owned();
    let lists: Vec<(String, Belongs)> = vec![
        (String::new(), Box::new(|_| true)),
        (
            "contactId=ann".to_owned(),
            Box::new(|a| a["contactId"] == "ann"),
        ),
        (
            "workflowId=w3".to_owned(),
            Box::new(|a| a["workflowId"] == "w3"),
        ),
        ("code=A".to_owned(), Box::new(|a| a["couponCode"] == "A")),
        ("code=W".to_owned(), Box::new(|a| a["couponCode"] == "W")),
        ("code=none".to_owned(), Box::new(|_| false)),
        (
            "contactId=bob&workflowId=w1".to_owned(),
            Box::new(|a| a["contactId"] == "bob" && a["workflowId"] == "w1"),
        ),
        (
            "code=W&contactId=bob".to_owned(),
            Box::new(|a| a["couponCode"] == "W" && a["contactId"] == "bob"),
        ),
        (format!("couponSetId={set_id}"), {
            let set_id = set_id.clone();
            Box::new(move |a| a["couponSetId"] == *set_id)
        }),
        (
            format!("couponSetId={set_id}&workflowId=w3&contactId=ann"),
            {
                let set_id = set_id.clone();
                Box::new(move |a| {
                    a["couponSetId"] == *set_id
                        && a["workflowId"] == "w3"
                        && a["contactId"] == "ann"
                })
            },
        ),
        (format!("from={since}"), {
            let since = since.clone();
            Box::new(move |a| a["assignedAt"].as_str().unwrap() >= since.as_str())
        }),
        (format!("to={since}&workflowId=w2"), {
            let since = since.clone();
            Box::new(move |a| {
                a["assignedAt"].as_str().unwrap() < since.as_str() && a["workflowId"] == "w2"
            })
        }),
        (format!("from={since}&couponSetId={set_id}"), {
            Box::new(move |a| {
                a["assignedAt"].as_str().unwrap() >= since.as_str() && a["couponSetId"] == *set_id
            })
        }),
    ];
    for (query, belongs) in lists {
        let expected: Vec<Value> = history
            .iter()
            .rev()
            .filter(|a| belongs(a))
            .cloned()
            .collect();
        for limit in [1, 2, 3, 5, 1000] {
            assert_eq!(
                walk(&shop.client, &query, limit).await,
                expected,
                "{query} by {limit}"
            );
        }
    }
}

#[tokio::test]
async fn an_assignment_is_found_by_its_id_and_by_no_other() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let history = history(&shop).await;
    let keys = shop.client.get("/v1/api-keys").await.expect(200);
    let key = &keys.results()[0]["id"];
    for assignment in &history {
        let id = assignment["id"].as_str().unwrap();
        let found = shop.client.get(&format!("/v1/assignments/{id}")).await;
        let mut found = found.expect(200).body;
        // The single read has one field more than the list: the events.
        let events = found.as_object_mut().unwrap().remove("events").unwrap();
        let begun = json!([{
            "event": "assigned",
            "recordedAt": assignment["assignedAt"],
            "occurredAt": null,
            "apiKeyId": key,
            "reason": null,
        }]);
        assert_eq!(events, begun);
        assert_eq!(found, *assignment);
    }
    // The id refers to an existing row, but its time is wrong.
    let id: uuid::Uuid = history[0]["id"].as_str().unwrap().parse().unwrap();
    let forged = uuid::Uuid::from_u128(id.as_u128() ^ (1 << 80));
    for id in [forged, uuid::Uuid::nil(), uuid::Uuid::now_v7()] {
        assert_eq!(
            shop.client
                .get(&format!("/v1/assignments/{id}"))
                .await
                .refusal(),
            "404 not-found"
        );
    }
    assert_eq!(
        shop.client.get("/v1/assignments/x").await.refusal(),
        "400 malformed-request"
    );
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "from=yesterday",
        "couponSetId=x",
        "contactId=%00",
        "from=-100000-01-01T00:00:00Z",
        "colour=red",
    ] {
        let answer = shop.client.get(&format!("/v1/assignments?{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
    let unknown = shop
        .client
        .get("/v1/assignments?couponSetId=01890000-0000-7000-8000-000000000000")
        .await;
    assert_eq!(unknown.refusal(), "404 not-found");
}

/// Shared buffers that a query touches per row that it must find.
async fn pages(reader: &mut PgConnection, query: &str, rows: i64) -> i64 {
    let explain = format!("explain (analyze, buffers, format json) {query}");
    let explained: Value = sql::value(reader, explain).await;
    let plan = &explained[0]["Plan"];
    assert_eq!(sql::actual_rows(plan), rows, "{query}");
    let blocks = |name: &str| plan[name].as_i64().unwrap();
    (blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")) / rows
}

#[tokio::test]
async fn assignments_are_found_by_a_few_pages_of_memory_each_whatever_the_planner_knows() {
    const MAX_PAGES: i64 = 40;
    let places = "select * from assignments_at(
        2, array_fill(1, array[100]), array(select n from generate_series(19901::bigint, 20000) n))";
    let by_contact = "select * from contact_assignments(2, 'contact 19999', true)";
    let by_code = "select * from card_assignments(2, 'CODE-19999', null)";
    // Never analyzed; analyzed when almost empty; and analyzed when only another tenant had many rows.
    for (others, analyzed) in [(10, false), (10, true), (65_000, true)] {
        let database = TestDatabase::create().await;
        database.execute(&rows::tenants(2)).await;
        for tenant in [1, 2] {
            let set =
                rows::set_with_lot(tenant, 1, "gen_random_uuid()", rows::USUAL_POLICY, 65_000);
            database.execute(&set).await;
        }
        database.execute(&rows::assignments(1, 1, others)).await;
        if analyzed {
            database.execute("vacuum analyze").await;
        }
        let mut reader = PgConnection::connect_with(&database.options).await.unwrap();
        let role = "set role couponry_app; set jit = off; set plan_cache_mode = force_custom_plan;
            set couponry.tenant_id = '2'";
        sql::run(&mut reader, role).await.unwrap();
        for query in [places, by_contact, by_code] {
            sql::run(&mut reader, query).await.unwrap();
        }
        database.execute(&rows::assignments(2, 1, 20_000)).await;
        for (query, rows) in [(places, 100), (by_contact, 1), (by_code, 1)] {
            let pages = pages(&mut reader, query, rows).await;
            assert!(
                pages <= MAX_PAGES,
                "{pages} pages beside {others}, analyzed: {analyzed}, for each of {query}"
            );
        }
        let mixed = "select array_agg(number order by place)::text
            from assignments_at(2, '{1,1,1,1,2}', '{7,3,7,20001,3}')";
        assert_eq!(
            sql::value::<String>(&mut reader, mixed).await,
            "{7,3,7}",
            "each place as often as it is asked for, in order, if there is an assignment"
        );
    }
}
