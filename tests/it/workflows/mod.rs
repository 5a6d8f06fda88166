//! Workflows: the engine registers which sets each uses, and the sets list their workflows.

use axum::http::Method;
use base64::Engine as _;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::pages::{strings, walk};
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, sql};

const WORKFLOWS: &str = "/v1/workflows";
const NO_SUCH_ID: &str = "01900000-0000-7000-8000-000000000000";

impl Shop {
    async fn put_workflow(&self, id: &str, body: Value) -> Answer {
        let uri = format!("{WORKFLOWS}/{id}");
        self.client.json(Method::PUT, &uri, &[], body).await
    }

    /// Puts a workflow in this state that uses these sets.
    pub async fn workflow(&self, id: &str, state: &str, sets: &[&CouponSet]) -> Value {
        let body = workflow(&format!("The {id}"), state, sets);
        let answer = self.put_workflow(id, body).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        answer.body
    }

    async fn read_workflow(&self, id: &str) -> Answer {
        self.client.get(&format!("{WORKFLOWS}/{id}")).await
    }
}

fn workflow(name: &str, state: &str, sets: &[&CouponSet]) -> Value {
    let sets: Vec<&str> = sets.iter().map(|set| set.id.as_str()).collect();
    json!({"name": name, "state": state, "couponSetIds": sets})
}

/// The workflows that use a set, as in "active mail".
async fn users(set: &CouponSet) -> Vec<String> {
    let set = set.read().await;
    let users = set["usedInWorkflows"].as_array().unwrap().iter();
    users
        .map(|user| {
            let [id, name, state] = ["id", "name", "state"].map(|member| &user[member]);
            assert_eq!(*name, format!("The {}", id.as_str().unwrap()));
            format!("{} {}", state.as_str().unwrap(), id.as_str().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_workflow_is_new_once_and_replaced_whole_after_that() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let (one, two) = (
        shop.multiple("one", &[]).await,
        shop.multiple("two", &[]).await,
    );
    let said = workflow("Birthday mail", "draft", &[&two, &one]);
    let made = shop.put_workflow("mail", said.clone()).await.expect(201);
    for (member, value) in said.as_object().unwrap() {
        assert_eq!(made.body[member], *value, "{member}");
    }
    assert_eq!(made.str("id"), "mail");
    assert_eq!(made.body["updatedAt"], made.body["createdAt"]);
    assert_eq!(shop.read_workflow("mail").await.expect(200).body, made.body);

    let again = shop.put_workflow("mail", said).await.expect(200);
    let mut expected = made.body.clone();
    expected["updatedAt"] = again.body["updatedAt"].clone();
    assert_eq!(again.body, expected);

    let said = workflow("Mail", "active", &[&one]);
    let replaced = shop.put_workflow("mail", said.clone()).await.expect(200);
    for (member, value) in said.as_object().unwrap() {
        assert_eq!(replaced.body[member], *value, "{member}");
    }
    assert_eq!(replaced.body["createdAt"], made.body["createdAt"]);
    assert!(replaced.str("updatedAt") > made.str("updatedAt"));
    assert_eq!(users(&two).await, Vec::<String>::new());
    // The same id in another shop is another workflow.
    assert_eq!(other.read_workflow("mail").await.refusal(), "404 not-found");
    other
        .put_workflow("mail", workflow("Ours", "paused", &[]))
        .await
        .expect(201);
    assert_eq!(
        shop.read_workflow("mail").await.expect(200).body,
        replaced.body
    );

    let uri = format!("{WORKFLOWS}/mail");
    shop.client.delete(&uri).await.expect(204);
    assert_eq!(shop.client.delete(&uri).await.refusal(), "404 not-found");
    assert_eq!(shop.client.get(&uri).await.refusal(), "404 not-found");
    other.read_workflow("mail").await.expect(200);
    shop.put_workflow("mail", workflow("Mail", "draft", &[]))
        .await
        .expect(201);
}

#[tokio::test]
async fn ids_are_any_text_that_requests_for_codes_may_bring() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("set", "S", None).await;
    let long = ["x".repeat(255), "%C3%A9".repeat(255)];
    for (path, id) in [
        ("birthday-mail", "birthday-mail".to_owned()),
        ("a%2Fb", "a/b".to_owned()),
        ("a%3Fb%23c&d+e=f", "a?b#c&d+e=f".to_owned()),
        ("100%25", "100%".to_owned()),
        ("%F0%9F%8E%82%20x", "🎂 x".to_owned()),
        ("%20padded%20", "padded".to_owned()),
        (NO_SUCH_ID, NO_SUCH_ID.to_owned()),
        (&long[0], "x".repeat(255)),
        (&long[1], "é".repeat(255)),
    ] {
        let made = shop
            .put_workflow(path, workflow("w", "active", &[&set]))
            .await;
        assert_eq!(made.expect(201).str("id"), id);
        assert_eq!(shop.read_workflow(path).await.expect(200).str("id"), id);
        let asked = json!({"contactId": "ann", "workflowId": id});
        let given = set.assign_with(asked, None).await.expect(201);
        assert_eq!(given.str("workflowId"), id);
        shop.client
            .delete(&format!("{WORKFLOWS}/{path}"))
            .await
            .expect(204);
        // Its assignments are kept.
        let list = format!("/v1/assignments?workflowId={path}");
        let list = list
            .replace("%20padded%20", "padded")
            .replace("&d+e=f", "%26d%2Be%3Df");
        assert_eq!(
            shop.client.get(&list).await.expect(200).results().len(),
            1,
            "{id}"
        );
    }
    for path in [
        "%00",
        "%ff",
        "%20",
        "a%0Ab",
        &"x".repeat(256),
        &"%C3%A9".repeat(256),
    ] {
        let put = shop.put_workflow(path, workflow("w", "draft", &[])).await;
        let deleted = shop.client.delete(&format!("{WORKFLOWS}/{path}")).await;
        for answer in [put, shop.read_workflow(path).await, deleted] {
            assert_eq!(answer.refusal(), "400 malformed-request", "{path}");
        }
    }
    let answer = shop.read_workflow("%20").await;
    let detail = "The path is not valid: Invalid URL: This must not be empty.";
    assert_eq!(answer.str("detail"), detail);
}

#[tokio::test]
async fn all_errors_of_a_workflow_are_reported_at_once_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let set = shop.multiple("set", &[]).await;
    let theirs = other.multiple("theirs", &[]).await;
    let gone = shop.multiple("gone", &[]).await;
    gone.delete().await.expect(204);
    for (body, faults) in [
        (json!({}), vec!["/name", "/state", "/couponSetIds"]),
        (
            json!({"name": "", "state": "running", "couponSetIds": ["x", set.id, 1], "color": 1}),
            vec![
                "/name",
                "/state",
                "/couponSetIds/0",
                "/couponSetIds/2",
                "/color",
            ],
        ),
        (
            json!({"name": "x".repeat(201), "state": "Active", "couponSetIds": {}}),
            vec!["/name", "/state", "/couponSetIds"],
        ),
        (
            json!({"name": null, "state": null, "couponSetIds": null}),
            vec!["/name", "/state", "/couponSetIds"],
        ),
        (
            json!({"name": "w", "state": "draft", "couponSetIds": vec![&set.id; 101]}),
            vec!["/couponSetIds"],
        ),
        (
            json!({"name": "w", "state": "finished", "couponSetIds": [NO_SUCH_ID, set.id, theirs.id, gone.id]}),
            vec!["/couponSetIds/0", "/couponSetIds/2", "/couponSetIds/3"],
        ),
    ] {
        let answer = shop.put_workflow("w", body.clone()).await.expect(422);
        assert_eq!(answer.faults(), faults, "{body}");
    }
    assert_eq!(shop.read_workflow("w").await.refusal(), "404 not-found");
    let before = shop.workflow("w", "active", &[&set]).await;
    let wrong = json!({"name": "w", "state": "draft", "couponSetIds": [NO_SUCH_ID]});
    shop.put_workflow("w", wrong).await.expect(422);
    assert_eq!(shop.read_workflow("w").await.expect(200).body, before);
}

#[tokio::test]
async fn a_workflow_names_up_to_100_sets_in_its_own_order_and_each_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut sets = Vec::new();
    for n in 0..100 {
        sets.push(shop.multiple(&format!("set {n}"), &[]).await);
    }
    sets.reverse();
    let all: Vec<&CouponSet> = sets.iter().collect();
    let said = workflow("w", "active", &all);
    let made = shop.put_workflow("w", said.clone()).await.expect(201);
    assert_eq!(made.body["couponSetIds"], said["couponSetIds"]);
    let twice = [all[7], all[3], all[7], all[7]];
    let made = shop
        .put_workflow("w", workflow("w", "active", &twice))
        .await;
    assert_eq!(
        made.expect(200).body["couponSetIds"],
        json!([all[7].id, all[3].id])
    );
}

#[tokio::test]
async fn the_list_has_all_workflows_in_the_order_of_their_ids() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    other.workflow("not-mine", "active", &[]).await;
    let set = shop.multiple("set", &[]).await;
    let mut all = Vec::new();
    for (id, state) in [
        ("b", "paused"),
        ("a", "draft"),
        ("B", "active"),
        ("%C3%A9", "finished"),
        ("a1", "active"),
    ] {
        all.push(shop.workflow(id, state, &[&set]).await);
    }
    all.sort_by_key(|workflow| workflow["id"].as_str().unwrap().to_owned());
    assert_eq!(strings(&all, "id"), ["B", "a", "a1", "b", "é"]);
    for limit in [1, 2, 5, 1000] {
        let pages = walk(&shop.client, &format!("{WORKFLOWS}?limit={limit}")).await;
        assert_eq!(pages.concat(), all, "by {limit}");
    }
    // Deleting one does not disturb a client that reads pages.
    let page = shop
        .client
        .get(&format!("{WORKFLOWS}?limit=2"))
        .await
        .expect(200);
    shop.client
        .delete(&format!("{WORKFLOWS}/a"))
        .await
        .expect(204);
    let next = page.body["links"]["next"].as_str().unwrap();
    let next = shop.client.get(next).await.expect(200);
    assert_eq!(strings(next.results(), "id"), ["a1", "b"]);

    let forged = [
        json!({"key": "a\u{0}", "back": false}),
        json!({"key": "", "back": true}),
        json!({"key": 1, "back": false}),
    ];
    let forged = forged.map(|cursor| {
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(cursor.to_string());
        format!("cursor={text}")
    });
    let wrong = ["limit=0", "limit=1001", "cursor=x", "state=active"];
    for query in wrong.into_iter().chain(forged.iter().map(String::as_str)) {
        let answer = shop.client.get(&format!("{WORKFLOWS}?{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
}

#[tokio::test]
async fn a_set_lists_the_workflows_that_use_it_without_finished_ones() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let (set, rest) = (
        shop.multiple("set", &[]).await,
        shop.multiple("rest", &[]).await,
    );
    let theirs = other.multiple("set", &[]).await;
    other.workflow("theirs", "active", &[&theirs]).await;
    assert_eq!(users(&set).await, Vec::<String>::new());
    for (id, state) in [
        ("d", "draft"),
        ("z", "active"),
        ("p", "paused"),
        ("f", "finished"),
        ("a", "active"),
    ] {
        shop.workflow(id, state, &[&rest, &set]).await;
    }
    let expected = ["active a", "active z", "paused p", "draft d"];
    assert_eq!(users(&set).await, expected);
    assert_eq!(users(&rest).await, expected);
    let list = shop.client.get("/v1/coupon-sets").await.expect(200);
    assert_eq!(*list.results(), [rest.read().await, set.read().await]);
    let patched = set.patch(json!({"name": "renamed"})).await.expect(200);
    assert_eq!(patched.body, set.read().await);
    shop.workflow("z", "finished", &[&set]).await;
    shop.workflow("a", "paused", &[]).await;
    assert_eq!(users(&set).await, ["paused p", "draft d"]);
    assert_eq!(users(&theirs).await, ["active theirs"]);

    // With any number of them, the active ones come first.
    let many = "insert into workflows (tenant_id, workflow_id, name, state)
                select tenant_id, 'many-' || n, 'The many-' || n, case n when 150 then 'active' else 'paused' end
                  from coupon_sets, generate_series(1, 150) n where name = 'rest';
                insert into workflow_sets (tenant_id, workflow_id, set_no, place)
                select w.tenant_id, w.workflow_id, s.set_no, 1
                  from coupon_sets s join workflows w on w.tenant_id = s.tenant_id and w.workflow_id like 'many-%'
                 where s.name = 'rest'";
    app.database.execute(many).await;
    let users = users(&rest).await;
    assert_eq!(users.len(), 100);
    assert_eq!(users[0], "active many-150");
    let answer = rest.delete().await;
    assert_eq!(answer.refusal(), "409 coupon-set-in-use");
    assert_eq!(answer.body["workflows"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn a_set_that_an_active_or_a_paused_workflow_uses_cannot_be_deleted() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let (set, rest) = (
        shop.multiple("set", &[]).await,
        shop.multiple("rest", &[]).await,
    );
    shop.workflow("mail", "active", &[&set, &rest]).await;
    shop.workflow("popup", "paused", &[&set]).await;
    shop.workflow("next-year", "draft", &[&set, &rest]).await;
    shop.workflow("last-year", "finished", &[&set]).await;
    let before = set.read().await;
    let answer = set.delete().await;
    assert_eq!(answer.refusal(), "409 coupon-set-in-use");
    let workflows = json!([
        {"id": "mail", "name": "The mail", "state": "active"},
        {"id": "popup", "name": "The popup", "state": "paused"},
    ]);
    assert_eq!(answer.body["workflows"], workflows);
    assert!(answer.str("detail").contains("The mail, The popup"));
    assert_eq!(set.read().await, before);

    shop.workflow("mail", "finished", &[&set, &rest]).await;
    let answer = set.delete().await;
    assert_eq!(answer.refusal(), "409 coupon-set-in-use");
    assert_eq!(answer.body["workflows"], json!([workflows[1]]));
    shop.client
        .delete(&format!("{WORKFLOWS}/popup"))
        .await
        .expect(204);
    set.delete().await.expect(204);
    // The other sets are released from it, and the response can be put again.
    for (id, sets) in [
        ("mail", json!([rest.id])),
        ("next-year", json!([rest.id])),
        ("last-year", json!([])),
    ] {
        let mut read = shop.read_workflow(id).await.expect(200).body;
        assert_eq!(read["couponSetIds"], sets, "{id}");
        for member in ["id", "createdAt", "updatedAt"] {
            read.as_object_mut().unwrap().remove(member);
        }
        shop.put_workflow(id, read).await.expect(200);
    }
    rest.delete().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_never_deleted_under_a_workflow_that_takes_it_at_the_same_time() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut outcomes = [0, 0];
    for round in 0..30 {
        let set = shop.multiple(&format!("set {round}"), &[]).await;
        let id = format!("w{round}");
        let said = workflow("w", ["active", "paused"][round % 2], &[&set]);
        let take = shop.put_workflow(&id, said);
        let (taken, deleted) = if round % 3 == 0 {
            let (deleted, taken) = tokio::join!(set.delete(), take);
            (taken, deleted)
        } else {
            tokio::join!(take, set.delete())
        };
        if taken.status == 201 {
            assert_eq!(deleted.refusal(), "409 coupon-set-in-use");
            assert_eq!(taken.body["couponSetIds"], json!([set.id]));
            assert_eq!(set.read().await["usedInWorkflows"][0]["id"], id);
            outcomes[0] += 1;
        } else {
            assert_eq!(taken.expect(422).faults(), ["/couponSetIds/0"]);
            deleted.expect(204);
            assert_eq!(shop.read_workflow(&id).await.refusal(), "404 not-found");
            outcomes[1] += 1;
        }
    }
    assert_eq!(outcomes[0] + outcomes[1], 30);
    let mut owner = app.database.owner.acquire().await.unwrap();
    let lost = "select count(*) from workflow_sets u join coupon_sets s using (tenant_id, set_no)
                 where s.deleted_at is not null";
    assert_eq!(sql::value::<i64>(&mut owner, lost).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_concurrent_puts_of_one_workflow_one_gets_201_and_one_wins_as_a_whole() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let names: Vec<String> = (0..12).map(|n| format!("set {n}")).collect();
    let sets = join_all(names.iter().map(|name| shop.multiple(name, &[]))).await;
    let said: Vec<Value> = (0..6)
        .map(|n| {
            workflow(
                &format!("name {n}"),
                "active",
                &[&sets[2 * n], &sets[2 * n + 1]],
            )
        })
        .collect();
    let answers = join_all(said.iter().map(|said| shop.put_workflow("w", said.clone()))).await;
    let new = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(new, 1);
    assert!(answers.iter().all(|answer| answer.status.is_success()));
    for (said, answer) in said.iter().zip(&answers) {
        assert_eq!(answer.body["couponSetIds"], said["couponSetIds"]);
    }
    let mut read = shop.read_workflow("w").await.expect(200).body;
    for member in ["id", "createdAt", "updatedAt"] {
        read.as_object_mut().unwrap().remove(member);
    }
    assert!(said.contains(&read), "{read}");
}

/// The maximum number of rows that any step of a plan yields.
fn most_rows(plan: &Value) -> i64 {
    let steps = plan["Plans"].as_array().into_iter().flatten();
    steps.map(most_rows).fold(sql::actual_rows(plan), i64::max)
}

#[tokio::test]
async fn a_set_finds_its_workflows_without_reading_all_also_before_any_statistics() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    // So few rows that reading all of the tenant's looks cheap.
    let many = "alter table workflows set (autovacuum_enabled = false);
                alter table workflow_sets set (autovacuum_enabled = false);
                insert into workflows (tenant_id, workflow_id, name, state)
                select 1, 'w' || n, 'The w' || n, 'active' from generate_series(1, 200) n;
                insert into workflow_sets (tenant_id, workflow_id, set_no, place)
                select 1, 'w' || n, 1, 1 from generate_series(1, 200, 40) n";
    app.database.execute(many).await;
    assert_eq!(users(&set).await.len(), 5);
    let mut owner = app.database.owner.acquire().await.unwrap();
    let explain = "explain (analyze, format json)
                   select w.users from coupon_sets s cross join workflows_of_set(1, s.set_no) w";
    let plan: Value = sql::value(&mut owner, explain).await;
    assert_eq!(most_rows(&plan[0]["Plan"]), 5, "{plan}");
}
