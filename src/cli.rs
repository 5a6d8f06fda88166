//! The command line: commands and the settings that they share.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::json;

use crate::config::{self, Config, Faults, Given, Scope};
use crate::{admin, doctor, import_command, start};

/// A self-hosted coupon service.
#[derive(Debug, Parser)]
#[command(name = "couponry", version, about)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub config: Config,
}

/// The command to run.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the service (the default).
    Serve,
    /// Migrate the database to this version, and end.
    Migrate(JsonArguments),
    /// Ask the service at the listen address whether it is alive; for container health checks.
    Healthcheck,
    /// Import a file of codes into a coupon set of a service that runs.
    Import(Box<import_command::Arguments>),
    /// Create, list, suspend, resume, rename, delete, export and import tenants, in the database.
    Tenant(admin::tenant::Arguments),
    /// Create, list, revoke and generate API keys, in the database.
    Key(admin::key::Arguments),
    /// Bring tenants, keys and webhooks into the state that a file declares, in the database.
    Apply(admin::apply::Arguments),
    /// Look for faults of the settings, the machine and the database, and name the fixes.
    Doctor(doctor::Arguments),
    /// Print the settings in effect and their sources, without secrets.
    Config(JsonArguments),
    /// Print the completions for a shell.
    Completions { shell: Shell },
}

/// The form of the output.
#[derive(Debug, Clone, Args)]
pub struct JsonArguments {
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Command {
    fn scope(&self) -> Scope {
        match self {
            Self::Serve | Self::Config(_) => Scope::Service,
            Self::Migrate(_)
            | Self::Tenant(_)
            | Self::Key(_)
            | Self::Apply(_)
            | Self::Doctor(_) => Scope::Database,
            Self::Healthcheck | Self::Import(_) | Self::Completions { .. } => Scope::Client,
        }
    }
}

/// The command line and the environment as they were read.
#[derive(Debug)]
pub struct Input {
    pub command: Command,
    pub config: Result<Config, Faults>,
    pub matches: ArgMatches,
}

/// Reads the command line and the environment. Ends the process with a message for an unknown option or a request for help.
///
/// # Panics
///
/// Never: the commands were parsed by their own parsers.
#[must_use]
pub fn read() -> Input {
    let given = Given::parse(CommandLine::command).unwrap_or_else(|error| error.exit());
    let command = match given.matches.subcommand() {
        None => Command::Serve,
        Some(_) => Command::from_arg_matches(&given.matches)
            .expect("each command was parsed by its own parser"),
    };
    let matches = given.matches.clone();
    Input {
        config: given.into_config(command.scope()),
        command,
        matches,
    }
}

/// Migrates the configured database, and prints the release.
pub async fn migrate(arguments: &JsonArguments, config: &Config) -> Result<(), admin::Error> {
    start::migrate(config).await?;
    let release = env!("CARGO_PKG_VERSION");
    let text = format!("The database is migrated to {release}.");
    admin::print(arguments.json, &json!({"release": release}), text)
}

/// Prints the settings.
pub fn print_settings(
    arguments: &JsonArguments,
    matches: &ArgMatches,
    config: &Config,
) -> Result<(), admin::Error> {
    let settings = config::list(matches, config);
    let mut text = String::new();
    for setting in &settings {
        let value = setting.value.as_deref().unwrap_or("(not set)");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}={value}  ({})", setting.variable, setting.source);
    }
    admin::print(arguments.json, &settings, text)
}

/// Prints the completions for a shell.
pub fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "couponry", &mut script);
    io::stdout().lock().write_all(&script)
}
