//! Logging: text on a terminal, JSON lines otherwise. Keys, codes and contact ids are never logged.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `filter` is a level, or levels by module.
pub fn start(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        subscriber.with_target(false).init();
    } else {
        // The request or the batch that a line belongs to is its only span.
        subscriber
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .init();
    }
    Ok(())
}

/// The requests that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessLog {
    Off,
    /// Those that failed with a 5xx or a 429.
    Errors,
    All,
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
