//! Locating a code: every set that has it, its status there, and its history.

use serde_json::{Value, json};

use crate::coupons::list::colourful;
use crate::support::pages::walk;
use crate::support::rows::hold_sweeper;
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, sql};

impl Shop {
    /// The sets that have a code; the code is URL-encoded.
    async fn find_code(&self, code: &str) -> Vec<Value> {
        let uri = format!("/v1/coupons?code={code}");
        self.client.get(&uri).await.expect(200).results().clone()
    }
}

/// The ids of the sets of these results.
fn sets(found: &[Value]) -> Vec<&str> {
    found
        .iter()
        .map(|found| found["couponSet"]["id"].as_str().unwrap())
        .collect()
}

/// The contacts of the assignments of a result, with their states, as in "ann assigned".
fn holders(found: &Value) -> Vec<String> {
    let assignments = found["assignments"].as_array().unwrap().iter();
    assignments
        .map(|assignment| {
            let [contact, state] =
                ["contactId", "state"].map(|name| assignment[name].as_str().unwrap());
            format!("{contact} {state}")
        })
        .collect()
}

/// Assigns the next code of a set to a contact, and releases it.
async fn give_and_take_back(set: &CouponSet, contact: &str) {
    let given = set.assign(contact).await.expect(201);
    set.release(given.str("id")).await.expect(200);
}

#[tokio::test]
async fn every_set_that_has_the_code_is_found_with_its_holder_and_its_history() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let first = shop.multiple("first", &["A", "X"]).await;
    let single = shop.single("single", "X", Some(5)).await;
    let without = shop.multiple("without", &["x", "XX", "B"]).await;
    let newest = shop.multiple("newest", &["X"]).await;
    other
        .multiple("theirs", &["X"])
        .await
        .assign("eve")
        .await
        .expect(201);
    without.assign("nobody").await.expect(201);
    first.assign("a").await.expect(201);
    let asked = json!({"contactId": "ann", "workflowId": "w", "reserveForSeconds": 600});
    let held = first.assign_with(asked, None).await.expect(201);
    first.confirm(held.str("id")).await.expect(200);
    let remark = json!({"reason": "bought", "occurredAt": "2026-01-02T03:04:05Z"});
    first
        .record_with("used", held.str("id"), remark)
        .await
        .expect(200);
    let one = single.assign("ann").await.expect(201);
    let two = single.assign("bob").await.expect(201);

    let found = shop.find_code("X").await;
    assert_eq!(sets(&found), [&newest.id, &single.id, &first.id]);
    let list = shop
        .client
        .get(&format!("{}/coupons?prefix=X", first.path()))
        .await;
    assert_eq!(found[2]["coupon"], list.expect(200).results()[0]);
    assert_eq!(found[2]["coupon"]["status"], "used");
    assert_eq!(found[2]["coupon"]["contactId"], "ann");
    assert_eq!(
        found[2]["assignments"],
        json!([first.assignment(held.str("id")).await])
    );
    assert_eq!(
        found[2]["assignments"][0]["events"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        found[1],
        json!({
            "couponSet": {"id": single.id, "name": "single", "type": "single", "state": "active", "timezone": "UTC", "deletedAt": null},
            "coupon": null,
            "assignments": [
                single.assignment(two.str("id")).await,
                single.assignment(one.str("id")).await,
            ],
            "assignmentsUrl": null,
        })
    );
    assert_eq!(found[0]["couponSet"]["name"], "newest");
    assert_eq!(found[0]["coupon"]["status"], "available");
    assert_eq!(found[0]["coupon"]["contactId"], Value::Null);
    assert_eq!(found[0]["assignments"], json!([]));
    // Surrounding blanks are not part of a code; its case is.
    assert_eq!(shop.find_code("%20X%20").await, found);
    assert_eq!(sets(&shop.find_code("x").await), [&without.id]);
    assert_eq!(shop.find_code("Z").await, Vec::<Value>::new());
    assert_eq!(other.find_code("A").await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_has_become_of_a_code_is_what_the_list_of_its_set_says() {
    let app = TestApp::start().await;
    let (set, _) = colourful(&app).await;
    let list = set
        .client
        .get(&format!("{}/coupons", set.path()))
        .await
        .expect(200);
    let mut held = 0;
    for coupon in list.results() {
        let uri = format!("/v1/coupons?code={}", coupon["code"].as_str().unwrap());
        let found = set.client.get(&uri).await.expect(200);
        assert_eq!(found.results().len(), 1);
        let found = &found.results()[0];
        assert_eq!(found["coupon"], *coupon);
        if coupon["assignmentId"].is_string() {
            assert_eq!(found["assignments"][0]["id"], coupon["assignmentId"]);
            held += 1;
        }
        for assignment in found["assignments"].as_array().unwrap() {
            let id = assignment["id"].as_str().unwrap();
            assert_eq!(*assignment, set.assignment(id).await);
        }
    }
    assert!(held >= 5);
    // A lot that is being filled shows nothing.
    let filling = set.client.get("/v1/coupons?code=FILLING").await.expect(200);
    assert_eq!(filling.results().len(), 0);
}

#[tokio::test]
async fn a_code_that_was_imported_several_times_is_found_once_with_its_whole_history() {
    let app = TestApp::start().await;
    hold_sweeper(&app).await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["X"]).await;
    for contact in ["ann", "bob"] {
        give_and_take_back(&set, contact).await;
    }
    set.withdraw(&["X"]).await;
    let found = shop.find_code("X").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["coupon"]["status"], "withdrawn");
    assert_eq!(holders(&found[0]), ["bob released", "ann released"]);
    // The code is imported again; imports that are cancelled or in progress change nothing.
    let again = set.upload("text/plain", "", "X").await.expect(201);
    set.ended(again.str("id")).await;
    give_and_take_back(&set, "cat").await;
    let kept = set.assign("dan").await.expect(201);
    let others = "insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
                  values (1, 1, 98, gen_random_uuid(), 1, 'cancelled'), (1, 1, 99, gen_random_uuid(), 1, 'filling');
                  insert into cards (tenant_id, set_no, lot_no, ordinal, line, occurrence, code)
                  values (1, 1, 98, 1, 1, 98, 'X'), (1, 1, 99, 1, 1, 99, 'X')";
    app.database.execute(others).await;
    let found = shop.find_code("X").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["coupon"]["assignmentId"], kept.body["id"]);
    assert_eq!(
        holders(&found[0]),
        [
            "dan assigned",
            "cat released",
            "bob released",
            "ann released"
        ]
    );
    assert_eq!(found[0]["assignmentsUrl"], Value::Null);
}

#[tokio::test]
async fn of_more_than_20_assignments_the_latest_are_shown_and_the_list_has_all() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // A code that must be encoded in a reference.
    let (code, encoded) = ("50% & more/é", "50%25%20%26%20more%2F%C3%A9");
    let set = shop.multiple("set", &[code]).await;
    let single = shop.single("single", code, None).await;
    for n in 0..20 {
        give_and_take_back(&set, &format!("c{n}")).await;
        single.assign(&format!("c{n}")).await.expect(201);
    }
    for found in shop.find_code(encoded).await {
        assert_eq!(holders(&found).len(), 20);
        assert_eq!(found["assignmentsUrl"], Value::Null);
    }
    set.assign("last").await.expect(201);
    single.assign("last").await.expect(201);
    let found = shop.find_code(encoded).await;
    assert_eq!(sets(&found), [&single.id, &set.id]);
    for found in &found {
        let shown = holders(found);
        assert_eq!(shown.len(), 20);
        assert_eq!(shown[0], "last assigned");
        assert!(shown[19].starts_with("c1 "), "{shown:?}");
        let all = shop
            .client
            .get(found["assignmentsUrl"].as_str().unwrap())
            .await;
        let all = all.expect(200).results().clone();
        assert_eq!(all.len(), 21);
        for (assignment, shown) in all.iter().zip(found["assignments"].as_array().unwrap()) {
            assert_eq!(assignment["id"], shown["id"]);
        }
    }
}

#[tokio::test]
async fn a_set_that_ignores_case_has_the_code_in_any_case() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let any = shop
        .set(json!({"name": "any", "type": "multiple", "ignoreCase": true}))
        .await;
    any.fill(&["Été-1", "B"]).await;
    let exact = shop.multiple("exact", &["Été-1"]).await;
    give_and_take_back(&any, "ann").await;
    let (as_written, upper) = ("%C3%89t%C3%A9-1", "%C3%89T%C3%89-1");
    assert_eq!(
        sets(&shop.find_code(as_written).await),
        [&exact.id, &any.id]
    );
    let found = shop.find_code(upper).await;
    assert_eq!(sets(&found), [&any.id]);
    assert_eq!(found[0]["coupon"]["code"], "Été-1");
    assert_eq!(holders(&found[0]), ["ann released"]);
    // It is withdrawn and imported again in different case: one code, as now written, with one history.
    any.withdraw(&["Été-1"]).await;
    any.fill(&["éTÉ-1"]).await;
    any.assign("b").await.expect(201);
    any.assign("bob").await.expect(201);
    for code in [as_written, upper, "%C3%A9t%C3%A9-1"] {
        let found = shop.find_code(code).await;
        let found = found
            .iter()
            .find(|found| found["couponSet"]["id"] == any.id);
        let found = found.expect("it is found in any case");
        assert_eq!(found["coupon"]["code"], "éTÉ-1");
        assert_eq!(found["coupon"]["contactId"], "bob");
        assert_eq!(holders(found), ["bob assigned", "ann released"]);
    }
}

#[tokio::test]
async fn the_history_of_a_deleted_set_is_still_found() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["X"]).await;
    let given = set.assign("ann").await.expect(201);
    set.delete().await.expect(204);
    let found = shop.find_code("X").await;
    assert_eq!(sets(&found), [&set.id]);
    assert!(found[0]["couponSet"]["deletedAt"].is_string());
    assert_eq!(found[0]["coupon"]["contactId"], "ann");
    assert_eq!(found[0]["assignments"][0]["id"], given.body["id"]);
}

#[tokio::test]
async fn the_sets_come_by_pages() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut expected = Vec::new();
    for n in 0..9 {
        let set = match n % 4 {
            0 => shop.multiple(&format!("set {n}"), &["A", "X"]).await,
            1 => shop.single(&format!("set {n}"), "X", None).await,
            2 => {
                let body =
                    json!({"name": format!("set {n}"), "type": "multiple", "ignoreCase": true});
                let set = shop.set(body).await;
                set.fill(&["x"]).await;
                set
            }
            _ => {
                shop.multiple(&format!("set {n}"), &["Y"]).await;
                continue;
            }
        };
        expected.insert(0, set.id);
    }
    for limit in [1, 2, 3, 7, 1000] {
        let pages = walk(&shop.client, &format!("/v1/coupons?code=X&limit={limit}")).await;
        assert_eq!(pages.len(), 7_usize.div_ceil(limit));
        assert_eq!(sets(&pages.concat()), expected, "by {limit}");
    }
}

#[tokio::test]
async fn a_question_without_a_code_or_with_more_than_one_is_400() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let long = format!("code={}", "x".repeat(256));
    for query in [
        "",
        "code=",
        "code=%20",
        "code=a%00",
        "code=a%0Ab",
        "code=a&code=b",
        &long,
        "code=a&limit=0",
        "code=a&cursor=x",
        "code=a&cursor=eyJrZXkiOiJhIiwiYmFjayI6ZmFsc2V9",
        "code=a&prefix=b",
    ] {
        let answer = shop.client.get(&format!("/v1/coupons?{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
    assert_eq!(shop.find_code(&"x".repeat(255)).await, Vec::<Value>::new());
}

/// Maximum number of pages read to find a code in three sets and its assignments.
const MAX_PAGES: i64 = 150;

#[tokio::test]
async fn a_code_is_found_without_reading_the_sets_also_before_any_statistics() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for n in 0..3 {
        shop.set(json!({"name": format!("set {n}"), "type": "multiple", "ignoreCase": n == 2}))
            .await;
    }
    // Sets with many codes, half of them assigned, and no table analyzed.
    let fill = "alter table cards set (autovacuum_enabled = false);
        alter table assignments set (autovacuum_enabled = false);
        alter table lots set (autovacuum_enabled = false);
        insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
        select 1, s, 1, gen_random_uuid(), 30000, 'open' from generate_series(1, 3) s;
        insert into cards (tenant_id, set_no, lot_no, ordinal, line, code, folded)
        select 1, s, 1, n, n, 'CODE-' || n, case s when 3 then 'code-' || n end
          from generate_series(1, 3) s, generate_series(1, 30000) n;
        insert into contacts (tenant_id, contact_id) values (1, 'ann');
        insert into assignments (
          number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no, lot_no, ordinal, contact_seq)
        select n, 1, now(), gen_random_uuid(), 1, s, s, 1, n, s * 100000 + n
          from generate_series(1, 3) s, generate_series(1, 15000) n";
    app.database.execute(fill).await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    for code in ["CODE-7", "CODE-15000", "CODE-29999", "NONE"] {
        let found = shop.find_code(code).await;
        assert_eq!(found.len(), if code == "NONE" { 0 } else { 3 });
        let handed_out = !["CODE-29999", "NONE"].contains(&code);
        assert!(
            found
                .iter()
                .all(|found| holders(found).len() == usize::from(handed_out))
        );
        let explain = format!(
            "explain (analyze, buffers, format json)
             select code_assignments(1, p.set_no, '{code}', lower('{code}'), 21)
               from code_places(1, '{code}', lower('{code}'), 0, 2147483647, 51) p"
        );
        // The first call of a connection reads the catalog too.
        sql::run(&mut owner, &*explain).await.unwrap();
        let plan: Value = sql::value(&mut owner, explain).await;
        let blocks = |name: &str| plan[0]["Plan"][name].as_i64().unwrap();
        let pages = blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
        assert!(pages < MAX_PAGES, "{pages} pages for {code}");
    }
}
