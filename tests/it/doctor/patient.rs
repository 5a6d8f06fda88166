//! A database with a login of its own, on which the doctor is tried.

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::support::TestApp;
use crate::support::database::{TestDatabase, url};
use crate::support::program::{couponry, folder};
use crate::support::sql;

/// A token that is long enough.
pub const TOKEN: &str = "a-token-of-16-chars-or-more";

/// A database with a login of its own, as an administrator prepares it for `couponry serve --no-migrate`.
pub struct Patient {
    pub database: TestDatabase,
    /// In the form of SQL.
    pub login: String,
    pub folder: TempDir,
}

impl Patient {
    pub async fn open() -> Self {
        Self::on(TestDatabase::create().await).await
    }

    pub async fn on(database: TestDatabase) -> Self {
        let login = format!(
            "\"doctor of {}\"",
            database.options.get_database().expect("a name")
        );
        // Roles belong to the cluster, where a failed run may have left it.
        database
            .execute(&format!("drop role if exists {login}"))
            .await;
        database
            .execute(&format!("create role {login} login noinherit"))
            .await;
        let patient = Self {
            database,
            login,
            folder: folder(),
        };
        patient.grant("couponry_app, couponry_system").await;
        patient
    }

    pub async fn grant(&self, rights: &str) {
        self.database
            .execute(&format!("grant {rights} to {}", self.login))
            .await;
    }

    /// A healthy one.
    pub async fn healthy() -> Self {
        let patient = Self::open().await;
        patient.grant("execute on function assign_plain").await;
        patient
    }

    pub fn url(&self) -> String {
        url(&self
            .database
            .options
            .clone()
            .username(self.login.trim_matches('"')))
    }

    /// Runs the command, and returns whether it succeeded and what it printed.
    pub fn run(&self, settings: &[(&str, &str)], arguments: &[&str]) -> (bool, String) {
        let mut command = couponry(&self.folder.path().join("data"));
        command
            .env("DATABASE_URL", self.url())
            .env("COUPONRY_OPERATOR_TOKEN", TOKEN)
            .env("TMPDIR", self.folder.path())
            // So that little free space will do.
            .env("COUPONRY_IMPORT_MAX_BYTES", "1000000")
            .envs(settings.iter().copied())
            .arg("doctor")
            .args(arguments);
        let output = command.output().expect("the program runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let printed = String::from_utf8(output.stdout).expect("text");
        (output.status.success(), printed)
    }

    pub fn report(&self, settings: &[(&str, &str)]) -> (bool, Value) {
        let (success, printed) = self.run(settings, &["--json"]);
        (success, serde_json::from_str(&printed).expect("JSON"))
    }

    /// The only finding: its check, its severity and its parts.
    #[track_caller]
    pub fn finding(&self, settings: &[(&str, &str)]) -> Finding {
        let (success, report) = self.report(settings);
        let findings = report["findings"].as_array().expect("a list");
        let [finding] = &findings[..] else {
            panic!("not one finding: {report:#}");
        };
        let part = |name: &str| finding[name].as_str().expect("text").to_owned();
        let severity = part("severity");
        assert_eq!(success, severity != "fault", "{report:#}");
        Finding {
            name: format!("{severity} {}", part("check")),
            what: part("what"),
            fix: part("fix"),
        }
    }

    /// Plants a fault, which must be the only finding, and applies its fix, which must cure it.
    pub async fn cured(&self, plant: &str, name: &str, fix: &str) {
        self.database.execute(plant).await;
        let found = self.finding(&[]);
        assert_eq!(found.name, name, "{}", found.what);
        assert_eq!(found.fix, fix);
        for statement in fix
            .trim_start_matches("Run as an administrator: ")
            .split_inclusive(';')
        {
            self.database.execute(statement).await;
        }
        self.expect_healthy();
    }

    #[track_caller]
    pub fn expect_healthy(&self) {
        let (success, report) = self.report(&[]);
        assert!(success, "{report:#}");
        assert_eq!(report["findings"], serde_json::json!([]), "{report:#}");
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let (options, login) = (self.database.options.clone(), self.login.clone());
        let gone = format!("drop owned by {login}; drop role {login}");
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let connection = PgConnection::connect_with(&options).await;
                sql::run(&mut connection.expect("a connection"), gone).await
            })
        });
        // If the drop fails, the next run drops the role.
        let _ = dropping.join();
    }
}

pub struct Finding {
    /// Severity and check.
    pub name: String,
    pub what: String,
    pub fix: String,
}

/// A shop with a set of which some codes were assigned and reserved. No service runs any more.
pub async fn history(database: &TestDatabase) {
    let app = TestApp::on(database.shared());
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A", "B", "C", "D"]).await;
    for contact in ["ann", "bob", "cat"] {
        set.assign(contact).await.expect(201);
    }
    // Nothing has happened to it.
    shop.multiple("later", &[]).await;
    app.app.stop().await;
}
