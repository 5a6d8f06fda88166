//! Backups: what the commands of the documentation restore.

mod dump;
mod point_in_time;
mod witness;

use std::fs;
use std::path::{Path, PathBuf};

use embedded_postgres::PostgresServer;
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;

use crate::properties::readme::read;
use crate::support::OPERATOR_TOKEN;
use crate::support::database::url;
use crate::support::program::{
    Client, Service, command, couponry, folder, postgres_program, put_cluster, start_postgres,
};

/// A folder for the servers, the service and the backups of a test.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: folder() };
        for folder in ["backup/wal", "witness"] {
            fs::create_dir_all(site.path(folder)).expect("the folder is ours");
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a server on a fresh cluster in this folder.
    fn fresh_server(&self, name: &str) -> PostgresServer {
        put_cluster(&self.path(name));
        start_postgres(&self.path(name), false)
    }

    /// Starts the service on the database `couponry` of a server.
    fn service(&self, name: &str, server: &PostgresServer) -> Service {
        let folder = self.path(name);
        fs::create_dir(&folder).expect("the folder is ours");
        let mut command = couponry(&folder);
        command
            .env("DATABASE_URL", url(&server.connect_options("couponry")))
            .env("COUPONRY_WITNESS_DIR", self.path("witness"))
            .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
        Service::start(&folder, &mut command)
    }

    /// Runs commands as an administrator does, and returns what they print.
    #[track_caller]
    fn run(&self, server: &PostgresServer, commands: &str) -> String {
        let mut path = postgres_program("").into_os_string();
        path.push(":");
        path.push(crate::support::program::search_path());
        let output = command("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("PGHOST", server.socket_dir())
            .output()
            .expect("bash is installed");
        let errors = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{commands}\n{errors}");
        errors
    }

    /// The block of commands on the page that contains this word, with the folders of this site.
    #[track_caller]
    fn printed(&self, word: &str) -> String {
        let page = read("docs/operate/backup.md");
        let blocks = page.split("```console\n").skip(1);
        let mut blocks =
            blocks.map(|block| block.split("```").next().expect("the block has an end"));
        let block = blocks.find(|block| block.contains(word));
        let block = block.unwrap_or_else(|| panic!("no command with {word}"));
        let lines = block.lines().map(|line| line.trim_start_matches("$ "));
        let commands = lines.collect::<Vec<_>>().join("\n");
        let backup = self.path("backup").display().to_string();
        let recovered = self.path("recovered/data").display().to_string();
        commands
            .replace("/backup/", &(backup + "/"))
            .replace("/var/lib/postgresql/recovered", &recovered)
    }

    /// Gives a file to the user of the server, which is not root.
    fn give_to_server(&self, path: &Path, server: &str) {
        let owned = command("chown")
            .args(["--recursive", "--reference"])
            .args([&self.path(server).join("data"), path])
            .status();
        assert!(owned.expect("chown is there").success());
    }
}

/// The superuser's connection to the database of the service.
fn owner(server: &PostgresServer) -> PgPool {
    let options = server.connect_options("couponry");
    PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options)
}

async fn value<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    crate::support::sql::value(connection, sql).await
}

/// A shop with a set of codes, and the assignments that it was told of.
struct Customer {
    bearer: String,
    set: String,
    replies: Vec<(String, Value)>,
}

impl Customer {
    fn open(service: &Service, codes: usize) -> Self {
        let shop = service.client(OPERATOR_TOKEN).new_shop();
        let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
        let codes: Vec<String> = (1..=codes).map(|n| format!("CODE-{n:04}")).collect();
        shop.fill(&set, &codes);
        Self {
            bearer: shop.bearer().to_owned(),
            set,
            replies: Vec::new(),
        }
    }

    fn client(&self, service: &Service) -> Client {
        service.client(&self.bearer)
    }

    /// Requests a code for each of these contacts.
    #[track_caller]
    fn assign(&mut self, service: &Service, contacts: std::ops::Range<usize>) {
        for contact in contacts {
            let contact = format!("contact-{contact}");
            let reply = self
                .client(service)
                .assign(&self.set, &contact, Some(&contact));
            let reply = reply.expect("an answer").expect(201);
            self.replies.push((contact, reply.body));
        }
    }

    /// Repeats these requests: each must have the same assignment as before.
    #[track_caller]
    fn repeat(&self, service: &Service, replies: std::ops::Range<usize>) {
        for (contact, first) in &self.replies[replies] {
            let repeated = self
                .client(service)
                .assign(&self.set, contact, Some(contact));
            let repeated = repeated.expect("an answer").expect(200).body;
            assert_eq!(repeated["outcome"], "replayed");
            for name in ["id", "couponCode", "assignedAt"] {
                assert_eq!(repeated[name], first[name]);
            }
        }
    }

    /// The totals of the set.
    fn counters(&self, service: &Service) -> Value {
        self.statistics(service)["totals"].clone()
    }

    fn statistics(&self, service: &Service) -> Value {
        let statistics = format!("{}/statistics", self.set);
        self.client(service).get(&statistics).expect(200).body
    }
}
