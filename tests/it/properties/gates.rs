//! Cost limits: the database cost of one assignment does not depend on the size of the set, on an old open snapshot, or
//! on whether the tables were analyzed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, Executor, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use uuid::Uuid;

use crate::assignments::assign::concurrency::{holding_the_sets, someone_waits};
use crate::faults::wire::Messages;
use crate::support::program::folder;
use crate::support::shop::CouponSet;
use crate::support::{TestApp, rows, sql};

/// Assignments per call.
const BATCH: i64 = 64;
/// Calls that are measured, after those that warm up.
const CALLS: i64 = 10;

/// A session configured like those of the service's tasks.
async fn task(app: &TestApp) -> PgConnection {
    let mut connection = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(&mut connection, "set role couponry_app; set jit = off")
        .await
        .unwrap();
    connection
}

/// Fills a set directly in the database: `cards` codes in one lot, of which `dealt` are assigned.
async fn fill(app: &TestApp, set: &CouponSet, cards: i64, dealt: i64) {
    let set_no = app
        .database
        .query_value(&format!(
            "select set_no from coupon_sets where id = '{}'",
            set.id
        ))
        .await;
    let set_no = set_no.as_i64().unwrap();
    app.database
        .execute(&rows::dealt_lot(set_no, cards, dealt))
        .await;
}

/// The functions that assign codes.
const FUNCTIONS: [&str; 2] = ["assign_plain", "assign_batch"];

/// Shared buffers touched per assignment, in batches of new keys and new contacts.
async fn buffers(task: &mut PgConnection, function: &str, set: &CouponSet, name: &str) -> f64 {
    let mut touched = 0;
    for call in 0..CALLS + 2 {
        let items = format!(
            "(select array_agg(md5('{name}-{call}-' || n)::uuid) from generate_series(1, {BATCH}) n),
             (select array_agg('{name}-{call}-' || n) from generate_series(1, {BATCH}) n),
             array_fill('w'::text, array[{BATCH}]), array_fill(null::text, array[{BATCH}]),
             array_fill(null::text, array[{BATCH}])"
        );
        let callers = format!("array_fill('{}'::uuid, array[{BATCH}])", set.id);
        let query = if function == "assign_plain" {
            format!(
                "select * from assign_plain(
                   array[1], array['{}'::uuid], array[1], array[{BATCH}], array_fill(false, array[{BATCH}]), {items},
                   {callers})",
                set.id
            )
        } else {
            format!(
                "select * from assign_batch(1, '{}', null, false, false, {items}, null, {callers})",
                set.id
            )
        };
        let query = format!("explain (analyze, buffers, format json) {query}");
        let plan: Value = sql::value(&mut *task, query).await;
        let scan = &plan[0]["Plan"];
        assert_eq!(sql::actual_rows(scan), BATCH);
        // The first calls load catalogs and make plans.
        if call >= 2 {
            touched += scan["Shared Hit Blocks"].as_i64().unwrap()
                + scan["Shared Read Blocks"].as_i64().unwrap();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = touched as f64 / (BATCH * CALLS) as f64;
    each
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assignment_touches_as_few_buffers_of_5_million_codes_as_of_10_thousand() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let small = shop.multiple("small", &[]).await;
    let large = shop.multiple("large", &[]).await;
    fill(&app, &small, 10_000, 1_000).await;

    // This session makes its plans while the tables are small, and keeps them to the end.
    let mut old = task(&app).await;
    let mut of_small = Vec::new();
    for function in FUNCTIONS {
        let name = format!("{function}-small");
        let touched = buffers(&mut old, function, &small, &name).await;
        assert!(touched < 60.0, "{function} touches {touched} buffers");
        of_small.push((function, touched));
    }
    let flat = async |session: &mut PgConnection, when: &str| {
        for (function, of_small) in &of_small {
            let name = format!("{function}-{when}");
            let touched = buffers(session, function, &large, &name).await;
            println!(
                "{function}, {when}: {touched:.1} buffers an assignment; {of_small:.1} of a small set"
            );
            assert!(
                touched < of_small * 1.25,
                "{function}, {when}: {touched} buffers an assignment, {of_small} of a small set"
            );
        }
    };

    fill(&app, &large, 5_000_000, 500_000).await;
    flat(&mut old, "by old plans").await;
    let mut new = task(&app).await;
    flat(&mut new, "never analyzed").await;

    // A backup or a report: a snapshot that is older than everything that follows.
    let mut reader = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(
        &mut reader,
        "begin isolation level repeatable read; select 1",
    )
    .await
    .unwrap();
    for round in 0..8 {
        flat(&mut new, &format!("with an open snapshot, {round}")).await;
    }

    app.database.execute("analyze").await;
    flat(&mut old, "analyzed, by old plans").await;
    let mut newest = task(&app).await;
    flat(&mut newest, "analyzed").await;

    // An open snapshot does not make counters and ends of ledgers longer either.
    let counters = large.counters().await;
    assert_eq!(counters.0, json!(5_000_000));
}

/// Traffic of the connections that assign or record: executed statements, and statements in plain text (a `begin`).
#[derive(Debug, Default)]
struct StatementCounts {
    executed: AtomicUsize,
    plain: AtomicUsize,
}

impl StatementCounts {
    /// Returns the counts and resets them.
    fn take(&self) -> (usize, usize) {
        (
            self.executed.swap(0, Ordering::SeqCst),
            self.plain.swap(0, Ordering::SeqCst),
        )
    }
}

/// Forwards connections to the server's socket and counts the statements of the clients.
async fn listen(socket: PathBuf, sent: Arc<StatementCounts>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(lead(client, socket.clone(), Arc::clone(&sent)));
        }
    });
    port
}

async fn lead(
    client: TcpStream,
    socket: PathBuf,
    sent: Arc<StatementCounts>,
) -> std::io::Result<()> {
    let server = UnixStream::connect(socket).await?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut messages = Messages::of_client();
    let mut bytes = vec![0; 65_536];
    let mut writes = false;
    loop {
        let count = from_client.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let arrived = &bytes[..count];
        // The statement is named when it is prepared, at the first batch of a connection.
        writes |= arrived
            .windows(12)
            .any(|part| part == b"assign_plain" || part == b"assign_batch");
        writes |= arrived.windows(13).any(|part| part == b"record_events");
        for begin in messages.follow(arrived) {
            match begin.kind {
                b'E' if writes => sent.executed.fetch_add(1, Ordering::SeqCst),
                b'Q' if writes => sent.plain.fetch_add(1, Ordering::SeqCst),
                _ => continue,
            };
        }
        to_server.write_all(arrived).await?;
    }
}

/// A replica whose database traffic is counted.
async fn watched(app: &TestApp) -> (TestApp, Arc<StatementCounts>) {
    watched_with(app, &[]).await
}

async fn watched_with(app: &TestApp, settings: &[&str]) -> (TestApp, Arc<StatementCounts>) {
    let traffic = Arc::new(StatementCounts::default());
    let socket = app.database.options.get_socket().expect("a socket");
    let socket = socket.join(format!(".s.PGSQL.{}", app.database.options.get_port()));
    let port = listen(socket, Arc::clone(&traffic)).await;
    let mut database = app.database.shared();
    database.options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(app.database.options.get_username())
        .database(app.database.options.get_database().expect("a database"))
        .ssl_mode(PgSslMode::Disable);
    (TestApp::with(database, settings), traffic)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_one_round_trip_whether_it_has_one_item_or_five_hundred() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let codes: Vec<String> = (0..2_000).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple("birthday", &codes).await;

    let (replica, traffic) = watched(&app).await;
    let set = CouponSet {
        client: shop.at(&replica).client,
        ..set
    };

    set.assign("first").await.expect(201);
    assert_eq!(traffic.take(), (1, 0));
    for n in 0..20 {
        set.assign(&format!("one-{n}")).await.expect(201);
    }
    assert_eq!(
        traffic.take(),
        (20, 0),
        "one call for each request that is alone"
    );
    let items: Vec<Value> = (0..500)
        .map(|n| json!({"contactId": format!("many-{n}")}))
        .collect();
    let results = set.assign_batch(json!(items), None).await;
    assert!(results.iter().all(|result| result["status"] == 201));
    assert_eq!(traffic.take(), (1, 0), "one call for five hundred items");

    // Requests that arrive during a call share the next one, however slowly they arrive.
    let mut holder = holding_the_sets(&app).await;
    let asking = (0..64).map(|n| {
        let set = set.clone();
        async move { set.assign(&format!("at-once-{n}")).await.expect(201) }
    });
    tokio::join!(futures_util::future::join_all(asking), async {
        someone_waits(&app).await;
        holder.execute("commit").await.unwrap();
    });
    let (executed, plain) = traffic.take();
    assert_eq!(plain, 0);
    assert!(executed < 64, "{executed} calls for 64 requests at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_costs_no_round_trip_for_the_next_codes_of_a_set() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A1", "A2"]).await;
    set.fill(&["B1", "B2", "B3"]).await;
    let folder = folder();
    let path = folder.path().to_str().expect("text");
    let (replica, traffic) = watched_with(&app, &["--witness-dir", path]).await;
    let there = set.at(&shop.at(&replica));
    let mut executed = Vec::new();
    for contact in ["ann", "bob", "cat", "dan", "eve"] {
        there.assign(contact).await.expect(201);
        executed.push(traffic.take().0);
    }
    // The third one finds the first import empty, which takes two calls, and one for the witness.
    assert_eq!(executed, [1, 1, 3, 1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_66_sets_at_once_share_calls() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let (replica, traffic) = watched(&app).await;
    let there = shop.at(&replica);
    let mut sets = Vec::new();
    for n in 0..66 {
        let set = shop.multiple(&format!("set {n}"), &["A", "B"]).await;
        sets.push(set.at(&there));
    }
    // Each lane waits for a contact that another transaction inserts.
    let mut holder = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    let insert = "begin; insert into contacts (tenant_id, contact_id) values (1, 'held')";
    sql::run(&mut holder, insert).await.unwrap();
    let (first, rest) = sets.split_at(2);
    let (ask_first, ask_rest) = (
        first.iter().map(|set| set.assign("held")),
        rest.iter().map(|set| set.assign("ann")),
    );
    let (first, rest, ()) = tokio::join!(
        futures_util::future::join_all(ask_first),
        async {
            app.database.wait_for_lock_waiters(2).await;
            futures_util::future::join_all(ask_rest).await
        },
        async {
            app.database.wait_for_lock_waiters(2).await;
            // All requests are queued by now: this takes a turn of its own through the service.
            shop.client.get("/v1/coupon-sets").await.expect(200);
            sql::run(&mut holder, "rollback").await.unwrap();
        }
    );
    for answer in first.into_iter().chain(rest) {
        answer.expect(201);
    }
    let (executed, plain) = traffic.take();
    assert_eq!(plain, 0);
    assert!(executed < 33, "{executed} calls for 66 sets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_66_sets_in_one_request_share_calls() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut events = Vec::new();
    for n in 0..66 {
        let set = shop.multiple(&format!("set {n}"), &["A"]).await;
        let assignment = set.assign("ann").await.expect(201);
        events.push(json!({"assignmentId": assignment.str("id"), "event": "sent"}));
    }
    let (replica, traffic) = watched(&app).await;
    let there = shop.at(&replica);
    let body = json!({"events": events});
    let answer = there.client.post("/v1/assignments/events", body).await;
    let results = answer.expect(200).body["results"].clone();
    let results = results.as_array().expect("a list");
    assert!(results.iter().all(|result| result["status"] == 200));
    let (executed, plain) = traffic.take();
    assert_eq!(plain, 0);
    // Four sets at a time would take 17.
    assert!(executed < 17, "{executed} calls for 66 sets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_made_up_ids_of_as_many_sets_are_not_found_without_a_call_for_each() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A", "B"]).await;
    let given = set.assign("ann").await.expect(201);
    let id: Uuid = given.str("id").parse().unwrap();
    // The number of the set is above the 44 bits of the ledger number.
    let made_up: Vec<Value> = (1..=10_000)
        .map(|n| Uuid::from_u128(id.as_u128() + (n << 44)))
        .map(|id| json!({"assignmentId": id, "event": "used"}))
        .collect();

    let (replica, traffic) = watched(&app).await;
    let set = set.at(&shop.at(&replica));
    // One after the other, since both lock the set.
    let real = async {
        let answer = set.assign("bob").await;
        (answer, set.record("sent", given.str("id")).await)
    };
    let (results, (answer, recorded)) = tokio::join!(set.record_all(json!(made_up)), real);
    assert_eq!(results.len(), 10_000);
    for result in &results {
        assert_eq!(result["error"]["code"], "not-found", "{result}");
    }
    answer.expect(201);
    recorded.expect(200);
    assert_eq!(traffic.take(), (2, 0), "one call for each that is real");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_locked_sets_take_three_connections_and_leave_the_others_to_others() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut events = Vec::new();
    // More than there are connections for tasks.
    for n in 0..40 {
        let set = shop.single(&format!("set {n}"), "S", None).await;
        let given = set.assign("ann").await.expect(201);
        events.push(json!({"assignmentId": given.str("id"), "event": "used"}));
    }
    let mut holder = app.database.owner.begin().await.unwrap();
    let lock = "select from coupon_sets for no key update";
    sql::run(&mut holder, lock).await.unwrap();
    let other = shop.single("other", "O", None).await;
    let (results, ()) = tokio::join!(other.record_all(json!(events)), async {
        app.database.wait_for_lock_waiters(3).await;
        let given = other.assign("bob").await.expect(201);
        other.record("used", given.str("id")).await.expect(200);
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        let waiting = app.database.query_value(waiting).await;
        assert!(waiting.as_i64() <= Some(3), "{waiting} calls at once");
        holder.commit().await.unwrap();
    });
    assert_eq!(results.len(), 40);
    for result in &results {
        assert_eq!(result["state"], "used", "{result}");
    }
}

#[tokio::test]
async fn a_batch_of_more_than_ten_thousand_reservations_loses_no_ledger_entry() {
    const ITEMS: i64 = 10_001;
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("many", &[]).await;
    fill(&app, &set, ITEMS, 0).await;
    let mut task = task(&app).await;
    let query = format!(
        "select count(*) filter (where b.outcome = 'assigned' and b.state = 'reserved')
           from assign_batch(1, '{}', null, false, true,
             (select array_agg(md5(n::text)::uuid) from generate_series(1, {ITEMS}) n),
             (select array_agg('c-' || n) from generate_series(1, {ITEMS}) n),
             array_fill(null::text, array[{ITEMS}]), array_fill(null::text, array[{ITEMS}]),
             array_fill(null::text, array[{ITEMS}]), array_fill(60, array[{ITEMS}]),
             array_fill('{}'::uuid, array[{ITEMS}])) b",
        set.id, set.id
    );
    let reserved: i64 = sql::value(&mut task, query).await;
    assert_eq!(reserved, ITEMS);
    let entries = "select count(*) from ledger_entries where event = 'reserved'";
    assert_eq!(app.database.query_value(entries).await, json!(ITEMS));
}
