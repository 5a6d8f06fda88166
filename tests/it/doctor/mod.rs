//! `couponry doctor`: a healthy database has no finding, and each planted fault is found with its fix.

mod patient;
mod pooler;

use sqlx::{Connection, PgConnection};

use crate::properties::readme::read;
use crate::support::TestApp;
use crate::support::database::TestDatabase;
use crate::support::sql;

use patient::{Patient, history};

#[tokio::test]
async fn a_healthy_database_has_no_finding() {
    let patient = Patient::healthy().await;
    history(&patient.database).await;
    let app = TestApp::on(patient.database.shared());
    let shop = app.shop().await;
    shop.multiple("never assigned", &["A"]).await;
    app.app.stop().await;
    patient.expect_healthy();
    let (success, printed) = patient.run(&[], &[]);
    assert!(success);
    assert_eq!(printed, "No fault found.\n");
}

#[tokio::test]
async fn missing_rights_of_the_login_are_found_and_cured() {
    let patient = Patient::healthy().await;
    let login = &patient.login;
    for (role, fault) in [
        ("couponry_app", "fault roles"),
        ("couponry_system", "fault roles"),
    ] {
        let revoke = format!("revoke {role} from {login}");
        let fix = format!("Run as an administrator: grant {role} to {login};");
        patient.cured(&revoke, fault, &fix).await;
    }
    let right = "execute on function assign_plain";
    let revoke = format!("revoke {right} from {login}");
    let fix = format!("grant {right} to {login};");
    patient.cured(&revoke, "fault roles", &fix).await;
}

#[tokio::test]
async fn a_login_with_too_much_power_is_a_warning() {
    let patient = Patient::healthy().await;
    let login = &patient.login;
    let fix = format!("Use a login of its own, or: alter role {login} nosuperuser nobypassrls;");
    for power in ["superuser", "bypassrls"] {
        patient
            .database
            .execute(&format!("alter role {login} {power}"))
            .await;
        let found = patient.finding(&[]);
        assert_eq!((&*found.name, &*found.fix), ("warning login", &*fix));
        let cure = format!("alter role {login} nosuperuser nobypassrls");
        patient.database.execute(&cure).await;
    }
    patient.expect_healthy();
}

#[tokio::test]
async fn tables_that_do_not_separate_tenants_are_found_and_cured() {
    let patient = Patient::healthy().await;
    for (plant, fix) in [
        (
            "alter table cards disable row level security",
            "alter table cards enable row level security;",
        ),
        (
            "alter table cards no force row level security",
            "alter table cards force row level security;",
        ),
    ] {
        patient.cured(plant, "fault row-security", fix).await;
    }
    for plant in [
        "drop policy tenant_rows on lots",
        "alter policy tenant_rows on lots using (true)",
        "alter policy tenant_rows on lots with check (true)",
        "create policy everything on lots using (true)",
    ] {
        patient.database.execute(plant).await;
        let found = patient.finding(&[]);
        assert_eq!(found.name, "fault row-security", "{plant}");
        assert!(
            found.fix.ends_with("select protect_tenant_rows('lots');"),
            "{}",
            found.fix
        );
        for cure in [
            "drop policy if exists everything on lots",
            "drop policy if exists tenant_rows on lots",
            "select protect_tenant_rows('lots')",
        ] {
            patient.database.execute(cure).await;
        }
    }
    patient.expect_healthy();
}

#[tokio::test]
async fn a_schema_of_another_release_is_found() {
    let patient = Patient::healthy().await;
    let changes = |checksum: &str| {
        format!("update _sqlx_migrations set checksum = {checksum} where version = 1")
    };
    let of_release =
        |column: &str| format!("update applied_functions set {column} = '{{999,0,0}}'");
    // What an upgrade would do.
    let cure = "update applied_functions set release = '{0,1,0}', min_release = '{0,1,0}'";
    for (plant, name, fix, cure) in [
        (
            "update applied_functions set migration = migration - 1".to_owned(),
            "fault release",
            "couponry migrate",
            "update applied_functions set migration = migration + 1",
        ),
        (
            of_release("release"),
            "warning release",
            "Install the later release here too.",
            cure,
        ),
        (
            of_release("min_release"),
            "fault release",
            "Install a later release of this program.",
            cure,
        ),
    ] {
        patient.database.execute(&plant).await;
        let found = patient.finding(&[]);
        assert_eq!(
            (&*found.name, &*found.fix),
            (name, fix),
            "{plant}: {}",
            found.what
        );
        patient.database.execute(cure).await;
    }
    patient.grant("select on _sqlx_migrations").await;
    let (half, whole) = (
        changes("substr(checksum, 1, 10)"),
        changes("(select checksum from kept)"),
    );
    let keep = "create table kept as select checksum from _sqlx_migrations where version = 1";
    patient.database.execute(keep).await;
    let fixes = [
        (
            half,
            "Use the program that made the database, or restore a backup.",
            whole,
        ),
        (
            "update _sqlx_migrations set version = 0 where version = 1".to_owned(),
            "couponry migrate",
            "update _sqlx_migrations set version = 1 where version = 0".to_owned(),
        ),
    ];
    for (plant, fix, cure) in fixes {
        patient.database.execute(&plant).await;
        let found = patient.finding(&[]);
        assert_eq!(
            (&*found.name, &*found.fix),
            ("fault migrations", fix),
            "{plant}"
        );
        patient.database.execute(&cure).await;
    }
    patient.expect_healthy();
    for plant in [
        "update applied_functions set checksum = sha256('')",
        "alter table applied_functions drop column min_release",
    ] {
        patient.database.execute(plant).await;
        let found = patient.finding(&[]);
        assert_eq!(
            (&*found.name, &*found.fix),
            ("fault release", "couponry migrate"),
            "{plant}"
        );
    }
}

#[tokio::test]
async fn a_new_database_and_one_with_the_wrong_encoding_are_found() {
    let _first = TestDatabase::create().await;
    let empty = Patient::on(TestDatabase::with("").await).await;
    let found = empty.finding(&[]);
    assert_eq!(
        (&*found.name, &*found.fix),
        ("fault migrations", "couponry migrate")
    );
    let latin = "template template0 encoding 'LATIN1' locale 'C'";
    let latin = Patient::on(TestDatabase::with(latin).await).await;
    let (success, report) = latin.report(&[]);
    assert!(!success);
    assert_eq!(report["findings"][0]["check"], "encoding");
    let fix = report["findings"][0]["fix"].as_str().expect("text");
    assert!(fix.contains("--encoding=UTF8"), "{fix}");
}

#[tokio::test]
async fn a_database_that_is_read_only_short_of_connections_or_of_another_collation_is_found() {
    let patient = Patient::healthy().await;
    let name = patient
        .database
        .options
        .get_database()
        .expect("a name")
        .to_owned();
    let login = &patient.login;
    let read_only = format!("alter database {name} set default_transaction_read_only = on");
    patient.database.execute(&read_only).await;
    let found = patient.finding(&[]);
    assert_eq!(found.name, "fault read-only");
    // In a new session, where the setting is in effect.
    let connected = PgConnection::connect_with(&patient.database.options).await;
    let mut session = connected.expect("a connection");
    for statement in found.fix.split_inclusive(';') {
        sql::run(&mut session, statement)
            .await
            .expect("the owner may");
    }
    session.close().await.expect("the connection closes");
    patient.expect_healthy();

    for (limit, lift) in [
        (
            format!("alter database {name} connection limit 43"),
            format!("alter database {name} connection limit -1"),
        ),
        (
            format!("alter role {login} connection limit 43"),
            format!("alter role {login} connection limit -1"),
        ),
    ] {
        patient.database.execute(&limit).await;
        let found = patient.finding(&[]);
        assert_eq!(found.name, "fault connections");
        assert!(
            found
                .what
                .contains("may open 44 connections. The server allows 43."),
            "{}",
            found.what
        );
        patient.database.execute(&lift).await;
    }
    let found = patient.finding(&[("COUPONRY_REQUEST_CONNECTIONS", "1000")]);
    assert_eq!(found.name, "fault connections");
    assert!(
        found.fix.contains("max_connections = 1052"),
        "{}",
        found.fix
    );

    let version = format!("update pg_database set datcollversion = '0.0' where datname = '{name}'");
    patient.database.execute(&version).await;
    let found = patient.finding(&[]);
    assert_eq!(found.name, "fault collation");
    assert!(
        found.fix.starts_with(&format!("reindex database {name};")),
        "{}",
        found.fix
    );
    patient
        .database
        .execute(&version.replace("'0.0'", "null"))
        .await;
    patient.expect_healthy();
}

#[tokio::test]
async fn a_ledger_that_is_being_removed_or_was_has_no_gap() {
    let patient = Patient::healthy().await;
    history(&patient.database).await;
    let database = &patient.database;
    for statement in [
        "update coupon_sets set deleted_at = now() - interval '31 days'",
        "select roll_up_statistics(tenant_id, set_no, 1000) from coupon_sets",
    ] {
        database.execute(statement).await;
    }
    for (rows, state) in [(1, "removing"), (1000, "removed")] {
        let portion = format!(
            "select remove_ledger(tenant_id, set_no, 30, 1, {rows}) from coupon_sets where set_no = 1"
        );
        database.execute(&portion).await;
        let states = "select ledger_state from coupon_sets where set_no = 1";
        assert_eq!(database.query_value(states).await, state);
        patient.expect_healthy();
    }
}

#[tokio::test]
async fn a_gap_in_a_ledger_and_work_that_nothing_does_are_found() {
    let patient = Patient::healthy().await;
    history(&patient.database).await;
    let database = &patient.database;
    database
        .execute("delete from assignments where number = 2")
        .await;
    let found = patient.finding(&[]);
    assert_eq!(found.name, "fault ledger");
    assert!(
        found.what.contains("1 of the last 3 entries"),
        "{}",
        found.what
    );
    assert!(
        found.fix.contains("couponry tenant suspend"),
        "{}",
        found.fix
    );
    database
        .execute(
            "insert into assignments (number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no, lot_no,
                                      ordinal, contact_seq)
             select 2, (select max(contact_no) from contacts), assigned_at, gen_random_uuid(), tenant_id, set_no,
                    requested_set_no, lot_no, 100, 100
               from assignments
              where number = 1",
        )
        .await;
    patient.expect_healthy();

    let set = "select tenant_id, set_no, 1, now() - interval '11 minutes' from coupon_sets where set_no = 1";
    database
        .execute(&format!(
            "insert into reservations (tenant_id, set_no, number, expires_at) {set}"
        ))
        .await;
    database
        .execute("update imports set status = 'queued', created_at = now() - interval '2 hours', finished_at = null")
        .await;
    database
        .execute(
            "insert into erasures (tenant_id, pseudonym, contact_ids, requested_at)
             select tenant_id, 'nobody', '{ann}', now() - interval '2 hours' from tenants",
        )
        .await;
    database
        .execute(
            "insert into webhooks (tenant_id, webhook_no, id, url, event_types, secret, next_due_at)
             select tenant_id, 1, gen_random_uuid(), 'https://example.com', '{coupon.assigned}', '', now() - interval '11 minutes'
               from tenants",
        )
        .await;
    let (success, report) = patient.report(&[]);
    assert!(!success);
    let findings = report["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 4, "{report:#}");
    for (finding, what) in findings
        .iter()
        .zip(["reservations", "imports", "webhooks", "contacts"])
    {
        assert_eq!(finding["check"], "background-work");
        let text = finding["what"].as_str().expect("text");
        assert!(text.starts_with(&format!("1 {what} ")), "{text}");
        assert!(
            finding["fix"]
                .as_str()
                .expect("text")
                .starts_with("Start a replica")
        );
    }
    // The webhooks of a suspended tenant wait on purpose.
    database
        .execute("update tenants set state = 'suspended'")
        .await;
    let (_, report) = patient.report(&[]);
    assert_eq!(report["faults"], 3, "{report:#}");
}

#[tokio::test]
async fn faults_of_the_settings_and_of_the_machine_are_found() {
    let patient = Patient::healthy().await;
    let found = patient.finding(&[("COUPONRY_OPERATOR_TOKEN", "")]);
    assert_eq!(found.name, "warning operator-token");
    assert!(found.fix.contains("openssl rand -hex 24"), "{}", found.fix);
    let found = patient.finding(&[("COUPONRY_OPERATOR_TOKEN", "short")]);
    assert_eq!(found.name, "fault settings");
    assert!(
        found.what.contains("at least 16 characters"),
        "{}",
        found.what
    );

    let found = patient.finding(&[("TMPDIR", "/no/such/folder")]);
    assert_eq!(found.name, "fault upload-folder");
    assert!(found.fix.contains("Set TMPDIR"), "{}", found.fix);
    let huge = u64::MAX.to_string();
    let found = patient.finding(&[("COUPONRY_IMPORT_MAX_BYTES", &huge)]);
    assert_eq!(found.name, "warning upload-folder");
    assert!(found.what.contains("bytes left"), "{}", found.what);
    if std::path::Path::new("/dev/shm").is_dir() {
        let in_memory = [("TMPDIR", "/dev/shm"), ("COUPONRY_IMPORT_MAX_BYTES", "1")];
        let found = patient.finding(&in_memory);
        assert_eq!(found.name, "warning upload-folder");
        assert!(found.what.contains("tmpfs"), "{}", found.what);
    }

    let found = patient.finding(&[("COUPONRY_WITNESS_DIR", "/no/such/folder")]);
    assert_eq!(found.name, "fault witness-folder");
    assert!(found.fix.contains("Create the folder"), "{}", found.fix);
    if std::path::Path::new("/dev/shm").is_dir() {
        let found = patient.finding(&[("COUPONRY_WITNESS_DIR", "/dev/shm")]);
        assert_eq!(found.name, "warning witness-folder");
        assert!(found.what.contains("tmpfs"), "{}", found.what);
    }

    let gone = patient.url().replace("/test_", "/no_such_database_");
    let found = patient.finding(&[("DATABASE_URL", &gone)]);
    assert_eq!(found.name, "fault database");
    assert!(found.what.contains("no_such_database_"), "{}", found.what);
    assert!(found.fix.contains("psql"), "{}", found.fix);
}

#[tokio::test]
async fn the_report_for_people_names_reason_fix_and_a_section_that_exists() {
    let patient = Patient::healthy().await;
    patient
        .database
        .execute("alter table cards disable row level security")
        .await;
    let (success, printed) = patient.run(&[], &[]);
    assert!(!success);
    let expected = "Fault: Row level security is disabled on cards.\n  \
        Why: A statement that forgets its tenant would reach the rows of all tenants.\n  \
        Fix: alter table cards enable row level security;\n  \
        See: docs/operate/doctor.md#row-security\n\nFaults: 1, warnings: 0.\n";
    assert_eq!(printed, expected);
}

#[test]
fn every_check_has_a_section_in_the_documentation() {
    let page = read("docs/operate/doctor.md");
    let mut sections: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let sources = ["machine", "mod", "server", "schema", "data"]
        .map(|file| read(&format!("src/doctor/{file}.rs")));
    let mut checks: Vec<&str> = sources.iter().flat_map(|source| checks(source)).collect();
    checks.sort_unstable();
    checks.dedup();
    assert!(checks.len() >= 12, "{checks:?}");
    sections.sort_unstable();
    assert_eq!(sections, checks);
}

/// The names of the checks in a source file.
fn checks(source: &str) -> Vec<&str> {
    let constants = source.split("const CHECK: &str = \"").skip(1);
    let calls = source
        .split("Finding::")
        .skip(1)
        .filter_map(|call| call.split_once('(').map(|(_, rest)| rest.trim_start()))
        .filter_map(|rest| rest.strip_prefix('"'));
    constants
        .chain(calls)
        .filter_map(|text| text.split('"').next())
        .collect()
}
