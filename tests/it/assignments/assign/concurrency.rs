//! Assignment under concurrency: many callers, several replicas, clients that disconnect, and the constraints of the
//! database itself.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::shop::CouponSet;
use crate::support::{TestApp, eventually, sql};

/// Waits until a statement of this database waits for a lock.
pub async fn someone_waits(app: &TestApp) {
    eventually("a statement waits for a lock", async || {
        let waiting = "select exists (select 1 from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock')";
        (app.database.query_value(waiting).await == true).then_some(())
    })
    .await;
}

/// Fails unless this constraint rejected the statement.
#[track_caller]
fn refused_by(constraint: &str, outcome: sqlx::Result<()>) {
    let error = outcome.unwrap_err();
    let refusing = error
        .as_database_error()
        .and_then(|error| error.constraint());
    assert_eq!(refusing, Some(constraint), "{error}");
}

/// A connection that holds the lock of every set.
pub async fn holding_the_sets(app: &TestApp) -> PgConnection {
    let mut connection = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    connection.execute("begin").await.unwrap();
    connection
        .execute("select 1 from coupon_sets for no key update")
        .await
        .unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_that_ask_for_the_last_code_one_gets_it() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    for round in 0..200 {
        let set = shop.multiple(&format!("round {round}"), &["LAST"]).await;
        let there = CouponSet {
            client: shop.at(&replica).client,
            ..set.clone()
        };
        let asking = (0..64).map(|contact| {
            let set = if contact % 2 == 0 {
                set.clone()
            } else {
                there.clone()
            };
            async move { set.assign(&format!("c{contact}")).await.status.as_u16() }
        });
        let mut answers: HashMap<u16, usize> = HashMap::new();
        for status in join_all(asking).await {
            *answers.entry(status).or_default() += 1;
        }
        assert_eq!(answers, HashMap::from([(201, 1), (409, 63)]));
        assert_eq!(set.counters().await, (json!(1), 1, json!(0)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_key_has_one_code_and_every_code_one_key_whoever_asks_how_often() {
    let app = TestApp::start().await;
    let replicas = [app.replica(), app.replica()];
    let shop = app.shop().await;
    let child = shop.multiple("child", &[]).await;
    let set = shop
        .set(json!({"name": "set", "type": "multiple", "childCouponSetId": child.id}))
        .await;
    let codes = |prefix: &str| (0..150).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let fill = async |set: &CouponSet, codes: Vec<String>| {
        set.fill(&codes.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
    };
    fill(&set, codes("A")).await;
    fill(&child, codes("X")).await;

    // 400 contacts, each requesting three times with one key, at two replicas, while both sets are refilled.
    let asking = (0..1_200).map(|n| {
        let client = shop.at(&replicas[n % 2]).client;
        let set = CouponSet {
            client,
            ..set.clone()
        };
        async move {
            let contact = format!("c{}", n % 400);
            let answer = set.assign_as(&contact, &contact).await;
            (contact, answer)
        }
    });
    let refilling = async {
        fill(&set, codes("B")).await;
        fill(&child, codes("Y")).await;
    };
    let (answers, ()) = tokio::join!(join_all(asking), refilling);

    let mut of_contact: HashMap<String, HashSet<String>> = HashMap::new();
    for (contact, answer) in &answers {
        if answer.status.is_success() {
            of_contact
                .entry(contact.clone())
                .or_default()
                .insert(answer.str("couponCode").to_owned());
        } else {
            // Possible only before the refills; 600 codes are enough for all.
            assert_eq!(answer.refusal(), "409 coupon-set-exhausted");
        }
    }
    assert!(
        of_contact.values().all(|codes| codes.len() == 1),
        "a key has two answers: {of_contact:?}"
    );
    let given: HashSet<&String> = of_contact.values().flatten().collect();
    assert_eq!(given.len(), of_contact.len(), "a code was given twice");
    let assigned = set.counters().await.1 + child.counters().await.1;
    assert_eq!(usize::try_from(assigned).unwrap(), of_contact.len());
}

#[tokio::test]
async fn a_client_that_goes_away_loses_nothing() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A", "B"]).await;
    let mut holder = holding_the_sets(&app).await;
    {
        let asking = set.assign_as("ann", "k");
        tokio::select! {
            answer = asking => panic!("answered while the set was locked: {}", answer.text),
            () = someone_waits(&app) => {}
        }
        // The client has disconnected; the batch still waits.
    }
    holder.execute("commit").await.unwrap();
    eventually("the code is assigned", async || {
        (set.counters().await.1 == 1).then_some(())
    })
    .await;
    let answer = set.assign_as("ann", "k").await.expect(200);
    assert_eq!(
        (answer.str("outcome"), answer.str("couponCode")),
        ("replayed", "A")
    );
}

#[tokio::test]
async fn a_set_that_somebody_holds_locked_gathers_no_waiting_connections() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A"]).await;
    let mut holder = holding_the_sets(&app).await;
    let answer = set.assign_as("ann", "k").await;
    assert_eq!(answer.refusal(), "503 unavailable");
    assert_eq!(answer.str("idempotencyKey"), "k");
    eventually("no statement waits any more", async || {
        let waiting = "select exists (select 1 from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock')";
        (app.database.query_value(waiting).await == false).then_some(())
    })
    .await;
    holder.execute("commit").await.unwrap();
    assert!(set.assign_as("ann", "k").await.status.is_success());
    assert_eq!(set.counters().await.1, 1);
}

#[tokio::test]
async fn a_set_that_is_deleted_while_a_batch_waits_hands_out_nothing() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A"]).await;
    let mut holder = holding_the_sets(&app).await;
    let (answer, ()) = tokio::join!(set.assign("ann"), async {
        someone_waits(&app).await;
        holder
            .execute("update coupon_sets set deleted_at = now()")
            .await
            .unwrap();
        holder.execute("commit").await.unwrap();
    });
    assert_eq!(answer.refusal(), "404 not-found");
    assert_eq!(
        app.database
            .query_value("select count(*) from assignments")
            .await,
        0
    );
}

#[tokio::test]
async fn what_is_too_much_for_one_tenant_is_refused_at_once_and_other_tenants_are_served() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("welcome", "W", None).await;
    let mut holder = holding_the_sets(&app).await;
    let other = app.shop().await.single("other", "O", None).await;
    let items = |part: usize| {
        let item =
            move |n| json!({"contactId": format!("c{n}"), "idempotencyKey": format!("{part}-{n}")});
        json!((0..10_000).map(item).collect::<Vec<_>>())
    };
    let mut asking: FuturesUnordered<_> = (1..=3)
        .map(|part| set.assign_batch(items(part), None))
        .collect();
    // Two of them fill the queue, in either order, and wait.
    let refused = asking.next().await.expect("one is answered");
    for result in &refused {
        assert_eq!(result["error"]["code"], "overloaded", "{result}");
    }
    let refused = set.assign_as("ann", "k").await;
    assert_eq!(refused.refusal(), "503 overloaded");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.str("idempotencyKey"), "k");
    other.assign("bob").await.expect(201);
    holder.execute("commit").await.unwrap();
    let results: Vec<Vec<Value>> = asking.collect().await;
    let served = results
        .iter()
        .flatten()
        .filter(|result| result["status"] == 201)
        .count();
    assert_eq!(served, 20_000);
    set.assign_as("ann", "k").await.expect(201);
}

#[tokio::test]
async fn what_writes_the_log_refuses_any_isolation_under_which_it_would_see_a_stale_one() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A"]).await;
    for isolation in ["repeatable read", "serializable"] {
        for call in [
            format!(
                "assign_batch(
                   1, '{}', null, false, false, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')",
                set.id
            ),
            "assign_plain('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')".to_owned(),
            "record_events('{}', '{}', '{}', '{}', true, '{}', '{}', '{}', '{}', '{}', '{}')".to_owned(),
            "sweep_reservations(1, 1)".to_owned(),
        ] {
            let mut connection = PgConnection::connect_with(&app.database.options)
                .await
                .unwrap();
            sql::run(
                &mut connection,
                format!("begin isolation level {isolation}"),
            )
            .await
            .unwrap();
            let call = format!("select {call}");
            let error = sql::run(&mut connection, call).await.unwrap_err();
            assert!(
                error.to_string().contains("needs read committed"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn the_database_itself_forbids_to_give_a_code_twice_to_end_it_twice_or_to_change_the_log() {
    let app = TestApp::start().await;
    let set = app.shop().await.multiple("birthday", &["A", "B"]).await;
    let given = set.assign_as("ann", "k").await.expect(201);
    let mut owner = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    let copy = |change: &str| {
        format!(
            "insert into assignments
             select (x).* from (
               select jsonb_populate_record(a, '{change}') as x from assignments a) y"
        )
    };
    // Each row violates only one of the constraints.
    let new_key = r#""key_hash": "01890000-0000-8000-8000-000000000000""#;
    for (change, constraint) in [
        (
            format!(r#"{{"ordinal": 2, "contact_seq": 2, {new_key}}}"#),
            "assignments_pkey",
        ),
        (
            format!(r#"{{"number": 2, "contact_seq": 2, {new_key}}}"#),
            "assignments_card_key",
        ),
        (
            r#"{"number": 2, "ordinal": 2, "contact_seq": 2}"#.to_owned(),
            "assignments_idempotency_key",
        ),
        (
            format!(r#"{{"number": 2, "ordinal": 2, {new_key}}}"#),
            "assignments_contact_key",
        ),
    ] {
        refused_by(constraint, sql::run(&mut owner, copy(&change)).await);
    }

    for event in ["sent", "used"] {
        let uri = format!("/v1/assignments/{}/{event}", given.str("id"));
        set.client.post(&uri, json!({})).await.expect(200);
    }
    // The last entry of the ledger once more, with a different event.
    let entry = |number: i64, assignment: i64, event: &str| {
        format!(
            "insert into ledger_entries (
               tenant_id, set_no, number, assignment_number, event, recorded_at,
               entries, reserved, released, void, sent, used)
             select tenant_id, set_no, {number}, {assignment}, '{event}', recorded_at,
                    entries, reserved, released, void, sent, used
               from ledger_entries
              where event = 'used'"
        )
    };
    for again in ["sent", "used", "released", "void", "expired"] {
        let added = sql::run(&mut owner, entry(4, 1, again)).await;
        refused_by("ledger_entries_stage_key", added);
    }
    let added = sql::run(&mut owner, entry(3, 2, "used")).await;
    refused_by("ledger_entries_pkey", added);
    let added = sql::run(&mut owner, entry(4, 2, "lost")).await;
    refused_by("ledger_entries_event_check", added);

    let mut connection = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    connection
        .execute("set role couponry_app; set couponry.tenant_id = '1'")
        .await
        .unwrap();
    for statement in [
        "update assignments set contact_no = 1",
        "truncate assignments",
        "update assignment_answers set number = 1",
        "update ledger_entries set event = 'released'",
        "truncate ledger_entries",
        "update reservations set expires_at = now()",
        "update cards set code = 'X'",
        "delete from cards",
    ] {
        let error = connection.execute(statement).await.unwrap_err();
        assert!(
            error.to_string().contains("permission denied"),
            "{statement}: {error}"
        );
    }
    // Their rows are deleted with their tenant, and a policy hides them from any other deletion.
    for statement in [
        "delete from ledger_entries",
        "delete from assignment_answers",
        "delete from assignments",
        "delete from contacts",
    ] {
        let deleted = connection.execute(statement).await.unwrap();
        assert_eq!(deleted.rows_affected(), 0, "{statement}");
    }
}
