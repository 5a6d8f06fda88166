//! Webhook events of stock and imports: each step down once, refills, and the ends of imports.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::imports::cancel::cancel;
use crate::outbox::ledger_to_deliveries::{all_is_delivered, deliveries, listen, set_state};
use crate::support::by_hand::ByHand;
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, eventually, sql};

const STOCK: [&str; 3] = [
    "coupon-set.low-stock",
    "coupon-set.exhausted",
    "coupon-set.refilled",
];

/// Stock events delivered to an endpoint, as in "half 5" for a step, "0" for exhausted and "+3 8" for a refill.
pub(super) async fn stock(
    app: &TestApp,
    shop: &Shop,
    webhook: i64,
    set: &CouponSet,
) -> Vec<String> {
    let deliveries = deliveries(app, shop, webhook).await;
    let of_set = deliveries.iter().filter(|delivery| {
        delivery["payload"]["couponSetId"] == set.id && delivery["payload"]["status"].is_null()
    });
    let line = |delivery: &Value| {
        let data = &delivery["payload"];
        match delivery["type"].as_str().unwrap() {
            "coupon-set.low-stock" => {
                format!("{} {}", data["step"].as_str().unwrap(), data["available"])
            }
            "coupon-set.exhausted" => {
                assert_eq!(data.get("step"), None);
                data["available"].to_string()
            }
            _ => format!("+{} {}", data["added"], data["available"]),
        }
    };
    of_set.map(line).collect()
}

pub(super) async fn threshold(app: &TestApp, set: &CouponSet, threshold: &str) {
    let update = format!(
        "update coupon_sets set low_stock_threshold = {threshold} where id = '{}'",
        set.id
    );
    app.database.execute(&update).await;
}

/// Expected events, by the rules of the steps.
struct StockModel {
    threshold: Option<i64>,
    available: i64,
    reported: u8,
    lines: Vec<String>,
}

impl StockModel {
    fn new(threshold: Option<i64>) -> Self {
        // A set that never had a code has not run out.
        Self {
            threshold,
            available: 0,
            reported: 5,
            lines: Vec::new(),
        }
    }

    fn refill(&mut self, count: i64) {
        self.available += count;
        self.reported = 0;
        self.lines.push(format!("+{count} {}", self.available));
        self.judge();
    }

    fn change(&mut self, by: i64) {
        self.available += by;
        self.judge();
    }

    fn judge(&mut self) {
        let is_within = |share: i64| {
            self.threshold
                .is_some_and(|threshold| self.available * share <= threshold)
        };
        let step = match self.available {
            0 => 5,
            _ if is_within(8) => 4,
            _ if is_within(4) => 3,
            _ if is_within(2) => 2,
            _ if is_within(1) => 1,
            _ => 0,
        };
        if step > self.reported {
            self.reported = step;
            let names = ["threshold", "half", "quarter", "eighth"];
            self.lines.push(match names.get(usize::from(step) - 1) {
                Some(name) => format!("{name} {}", self.available),
                None => "0".to_owned(),
            });
        }
    }
}

/// Random numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % end
    }
}

/// Assigns, releases and refills at random, and compares the events after each step.
async fn walk(app: &TestApp, shop: &Shop, webhook: i64, name: &str, most: Option<i64>, seed: u64) {
    const STEPS: usize = 40;
    let set = shop.multiple(name, &[]).await;
    if let Some(most) = most {
        threshold(app, &set, &most.to_string()).await;
    }
    let mut model = StockModel::new(most);
    let mut random = Random(seed);
    let mut held: Vec<String> = Vec::new();
    let mut codes = 0;
    for _ in 0..STEPS {
        match random.below(6) {
            0 => {
                let count = 1 + random.below(30);
                let new: Vec<String> = (codes..codes + count).map(|n| format!("C{n}")).collect();
                codes += count;
                set.fill(&new.iter().map(String::as_str).collect::<Vec<_>>())
                    .await;
                model.refill(count);
            }
            1 if !held.is_empty() => {
                let place =
                    usize::try_from(random.below(i64::try_from(held.len()).unwrap())).unwrap();
                set.release(&held.swap_remove(place)).await.expect(200);
                model.change(1);
            }
            _ => {
                let most = 1 + random.below(40);
                let count = 1 + random.below(most);
                let items = (0..count).map(|_| json!({"contactId": "ann"}));
                let results = set.assign_batch(items.collect(), None).await;
                let ids = results
                    .iter()
                    .filter_map(|result| result["assignment"]["id"].as_str());
                let before = held.len();
                held.extend(ids.map(str::to_owned));
                model.change(-i64::try_from(held.len() - before).unwrap());
            }
        }
        all_is_delivered(app).await;
        let lines = stock(app, shop, webhook, &set).await;
        assert_eq!(lines, model.lines, "{name}");
    }
    assert!(model.lines.len() > 5, "{:?}", model.lines);
}

#[tokio::test]
async fn each_step_down_is_delivered_once_and_again_only_after_a_refill() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let webhook = listen(&app, &shop, &STOCK).await;
    let walks = [
        ("of forty", Some(40), 1),
        ("of seven", Some(7), 2),
        ("of none", None, 3),
        ("of zero", Some(0), 4),
    ];
    let walks = walks.map(|(name, most, seed)| walk(&app, &shop, webhook, name, most, seed));
    join_all(walks).await;
}

#[tokio::test]
async fn of_several_steps_at_once_only_the_deepest_is_delivered() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let webhook = listen(&app, &shop, &STOCK).await;
    let set = shop
        .multiple("set", &["A", "B", "C", "D", "E", "F", "G", "H"])
        .await;
    threshold(&app, &set, "7").await;
    let items = (0..7).map(|_| json!({"contactId": "ann"})).collect();
    set.assign_batch(items, None).await;
    all_is_delivered(&app).await;
    // 1 is at most a quarter of 7, and not an eighth.
    let steps = ["+8 8", "quarter 1"];
    assert_eq!(stock(&app, &shop, webhook, &set).await, steps);
    let last = deliveries(&app, &shop, webhook).await.pop().unwrap();
    assert_eq!((&last["number"], &last["set"]), (&json!(7), &json!(1)));
    assert_eq!(last["payload"]["threshold"], 7);
}

#[tokio::test]
async fn an_alert_carries_the_forecast() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B", "C", "D", "E"]).await;
    threshold(&app, &set, "2").await;
    let webhook = listen(&app, &shop, &STOCK).await;
    set.assign("ann").await.expect(201);
    set.assign("bob").await.expect(201);
    all_is_delivered(&app).await;
    app.database
        .execute("update assignments set assigned_at = assigned_at - interval '10 days' / number")
        .await;
    set.assign("cat").await.expect(201);
    all_is_delivered(&app).await;
    let deliveries = deliveries(&app, &shop, webhook).await;
    let data = &deliveries[0]["payload"];
    assert_eq!(data["step"], "threshold", "{data}");
    assert!(data["forecast"]["runsOutOn"].is_string(), "{data}");
}

#[tokio::test]
async fn stock_that_was_low_before_the_endpoint_is_not_delivered_until_it_falls_further() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B", "C", "D"]).await;
    threshold(&app, &set, "4").await;
    let empty = shop.multiple("empty", &[]).await;
    let webhook = listen(&app, &shop, &STOCK).await;
    set.assign("ann").await.expect(201);
    empty.assign("ann").await.expect(409);
    all_is_delivered(&app).await;
    set.assign("bob").await.expect(201);
    all_is_delivered(&app).await;
    assert_eq!(stock(&app, &shop, webhook, &set).await, ["half 2"]);
    assert!(stock(&app, &shop, webhook, &empty).await.is_empty());
}

#[tokio::test]
async fn a_refill_not_delivered_before_the_endpoint_was_disabled_is_not_delivered_when_it_is_enabled()
 {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A"]).await;
    threshold(&app, &set, "10").await;
    let webhook = listen(&app, &shop, &STOCK).await;
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, "select from webhook_cursors for update")
        .await
        .unwrap();
    set.fill(&["B", "C", "D"]).await;
    set_state(&app, &shop, webhook, "disabled").await;
    holder.commit().await.unwrap();
    set_state(&app, &shop, webhook, "enabled").await;
    set.assign("ann").await.expect(201);
    all_is_delivered(&app).await;
    set.assign("bob").await.expect(201);
    all_is_delivered(&app).await;
    assert_eq!(stock(&app, &shop, webhook, &set).await, ["quarter 2"]);
}

#[tokio::test]
async fn a_changed_threshold_is_judged_as_if_it_had_always_been_that() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("set", "SAME", Some(100)).await;
    threshold(&app, &set, "100").await;
    let webhook = listen(&app, &shop, &STOCK).await;
    let take = async || {
        set.assign("ann").await.expect(201);
        all_is_delivered(&app).await;
        stock(&app, &shop, webhook, &set).await
    };
    assert!(take().await.is_empty());
    threshold(&app, &set, "1000").await;
    assert_eq!(take().await, ["eighth 98"]);
    threshold(&app, &set, "96").await;
    assert_eq!(take().await, ["eighth 98"]);
    assert_eq!(take().await, ["eighth 98", "threshold 96"]);
    threshold(&app, &set, "null").await;
    assert_eq!(take().await, ["eighth 98", "threshold 96"]);
}

#[tokio::test]
async fn a_raised_quantity_refills_a_set_of_one_code_and_a_lowered_one_does_not() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let webhook = listen(&app, &shop, &STOCK).await;
    let set = shop.single("set", "SAME", Some(2)).await;
    let quantity = async |quantity: Value| {
        set.patch(json!({"quantity": quantity})).await.expect(200);
        all_is_delivered(&app).await;
    };
    set.assign("ann").await.expect(201);
    set.assign("bob").await.expect(201);
    all_is_delivered(&app).await;
    quantity(json!(5)).await;
    quantity(json!(4)).await;
    quantity(json!(4)).await;
    set.assign("cat").await.expect(201);
    set.assign("dan").await.expect(201);
    all_is_delivered(&app).await;
    quantity(Value::Null).await;
    let steps = ["0", "+3 3", "0", "+null null"];
    assert_eq!(stock(&app, &shop, webhook, &set).await, steps);
}

#[tokio::test]
async fn stock_that_falls_without_an_assignment_is_delivered_too_but_a_set_past_its_end_has_not_run_out()
 {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut sets = Vec::new();
    for name in ["codes expire", "withdrawn", "over"] {
        let set = shop.multiple(name, &["A", "B"]).await;
        set.assign("ann").await.expect(201);
        sets.push(set);
    }
    let webhook = listen(&app, &shop, &STOCK).await;
    app.database
        .execute(
            "update cards set expires_at = now() - interval '1 second' where set_no = 1;
             update lots
                set first_expires_at = now() - interval '1 second', last_expires_at = now() - interval '1 second'
              where set_no = 1;
             update coupon_sets set expires_at = now() - interval '1 second' where set_no = 3",
        )
        .await;
    sets[1].withdraw(&["B"]).await;
    // A replica sweeps when it starts.
    let _next = app.replica();
    all_is_delivered(&app).await;
    for set in &sets[..2] {
        eventually("the exhausted event is delivered", async || {
            (stock(&app, &shop, webhook, set).await == ["0"]).then_some(())
        })
        .await;
    }
    // It is not published, and no event would trigger it now.
    let alert = "select alert_level from publish_ledger(1, 3, 1000)";
    assert_eq!(app.database.query_value(alert).await, Value::Null);
    assert!(stock(&app, &shop, webhook, &sets[2]).await.is_empty());
}

#[tokio::test]
async fn changes_beside_the_ledger_are_delivered_at_their_place_in_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B"]).await;
    let types = [
        "coupon.assigned",
        "import.finished",
        "coupon-set.refilled",
        "coupon-set.exhausted",
    ];
    let webhook = listen(&app, &shop, &types).await;
    // While its row is locked, no replica publishes anything of the set.
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, "select from webhook_cursors for update")
        .await
        .unwrap();
    set.assign("ann").await.expect(201);
    set.assign("bob").await.expect(201);
    set.fill(&["C", "D"]).await;
    set.assign("cat").await.expect(201);
    set.fill(&["E"]).await;
    assert_eq!(deliveries(&app, &shop, webhook).await, [] as [Value; 0]);
    holder.commit().await.unwrap();
    all_is_delivered(&app).await;
    let deliveries = deliveries(&app, &shop, webhook).await;
    let lines: Vec<String> = deliveries
        .iter()
        .map(|delivery| {
            format!(
                "{} {}",
                delivery["number"],
                delivery["type"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "1 coupon.assigned",
            "2 coupon.assigned",
            "2 import.finished",
            "2 coupon-set.refilled",
            "3 coupon.assigned",
            "3 import.finished",
            "3 coupon-set.refilled",
        ]
    );
}

#[tokio::test]
async fn each_import_that_ends_is_delivered_as_the_api_shows_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let webhook = listen(&app, &shop, &["import.finished", "coupon-set.refilled"]).await;
    let set = shop.multiple("set", &[]).await;
    let mut imports = vec![set.fill(&["A", "B", "A"]).await];
    let broken = set.upload("text/csv", "", "code\n\"C\n").await.expect(201);
    imports.push(set.ended(broken.str("id")).await);
    let judged = set
        .upload("text/csv", "?mode=validate", "code\nA\nD\n")
        .await
        .expect(201);
    imports.push(set.ended(judged.str("id")).await);
    let again = set.upload("text/csv", "", "code\nA\n").await.expect(201);
    imports.push(set.ended(again.str("id")).await);
    let running = ByHand::store(&app, &set, "inProgress", &[&["X"]]).await;
    imports.push(cancel(&shop, running.id).await.expect(200).body);
    all_is_delivered(&app).await;
    let deliveries = deliveries(&app, &shop, webhook).await;
    let finished = |delivery: &&Value| delivery["type"] == "import.finished";
    let data: Vec<&Value> = deliveries
        .iter()
        .filter(finished)
        .map(|delivery| &delivery["payload"])
        .collect();
    assert_eq!(data.len(), imports.len(), "{data:?}");
    for (data, import) in data.into_iter().zip(&imports) {
        let members = data.as_object().unwrap();
        assert_eq!(members.len(), 14);
        for (name, value) in members {
            let name = if name == "importId" { "id" } else { name };
            if name.ends_with("At") && value.is_string() {
                let time = |value: &Value| -> chrono::DateTime<chrono::Utc> {
                    value.as_str().unwrap().parse().unwrap()
                };
                assert_eq!(time(value), time(&import[name]), "{name}");
            } else {
                assert_eq!(*value, import[name], "{name} of {import}");
            }
        }
    }
    let statuses: Vec<&Value> = imports.iter().map(|import| &import["status"]).collect();
    assert_eq!(
        statuses,
        ["finished", "error", "finished", "finished", "cancelled"]
    );
    let refills: Vec<&Value> = deliveries
        .iter()
        .filter(|delivery| !finished(delivery))
        .map(|delivery| &delivery["payload"])
        .collect();
    let refill =
        json!({"couponSetId": set.id, "importId": imports[0]["id"], "added": 2, "available": 2});
    assert_eq!(refills, [&refill]);
}
