//! Every setting, its default and its check. Only here is the environment read.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::outbound::{Authorities, AuthoritiesError, Hosts};

/// The settings of the service.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// PostgreSQL to use, as `postgres://user:password@host/database`. Without it the service starts one of its own.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,

    /// Address and port to serve HTTP on.
    #[arg(
        long,
        env = "COUPONRY_LISTEN",
        default_value = "127.0.0.1:8080",
        global = true
    )]
    pub listen: SocketAddr,

    /// Folder for what the service keeps itself: the data of its own PostgreSQL.
    #[arg(
        long,
        env = "COUPONRY_DATA_DIR",
        default_value = ".data",
        global = true
    )]
    pub data_dir: PathBuf,

    /// Bearer token of `/admin`. With a PostgreSQL of its own the service makes one if it is unset; else `/admin` is off.
    #[arg(
        long,
        env = "COUPONRY_OPERATOR_TOKEN",
        hide_env_values = true,
        global = true
    )]
    pub operator_token: Option<String>,

    /// What is logged: a level (error, warn, info, debug, trace), or levels by module as in `info,couponry=debug`.
    #[arg(long, env = "COUPONRY_LOG", default_value = "info", global = true)]
    pub log: String,

    /// Hosts that imports may be fetched from, as `files.example.com,*.example.org`; `*` is any. None by default.
    #[arg(
        long,
        env = "COUPONRY_PULL_HOSTS",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub pull_hosts: Hosts,

    /// How long fetching a file may take, in seconds.
    #[arg(
        long,
        env = "COUPONRY_PULL_SECONDS",
        default_value_t = 900,
        global = true
    )]
    pub pull_seconds: u32,

    /// Fetch from addresses too that are not public, as those of an internal network.
    #[arg(long, env = "COUPONRY_PULL_PRIVATE", global = true)]
    pub pull_private: bool,

    /// File with certificates of authorities (PEM) to trust beside the public ones.
    #[arg(
        long,
        env = "COUPONRY_CA_FILE",
        value_parser = read_authorities,
        global = true
    )]
    pub ca_file: Option<Authorities>,

    /// Send webhooks to addresses too that are not public, and by http: for development.
    #[arg(long, env = "COUPONRY_WEBHOOK_PRIVATE", global = true)]
    pub webhook_private: bool,

    /// The largest body of an import, in bytes.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_BYTES", default_value_t = 2 << 30, global = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub import_max_bytes: u64,

    /// The most that a gzip or zip body may be unpacked, in bytes.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_UNPACKED_BYTES", default_value_t = 8 << 30, global = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub import_max_unpacked_bytes: u64,

    /// The most rows of an import.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_ROWS", default_value_t = 100_000_000, global = true,
        value_parser = clap::value_parser!(i32).range(1..=2_000_000_000))]
    pub import_max_rows: i32,

    /// The most characters of a code that is imported.
    #[arg(long, env = "COUPONRY_IMPORT_MAX_CODE_LENGTH", default_value_t = 255, global = true,
        value_parser = clap::value_parser!(u8).range(1..))]
    pub import_max_code_length: u8,

    /// Folder of PostgreSQL's programs, if they are not in the usual places.
    #[arg(long, env = "COUPONRY_PG_BIN_DIR", global = true)]
    pub pg_bin_dir: Option<PathBuf>,

    /// Refuse to start a PostgreSQL of its own; set in the container image.
    #[arg(long, env = "COUPONRY_REQUIRE_DATABASE_URL", global = true)]
    pub require_database_url: bool,
}

/// No file is meant by an empty name.
fn read_authorities(path: &str) -> Result<Authorities, AuthoritiesError> {
    if path.is_empty() {
        return Ok(Authorities::default());
    }
    Authorities::read(Path::new(path))
}

/// Where the system looks for programs.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the environment is read"
)]
pub(crate) fn path() -> Option<OsString> {
    std::env::var_os("PATH")
}
