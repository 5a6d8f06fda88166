//! The `couponry` program: reads the command line, starts logging, and runs the command.

use std::io::Write;
use std::process::ExitCode;

use couponry::cli::{Command, CommandLine};
use couponry::{import_command, start};

#[tokio::main]
async fn main() -> ExitCode {
    let line = CommandLine::read();
    let command = line.command.unwrap_or(Command::Serve);
    if let Err(error) = start::log(&line.config, matches!(command, Command::Serve)) {
        return fail(&error);
    }
    let outcome = match command {
        Command::Serve => start::run(line.config).await,
        Command::Healthcheck => start::check_health(&line.config).await,
        Command::Import(arguments) => {
            return match import_command::run(&arguments, &line.config).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            };
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Prints an error and its causes on one line of standard error.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    // If standard error is closed, the exit code is the only report.
    let _ = writeln!(std::io::stderr(), "couponry: {message}");
    ExitCode::FAILURE
}
