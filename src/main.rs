//! The `couponry` program: reads the command line, starts logging, and runs the command.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use couponry::cli::{self, Command, Input};
use couponry::{admin, doctor, import_command, start};

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(cli::read())).await {
        Ok(code) => code,
        Err(error) => fail(&*error),
    }
}

async fn run(input: Input) -> Result<ExitCode, Box<dyn Error>> {
    if let Command::Doctor(arguments) = &input.command {
        return Ok(doctor::run(arguments, input.config).await?);
    }
    let config = input.config?;
    start::log(&config, matches!(input.command, Command::Serve))?;
    match input.command {
        Command::Serve => start::run(config).await?,
        Command::Migrate(arguments) => cli::migrate(&arguments, &config).await?,
        Command::Healthcheck => start::check_health(&config).await?,
        Command::Import(arguments) => import_command::run(&arguments, &config).await?,
        Command::Tenant(arguments) => admin::tenant::run(&arguments, &config).await?,
        Command::Key(arguments) => admin::key::run(&arguments, &config).await?,
        Command::Apply(arguments) => admin::apply::run(&arguments, &config).await?,
        Command::Config(arguments) => cli::print_settings(&arguments, &input.matches, &config)?,
        Command::Completions { shell } => cli::print_completions(shell)?,
        Command::Doctor(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an error and its causes to standard error.
fn fail(error: &dyn Error) -> ExitCode {
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
