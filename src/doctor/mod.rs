//! The command `couponry doctor`: looks for faults of the settings, the machine, the server and the data. Each check is a
//! function that returns its findings.

mod after_restore;
mod data;
mod db;
mod machine;
mod schema;
mod server;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use crate::admin::{self, Target};
use crate::config::{Config, Faults};
use crate::database::Database;
use crate::telemetry::{self, Chain};

/// Begins a transaction. A connection of a pooler may have statements that another client prepared under the same names.
const BEGIN: &str = "begin; deallocate all; set local statement_timeout = '30s'";
/// The roles of the service.
const APP_ROLE: &str = "couponry_app";
const SYSTEM_ROLE: &str = "couponry_system";
/// Time limit for connecting to the server.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What to do, and the form of the report.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Withdraw the codes that were assigned after the backup that was restored, as the files in the folder of the witness
    /// record them, and examine nothing else.
    #[arg(long)]
    after_restore: bool,
    /// Only count the codes that `--after-restore` would withdraw.
    #[arg(long, requires = "after_restore")]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Severity {
    /// The service does not work, or a promise of it does not hold.
    Fault,
    /// A promise may not hold, or an operation will fail later.
    Warning,
    /// Nothing to do, but good to know.
    Note,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    severity: Severity,
    what: String,
    why: &'static str,
    /// A command or a statement where there is one, else an instruction.
    fix: String,
    /// The section of the documentation.
    docs: String,
}

impl Finding {
    fn new(
        check: &'static str,
        severity: Severity,
        what: impl Into<String>,
        why: &'static str,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity,
            what: what.into(),
            why,
            fix: fix.into(),
            docs: format!("docs/operate/doctor.md#{check}"),
        }
    }

    fn fault(
        check: &'static str,
        what: impl Into<String>,
        why: &'static str,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Severity::Fault, what, why, fix)
    }

    fn warning(
        check: &'static str,
        what: impl Into<String>,
        why: &'static str,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Severity::Warning, what, why, fix)
    }
}

#[derive(Debug, Serialize)]
struct Report {
    faults: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

impl Report {
    fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.severity);
        let count = |severity| {
            let of_severity = findings
                .iter()
                .filter(|finding| finding.severity == severity);
            of_severity.count()
        };
        Self {
            faults: count(Severity::Fault),
            warnings: count(Severity::Warning),
            findings,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Fault => "Fault",
                Severity::Warning => "Warning",
                Severity::Note => "Note",
            };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{severity}: {}\n  Why: {}\n  Fix: {}\n  See: {}\n\n",
                finding.what, finding.why, finding.fix, finding.docs
            );
        }
        let _ = match (self.faults, self.warnings) {
            (0, 0) => write!(text, "No fault found."),
            (faults, warnings) => write!(text, "Faults: {faults}, warnings: {warnings}."),
        };
        text
    }
}

/// Prints the findings. The exit code is 1 if there is a fault.
pub async fn run(
    arguments: &Arguments,
    config: Result<Config, Faults>,
) -> Result<ExitCode, admin::Error> {
    if arguments.after_restore {
        let config = config.map_err(|faults| admin::Error::Refused(faults.to_string()))?;
        return after_restore::run(arguments, &config).await;
    }
    let findings = match config {
        Ok(config) => {
            // The report is on standard output. Logs of the connections would only repeat it.
            let _ = telemetry::start("error");
            examine(&config).await
        }
        Err(faults) => machine::settings(faults),
    };
    let report = Report::new(findings);
    admin::print(arguments.json, &report, report.text())?;
    Ok(if report.faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(machine::operator_token(config));
    findings.extend(machine::temporary_folder(config));
    findings.extend(machine::witness_folder(config));
    match Target::open(config).await {
        Ok(target) => {
            if let Err(error) = examine_database(config, &target, &mut findings).await {
                findings.push(unreachable(&error));
            }
            if let Err(error) = target.close().await {
                findings.push(unreachable(&error));
            }
        }
        Err(error) => findings.push(unreachable(&error)),
    }
    findings
}

fn unreachable(error: &dyn std::error::Error) -> Finding {
    Finding::fault(
        "database",
        format!("The database cannot be examined: {}.", Chain(error)),
        "The service cannot start, or answers each request with a 503.",
        "Check DATABASE_URL, the network and pg_hba.conf with `psql \"$DATABASE_URL\"`.",
    )
}

async fn examine_database(
    config: &Config,
    target: &Target,
    findings: &mut Vec<Finding>,
) -> sqlx::Result<()> {
    findings.extend(server::tls(&target.options));
    // Poolers refuse this parameter, and may not know the statements that were prepared in an earlier transaction.
    let options = target.options.clone().extra_float_digits(None);
    let options = options.statement_cache_capacity(0);
    let options = options.disable_statement_logging();
    let pooling = server::pooling(&options, config.pooler).await?;
    let is_usable = pooling
        .as_ref()
        .is_none_or(|finding| finding.severity != Severity::Fault);
    findings.extend(pooling);
    if !is_usable {
        return Ok(());
    }
    let mut connection = connect(&options).await?;
    let mut transaction = connection.begin_with(BEGIN).await?;
    examine_server(config, &mut transaction, findings).await?;
    transaction.rollback().await?;
    connection.close().await
}

async fn examine_server(
    config: &Config,
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> sqlx::Result<()> {
    if let Some(old) = server::version(connection).await? {
        findings.push(old);
        return Ok(());
    }
    let server = db::server(connection).await?;
    findings.extend(server::encoding(&server));
    findings.extend(server::collation(&server));
    findings.extend(server::read_only(&server));
    // The embedded server has no other user.
    if config.database_url.is_some() {
        findings.extend(server::login(&server));
    }
    let needed = Database::max_connections(config.request_connections);
    findings.extend(server::connections(&server, needed));
    findings.extend(server::clock(connection).await?);
    let roles = schema::roles(connection, &server).await?;
    let has_roles = roles.is_empty();
    findings.extend(roles);
    findings.extend(schema::migrations(connection).await?);
    if !db::has_tables(connection).await? {
        return Ok(());
    }
    findings.extend(schema::row_security(connection).await?);
    if has_roles {
        findings.extend(schema::release(connection).await?);
        findings.extend(data::ledgers(connection).await?);
        findings.extend(data::background_work(connection).await?);
    }
    Ok(())
}

async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    timeout(CONNECT_LIMIT, PgConnection::connect_with(options))
        .await
        .map_err(|_| sqlx::Error::PoolTimedOut)?
}
