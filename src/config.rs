//! The settings with their defaults and checks. No other module reads the environment.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, FromArgMatches};
use reqwest::Url;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;

use crate::outbound::{Authorities, AuthoritiesError, Hosts};
use crate::telemetry::{self, AccessLog};

/// Minimum length of the operator token, so that it cannot be guessed.
const MIN_TOKEN_CHARS: usize = 16;
/// Shown in place of a secret.
const REDACTED: &str = "***";

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
    #[arg(long, env = "COUPONRY_WITNESS_DIR", global = true)]
    pub witness_dir: Option<PathBuf>,

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

/// The settings that a command checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only those that are not valid by themselves. The command does not use the database.
    Client,
    /// Also the database, the operator token and the log.
    Database,
    /// Also what the service needs of the machine.
    Service,
}

/// A setting that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The variable of the setting.
    pub setting: String,
    pub detail: String,
}

/// All settings that are not valid.
#[derive(Debug, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Fault { setting, detail }] = &self.0[..] {
            return write!(f, "{setting} {detail}");
        }
        write!(f, "{} settings are not valid", self.0.len())?;
        for Fault { setting, detail } in &self.0 {
            write!(f, "\n  {setting} {detail}")?;
        }
        Ok(())
    }
}

/// The settings as they were given, before the faults are known.
#[derive(Debug)]
pub struct Given {
    pub matches: ArgMatches,
    faults: Vec<Fault>,
}

impl Given {
    /// Parses the command line and the environment. All settings are checked, although `clap` stops at the first that is not
    /// valid: such a setting is accepted as it is in the next attempt.
    ///
    /// # Errors
    ///
    /// An error that does not concern the value of a setting, such as an unknown option, or a request for help.
    pub fn parse(command: impl Fn() -> clap::Command) -> Result<Self, clap::Error> {
        let settings = arguments();
        let mut faults: Vec<Fault> = Vec::new();
        let mut accepted: Vec<&Arg> = Vec::new();
        loop {
            let lenient = command().mut_args(|arg| {
                if accepted.iter().any(|known| known.get_id() == arg.get_id()) {
                    arg.value_parser(clap::value_parser!(OsString))
                } else {
                    arg
                }
            });
            let error = match lenient.try_get_matches() {
                Ok(matches) => return Ok(Self { matches, faults }),
                Err(error) => error,
            };
            let invalid = settings.iter().find(|arg| {
                matches!(
                    error.kind(),
                    ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8
                ) && error.get(ContextKind::InvalidArg).map(ToString::to_string)
                    == Some(arg.to_string())
            });
            match invalid {
                Some(arg) if !accepted.iter().any(|known| known.get_id() == arg.get_id()) => {
                    faults.push(Fault {
                        setting: variable(arg),
                        detail: format!("is not valid: {}", summary(&error)),
                    });
                    accepted.push(arg);
                }
                _ => return Err(error),
            }
        }
    }

    /// Returns the settings, with the secrets that are in files.
    ///
    /// # Errors
    ///
    /// All settings that are not valid.
    ///
    /// # Panics
    ///
    /// Never: without faults, each setting was parsed by its own parser.
    pub fn into_config(mut self, scope: Scope) -> Result<Config, Faults> {
        let database_url = self.secret("database_url");
        let migrate_url = self.secret("migrate_url");
        let operator_token = self.secret("operator_token");
        if scope != Scope::Client {
            self.check_url("DATABASE_URL", database_url.as_deref());
            self.check_url("COUPONRY_MIGRATE_URL", migrate_url.as_deref());
            self.check(database_url.as_deref(), operator_token.as_deref());
        }
        if scope == Scope::Service
            && let Err(error) = tempfile::tempfile()
        {
            let folder = temporary_folder();
            let detail = format!("{} cannot hold uploads: {error}", folder.display());
            self.fault("TMPDIR", detail);
        }
        let witness = self.matches.get_one::<PathBuf>("witness_dir").cloned();
        if scope == Scope::Service
            && let Some(folder) = witness
            && let Err(error) = tempfile::tempfile_in(&folder)
        {
            let detail = format!("{} cannot be written: {error}", folder.display());
            self.fault("COUPONRY_WITNESS_DIR", detail);
        }
        if !self.faults.is_empty() {
            return Err(Faults(self.faults));
        }
        let mut config = Config::from_arg_matches(&self.matches)
            .expect("each setting was parsed by its own parser");
        config.database_url = database_url;
        config.migrate_url = migrate_url;
        config.operator_token = operator_token;
        config.otlp_endpoint = self.text("otlp_endpoint");
        Ok(config)
    }

    fn fault(&mut self, setting: &str, detail: impl Into<String>) {
        self.faults.push(Fault {
            setting: setting.to_owned(),
            detail: detail.into(),
        });
    }

    fn check_url(&mut self, setting: &str, url: Option<&str>) {
        if let Some(Err(error)) = url.map(str::parse::<PgConnectOptions>) {
            self.fault(setting, format!("is not valid: {error}"));
        }
    }

    fn check(&mut self, database_url: Option<&str>, operator_token: Option<&str>) {
        if database_url.is_none() && self.is_set("require_database_url") {
            self.fault(
                "DATABASE_URL",
                "is missing: set DATABASE_URL to the PostgreSQL to use, such as postgres://user:password@host/database",
            );
        }
        if database_url.is_none() && self.is_set("no_migrate") {
            self.fault(
                "COUPONRY_NO_MIGRATE",
                "needs a DATABASE_URL: the service's own PostgreSQL is migrated at each start",
            );
        }
        if operator_token.is_some_and(|token| token.len() < MIN_TOKEN_CHARS) {
            let detail = format!(
                "must have at least {MIN_TOKEN_CHARS} characters; generate one with `openssl rand -hex 24`"
            );
            self.fault("COUPONRY_OPERATOR_TOKEN", detail);
        }
        if let Some(Err(error)) = self.text("log").map(|log| telemetry::filter(&log)) {
            self.fault("COUPONRY_LOG", format!("is not valid: {error}"));
        }
    }

    /// Reads a secret: the setting of this id, or the content of the file that the setting with `_file` names.
    fn secret(&mut self, id: &str) -> Option<String> {
        let file = format!("{id}_file");
        let (value, path) = (self.text(id), self.text(&file));
        let settings = arguments();
        let name = |id: &str| settings.iter().find(|arg| arg.get_id() == id).map(variable);
        let (name, file) = (name(id)?, name(&file)?);
        match (value, path) {
            (Some(_), Some(_)) => {
                self.fault(&name, format!("and {file} are both set; set one of them"));
                None
            }
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.fault(
                        &file,
                        format!("names {path}, which cannot be read: {error}"),
                    );
                    None
                }
            },
            (value, None) => value,
        }
        .filter(|value| !value.is_empty())
    }

    /// The text of a setting. An empty one, as compose files have it, counts as unset.
    fn text(&self, id: &str) -> Option<String> {
        let text = self.matches.get_one::<String>(id).cloned();
        text.filter(|text| !text.is_empty())
    }

    fn is_set(&self, id: &str) -> bool {
        matches!(self.matches.try_get_one(id), Ok(Some(true)))
    }
}

/// A setting as it is in effect.
#[derive(Debug, Serialize)]
pub struct Setting {
    pub variable: String,
    pub option: String,
    /// Without its secrets. Null if the setting is not set.
    pub value: Option<String>,
    pub source: &'static str,
}

/// Lists the settings in effect, without their secrets. `config` was made of `matches`.
#[must_use]
pub fn list(matches: &ArgMatches, config: &Config) -> Vec<Setting> {
    let setting = |arg: &Arg| {
        let id = arg.get_id().as_str();
        let given = matches.get_raw(id).into_iter().flatten();
        let given: Vec<_> = given.map(|value| value.to_string_lossy()).collect();
        let given = Some(given.concat()).filter(|value| !value.is_empty());
        let source = match matches.value_source(id) {
            Some(ValueSource::EnvVariable) => "environment",
            Some(ValueSource::CommandLine) => "command line",
            _ => "default",
        };
        let effective = match id {
            "database_url" => config.database_url.clone(),
            "migrate_url" => config.migrate_url.clone(),
            "operator_token" => config.operator_token.clone(),
            _ => given.clone(),
        };
        let source = match (&given, &effective) {
            (None, Some(_)) => "file",
            (_, None) => "default",
            _ => source,
        };
        let shown = |value: String| match id {
            id if id.ends_with("_url") || id == "otlp_endpoint" => redact(&value),
            id if id.ends_with("_token") => REDACTED.to_owned(),
            _ => value,
        };
        Setting {
            variable: variable(arg),
            option: format!("--{}", arg.get_long().unwrap_or_default()),
            value: effective.map(shown),
            source,
        }
    };
    arguments().iter().map(setting).collect()
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

/// The part of clap's message that concerns the value, on one line.
fn summary(error: &clap::Error) -> String {
    let message = error.to_string();
    let message = message.trim_start_matches("error: ");
    let lines = message.lines().map(str::trim);
    let lines: Vec<_> = lines
        .take_while(|line| !line.starts_with("For more"))
        .collect();
    lines.join(" ").trim().to_owned()
}

/// Hides the password of a URL.
fn redact(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return REDACTED.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(REDACTED)).is_err() {
        return REDACTED.to_owned();
    }
    if url.query_pairs().any(|(name, _)| name == "password") {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let shown = pairs.iter().map(|(name, value)| {
            let hidden = name == "password";
            (name, if hidden { REDACTED } else { value })
        });
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.into()
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
