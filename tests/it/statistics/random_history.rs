//! Statistics equal a recount of the base tables, at each hour of a random history of many hours and at any stage of
//! the roll-up.

use serde_json::{Value, json};

use crate::faults::random::Random;
use crate::statistics::recount::{RESET, STOP_ROLL_UP, compare, compare_tenant, pass};
use crate::support::ledger::check_ledger;
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, eventually};

/// Hours of a history.
const HOURS: u32 = 24;

/// A shop with a random history.
struct RandomShop {
    app: TestApp,
    shop: Shop,
    /// With their numbers.
    sets: Vec<(i64, CouponSet)>,
    random: Random,
    codes: u32,
    /// Number of responses while nothing, a part and all was rolled up.
    seen: [u32; 3],
}

impl RandomShop {
    async fn open(seed: u64) -> Self {
        let app = TestApp::start().await;
        let shop = app.shop().await;
        let child = shop.single("child", "C", Some(40)).await;
        let body = json!({"name": "main", "type": "multiple", "childCouponSetId": child.id});
        let main = shop.set(body).await;
        let other = shop.multiple("other", &[]).await;
        let unlimited = shop.single("unlimited", "U", None).await;
        Self {
            app,
            shop,
            sets: (1..).zip([child, main, other, unlimited]).collect(),
            random: Random::new(seed),
            codes: 0,
            seen: [0; 3],
        }
    }

    /// Performs one random operation on a set.
    async fn act(&mut self) {
        // Most operations concern the sets whose codes are assigned and released.
        let (_, set) = self.sets[[0, 1, 1, 1, 2, 2, 2, 3][self.random.index(8)]].clone();
        let is_multiple = set.read().await["type"] == "multiple";
        match self.random.below(20) {
            0 | 1 if is_multiple => self.fill(&set).await,
            2 if is_multiple => self.withdraw(&set).await,
            3 if is_multiple && self.random.percent(30) => self.undo(&set).await,
            2 | 3 if !is_multiple => {
                let quantity = match set.read().await["quantity"].as_i64() {
                    Some(quantity) => json!(quantity + 3),
                    None => Value::Null,
                };
                set.patch(json!({"quantity": quantity})).await.expect(200);
            }
            4 if self.random.percent(40) => {
                let hours = self.random.below(8);
                let end = format!("select now() + interval '{hours} hours 1 second'");
                let end = match hours {
                    0..2 => self.app.database.query_value(&end).await,
                    _ => Value::Null,
                };
                set.patch(json!({"expiresAt": end})).await.expect(200);
            }
            5..12 => self.assign(&set).await,
            _ => self.record(&set).await,
        }
    }

    async fn fill(&mut self, set: &CouponSet) {
        let mut codes = Vec::new();
        for _ in 0..=self.random.below(8) {
            self.codes += 1;
            let minutes = self.random.below(15 * 60);
            let expiry = match self.random.below(3) {
                0 => Value::Null,
                1 => {
                    let expiry = format!("select now() + interval '{minutes} minutes'");
                    self.app.database.query_value(&expiry).await
                }
                // On the stroke of an hour.
                _ => {
                    let expiry = format!(
                        "select date_trunc('hour', now()) + interval '{} hours'",
                        1 + minutes / 60
                    );
                    self.app.database.query_value(&expiry).await
                }
            };
            codes.push(json!({"code": format!("CODE-{}", self.codes), "expiresAt": expiry}));
        }
        let body = json!({"codes": codes});
        let uri = format!("{}/imports", set.path());
        let import = set.client.post(&uri, body).await.expect(201);
        set.ended(import.str("id")).await;
    }

    async fn withdraw(&mut self, set: &CouponSet) {
        let status = ["available", "expired"][self.random.index(2)];
        let uri = format!("{}/coupons?status={status}&limit=1000", set.path());
        let coupons = set.client.get(&uri).await.expect(200);
        let coupons = coupons.results();
        if !coupons.is_empty() {
            let codes: Vec<&Value> = (0..3)
                .map(|_| &coupons[self.random.index(coupons.len())]["code"])
                .collect();
            let uri = format!("{}/coupons/withdraw", set.path());
            let body = json!({"codes": codes});
            set.client.post(&uri, body).await.expect(200);
        }
    }

    async fn undo(&mut self, set: &CouponSet) {
        let uri = format!("/v1/imports?couponSetId={}", set.id);
        let imports = set.client.get(&uri).await.expect(200);
        let imports = imports.results();
        if !imports.is_empty() {
            // The newest imports have most codes left.
            let import = &imports[self.random.index(imports.len().min(3))]["id"];
            let uri = format!("/v1/imports/{}/undo", import.as_str().unwrap());
            set.client.post(&uri, json!({})).await;
        }
    }

    async fn assign(&mut self, set: &CouponSet) {
        let workflow = [None, Some("birthday"), Some("welcome")][self.random.index(3)];
        let node = [None, Some("first"), Some("second")][self.random.index(3)];
        let reserve = self
            .random
            .percent(40)
            .then(|| 3600 * (1 + self.random.below(4)));
        let items: Vec<Value> = (0..=self.random.below(3))
            .map(|_| {
                json!({
                    "contactId": format!("contact {}", self.random.below(20)),
                    "workflowId": workflow,
                    "nodeId": node,
                    "reserveForSeconds": reserve,
                })
            })
            .collect();
        set.assign_batch(json!(items), None).await;
    }

    /// Records an event for an assignment of the set, which may refuse it.
    async fn record(&mut self, set: &CouponSet) {
        let uri = format!("/v1/assignments?couponSetId={}&limit=1000", set.id);
        let given = set.client.get(&uri).await.expect(200);
        let given = given.results();
        if !given.is_empty() {
            let id = given[self.random.index(given.len())]["id"]
                .as_str()
                .unwrap();
            let events = ["confirm", "sent", "used", "release", "release", "void"];
            set.record(events[self.random.index(events.len())], id)
                .await;
        }
    }

    async fn execute(&self, statement: &str) {
        self.app.database.execute(statement).await;
    }

    /// Compares the responses with each other and with a recount, while nothing, a part and all is rolled up.
    async fn check(&mut self) {
        let hour = "select date_trunc('hour', now())";
        let began = self.app.database.query_value(hour).await;
        let query = [
            "?interval=hour&from=",
            "?interval=day&timezone=Asia/Kolkata&from=",
            "?interval=week&timezone=America/St_Johns&from=",
        ][self.random.index(3)];
        let from = "select to_char(now() at time zone 'UTC' - interval '40 hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
        let from = self.app.database.query_value(from).await;
        let query = format!("{query}{}", from.as_str().unwrap());
        let answers = self.answers(&query).await;

        self.execute(&format!("begin; {STOP_ROLL_UP} {RESET} commit"))
            .await;
        let behind = self.answers(&query).await;
        self.note(0, "not exists (select from statistics_progress)")
            .await;
        for _ in 0..3 {
            let portion = 1 + self.random.below(7);
            self.execute(&format!(
                "select roll_up_statistics(1, s.set_no, {portion}) from coupon_sets s"
            ))
            .await;
        }
        let half = self.answers(&query).await;
        self.note(
            1,
            "exists (select from statistics_tails where rolled_up > 0 and rolled_up < number)",
        )
        .await;
        // In batches, so that quarters of an hour are rolled up in several parts too.
        let portion = 1 + self.random.below(20);
        self.execute(&format!(
            "do $$ begin
               while exists (select from statistics_tails where rolled_up < number) loop
                 perform roll_up_statistics(1, s.set_no, {portion}) from coupon_sets s;
               end loop;
             end $$"
        ))
        .await;
        let done = self.answers(&query).await;
        self.note(
            2,
            "not exists (select from statistics_tails where rolled_up < number)",
        )
        .await;

        if self.app.database.query_value(hour).await != began {
            return;
        }
        assert_eq!(answers, behind);
        assert_eq!(answers, half);
        assert_eq!(answers, done);
        let mut all = Vec::new();
        for ((number, _), answer) in self.sets.iter().zip(&answers) {
            compare(&self.app, *number, answer).await;
            all.push(answer);
        }
        compare_tenant(&all, &answers[self.sets.len()]);
    }

    /// Statistics of all sets, and of the tenant.
    async fn answers(&self, query: &str) -> Vec<Value> {
        let mut answers = Vec::new();
        for (_, set) in &self.sets {
            let uri = format!("{}/statistics{query}", set.path());
            answers.push(self.shop.client.get(&uri).await.expect(200).body);
        }
        let uri = format!("/v1/statistics{query}");
        answers.push(self.shop.client.get(&uri).await.expect(200).body);
        answers
    }

    async fn note(&mut self, state: usize, condition: &str) {
        if self
            .app
            .database
            .query_value(&format!("select {condition}"))
            .await
            == true
        {
            self.seen[state] += 1;
        }
    }
}

/// Conditions that the histories together must cover for the test to be meaningful.
const CONDITIONS: [&str; 5] = [
    "imports i join lots l on l.import_id = i.id
       join cards c on c.set_no = l.set_no and c.lot_no = l.lot_no
       left join assignments a on a.set_no = c.set_no and a.lot_no = c.lot_no and a.ordinal = c.ordinal
      where i.undone_at is not null and a.number is null and c.expires_at between i.undone_at and now()",
    "withdrawals w join cards c using (set_no, lot_no, ordinal) where c.expires_at < now()",
    "ledger_entries e join assignments a on a.set_no = e.set_no and a.number = e.assignment_number
       join cards c on c.set_no = a.set_no and c.lot_no = a.lot_no and c.ordinal = a.ordinal
      where e.event in ('released', 'expired') and c.expires_at < now()",
    "cards c left join assignments a using (set_no, lot_no, ordinal) where c.expires_at < now() and a.number is null",
    "coupon_set_terms where expires_at < now()",
];

/// Returns the conditions that the history covered.
async fn run(seed: u64) -> [bool; 5] {
    let mut shop = RandomShop::open(seed).await;
    for hour in 0..HOURS {
        for _ in 0..7 {
            shop.act().await;
        }
        if hour % 5 == 4 {
            shop.check().await;
        }
        let hours = u32::from(hour % 7 == 6) * 3 + 1;
        pass(&shop.app, hours).await;
    }
    shop.check().await;
    check_ledger(&shop.app).await;
    assert!(shop.seen.iter().all(|seen| *seen > 0), "{:?}", shop.seen);
    let mut lived = [false; 5];
    for (lived, what) in lived.iter_mut().zip(CONDITIONS) {
        let query = format!("select exists (select from {what})");
        *lived = shop.app.database.query_value(&query).await == true;
    }
    lived
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_what_a_recount_gives_however_far_the_roll_up_is() {
    let (one, other) = tokio::join!(run(1), run(2));
    let lived: Vec<bool> = one
        .iter()
        .zip(other)
        .map(|(one, other)| *one || other)
        .collect();
    assert_eq!(lived, [true; 5]);
}

/// Deletes the sets but the last one, 26 hours ago, and waits until nothing needs their ledgers.
async fn delete_sets(shop: &RandomShop) {
    // The child can be deleted once it serves for no other set.
    for place in [1, 0, 2] {
        shop.sets[place].1.delete().await.expect(204);
    }
    pass(&shop.app, 26).await;
    shop.execute(
        "update coupon_sets set deleted_at = deleted_at - interval '26 hours' where deleted_at is not null",
    )
    .await;
    eventually("everything is rolled up and cleaned up", async || {
        let left = "select (select count(*) from statistics_tails where rolled_up < number)
                         + (select count(*) from imports where needs_cleanup)
                         + (select count(*) from reservations)";
        (shop.app.database.query_value(left).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_stay_as_they_are_while_the_ledgers_of_deleted_sets_are_removed() {
    let mut shop = RandomShop::open(3).await;
    for _ in 0..14 {
        for _ in 0..7 {
            shop.act().await;
        }
        pass(&shop.app, 1).await;
    }
    delete_sets(&shop).await;

    // The sets were deleted in the first period, and after the second one.
    let mut before = Vec::new();
    for to in [0, 30] {
        let time = |hours: i32| {
            format!(
                "to_char(now() at time zone 'UTC' - interval '{hours} hours', 'YYYY-MM-DD\"T\"HH24:00:00\"Z\"')"
            )
        };
        let uri = format!(
            "select concat('/v1/statistics?interval=hour&from=', {}, '&to=', {})",
            time(50),
            time(to)
        );
        let uri = shop.app.database.query_value(&uri).await;
        let uri = uri.as_str().unwrap().to_owned();
        let answer = shop.shop.client.get(&uri).await.expect(200).body;
        for name in ["expired", "servedForOthers", "released", "withdrawn"] {
            assert!(answer["totals"][name].as_i64() > Some(0), "{answer}");
        }
        before.push((uri, answer));
    }

    let mut portions = 0;
    for set in 1..=3 {
        let mut table = json!(1);
        while !table.is_null() {
            let portion = format!("select * from remove_ledger(1, {set}, 1, {table}, 3)");
            let portion = shop.app.database.query_rows(&portion).await[0].take();
            let more = portion["deleted"] != 0 || portion["next_table"].is_null();
            assert!(more, "the ledger of {set} is needed");
            table = portion["next_table"].clone();
            portions += 1;
            for (uri, before) in &before {
                let answer = shop.shop.client.get(uri).await.expect(200).body;
                assert_eq!(&answer, before, "{uri} after {portions} portions");
            }
        }
    }
    assert!(portions > 50, "{portions}");
    let left = "select (select count(*) from cards) + (select count(*) from assignments where set_no <> 4)";
    assert_eq!(shop.app.database.query_value(left).await, 0);
}
