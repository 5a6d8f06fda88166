//! The settings with their defaults and checks. No other module reads the environment.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::outbound::{Authorities, AuthoritiesError, Hosts};
use crate::telemetry::AccessLog;

/// The settings of the service.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// PostgreSQL to use, as `postgres://user:password@host/database`. If unset, the service starts an embedded one.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,

    /// Address and port to listen on for HTTP.
    #[arg(
        long,
        env = "COUPONRY_LISTEN",
        default_value = "127.0.0.1:8080",
        global = true
    )]
    pub listen: SocketAddr,

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

    /// Folder with the PostgreSQL programs, if they are not in a standard place.
    #[arg(long, env = "COUPONRY_PG_BIN_DIR", global = true)]
    pub pg_bin_dir: Option<PathBuf>,

    /// Never start an embedded PostgreSQL; set in the container image.
    #[arg(long, env = "COUPONRY_REQUIRE_DATABASE_URL", global = true)]
    pub require_database_url: bool,
}

/// Reads a file of CA certificates. An empty name stands for no file.
fn read_authorities(path: &str) -> Result<Authorities, AuthoritiesError> {
    if path.is_empty() {
        return Ok(Authorities::default());
    }
    Authorities::read(Path::new(path))
}

/// Returns the search path of the system for programs.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the environment is read"
)]
pub(crate) fn path() -> Option<OsString> {
    std::env::var_os("PATH")
}
