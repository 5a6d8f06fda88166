//! The outbox: each assignment becomes exactly one delivery per endpoint, in ledger order, despite failures in between.

use std::collections::HashMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, contract, eventually, rows, sql};

/// Adds an endpoint directly in the database, and returns its number. Messages sent to it never arrive.
pub(super) async fn listen(app: &TestApp, shop: &Shop, types: &[&str]) -> i64 {
    let tenant = format!(
        "(select tenant_id from tenants where id = '{}')",
        shop.tenant_id
    );
    let mut owner = app.database.owner.acquire().await.unwrap();
    let number: i32 = sql::value(&mut owner, rows::webhook(&tenant, types)).await;
    number.into()
}

/// Sets the state of an endpoint.
pub(super) async fn set_state(app: &TestApp, shop: &Shop, webhook: i64, state: &str) {
    let update = format!(
        "update webhooks w
            set state = '{state}'
           from tenants t
          where t.id = '{}' and w.tenant_id = t.tenant_id and w.webhook_no = {webhook}",
        shop.tenant_id
    );
    app.database.execute(&update).await;
}

/// Waits until all entries are published.
pub(super) async fn all_is_delivered(app: &TestApp) {
    let query = "select (select count(*) from webhook_events)
                        + (select count(*)
                             from coupon_set_stocks s
                             left join webhook_cursors c on c.tenant_id = s.tenant_id and c.set_no = s.set_no
                            where s.number > coalesce(c.number, 0)
                              and s.tenant_id in (select tenant_id from webhooks where state = 'enabled'))";
    eventually("everything is delivered", async || {
        (app.database.query_value(query).await == 0).then_some(())
    })
    .await;
}

/// Deliveries of an endpoint, in the order of sending.
pub(super) async fn deliveries(app: &TestApp, shop: &Shop, webhook: i64) -> Vec<Value> {
    let query = format!(
        "select d.event_type as type, d.id, d.set_no as set, d.ledger_number as number, d.occurred_at as at, d.payload
           from webhook_deliveries d
           join tenants t on t.tenant_id = d.tenant_id
          where t.id = '{}' and d.webhook_no = {webhook}
          order by d.delivery_no",
        shop.tenant_id
    );
    let deliveries = app
        .database
        .query_rows(&query)
        .await
        .as_array()
        .unwrap()
        .clone();
    for delivery in deliveries
        .iter()
        .filter(|delivery| delivery["payload"].is_object())
    {
        let mut data = delivery["payload"].clone();
        data["ledgerNumber"] = delivery["number"].clone();
        let message = json!({"type": delivery["type"], "timestamp": delivery["at"], "data": data});
        contract::check_message(&message);
    }
    deliveries
}

/// The same as texts, as in "coupon.assigned 1".
async fn lines(app: &TestApp, shop: &Shop, webhook: i64) -> Vec<String> {
    let deliveries = deliveries(app, shop, webhook).await;
    let line = |delivery: &Value| {
        format!(
            "{} {}",
            delivery["type"].as_str().unwrap(),
            delivery["number"]
        )
    };
    deliveries.iter().map(line).collect()
}

const ASSIGNED: &str = "coupon.assigned";

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("C{n:04}")).collect()
}

async fn full_set(shop: &Shop, name: &str, count: usize) -> CouponSet {
    let codes = names(count);
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    shop.multiple(name, &codes).await
}

/// Blocks readers that are about to finish a batch, cuts their connections, and lets others start.
async fn cut_readers(app: &TestApp) {
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(
        &mut holder,
        "select from webhooks order by webhook_no for no key update",
    )
    .await
    .unwrap();
    let readers = "from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock'
                    and query like '%mark_webhooks_due%' and state = 'active'";
    eventually("a reader waits", async || {
        let waiting = format!("select count(*) {readers}");
        (app.database.query_value(&waiting).await.as_i64() > Some(0)).then_some(())
    })
    .await;
    let cut = format!("select count(pg_terminate_backend(pid)) {readers}");
    assert!(app.database.query_value(&cut).await.as_i64() > Some(0));
    holder.commit().await.unwrap();
}

#[tokio::test]
async fn each_assignment_of_two_replicas_is_delivered_once_to_each_endpoint_in_order_though_readers_are_cut_off()
 {
    const EACH: usize = 250;
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let mut endpoints = Vec::new();
    for types in [&[ASSIGNED][..], &[ASSIGNED, "import.finished"]] {
        endpoints.push(listen(&app, &shop, types).await);
    }
    let other = listen(&app, &shop, &["coupon-set.exhausted"]).await;
    let mut sets = Vec::new();
    for name in ["one", "two", "three"] {
        sets.push(full_set(&shop, name, EACH).await);
    }
    let sets_there = [shop.clone(), shop.at(&replica)];
    // Those that a busy machine cannot serve yet wait here, not in the service until it gives up.
    let clients = tokio::sync::Semaphore::new(32);
    let asking = (0..EACH * sets.len()).map(|n| {
        let set = sets[n % sets.len()].at(&sets_there[n / sets.len() % 2]);
        let clients = &clients;
        async move {
            // In waves, so that readers are active all the time.
            tokio::time::sleep(std::time::Duration::from_millis(4 * n as u64)).await;
            let _client = clients.acquire().await.unwrap();
            set.assign(&format!("contact {n}")).await.expect(201);
        }
    });
    let cutting = async {
        for _ in 0..4 {
            cut_readers(&app).await;
        }
    };
    tokio::join!(join_all(asking), cutting);
    all_is_delivered(&app).await;

    let mut ids: Vec<HashMap<(i64, i64), String>> = Vec::new();
    for endpoint in endpoints {
        let mut numbers: HashMap<i64, Vec<i64>> = HashMap::new();
        let mut of_endpoint = HashMap::new();
        for delivery in deliveries(&app, &shop, endpoint).await {
            if delivery["type"] == ASSIGNED {
                let place = (
                    delivery["set"].as_i64().unwrap(),
                    delivery["number"].as_i64().unwrap(),
                );
                numbers.entry(place.0).or_default().push(place.1);
                of_endpoint.insert(place, delivery["id"].as_str().unwrap().to_owned());
                assert_eq!(delivery["payload"], Value::Null);
            }
        }
        let all: Vec<i64> = (1..=i64::try_from(EACH).unwrap()).collect();
        let expected = (1..=3).map(|set| (set, all.clone())).collect();
        assert_eq!(
            numbers, expected,
            "every number, once and in order, of each set"
        );
        ids.push(of_endpoint);
    }
    assert_eq!(ids[0], ids[1], "an event has one id at all endpoints");
    let distinct: std::collections::HashSet<_> = ids[0].values().collect();
    assert_eq!(distinct.len(), ids[0].len());
    let others = deliveries(&app, &shop, other).await;
    assert_eq!(others.len(), 3, "{others:?}");
    // The senders are trying them already, and nothing listens.
    eventually("all are due, or will be again", async || {
        let due = "select count(*) from webhooks where next_due_at is not null";
        (app.database.query_value(due).await == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_rollback_or_a_refusal_delivers_nothing() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let endpoint = listen(&app, &shop, &[ASSIGNED]).await;
    let set = shop.multiple("set", &["A", "B"]).await;
    let mut connection = sqlx::PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    let mut undone = connection.begin().await.unwrap();
    let rows = sql::rows(&mut undone, assign_by_hand(&set, "zoe")).await;
    assert_eq!(rows[0].get::<&str, _>("outcome"), "assigned");
    undone.rollback().await.unwrap();
    let all = json!([{"contactId": "ann"}, {"contactId": "bob"}, {"contactId": "cat"}]);
    set.assign_all_or_nothing(all).await.expect(409);
    set.assign("ann").await.expect(201);
    set.assign_as("bob", "key").await.expect(201);
    set.assign_as("bob", "key").await.expect(200);
    set.assign("cat").await.expect(409);
    all_is_delivered(&app).await;
    assert_eq!(
        lines(&app, &shop, endpoint).await,
        ["coupon.assigned 1", "coupon.assigned 2"]
    );
}

/// A database call that no replica knows of.
fn assign_by_hand(set: &CouponSet, contact: &str) -> String {
    format!(
        "select *
           from assign_batch(
                  (select tenant_id from tenants order by tenant_id limit 1), '{}', null, false, false,
                  array[gen_random_uuid()], array['{contact}'], array[null::text], array[null::text],
                  array[null::text], null, array[null::uuid])",
        set.id
    )
}

#[tokio::test]
async fn entries_of_a_replica_that_is_gone_are_published_by_the_next_one() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B"]).await;
    let endpoint = listen(&app, &shop, &[ASSIGNED]).await;
    set.assign("ann").await.expect(201);
    all_is_delivered(&app).await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    sql::run(&mut owner, assign_by_hand(&set, "bob"))
        .await
        .unwrap();
    let _next = app.replica();
    all_is_delivered(&app).await;
    assert_eq!(
        lines(&app, &shop, endpoint).await,
        ["coupon.assigned 1", "coupon.assigned 2"]
    );
}

#[tokio::test]
async fn an_endpoint_gets_what_happens_while_it_is_enabled_and_nothing_else() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = full_set(&shop, "set", 20).await;
    let assign = async |contact: &str| {
        set.assign(contact).await.expect(201);
    };
    assign("before").await;
    let first = listen(&app, &shop, &[ASSIGNED]).await;
    assign("one").await;
    let second = listen(&app, &shop, &[ASSIGNED]).await;
    assign("both").await;
    all_is_delivered(&app).await;
    set_state(&app, &shop, first, "disabled").await;
    assign("second alone").await;
    all_is_delivered(&app).await;
    set_state(&app, &shop, second, "failed").await;
    assign("nobody").await;
    // No replica claims it, so the mark was removed.
    set_state(&app, &shop, first, "enabled").await;
    assign("first alone").await;
    all_is_delivered(&app).await;
    set_state(&app, &shop, second, "enabled").await;
    assign("both again").await;
    // A set that is younger than the endpoints.
    let young = shop.single("young", "SAME", None).await;
    young.assign("both").await.expect(201);
    all_is_delivered(&app).await;
    let of = |numbers: &[i64]| -> Vec<String> {
        numbers
            .iter()
            .map(|number| format!("coupon.assigned {number}"))
            .collect()
    };
    let young = "coupon.assigned 1".to_owned();
    let by_set = async |endpoint| {
        let mut lines = lines(&app, &shop, endpoint).await;
        let place = lines.iter().rposition(|line| *line == young).unwrap();
        lines.remove(place);
        lines
    };
    assert_eq!(by_set(first).await, of(&[2, 3, 6, 7]));
    assert_eq!(by_set(second).await, of(&[3, 4, 7]));
}

#[tokio::test]
async fn a_reservation_is_delivered_when_it_is_confirmed_and_not_otherwise() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let endpoint = listen(&app, &shop, &[ASSIGNED]).await;
    let set = full_set(&shop, "set", 10).await;
    let kept = set.reserve("ann", 600).await.expect(201);
    let lost = set.reserve("bob", 600).await.expect(201);
    // The ledger: two reservations and their entries.
    set.assign("cat").await.expect(201);
    set.release(lost.str("id")).await.expect(200);
    set.confirm(kept.str("id")).await.expect(200);
    set.confirm(kept.str("id")).await.expect(200);
    set.void(kept.str("id")).await.expect(200);
    all_is_delivered(&app).await;
    let confirmed = "select number from ledger_entries where event = 'confirmed'";
    let confirmed = app.database.query_value(confirmed).await;
    assert_eq!(
        lines(&app, &shop, endpoint).await,
        [
            "coupon.assigned 5".to_owned(),
            format!("coupon.assigned {confirmed}")
        ]
    );
}

#[tokio::test]
async fn tenants_get_events_of_their_own_sets_and_one_without_an_endpoint_costs_nothing() {
    let app = TestApp::start().await;
    let shops = [app.shop().await, app.shop().await, app.shop().await];
    let endpoints = [
        listen(&app, &shops[0], &[ASSIGNED, "import.finished"]).await,
        listen(&app, &shops[1], &[ASSIGNED, "import.finished"]).await,
    ];
    for (shop, count) in shops.iter().zip(1..) {
        let set = full_set(shop, "set", 5).await;
        for n in 0..count {
            set.assign(&format!("contact {n}")).await.expect(201);
        }
        shop.single("single", "SAME", Some(1))
            .await
            .patch(json!({"quantity": 2}))
            .await
            .expect(200);
    }
    // The last assignment is written by now, and the others are published after it.
    let busy = CouponSet::at(&shops[0].single("late", "SAME", None).await, &shops[0]);
    busy.assign("ann").await.expect(201);
    all_is_delivered(&app).await;
    let silent = format!(
        "select (select count(*) from webhook_cursors c where c.tenant_id = t.tenant_id)
                + (select count(*) from webhook_events e where e.tenant_id = t.tenant_id)
                + (select count(*) from webhook_deliveries d where d.tenant_id = t.tenant_id)
           from tenants t
          where t.id = '{}'",
        shops[2].tenant_id
    );
    assert_eq!(app.database.query_value(&silent).await, 0);
    let first = lines(&app, &shops[0], endpoints[0]).await;
    let second = lines(&app, &shops[1], endpoints[1]).await;
    assert_eq!(second.len(), 3, "{second:?}");
    assert_eq!(first.len(), 3, "{first:?}");
    let elsewhere = "select count(*)
                       from webhook_deliveries d
                      where not exists (
                        select from coupon_sets s where s.tenant_id = d.tenant_id and s.set_no = d.set_no)";
    assert_eq!(app.database.query_value(elsewhere).await, 0);
}

#[tokio::test]
async fn an_endpoint_that_somebody_holds_keeps_no_other_tenant_waiting() {
    let app = TestApp::start().await;
    let [held, free] = [app.shop().await, app.shop().await];
    let of_held = listen(&app, &held, &[ASSIGNED]).await;
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, "select from webhooks for no key update")
        .await
        .unwrap();
    // More than are read at a time.
    for name in ["one", "two", "three", "four"] {
        let set = held.single(name, "SAME", None).await;
        set.assign("ann").await.expect(201);
    }
    app.database.wait_for_lock_waiters(2).await;
    let of_free = listen(&app, &free, &[ASSIGNED]).await;
    let set = free.single("one", "SAME", None).await;
    set.assign("ann").await.expect(201);
    eventually("the other tenant gets its event", async || {
        (lines(&app, &free, of_free).await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(deliveries(&app, &held, of_held).await, [] as [Value; 0]);
    holder.commit().await.unwrap();
    all_is_delivered(&app).await;
    assert_eq!(lines(&app, &held, of_held).await.len(), 4);
}
