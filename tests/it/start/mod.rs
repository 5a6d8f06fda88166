//! Starting and stopping the program.

mod connections;
mod database;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use sqlx::Executor;

use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::program::{
    Service, children, command, complaint, couponry, folder, folder_with_cluster, is_root,
    lock_is_free, ready_pid, runs, settings, start_postgres, until,
};

const NOBODY: u32 = 65534;

/// A service with its own PostgreSQL.
fn start(dir: &Path) -> (Service, u32) {
    let service = Service::start(dir, &mut couponry(dir));
    let postgres = ready_pid(&dir.join("pg")).expect("its PostgreSQL runs");
    (service, postgres)
}

/// A service on a database of the tests' server.
async fn start_on_database(dir: &Path) -> (Service, TestDatabase) {
    let database = TestDatabase::create().await;
    let mut command = couponry(dir);
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    (Service::start(dir, &mut command), database)
}

#[test]
fn a_first_start_shows_a_key_once_and_a_second_one_finds_the_data() {
    let folder = folder();
    let dir = folder.path().join("not/made/yet");
    let mut command = couponry(&dir);
    let service = Service::start(folder.path(), &mut command);
    let postgres = ready_pid(&dir.join("pg")).expect("its PostgreSQL runs");
    let key = service.demo_key();
    let url = format!("http://{}", service.address);
    assert!(service.greeted("Couponry is listening on ").contains(&url));
    let export = service.greeted("export ");
    assert_eq!(
        export,
        format!("export COUPONRY_URL={url} COUPONRY_KEY={key}")
    );

    // The suggested next command works as printed.
    let next = format!("{export}; {}", service.greeted("curl "));
    let next = Command::new("sh").args(["-c", &next]).output();
    let answer = String::from_utf8(next.expect("sh runs").stdout).expect("text");
    assert!(answer.starts_with(r#"{"results":[],"#), "{answer}");

    let token = service.greeted("Operator token, valid until the next start: ");
    let token = token.rsplit(' ').next().expect("a word");
    service.client(token).get("/admin/v1/tenants").expect(200);
    let set = json!({"name": "Birthday", "type": "multiple"});
    let set = service.client(&key).new_set(&set);

    // Ctrl-C.
    assert!(service.stop(Signal::INT).success());
    assert!(!runs(postgres) && lock_is_free(&dir.join("pg")));

    let service = Service::start(folder.path(), &mut command);
    let greeting = service.greeting();
    assert!(!greeting.contains("shown only once"), "{greeting}");
    assert!(
        greeting.ends_with("$COUPONRY_URL/v1/coupon-sets\n\n"),
        "{greeting}"
    );
    service.client(&key).get(&set).expect(200);
    let postgres = ready_pid(&dir.join("pg")).expect("its PostgreSQL runs");
    assert!(service.stop(Signal::TERM).success());
    assert!(!runs(postgres) && lock_is_free(&dir.join("pg")));
}

#[test]
fn kill_9_leaves_no_server_and_nothing_in_the_way_of_the_next_start() {
    let folder = folder_with_cluster();
    let (service, postgres) = start(folder.path());
    let key = service.demo_key();
    let set = json!({"name": "Birthday", "type": "single", "code": "HAPPY"});
    let set = service.client(&key).new_set(&set);
    service.kill();
    until("PostgreSQL is gone", || (!runs(postgres)).then_some(()));
    until("the lock is free", || {
        lock_is_free(&folder.path().join("pg")).then_some(())
    });

    let (service, postgres) = start(folder.path());
    let held = service.client(&key).assign(&set, "ann", Some("k"));
    assert_eq!(
        held.expect("an answer").expect(201).str("couponCode"),
        "HAPPY"
    );
    // It need not even wait for the end of the killed processes.
    service.kill();
    let (service, next) = start(folder.path());
    assert_ne!(postgres, next);
    let again = service.client(&key).assign(&set, "ann", Some("k"));
    assert_eq!(
        again.expect("an answer").expect(200).str("outcome"),
        "replayed"
    );
}

#[test]
fn another_user_runs_it_as_himself_and_root_keeps_the_owner() {
    if !is_root() {
        return eprintln!("skipped: every other test runs as a user who is not root");
    }
    let folder = folder();
    let closed = |folder: &Path| fs::metadata(folder).is_ok_and(|found| found.mode() & 1 == 0);
    if folder.path().ancestors().any(closed) {
        return eprintln!(
            "skipped: {} cannot be entered by others",
            folder.path().display()
        );
    }
    let program = folder.path().join("couponry");
    fs::copy(env!("CARGO_BIN_EXE_couponry"), &program).expect("the folder is ours");
    let dir = folder.path().join("data");
    fs::create_dir(&dir).expect("the folder is ours");
    chown(&dir, Some(NOBODY), Some(NOBODY)).expect("we are root");
    let mut as_nobody = command("setpriv");
    as_nobody
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
        ])
        .arg(&program)
        .current_dir(&dir);
    settings(&mut as_nobody, &dir);
    let service = Service::start(folder.path(), &mut as_nobody);
    let key = service.demo_key();
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}")).expect("it runs").uid();
    let postgres = ready_pid(&dir.join("pg")).expect("its PostgreSQL runs");
    assert_eq!((owner(service.pid()), owner(postgres)), (NOBODY, NOBODY));
    assert!(service.stop(Signal::INT).success());
    assert!(!runs(postgres));

    let service = Service::start(folder.path(), &mut couponry(&dir));
    service.client(&key).get("/v1/coupon-sets").expect(200);
    let postgres = ready_pid(&dir.join("pg")).expect("its PostgreSQL runs");
    assert_eq!((owner(service.pid()), owner(postgres)), (0, NOBODY));
}

#[tokio::test]
async fn with_a_database_url_it_starts_no_server_and_makes_no_tenant() {
    let folder = folder();
    let database = TestDatabase::create().await;
    let dir = folder.path().join("data");
    let mut command = couponry(&dir);
    command.env("DATABASE_URL", database.url());
    // A compose file sets unknown variables to an empty string.
    command.env("COUPONRY_OPERATOR_TOKEN", "");
    let service = Service::start(folder.path(), &mut command);
    assert!(children(service.pid()).is_empty());
    assert!(!dir.exists());
    assert_eq!(service.greeting(), "");
    let tenants = database.owner.fetch_all("select from tenants").await;
    assert!(tenants.unwrap().is_empty());
    service.client("").get("/readyz").expect(200);
    let off = service.client("a guess").get("/admin/v1/tenants");
    assert_eq!(off.expect(404).str("code"), "unknown-path");
    assert!(service.stop(Signal::TERM).success());

    command.env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let service = Service::start(folder.path(), &mut command);
    let guess = service.client("a guess").get("/admin/v1/tenants");
    assert_eq!(guess.expect(401).str("code"), "unauthorized");
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    shop.get("/v1/coupon-sets").expect(200);
}

#[test]
fn a_service_that_must_not_start_a_server_says_what_it_needs() {
    let folder = folder();
    let dir = folder.path().join("data");
    let mut command = couponry(&dir);
    command.env("COUPONRY_REQUIRE_DATABASE_URL", "true");
    command.env("DATABASE_URL", "");
    let line = complaint(command);
    assert!(line.contains("set DATABASE_URL"), "{line}");
    assert!(!dir.exists());
}

#[test]
fn a_folder_without_programs_of_postgresql_is_named_in_one_line() {
    let folder = folder();
    let dir = folder.path().join("data");
    let mut command = couponry(&dir);
    command.env("COUPONRY_PG_BIN_DIR", folder.path());
    let line = complaint(command);
    let expected = format!("{} does not contain", folder.path().display());
    assert!(line.contains(&expected), "{line}");
    assert!(!dir.exists());
}

#[test]
fn without_postgresql_one_line_says_what_to_install() {
    // Hides the system's installations, for this one process.
    let hide = "for dir in /usr/lib/postgresql /usr/pgsql-* /usr/local/pgsql; do \
                if [ -d \"$dir\" ]; then mount -t tmpfs none \"$dir\" || exit 77; fi; done";
    let hidden = |then: &str| {
        let mut command = command("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            &format!("{hide}; {then}"),
            env!("CARGO_BIN_EXE_couponry"),
        ]);
        command
    };
    if !hidden("true")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return eprintln!("skipped: needs root, and a system that lets him hide folders");
    }
    let folder = folder();
    let dir = folder.path().join("data");
    let mut command = hidden("PATH=/usr/sbin exec \"$0\"");
    settings(&mut command, &dir);
    command.env_remove("COUPONRY_PG_BIN_DIR");
    let line = complaint(command);
    assert!(line.contains("apt-get install postgresql"), "{line}");
    assert!(line.contains("DATABASE_URL"), "{line}");
    assert!(!dir.exists());
}

#[test]
fn a_port_in_use_is_reported_in_one_line_before_anything_is_started() {
    let folder = folder();
    let dir = folder.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens").to_string();
    let mut command = couponry(&dir);
    command.env("COUPONRY_LISTEN", &address);
    let line = complaint(command);
    assert!(
        line.contains(&address) && line.contains("COUPONRY_LISTEN"),
        "{line}"
    );
    assert!(!dir.exists());
}

#[test]
fn a_guessable_operator_token_is_refused() {
    let folder = folder();
    let mut command = couponry(&folder.path().join("data"));
    let output = command.env("COUPONRY_OPERATOR_TOKEN", "secret").output();
    let output = output.expect("the program runs");
    let message = String::from_utf8(output.stderr).expect("text");
    assert!(
        !output.status.success() && message.contains("at least 16") && !message.contains("secret"),
        "{message}"
    );
}

#[tokio::test]
async fn the_health_check_reports_by_its_exit_code() {
    let folder = folder();
    let (service, _database) = start_on_database(folder.path()).await;
    let check = |address: &str| {
        let mut command = couponry(folder.path());
        command.arg("healthcheck").env("COUPONRY_LISTEN", address);
        command
    };
    let address = service.address.to_string();
    assert!(check(&address).status().expect("it runs").success());
    // As in a container, which listens on all addresses.
    let everywhere = format!("0.0.0.0:{}", service.address.port());
    assert!(check(&everywhere).status().expect("it runs").success());
    assert!(service.stop(Signal::TERM).success());
    let line = complaint(check(&address));
    assert!(
        line.contains("does not respond to the health check"),
        "{line}"
    );
}

#[tokio::test]
async fn logs_hold_no_key_no_code_and_no_contact() {
    let folder = folder();
    let database = TestDatabase::create().await;
    let mut command = couponry(folder.path());
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .env("COUPONRY_LOG", "debug")
        .env("COUPONRY_ACCESS_LOG", "all");
    let mut service = Service::start(folder.path(), &mut command);
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let set = shop.new_set(&json!({"name": "Private name", "type": "multiple"}));
    let code = |n: u8| format!("PRIVATE-CODE-{n}");
    shop.fill(&set, &[code(1), code(2), code(2)]);
    let assign = |contact: &str| {
        let reply = shop.assign(&set, contact, Some("private-key"));
        reply.expect("an answer").status
    };
    assert_eq!(
        [
            assign("private-ann"),
            assign("private-ann"),
            assign("private-bob")
        ],
        [201, 200, 422]
    );
    let listed = shop.get("/v1/assignments?contactId=private-ann&code=PRIVATE-CODE-1");
    assert_eq!(
        listed.expect(200).body["results"].as_array().map(Vec::len),
        Some(1)
    );
    shop.get("/v1/assignments?contactId=private-ann&code=PRIVATE%00CODE")
        .expect(400);
    shop.get("/v1/coupon-sets?q=private").expect(200);
    shop.get("/private-path?private-query").expect(404);
    // An internal error is logged with its cause.
    database
        .owner
        .execute("alter table assignments rename column contact_no to c")
        .await
        .unwrap();
    let broken = shop.assign(&set, "private-cat", Some("private-key-2"));
    broken.expect("an answer").expect(500);
    shop.get("/v1/assignments?contactId=private-ann")
        .expect(500);

    service.interrupt(Signal::TERM);
    assert!(service.ended().success());
    let log = service.log();
    assert!(
        log.contains("/v1/coupon-sets/{couponSetId}/assignments"),
        "{log}"
    );
    assert!(log.contains(r#""status":500"#), "{log}");
    let (start, secret) = shop.bearer().rsplit_once('_').expect("an id and a secret");
    assert!(start.len() > 10 && secret.len() > 20);
    for private in ["private", "PRIVATE", "Private", secret, OPERATOR_TOKEN] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(private)).collect();
        assert!(lines.is_empty(), "{private} in {lines:#?}");
    }
}

#[test]
fn a_service_that_starts_before_its_database_waits_for_it() {
    let folder = folder_with_cluster();
    let pg = folder.path().join("pg");
    let server = start_postgres(&pg, false);
    let url = crate::support::database::url(&server.connect_options("postgres"));
    server.stop();
    let mut command = couponry(folder.path());
    command.env("DATABASE_URL", url);
    let mut service = Service::spawn(folder.path(), &mut command);
    until("it waits", || {
        service
            .log()
            .contains("waiting for the database")
            .then_some(())
    });
    let _server = start_postgres(&pg, false);
    service.find();
    service.client("").get("/readyz").expect(200);
}

#[test]
fn the_data_of_the_service_is_closed_to_others() {
    let folder = folder_with_cluster();
    let (_service, _) = start(folder.path());
    for name in ["pg/data", "pg/s"] {
        let mode = fs::metadata(folder.path().join(name))
            .expect("it was made")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{name}");
    }
}
