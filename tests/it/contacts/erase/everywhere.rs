//! Erased contacts: their id is removed everywhere, and everything else stays as it was.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::contacts::activity::{got, path};
use crate::support::by_hand::ByHand;
use crate::support::pages::strings;
use crate::support::shop::Shop;
use crate::support::{TestApp, eventually, sql};

pub(super) const ANN: &str = "ann+1@example.com";

impl Shop {
    /// Erases a contact and waits until the erasure is complete. Returns the pseudonym.
    pub(super) async fn erase_wholly(&self, contact: &str) -> String {
        let erasure = self.erase(contact).await.expect(202);
        let pseudonym = erasure.str("contactId").to_owned();
        self.erased(&pseudonym).await;
        pseudonym
    }

    pub(super) async fn erased(&self, pseudonym: &str) {
        eventually("the contact is erased", async || {
            let erasure = self.erase(pseudonym).await;
            assert_eq!(erasure.str("contactId"), pseudonym);
            let done = erasure.status == 200;
            assert_eq!(
                erasure.body["state"],
                if done { "erased" } else { "erasing" }
            );
            assert_eq!(erasure.body["finishedAt"].is_null(), !done);
            done.then_some(())
        })
        .await;
    }
}

/// The tables that contain the text, each with the number of rows.
pub(super) async fn places(app: &TestApp, text: &str) -> Vec<(String, i64)> {
    let mut owner = app.database.owner.acquire().await.unwrap();
    let tables = "select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'm') order by 1";
    let mut found = Vec::new();
    for table in sql::column::<String>(&mut owner, tables).await {
        let count =
            format!("select count(*) from {table} t where position('{text}' in t::text) > 0");
        let count: i64 = sql::value(&mut owner, count).await;
        if count > 0 {
            found.push((table, count));
        }
    }
    found
}

/// Rolls up the statistics of all sets, here or in the service's task.
async fn roll_up(app: &TestApp) {
    eventually("everything is rolled up", async || {
        let roll_up = "select coalesce(sum(roll_up_statistics(tenant_id, set_no, 1000)), 0)::bigint
                         from (select * from statistics_tails where rolled_up < number offset 0) t";
        app.database.query_value(roll_up).await;
        let left = "select count(*) from statistics_tails where rolled_up < number";
        (app.database.query_value(left).await == 0).then_some(())
    })
    .await;
}

/// Puts the contact's id into every field of a tenant that a caller can write. Returns the ids of its assignments.
async fn scatter(app: &TestApp, shop: &Shop) -> Vec<String> {
    let set = shop.multiple("birthday", &[]).await;
    let codes = json!({"codes": [
        {"code": "A", "attributes": {"for": ANN, ANN: "yes"}},
        {"code": "B", "attributes": {"for": format!("line \"{ANN}\"\\{ANN}")}},
        {"code": "C", "attributes": {"for": "bob"}},
        {"code": "D", "attributes": {"next": format!("not dealt to {ANN}")}},
        "E",
        {"code": format!("{ANN} {}", "x".repeat(300))},
    ]});
    let imports = format!("{}/imports", set.path());
    let import = shop.client.post(&imports, codes).await.expect(201);
    let import = set.ended(import.str("id")).await;
    assert_eq!(
        (&import["success"], &import["errors"]),
        (&json!(5), &json!(1))
    );
    let file = format!("code of {ANN},x\nF,1\n");
    let options = format!(
        "?codeColumn=code%20of%20{}",
        &path(ANN)["/v1/contacts/".len()..]
    );
    let import = set.upload("text/csv", &options, file).await.expect(201);
    set.ended(import.str("id")).await;
    // An import that waits to be applied.
    let waiting = shop.multiple("waiting", &[]).await;
    let waiting = ByHand::store(app, &waiting, "inProgress", &[&["W1", "W2"]]).await;
    let text = json!({"for": ANN}).to_string();
    let chunk = format!(
        "update import_chunks set attributes = array['{{}}', '{text}'] where import_id = '{}'",
        waiting.id
    );
    app.database.execute(&chunk).await;

    let mut given = Vec::new();
    for contact in [ANN, "bob", ANN] {
        let asked = json!({
            "contactId": contact,
            "workflowId": format!("for {ANN}"),
            "nodeId": format!("node.{ANN}"),
            "executionId": format!("run-1:{ANN}:{contact}"),
        });
        let key = format!("key {contact} {}", given.len());
        let answer = set.assign_with(asked, Some(&key)).await.expect(201);
        given.push(answer.str("id").to_owned());
    }
    let reason = json!({"reason": format!("{ANN} bought ({ANN})")});
    set.record_with("sent", &given[0], reason.clone())
        .await
        .expect(200);
    set.record_with("void", &given[1], reason.clone())
        .await
        .expect(200);
    let workflow = format!("for {ANN}").replace(' ', "%20").replace('+', "%2B");
    shop.workflow(&workflow, "active", &[&set]).await;
    let webhook = shop.webhook("https://example.com/").await;
    app.database.execute(&webhook.writing(1, 1)).await;
    let text = json!({"failure": format!("the first row has \"{ANN}\"")});
    // Refers to a number that the ledger has not reached, so that the row stays.
    let events = format!(
        "update webhook_deliveries set payload = '{text}' where payload is null or event_type = 'import.finished';
         insert into webhook_events (tenant_id, set_no, number, event_type, payload)
         select tenant_id, 1, 1000, 'import.finished', '{text}'
           from (select max(tenant_id) as tenant_id from tenants) t"
    );
    app.database.execute(&events).await;
    let withdrawal = json!({"codes": ["E"], "reason": format!("leaked by {ANN}")});
    let uri = format!("{}/coupons/withdraw", set.path());
    shop.client.post(&uri, withdrawal).await.expect(200);
    given
}

#[tokio::test]
async fn the_id_of_an_erased_contact_is_in_no_table_and_all_else_is_as_it_was() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let other = app.shop().await;
    let given = scatter(&app, &shop).await;
    roll_up(&app).await;
    let everywhere = [
        ("assignments", 3),
        ("cards", 3),
        ("contacts", 1),
        ("import_chunks", 1),
        ("import_errors", 1),
        ("imports", 1),
        ("ledger_entries", 3),
        ("statistics_sources", 1),
        ("webhook_deliveries", 1),
        ("webhook_events", 1),
        ("workflow_sets", 1),
        ("workflows", 1),
    ];
    let everywhere: Vec<_> = everywhere
        .map(|(table, count)| (table.to_owned(), count))
        .into();
    assert_eq!(places(&app, ANN).await, everywhere);
    // In another tenant the id is another contact.
    scatter(&app, &other).await;
    roll_up(&app).await;
    let statistics = shop.client.get("/v1/statistics").await.expect(200).text;

    let pseudonym = shop.erase_wholly(ANN).await;
    assert_eq!(places(&app, ANN).await, everywhere, "the other tenant's");
    other.erase_wholly(ANN).await;
    assert_eq!(places(&app, ANN).await, []);

    let after = shop.client.get("/v1/statistics").await.expect(200).text;
    assert_eq!(after, statistics.replace(ANN, &pseudonym));
    // The sums of the tenants contain each assignment once again.
    roll_up(&app).await;
    let surplus =
        "select (select sum(f.assigned)::bigint from statistics_tenant_flows f) - sum(m.assigned)::bigint
                     from (
                       select distinct on (tenant_id, set_no) assigned
                         from statistics_checkpoints
                        order by tenant_id, set_no, bucket desc
                     ) m";
    assert_eq!(app.database.query_value(surplus).await, 0);
    let uri = format!("{}/activity", path(&pseudonym));
    let entries = shop.client.get(&uri).await.expect(200);
    let entries = entries.results();
    assert_eq!(strings(entries, "id"), [&*given[2], &*given[0]]);
    assert_eq!(strings(entries, "couponCode"), ["C", "A"]);
    assert_eq!(strings(entries, "state"), ["assigned", "sent"]);
    assert_eq!(
        entries[1]["executionId"],
        format!("run-1:{pseudonym}:{pseudonym}")
    );
    let attributes = json!({"for": pseudonym, &*pseudonym: "yes"});
    assert_eq!(entries[1]["attributes"], attributes);
    let of_bob = shop
        .client
        .get(&format!("/v1/assignments/{}", given[1]))
        .await;
    let of_bob = of_bob.expect(200).body;
    assert_eq!(of_bob["contactId"], "bob");
    assert_eq!(of_bob["workflowId"], format!("for {pseudonym}"));
    assert_eq!(
        of_bob["attributes"]["for"],
        format!("line \"{pseudonym}\"\\{pseudonym}")
    );
    assert_eq!(
        of_bob["events"][1]["reason"],
        format!("{pseudonym} bought ({pseudonym})")
    );
    let before = shop.client.get(&format!("{}/activity", path(ANN))).await;
    assert!(before.expect(200).results().is_empty());
}

#[tokio::test]
async fn an_id_is_replaced_where_it_stands_by_itself_and_a_short_one_in_its_own_texts_alone() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("welcome", "W", None).await;
    let texts = [
        "ann@shop",
        "joann@shop",
        "ann@shop2",
        "(ann@shop)",
        "ANN@SHOP",
        "_ann@shop_ann@shop.",
        "äann@shop",
    ];
    for (contact, prefix) in [("ann@shop", ""), ("bob@shop", ""), ("42", "wf-42 wf-142 ")] {
        for text in texts {
            let asked = json!({"contactId": contact, "workflowId": format!("{prefix}{text}")});
            set.assign_with(asked, None).await.expect(201);
        }
    }
    let asked = json!({"contactId": "bob@shop", "workflowId": "wf-42"});
    set.assign_with(asked, None).await.expect(201);
    let workflows = async |contact: &str| {
        let list = format!("{}/activity", path(contact));
        let list = shop.client.get(&list).await.expect(200);
        let mut list = strings(list.results(), "workflowId");
        list.reverse();
        list
    };
    let ann = shop.erase_wholly("ann@shop").await;
    let mut expected = [
        ann.clone(),
        "joann@shop".to_owned(),
        "ann@shop2".to_owned(),
        format!("({ann})"),
        "ANN@SHOP".to_owned(),
        format!("_{ann}_{ann}."),
        format!("ä{ann}"),
    ]
    .to_vec();
    assert_eq!(workflows(&ann).await, expected);
    let number = shop.erase_wholly("42").await;
    let of_number: Vec<_> = expected
        .iter()
        .map(|text| format!("wf-{number} wf-142 {text}"))
        .collect();
    assert_eq!(workflows(&number).await, of_number);
    expected.push("wf-42".to_owned());
    assert_eq!(workflows("bob@shop").await, expected);
}

#[tokio::test]
async fn whoever_comes_with_the_id_later_is_a_new_contact() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["C1", "C2", "C3"]).await;
    set.patch(json!({"onRepeat": "refuse"})).await.expect(200);
    set.assign_as(ANN, "first").await.expect(201);
    let pseudonym = shop.erase_wholly(ANN).await;
    assert_eq!(
        got(&set.assign_as(ANN, "first").await),
        "422 idempotency-key-reused"
    );
    assert_eq!(got(&set.assign_as(ANN, "second").await), "assigned C2");
    // The erased contact still holds its assignments.
    assert_eq!(
        set.assign(&pseudonym).await.refusal(),
        "409 already-assigned"
    );
    let second = shop.erase_wholly(ANN).await;
    assert_ne!(second, pseudonym);
    assert_eq!(places(&app, ANN).await, []);

    // An unknown contact may still occur in texts; short ids cause no problem.
    let asked = json!({"contactId": "bob", "executionId": format!("friend of {ANN}")});
    set.assign_with(asked, None).await.expect(201);
    for unknown in [ANN, "x"] {
        let pseudonym = shop.erase_wholly(unknown).await;
        assert!(pseudonym.starts_with("erased-"));
        assert_eq!(
            shop.erase(&pseudonym).await.expect(200).str("contactId"),
            pseudonym
        );
    }
    assert_eq!(places(&app, ANN).await, []);
}

#[tokio::test]
async fn to_erase_one_is_to_erase_all_that_are_one_with_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["C1", "C2", "C3"]).await;
    let all = ["visitor-17", ANN, "old name of ann+1@example.com"];
    for contact in all {
        let asked = json!({"contactId": contact, "executionId": format!("of {contact}")});
        set.assign_with(asked, None).await.expect(201);
    }
    shop.merge(all[0], all[1]).await.expect(200);
    shop.merge(all[2], all[1]).await.expect(200);
    let pseudonym = shop.erase_wholly(all[0]).await;
    for contact in all {
        assert_eq!(places(&app, contact).await, [], "{contact}");
    }
    let uri = format!("{}/activity", path(&pseudonym));
    let entries = shop.client.get(&uri).await.expect(200);
    assert_eq!(strings(entries.results(), "couponCode"), ["C3", "C2", "C1"]);
    for entry in entries.results() {
        assert_eq!(entry["contactId"], *pseudonym);
        assert_eq!(entry["executionId"], format!("of {pseudonym}"));
    }
    // The other contacts have one pseudonym each, which leads to the same erasure.
    let names = "select contact_id from contacts where erased";
    let mut owner = app.database.owner.acquire().await.unwrap();
    let names: Vec<String> = sql::column(&mut owner, names).await;
    assert_eq!(names.len(), 3);
    for name in &names {
        assert_eq!(
            shop.erase(name).await.expect(200).str("contactId"),
            pseudonym
        );
        for (contact, into) in [(&**name, "bob"), ("bob", name)] {
            let answer = shop.merge(contact, into).await;
            assert_eq!(answer.refusal(), "409 contact-erased");
        }
    }
}

#[tokio::test]
async fn what_is_on_its_way_when_a_contact_is_erased_is_found_and_a_stop_resumes() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["C1", "C2"]).await;
    set.assign(ANN).await.expect(201);
    // A batch that has read the contact and is still in progress.
    let mut batch = app.database.owner.begin().await.unwrap();
    let given = format!(
        "select from coupon_sets for no key update;
         insert into assignments (number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no, lot_no,
                                  ordinal, contact_seq, execution_id)
         select 2, contact_no, now(), gen_random_uuid(), tenant_id, set_no, set_no, 1, 2, 2, 'of {ANN}'
           from assignments"
    );
    sql::run(&mut batch, given).await.unwrap();
    let erasure = shop.erase(ANN).await.expect(202);
    let pseudonym = erasure.str("contactId").to_owned();
    app.database.wait_for_lock_waiters(1).await;
    let again = shop.erase(ANN).await.expect(202);
    assert_eq!(again.body, erasure.body);
    assert_eq!(places(&app, ANN).await, [("erasures".to_owned(), 1)]);
    app.app.stop().await;
    batch.commit().await.unwrap();
    assert_eq!(places(&app, ANN).await.len(), 2);

    let next = app.replica();
    shop.at(&next).erased(&pseudonym).await;
    assert_eq!(places(&app, ANN).await, []);
    let uri = format!("{}/activity", path(&pseudonym));
    let entries = shop.at(&next).client.get(&uri).await.expect(200);
    assert_eq!(
        entries.results()[0]["executionId"],
        format!("of {pseudonym}")
    );
}

#[tokio::test]
async fn each_row_of_tables_that_take_many_portions_is_looked_at() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let one = shop.multiple("one", &["A"]).await;
    shop.multiple("two", &["B"]).await;
    one.assign("bob").await.expect(201);
    // Otherwise the roll-up might still read the rows that are inserted now.
    roll_up(&app).await;
    let many = format!(
        "insert into cards (tenant_id, set_no, lot_no, ordinal, line, code, attributes)
         select tenant_id, set_no, 1, n, n, 'X' || n,
                case when n % 9999 = 0 then jsonb_build_object('for', '{ANN}') end
           from coupon_sets, generate_series(2, 50001) n;
         update lots set size = 50001;
         insert into assignments (number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no, lot_no,
                                  ordinal, contact_seq, node_id)
         select n, contact_no, now(), gen_random_uuid(), tenant_id, set_no, set_no, 1, n, n,
                case when n % 9999 = 0 then '{ANN}' end
           from assignments, generate_series(2, 50000) n;
         insert into import_errors (tenant_id, import_id, row_no, line, code, reason)
         select tenant_id, id, n, n, case when n % 9999 = 0 then '{ANN}' else 'x' end, 'tooLong'
           from imports, generate_series(1, 50000) n"
    );
    app.database.execute(&many).await;
    let table = |name: &str, count| (name.to_owned(), count);
    let everywhere = [
        table("assignments", 5),
        table("cards", 10),
        table("import_errors", 10),
    ];
    let mut found = places(&app, ANN).await;
    // The task of the service may have rolled up the new assignments by now.
    found.retain(|(table, _)| table != "statistics_sources");
    assert_eq!(found, everywhere);
    shop.erase_wholly(ANN).await;
    assert_eq!(places(&app, ANN).await, []);
}

#[tokio::test]
async fn the_log_can_be_rewritten_only_while_a_contact_is_erased_and_only_in_its_texts() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let codes = json!({"codes": [{"code": "A", "attributes": {"n": "1"}}, "B"]});
    let import = shop
        .client
        .post(&format!("{}/imports", set.path()), codes)
        .await;
    set.ended(import.expect(201).str("id")).await;
    let given = set.assign("ann").await.expect(201);
    set.record_with("sent", given.str("id"), json!({"reason": "why"}))
        .await
        .expect(200);
    let mut service = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(
        &mut service,
        "set role couponry_app; set couponry.tenant_id = '1'",
    )
    .await
    .unwrap();
    let texts = [
        "update assignments set workflow_id = 'x', node_id = 'x', execution_id = 'x'",
        "update ledger_entries set reason = 'x'",
        "update cards set attributes = '{}'",
    ];
    let others = [
        "update assignments set contact_no = 1",
        "update assignments set assigned_at = now()",
        "update ledger_entries set event = 'used'",
        "update cards set code = 'x'",
    ];
    let mut check = async |statement: &str, allowed: bool| {
        sql::run(&mut service, "begin").await.unwrap();
        let outcome = sql::run(&mut service, statement).await;
        sql::run(&mut service, "rollback").await.unwrap();
        match outcome {
            Ok(()) => assert!(allowed, "{statement}"),
            Err(error) => {
                assert!(!allowed, "{statement}: {error}");
                assert!(
                    error.to_string().contains("permission denied"),
                    "{statement}: {error}"
                );
            }
        }
    };
    for statement in texts.iter().chain(&others) {
        check(statement, false).await;
    }
    // An erasure in progress.
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, "select from coupon_sets for no key update")
        .await
        .unwrap();
    let erasure = shop.erase("ann").await.expect(202);
    for statement in texts {
        check(statement, true).await;
    }
    for statement in others {
        check(statement, false).await;
    }
    holder.commit().await.unwrap();
    shop.erased(erasure.str("contactId")).await;
    for statement in texts {
        check(statement, false).await;
    }
}
