//! PgBouncer in transaction mode, in a version that knows nothing of prepared statements.
//!
//! `COUPONRY_TEST_POOLER=1 cargo test --test it` runs all tests of the service in this process through it, and the trials with faults.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::is_installed;
use crate::support::TestApp;
use crate::support::database::{TestDatabase, url};
use crate::support::pooler::Pooler;
use crate::support::program::{complaint, couponry, folder};

const SETS: usize = 20;
const CONTACTS: usize = 20;

async fn pooled() -> (TestDatabase, Pooler) {
    let database = TestDatabase::create().await;
    let socket = database.options.get_socket().expect("a socket").clone();
    let pooler = Pooler::start(&socket, &["postgres", "couponry_test_login"]);
    (database, pooler)
}

#[tokio::test]
async fn a_pooler_that_forgets_statements_ends_the_start_with_what_to_set() {
    if !is_installed("pgbouncer") {
        return;
    }
    let (database, pooler) = pooled().await;
    let folder = folder();
    let mut command = couponry(folder.path());
    command.env("DATABASE_URL", url(&pooler.options(&database.options)));
    let line = complaint(command);
    assert!(line.contains("COUPONRY_POOLER=true"), "{line}");
}

#[tokio::test]
async fn a_migration_through_a_pooler_ends_with_what_to_set() {
    if !is_installed("pgbouncer") {
        return;
    }
    let database = TestDatabase::create().await;
    let socket = database.options.get_socket().expect("a socket").clone();
    let migrate = |mode: &str, settings: &[(&str, &str)]| {
        let pooler = Pooler::with_mode(mode, &socket, &["postgres"]);
        let folder = folder();
        let mut command = couponry(folder.path());
        command
            .arg("migrate")
            .env("DATABASE_URL", url(&pooler.options(&database.options)))
            .envs(settings.iter().copied());
        complaint(command)
    };
    let line = migrate("transaction", &[("COUPONRY_POOLER", "true")]);
    assert!(line.contains("COUPONRY_MIGRATE_URL"), "{line}");
    // One that passes prepared statements on refuses the settings of the connection.
    let line = migrate("session", &[]);
    assert!(line.contains("COUPONRY_MIGRATE_URL"), "{line}");
}

#[tokio::test]
async fn through_a_pooler_each_key_keeps_its_code_though_server_connections_are_killed() {
    if !is_installed("pgbouncer") {
        return;
    }
    let (database, pooler) = pooled().await;
    let options = pooler.options(&database.service_options());
    let app = TestApp::through(database, &options, &["--pooler"]);
    let shop = app.shop().await;
    let codes: Vec<String> = (0..CONTACTS).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let mut sets = Vec::new();
    for n in 0..SETS {
        sets.push(shop.multiple(&format!("set {n}"), &codes).await);
    }
    let requests: Vec<(usize, usize)> = (0..SETS)
        .flat_map(|set| (0..CONTACTS).map(move |contact| (set, contact)))
        .collect();
    let assign = async |&(set, contact): &(usize, usize)| -> Value {
        let key = format!("key {set} {contact}");
        let contact = format!("contact {contact}");
        // As a caller does: an unknown outcome is asked for again.
        loop {
            let answer = sets[set].assign_as(&contact, &key).await;
            if answer.status != 503 {
                break answer.body["couponCode"].clone();
            }
        }
    };
    let kill = async {
        for _ in 0..5 {
            let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                         where usename = 'couponry_test_login' and datname = current_database()";
            app.database.query_value(kill).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let (first, ()) = tokio::join!(join_all(requests.iter().map(assign)), kill);
    let again = join_all(requests.iter().map(assign)).await;
    assert_eq!(first, again);
    let distinct = "select count(distinct (set_no, lot_no, ordinal))::integer from assignments";
    let distinct = app.database.query_value(distinct).await;
    assert_eq!(distinct, requests.len());
    assert!(first.iter().all(Value::is_string));

    // Arguments are literals.
    let odd = r#"O'Neil "B", \n {null}"#;
    sets[0].fill(&["ODD"]).await;
    let assigned = sets[0].assign_as(odd, odd).await.expect(201);
    let id = assigned.body["id"].as_str().expect("an id");
    let read = shop.client.get(&format!("/v1/assignments/{id}")).await;
    assert_eq!(read.expect(200).body["contactId"], odd);

    // What uses the other pools: the operator's, those of uploads, of tasks and of lists.
    let import = sets[0].fill(&["LATER"]).await;
    assert_eq!(import["status"], "finished");
    let reserved = sets[0].reserve("late", 600).await.expect(201);
    let id = reserved.body["id"].as_str().expect("an id").to_owned();
    sets[0].confirm(&id).await.expect(200);
    let statistics = shop.client.get("/v1/statistics").await.expect(200);
    assert_eq!(statistics.body["totals"]["assigned"], requests.len() + 2);
    app.anyone().get("/readyz").await.expect(200);
    let tenants = app.operator().get("/admin/v1/tenants").await.expect(200);
    assert_eq!(tenants.body["results"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn calls_with_literals_store_what_calls_with_bound_arguments_do() {
    let database = TestDatabase::create().await;
    let options = database.service_options();
    let app = TestApp::through(database, &options, &["--pooler"]);
    let set = app.shop().await.multiple("set", &["A", "B"]).await;
    let run = json!({"contactId": "ann", "workflowId": "w", "nodeId": "n'1", "executionId": "{e}"});
    let assigned = set.assign_with(run, None).await.expect(201);
    let kept = set.reserve("bob", 600).await.expect(201);
    set.confirm(kept.str("id")).await.expect(200);

    let remark =
        json!({"reason": r#"at the "till", isn't it?"#, "occurredAt": "2026-11-22T18:30:00.250Z"});
    let id = assigned.str("id");
    set.record_with("used", id, remark.clone())
        .await
        .expect(200);
    let stored = set.assignment(id).await;
    let expected = [
        ("workflowId", "w"),
        ("nodeId", "n'1"),
        ("executionId", "{e}"),
    ];
    for (name, value) in expected {
        assert_eq!(stored[name], value);
    }
    assert_eq!(stored["events"][1]["reason"], remark["reason"]);
    assert_eq!(stored["events"][1]["occurredAt"], remark["occurredAt"]);
}
