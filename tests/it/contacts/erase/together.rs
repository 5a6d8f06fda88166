//! Erasing many contacts together: one search of the texts for all, fairness between tenants, and bounded batches.

use serde_json::json;

use crate::contacts::activity::path;
use crate::contacts::erase::everywhere::{ANN, places};
use crate::support::pages::strings;
use crate::support::{TestApp, sql};

#[tokio::test]
async fn erasures_that_come_while_one_is_under_way_share_one_search_and_each_keeps_its_own_name() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("welcome", "W", None).await;
    let mut contacts: Vec<String> = (0..8).map(|n| format!("{n:02}{ANN}")).collect();
    // An id that contains another one.
    contacts.push(format!("friend of {}", contacts[0]));
    let all = contacts.join(", ");
    let asked = json!({"contactId": "bob", "executionId": all});
    set.assign_with(asked, None).await.expect(201);
    let own =
        json!({"contactId": contacts[3], "workflowId": format!("{} {}", contacts[3], contacts[4])});
    set.assign_with(own, None).await.expect(201);

    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, "select from coupon_sets for no key update")
        .await
        .unwrap();
    let mut names = Vec::new();
    for contact in &contacts {
        let erasure = shop.erase(contact).await.expect(202);
        names.push(erasure.str("contactId").to_owned());
        if names.len() == 1 {
            app.database.wait_for_lock_waiters(1).await;
        }
    }
    holder.commit().await.unwrap();
    for name in &names {
        shop.erased(name).await;
    }
    let searches = "select count(distinct finished_at) from erasures";
    assert_eq!(app.database.query_value(searches).await, 2);
    assert_eq!(places(&app, ANN).await, []);
    let of = async |contact: &str, name: &str| {
        let list = format!("{}/activity", path(contact));
        let list = shop.client.get(&list).await.expect(200);
        strings(list.results(), name).remove(0)
    };
    // The first contact was erased before the others, and so was its part of the longer name.
    let mut expected = names.clone();
    expected[8] = format!("friend of {}", names[0]);
    assert_eq!(of("bob", "executionId").await, expected.join(", "));
    let expected = format!("{} {}", names[3], names[4]);
    assert_eq!(of(&names[3], "workflowId").await, expected);
}

#[tokio::test]
async fn of_names_that_have_others_in_them_the_longest_is_replaced() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("welcome", "W", None).await;
    let contacts = [ANN.to_owned(), format!("friend of {ANN}")];
    let asked = json!({"contactId": "bob", "executionId": contacts.join(", ")});
    set.assign_with(asked, None).await.expect(201);
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, "select from coupon_sets for no key update")
        .await
        .unwrap();
    shop.erase("first").await.expect(202);
    app.database.wait_for_lock_waiters(1).await;
    let mut names = Vec::new();
    for contact in &contacts {
        let erasure = shop.erase(contact).await.expect(202);
        names.push(erasure.str("contactId").to_owned());
    }
    holder.commit().await.unwrap();
    for name in &names {
        shop.erased(name).await;
    }
    let list = format!("{}/activity", path("bob"));
    let list = shop.client.get(&list).await.expect(200);
    assert_eq!(strings(list.results(), "executionId"), [names.join(", ")]);
}

#[tokio::test]
async fn a_tenant_with_many_erasures_that_cannot_go_on_keeps_no_other_waiting() {
    let app = TestApp::start().await;
    let [busy, other] = [app.shop().await, app.shop().await];
    busy.single("welcome", "W", None).await;
    other.single("welcome", "W", None).await;
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(
        &mut holder,
        "select from coupon_sets where tenant_id = 1 for no key update",
    )
    .await
    .unwrap();
    app.database
        .execute(
            "insert into erasures (tenant_id, pseudonym, contact_ids, requested_at)
             select 1, 'erased-' || n, array['contact ' || n], now() - interval '1 day' from generate_series(1, 500) n",
        )
        .await;
    other.erase_wholly(ANN).await;
    let left = "select count(*) from erasures where finished_at is null";
    assert_eq!(app.database.query_value(left).await, 500);
    holder.commit().await.unwrap();
}

#[tokio::test]
async fn a_contact_with_many_assignments_is_rewritten_in_portions_that_a_crash_undoes_one_by_one() {
    let app = TestApp::start().await;
    let set = app.shop().await.single("welcome", "W", None).await;
    set.assign("ann").await.expect(201);
    app.app.stop().await;
    app.database
        .execute(
            "insert into assignments (
               number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no, lot_no, ordinal, contact_seq,
               workflow_id)
             select n, contact_no, now(), gen_random_uuid(), 1, 1, 1, 0, n, n, 'of ann'
               from contacts, generate_series(2, 5001) n",
        )
        .await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    sql::run(&mut owner, "select roll_up_statistics(1, 1, 10000)")
        .await
        .unwrap();
    assert_eq!(places(&app, "of ann").await.len(), 2);
    sql::run(&mut owner, "select erase_contact(1, 'ann')")
        .await
        .unwrap();
    let left = "select count(*) from assignments where workflow_id = 'of ann'";
    let mut before = 5000;
    loop {
        sql::run(&mut owner, "begin").await.unwrap();
        sql::value::<bool>(&mut owner, "select erase_portion(1)").await;
        sql::run(&mut owner, "rollback").await.unwrap();
        assert_eq!(app.database.query_value(left).await, before);
        if !sql::value::<bool>(&mut owner, "select erase_portion(1)").await {
            break;
        }
        let now = app.database.query_value(left).await.as_i64().unwrap();
        assert!(before - now <= 2000, "{before} and then {now}");
        before = now;
    }
    assert_eq!(places(&app, "of ann").await, []);
    let open = "select count(*) from erasures where finished_at is null";
    assert_eq!(app.database.query_value(open).await, 0);
}
