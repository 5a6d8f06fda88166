//! PostgreSQL outages: callers get 503 and retry, nothing is lost, and the service needs no restart.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, PgPool, Row};
use tempfile::TempDir;

use crate::support::OPERATOR_TOKEN;
use crate::support::database::{url, wait_for_lock_waiters};
use crate::support::program::{
    Client, Reply, Service, children, couponry, folder, folder_with_cluster, ready_pid, receive,
    runs, signal, start_postgres, until,
};
use embedded_postgres::PostgresServer;

/// Longer than an assignment waits for the database, and longer than a request waits for a connection.
const OUTAGE: Duration = Duration::from_secs(10);

/// A durable PostgreSQL, and a service that is configured with its URL only.
fn start() -> (TempDir, PostgresServer, Service) {
    let folder = folder_with_cluster();
    let postgres = start_postgres(&folder.path().join("pg"), true);
    let mut command = couponry(&folder.path().join("none"));
    command
        .env("DATABASE_URL", url(&postgres.connect_options("postgres")))
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let service = Service::start(folder.path(), &mut command);
    (folder, postgres, service)
}

fn codes(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("C{n:03}")).collect()
}

fn full_set(shop: &Client, count: usize) -> String {
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    shop.fill(&set, &codes(count));
    set
}

/// Checks a 503 response. Returns the idempotency key in it, if there is one.
#[track_caller]
fn try_again(reply: Reply) -> Option<String> {
    let reply = reply.expect(503);
    assert!(reply.head.contains("\r\nretry-after: "), "{}", reply.head);
    assert!(
        reply
            .head
            .contains("\r\ncontent-type: application/problem+json"),
        "{}",
        reply.head
    );
    assert_eq!(reply.str("code"), "unavailable");
    reply.body["idempotencyKey"].as_str().map(str::to_owned)
}

fn totals(shop: &Client, set: &str) -> Value {
    shop.get(&format!("{set}/statistics")).expect(200).body["totals"].clone()
}

/// Totals of a set whose assigned codes are all held by their contacts.
fn exact(quantity: usize, assigned: usize) -> Value {
    json!({
        "quantity": quantity,
        "available": quantity - assigned,
        "assigned": assigned,
        "reserved": 0,
        "sent": 0,
        "used": 0,
        "released": 0,
        "void": 0,
        "expired": 0,
        "withdrawn": 0,
    "servedForOthers": 0,
    })
}

#[tokio::test]
async fn postgresql_gone_for_seconds_costs_nothing_but_time() {
    let (folder, postgres, service) = start();
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = full_set(&shop, 5);
    let before = shop.assign(&set, "ann", Some("before")).unwrap();
    let before = before.expect(201).str("couponCode").to_owned();

    // Two requests use the database when it goes down: one with a key, one whose key the service generates.
    let other_set = shop.new_set(&json!({"name": "Other", "type": "single", "code": "SAME"}));
    let options = postgres.connect_options("postgres");
    let mut blocking = PgConnection::connect_with(&options).await.unwrap();
    let watch = PgPool::connect_lazy_with(options);
    let mut lock = blocking.begin().await.unwrap();
    lock.execute("select from coupon_sets for update")
        .await
        .unwrap();
    let ask = |set: &str, contact: &str, headers: &[(&str, &str)]| {
        let body = json!({"contactId": contact}).to_string();
        let path = format!("{set}/assignments");
        let mut stream = shop.begin("POST", &path, headers, body.len()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        stream
    };
    let named = ask(&set, "bob", &[("Idempotency-Key", "mine")]);
    let minted = ask(&other_set, "cat", &[]);
    wait_for_lock_waiters(&watch, 2).await;
    let pids = async |query| {
        let rows = watch.fetch_all(query).await.unwrap();
        let pids = rows.iter().map(|row| row.get::<i32, _>(0).cast_unsigned());
        pids.collect::<Vec<u32>>()
    };
    let waiting = pids("select pid from pg_stat_activity where wait_event_type = 'Lock'").await;
    let holding =
        pids("select pid from pg_stat_activity where state = 'idle in transaction'").await;
    // Freeze the holder of the lock until the waiting requests are gone. Otherwise one of them might still be served.
    signal(holding[0], Signal::STOP);
    let stopping = std::thread::spawn(move || postgres.stop());
    until("the requests lose their connections", || {
        waiting.iter().all(|pid| !runs(*pid)).then_some(())
    });
    signal(holding[0], Signal::CONT);
    stopping.join().unwrap();
    let gone = Instant::now();

    std::thread::scope(|scope| {
        let asked = [
            scope.spawn(|| shop.get("/v1/coupon-sets")),
            scope.spawn(|| shop.get("/readyz")),
            scope.spawn(|| shop.post(&format!("{set}/imports"), &json!({"codes": ["NEW"]}))),
        ];
        for reply in asked {
            try_again(reply.join().unwrap());
        }
        // The process itself is healthy.
        shop.get("/healthz").expect(200);
    });
    let named = try_again(receive(named).unwrap());
    assert_eq!(named.as_deref(), Some("mine"));
    let minted = try_again(receive(minted).unwrap()).expect("the key that the service made");
    assert!(minted.starts_with("auto-"), "{minted}");
    assert!(
        gone.elapsed() < Duration::from_secs(20),
        "{:?}",
        gone.elapsed()
    );
    until("the outage was long enough", || {
        (gone.elapsed() > OUTAGE).then_some(())
    });

    let _postgres = start_postgres(&folder.path().join("pg"), true);
    until("the same process is ready again", || {
        (shop.get("/readyz").status == 200).then_some(())
    });
    let mut held = HashSet::from([before.clone()]);
    for (set, contact, key) in [(&set, "bob", "mine"), (&other_set, "cat", &*minted)] {
        let reply = shop.assign(set, contact, Some(key)).unwrap();
        assert!(matches!(reply.status, 200 | 201), "{}", reply.text);
        assert_eq!(reply.str("idempotencyKey"), key);
        let code = reply.str("couponCode").to_owned();
        let again = shop.assign(set, contact, Some(key)).unwrap().expect(200);
        assert_eq!(again.str("couponCode"), code);
        assert!(held.insert(code));
    }
    let again = shop.assign(&set, "ann", Some("before")).unwrap();
    assert_eq!(again.expect(200).str("couponCode"), before);
    assert_eq!(totals(&shop, &set), exact(5, 2));
    // Imports continue too.
    shop.fill(&set, &["NEW".to_owned()]);
    assert!(service.stop(Signal::TERM).success());
}

/// Number of requests made during the faults.
const REQUESTS: usize = 600;
const CALLERS: usize = 8;

/// Callers request codes, each with its own key, and retry until they have one, while the fault recurs. At the end
/// every key has one code and every code one key.
fn traffic_with(fault: impl Fn(&[u32]) + Sync) {
    let (folder, _postgres, service) = start();
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = full_set(&shop, REQUESTS);
    let next = AtomicUsize::new(0);
    let answered = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    let held = Mutex::new(Vec::new());
    let key = |n: usize| format!("key-{n}");
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= REQUESTS {
                        return;
                    }
                    let key = key(n);
                    let code = until("the key has its code", || {
                        let reply = shop
                            .assign(&set, &format!("contact-{n}"), Some(&key))
                            .unwrap();
                        if matches!(reply.status, 200 | 201) {
                            return Some(reply.str("couponCode").to_owned());
                        }
                        refused.fetch_add(1, Ordering::Relaxed);
                        // A request that failed before it reached the set names no key.
                        assert!(try_again(reply).is_none_or(|named| named == key));
                        None
                    });
                    held.lock().unwrap().push((key, n, code));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=4 {
            let enough = round * REQUESTS / 5;
            until("traffic flows", || {
                (answered.load(Ordering::Relaxed) >= enough).then_some(())
            });
            // All backends that serve a client, and no others.
            let backends = until("it is connected", || {
                let postmaster = ready_pid(&folder.path().join("pg"))?;
                let mut backends = children(postmaster);
                backends.retain(|pid| {
                    let title = std::fs::read(format!("/proc/{pid}/cmdline"));
                    title.is_ok_and(|title| String::from_utf8_lossy(&title).contains("[local]"))
                });
                (!backends.is_empty()).then_some(backends)
            });
            fault(&backends);
        }
    });
    eprintln!("{} requests got 503", refused.load(Ordering::Relaxed));
    let held = held.into_inner().unwrap();
    let given: HashSet<&String> = held.iter().map(|(_, _, code)| code).collect();
    assert_eq!(given.len(), REQUESTS, "no code is given twice");
    assert_eq!(totals(&shop, &set), exact(REQUESTS, REQUESTS));
    for (key, n, code) in held.iter().step_by(29) {
        let again = shop
            .assign(&set, &format!("contact-{n}"), Some(key))
            .unwrap();
        assert_eq!(again.expect(200).str("couponCode"), code);
    }
    assert!(service.stop(Signal::TERM).success());
}

#[test]
fn terminated_backends_in_the_middle_of_traffic_lose_and_double_nothing() {
    traffic_with(|backends| {
        for pid in backends {
            // A backend that has ended needs no signal.
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::TERM);
        }
    });
}

#[test]
fn a_killed_backend_in_the_middle_of_traffic_loses_and_doubles_nothing() {
    // PostgreSQL restarts all other backends and recovers from its log.
    traffic_with(|backends| signal(backends[0], Signal::KILL));
}

#[test]
fn a_postgresql_of_its_own_that_was_killed_comes_back_and_keeps_every_code() {
    let folder = folder_with_cluster();
    let service = Service::start(folder.path(), &mut couponry(folder.path()));
    let shop = service.client(&service.demo_key());
    let set = full_set(&shop, 3);
    let first = shop.assign(&set, "ann", Some("a")).unwrap().expect(201);
    let postmaster = ready_pid(&folder.path().join("pg")).expect("it runs");
    signal(postmaster, Signal::KILL);
    let second = until("the same process assigns again", || {
        let reply = shop.assign(&set, "bob", Some("b")).unwrap();
        if matches!(reply.status, 200 | 201) {
            return Some(reply);
        }
        try_again(reply);
        None
    });
    assert_ne!(first.str("couponCode"), second.str("couponCode"));
    let again = shop.assign(&set, "ann", Some("a")).unwrap().expect(200);
    assert_eq!(again.str("couponCode"), first.str("couponCode"));
    assert_eq!(totals(&shop, &set), exact(3, 2));
    assert!(service.stop(Signal::INT).success());
}

#[test]
fn a_service_whose_database_is_not_there_yet_lives_is_not_ready_and_can_be_stopped() {
    let folder = folder();
    let nothing = folder.path().join("nothing");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = port.expect("a free port");
    let mut command = couponry(folder.path());
    command
        .env(
            "DATABASE_URL",
            format!(
                "postgres://nobody@localhost/none?host={}",
                nothing.display()
            ),
        )
        .env("COUPONRY_LISTEN", address.to_string());
    let mut service = Service::spawn(folder.path(), &mut command);
    service.address = address;
    until("it waits", || {
        service
            .log()
            .contains("waiting for the database")
            .then_some(())
    });
    let client = service.client("");
    client.get("/healthz").expect(200);
    for path in ["/readyz", "/v1/coupon-sets"] {
        assert_eq!(client.get(path).expect(503).str("code"), "unavailable");
    }
    service.interrupt(Signal::TERM);
    assert!(service.ended().success());
}
