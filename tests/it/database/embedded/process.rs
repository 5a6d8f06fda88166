//! The embedded PostgreSQL and the process that runs it: the server never outlives it, and no killed process leaves
//! anything in the way.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::database::embedded::{read_the_mark, write_a_mark};
use crate::support::program::{
    Service, children, couponry, folder, folder_with_cluster, lock_is_free, put_cluster, ready_pid,
    runs, signal, start_postgres, until,
};

/// Starts a service in the folder; `pg` in it holds its server.
fn started(dir: &Path) -> (Service, u32) {
    let service = Service::spawn(dir, &mut couponry(dir));
    let pid = until("it runs its server", || ready_pid(&dir.join("pg")));
    (service, pid)
}

#[tokio::test]
async fn a_killed_process_leaves_no_server() {
    let folder = folder_with_cluster();
    let pg = folder.path().join("pg");
    let server = start_postgres(&pg, false);
    write_a_mark(&server).await;
    server.stop();

    let (service, pid) = started(folder.path());
    assert!(!lock_is_free(&pg));
    service.kill();
    until("the server is gone", || (!runs(pid)).then_some(()));
    until("the lock is free", || lock_is_free(&pg).then_some(()));
    let log = fs::read_to_string(pg.join("log")).expect("the server wrote it");
    assert!(
        log.trim_end().ends_with("database system is shut down"),
        "{log}"
    );
    assert_eq!(read_the_mark(&start_postgres(&pg, false)).await, 42);
}

#[test]
fn a_start_waits_for_the_server_of_a_killed_process() {
    let folder = folder_with_cluster();
    for _ in 0..3 {
        let (service, _) = started(folder.path());
        service.kill();
        start_postgres(&folder.path().join("pg"), false).stop();
    }
}

#[tokio::test]
async fn a_start_recovers_what_was_killed_all_at_once() {
    let folder = folder_with_cluster();
    let pg = folder.path().join("pg");
    let server = start_postgres(&pg, false);
    write_a_mark(&server).await;
    server.stop();
    let (service, postmaster) = started(folder.path());
    // Stopped processes cannot react to each other's end. Stop the postmaster first, so that it starts no other
    // process.
    signal(postmaster, Signal::STOP);
    let backends = children(postmaster);
    for pid in &backends {
        signal(*pid, Signal::STOP);
    }
    service.interrupt(Signal::STOP);
    for pid in backends.into_iter().chain([postmaster]) {
        signal(pid, Signal::KILL);
    }
    service.kill();
    until("all is gone", || lock_is_free(&pg).then_some(()));
    assert!(ready_pid(&pg).is_some(), "its file says that it runs");
    assert_eq!(read_the_mark(&start_postgres(&pg, false)).await, 42);
    let log = fs::read_to_string(pg.join("log")).expect("the server wrote it");
    assert!(
        log.contains("was not properly shut down; automatic recovery"),
        "{log}"
    );
}

#[test]
fn a_process_killed_while_it_makes_the_cluster_spoils_nothing() {
    let folder = folder();
    let pg = folder.path().join("pg");
    for file in ["PG_VERSION", "global/pg_control", "postgresql.conf"] {
        let service = Service::spawn(folder.path(), &mut couponry(folder.path()));
        let made = pg.join("data.new").join(file);
        until("the cluster is being made", || made.exists().then_some(()));
        service.kill();
        assert!(!pg.join("data").exists());
    }
    // A partial cluster is initialized again.
    start_postgres(&pg, false);
    assert!(!pg.join("data.new").exists());
}

#[test]
fn ctrl_c_does_not_reach_the_server() {
    let folder = folder();
    put_cluster(&folder.path().join("pg"));
    let (service, pid) = started(folder.path());
    let group = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let fields = stat.rsplit(')').next().expect("it has a name").to_owned();
        let group = fields.split_whitespace().nth(2).expect("it has a group");
        group.parse::<u32>().expect("a number")
    };
    assert_eq!(group(pid), pid);
    assert_ne!(group(service.pid()), pid);
}
