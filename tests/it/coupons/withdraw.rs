//! Withdrawing codes by name: a code that no contact holds is never assigned again, by any kind of request.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::ledger::check_ledger;
use crate::support::rows::{hold_sweeper, lapse};
use crate::support::shop::CouponSet;

impl CouponSet {
    /// Requests the withdrawal of these codes.
    pub async fn ask_to_withdraw(&self, body: Value) -> Answer {
        let uri = format!("{}/coupons/withdraw", self.path());
        self.client.post(&uri, body).await
    }

    /// Withdraws codes and returns the result of each, as in "handedOut sent".
    pub async fn withdraw(&self, codes: &[&str]) -> Vec<String> {
        let answer = self.ask_to_withdraw(json!({"codes": codes})).await;
        let answer = answer.expect(200);
        let results = answer.results().iter().zip(codes);
        results
            .map(|(result, code)| {
                assert_eq!(result["code"], *code);
                let outcome = result["outcome"].as_str().unwrap();
                match result["state"].as_str() {
                    Some(state) => format!("{outcome} {state}"),
                    None => outcome.to_owned(),
                }
            })
            .collect()
    }
}

/// Assigns until the set refuses, and returns the codes.
pub async fn empty(set: &CouponSet) -> Vec<String> {
    let mut codes = Vec::new();
    loop {
        let answer = set.assign("ann").await;
        if answer.status == 409 {
            assert_eq!(answer.problem(), "coupon-set-exhausted");
            return codes;
        }
        codes.push(answer.expect(201).str("couponCode").to_owned());
    }
}

#[tokio::test]
async fn each_code_gets_its_own_result_and_a_repeat_changes_nothing() {
    let app = TestApp::start().await;
    hold_sweeper(&app).await;
    let shop = app.shop().await;
    let codes = [
        "ASSIGNED", "RESERVED", "SENT", "USED", "VOID", "RELEASED", "LAPSED", "FREE",
    ];
    let set = shop.multiple("set", &codes).await;
    let other = shop.multiple("other", &["OTHER", "FREE"]).await;
    set.assign("ann").await.expect(201);
    let mut ids = Vec::new();
    for contact in ["bob", "cat", "dan", "eve", "fay"] {
        let given = set.reserve(contact, 600).await.expect(201);
        ids.push(given.str("id").to_owned());
    }
    for id in &ids[1..] {
        set.confirm(id).await.expect(200);
    }
    for (id, event) in ids[1..].iter().zip(["sent", "used", "void", "release"]) {
        set.record(event, id).await.expect(200);
    }
    // RELEASED is queued behind codes that were never assigned.
    set.reserve("gus", 600).await.expect(201);
    app.database
        .execute(
            "update reservations set expires_at = now() - interval '1 second'
              where number = (select max(number) from assignments)",
        )
        .await;
    assert_eq!(set.counts().await, [3, 1, 3, 1, 0]);

    let asked = [&codes[..], &["OTHER", "free", "FREE"]].concat();
    assert_eq!(
        set.withdraw(&asked).await,
        [
            "handedOut assigned",
            "handedOut reserved",
            "handedOut sent",
            "handedOut used",
            "handedOut void",
            "withdrawn",
            "withdrawn",
            "withdrawn",
            "notFound",
            "notFound",
            "withdrawn",
        ]
    );
    assert_eq!(set.counts().await, [0, 1, 3, 1, 0]);
    let read = set.read().await;
    assert_eq!(
        (&read["quantity"], &read["withdrawn"]),
        (&json!(5), &json!(3))
    );
    assert_eq!(read["state"], "exhausted");
    for _ in 0..2 {
        let again = set.withdraw(&["RELEASED", "FREE", "LAPSED", "USED"]).await;
        assert_eq!(
            again,
            [
                "alreadyWithdrawn",
                "alreadyWithdrawn",
                "alreadyWithdrawn",
                "handedOut used"
            ]
        );
    }
    assert_eq!(set.read().await["withdrawn"], 3);
    assert_eq!(empty(&set).await, Vec::<String>::new());
    assert_eq!(empty(&other).await, ["OTHER", "FREE"]);
    let entries = "select codes, withdrawn, key_id is not null as by_key, reason, import_id from ledger_entries
                    where event = 'withdrawn'";
    assert_eq!(
        app.database.query_rows(entries).await,
        json!([{"codes": 3, "withdrawn": 3, "by_key": true, "reason": null, "import_id": null}])
    );
    check_ledger(&app).await;
}

#[tokio::test]
async fn withdrawn_codes_are_passed_over_in_every_way_of_dealing() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let codes: Vec<String> = (0..100).map(|n| format!("C{n:02}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple("set", &codes).await;
    let parent = shop
        .set(json!({"name": "parent", "type": "multiple", "childCouponSetId": set.id}))
        .await;
    let given = |answer: Answer| answer.expect(201).str("couponCode").to_owned();
    assert_eq!(given(set.assign("ann").await), "C00");

    // At the cursor, one in the middle, a long run, and the end.
    let withdrawn: Vec<&str> = [&codes[1..4], &codes[6..7], &codes[10..60], &codes[97..]].concat();
    assert!(
        set.withdraw(&withdrawn)
            .await
            .iter()
            .all(|was| was == "withdrawn")
    );
    assert_eq!(set.counts().await, [42, 0, 1, 0, 0]);
    assert_eq!(given(set.assign("ann").await), "C04");
    assert_eq!(given(set.reserve("ann", 600).await), "C05");
    assert_eq!(given(parent.assign("ann").await), "C07");
    let items: Vec<Value> = (0..5)
        .map(|n| json!({"contactId": format!("b{n}")}))
        .collect();
    let batch = set.assign_batch(json!(items), None).await;
    let batch: Vec<&Value> = batch
        .iter()
        .map(|r| &r["assignment"]["couponCode"])
        .collect();
    assert_eq!(batch, ["C08", "C09", "C60", "C61", "C62"]);
    // All-or-nothing does not count withdrawn codes as available.
    assert_eq!(set.counts().await, [34, 1, 8, 0, 0]);
    let items = |count: usize| -> Value {
        (0..count)
            .map(|n| json!({"contactId": format!("c{n}")}))
            .collect()
    };
    let refused = set.assign_all_or_nothing(items(35)).await;
    assert_eq!(refused.refusal(), "409 batch-withheld");
    check_ledger(&app).await;
    let all = set.assign_all_or_nothing(items(34)).await.expect(200);
    let last = &all.results()[33]["assignment"]["couponCode"];
    assert_eq!(last, "C96");
    assert_eq!(empty(&set).await, Vec::<String>::new());
    check_ledger(&app).await;
}

#[tokio::test]
async fn a_set_whose_codes_are_all_withdrawn_is_exhausted_until_the_next_import() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B", "C"]).await;
    set.withdraw(&["C", "B", "A"]).await;
    assert_eq!(set.read().await["state"], "exhausted");
    assert_eq!(empty(&set).await, Vec::<String>::new());
    assert_eq!(
        app.database.query_value("select state from lots").await,
        "closed"
    );
    // They are no duplicates, and each is in the set once.
    let import = set.fill(&["B", "D", "B", "A"]).await;
    assert_eq!(import["success"], 3);
    assert_eq!(import["duplicates"], 1);
    assert_eq!(set.counts().await, [3, 0, 0, 0, 0]);
    assert_eq!(set.withdraw(&["B"]).await, ["withdrawn"]);
    assert_eq!(empty(&set).await, ["D", "A"]);
    let again = set.fill(&["A", "B", "C", "D"]).await;
    assert_eq!(
        (&again["success"], &again["duplicates"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(empty(&set).await, ["B", "C"]);
    let set = set.read().await;
    assert_eq!(
        (&set["quantity"], &set["withdrawn"]),
        (&json!(4), &json!(4))
    );
    check_ledger(&app).await;
}

#[tokio::test]
async fn a_code_that_was_given_back_waits_no_more_once_it_is_withdrawn() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B", "C"]).await;
    for contact in ["ann", "bob", "cat"] {
        let given = set.reserve(contact, 600).await.expect(201);
        set.release(given.str("id")).await.expect(200);
    }
    assert_eq!(set.withdraw(&["B"]).await, ["withdrawn"]);
    assert_eq!(set.counts().await, [2, 0, 0, 0, 0]);
    let given = set.assign("dan").await.expect(201);
    assert_eq!(given.str("couponCode"), "A");
    set.release(given.str("id")).await.expect(200);
    assert_eq!(empty(&set).await, ["C", "A"]);
    check_ledger(&app).await;
}

#[tokio::test]
async fn expired_codes_can_be_withdrawn_and_come_again() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let past = "2020-01-01T00:00:00Z";
    let codes = json!({"codes": [{"code": "OLD", "expiresAt": past}, {"code": "OLDER", "expiresAt": past}, "NEW"]});
    let import = set
        .client
        .post(&format!("{}/imports", set.path()), codes)
        .await;
    set.ended(import.expect(201).str("id")).await;
    set.assign("ann").await.expect(201);
    assert_eq!(set.counts().await, [0, 0, 1, 0, 2]);
    assert_eq!(set.withdraw(&["OLD"]).await, ["withdrawn"]);
    assert_eq!(set.counts().await, [0, 0, 1, 0, 1]);
    set.fill(&["OLD"]).await;
    assert_eq!(empty(&set).await, ["OLD"]);
    check_ledger(&app).await;
}

#[tokio::test]
async fn what_cannot_be_withdrawn_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A"]).await;
    for (body, pointers) in [
        (json!({}), vec!["/codes"]),
        (json!({"codes": []}), vec!["/codes"]),
        (json!({"codes": "A"}), vec!["/codes"]),
        (json!({"codes": ["A", " "]}), vec!["/codes/1"]),
        (json!({"codes": ["A", 1]}), vec!["/codes/1"]),
        (json!({"codes": vec!["A"; 10_001]}), vec!["/codes"]),
        (
            json!({"codes": ["A"], "reason": "", "x": 1}),
            vec!["/reason", "/x"],
        ),
    ] {
        let refused = set.ask_to_withdraw(body).await.expect(422);
        assert_eq!(refused.faults(), pointers);
    }
    assert_eq!(set.read().await["withdrawn"], 0);
    let single = shop.single("single", "ONE", None).await;
    let refused = single.ask_to_withdraw(json!({"codes": ["ONE"]})).await;
    assert_eq!(refused.refusal(), "422 single-set");
    set.delete().await.expect(204);
    let refused = set.ask_to_withdraw(json!({"codes": ["A"]})).await;
    assert_eq!(refused.refusal(), "404 not-found");
    check_ledger(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_is_asked_for_while_it_is_withdrawn_is_given_or_withdrawn() {
    let app = TestApp::start().await;
    let other = app.replica();
    let shop = app.shop().await;
    let codes: Vec<String> = (0..400).map(|n| format!("C{n:03}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple("set", &codes).await;
    let askers = (0..6).map(|n| {
        let set = if n % 2 == 0 {
            set.clone()
        } else {
            set.at(&shop.at(&other))
        };
        async move { empty(&set).await }
    });
    // From the end to the beginning, so that withdrawals meet concurrent assignments; and each code twice.
    let withdrawers = (0..2).map(|_| {
        let (set, codes) = (set.clone(), codes.clone());
        async move {
            let mut withdrawn = Vec::new();
            for portion in codes.rchunks(7) {
                let became = set.withdraw(portion).await;
                let became = portion.iter().zip(became);
                let now = became.filter(|(_, became)| became == "withdrawn");
                withdrawn.extend(now.map(|(code, _)| (*code).to_owned()));
            }
            withdrawn
        }
    });
    let (given, withdrawn) = tokio::join!(join_all(askers), join_all(withdrawers));
    let (given, withdrawn) = (given.concat(), withdrawn.concat());
    assert!(given.len() > 10 && withdrawn.len() > 10);
    let mut all = [given, withdrawn].concat();
    all.sort_unstable();
    assert_eq!(all, codes);
    check_ledger(&app).await;
}

#[tokio::test]
async fn ten_thousand_codes_are_withdrawn_by_one_request() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let codes: Vec<String> = (0..10_002).map(|n| format!("C{n:05}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple("set", &codes).await;
    let body = json!({"codes": codes[1..10_001], "reason": "They leaked"});
    set.ask_to_withdraw(body).await.expect(200);
    assert_eq!(set.counts().await, [2, 0, 0, 0, 0]);
    assert_eq!(empty(&set).await, ["C00000", "C10001"]);
    let entry = "select codes, reason from ledger_entries";
    assert_eq!(
        app.database.query_rows(entry).await,
        json!([{"codes": 10_000, "reason": "They leaked"}])
    );
    check_ledger(&app).await;
}

#[tokio::test]
async fn reservations_that_ran_out_are_available_or_withdrawn_before_the_sweeper_comes() {
    let app = TestApp::start().await;
    hold_sweeper(&app).await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B"]).await;
    set.reserve("ann", 600).await.expect(201);
    assert_eq!(
        set.withdraw(&["A", "B"]).await,
        ["handedOut reserved", "withdrawn"]
    );
    lapse(&app).await;
    assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
    assert_eq!(empty(&set).await, ["A"]);
    check_ledger(&app).await;
}
