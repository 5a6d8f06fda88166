//! Reading the settings, with all that are not valid.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgMatches, FromArgMatches};
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;

use super::{Config, arguments, temporary_folder, variable};
use crate::telemetry;

/// Minimum length of the operator token, so that it cannot be guessed.
const MIN_TOKEN_CHARS: usize = 16;

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
        let witness_dir = self.path("witness_dir");
        if scope == Scope::Service
            && let Some(folder) = &witness_dir
            && let Err(error) = tempfile::tempfile_in(folder)
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
        config.witness_dir = witness_dir;
        config.pg_bin_dir = self.path("pg_bin_dir");
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

    /// The path of a setting. An empty one counts as unset too.
    fn path(&self, id: &str) -> Option<PathBuf> {
        let path = self.matches.get_one::<PathBuf>(id).cloned();
        path.filter(|path| !path.as_os_str().is_empty())
    }

    fn is_set(&self, id: &str) -> bool {
        matches!(self.matches.try_get_one(id), Ok(Some(true)))
    }
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
