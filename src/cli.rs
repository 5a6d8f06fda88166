//! The command line: commands and the settings that they share.

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::import_command;

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
    /// Ask the service at the listen address whether it is alive; for container health checks.
    Healthcheck,
    /// Import a file of codes into a coupon set of a service that runs.
    Import(Box<import_command::Arguments>),
}

impl CommandLine {
    /// Reads the command line and the environment. Ends the process with a message if they are not valid. An empty
    /// `DATABASE_URL`, `COUPONRY_OPERATOR_TOKEN` or `OTEL_EXPORTER_OTLP_ENDPOINT`, as compose files have it, counts as unset.
    #[must_use]
    pub fn read() -> Self {
        let mut line = Self::parse();
        line.config.database_url = line.config.database_url.filter(|url| !url.is_empty());
        line.config.operator_token = line.config.operator_token.filter(|token| !token.is_empty());
        line.config.otlp_endpoint = line.config.otlp_endpoint.filter(|url| !url.is_empty());
        line
    }
}
