//! Failover: a service whose server is a standby is not ready, and finds the new primary by itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use embedded_postgres::PostgresServer;
use serde_json::json;
use sqlx::Executor;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;

use crate::support::database::url;
use crate::support::program::{
    Service, command, couponry, folder_with_cluster, postgres_program, start_postgres,
};
use crate::support::{OPERATOR_TOKEN, eventually_within, sql};

/// Time limit for writes to succeed after a promotion.
const FAILOVER_LIMIT: Duration = Duration::from_secs(10);

struct Pair {
    folder: TempDir,
    primary: PostgresServer,
    standby: PostgresServer,
}

/// A primary that a release has migrated, and a standby that follows it.
fn start_pair() -> Pair {
    let folder = folder_with_cluster();
    let primary = start_postgres(&folder.path().join("pg"), false);
    let mut migrate = couponry(folder.path());
    migrate
        .arg("migrate")
        .env("DATABASE_URL", url(&primary.connect_options("postgres")));
    let migrated = migrate.output().expect("the program is built");
    assert!(migrated.status.success(), "{migrated:?}");
    let standby = follow(
        &primary,
        &folder.path().join("pg"),
        &folder.path().join("standby"),
    );
    Pair {
        folder,
        primary,
        standby,
    }
}

/// Starts a standby in the folder `to` of the primary in the folder `from`.
fn follow(primary: &PostgresServer, from: &Path, to: &Path) -> PostgresServer {
    fs::create_dir(to).expect("the folder is ours");
    let socket = primary.socket_dir();
    let copied = command(postgres_program("pg_basebackup"))
        .args([
            "--username=postgres",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--host",
        ])
        .arg(socket)
        .arg("--pgdata")
        .arg(to.join("data"))
        .status();
    assert!(copied.expect("the programs are there").success());
    let owned = command("chown")
        .args(["--recursive", "--reference"])
        .args([from.join("data"), to.join("data")])
        .status();
    assert!(owned.expect("chown is there").success());
    start_postgres(to, false)
}

fn start_service(dir: &Path, url: String) -> Service {
    fs::create_dir(dir).expect("the folder is ours");
    let mut command = couponry(dir);
    command
        .env("DATABASE_URL", url)
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .env("COUPONRY_NO_MIGRATE", "true");
    Service::start(dir, &mut command)
}

fn one_connection(server: &PostgresServer) -> PgPool {
    let options = server.connect_options("postgres");
    PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options)
}

/// Waits until the service writes, for the time that a failover may take.
async fn writes_flow(service: &Service) {
    let operator = service.client(OPERATOR_TOKEN);
    eventually_within(FAILOVER_LIMIT, "writes flow", async || {
        let operator = operator.clone();
        let post =
            move || operator.post("/admin/v1/tenants", &json!({"name": "after the failover"}));
        let reply = tokio::task::spawn_blocking(post).await.expect("a reply");
        (reply.status == 201).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_on_a_standby_is_not_ready_until_it_is_promoted() {
    let pair = tokio::task::block_in_place(start_pair);
    let standby = url(&pair.standby.connect_options("postgres"));
    let service = start_service(&pair.folder.path().join("service"), standby);
    let operator = service.client(OPERATOR_TOKEN);
    let readiness = operator.get("/readyz").expect(503);
    assert!(readiness.text.contains("read-only"), "{}", readiness.text);
    let refused = operator.post("/admin/v1/tenants", &json!({"name": "too early"}));
    assert_eq!(refused.expect(503).str("code"), "unavailable");
    let promote = one_connection(&pair.standby);
    promote
        .execute("select pg_promote()")
        .await
        .expect("a superuser may");
    writes_flow(&service).await;
    operator.get("/readyz").expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_leaves_a_server_that_became_read_only_though_its_connections_are_open() {
    let pair = tokio::task::block_in_place(start_pair);
    // What a DNS name or a proxy does: the same address leads to another server.
    let current = pair.folder.path().join("current");
    symlink(pair.primary.socket_dir(), &current).expect("the folder is ours");
    let options = pair.primary.connect_options("postgres").socket(&current);
    let service = start_service(&pair.folder.path().join("service"), url(&options));
    let operator = service.client(OPERATOR_TOKEN);
    let shop = operator.new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    shop.fill(&set, &["A".to_owned(), "B".to_owned()]);
    shop.assign(&set, "ann", None)
        .expect("an answer")
        .expect(201);

    // The old primary still runs, and its connections stay open.
    let demote = "alter system set default_transaction_read_only = on; select pg_reload_conf()";
    let old = one_connection(&pair.primary);
    for statement in demote.split("; ") {
        old.execute(statement).await.expect("a superuser may");
    }
    let mut connection = old.acquire().await.expect("it runs");
    let written: String = sql::value(&mut connection, "select pg_current_wal_lsn()::text").await;
    drop(connection);
    let new = one_connection(&pair.standby);
    eventually_within(FAILOVER_LIMIT, "the standby has caught up", async || {
        let mut connection = new.acquire().await.expect("it runs");
        let caught_up = format!("select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
        let caught_up: bool = sql::value(&mut connection, caught_up).await;
        caught_up.then_some(())
    })
    .await;
    fs::remove_file(&current).expect("it is ours");
    symlink(pair.standby.socket_dir(), &current).expect("the folder is ours");
    new.execute("select pg_promote()")
        .await
        .expect("a superuser may");

    writes_flow(&service).await;
    let assigned = shop
        .assign(&set, "ben", None)
        .expect("an answer")
        .expect(201);
    assert_eq!(assigned.str("couponCode"), "B");
    for _ in 0..20 {
        operator.get("/readyz").expect(200);
        shop.get("/v1/coupon-sets").expect(200);
    }
}
