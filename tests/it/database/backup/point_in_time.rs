//! Base backups and the archive of the write-ahead log.

use embedded_postgres::PostgresServer;

use super::{Customer, Site, owner, value};
use crate::support::eventually;
use crate::support::program::start_postgres;

/// Waits until all that was committed so far is in the archive.
async fn archived(server: &PostgresServer) {
    let owner = owner(server);
    let mut connection = owner.acquire().await.expect("it runs");
    let wal: String = value(&mut connection, "select pg_walfile_name(pg_switch_wal())").await;
    let is_archived =
        format!("select coalesce(last_archived_wal >= '{wal}', false) from pg_stat_archiver");
    drop(connection);
    eventually("the log is archived", async || {
        let mut connection = owner.acquire().await.expect("it runs");
        value::<bool>(&mut connection, &is_archived)
            .await
            .then_some(())
    })
    .await;
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_to_a_moment_has_all_that_was_assigned_until_then_and_nothing_later() {
    let (site, server, service, mut shop) = tokio::task::block_in_place(|| {
        let site = Site::new();
        let server = site.fresh_server("pg");
        site.give_to_server(&site.path("backup"), "pg");
        site.run(&server, "createdb --username=postgres couponry");
        site.run(&server, &site.printed("archive_command"));
        server.stop();
        let server = start_postgres(&site.path("pg"), false);
        let service = site.service("before", &server);
        let mut shop = Customer::open(&service, 20);
        shop.assign(&service, 0..3);
        site.run(&server, &site.printed("pg_basebackup"));
        shop.assign(&service, 3..5);
        (site, server, service, shop)
    });
    let counters = tokio::task::block_in_place(|| shop.counters(&service));
    assert_eq!(counters["assigned"], 5, "{counters}");
    let owner_pool = owner(&server);
    let mut connection = owner_pool.acquire().await.expect("it runs");
    let moment: String = value(&mut connection, "select clock_timestamp()::text").await;
    drop(connection);
    owner_pool.close().await;
    tokio::task::block_in_place(|| shop.assign(&service, 5..9));
    archived(&server).await;

    let server = tokio::task::block_in_place(|| {
        drop(service);
        std::fs::create_dir(site.path("recovered")).expect("the folder is ours");
        let commands = site.printed("recovery_target_time");
        let printed = "2026-11-30 12:00:00+00";
        assert!(commands.contains(printed), "{commands}");
        site.run(&server, &commands.replace(printed, &moment));
        site.give_to_server(&site.path("recovered"), "pg");
        server.stop();
        start_postgres(&site.path("recovered"), false)
    });
    let recovered = owner(&server);
    eventually("the recovery has ended", async || {
        let mut connection = recovered.acquire().await.expect("it runs");
        let is_done = "select not pg_is_in_recovery()";
        value::<bool>(&mut connection, is_done).await.then_some(())
    })
    .await;
    recovered.close().await;
    tokio::task::block_in_place(|| {
        let service = site.service("after", &server);
        assert_eq!(shop.counters(&service), counters);
        shop.repeat(&service, 0..5);
        // The later ones are lost.
        let client = shop.client(&service);
        let key = Some("contact-5");
        let lost = client
            .assign(&shop.set, "contact-5", key)
            .expect("an answer");
        assert_eq!(lost.expect(201).str("outcome"), "assigned");
    });
}
