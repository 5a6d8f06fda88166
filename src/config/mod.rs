//! The settings with their defaults and checks. No other module reads the environment.

mod given;
mod listing;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, Args};

use crate::outbound::{Authorities, AuthoritiesError, Hosts};
use crate::telemetry::AccessLog;

pub use given::{Fault, Faults, Given, Scope};
pub use listing::{Setting, list};

/// The settings of the service.
#[derive(Debug, Clone, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Config {
    /// PostgreSQL to use, as `postgres://user:password@host/database`. If unset, the service starts an embedded one.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,

    /// File that contains the value of `DATABASE_URL`, such as a secret of Docker or Kubernetes.
    #[arg(long, env = "DATABASE_URL_FILE", global = true)]
    pub database_url_file: Option<String>,

    /// A pooler in transaction mode that does not know of prepared statements is in front of PostgreSQL, such as
    /// PgBouncer before 1.21.
    #[arg(long, env = "COUPONRY_POOLER", global = true)]
    pub pooler: bool,

    /// PostgreSQL to migrate, as a user that owns the tables. If unset, it is that of `DATABASE_URL`.
    #[arg(
        long,
        env = "COUPONRY_MIGRATE_URL",
        hide_env_values = true,
        global = true
    )]
    pub migrate_url: Option<String>,

    /// File that contains the value of `COUPONRY_MIGRATE_URL`.
    #[arg(long, env = "COUPONRY_MIGRATE_URL_FILE", global = true)]
    pub migrate_url_file: Option<String>,

    /// Do not migrate the database at the start: wait until `couponry migrate` has done it.
    #[arg(long, env = "COUPONRY_NO_MIGRATE", global = true)]
    pub no_migrate: bool,

    /// Address and port to listen on for HTTP.
    #[arg(
        long,
        env = "COUPONRY_LISTEN",
        default_value = "127.0.0.1:8080",
        global = true
    )]
    pub listen: SocketAddr,

    /// Time after which an idle connection is closed, in seconds. It should be longer than that of a proxy in front.
    #[arg(long, env = "COUPONRY_IDLE_SECONDS", default_value_t = 75, global = true,
        value_parser = clap::value_parser!(u16).range(6..=3600))]
    pub idle_seconds: u16,

    /// Time between the signal to stop, after which `/readyz` responds 503, and the end of the listener, in seconds.
    #[arg(long, env = "COUPONRY_SHUTDOWN_DELAY", default_value_t = 0, global = true,
        value_parser = clap::value_parser!(u16).range(..=300))]
    pub shutdown_delay: u16,

    /// Folder for the data of the embedded PostgreSQL.
    #[arg(
        long,
        env = "COUPONRY_DATA_DIR",
        default_value = ".data",
        global = true
    )]
    pub data_dir: PathBuf,

    /// Bearer token of `/admin`. If unset, it is generated with an embedded PostgreSQL, and `/admin` is disabled otherwise.
    #[arg(
        long,
        env = "COUPONRY_OPERATOR_TOKEN",
        hide_env_values = true,
        global = true
    )]
    pub operator_token: Option<String>,

    /// File that contains the value of `COUPONRY_OPERATOR_TOKEN`.
    #[arg(long, env = "COUPONRY_OPERATOR_TOKEN_FILE", global = true)]
    pub operator_token_file: Option<String>,

    /// Log level (error, warn, info, debug, trace), or levels by module such as `info,couponry=debug`.
    #[arg(long, env = "COUPONRY_LOG", default_value = "info", global = true)]
    pub log: String,

    /// Requests to log: those that failed with a 5xx or a 429, all, or none.
    #[arg(long, env = "COUPONRY_ACCESS_LOG", value_enum, default_value_t = AccessLog::Errors, global = true)]
    pub access_log: AccessLog,

    /// Address and port for the metrics at `/metrics`, such as `127.0.0.1:9464`. None by default.
    #[arg(long, env = "COUPONRY_METRICS_LISTEN", global = true)]
    pub metrics_listen: Option<SocketAddr>,

    /// OpenTelemetry collector for traces by OTLP over HTTP, such as `http://127.0.0.1:4318`. None by default.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", global = true)]
    pub otlp_endpoint: Option<String>,

    /// Hosts from which imports may be fetched, such as `files.example.com,*.example.org`; `*` allows any. None by default.
    #[arg(
        long,
        env = "COUPONRY_PULL_HOSTS",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub pull_hosts: Hosts,

    /// Time limit for fetching a file, in seconds.
    #[arg(
        long,
        env = "COUPONRY_PULL_SECONDS",
        default_value_t = 900,
        global = true
    )]
    pub pull_seconds: u32,

    /// Also fetch from addresses that are not public, such as those of an internal network.
    #[arg(long, env = "COUPONRY_PULL_PRIVATE", global = true)]
    pub pull_private: bool,

    /// File with CA certificates (PEM) to trust in addition to the public ones.
    #[arg(
        long,
        env = "COUPONRY_CA_FILE",
        value_parser = read_authorities,
        global = true
    )]
    pub ca_file: Option<Authorities>,

    /// Also send webhooks to addresses that are not public, and over http. For development.
    #[arg(long, env = "COUPONRY_WEBHOOK_PRIVATE", global = true)]
    pub webhook_private: bool,

    /// Requests per second that a tenant may send to this replica in the long run; 0 for no limit.
    #[arg(long, env = "COUPONRY_RATE_LIMIT", default_value_t = 0, global = true,
        value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub rate_limit: u32,

    /// Requests that a tenant may send at once, if there is a limit.
    #[arg(long, env = "COUPONRY_RATE_BURST", default_value_t = 1000, global = true,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate_burst: u32,

    /// Maximum number of database connections for requests. A tenant can use a quarter of them at a time.
    #[arg(long, env = "COUPONRY_REQUEST_CONNECTIONS", default_value_t = 12, global = true,
        value_parser = clap::value_parser!(u16).range(4..=1000))]
    pub request_connections: u16,

    /// Maximum number of webhook messages that are under way to one endpoint.
    #[arg(long, env = "COUPONRY_WEBHOOK_CONCURRENCY", default_value_t = 16, global = true,
        value_parser = clap::value_parser!(u8).range(1..))]
    pub webhook_concurrency: u8,

    /// Days for which a webhook delivery is kept after it ended.
    #[arg(long, env = "COUPONRY_RETENTION_DELIVERIES_DAYS", default_value_t = 30, global = true,
        value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub retention_deliveries_days: u16,

    /// Days after which the report of an ended import is deleted; 0 keeps it.
    #[arg(long, env = "COUPONRY_RETENTION_IMPORT_REPORTS_DAYS", default_value_t = 0, global = true,
        value_parser = clap::value_parser!(u16).range(..=3650))]
    pub retention_import_reports_days: u16,

    /// Days after which the codes and the ledger of a deleted coupon set are removed; 0 keeps them.
    #[arg(long, env = "COUPONRY_RETENTION_DELETED_SETS_DAYS", default_value_t = 0, global = true,
        value_parser = clap::value_parser!(u16).range(..=3650))]
    pub retention_deleted_sets_days: u16,

    /// Memory for the larger bodies of requests and their responses, in bytes. A tenant can use a quarter of it.
    #[arg(long, env = "COUPONRY_MEMORY_BUDGET", default_value_t = 256 << 20, global = true,
        value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub memory_budget: u64,

    /// Maximum size of the body of an import, in bytes.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_BYTES", default_value_t = 2 << 30, global = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub import_max_bytes: u64,

    /// Maximum unpacked size of a gzip or zip body, in bytes.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_UNPACKED_BYTES", default_value_t = 8 << 30, global = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub import_max_unpacked_bytes: u64,

    /// Maximum number of rows of an import.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_ROWS", default_value_t = 100_000_000, global = true,
        value_parser = clap::value_parser!(i32).range(1..=2_000_000_000))]
    pub import_max_rows: i32,

    /// Maximum number of characters of an imported code.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_CODE_LENGTH", default_value_t = 255, global = true,
        value_parser = clap::value_parser!(u8).range(1..))]
    pub import_max_code_length: u8,

    /// Folder outside the database in which each replica records how far codes were assigned, for `couponry doctor
    /// --after-restore`. None by default.
    #[arg(long, env = "COUPONRY_WITNESS_DIR", value_parser = path_or_empty(), global = true)]
    pub witness_dir: Option<PathBuf>,

    /// Folder with the PostgreSQL programs, if they are not in a standard place.
    #[arg(long, env = "COUPONRY_PG_BIN_DIR", value_parser = path_or_empty(), global = true)]
    pub pg_bin_dir: Option<PathBuf>,

    /// Never start an embedded PostgreSQL; set in the container image.
    #[arg(long, env = "COUPONRY_REQUIRE_DATABASE_URL", global = true)]
    pub require_database_url: bool,
}

/// Reads a path. An empty one counts as unset, and `clap` would refuse it.
fn path_or_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads a file of CA certificates. An empty name stands for no file.
fn read_authorities(path: &str) -> Result<Authorities, AuthoritiesError> {
    if path.is_empty() {
        return Ok(Authorities::default());
    }
    Authorities::read(Path::new(path))
}

/// The arguments that are settings.
fn arguments() -> Vec<Arg> {
    let mut command = Config::augment_args(clap::Command::new("settings"));
    // An argument has no text before.
    command.build();
    let arguments = command
        .get_arguments()
        .filter(|arg| arg.get_env().is_some());
    arguments.cloned().collect()
}

/// The variable of a setting.
fn variable(arg: &Arg) -> String {
    let name = arg.get_env().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The folder in which uploads wait for their import.
#[must_use]
pub fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

/// Returns the search path of the system for programs.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the environment is read"
)]
pub(crate) fn path() -> Option<OsString> {
    std::env::var_os("PATH")
}
