//! Logging: text on a terminal, JSON lines otherwise. Keys, codes and contact ids are never logged.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::traces::TraceLayer;

/// Parses a level, or levels by module.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(text)
}

/// Starts logging to standard error. `levels` is a level, or levels by module.
pub fn start(levels: &str) -> Result<(), ParseError> {
    start_with(levels, None)
}

/// Starts logging, and exporting the spans with `traces`.
pub(crate) fn start_with(levels: &str, traces: Option<TraceLayer>) -> Result<(), ParseError> {
    let filter = filter(levels)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.with_target(false).boxed()
    } else {
        // The request that a line belongs to is its innermost span.
        lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed()
    };
    registry().with(traces).with(lines).with(filter).init();
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
