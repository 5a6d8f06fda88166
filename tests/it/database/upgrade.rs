//! Rolling upgrades and rollbacks: replicas of two releases on one database, and migrations by another user than that of the service.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::database::{TestDatabase, url};
use crate::support::program::{
    Service, complaint, couponry, folder, folder_with_cluster, start_postgres, until,
};
use crate::support::{OPERATOR_TOKEN, sql};

/// The functions of the last release, as its replicas call them. A release replaces this list by its own.
const RELEASED_FUNCTIONS: &str = include_str!("released_functions.txt");

const CLIENTS: usize = 8;
const UPGRADES: usize = 4;

/// What a later release does with the schema.
const LATER_RELEASE: &str = "
    alter table assignments add column of_a_later_release integer;
    create function assign_batch_of_a_later_release() returns integer language sql return 1;
    insert into _sqlx_migrations (version, description, success, checksum, execution_time)
    values (9999, 'later', true, '', 0);
    update applied_functions set release = '{999,0,0}', checksum = decode(repeat('00', 32), 'hex'), migration = 9999";

async fn run(database: &TestDatabase, statements: &str) {
    let mut owner = database.owner.acquire().await.expect("a connection");
    sql::run(&mut owner, statements.to_owned())
        .await
        .expect("the owner may");
}

fn migrate(database: &TestDatabase) -> std::process::Output {
    let folder = folder();
    let mut migrate = couponry(folder.path());
    migrate.arg("migrate").env("DATABASE_URL", database.url());
    migrate.output().expect("the program is built")
}

#[tokio::test]
async fn what_replicas_of_the_last_release_call_is_still_there() {
    let database = TestDatabase::create().await;
    let mut owner = database.owner.acquire().await.expect("a connection");
    let functions = "select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') returns '
                            || pg_get_function_result(p.oid)
                       from pg_proc p
                       left join pg_depend d on d.objid = p.oid and d.deptype = 'e'
                      where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and d.objid is null";
    let there: BTreeSet<String> = sql::column(&mut owner, functions)
        .await
        .into_iter()
        .collect();
    let released: BTreeSet<String> = RELEASED_FUNCTIONS.lines().map(str::to_owned).collect();
    assert!(released.len() > 50, "{released:?}");
    let gone: Vec<&String> = released.difference(&there).collect();
    assert!(
        gone.is_empty(),
        "replicas of the last release call these; give a new signature a new name: {gone:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_replica_succeed_while_another_release_migrates() {
    let folder = folder();
    let database = TestDatabase::create().await;
    let mut command = couponry(folder.path());
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let service = Service::start(folder.path(), &mut command);
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "single", "code": "CAKE"}));

    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (shop, set, done) = (shop.clone(), set.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    let contact = format!("{client}-{served}");
                    let assigned = shop.assign(&set, &contact, None).expect("an answer");
                    assigned.expect(201);
                    shop.get("/v1/coupon-sets").expect(200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    for _ in 0..UPGRADES {
        // As if they were the functions of another release.
        run(
            &database,
            "update applied_functions set checksum = decode(repeat('00', 32), 'hex')",
        )
        .await;
        let migrated = tokio::task::block_in_place(|| migrate(&database));
        assert!(migrated.status.success(), "{migrated:?}");
    }
    let index =
        "create index concurrently of_a_later_release on assignments (tenant_id, contact_no)";
    run(&database, index).await;
    run(&database, LATER_RELEASE).await;
    done.store(true, Ordering::Relaxed);
    let served: usize = clients
        .into_iter()
        .map(|client| client.join().expect("each request succeeds"))
        .sum();
    assert!(served > CLIENTS, "{served}");
    // A rollback: the replica of the earlier release starts again.
    assert!(service.stop(Signal::TERM).success());
    let mut command = couponry(folder.path());
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let service = Service::start(folder.path(), &mut command);
    assert!(
        service.log().contains("migrated by a later release"),
        "{}",
        service.log()
    );
    let shop = service.client(shop.bearer());
    let assigned = shop
        .assign(&set, "after the rollback", None)
        .expect("an answer");
    assert_eq!(assigned.expect(201).str("couponCode"), "CAKE");
}

#[tokio::test]
async fn a_schema_that_needs_a_later_release_ends_the_start_with_that_release() {
    let folder = folder();
    let database = TestDatabase::create().await;
    run(&database, LATER_RELEASE).await;
    run(
        &database,
        "update applied_functions set min_release = '{2,1,0}'",
    )
    .await;
    for no_migrate in ["false", "true"] {
        let mut command = couponry(folder.path());
        command
            .env("DATABASE_URL", database.url())
            .env("COUPONRY_NO_MIGRATE", no_migrate);
        let line = complaint(command);
        assert!(line.contains("needs release 2.1.0 or later"), "{line}");
    }
}

#[tokio::test]
async fn a_migration_that_cannot_lock_a_table_lets_requests_pass_and_is_retried() {
    let functions = (
        "update applied_functions set checksum = decode(repeat('00', 32), 'hex')",
        // Conflicts with what creating a trigger locks.
        "lock table coupon_sets in row exclusive mode",
    );
    let migration = (
        "delete from _sqlx_migrations where version = 15;
         alter table applied_functions drop column min_release, drop column migration",
        "lock table applied_functions in access share mode",
    );
    for (outdate, lock) in [functions, migration] {
        let database = TestDatabase::create().await;
        run(&database, outdate).await;
        let mut reader = database.owner.begin().await.expect("a transaction");
        sql::run(&mut reader, lock).await.expect("the owner may");
        let mut migrate = couponry(std::path::Path::new("none"));
        migrate.arg("migrate").env("DATABASE_URL", database.url());
        let folder = folder();
        let mut migrating = Service::spawn(folder.path(), &mut migrate);
        until("it has given up its place in the queue", || {
            migrating.log().contains("lock timeout").then_some(())
        });
        reader.rollback().await.expect("it ends");
        assert!(migrating.ended().success(), "{}", migrating.log());
        assert!(
            migrating.greeting().contains("migrated to"),
            "{}",
            migrating.greeting()
        );
    }
}

#[tokio::test]
async fn an_index_that_was_not_finished_is_dropped_so_that_a_migration_creates_it_again() {
    let database = TestDatabase::create().await;
    let mut owner = database.owner.acquire().await.expect("a connection");
    run(
        &database,
        "insert into tenants (id, name) values (gen_random_uuid(), 'Shop'), (gen_random_uuid(), 'Shop');
         drop index tenants_deletion_idx",
    )
    .await;
    for name in ["tenants_deletion_idx", "index_of_an_administrator"] {
        let index = format!("create unique index concurrently {name} on tenants (name)");
        sql::run(&mut owner, index)
            .await
            .expect_err("the names are not unique");
    }
    let indexes = "select indexrelid::regclass::text from pg_index where not indisvalid";
    let migrated = migrate(&database);
    assert!(migrated.status.success(), "{migrated:?}");
    assert_eq!(
        sql::column::<String>(&mut owner, indexes).await,
        ["index_of_an_administrator"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_create_and_drop_nothing_serves_what_the_owner_has_migrated() {
    let folder = folder_with_cluster();
    let postgres = tokio::task::block_in_place(|| start_postgres(&folder.path().join("pg"), false));
    let options = postgres.connect_options("postgres");
    let mut owner = PgConnection::connect_with(&options).await.expect("it runs");
    sql::run(&mut owner, "create role shop_service login")
        .await
        .expect("the owner may");

    let dir = folder.path().join("service");
    std::fs::create_dir(&dir).expect("the folder is ours");
    let mut command = couponry(&dir);
    command
        .arg("--no-migrate")
        .env(
            "DATABASE_URL",
            url(&options.clone().username("shop_service")),
        )
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let mut service = Service::spawn(&dir, &mut command);
    until("it waits for the migration", || {
        service
            .log()
            .contains("run `couponry migrate`")
            .then_some(())
    });
    let mut migrate = couponry(folder.path());
    migrate
        .args(["migrate", "--json"])
        .env("COUPONRY_MIGRATE_URL", url(&options));
    let migrated = migrate.output().expect("the program is built");
    assert!(migrated.status.success(), "{migrated:?}");
    let printed: Value = serde_json::from_slice(&migrated.stdout).expect("JSON");
    assert_eq!(printed, json!({"release": env!("CARGO_PKG_VERSION")}));
    let line = tokio::task::block_in_place(|| {
        assert!(!service.ended().success());
        service.log()
    });
    assert!(
        line.contains("grant couponry_app, couponry_system to shop_service;"),
        "{line}"
    );

    sql::run(
        &mut owner,
        "grant couponry_app, couponry_system to shop_service",
    )
    .await
    .expect("the owner may");
    let service = Service::start(&dir, &mut command);
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    shop.fill(&set, &["A".to_owned()]);
    let assigned = shop
        .assign(&set, "ann", None)
        .expect("an answer")
        .expect(201);
    assert_eq!(assigned.str("couponCode"), "A");

    let mut login = PgConnection::connect_with(&options.username("shop_service"))
        .await
        .expect("it may log in");
    for forbidden in [
        "create table mine ()",
        "drop table assignments",
        "drop function assign_plain",
    ] {
        let error = sql::run(&mut login, forbidden)
            .await
            .expect_err("it may not");
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error}");
    }
}
