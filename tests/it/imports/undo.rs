//! Undoing an import: codes that no contact holds are withdrawn at once, and assigned codes stay.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::coupons::withdraw::empty;
use crate::support::TestApp;
use crate::support::client::{Answer, Client};
use crate::support::ledger::check_ledger;
use crate::support::rows::hold_sweeper;
use crate::support::shop::CouponSet;
use crate::support::sql;

async fn undo(client: &Client, import: &Value, query: &str) -> Answer {
    let uri = format!("/v1/imports/{}/undo{query}", import["id"].as_str().unwrap());
    client.send(Method::POST, &uri, &[], Body::empty()).await
}

/// `withdrawn`, `withdrawnBefore` and `kept` of a response, which add up to the import.
fn numbers(import: &Value, answer: Answer) -> [i64; 3] {
    let undo = answer.expect(200).body;
    let numbers = ["withdrawn", "withdrawnBefore", "kept"].map(|name| undo[name].as_i64().unwrap());
    assert_eq!(import["success"], numbers.iter().sum::<i64>(), "{undo}");
    numbers
}

#[tokio::test]
async fn a_dry_run_says_what_an_undo_does_and_an_undo_may_be_repeated() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let first = set.fill(&["A", "B", "C", "D", "E", "F"]).await;
    let second = set.fill(&["X", "Y"]).await;
    for contact in ["ann", "bob"] {
        set.assign(contact).await.expect(201);
    }
    set.withdraw(&["E"]).await;
    let client = &shop.client;

    let before = set.read().await;
    for _ in 0..2 {
        let dry = undo(client, &first, "?dryRun=true").await;
        assert_eq!(dry.body["dryRun"], true);
        assert_eq!(dry.body["undoneAt"], Value::Null);
        assert_eq!(numbers(&first, dry), [3, 1, 2]);
    }
    assert_eq!(set.read().await, before);

    let uri = format!(
        "/v1/imports/{}/undo?dryRun=false",
        first["id"].as_str().unwrap()
    );
    let done = client.post(&uri, json!({"reason": "The wrong file"})).await;
    assert_eq!(done.body["dryRun"], false);
    let at = done.str("undoneAt").to_owned();
    assert_eq!(numbers(&first, done), [3, 1, 2]);
    assert_eq!(set.counts().await, [2, 0, 2, 0, 0]);
    for query in ["", "?dryRun=true", "?dryRun=false"] {
        let again = undo(client, &first, query).await;
        assert_eq!(again.str("undoneAt"), at);
        assert_eq!(numbers(&first, again), [3, 1, 2]);
    }
    let entries = "select codes, withdrawn, reason, key_id is not null as by_key, import_id from ledger_entries
                    where import_id is not null";
    let expected = json!([{
        "codes": 3, "withdrawn": 4, "reason": "The wrong file", "by_key": true, "import_id": first["id"],
    }]);
    assert_eq!(app.database.query_rows(entries).await, expected);
    assert_eq!(set.read().await["withdrawn"], 4);
    let read = set.ended(first["id"].as_str().unwrap()).await;
    assert_eq!(
        (&read["undoneAt"], &read["withdrawn"]),
        (&json!(at), &json!(3))
    );
    assert_eq!(
        (&second["undoneAt"], &second["withdrawn"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(empty(&set).await, ["X", "Y"]);
    assert_eq!(numbers(&second, undo(client, &second, "").await), [0, 0, 2]);
    check_ledger(&app).await;
}

#[tokio::test]
async fn the_codes_of_an_undone_import_come_again_but_for_those_that_contacts_have() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let wrong = set.fill(&["A", "B", "C"]).await;
    set.assign("ann").await.expect(201);
    undo(&shop.client, &wrong, "").await.expect(200);
    assert_eq!(empty(&set).await, Vec::<String>::new());
    let right = set.fill(&["C", "B", "A"]).await;
    assert_eq!(
        (&right["success"], &right["duplicates"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(set.counts().await, [2, 0, 1, 0, 0]);
    // The same result again.
    assert_eq!(
        numbers(&right, undo(&shop.client, &right, "").await),
        [2, 0, 0]
    );
    set.fill(&["A", "B", "C"]).await;
    assert_eq!(empty(&set).await, ["B", "C"]);
    check_ledger(&app).await;
}

#[tokio::test]
async fn what_was_given_back_is_withdrawn_whether_before_the_undo_or_after() {
    let app = TestApp::start().await;
    hold_sweeper(&app).await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let soon = "2090-01-01T00:00:00Z";
    let codes = ["A", "B", "C", "D", "E"].map(|code| match code {
        "B" | "D" => json!({"code": code, "expiresAt": soon}),
        _ => json!(code),
    });
    let uri = format!("{}/imports", set.path());
    let import = set.client.post(&uri, json!({"codes": codes})).await;
    let import = set.ended(import.expect(201).str("id")).await;
    let other = set.fill(&["X", "Y"]).await;
    let mut ids = Vec::new();
    for contact in ["ann", "bob", "cat", "dan", "eve", "fay"] {
        let given = set.reserve(contact, 600).await.expect(201);
        ids.push((
            given.str("couponCode").to_owned(),
            given.str("id").to_owned(),
        ));
    }
    let order: Vec<&str> = ids.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(order, ["B", "D", "A", "C", "E", "X"]);
    // One that expires, one that does not, and one of the other import.
    for n in [0, 2, 5] {
        set.release(&ids[n].1).await.expect(200);
    }
    assert_eq!(set.counts().await, [4, 3, 0, 0, 0]);
    let done = undo(&shop.client, &import, "").await;
    assert_eq!(numbers(&import, done), [2, 0, 3]);
    assert_eq!(set.counts().await, [2, 3, 0, 0, 0]);

    // D is released into a withdrawn lot, C runs out.
    set.release(&ids[1].1).await.expect(200);
    assert_eq!(set.counts().await, [2, 2, 0, 0, 0]);
    assert_eq!(set.read().await["withdrawn"], 3);
    check_ledger(&app).await;
    let run_out = "update reservations r set expires_at = now() - interval '1 second'
                     from assignments a join cards c using (tenant_id, set_no, lot_no, ordinal)
                    where a.tenant_id = r.tenant_id and a.set_no = r.set_no and a.number = r.number and c.code = 'C';
                   update ledger_entries e set expires_at = r.expires_at
                     from reservations r
                    where r.tenant_id = e.tenant_id and r.set_no = e.set_no and r.number = e.assignment_number";
    app.database.execute(run_out).await;
    // It is not swept yet, but it counts as void already.
    assert_eq!(set.counts().await, [2, 1, 0, 0, 0]);
    assert_eq!(set.read().await["withdrawn"], 4);
    check_ledger(&app).await;
    assert_eq!(empty(&set).await, ["Y", "X"]);
    let read = set.read().await;
    assert_eq!(
        (&read["withdrawn"], &read["released"]),
        (&json!(4), &json!(5))
    );
    // An open reservation can still be confirmed.
    set.confirm(&ids[4].1).await.expect(200);
    assert_eq!(set.counts().await, [0, 0, 3, 0, 0]);
    // A release into a set that had no lot for it yet.
    let given = set.fill(&["Z"]).await;
    let z = set.assign("gus").await.expect(201);
    assert_eq!(
        numbers(&given, undo(&shop.client, &given, "").await),
        [0, 0, 1]
    );
    set.release(z.str("id")).await.expect(200);
    assert_eq!(empty(&set).await, Vec::<String>::new());
    assert_eq!(set.fill(&["Z", "A", "D"]).await["success"], 3);
    assert_eq!(
        numbers(&other, undo(&shop.client, &other, "?dryRun=true").await),
        [0, 0, 2]
    );
    check_ledger(&app).await;
}

#[tokio::test]
async fn expired_codes_are_withdrawn_too_wherever_dealing_passed_them_over() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let codes: Vec<Value> = (0..9)
        .map(|n| match n {
            // Two that have expired at once, two that will.
            0 | 1 => json!({"code": format!("C{n}"), "expiresAt": "2020-01-01T00:00:00Z"}),
            2..=5 => {
                json!({"code": format!("C{n}"), "expiresAt": format!("209{n}-01-01T00:00:00Z")})
            }
            _ => json!(format!("C{n}")),
        })
        .collect();
    let uri = format!("{}/imports", set.path());
    let import = set.client.post(&uri, json!({"codes": codes})).await;
    let import = set.ended(import.expect(201).str("id")).await;
    assert_eq!(set.assign("ann").await.str("couponCode"), "C2");
    let expire = "update cards set expires_at = now() - interval '1 second' where code in ('C2', 'C3', 'C4')";
    app.database.execute(expire).await;
    assert_eq!(set.assign("bob").await.str("couponCode"), "C5");
    set.withdraw(&["C1", "C4", "C6"]).await;
    assert_eq!(set.assign("cat").await.str("couponCode"), "C7");
    // C0 and C3 have expired and lie before the cursor, C8 after it.
    assert_eq!(set.counts().await, [1, 0, 3, 0, 2]);
    assert_eq!(
        numbers(&import, undo(&shop.client, &import, "?dryRun=true").await),
        [3, 3, 3]
    );
    assert_eq!(
        numbers(&import, undo(&shop.client, &import, "").await),
        [3, 3, 3]
    );
    assert_eq!(set.counts().await, [0, 0, 3, 0, 0]);
    let again = set.fill(&["C0", "C1", "C2", "C3", "C8"]).await;
    assert_eq!(
        (&again["success"], &again["duplicates"]),
        (&json!(4), &json!(1))
    );
    check_ledger(&app).await;
}

#[tokio::test]
async fn only_an_import_that_is_finished_can_be_undone() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let import = set.fill(&["A"]).await;
    let state = async |status: &str| {
        let statement = format!("update imports set status = '{status}'");
        app.database.execute(&statement).await;
    };
    for status in ["error", "cancelled"] {
        state(status).await;
        for query in ["", "?dryRun=true"] {
            let refused = undo(&shop.client, &import, query).await;
            assert_eq!(refused.refusal(), "409 wrong-state");
            assert_eq!(refused.str("state"), status);
        }
    }
    state("finished").await;
    let nothing = json!({"id": "01a2035b-9721-7153-a6a4-f88430c39d59"});
    assert_eq!(
        undo(&shop.client, &nothing, "").await.refusal(),
        "404 not-found"
    );
    assert_eq!(
        undo(&shop.client, &import, "?dryRun=maybe").await.status,
        400
    );
    let uri = format!("/v1/imports/{}/undo", import["id"].as_str().unwrap());
    let refused = shop
        .client
        .post(&uri, json!({"reason": "", "why": 1}))
        .await;
    assert_eq!(refused.faults(), ["/reason", "/why"]);
    assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
    // The same holds for a deleted set.
    set.delete().await.expect(204);
    assert_eq!(
        numbers(&import, undo(&shop.client, &import, "").await),
        [1, 0, 0]
    );
    check_ledger(&app).await;
}

/// Clients during an undo: they request codes, and release some, until there is nothing left.
async fn work(set: CouponSet, client: usize) -> Vec<Value> {
    let mut given = Vec::new();
    for n in 0.. {
        let contact = format!("{client}-{n}");
        let answer = match n % 3 {
            0 => set.reserve(&contact, 600).await,
            _ => set.assign(&contact).await,
        };
        if answer.status == 409 {
            return given;
        }
        let answer = answer.expect(201);
        if n % 5 == 0 {
            set.release(answer.str("id")).await.expect(200);
        }
        given.push(answer.body);
    }
    given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assignment_beside_an_undo_has_its_code_or_never_gets_it() {
    let app = TestApp::start().await;
    let other = app.replica();
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let codes = |prefix: &str, count: usize| -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    };
    let mut imports = Vec::new();
    for (prefix, count) in [("A", 400), ("B", 400), ("C", 100)] {
        let codes = codes(prefix, count);
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        imports.push(set.fill(&codes).await);
    }
    let clients = (0..8).map(|client| {
        let set = match client % 2 {
            0 => set.clone(),
            _ => set.at(&shop.at(&other)),
        };
        tokio::spawn(work(set, client))
    });
    let clients: Vec<_> = clients.collect();
    let undone = async {
        let mut undone = Vec::new();
        for (import, after) in [(&imports[0], 100), (&imports[1], 250)] {
            loop {
                let dealt = app
                    .database
                    .query_value("select count(*) from assignments")
                    .await;
                if dealt.as_i64().unwrap() >= after {
                    break;
                }
                tokio::task::yield_now().await;
            }
            undone.push(numbers(import, undo(&shop.client, import, "").await));
        }
        undone
    };
    let (undone, given) = tokio::join!(undone, join_all(clients));
    assert!(undone[0][0] > 0 && undone[1][0] > 0, "{undone:?}");

    let given: Vec<Value> = given.into_iter().flat_map(Result::unwrap).collect();
    let assigned: HashSet<&str> = given
        .iter()
        .map(|g| g["couponCode"].as_str().unwrap())
        .collect();
    // Each code was either assigned or withdrawn by the undo, and none was assigned after it.
    let broken = app
        .database
        .query_rows(
            "select c.code, c.lot_no, c.ordinal
               from cards c
               join lots l using (tenant_id, set_no, lot_no)
               left join assignments a using (tenant_id, set_no, lot_no, ordinal)
               join lots o on o.tenant_id = l.tenant_id and o.set_no = l.set_no
                          and o.lot_no = coalesce(nullif(l.origin_lot_no, 0), l.lot_no)
               join imports i on i.tenant_id = o.tenant_id and i.id = o.import_id
              where (a.number is null) <> is_withdrawn(c.tenant_id, c.set_no, c.lot_no, c.ordinal)
                 or a.assigned_at > i.undone_at",
        )
        .await;
    assert_eq!(broken, json!([]));
    for code in codes("C", 100) {
        assert!(assigned.contains(code.as_str()), "{code} is not assigned");
    }
    check_ledger(&app).await;
}

#[tokio::test]
async fn undoes_of_one_import_at_once_have_one_answer() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let import = set.fill(&["A", "B", "C"]).await;
    set.assign("ann").await.expect(201);
    let undoes = (0..4).map(|_| undo(&shop.client, &import, ""));
    let answers = join_all(undoes).await;
    for answer in answers {
        assert_eq!(numbers(&import, answer), [2, 0, 1]);
    }
    assert_eq!(
        app.database
            .query_value("select count(*) from ledger_entries")
            .await,
        1
    );
    check_ledger(&app).await;
}

#[tokio::test]
async fn an_undo_touches_as_few_pages_of_300_thousand_codes_as_of_300() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A"]).await;
    let set_no = 1;
    for (lot, size) in [(2, 300), (3, 300), (4, 300_000)] {
        app.database
            .execute(&format!(
                "insert into imports (tenant_id, id, set_no, status, origin, options, total, success, chunks, lot_no)
                 values (1, md5('{lot}')::uuid, {set_no}, 'finished', 'api', '{{}}', {size}, {size}, 1, {lot});
                 insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
                 values (1, {set_no}, {lot}, md5('{lot}')::uuid, {size}, 'open');
                 insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
                 select 1, {set_no}, {lot}, n, n, 'C{lot}-' || n from generate_series(1, {size}) n"
            ))
            .await;
    }
    let mut owner = app.database.owner.acquire().await.unwrap();
    let mut pages = Vec::new();
    for lot in [2, 3, 4] {
        let query = format!(
            "explain (analyze, buffers, wal, format json)
             select * from undo_import(1, md5('{lot}')::uuid, false, null, null)"
        );
        let plan: Value = sql::value(&mut owner, query).await;
        let plan = &plan[0]["Plan"];
        let count = |name: &str| plan[name].as_i64().unwrap();
        pages.push((
            count("Shared Hit Blocks") + count("Shared Read Blocks"),
            count("WAL Records"),
        ));
    }
    drop(owner);
    // The first call loads catalogs and makes plans.
    println!("pages and records of undoing 300, 300 and 300,000 codes: {pages:?}");
    assert!(pages[2].0 <= pages[1].0 + 20, "{pages:?}");
    assert!(pages[2].1 <= pages[1].1 + 10, "{pages:?}");
    assert_eq!(set.counts().await, [1, 0, 0, 0, 0]);
    check_ledger(&app).await;
}
