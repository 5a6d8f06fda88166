//! The witness: after a restore, codes that were assigned since the backup are withdrawn.

use std::collections::BTreeSet;

use embedded_postgres::PostgresServer;
use serde_json::{Value, json};

use super::{Customer, Site};
use crate::support::database::url;
use crate::support::program::{Client, Service, complaint, couponry};

/// Runs `couponry doctor --after-restore`, and returns whether it succeeded and what it printed.
fn burn(site: &Site, server: &PostgresServer, arguments: &[&str]) -> (bool, Value) {
    let mut command = couponry(&site.path("doctor"));
    command
        .env("DATABASE_URL", url(&server.connect_options("couponry")))
        .env("COUPONRY_WITNESS_DIR", site.path("witness"))
        .args(["doctor", "--after-restore", "--json"])
        .args(arguments);
    let output = command.output().expect("the program is built");
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = serde_json::from_slice(&output.stdout);
    let printed = printed.unwrap_or_else(|_| panic!("no JSON but {errors}"));
    (output.status.success(), printed)
}

/// Withdraws, and returns the number of codes.
#[track_caller]
fn withdrawn(site: &Site, server: &PostgresServer, arguments: &[&str]) -> u64 {
    let (success, printed) = burn(site, server, arguments);
    assert!(success, "{printed}");
    printed["withdrawn"].as_u64().expect("a number")
}

fn start(site: &Site) -> (PostgresServer, Service) {
    let server = site.fresh_server("pg");
    site.run(&server, "createdb --username=postgres couponry");
    let service = site.service("before", &server);
    (server, service)
}

/// Restores the backup on a fresh server.
fn restore(site: &Site) -> PostgresServer {
    restore_as(site, "restored")
}

fn restore_as(site: &Site, name: &str) -> PostgresServer {
    let server = site.fresh_server(name);
    site.run(&server, &site.printed("pg_restore"));
    server
}

fn codes(customer: &Customer, replies: std::ops::RangeFrom<usize>) -> BTreeSet<String> {
    let replies = &customer.replies[replies];
    let code = |reply: &Value| reply["couponCode"].as_str().expect("a code").to_owned();
    replies.iter().map(|(_, reply)| code(reply)).collect()
}

/// A small set of the customer, as a customer of its own.
fn small_set(service: &Service, shop: &Customer, name: &str, codes: &[&str]) -> Customer {
    let client = shop.client(service);
    let set = client.new_set(&json!({"name": name, "type": "multiple"}));
    let codes: Vec<String> = codes.iter().map(|code| (*code).to_owned()).collect();
    client.fill(&set, &codes);
    Customer {
        bearer: shop.bearer.clone(),
        set,
        replies: Vec::new(),
    }
}

#[track_caller]
fn release(client: &Client, customer: &Customer, reply: usize) {
    let id = customer.replies[reply].1["id"].as_str().expect("an id");
    let release = format!("/v1/assignments/{id}/release");
    client.post(&release, &json!({})).expect(200);
}

#[test]
fn a_code_that_a_contact_received_after_the_backup_goes_to_no_other_contact() {
    let site = Site::new();
    let (server, service) = start(&site);
    let second = site.service("second", &server);
    let mut shop = Customer::open(&service, 40);
    shop.assign(&service, 0..5);
    // Held in the backup, and assigned again after it.
    let mut held = small_set(&service, &shop, "held", &["HELD-1", "HELD-2"]);
    held.assign(&service, 0..2);
    // Returned in the backup, and assigned again after it.
    let mut returned = small_set(&service, &shop, "returned", &["BACK-1"]);
    returned.assign(&service, 0..1);
    release(&shop.client(&service), &returned, 0);
    // Assigned again and returned again before the backup.
    let mut free = small_set(&service, &shop, "free", &["FREE-1"]);
    for round in 0..2 {
        free.assign(&service, round..round + 1);
        release(&shop.client(&service), &free, round);
    }
    site.run(&server, &site.printed("pg_dump "));
    for contact in 5..12 {
        let replica = if contact % 2 == 0 { &service } else { &second };
        shop.assign(replica, contact..contact + 1);
    }
    release(&shop.client(&service), &held, 0);
    held.assign(&service, 2..3);
    assert_eq!(held.replies[2].1["couponCode"], "HELD-1");
    returned.assign(&second, 1..2);
    drop((service, second));
    server.stop();

    let server = restore(&site);
    assert_eq!(withdrawn(&site, &server, &["--dry-run"]), 9);
    assert_eq!(withdrawn(&site, &server, &[]), 9);
    assert_eq!(withdrawn(&site, &server, &[]), 0, "the second time");
    let service = site.service("after", &server);
    let counters = shop.counters(&service);
    assert_eq!(counters["withdrawn"], 7, "{counters}");
    assert_eq!(counters["available"], 40 - 12, "{counters}");
    let before = codes(&shop, 0..);
    shop.assign(&service, 100..100 + 28);
    let after = codes(&shop, 12..);
    assert_eq!(after.len(), 28);
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
    for exhausted in [&shop, &held, &returned] {
        let client = shop.client(&service);
        let reply = client.assign(&exhausted.set, "late", None);
        let reply = reply.expect("an answer").expect(409);
        assert_eq!(reply.str("code"), "coupon-set-exhausted");
    }
    free.assign(&service, 100..101);
}

#[test]
fn a_code_that_was_assigned_between_the_restore_and_the_burn_stays_with_its_contact() {
    let site = Site::new();
    let (server, service) = start(&site);
    let mut shop = Customer::open(&service, 10);
    site.run(&server, &site.printed("pg_dump "));
    shop.assign(&service, 0..5);
    drop(service);
    server.stop();

    let server = restore(&site);
    let service = site.service("after", &server);
    shop.assign(&service, 100..102);
    assert_eq!(withdrawn(&site, &server, &[]), 3);
    shop.repeat(&service, 5..7);
    assert_eq!(shop.counters(&service)["assigned"], 2);
    assert_eq!(shop.counters(&service)["available"], 5);
}

fn named(name: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{name}-{n}")).collect()
}

#[test]
fn an_import_that_the_backup_lacks_is_missing_until_its_file_is_imported_again() {
    let site = Site::new();
    let (server, service) = start(&site);
    let mut shop = Customer::open(&service, 1);
    site.run(&server, &site.printed("pg_dump "));
    let late = named("LATE", 9);
    shop.client(&service).fill(&shop.set, &late);
    shop.assign(&service, 0..5);
    drop(service);
    server.stop();

    let server = restore(&site);
    let (success, printed) = burn(&site, &server, &[]);
    assert!(!success);
    assert_eq!(
        (&printed["withdrawn"], &printed["missingImports"]),
        (&json!(1), &json!(1))
    );
    let service = site.service("after", &server);
    // In any order.
    shop.client(&service).fill(&shop.set, &named("OTHER", 2));
    shop.client(&service).fill(&shop.set, &late);
    assert_eq!(withdrawn(&site, &server, &[]), 4);
    assert_eq!(shop.counters(&service)["available"], 2 + 5);
}

/// Its lot has the number of one that was lost.
#[test]
fn codes_of_an_import_after_a_restore_are_witnessed_for_the_next_restore() {
    let site = Site::new();
    let (server, service) = start(&site);
    let mut shop = Customer::open(&service, 1);
    site.run(&server, &site.printed("pg_dump "));
    shop.client(&service).fill(&shop.set, &named("LOST", 9));
    shop.assign(&service, 0..8);
    drop(service);
    server.stop();

    // Whether or not the codes are withdrawn now.
    let server = restore(&site);
    let service = site.service("after", &server);
    shop.client(&service).fill(&shop.set, &named("NEW", 9));
    site.run(&server, &site.printed("pg_dump "));
    shop.assign(&service, 8..12);
    let assigned = codes(&shop, 8..);
    assert!(assigned.contains("NEW-3"), "{assigned:?}");
    drop(service);
    server.stop();

    let server = restore_as(&site, "restored again");
    let (success, printed) = burn(&site, &server, &[]);
    assert!(!success, "the lost import is missing");
    assert_eq!(
        (&printed["withdrawn"], &printed["missingImports"]),
        (&json!(4), &json!(1))
    );
    let service = site.service("last", &server);
    shop.assign(&service, 12..18);
    let later = codes(&shop, 12..);
    assert!(assigned.is_disjoint(&later), "{assigned:?} {later:?}");
}

#[test]
fn a_restore_without_a_witness_is_refused_rather_than_reported_as_clean() {
    let site = Site::new();
    let (server, service) = start(&site);
    drop(service);
    let mut command = couponry(&site.path("doctor"));
    command
        .env("DATABASE_URL", url(&server.connect_options("couponry")))
        .env("COUPONRY_WITNESS_DIR", site.path("witness"))
        .args(["doctor", "--after-restore"]);
    let complaint = complaint(command);
    assert!(complaint.contains("no record of a witness"), "{complaint}");
}

#[test]
fn a_service_does_not_start_with_a_folder_that_it_cannot_write() {
    let site = Site::new();
    let mut command = couponry(&site.path("service"));
    command
        .env("DATABASE_URL", "postgres://localhost/none")
        .env("COUPONRY_WITNESS_DIR", site.path("missing"));
    let complaint = complaint(command);
    assert!(complaint.contains("COUPONRY_WITNESS_DIR"), "{complaint}");
}
