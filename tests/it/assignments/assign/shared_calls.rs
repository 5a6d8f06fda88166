//! Calls that many sets share: locked sets, the tenants of a call, and two calls at once.

use sqlx::{Connection, PgConnection};

use crate::support::{TestApp, sql};

/// A call of `assign_plain` with one item for each of these sets of tenants.
fn call(sets: &[(i64, &str)], contact: &str) -> String {
    let column = |value: &dyn Fn(usize) -> String| {
        let values: Vec<String> = (0..sets.len()).map(value).collect();
        values.join(",")
    };
    format!(
        "select array(select item from assign_plain(array[{}], array[{}]::uuid[], array[{}], array[{}], array[{}],
           array[{}]::uuid[], array[{}], array[{}]::text[], array[{}]::text[], array[{}]::text[], array[{}]::uuid[]))",
        column(&|n| sets[n].0.to_string()),
        column(&|n| format!("'{}'", sets[n].1)),
        column(&|n| (n + 1).to_string()),
        column(&|_| "1".to_owned()),
        column(&|_| "false".to_owned()),
        column(&|_| "gen_random_uuid()".to_owned()),
        column(&|_| format!("'{contact}'")),
        column(&|_| "null".to_owned()),
        column(&|_| "null".to_owned()),
        column(&|_| "null".to_owned()),
        column(&|_| "null".to_owned()),
    )
}

/// A session of the role of the service.
async fn session(app: &TestApp) -> PgConnection {
    let mut connection = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(&mut connection, "set role couponry_app")
        .await
        .unwrap();
    connection
}

#[tokio::test]
async fn a_set_that_is_locked_is_skipped_and_delays_no_other() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let (held, free) = (
        shop.multiple("held", &["A"]).await,
        shop.multiple("free", &["B"]).await,
    );
    let mut holder = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    let lock = format!(
        "begin; select 1 from coupon_sets where id = '{}' for no key update",
        held.id
    );
    sql::run(&mut holder, lock).await.unwrap();
    let mut session = session(&app).await;
    // The call would fail if it waited.
    sql::run(&mut session, "set statement_timeout = '2s'")
        .await
        .unwrap();
    let query = call(&[(1, &held.id), (1, &free.id)], "ann");
    let items: Vec<i32> = sql::value(&mut session, query).await;
    assert_eq!(items, [2]);
    let (one, other) = tokio::join!(
        async {
            let answer = held.assign("bob").await;
            answer.expect(201)
        },
        async {
            // A request for another set overtakes the one that waits.
            app.database.wait_for_lock_waiters(1).await;
            let more = shop.multiple("more", &["C"]).await;
            let given = more.assign("bob").await.expect(201);
            sql::run(&mut holder, "commit").await.unwrap();
            given
        }
    );
    assert_eq!(one.str("couponCode"), "A");
    assert_eq!(other.str("couponCode"), "C");
}

#[tokio::test]
async fn a_batch_reads_and_writes_no_tenant_that_is_not_in_it() {
    let app = TestApp::start().await;
    let (one, other) = (app.shop().await, app.shop().await);
    let mine = one.multiple("mine", &["A", "B"]).await;
    let theirs = other.multiple("theirs", &["A", "B"]).await;
    // The other tenant has a contact of the same id, merged, with a code.
    theirs.assign("ann").await.expect(201);
    let before = app.database.query_rows(OF_OTHERS).await;

    let mut session = session(&app).await;
    let items: Vec<i32> =
        sql::value(&mut session, call(&[(1, &theirs.id), (1, &mine.id)], "ann")).await;
    assert_eq!(items, [2], "a set is found only with its own tenant");
    let items: Vec<i32> = sql::value(&mut session, call(&[(2, &mine.id)], "ann")).await;
    assert_eq!(items, Vec::<i32>::new());
    assert_eq!(app.database.query_rows(OF_OTHERS).await, before);
    let contacts = "select count(*) from contacts where contact_id = 'ann'";
    assert_eq!(
        app.database.query_value(contacts).await,
        2,
        "each tenant has its own"
    );

    // Nobody else becomes the role that sees all tenants.
    for statement in [
        "set role couponry_lanes",
        "select * from assignments, contacts",
    ] {
        let mut fresh = PgConnection::connect_with(&app.database.options)
            .await
            .unwrap();
        sql::run(&mut fresh, "set session authorization couponry_app")
            .await
            .unwrap();
        let rows = sql::run(&mut fresh, statement).await;
        if statement.starts_with("set") {
            assert!(rows.unwrap_err().to_string().contains("permission denied"));
        } else {
            rows.unwrap();
            let seen: i64 = sql::value(&mut fresh, "select count(*) from assignments").await;
            assert_eq!(seen, 0);
        }
    }
}

/// All rows of the second tenant that the function could read or write.
const OF_OTHERS: &str = "
    select (select count(*) from assignments where tenant_id = 2) as assignments,
           (select count(*) from contacts where tenant_id = 2) as contacts,
           (select count(*) from ledger_entries where tenant_id = 2) as entries";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_of_the_same_sets_and_the_same_new_contacts_never_deadlock() {
    let app = TestApp::start().await;
    let codes: Vec<String> = (0..400).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let replica = app.replica();
    let shops = [app.shop().await, app.shop().await];
    let mut sets = Vec::new();
    for shop in &shops {
        for n in 0..8 {
            let set = shop.multiple(&format!("set {n}"), &codes).await;
            sets.push((set.at(&shop.at(&replica)), set));
        }
    }
    let mut requests = Vec::new();
    for round in 0..8 {
        // Both replicas ask for the same new contacts of all sets, in opposite orders.
        for (place, (there, here)) in sets.iter().enumerate() {
            let contact = format!("{round}-{}", place % 4);
            requests.push((here, contact.clone()));
            requests.push((there, contact));
        }
    }
    let forth = requests.iter().map(|(set, contact)| set.assign(contact));
    let back = requests
        .iter()
        .rev()
        .map(|(set, contact)| set.assign(contact));
    let answers = futures_util::future::join_all(forth.chain(back)).await;
    for answer in answers {
        answer.expect(201);
    }
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    sql::run(&mut session(&app).await, "select 1")
        .await
        .unwrap();
    assert_eq!(app.database.query_value(deadlocks).await, 0);
    crate::support::ledger::check_ledger(&app).await;
}
