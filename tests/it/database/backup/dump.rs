//! Dumps.

use super::{Customer, Site};
use crate::support::OPERATOR_TOKEN;
use crate::support::database::url;
use crate::support::program::couponry;

#[test]
fn a_restored_dump_has_the_counters_statistics_and_replays_and_keeps_tenants_apart() {
    let site = Site::new();
    let server = site.fresh_server("pg");
    site.run(&server, "createdb --username=postgres couponry");
    let service = site.service("before", &server);
    let mut shop = Customer::open(&service, 20);
    let stranger = Customer::open(&service, 1);
    shop.assign(&service, 0..7);
    let (counters, statistics) = (shop.counters(&service), shop.statistics(&service));
    assert_eq!(counters["assigned"], 7, "{counters}");
    drop(service);
    site.run(&server, &site.printed("pg_dump "));
    server.stop();

    let server = site.fresh_server("restored");
    let reported = site.run(&server, &site.printed("pg_restore"));
    assert_eq!(
        reported.matches("ERROR").count(),
        1,
        "only the superuser exists already: {reported}"
    );
    let service = site.service("after", &server);
    assert_eq!(shop.counters(&service), counters);
    assert_eq!(shop.statistics(&service), statistics);
    shop.repeat(&service, 0..7);
    shop.assign(&service, 7..8);
    assert_eq!(shop.replies[7].1["couponCode"], "CODE-0008");
    stranger.client(&service).get(&shop.set).expect(404);
    stranger.client(&service).get(&stranger.set).expect(200);

    // Row level security, roles, functions and the ledger.
    let mut doctor = couponry(&site.path("doctor"));
    doctor
        .env("DATABASE_URL", url(&server.connect_options("couponry")))
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .args(["doctor", "--json"]);
    let output = doctor.output().expect("the program is built");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["faults"], 0, "{report}");
}
