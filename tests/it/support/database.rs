//! One PostgreSQL for the whole test run, and a database for each test, cloned from a template that is migrated once.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use couponry::database::functions;
use embedded_postgres::PostgresServer;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::sync::OnceCell;

use super::pooler::Pooler;
use super::sql;

/// Never dropped; the server ends with this process.
static SERVER: OnceLock<PostgresServer> = OnceLock::new();
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
/// In front of the server, if `COUPONRY_TEST_POOLER=1`.
static POOLER: OnceLock<Option<Pooler>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The user as which the service of a test logs in. It has the roles of the service but not their rights, so a statement
/// fails that runs before its transaction has become one of them.
const LOGIN: &str = "couponry_test_login";
const LOGIN_RIGHTS: &str = "
    do $$
    begin
      if not exists (select from pg_roles where rolname = 'couponry_test_login') then
        create role couponry_test_login login noinherit;
      end if;
    end $$;
    grant couponry_app, couponry_system to couponry_test_login;
    grant execute on function assign_plain to couponry_test_login";

/// The folder of the programs of another PostgreSQL than the installed one.
#[expect(clippy::disallowed_methods, reason = "the tests have no settings")]
fn bin_dir() -> Option<PathBuf> {
    std::env::var_os("COUPONRY_PG_BIN_DIR").map(PathBuf::from)
}

/// Settings for a PostgreSQL of the tests in this folder.
#[expect(clippy::disallowed_methods, reason = "PATH, for the server's programs")]
pub fn embedded_options(dir: PathBuf, durable: bool) -> embedded_postgres::Options {
    embedded_postgres::Options {
        dir,
        bin_dir: bin_dir(),
        path: std::env::var_os("PATH"),
        durable,
        wait: Duration::ZERO,
    }
}

/// A folder of data that later runs reuse, one for each PostgreSQL.
pub fn kept_folder() -> PathBuf {
    let programs = bin_dir().unwrap_or_default();
    let name = programs.to_string_lossy().replace('/', "-");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kept{name}"));
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    folder
}

/// The server in the first free slot: concurrent test runs use different slots, and later runs reuse their data.
fn server() -> &'static PostgresServer {
    SERVER.get_or_init(|| {
        let slots = kept_folder();
        (0..64)
            .find_map(|slot| {
                match embedded_postgres::start(&embedded_options(
                    slots.join(format!("pg{slot}")),
                    false,
                )) {
                    Ok(server) => Some(server),
                    Err(embedded_postgres::Error::InUse(_)) => None,
                    Err(error) => panic!("{error}"),
                }
            })
            .expect("one of 64 slots is free")
    })
}

/// Returns the pooler by which the service connects, if the tests are to run through one.
pub fn pooler() -> Option<&'static Pooler> {
    let start = || is_pooled().then(|| Pooler::start(server().socket_dir(), &[LOGIN]));
    POOLER.get_or_init(start).as_ref()
}

#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub fn is_pooled() -> bool {
    std::env::var_os("COUPONRY_TEST_POOLER").is_some_and(|value| value == "1")
}

fn options(database: &str) -> PgConnectOptions {
    server()
        .connect_options(database)
        .disable_statement_logging()
}

/// The options as a URL with which a program connects to the server's socket.
pub fn url(options: &PgConnectOptions) -> String {
    let socket = options.get_socket().expect("a socket");
    let mut path = String::new();
    for byte in socket.as_os_str().as_encoded_bytes() {
        // Writing to a string does not fail.
        let _ = write!(path, "%{byte:02x}");
    }
    let database = options.get_database().expect("a database");
    format!(
        "postgres://{}@localhost:{}/{database}?host={path}&sslmode=disable",
        options.get_username(),
        options.get_port()
    )
}

async fn execute(connection: &mut PgConnection, sql: String) {
    connection
        .execute(AssertSqlSafe(sql))
        .await
        .expect("the server of the tests answers");
}

async fn template() -> &'static str {
    TEMPLATE
        .get_or_init(|| async {
            let mut connection = PgConnection::connect_with(&options("postgres"))
                .await
                .expect("a connection");
            let left = "select datname::text from pg_database where datname like 'test\\_%'";
            for name in sql::column::<String>(&mut connection, left).await {
                execute(
                    &mut connection,
                    format!("drop database {name} with (force)"),
                )
                .await;
            }
            // Named by all that it is made of, so that a change makes a new template.
            let functions = functions::checksum();
            let schema = couponry::database::MIGRATIONS
                .iter()
                .flat_map(|migration| migration.checksum.iter())
                .chain(&functions)
                .chain(LOGIN_RIGHTS.as_bytes());
            let hash = schema.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let name = format!("template_{hash:x}");
            let known = format!(
                "select datname::text from pg_database where datname = '{name}' and datistemplate"
            );
            if sql::column::<String>(&mut connection, known)
                .await
                .is_empty()
            {
                execute(&mut connection, format!("drop database if exists {name}")).await;
                execute(&mut connection, format!("create database {name}")).await;
                couponry::database::migrate(&options(&name))
                    .await
                    .expect("the migrations apply");
                let mut there = PgConnection::connect_with(&options(&name))
                    .await
                    .expect("a connection");
                execute(&mut there, LOGIN_RIGHTS.to_owned()).await;
                there.close().await.expect("the connection closes");
                execute(
                    &mut connection,
                    format!("alter database {name} with is_template true allow_connections false"),
                )
                .await;
            }
            name
        })
        .await
}

/// A database of one test, dropped with the last replica that uses it.
#[derive(Clone)]
pub struct TestDatabase {
    pub options: PgConnectOptions,
    /// The superuser's pool, which bypasses row level security.
    pub owner: PgPool,
    /// Dropped with the last clone.
    _name: Arc<Name>,
}

struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.0);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut connection = PgConnection::connect_with(&options("postgres"))
                    .await
                    .expect("a connection");
                execute(
                    &mut connection,
                    format!("drop database {name} with (force)"),
                )
                .await;
            });
        });
        // If the drop fails, the next run drops the database.
        let _ = dropping.join();
    }
}

impl TestDatabase {
    /// The options with which the service of a test connects.
    pub fn service_options(&self) -> PgConnectOptions {
        self.options.clone().username(LOGIN)
    }

    pub async fn create() -> Self {
        let template = template().await;
        Self::with(&format!("template {template}")).await
    }

    /// A database with these options of `create database`.
    pub async fn with(creation: &str) -> Self {
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect_with(&options("postgres"))
            .await
            .expect("a connection");
        execute(
            &mut connection,
            format!("create database {name} {creation}"),
        )
        .await;
        connection.close().await.expect("the connection closes");
        let options = options(&name);
        let owner = PgPoolOptions::new()
            .max_connections(8)
            .connect_lazy_with(options.clone());
        Self {
            options,
            owner,
            _name: Arc::new(Name(name)),
        }
    }

    pub fn shared(&self) -> Self {
        self.clone()
    }

    /// The URL in the form of the program's setting.
    pub fn url(&self) -> String {
        url(&self.options)
    }

    /// Waits until `count` statements wait for a row lock.
    pub async fn wait_for_lock_waiters(&self, count: usize) {
        wait_for_lock_waiters(&self.owner, count).await;
    }
}

/// Waits until `count` statements in this database wait for a row lock.
pub async fn wait_for_lock_waiters(owner: &PgPool, count: usize) {
    let query = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    super::eventually("statements wait for a lock", async || {
        let waiting = owner.fetch_all(query).await.expect("the server answers");
        (waiting.len() >= count).then_some(())
    })
    .await;
}
