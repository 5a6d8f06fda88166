//! The embedded PostgreSQL: it keeps its data, and recovers from any killed process.

mod process;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use embedded_postgres::{Error, Options, PostgresServer};
use rustix::process::Signal;
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection, Executor, Row};

use crate::support::database::embedded_options;
use crate::support::eventually;
use crate::support::program::{
    folder, is_root, lock_is_free, put_cluster, ready_pid, runs, signal, start_postgres, until,
};

fn options(dir: &Path) -> Options {
    embedded_options(dir.to_owned(), false)
}

/// Starts a server with an existing cluster.
fn start(dir: &Path) -> PostgresServer {
    if !dir.join("data").exists() {
        put_cluster(dir);
    }
    start_postgres(dir, false)
}

async fn connect(server: &PostgresServer) -> PgConnection {
    let options = server.connect_options("postgres");
    let connection = PgConnection::connect_with(&options).await;
    connection.expect("the server answers")
}

pub async fn ask(server: &PostgresServer, statement: &'static str) -> i32 {
    let row = connect(server).await.fetch_one(statement).await;
    row.expect("the statement is right").get(0)
}

pub async fn write_a_mark(server: &PostgresServer) {
    let made = connect(server)
        .await
        .execute("create table mark as select 42 as n")
        .await;
    made.expect("the table is new");
}

pub async fn read_the_mark(server: &PostgresServer) -> i32 {
    ask(server, "select n from mark").await
}

#[tokio::test]
async fn a_later_start_finds_the_data_of_the_first() {
    let folder = folder();
    let first = start(folder.path());
    write_a_mark(&first).await;
    let (pid, socket) = (first.pid(), first.socket_dir().join(".s.PGSQL.5432"));
    assert!(runs(pid) && socket.exists());
    first.stop();
    assert!(!runs(pid) && !socket.exists());
    assert_eq!(read_the_mark(&start(folder.path())).await, 42);
}

#[tokio::test]
async fn it_listens_on_the_socket_only_and_speaks_english() {
    let folder = folder();
    // This server initializes its own cluster.
    let server = start_postgres(folder.path(), false);
    let settings = "select count(*)::int from pg_settings
                     where (name, setting) in (('listen_addresses', ''), ('lc_messages', 'C'), ('fsync', 'off'))";
    assert_eq!(ask(&server, settings).await, 3);
    for (path, mode) in [
        ("data", 0o700),
        ("s", 0o700),
        ("lock", 0o600),
        ("log", 0o600),
    ] {
        let found = fs::metadata(folder.path().join(path)).expect("the server made it");
        assert_eq!(found.mode() & 0o777, mode, "{path}");
    }
}

#[tokio::test]
async fn a_durable_server_syncs() {
    let folder = folder();
    put_cluster(folder.path());
    let server = start_postgres(folder.path(), true);
    let settings = "select count(*)::int from pg_settings
                     where setting = 'on'
                       and name in ('fsync', 'synchronous_commit', 'full_page_writes', 'autovacuum')";
    assert_eq!(ask(&server, settings).await, 4);
    let connections = "select current_setting('max_connections')::int";
    assert_eq!(ask(&server, connections).await, 200);
}

#[test]
fn a_folder_is_used_by_one_server_at_a_time() {
    let folder = folder();
    let first = start(folder.path());
    let hurried = Options {
        wait: Duration::from_millis(50),
        ..options(folder.path())
    };
    let second = embedded_postgres::start(&hurried).expect_err("the first one runs");
    let name = folder.path().file_name().expect("it has one");
    assert!(
        matches!(&second, Error::InUse(dir) if dir.ends_with(name)),
        "{second}"
    );
    first.stop();
    start(folder.path());
}

#[tokio::test]
async fn a_killed_postmaster_comes_back_at_the_same_socket() {
    let folder = folder();
    put_cluster(folder.path());
    let server = start_postgres(folder.path(), true);
    write_a_mark(&server).await;
    let pool = PgPoolOptions::new().max_connections(2);
    let pool = pool.connect_lazy_with(server.connect_options("postgres"));
    // This connection's backend stays as an orphan until its statement ends; meanwhile the server cannot start.
    let mut busy = pool.acquire().await.expect("the server runs");
    let sleeper = tokio::spawn(async move { busy.execute("select pg_sleep(1)").await.map(drop) });
    let sleeping = "select count(*)::int from pg_stat_activity where wait_event = 'PgSleep'";
    eventually("the statement runs", async || {
        (ask(&server, sleeping).await == 1).then_some(())
    })
    .await;

    let killed = server.pid();
    signal(killed, Signal::KILL);
    sleeper.await.expect("it does not panic").ok();
    let mark = eventually("it comes back", async || {
        pool.fetch_one("select n from mark").await.ok()
    });
    assert_eq!(mark.await.get::<i32, _>(0), 42);
    until("the new process is known", || {
        (server.pid() != killed).then_some(())
    });
    assert_eq!(Some(server.pid()), ready_pid(folder.path()));
}

#[test]
fn it_stops_while_it_cannot_come_back() {
    let folder = folder();
    let server = start(folder.path());
    let version = folder.path().join("data/PG_VERSION");
    let hidden = folder.path().join("data/hidden");
    fs::rename(&version, &hidden).expect("the file is there");
    signal(server.pid(), Signal::KILL);
    let log = folder.path().join("log");
    until("an attempt fails", || {
        let log = fs::read_to_string(&log).ok()?;
        log.contains("is not a valid data directory").then_some(())
    });
    server.stop();
    fs::rename(&hidden, &version).expect("the file is there");
    start(folder.path());
}

#[test]
fn files_of_a_server_that_lost_its_power_do_not_stop_the_start() {
    let folder = folder();
    start(folder.path()).stop();
    let data = folder.path().join("data");
    let owner = fs::metadata(&data).expect("the cluster is there");
    // A living process of the same user has its pid by now, which PostgreSQL alone would mistake for the server.
    let mut other = Command::new("sleep");
    let mut other = std::os::unix::process::CommandExt::uid(&mut other, owner.uid())
        .arg("60")
        .spawn()
        .expect("sleep is installed");
    let stale = format!(
        "{}\n{}\n1700000000\n5432\n/gone\n\n  1234 5678\nready   \n",
        other.id(),
        data.display()
    );
    fs::create_dir_all(folder.path().join("s")).expect("the folder is ours");
    for path in [
        "data/postmaster.pid",
        "s/.s.PGSQL.5432.lock",
        "s/.s.PGSQL.5432",
    ] {
        fs::write(folder.path().join(path), &stale).expect("the folder is ours");
    }
    let server = start(folder.path());
    assert_ne!(server.pid(), other.id());
    other.kill().expect("it sleeps");
    other.wait().expect("it was killed");
}

#[tokio::test]
async fn paths_may_be_deep_and_strange() {
    let folder = folder();
    let deep = folder.path().join("a, b \"c\" 'd'");
    assert_eq!(ask(&start(&deep), "select 1").await, 1);
    let deeper = deep.join("e".repeat(60)).join("f".repeat(60));
    let server = start(&deeper);
    let socket_dir = server.socket_dir().to_owned();
    assert!(socket_dir.starts_with("/tmp"), "{}", socket_dir.display());
    let mode = fs::metadata(&socket_dir).expect("it was made").mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(ask(&server, "select 1").await, 1);
    server.stop();
    assert!(!socket_dir.exists());
}

#[test]
fn a_socket_folder_of_someone_else_is_refused() {
    if !is_root() {
        return eprintln!("skipped: only root can make folders of others");
    }
    let folder = folder();
    let deep = folder.path().join("e".repeat(90));
    let server = start(&deep);
    let socket_dir = server.socket_dir().to_owned();
    server.stop();
    std::os::unix::fs::symlink("/etc", &socket_dir).expect("the name is free");
    let linked = embedded_postgres::start(&options(&deep)).expect_err("a link is no folder");
    assert!(matches!(linked, Error::SocketDir(_)), "{linked}");
    fs::remove_file(&socket_dir).expect("the link is ours");
    fs::create_dir(&socket_dir).expect("the name is free");
    std::os::unix::fs::chown(&socket_dir, Some(12345), None).expect("we are root");
    let strange = embedded_postgres::start(&options(&deep)).expect_err("it belongs to 12345");
    assert!(matches!(strange, Error::SocketDir(_)), "{strange}");
    fs::remove_dir(&socket_dir).expect("it is empty");
}

#[test]
fn a_wrong_folder_of_programs_is_named_in_one_line() {
    let folder = folder();
    let wrong = Options {
        bin_dir: Some(PathBuf::from("/nowhere")),
        ..options(folder.path())
    };
    let error = embedded_postgres::start(&wrong).expect_err("nothing is there");
    let line = error.to_string();
    assert!(
        line.starts_with("/nowhere does not contain") && line.lines().count() == 1,
        "{line}"
    );
    let mut entries = fs::read_dir(folder.path()).expect("the folder is ours");
    assert!(entries.next().is_none());
}

#[test]
fn a_server_that_cannot_start_quotes_its_log() {
    let folder = folder();
    put_cluster(folder.path());
    fs::write(folder.path().join("data/PG_VERSION"), "7\n").expect("the folder is ours");
    let error =
        embedded_postgres::start(&options(folder.path())).expect_err("PostgreSQL 7 made the data");
    assert!(
        matches!(&error, Error::Ended(log) if log.contains("incompatible")),
        "{error}"
    );
    assert!(lock_is_free(folder.path()));
}

#[tokio::test]
async fn root_runs_it_below_a_closed_folder() {
    if !is_root() {
        return eprintln!("skipped: only root has to run it as someone else");
    }
    let folder = folder();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(folder.path(), closed).expect("it is ours");
    let dir = folder.path().join("home");
    for _ in ["made", "found"] {
        let server = start_postgres(&dir, false);
        assert_eq!(ask(&server, "select 1").await, 1);
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).expect("it runs");
        if namespace(&server.pid().to_string()) == namespace("self") {
            eprintln!("no user namespace here: PostgreSQL was given a capability instead");
        } else {
            let owner = fs::metadata(dir.join("data")).expect("it was made").uid();
            assert_eq!(owner, 0);
        }
    }
}
