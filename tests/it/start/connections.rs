//! The time limits of connections, and what becomes of them when the service stops.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use sqlx::{Connection, Executor};

use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::program::{Service, couponry, folder, receive, until};

use super::start_on_database;

#[tokio::test]
async fn a_half_sent_header_is_given_up_after_five_seconds_also_by_a_service_that_stops() {
    let folders = [folder(), folder()];
    let (service, _database) = start_on_database(folders[0].path()).await;
    let (stopping, _other_database) = start_on_database(folders[1].path()).await;
    let half = |service: &Service| {
        let mut stream = TcpStream::connect(service.address).expect("it listens");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHos")
            .expect("it reads");
        let patience = Some(Duration::from_secs(15));
        stream.set_read_timeout(patience).expect("a time");
        // Once a later connection has a response, this one was accepted.
        service.client("").get("/healthz").expect(200);
        stream
    };
    let began = Instant::now();
    let mut given_up = half(&service);
    let _held = half(&stopping);
    let stopped = std::thread::spawn(move || stopping.stop(Signal::TERM).success());
    let mut answer = Vec::new();
    given_up
        .read_to_end(&mut answer)
        .expect("the connection is closed");
    let took = began.elapsed();
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
    assert!(stopped.join().expect("it stops"));
    let took = began.elapsed();
    assert!(took.as_secs() < 8, "{took:?}");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_the_configured_time_and_then_closed() {
    let folder = folder();
    let database = TestDatabase::create().await;
    let mut command = couponry(folder.path());
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_IDLE_SECONDS", "7");
    let service = Service::start(folder.path(), &mut command);
    let mut stream = TcpStream::connect(service.address).expect("it listens");
    let patience = Some(Duration::from_secs(15));
    stream.set_read_timeout(patience).expect("a time");
    let mut ask = || {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("the connection is open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut byte = [0];
            stream
                .read_exact(&mut byte)
                .expect("the connection is open");
            answer.extend(byte);
        }
        Instant::now()
    };
    ask();
    // Longer than the time limit of a header.
    std::thread::sleep(Duration::from_secs(6));
    let answered = ask();
    stream.read_to_end(&mut Vec::new()).expect("it is closed");
    let idle = answered.elapsed();
    assert!((6..11).contains(&idle.as_secs()), "{idle:?}");
}

#[tokio::test]
async fn during_the_shutdown_delay_readiness_fails_and_requests_are_still_served_with_connection_close()
 {
    let folder = folder();
    let database = TestDatabase::create().await;
    let mut command = couponry(folder.path());
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .env("COUPONRY_SHUTDOWN_DELAY", "6");
    let mut service = Service::start(folder.path(), &mut command);
    let operator = service.client(OPERATOR_TOKEN);
    operator.get("/readyz").expect(200);
    service.interrupt(Signal::TERM);
    let told = Instant::now();
    until("readiness fails", || {
        (operator.get("/readyz").status == 503).then_some(())
    });
    // On a new connection.
    let shop = operator.new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    shop.fill(&set, &["A".to_owned()]);
    let assigned = shop.assign(&set, "ann", None).expect("a whole answer");
    assert_eq!(assigned.expect(201).str("couponCode"), "A");
    let mut stream = TcpStream::connect(service.address).expect("it listens");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it closes the connection after the response");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(service.ended().success());
    let took = told.elapsed();
    assert!(took >= Duration::from_secs(6), "{took:?}");
}

#[tokio::test]
async fn requests_under_way_at_the_stop_are_answered() {
    let folder = folder();
    let (mut service, database) = start_on_database(folder.path()).await;
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    shop.fill(&set, &["A".to_owned()]);

    let mut other = sqlx::PgConnection::connect_with(&database.options)
        .await
        .unwrap();
    let mut lock = other.begin().await.unwrap();
    lock.execute("select from coupon_sets for update")
        .await
        .unwrap();
    let body = r#"{"contactId": "ann"}"#;
    let mut waiting = shop
        .begin("POST", &format!("{set}/assignments"), &[], body.len())
        .expect("it listens");
    waiting.write_all(body.as_bytes()).expect("it reads");
    database.wait_for_lock_waiters(1).await;
    let csv = ("Content-Type", "text/csv");
    let mut upload = shop
        .begin("POST", &format!("{set}/imports"), &[csv], 4)
        .expect("it listens");
    upload.write_all(b"B\n").expect("it reads");
    until("the upload goes to its file", || {
        let mut files = fs::read_dir(format!("/proc/{}/fd", service.pid())).ok()?;
        files.find_map(|file| {
            let target = fs::read_link(file.ok()?.path()).ok()?;
            target.to_str()?.ends_with("(deleted)").then_some(())
        })
    });

    service.interrupt(Signal::TERM);
    until("nothing new is accepted", || {
        TcpStream::connect(service.address).err()
    });
    lock.rollback().await.unwrap();
    let assigned = receive(waiting).expect("a whole answer").expect(201);
    assert_eq!(assigned.str("couponCode"), "A");
    upload.write_all(b"C\n").expect("it still reads");
    receive(upload).expect("a whole answer").expect(201);
    assert!(service.ended().success());
}

#[tokio::test]
async fn a_stop_has_an_end_even_if_the_database_holds_up_an_import() {
    let folder = folder();
    let (service, database) = start_on_database(folder.path()).await;
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    let mut other = sqlx::PgConnection::connect_with(&database.options)
        .await
        .unwrap();
    let mut lock = other.begin().await.unwrap();
    lock.execute("select from coupon_sets for no key update")
        .await
        .unwrap();
    let import = json!({"codes": ["A"]});
    shop.post(&format!("{set}/imports"), &import).expect(201);
    database.wait_for_lock_waiters(1).await;
    assert!(service.stop(Signal::TERM).success());
}
