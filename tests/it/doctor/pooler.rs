//! Poolers between the service and its database.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Stdio};

use super::Patient;
use crate::support::program::{command, is_root, until};

/// A `PgBouncer`, which ends when this value is dropped.
struct Pooler {
    child: Child,
    url: String,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pooler {
    /// Starts it before the database of a patient. Returns `None` if it is not installed.
    fn start(patient: &Patient, mode: &str) -> Option<Self> {
        let options = &patient.database.options;
        let (socket, database) = (options.get_socket()?, options.get_database()?);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a port is free").port();
        let login = patient.login.trim_matches('"');
        let settings = patient.folder.path().join(format!("{mode}.ini"));
        let text = format!(
            "[databases]\n{database} = host={} port={} user='{login}'\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n",
            socket.display(),
            options.get_port()
        );
        fs::write(&settings, text).expect("the folder is ours");
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o644)).expect("it is ours");
        // It refuses to run as root, and the socket is that of the server's user.
        let owner = fs::metadata(socket).expect("the server runs").uid();
        let mut pgbouncer = if is_root() {
            let mut command = command("setpriv");
            command.args([&*format!("--reuid={owner}"), "--clear-groups", "pgbouncer"]);
            command
        } else {
            command("pgbouncer")
        };
        let found = command("sh").args(["-c", "command -v pgbouncer"]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            return None;
        }
        let child = pgbouncer
            .arg("--quiet")
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is installed");
        until("the pooler listens", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let url = format!("postgres://anybody@127.0.0.1:{port}/{database}?sslmode=disable");
        Some(Self { child, url })
    }
}

#[tokio::test]
async fn poolers_that_lose_transactions_or_statements_are_found() {
    let patient = Patient::healthy().await;
    for (mode, fix) in [
        ("statement", "pool_mode = transaction"),
        // A PgBouncer without `max_prepared_statements`.
        ("transaction", "COUPONRY_POOLER=true"),
    ] {
        let Some(pooler) = Pooler::start(&patient, mode) else {
            return eprintln!("skipped: PgBouncer is not installed");
        };
        let found = patient.finding(&[("DATABASE_URL", &pooler.url)]);
        assert_eq!(found.name, "fault pooler", "{}", found.what);
        assert!(found.fix.contains(fix), "{}", found.fix);
    }
    let Some(pooler) = Pooler::start(&patient, "session") else {
        return;
    };
    let (success, report) = patient.report(&[("DATABASE_URL", &pooler.url)]);
    assert!(success);
    assert_eq!(report["findings"], serde_json::json!([]));
}
